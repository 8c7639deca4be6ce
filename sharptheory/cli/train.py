"""The command that sharpens a model by training it on its own responses."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from typer import Context, Option

from sharptheory.cli.app import app, console, examples, number_table, progress_bar, say_written, stages, write_json
from sharptheory.cli.dry_run import show
from sharptheory.cli.limits import check_kept, check_size
from sharptheory.cli.models import Subject, check_sizes, load
from sharptheory.cli.options import Options, takes_options, typed
from sharptheory.cli.rewards import needed_columns
from sharptheory.errors import UserError
from sharptheory.llm.training.config import MAJORITY, METHODS, OF_METHODS, Config, training_reward
from sharptheory.measure.rewards import REWARDS
from sharptheory.report.findings.words import cut_responses
from sharptheory.tasks import Task, split_task

DEFAULT = Config()


@app.command(
    epilog=examples(
        "sharptheory train --model arithmetic-1m --task arithmetic --out out/sft",
        "sharptheory train --model ./my-model --task gsm8k --data gsm8k/ \\",
        "  --method dpo --beta 0.5 --lora-rank 16 --dry-run",
        "accelerate launch --num_processes 2 -m sharptheory train \\",
        "  --model ./my-model --task my.jsonl",
    )
)
@takes_options(prompts=2_000, seed=DEFAULT.seed, out=Path("out/train"))
def train(
    options: Options,
    *,
    context: Context,
    method: Annotated[str, Option(help=f"{', '.join(METHODS)}.")] = DEFAULT.method,
    reward: Annotated[
        str,
        Option(help=f"{', '.join(REWARDS)}, {MAJORITY}, or your own: ./my_reward.py:name. correctness is a control."),
    ] = DEFAULT.reward,
    eval_prompts: Annotated[int, Option(min=2, help="Held-out prompts to measure on.")] = 100,
    samples: Annotated[
        int, Option(min=2, help="Responses per prompt and round: the N of best-of-N.")
    ] = DEFAULT.n_samples,
    eval_samples: Annotated[int, Option(min=1, help="Responses per held-out prompt and evaluation.")] = 16,
    n: Annotated[int, Option("--n", min=1, help="N that the bon-* methods train for.")] = DEFAULT.n,
    beta: Annotated[float, Option(help="β of dpo and xpo.")] = DEFAULT.beta,
    delta: Annotated[float, Option(help="δ of adaptive-sft (threshold ln(2/δ)).")] = DEFAULT.delta,
    optimism: Annotated[float, Option(help="α of xpo.")] = DEFAULT.optimism,
    rounds: Annotated[int, Option(min=1, help="Rounds of sampling and training.")] = DEFAULT.rounds,
    lora_rank: Annotated[
        int | None, Option(min=1, help="Train low-rank adapters (merged at the end).")
    ] = DEFAULT.lora_rank,
    full: Annotated[bool, Option("--full", help="Train all weights (the default).")] = False,
    epochs: Annotated[int, Option(min=1, help="Passes over the examples of a round.")] = DEFAULT.epochs,
    learning_rate: Annotated[
        float, Option("--lr", help="Peak learning rate; falls linearly to 0.")
    ] = DEFAULT.learning_rate,
    batch_size: Annotated[int, Option(min=1, help="Examples per step, over all processes.")] = DEFAULT.batch_size,
    max_grad_norm: Annotated[float, Option(help="Gradients are clipped to this norm.")] = DEFAULT.max_grad_norm,
    weight_decay: Annotated[
        float, Option(help="Decay of the weights towards 0, per step and rate.")
    ] = DEFAULT.weight_decay,
    pool: Annotated[
        Path | None, Option(help="Samples to learn from in the first round, instead of sampling them.")
    ] = None,
    foreign: Annotated[
        bool, Option("--foreign", help="--pool is another model's: score it under this one, learn the likeliest.")
    ] = False,
    no_certify: Annotated[bool, Option("--no-certify", help="Do not search the held-out prompts' argmax.")] = False,
) -> None:
    """Train a model on its own responses, and measure the gain.

    Learns from --prompts prompts. Writes pools, checkpoints, log, evaluation, summary.json and the trained model to --out.
    A training goes on where it was killed, but does not grow: more --prompts, --samples or --epochs make another.
    """
    _refuse_idle(method, typed(context))
    if full and lora_rank:
        raise UserError("--full trains all weights and --lora-rank a few; give one of them")
    if foreign and pool is None:
        raise UserError("--foreign says whose samples --pool holds; give --pool")
    config = Config(
        method=method, reward=reward, n_samples=samples, n=n, beta=beta, delta=delta, optimism=optimism, rounds=rounds,
        lora_rank=lora_rank, epochs=epochs, learning_rate=learning_rate, batch_size=batch_size,
        max_grad_norm=max_grad_norm, weight_decay=weight_decay, seed=options.seed,
    )  # fmt: skip
    columns = needed_columns([training_reward(reward)])
    check_sizes(options, {"--samples": samples})
    check_size({"--eval-prompts": eval_prompts, "--samples": samples})
    check_size({"--eval-prompts": eval_prompts, "--eval-samples": eval_samples})
    start, out = time.perf_counter(), options.out
    task, held_out = _split(options, eval_prompts, pool)
    from sharptheory.llm.training.fit import process_state
    from sharptheory.llm.training.sharpen import sharpen

    process = process_state()
    if process.num_processes > 1 and options.device is None:
        options = replace(options, device=str(process.device))
    subject = load(options, task, held_out, columns=columns)
    if options.dry_run:
        return _dry_run(options, subject, task, held_out, config, eval_samples, pool=pool, certify=not no_certify)
    with progress_bar() as bar:
        table, base = sharpen(
            subject.oracle, task, held_out, out, config, pool=pool, foreign=foreign, n_eval=eval_samples,
            certify=not no_certify, identity=subject.identity, force=options.force, wait=options.wait,
            progress=stages(bar) if process.is_main_process else None,
        )  # fmt: skip
    if not process.is_main_process:
        return
    title = f"{subject.name} on {task.name}: {method} by {reward}, N = {samples}"
    _print(table, base, title, eval_samples=eval_samples)
    for name, responses in (("base", base), ("trained", table.iloc[-1])):
        if warning := cut_responses(responses.get("unfinished"), f"the {name} model's responses"):
            console.print(warning)
    last = table.iloc[-1].dropna().to_dict()
    summary = out / "summary.json"
    if summary.exists():  # of a finished run it says how long that took
        say_written(summary)
    else:
        write_json(
            summary,
            {"baseline": base, "trained": last, "gap_closed": _gap(table.iloc[-1]),
             "provenance": subject.provenance(start, seed=options.seed)},
        )  # fmt: skip
    console.print(f"trained model: {out / 'model'}  ({time.perf_counter() - start:.0f} s)", soft_wrap=True)


def _dry_run(
    options: Options, subject: Subject, task: Task, held_out: Task, config: Config, eval_samples: int, *, pool: Path | None,
    certify: bool,
) -> None:  # fmt: skip
    """The stages of `sharpen`: the base model on the held-out prompts, the rounds, and what measures them."""
    from sharptheory.llm import dry_run

    oracle, baseline = subject.oracle, max(config.n_samples, eval_samples)
    judge = training_reward(config.reward).measured == "judge"
    sampled, rows = dry_run.sampling(oracle, task, config.n_samples, judge=judge)
    based, _ = dry_run.sampling(oracle, held_out, baseline)
    measured, _ = dry_run.sampling(oracle, held_out, eval_samples)
    fitted, memory = dry_run.training(oracle, task, rows, config)
    rounds, evaluations = config.rounds, 1 + config.rounds * config.epochs
    stages = [
        replace(based, name="baseline"),
        replace(sampled.times(rounds - (pool is not None)), name="sampling"),
        replace(fitted, name="training", tokens=rounds * fitted.tokens, seconds=rounds * fitted.seconds),
        replace(measured.times(evaluations), name="measuring", disk=0),
        replace(based, name="trained model"),
    ]
    if certify:
        stages.insert(0, replace(dry_run.searching(oracle, held_out, budget=1_000), name="certifying"))
    memory = max(memory, dry_run.memory(oracle, task, config.n_samples, searching=certify))
    show(options, f"{subject.name} on {task.name}", stages, memory)


#: Fields of an interval, and how the columns of a table end.
ENDS = {"value": "", "low": "_low", "high": "_high"}


def _refuse_idle(method: str, given: dict[str, str]) -> None:
    """Refuse options that are of other methods, for they would change nothing.

    Args:
        given: the options that are `typed`.
    """
    for setting, methods in OF_METHODS.items():
        if setting in given and method in METHODS and method not in methods:
            raise UserError(
                f"{given[setting]} with --method {method}: it is of {' and '.join(methods)} alone; leave it out, or choose "
                "such a method"
            )


def _split(options: Options, eval_prompts: int, pool: Path | None) -> tuple[Task, Task]:
    """Prompts to learn from and prompts to measure on; `--pool` is looked at first."""
    if pool is not None:
        if not pool.is_file():
            raise UserError(f"pool file {pool} does not exist")
        check_kept(pool, options.out, force=options.force)
    return split_task(
        options.task, options.prompts, eval_prompts, seed=options.seed, extract=options.extract, data=options.data,
        shots=options.shots,
    )  # fmt: skip


def _gap(last: pd.Series) -> dict | None:
    """Share of the way from one sample of the base model to its best-of-N that one sample of the trained model has come.

    With its interval over prompts, gap and gain resampled together; None where the base model shows no gap to close.
    """
    gap = {end: float(last.get(f"gap_closed{suffix}", np.nan)) for end, suffix in ENDS.items()}
    return None if np.isnan(list(gap.values())).any() else gap


#: Columns that are shown where an evaluation has them, with what is said of them below the table.
SHOWN = {
    "accuracy": ("accuracy", ""),
    "log_likelihood": ("log π", "log π: under the base model"),
    "argmax_mass": ("argmax", "argmax: mass on the certified argmax"),
    "entropy": ("entropy", "entropy in nats"),
    "distinct": ("distinct", "distinct: share of the samples"),
    "length": ("tokens", ""),
}


def _print(table: pd.DataFrame, base: dict, title: str, *, eval_samples: int) -> None:
    """A row for each policy: the base model by its own pool, every evaluation, and how the trained model decodes."""
    shown = [name for name in SHOWN if name in table]

    def form(name: str, value: float) -> str:
        return f"{100 * value:.1f} %" if name in ("accuracy", "distinct", "argmax_mass") else f"{value:.2f}"

    def beside(label: str, kind: str, values) -> tuple[str, ...]:
        return (label, *(form(name, values[f"{kind}_{name}"]) if f"{kind}_{name}" in values else "" for name in shown))

    n, last = base["n"], table.iloc[-1]
    rows = [
        beside(f"base, mean of {n}", "sampled", base),
        beside("base, greedy", "greedy", base),
        beside(f"base, best of {n}", "best_of_n", base),
    ]
    for _, row in table.iterrows():
        trained = f"round {row['round']:.0f}, epoch {row['epoch']:.0f}"
        label = f"base, mean of {eval_samples} others" if row["epoch"] == 0 else trained
        rows.append((label, *(form(name, row[name]) for name in shown)))
    if "greedy_log_likelihood" in last:
        rows += [beside("trained, greedy", "greedy", last), beside(f"trained, best of {n}", "best_of_n", last)]
    console.print(number_table(("policy", *(SHOWN[name][0] for name in shown)), rows, title))
    legend = [
        f"base, mean of {n}: one sample on average, of the {n} per held-out prompt that best-of-{n} selects from",
        f"base, mean of {eval_samples} others: the same of samples taken as after each epoch, which it is to be compared with",
        *(SHOWN[name][1] for name in shown if SHOWN[name][1]),
    ]
    console.print("; ".join(legend) + ".")
    if "accuracy" in last:
        console.print(_said(_gap(last), base))


def _said(gap: dict | None, base: dict) -> str:
    """How much of the gap is closed; where its interval is unknown, whether there is a gap to speak of."""
    one, best = base["sampled_accuracy"], base["best_of_n_accuracy"]
    between = f"between one sample ({100 * one:.1f} %) and best-of-{base['n']} ({100 * best:.1f} %) of the base model"
    if gap is not None:
        value, low, high = (f"{100 * gap[end]:.0f} %" for end in ENDS)
        return f"One sample of the trained model has come {value} [{low}, {high}] of the way {between}."
    if best > one:
        return f"These prompts are too few to tell the gap {between} from none, so no share of it is stated."
    if best == one:
        return f"These prompts show no gap {between} to close."
    return (
        f"On these prompts best-of-{base['n']} of the base model ({100 * best:.1f} %) is below one of its samples "
        f"({100 * one:.1f} %): there is no gap to close. Whether that is more than chance, `sharptheory diagnose` says."
    )
