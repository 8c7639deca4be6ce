"""The command `curves`."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from rich.table import Table
from typer import Option

from sharptheory.cli.app import app, console, examples, number_table, progress_bar, say_written, write_json
from sharptheory.cli.limits import FAMILIES, FAMILY, check_out
from sharptheory.cli.numbers import grid, number, shortest
from sharptheory.errors import UserError
from sharptheory.provenance import provenance
from sharptheory.runs import writing


@app.command(
    epilog=examples(
        "sharptheory curves --out out/curves",
        "sharptheory curves --eps 1e-4:0.1:13 --coverage 2,10,100 --dim 5",
    )
)
def curves(
    eps: Annotated[str, Option(help="ε: numbers 0.1,0.01 or a geometric grid start:stop:points.")] = "0.001:0.2:13",
    coverage: Annotated[str, Option(help="Coverage coefficients C > 1, same notation.")] = "10",
    dim: Annotated[str, Option(help="Numbers of hard prompts d, same notation.")] = "5",
    delta: Annotated[float, Option(help="Missing mass δ that the bounds promise, at most 1/2.")] = 0.5,
    out: Annotated[Path, Option(help="Folder for curves.parquet, curves.json and PNGs.")] = Path("out/curves"),
) -> None:
    """What sharpening costs: exact minimax curves, bounds, rates. In samples, on the hardest family of policies."""
    grids = dict(
        eps=grid(eps, "--eps", "(0, 1)"),
        coverage=grid(coverage, "--coverage", "(1, 1e9]"),
        dim=grid(dim, "--dim", "[1, 100000]", whole=True),
    )
    number(delta, "--delta", "(0, 0.5]")
    _check_sizes(grids)
    check_out(out)
    from sharptheory.report import plots as plotting
    from sharptheory.theory.tables import sample_complexity

    start, total = time.perf_counter(), math.prod(map(len, grids.values()))
    with progress_bar() as bar:
        line = bar.add_task(f"solving {total} families", total=total)
        table = sample_complexity(**grids, delta=delta, progress=lambda: bar.advance(line))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        table.to_parquet(out / "curves.parquet", index=False)
        for (c, d), rows in table.groupby(["coverage", "dim"]):
            path = out / f"curves-C{shortest(c)}-d{d}.png"
            title = f"What sharpening costs: coverage coefficient ≤ {shortest(c)}, {d} hard prompts"
            plotting.save(lambda ax, rows=rows: plotting.sample_complexity(rows, ax), path, title)
            say_written(path)
    record = provenance(seed=None, wall_seconds=time.perf_counter() - start, **grids, delta=delta)
    write_json(out / "curves.json", {"provenance": record})
    console.print(_slopes(table) if len(grids["eps"]) > 1 else _queries(table))


def _check_sizes(grids: dict[str, list]) -> None:
    """Refuse families and grids that would take hours; a family has about C/ε outcomes."""
    largest, smallest = max(grids["coverage"]), min(grids["eps"])
    if largest / smallest > FAMILY * (1 + 1e-9):
        fits = f"--eps {largest / FAMILY:.2g}" if largest < FAMILY else f"--coverage {smallest * FAMILY:.2g}"
        raise UserError(
            f"--eps {smallest:g} with --coverage {largest:g}: C/ε is {largest / smallest:.2g} and at most {FAMILY:.0e} fits; "
            f"{fits} would"
        )
    if (total := math.prod(map(len, grids.values()))) > FAMILIES:
        raise UserError(f"--eps × --coverage × --dim is {total:,} families; at most {FAMILIES:,} fit")


def _queries(table: pd.DataFrame) -> Table:
    """Of a single ε, which has no slope; rates have no height."""
    rows = [
        (row.curve, row.kind, shortest(row.coverage), f"{row.dim}", f"{row.queries:,.4g}")
        for row in table[table["kind"] != "rate"].itertuples()
    ]
    title = f"queries m at ε = {shortest(table['eps'].iloc[0])}; more than one ε would show slopes"
    return number_table(("curve", "kind", "C", "d", "m"), rows, title, words=2)


def _slopes(table: pd.DataFrame) -> Table:
    rows = []
    for (curve, kind, c, d), group in table.groupby(["curve", "kind", "coverage", "dim"], sort=False):
        ends = group.sort_values("eps").iloc[[0, -1]]
        if len(group) > 1 and (ends["queries"] > 0).all():
            slope = np.diff(np.log(ends["queries"]))[0] / np.diff(np.log(ends["eps"]))[0]
            rows.append((curve, kind, shortest(c), f"{d}", f"{slope:.2f}"))
    title = "slope of log m in log ε, between the ends of the grid"
    return number_table(("curve", "kind", "C", "d", "slope"), rows, title, words=2)
