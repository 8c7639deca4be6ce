"""The command `plan`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Option

from sharptheory.cli.app import app, console, examples, number_table, write_json
from sharptheory.cli.limits import check_out
from sharptheory.cli.numbers import number
from sharptheory.cli.rewards import renamed_columns
from sharptheory.errors import UserError
from sharptheory.provenance import provenance


@app.command(
    epilog=examples(
        "sharptheory plan --pool pilot.parquet --effect 2pt --power 0.8",
        "sharptheory plan --pool pilot.parquet --effect 3pt --n 16 --against greedy",
        "sharptheory plan --pool pilot.parquet --budget 2e6 --n 1 --out plan.json",
    )
)
def plan(
    pool: Annotated[Path, Option(help="The pilot: a graded pool, .parquet, .jsonl or .csv.")],
    columns: Annotated[str, Option(help="What --pool calls columns: prompt_id=idx,correct=score.")] = "",
    effect: Annotated[str | None, Option(help="Difference in accuracy to be shown: 2pt, 2% or 0.02.")] = None,
    budget: Annotated[float | None, Option(help="Or what may be spent; the effect that it shows is planned.")] = None,
    power: Annotated[float, Option(help="Chance of showing the effect if it is there.")] = 0.8,
    n: Annotated[int | None, Option(min=1, help="N of best-of-N; default half of the pilot's samples.")] = None,
    against: Annotated[
        str | None, Option(help="sample, greedy or constant (a known number); default sample, for N = 1 constant.")
    ] = None,
    reward: Annotated[str, Option(help="What best-of-N selects by: a reward or a numeric column.")] = "log_likelihood",
    samples: Annotated[int | None, Option(min=1, help="Samples per prompt; default the best number.")] = None,
    confidence: Annotated[float, Option(help="Of the interval that has to exclude 0.")] = 0.95,
    cost_per_prompt: Annotated[
        float | None, Option(help="What a prompt costs beside its samples; default tokens.")
    ] = None,
    cost_per_sample: Annotated[float | None, Option(help="In the same unit; default tokens of a response.")] = None,
    seed: Annotated[int, Option(min=0, help="Decides sub-pools and resamples of the pilot.")] = 0,
    out: Annotated[Path | None, Option(help="Also write the plan as .json, with provenance.")] = None,
) -> None:
    """Prompts and samples that an evaluation needs. Planned from a pilot pool.

    The test is of a mean over prompts, paired where two things are compared on the same prompts. The range of each number
    is what a pilot of this size leaves open.
    """
    from sharptheory.measure import planning
    from sharptheory.measure.imports import read_pool
    from sharptheory.measure.rewards import load_reward

    if (effect is None) == (budget is None):
        raise UserError("give either --effect or --budget")
    if (cost_per_prompt is None) != (cost_per_sample is None):
        raise UserError("give both --cost-per-prompt and --cost-per-sample, in one unit, or neither")
    wanted = None if effect is None else difference(effect, "--effect")
    if budget is not None:
        number(budget, "--budget", "(0, 1e18]")
    number(confidence, "--confidence", "(0, 1)")
    number(power, "--power", f"({(1 - confidence) / 2:g}, 1)")
    if out is not None:
        check_out(out, folder=False)
    pilot = read_pool(pool, columns=renamed_columns(columns))
    with as_options():
        found = planning.plan(
            pilot,
            wanted,
            budget=budget,
            n=n,
            against=against,
            reward=load_reward(reward) if ".py:" in reward else reward,
            samples=samples,
            power=power,
            confidence=confidence,
            cost_per_prompt=cost_per_prompt,
            cost_per_sample=cost_per_sample,
            seed=seed,
        )
    console.print(_table(found))
    for line in sentences(found):
        console.print(line)
    if out is not None:
        record = provenance(seed=seed, pool=str(pool))
        write_json(out, {"plan": asdict(found), "provenance": record})


#: Arguments of `planning.plan` in a message, with their values: ``samples=1``.
ARGUMENT = re.compile(
    r"(?<![\w/.-])(n|against|reward|samples|budget|effect|cost_per_prompt|cost_per_sample)=('?)([\w.+-]*\w)\2"
)


@contextmanager
def as_options() -> Iterator[None]:
    """What an error calls ``samples=1`` is typed ``--samples 1``."""
    try:
        yield
    except UserError as error:
        typed = lambda found: f"--{found[1].replace('_', '-')} {found[3]}"  # noqa: E731
        raise UserError(ARGUMENT.sub(typed, str(error))) from None


def difference(text: str, option: str) -> float:
    """A difference in accuracy as a share: ``2pt``, ``2%`` and ``0.02`` are one.

    Raises:
        UserError: no such number, or not in (0, 1].
    """
    digits = text.strip().removesuffix("s").removesuffix("pt").removesuffix("%")
    try:
        value = float(digits) / (1 if digits == text.strip() else 100)
    except ValueError:
        raise UserError(f"{option} {text!r}: expected a difference in accuracy as 2pt, 2% or 0.02") from None
    if not 0 < value <= 1:
        raise UserError(f"{option} {text}: expected a difference in accuracy above 0pt and up to 100pt")
    return value


def _table(plan) -> Table:
    """A row per number of samples, the best marked; the pilot's range stands behind what it is the range of."""
    budget = len({split.effect for split in plan.splits}) > 1
    reach = "pilot's range"
    header = ("samples per prompt", "prompts", *(("cost", "effect", reach) if budget else (reach, "cost")), "power")
    rows = []
    for split in plan.splits:
        cost = f"{split.cost:,.0f}"
        if budget:
            shown = (
                cost,
                f"{100 * split.effect:.2f}pt",
                f"{100 * split.effect_low:.2f} to {100 * split.effect_high:.2f}pt",
            )
        else:
            shown = (f"{split.prompts_low:,} to {split.prompts_high:,}", cost)
        rows.append(
            (
                f"{split.samples:,}{' (best)' if split is plan.best else ''}",
                f"{split.prompts:,}",
                *shown,
                f"{split.power_low:.2f} to {split.power_high:.2f}",
            )
        )
    return number_table(header, rows, "prompts needed" if not budget else "what the budget shows")


