"""The command `law`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from rich.table import Table
from typer import Option

from sharptheory.cli.app import app, console, examples, number_table, say_written
from sharptheory.cli.limits import check_out
from sharptheory.cli.numbers import grid, number
from sharptheory.errors import UserError
from sharptheory.runs import writing
from sharptheory.theory.policies import TabularPolicy

#: The parameter of each law, as the theory writes it.
SYMBOLS = {"best-of-N": "N", "tilted": "β", "power": "α", "adaptive best-of-N": "δ", "argmax": "γ"}


@app.command(
    epilog=examples(
        "sharptheory law --probs 0.5,0.3,0.2 --n 1,4,16 --beta 0.5",
        "sharptheory law --policy table.csv --row 3 --alpha 1:8:4 --out law.csv",
    )
)
def law(
    probs: Annotated[str | None, Option(help="One prompt's response probabilities, 0.5,0.3,0.2.")] = None,
    policy: Annotated[Path | None, Option(help="Or a table: .npz, .npy, .csv, .parquet.")] = None,
    row: Annotated[int | None, Option(min=0, help="Prompt of the table; default the first, 0.")] = None,
    n: Annotated[
        str, Option(help="N of best-of-N: numbers, a geometric grid start:stop:points, or none.")
    ] = "1,4,16,64",
    beta: Annotated[str | None, Option(help="β of the tilted law, same notation.")] = None,
    alpha: Annotated[str | None, Option(help="α of the power law, same notation.")] = None,
    delta: Annotated[str, Option(help="δ of adaptive best-of-N (threshold ln(2/δ)), same notation.")] = "0.1",
    gamma: Annotated[float, Option(help="γ of the near-maximisers.")] = 0.0,
    normalize: Annotated[bool, Option("--normalize", help="Numbers are weights.")] = False,
    out: Annotated[Path | None, Option(help="Write the table as .csv or .parquet.")] = None,
) -> None:
    """Exact laws of one prompt: best-of-N, tilted, power. Also adaptive best-of-N, and the argmax."""
    from sharptheory.theory.tables import law_table

    if (probs is None) == (policy is None):
        raise UserError("give either --probs or --policy")
    if probs is not None and row is not None:
        raise UserError(f"--row {row} is a prompt of --policy; --probs is one prompt")
    grids = dict(
        n=grid(n, "--n", "[1, 1e15]", optional=True),
        beta=grid(beta, "--beta", "(0, 1e9]", optional=True),
        alpha=grid(alpha, "--alpha", "[0, 1e9]", optional=True),
        delta=grid(delta, "--delta", "(0, 1]", optional=True),
    )
    number(gamma, "--gamma", "[0, 1)")
    if out is not None:
        check_out(out, folder=False)
        if out.suffix not in (".csv", ".parquet"):
            raise UserError(f"--out {out}: expected .csv or .parquet")
    row = row or 0
    if probs is not None:
        values = grid(probs, "--probs", "[0, 1e300]", distinct=False)
        table = TabularPolicy.from_probs(values, normalize=normalize)
    else:
        table = TabularPolicy.from_file(policy, normalize=normalize)
        if row >= table.shape[0]:
            raise UserError(f"--row {row}: {policy} has rows 0 to {table.shape[0] - 1}")
    result = law_table(np.asarray(table.log_probs[row], dtype=float), gamma=gamma, **grids)
    console.print(_table(result, console.width))
    if out is not None:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            result.to_csv(out, index=False) if out.suffix == ".csv" else result.to_parquet(out, index=False)
        say_written(out)


def _table(result: pd.DataFrame, width: int) -> Table:
    """What each law does, and to as many of the likeliest responses, five at most, as the width has room for."""
    responses = [name for name in result if name.startswith("p") and name[1:].isdecimal()]
    shown = sorted(responses, key=lambda name: -result[name].iloc[0])[:5]
    number = lambda value: "" if np.isnan(value) else f"{0.0 if abs(value) < 1e-15 else value:.3g}"  # noqa: E731
    while True:
        columns = ["argmax_mass", "kl", "concentrability", "expected_n", *shown]
        rows = [(_label(r), *(number(r[column]) for column in columns)) for _, r in result.iterrows()]
        title = f"exact laws over {len(responses)} responses, the likeliest {len(shown)} shown"
        table = number_table(("law", "π(y*)", "KL", "C_π", "samples", *shown), rows, title)
        if not shown or console.measure(table, options=console.options.update(max_width=10 * width)).maximum <= width:
            return table
        shown = shown[:-1]


def _label(row: pd.Series) -> str:
    name = row["law"].removesuffix(" best-of-N")
    return name if row["law"] == "base" else f"{name}, {SYMBOLS[row['law']]} = {row['parameter']:g}"
