"""The command `argmax`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from typer import Option

from sharptheory.cli.app import app, console, examples, fact_table, progress_bar, write_json
from sharptheory.cli.dry_run import show
from sharptheory.cli.limits import BUDGET, check_size
from sharptheory.cli.models import load, read_task
from sharptheory.cli.numbers import number
from sharptheory.cli.options import Options, takes_options
from sharptheory.report.findings.words import count
from sharptheory.runs import hold, write


@app.command(
    epilog=examples(
        "sharptheory argmax --model arithmetic-1m --task arithmetic",
        "sharptheory argmax --model ./my-model --task my.jsonl --gamma 0.5 \\",
        "  --budget 5000 --dry-run",
    )
)
@takes_options(out=Path("out/argmax"))
def argmax(
    options: Options,
    *,
    gamma: Annotated[float, Option(help="Also find every response with p ≥ (1-γ) p*.")] = 0.0,
    budget: Annotated[int, Option(min=1, help="Most prefixes expanded per prompt.")] = 1_000,
    samples: Annotated[int, Option(min=0, help="Samples that seed the search, besides greedy decoding.")] = 16,
) -> None:
    """Find the most likely response of each prompt, with a proof. Then coverage and margin are exact.

    Writes argmax.jsonl, argmax.parquet and argmax.json to --out.
    """
    number(gamma, "--gamma", "[0, 1)")
    number(budget, "--budget", f"[1, {BUDGET}]")
    check_size({"--samples": samples})
    start, out = time.perf_counter(), options.out
    task = read_task(options, {})
    subject = load(options, task)
    if options.dry_run:
        from sharptheory.llm import dry_run

        stage = dry_run.searching(subject.oracle, task, budget=budget, gamma=gamma, samples=samples)
        memory = dry_run.memory(subject.oracle, task, max(samples, 1), searching=True)
        return show(options, f"{subject.name} on {task.name}", [stage], memory)
    from sharptheory.llm.decoding.search import search_task, summarize

    with hold(out, wait=options.wait):
        with progress_bar() as bar:
            line = bar.add_task(f"searching {len(task.prompts)} prompts", total=len(task.prompts))
            table = search_task(
                subject.oracle, task, out, gamma=gamma, budget=budget, samples=samples, seed=options.seed,
                identity=subject.identity, force=options.force,
                progress=lambda done, total: bar.update(line, completed=done, total=total),
            )  # fmt: skip
            write(out / "argmax.parquet", lambda at: table.to_parquet(at, index=False))
        summary = summarize(table, gamma)
        console.print(fact_table(_lines(summary), f"{subject.name} on {task.name}"))
        write_json(out / "argmax.json", {**summary, "provenance": subject.provenance(start, seed=options.seed)})


def _lines(summary: dict) -> list[tuple[str, str]]:
    """What the search found, in words; each number with the prompts that it is of."""
    certified, complete, graded = (summary[name] for name in ("n_certified", "n_complete", "n_certified_graded"))
    known = lambda value, prompts: "n/a" if value is None else f"{value:,.3g}, exact on {prompts}"  # noqa: E731
    share = lambda value, prompts: "n/a" if value is None else f"{100 * value:.1f} % of {prompts}"  # noqa: E731
    margins = summary["margin"], summary["median_margin"]
    # At γ = 0 it is the coverage coefficient again.
    within = (
        [(f"C_cov at γ = {summary['gamma']:g}", known(summary["c_cov_gamma"], complete))] if summary["gamma"] else []
    )
    return [
        ("argmax certified on", f"{certified} of {count(summary['n_prompts'], 'prompt')}"),
        ("prefixes expanded, median / most", f"{summary['median_expanded']:.0f} / {summary['max_expanded']:,}"),
        ("coverage coefficient E[1/p*]", known(summary["c_cov_bar"], certified)),
        ("the same on all of them", f"at least {summary['c_cov_bar_at_least']:,.3g}"),
        ("with 95 % confidence on all such prompts", f"at least {summary['c_cov_all_at_least']:,.3g}"),
        *within,
        (
            "margin, smallest / median",
            "n/a" if None in margins else f"{margins[0]:,.3g} / {margins[1]:,.3g}, exact on {summary['n_margins']}",
        ),
        ("greedy decoding finds the argmax on", share(summary["greedy_is_argmax"], certified)),
        ("accuracy of the certified argmax", share(summary["argmax_accuracy"], graded)),
        ("accuracy of greedy decoding, on the same", share(summary["greedy_accuracy_certified"], graded)),
        ("accuracy of greedy decoding, on all", share(summary["greedy_accuracy"], summary["n_graded"])),
    ]
