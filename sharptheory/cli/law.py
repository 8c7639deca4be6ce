"""The command `law`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from sharptheory.cli.app import (
    app,
    console,
    grid,
)
from sharptheory.errors import UserError
from sharptheory.theory.policies import TabularPolicy


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
    from sharptheory.theory.tables import law_table

    if (probs is None) == (policy is None):
        raise UserError("give either --probs or --policy")
    if probs is not None:
        table = TabularPolicy.from_probs(grid(probs, "--probs"), normalize=normalize)
    else:
        table = TabularPolicy.from_file(policy, normalize=normalize)
        if row >= table.shape[0]:
            raise UserError(f"--row {row}: {policy} has rows 0 to {table.shape[0] - 1}")
    grids = {"n": n, "beta": beta, "alpha": alpha, "delta": delta}
    grids = {name: grid(text, f"--{name}") for name, text in grids.items()}
    result = law_table(np.asarray(table.log_probs[row if policy else 0], dtype=float), gamma=gamma, **grids)
    responses = [name for name in result if name.startswith("p") and name[1:].isdecimal()]
    shown = sorted(responses, key=lambda name: -result[name].iloc[0])[:5]
    printed = Table(
        title=f"exact laws over {len(responses)} responses, the likeliest {len(shown)} shown", title_justify="left"
    )
    for column in ("law", "π(y*)", "KL", "C_π", "samples", *shown):
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
            raise UserError(f"--out {out}: expected .csv or .parquet")
        out.parent.mkdir(parents=True, exist_ok=True)
        result.to_csv(out, index=False) if out.suffix == ".csv" else result.to_parquet(out, index=False)
        console.print(f"{out}")
