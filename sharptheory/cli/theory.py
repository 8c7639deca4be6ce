"""Commands on policies whose whole law is known: check, curves, law."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from sharptheory.cli.app import (
    app,
    console,
    grid,
    progress_bar,
    write_json,
)
from sharptheory.policies import TabularPolicy
from sharptheory.provenance import provenance


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
            raise ValueError(f"--only {name}: no such statement; expected one of {', '.join(checks.REGISTRY)}")
    table = None if policy is None else TabularPolicy.from_file(policy, normalize=normalize)
    start, results = time.perf_counter(), []
    with progress_bar() as bar:
        line = bar.add_task(f"checking {len(names)} statements", total=len(names))
        for result in checks.run(instances, seed=seed, policy=table, search=search, names=names):
            results.append(result)
            bar.advance(line)
    title = f"{len(names)} statements, {instances:,} instances each, seed {seed}"
    printed = Table(title=title, title_justify="left", show_lines=True)
    printed.add_column("statement", ratio=1)
    for column, justify in (("instances", "right"), ("tightest", "right"), ("verdict, where", "left")):
        printed.add_column(column, justify=justify)
    for r in results:
        tightest = "identity" if r.check.identity and not r.broken else f"{r.tightest:.4g}"
        statement, verdict = escape(f"{r.check.source}: {r.check.statement}"), r.verdict
        if r.check.erratum:
            statement += f"\n[dim]{escape(r.where)}[/]"
        else:
            verdict += f"\n[dim]{r.where}[/]"
        printed.add_row(statement, f"{r.instances:,}", tightest, verdict, style="" if r.as_expected else "bold red")
    console.print(printed)
    console.print(
        "tightest: largest quantity/bound met; 1 is equality, above 1 broken. Errata must fail, on the instance shown."
    )
    for r in results:
        if not r.as_expected and r.instance is not None:
            console.print(f"[bold red]{r.check.name}[/] broken at {r.where}:")
            console.print(r.instance)
    if out is not None:
        rows = [
            {"name": r.check.name, "source": r.check.source, "statement": r.check.statement, "instances": r.instances,
             "tightest": r.tightest if math.isfinite(r.tightest) else None, "verdict": r.verdict, "where": r.where}
            for r in results
        ]  # fmt: skip
        facts = provenance(seed=seed, wall_seconds=time.perf_counter() - start, instances=instances, search=search)
        write_json(out, {"statements": rows, "provenance": facts})
    if not all(r.as_expected for r in results):
        raise typer.Exit(1)


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
    from sharptheory import plotting
    from sharptheory.tables import sample_complexity

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


@app.command(
    epilog="Examples:  [bold]sharptheory law --probs 0.5,0.3,0.2 --n 1,4,16 --beta 0.5[/]  ·  "
    "[bold]sharptheory law --policy table.csv --row 3 --alpha 1:8:4 --delta 0.1 --out law.csv[/]"
)
def law(
    probs: Annotated[str | None, typer.Option(help="One prompt's response probabilities, 0.5,0.3,0.2.")] = None,
    policy: Annotated[Path | None, typer.Option(help="Or a table: .npz, .npy, .csv, .parquet.")] = None,
    row: Annotated[int, typer.Option(min=0, help="Prompt of the table.")] = 0,
    n: Annotated[str, typer.Option(help="N of best-of-N: numbers 1,4,16 or a grid start:stop:points.")] = "1,4,16,64",
    beta: Annotated[str, typer.Option(help="β of the tilted law.")] = "",
    alpha: Annotated[str, typer.Option(help="α of the power law.")] = "",
    delta: Annotated[str, typer.Option(help="δ of adaptive best-of-N (threshold ln(2/δ)).")] = "0.1",
    gamma: Annotated[float, typer.Option(help="γ of the near-maximisers.")] = 0.0,
    normalize: Annotated[bool, typer.Option("--normalize", help="Numbers are weights.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the table as .csv or .parquet.")] = None,
) -> None:
    """Exact laws of one prompt: best-of-N, tilted, power, adaptive, argmax."""
    from sharptheory.tables import law_table

    if (probs is None) == (policy is None):
        raise ValueError("give either --probs or --policy")
    if probs is not None:
        table = TabularPolicy.from_probs(grid(probs, "--probs"), normalize=normalize)
    else:
        table = TabularPolicy.from_file(policy, normalize=normalize)
        if row >= table.shape[0]:
            raise ValueError(f"--row {row}: {policy} has rows 0 to {table.shape[0] - 1}")
    grids = {"n": n, "beta": beta, "alpha": alpha, "delta": delta}
    grids = {name: grid(text, f"--{name}") for name, text in grids.items()}
    result = law_table(np.asarray(table.log_probs[row if policy else 0], dtype=float), gamma=gamma, **grids)
    responses = [name for name in result if name.startswith("p") and name[1:].isdecimal()]
    shown = sorted(responses, key=lambda name: -result[name].iloc[0])[:5]
    printed = Table(
        title=f"exact laws over {len(responses)} responses, the likeliest {len(shown)} shown", title_justify="left"
    )
    for column in ("law", "π(y*)", "KL", "C_π", "draws", *shown):
        printed.add_column(column, justify="left" if column == "law" else "right", no_wrap=True)
    symbols = {"best-of-N": "N", "tilted": "β", "power": "α", "adaptive best-of-N": "δ", "argmax": "γ"}
    columns = ["argmax_mass", "kl", "concentrability", "expected_n", *shown]
    for _, r in result.iterrows():
        name = r["law"].removesuffix(" best-of-N")
        if name != "base":
            name += f", {symbols[r['law']]} = {r['parameter']:g}"
        printed.add_row(name, *("" if np.isnan(r[c]) else f"{0.0 if abs(r[c]) < 1e-15 else r[c]:.3g}" for c in columns))
    console.print(printed)
    if out is not None:
        if out.suffix not in (".csv", ".parquet"):
            raise ValueError(f"--out {out}: expected .csv or .parquet")
        out.parent.mkdir(parents=True, exist_ok=True)
        result.to_csv(out, index=False) if out.suffix == ".csv" else result.to_parquet(out, index=False)
        console.print(f"{out}")
