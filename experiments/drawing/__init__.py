"""How figures are drawn: one function and one caption each, registered by name, from the data of one experiment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Figure:
    """``draw(table, *axes)``, the message as a title, the caption, and the experiment whose data it shows.

    `panels` says in how many rows and columns a table is drawn; `width` and `height` are of a panel, in inches.
    """

    draw: Callable
    title: str
    caption: str
    data: str
    panels: Callable[[pd.DataFrame], tuple[int, int]]
    width: float
    height: float


FIGURES: dict[str, Figure] = {}


def figure(
    title: str, caption: str, *, data: str | None = None, width: float | None = None, height: float = 4.0, panels=None
):
    """Register a figure, by default a row of as many panels as it takes axes; `data` defaults to its own name."""

    def register(draw):
        axes, name = draw.__code__.co_argcount - 1, draw.__name__
        size = width or (6.4 if axes == 1 else 4.9), height
        FIGURES[name] = Figure(draw, title, caption, data or name, panels or (lambda _: (1, axes)), *size)
        return draw

    return register


def errors(rows: pd.DataFrame, column: str, low: str, high: str) -> list[pd.Series]:
    """Lengths of the error bars from `column` to its interval."""
    return [(rows[column] - rows[low]).clip(lower=0), (rows[high] - rows[column]).clip(lower=0)]
