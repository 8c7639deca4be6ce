"""The command `law`."""

from __future__ import annotations

import math
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
from sharptheory.theory.rows import SUM_TOLERANCE

#: The parameter of each law, as the theory writes it.
SYMBOLS = {"best-of-N": "N", "tilted": "β", "power": "α", "adaptive best-of-N": "δ", "argmax": "γ"}
LEGEND = (
    "π(y*): mass of the law on the likeliest response; KL: from the base, in nats; C_π: concentrability, the mean under the "
    "law of law/base; samples: of the base for one of the law."
)


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
    """Exact laws of one prompt: best-of-N, tilted, power. Also adaptive best-of-N, and the argmax.

    Prints the mass π(y*) on the likeliest response (those within γ), KL from the base in nats, concentrability C_π (mean of
    law/base under the law), and samples needed.
    """
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
        if not normalize and abs(off := math.fsum(values) - 1) > SUM_TOLERANCE:
            raise UserError(
                f"--probs sums to {1 + off:.9g}, off by {off:+.3g}; expected probabilities, or weights with --normalize"
            )
        table = TabularPolicy.from_probs(values, normalize=normalize)
    else:
        table = TabularPolicy.from_file(policy, normalize=normalize)
        if row >= table.shape[0]:
            raise UserError(f"--row {row}: {policy} has rows 0 to {table.shape[0] - 1}")
    result = law_table(np.asarray(table.log_probs[row], dtype=float), gamma=gamma, **grids)
    console.print(_table(result, console.width))
    console.print(LEGEND)
    if out is not None:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            result.to_csv(out, index=False) if out.suffix == ".csv" else result.to_parquet(out, index=False)
        say_written(out)


def _table(result: pd.DataFrame, width: int) -> Table:
    """What each law does, and to as many of the likeliest responses, five at most, as the width has room for."""
    responses = [name for name in result if name.startswith("p") and name[1:].isdecimal()]
    shown = sorted(responses, key=lambda name: -result[name].iloc[0])[:5]
    while True:
        columns = ["argmax_mass", "kl", "concentrability", "expected_n", *shown]
        rows = [(_label(r), *(_number(r[column]) for column in columns)) for _, r in result.iterrows()]
        title = f"exact laws over {len(responses)} responses, the likeliest {len(shown)} shown"
        table = number_table(("law", "π(y*)", "KL", "C_π", "samples", *shown), rows, title)
        if not shown or console.measure(table, options=console.options.update(max_width=10 * width)).maximum <= width:
            return table
        shown = shown[:-1]


def _number(value: float) -> str:
    """Three digits, or as many as tell a number from 1."""
    if np.isnan(value):
        return ""
    if abs(value) < 1e-15:
        return "0"
    digits = next((d for d in range(3, 16) if float(f"{value:.{d}g}") != 1), 3)
    return f"{value:.{digits}g}"


def _label(row: pd.Series) -> str:
    name = row["law"].removesuffix(" best-of-N")
    return name if row["law"] == "base" else f"{name}, {SYMBOLS[row['law']]} = {row['parameter']:g}"
