"""The command `compare`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from rich.table import Table
from typer import Option

from sharptheory.cli.app import (
    app,
    console,
    examples,
    number_table,
    progress_bar,
    say_written,
    stages,
    write_json,
)
from sharptheory.cli.dry_run import show
from sharptheory.cli.limits import BUDGET, PARTICLES, STEPS, WIDTH
from sharptheory.cli.models import Subject, load, read_task
from sharptheory.cli.numbers import grid, number
from sharptheory.cli.options import Options, takes_options
from sharptheory.cli.rewards import MEASURED, measured_columns
from sharptheory.measure.bootstrap import Estimate
from sharptheory.report.findings.premises import cut_short, too_few_mixed
from sharptheory.report.findings.words import TOGETHER, count, cut_responses, listed, span
from sharptheory.report.schema import FEWEST_PROMPTS, UNFINISHED_LIMIT, Interval
from sharptheory.runs import hold, write
from sharptheory.tasks import Task


@app.command(
    epilog=examples(
        "sharptheory compare --model arithmetic-1m --task arithmetic",
        "sharptheory compare --model ./my-model --task gsm8k --data gsm8k/ \\",
        "  --alpha 4 --beams 4 --steps none --dry-run",
    )
)
@takes_options(prompts=50, out=Path("out/compare"))
def compare(
    options: Options,
    *,
    samples: Annotated[int, Option(min=1, help="Samples per prompt that the best-of-N methods share.")] = 64,
    beams: Annotated[str, Option(help="Widths of beam search; none leaves it out, as with the next four.")] = "2,4,8",
    alpha: Annotated[str, Option(help="Powers α = 1 + 1/β of power sampling.")] = "2,4",
    particles: Annotated[str, Option(help="Particles of power sampling by SMC.")] = "8,32",
    steps: Annotated[str, Option(help="Proposals of power sampling by MCMC.")] = "8,32",
    delta: Annotated[str, Option(help="δ of adaptive best-of-N (threshold ln(2/δ)).")] = "0.5,0.1,0.01",
    budget: Annotated[int, Option(min=1, help="Most prefixes that the argmax search expands per prompt.")] = 1_000,
    rewards: Annotated[str, Option(help=f"Further self-rewards: {','.join(MEASURED)}.")] = "self_certainty",
) -> None:
    """Every way to decode, side by side. Accuracy and log-likelihood against the forward tokens they cost.

    Writes pool.parquet, decodings.jsonl, compare.parquet, compare.json and compare.png to --out. Of a method that can end
    short of what it is called, n_certified and n_stopped count the prompts on which it did not.
    """
    grids = dict(
        beams=grid(beams, "--beams", f"[1, {WIDTH}]", whole=True, optional=True),
        alphas=grid(alpha, "--alpha", "[1, 1000]", optional=True),
        particles=grid(particles, "--particles", f"[1, {PARTICLES}]", whole=True, optional=True),
        steps=grid(steps, "--steps", f"[1, {STEPS}]", whole=True, optional=True),
        deltas=grid(delta, "--delta", "(0, 1]", optional=True),
    )
    number(budget, "--budget", f"[1, {BUDGET}]")
    columns = measured_columns(rewards, "--rewards")
    start, out = time.perf_counter(), options.out
    task = read_task(options, {"--samples": samples})
    subject = load(options, task, columns=columns)
    if options.dry_run:
        return _dry_run(options, subject, task, samples, grids, budget, judge="p_true" in columns)
    from sharptheory.llm.decoding.compare import (
        alignment,
        compare_task,
        counted,
        cut_share,
        n_certified,
        n_mixed,
        summarize,
    )
    from sharptheory.report import plots as plotting

    n_prompts = count(len(task.prompts), "prompt")
    with hold(out, wait=options.wait):
        with progress_bar() as bar:
            table = compare_task(
                subject.oracle, task, out, n=samples, **grids, budget=budget, judge="p_true" in columns, seed=options.seed,
                identity=subject.identity, force=options.force, progress=stages(bar, f"{{stage}} {n_prompts}"),
            )  # fmt: skip
        write(out / "compare.parquet", lambda at: table.to_parquet(at, index=False))
        summary = counted(summarize(table), table)
        title = f"{subject.name} on {task.name}, {n_prompts}"
        certified = n_certified(table)
        console.print(_table(summary, title))
        unfinished = cut_share(out)
        if verdict := _against_greedy(summary, n_mixed(table), unfinished):
            console.print(verdict)
        if partial := _partial(summary, len(task.prompts)):
            console.print(partial)
        console.print(f"The argmax search certified its argmax on {certified} of {n_prompts}.")
        for note in filter(None, (*_notes(summary, samples), cut_responses(unfinished, "the samples"))):
            console.print(note)
        if said := _likelier(alignment(table, seed=options.seed)):
            console.print(said)
        say_written(plotting.save_compare(summary, out / "compare.png", title))
        rows = summary.astype(object).where(summary.notna(), None).to_dict("records")
        record = subject.provenance(start, seed=options.seed)
        write_json(
            out / "compare.json",
            {"methods": rows, "n_certified": certified, "unfinished": unfinished, "provenance": record},
        )


def _against_greedy(summary: pd.DataFrame, n_mixed: int, unfinished: float) -> str | None:
    """Which methods are more and less accurate than greedy decoding on the same prompts, where that may be said.

    Args:
        n_mixed: prompts with correct and incorrect samples. unfinished: share of the samples that are cut.
    """
    known = [(row, _over_greedy(row)) for _, row in summary.iterrows() if not pd.isna(row["accuracy_over_greedy"])]
    if not known:
        return None
    explained = f"Over greedy: differences in accuracy, {TOGETHER}."
    failed = [cut_short(unfinished)] * (unfinished > UNFINISHED_LIMIT) + [too_few_mixed(n_mixed)] * (
        n_mixed < FEWEST_PROMPTS
    )
    if failed:
        return f"{explained} No verdict: {'; '.join(failed)}."
    found = {
        verdict: [
            f"{row['method']}{', ' if row['setting'] else ''}{row['setting']}"
            for row, over in known
            if over.direction() == side
        ]
        for verdict, side in (("more accurate", 1), ("less accurate", -1))
    }
    said = [f"{verdict} than greedy decoding: {'; '.join(methods)}" for verdict, methods in found.items() if methods]
    rest = (
        "Of the others it is not shown."
        if said
        else "That any method is more or less accurate than greedy decoding is not shown."
    )
    return " ".join([explained, *(f"{each[0].upper()}{each[1:]}." for each in said), rest])


def _over_greedy(row: pd.Series) -> Interval:
    value, low, high = (row[f"accuracy_over_greedy{end}"] for end in ("", "_low", "_high"))
    return Interval(value, *(None if pd.isna(end) else end for end in (low, high)), row["n_prompts"])


def _points(over: Interval) -> str:
    """Of a cell: no more words than it has room for."""
    if pd.isna(over.value):
        return ""
    if over.low is None:
        return f"{100 * over.value:+.1f}"
    return span(over, scale=100, digits=1, sign=True, alike="same")


def _dry_run(
    options: Options, subject: Subject, task: Task, samples: int, grids: dict, budget: int, *, judge: bool
) -> None:
    from sharptheory.llm import dry_run
    from sharptheory.llm.decoding.compare import Decoders

    sampled, _ = dry_run.sampling(subject.oracle, task, samples, judge=judge)
    methods = {name: values for name, values in grids.items() if name != "deltas"}
    decoded = dry_run.decoding(subject.oracle, task, Decoders(**methods, budget=budget, seed=options.seed))
    memory = dry_run.memory(subject.oracle, task, samples, searching=True)
    show(options, f"{subject.name} on {task.name}", [sampled, decoded, dry_run.report(dry_run.COMPARISON)], memory)


def _likelier(likelier: Estimate | None) -> str | None:
    """Whether the likelier of two methods is the more accurate, where their accuracies can be compared."""
    if likelier is None:
        return None
    needs = "what sharpening needs is that within a prompt (`diagnose`)."
    if np.isnan(likelier.value):
        return f"These methods all tie in accuracy or in likelihood, so neither tells of the other; {needs}"
    interval = "" if np.isnan(likelier.low) else f" [{likelier.low:.2f}, {likelier.high:.2f}]"
    return f"Of two of these methods the likelier is the more accurate with probability {likelier.value:.2f}{interval}; {needs}"


def _partial(summary: pd.DataFrame, n_prompts: int) -> str | None:
    """The methods whose means are over fewer prompts than those of the others."""
    few = summary[summary["n_prompts"] < n_prompts]
    if few.empty:
        return None
    each = listed(f"{row.method}, {row.setting} ({row.n_prompts} of {n_prompts})" for row in few.itertuples())
    return f"Found a finished response on some prompts only, whose mean this is: {each}."


def _notes(summary: pd.DataFrame, samples: int) -> list[str]:
    """What the rows of the argmax search and of adaptive best-of-N count where they could not be what they are called."""
    notes = []
    if (summary["n_certified"] < summary["n_prompts"]).any():
        notes.append(
            "Elsewhere its row counts the best finished response that it found, which may be less likely than that of "
            "greedy decoding: raise --budget."
        )
    if (summary["n_stopped"] < summary["n_prompts"]).any():
        notes.append(
            f"Where adaptive best-of-N had not stopped within the {samples} samples of the pool, it counts the best of them, "
            "and its tokens are those of the pool: raise --samples."
        )
    return notes


def _setting(row: pd.Series) -> str:
    """The setting, and on how many prompts only a search was certified or a rule stopped."""
    marks = [
        f"{done} on {row[column]} of {row['n_prompts']}"
        for column, done in (("n_certified", "certified"), ("n_stopped", "stopped"))
        if not pd.isna(row[column]) and row[column] < row["n_prompts"]
    ]
    return ", ".join([row["setting"], *marks])


def _table(summary: pd.DataFrame, title: str) -> Table:
    """A row per method and setting; a method is named once."""
    rows = []
    for method, group in summary.groupby("method", sort=False):
        for index, (_, row) in enumerate(group.iterrows()):
            over = _over_greedy(row)
            rows.append((
                "" if index else method,
                _setting(row),
                "" if pd.isna(row["forward_tokens"]) else f"{row['forward_tokens']:,.0f}",
                "" if pd.isna(row["accuracy"]) else f"{100 * row['accuracy']:.1f}",
                _points(over),
                "" if pd.isna(row["log_likelihood"]) else f"{row['log_likelihood']:.2f}",
            ))  # fmt: skip
    return number_table(("method", "setting", "tokens", "accuracy, %", "over greedy", "log π"), rows, title, words=2)
