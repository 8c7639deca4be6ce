"""How figures are drawn: one function and one caption each, registered by name, from the data of one experiment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Figure:
    """``draw(table, *axes)``, the caption, the experiment whose data it shows, and the size of a panel in inches."""

    draw: Callable
    caption: str
    data: str
    panels: int
    width: float
    height: float


FIGURES: dict[str, Figure] = {}


def figure(caption: str, *, data: str | None = None, width: float | None = None, height: float = 4.0):
    """Register a figure, with as many panels as it takes axes; `data` defaults to its own name."""

    def register(draw):
        panels = draw.__code__.co_argcount - 1
        FIGURES[draw.__name__] = Figure(
            draw, caption, data or draw.__name__, panels, width or (6.4 if panels == 1 else 4.9), height
        )
        return draw

    return register


def errors(rows: pd.DataFrame, column: str, low: str, high: str) -> list[pd.Series]:
    """Lengths of the error bars from `column` to its interval."""
    return [(rows[column] - rows[low]).clip(lower=0), (rows[high] - rows[column]).clip(lower=0)]
