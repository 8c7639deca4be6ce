"""The command `curves`."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from sharptheory.cli.app import (
    app,
    console,
    grid,
    progress_bar,
    write_json,
)
from sharptheory.provenance import provenance


@app.command(
    epilog="Examples:  [bold]sharptheory curves --out out/curves[/]  ·  "
    "[bold]sharptheory curves --eps 1e-4:0.1:13 --coverage 2,10,100 --dim 5[/]"
)
def curves(
    eps: Annotated[
        str, typer.Option(help="ε: numbers 0.1,0.01 or a geometric grid start:stop:points.")
    ] = "0.001:0.2:13",
    coverage: Annotated[str, typer.Option(help="Coverage coefficients C > 1, same notation.")] = "10",
    dim: Annotated[str, typer.Option(help="Numbers of hard prompts d, same notation.")] = "5",
    delta: Annotated[float, typer.Option(help="Missing mass δ that the bounds promise, at most 1/2.")] = 0.5,
    out: Annotated[Path, typer.Option(help="Folder for curves.parquet, curves.json and PNGs.")] = Path("out/curves"),
) -> None:
    """Minimax sample complexity of sharpening: exact curves on the hard family, bounds and rates."""
    from sharptheory.report import plots as plotting
    from sharptheory.theory.tables import sample_complexity

    start = time.perf_counter()
    grids = {"eps": grid(eps, "--eps"), "coverage": grid(coverage, "--coverage"), "dim": grid(dim, "--dim")}
    grids["dim"] = [int(d) for d in grids["dim"]]
    total = math.prod(map(len, grids.values()))
    with progress_bar() as bar:
        line = bar.add_task(f"solving {total} families", total=total)
        table = sample_complexity(**grids, delta=delta, progress=lambda: bar.advance(line))
    out.mkdir(parents=True, exist_ok=True)
    table.to_parquet(out / "curves.parquet", index=False)
    facts = provenance(seed=None, wall_seconds=time.perf_counter() - start, **grids, delta=delta)
    write_json(out / "curves.json", {"provenance": facts})
    for (c, d), rows in table.groupby(["coverage", "dim"]):
        path = out / f"curves-C{c:g}-d{d}.png"
        title = f"What sharpening costs: coverage coefficient ≤ {c:g}, {d} hard prompts"
        plotting.save(lambda ax, rows=rows: plotting.sample_complexity(rows, ax), path, title)
        console.print(f"{path}")
    slopes = Table(title="slope of log m in log ε, between the ends of the grid", title_justify="left")
    for column in ("curve", "kind", "C", "d", "slope"):
        slopes.add_column(column)
    for (curve, kind, c, d), rows in table.groupby(["curve", "kind", "coverage", "dim"], sort=False):
        ends = rows.sort_values("eps").iloc[[0, -1]]
        if len(rows) > 1 and (ends["queries"] > 0).all():
            slope = np.diff(np.log(ends["queries"]))[0] / np.diff(np.log(ends["eps"]))[0]
            slopes.add_row(curve, kind, f"{c:g}", f"{d}", f"{slope:.2f}")
    console.print(slopes)