def sentences(plan) -> list[str]:
    """What the plan says, in words."""
    from sharptheory.measure.planning import FEW_PROMPTS

    best = plan.best
    many = lambda count, noun: f"{count:,} {noun}{'' if count == 1 else 's'}"  # noqa: E731
    known = " from a known number" if plan.against == "constant" else ""
    lines = [
        f"Planned for the {plan.quantity}.",
        f"{many(best.prompts, 'prompt')} with {many(best.samples, 'sample')} each show a difference of "
        f"{100 * best.effect:.2g} points{known} with probability {plan.power:g}, at a confidence of {plan.confidence:g}.",
        f"The pilot has {many(plan.pilot_prompts, 'prompt')}: what it says of how prompts differ leaves a power of "
        f"{best.power_low:.2f} to {best.power_high:.2f}.",
        f"Cost, in {plan.unit}: {plan.cost_per_prompt:,.4g} per prompt and {plan.cost_per_sample:,.4g} per sample.",
    ]
    if plan.pilot_prompts < FEW_PROMPTS:
        lines.insert(
            3,
            f"From fewer than {FEW_PROMPTS} prompts a plan is hardly more than a guess, as its range shows: enlarge the pilot.",
        )
    if plan.cost_per_prompt == 0 and plan.n == 1:
        lines[-1] += " Where a prompt costs nothing, one sample each is always best."
    if plan.n > 1 and best.samples == plan.splits[-1].samples and len(plan.splits) > 1:
        lines.append(
            "The best number of samples is all that the pilot has: more might be better still, which this pilot cannot say."
        )
    return lines
