"""The command `check`."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from sharptheory.cli.app import (
    app,
    console,
    progress_bar,
    write_json,
)
from sharptheory.errors import UserError
from sharptheory.provenance import provenance
from sharptheory.theory.policies import TabularPolicy


@app.command(
    epilog="Examples:  [bold]sharptheory check --instances 10000[/]  ·  "
    "[bold]sharptheory check --policy table.csv --only adaptive_stopping[/]"
)
def check(
    instances: Annotated[int, typer.Option(min=1, help="Random instances per statement.")] = 1_000,
    search: Annotated[
        int, typer.Option(min=0, help="Steps of the search for a tight instance, from the best one.")
    ] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Decides instances and search.")] = 0,
    policy: Annotated[
        Path | None, typer.Option(help="Check this table: .npz, .npy, .csv or .parquet, one row per prompt.")
    ] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Rows of --policy are weights.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Check only this statement; repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the table as .json, with provenance.")] = None,
) -> None:
    """Attack every statement of the theory: random instances, then a search for the tightest one."""
    from sharptheory import checks

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
    console.print(_table(results, f"{len(names)} statements, {instances:,} instances each, seed {seed}"))
    console.print(
        "tightest: largest quantity/bound met; 1 is equality, above 1 broken. Statements that are false or inconsistent "
        "as printed, or go beyond what is true, must fail, on the counterexample shown."
    )
    for r in results:
        if not r.as_expected and r.instance is not None:
            console.print(f"[bold red]{r.check.name}[/] broken at {r.where}:")
            console.print(r.instance)
    if out is not None:
        rows = [
            {"name": r.check.name, "source": r.check.source, "statement": r.check.statement, "instances": r.instances,
             "tightest": r.tightest if math.isfinite(r.tightest) else None, "verdict": r.verdict, "where": r.where,
             "must_fail": r.check.must_fail}
            for r in results
        ]  # fmt: skip
        facts = provenance(seed=seed, wall_seconds=time.perf_counter() - start, instances=instances, search=search)
        write_json(out, {"statements": rows, "provenance": facts})
    if not all(r.as_expected for r in results):
        raise typer.Exit(1)


def _table(results: list, title: str) -> Table:
    """One row per statement, those that came out unexpectedly in red."""
    printed = Table(title=title, title_justify="left", show_lines=True)
    printed.add_column("statement", ratio=1)
    for column, justify in (("instances", "right"), ("tightest", "right"), ("verdict, where", "left")):
        printed.add_column(column, justify=justify)
    for r in results:
        tightest = "identity" if r.check.identity and not r.broken else f"{r.tightest:.4g}"
        statement, verdict = escape(f"{r.check.source}: {r.check.statement}"), r.verdict
        if r.check.must_fail:
            statement += f"\n[dim]{escape(r.where)}[/]"
            verdict += f"\n[dim]{escape(r.check.must_fail)}[/]"
        else:
            verdict += f"\n[dim]{r.where}[/]"
        printed.add_row(statement, f"{r.instances:,}", tightest, verdict, style="" if r.as_expected else "bold red")
    return printed
