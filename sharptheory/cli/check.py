"""The command `check`."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text
from typer import Option

from sharptheory.cli.app import app, console, examples, progress_bar, write_json
from sharptheory.cli.limits import INSTANCES, check_out
from sharptheory.cli.numbers import number
from sharptheory.errors import UserError
from sharptheory.provenance import provenance
from sharptheory.theory.policies import TabularPolicy


@app.command(
    epilog=examples(
        "sharptheory check --instances 10000",
        "sharptheory check --policy table.csv --only adaptive_stopping",
    )
)
def check(
    instances: Annotated[int, Option(min=1, help="Random instances per statement.")] = 1_000,
    search: Annotated[int, Option(min=0, help="Steps of the search for a tight instance, from the best one.")] = 500,
    seed: Annotated[int, Option(min=0, help="Decides instances and search.")] = 0,
    policy: Annotated[
        Path | None, Option(help="Check this table: .npz, .npy, .csv or .parquet, one row per prompt.")
    ] = None,
    normalize: Annotated[bool, Option("--normalize", help="Rows of --policy are weights.")] = False,
    only: Annotated[list[str] | None, Option(help="Check only this statement; repeatable.")] = None,
    out: Annotated[Path | None, Option(help="Also write the table as .json, with provenance.")] = None,
) -> None:
    """Attack every statement of the theory on random instances. Then search for the tightest one.

    Ends with exit code 1 if one is broken.
    """
    from sharptheory import checks

    number(instances, "--instances", f"[1, {INSTANCES}]")
    number(search, "--search", f"[0, {INSTANCES}]")
    if out is not None:
        check_out(out, folder=False)
    names = list(checks.REGISTRY) if only is None else only
    for name in names:
        if name not in checks.REGISTRY:
            raise UserError(f"--only {name}: no such statement; expected one of {', '.join(checks.REGISTRY)}")
    table = None if policy is None else TabularPolicy.from_file(policy, normalize=normalize)
    start, results = time.perf_counter(), []
    with progress_bar() as bar:
        line = bar.add_task(f"checking {len(names)} statements", total=len(names))
        for result in checks.run(instances, seed=seed, policy=table, search=search, names=names):
            results.append(result)
            bar.advance(line)
    title = f"{len(names)} statements, {instances:,} instances each, seed {seed}"
    console.print(_table(results, title))
    console.print(
        "tightest: the largest quantity/bound met; 1 is equality, above 1 the statement is broken. Statements that are false "
        "or inconsistent as printed in the paper, or go beyond their premise, must break: each is checked on the "
        "counterexample shown beside it, and would be an error if it held."
    )
    for r in results:
        if not r.as_expected and r.instance is not None:
            console.print(f"{r.check.name} broken at {r.where}:", style="bold red")
            console.print(r.instance)
    if out is not None:
        rows = [
            {"name": r.check.name, "source": r.check.source, "statement": r.check.statement, "instances": r.instances,
             "tightest": r.tightest if math.isfinite(r.tightest) else None, "verdict": r.verdict, "where": r.where,
             "must_fail": r.check.must_fail}
            for r in results
        ]  # fmt: skip
        record = provenance(seed=seed, wall_seconds=time.perf_counter() - start, instances=instances, search=search)
        write_json(out, {"statements": rows, "provenance": record})
    if not all(r.as_expected for r in results):
        raise typer.Exit(1)


def _table(results: list, title: str) -> Table:
    """A row per statement; an erratum shows the instance on which it fails beside the statement."""
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("statement", ratio=1, overflow="fold")
    for column, justify in (("instances", "right"), ("tightest", "right"), ("verdict, where", "left")):
        table.add_column(column, justify=justify)
    for r in results:
        tightest = "identity" if r.check.identity and not r.broken else f"{r.tightest:.4g}"
        statement, verdict = Text(f"{r.check.source}: {r.check.statement}"), Text(r.verdict)
        (statement if r.check.must_fail else verdict).append(f"\n{r.where}", style="dim")
        if r.check.must_fail:
            verdict.append(f"\n{r.check.must_fail}", style="dim")
        table.add_row(statement, f"{r.instances:,}", tightest, verdict, style="" if r.as_expected else "bold red")
    return table
