"""Numbers as a user types them: each is checked here, so that a message names the option, what it is and what it takes.

Ranges are written as in mathematics, ``(0, 1]``, and appear like that in the messages.
"""

from __future__ import annotations

import math

import numpy as np

from sharptheory.errors import UserError

#: Most numbers that a grid may have.
POINTS = 1_000


def number(value: float, option: str, within: str) -> float:
    """`value` if it is finite and within the range.

    Raises:
        UserError: it is not; names the option.
    """
    if not _inside(value, within):
        found = value if isinstance(value, int) else f"{value:g}"
        raise UserError(f"{option} {found}: expected a number in {within}")
    return value


def grid(
    text: str | None, option: str, within: str, *, whole: bool = False, distinct: bool = True, optional: bool = False
) -> list:
    """The numbers of ``0.1,0.2``, or of the geometric grid ``start:stop:points``.

    Args:
        text: as typed; None is an option that was not given, and stands for no numbers.
        option: named in messages. within: range of each number.
        whole: they are integers; points of a geometric grid are rounded to the nearest ones.
        distinct: no number may come twice. optional: ``none`` stands for no numbers.

    Raises:
        UserError: not numbers, none at all, too many, not whole, out of range, or one comes twice.
    """
    if text is None or (optional and text.strip() == "none"):
        return []
    kind = "whole numbers" if whole else "numbers"
    expected = f"expected {kind} in {within} as {'1,4' if whole else '0.1,0.2'} or a geometric grid as " + (
        "1:64:7" if whole else "0.1:0.2:9"
    )
    expected += ", or none" * optional
    try:
        values = _geometric(text, option, whole=whole) if text.count(":") == 2 else [float(p) for p in text.split(",")]
    except ValueError as error:
        raise error if isinstance(error, UserError) else UserError(f"{option} {text!r}: {expected}") from None
    for value in values:
        if not _inside(value, within) or (whole and value != round(value)):
            raise UserError(f"{option} {text}: found {value:g}; {expected}")
    if distinct and len(set(values)) < len(values):
        twice = next(value for i, value in enumerate(values) if value in values[:i])
        raise UserError(f"{option} {text}: {twice:g} comes twice; give each number once")
    if len(values) > POINTS:
        raise UserError(f"{option}: {len(values):,} numbers; at most {POINTS:,} fit")
    return [int(value) for value in values] if whole else values


def shortest(value: float) -> str:
    """The fewest digits that tell a number from every other: ``10``, ``2.0000001``, ``3.1622776601683795``."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(float(value))


def _geometric(text: str, option: str, *, whole: bool) -> list[float]:
    """The points of ``start:stop:points``; ValueErrors are for `grid` to explain."""
    start, stop, points = text.split(":")
    start, stop, points = float(start), float(stop), int(points)
    if points > POINTS:
        raise UserError(f"{option} {text}: {points:,} points; at most {POINTS:,} fit")
    if points < 2 or not (0 < start < math.inf and 0 < stop < math.inf):
        raise ValueError
    values = np.geomspace(start, stop, points)
    return list(dict.fromkeys(np.round(values).tolist())) if whole else values.tolist()


def _inside(value: float, within: str) -> bool:
    low, high = (float(end) for end in within[1:-1].split(","))
    above = value > low if within[0] == "(" else value >= low
    below = value < high if within[-1] == ")" else value <= high
    return above and below and math.isfinite(value)
