"""Rows of log-probabilities: what makes them laws, and how to pass over many of them in cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sharptheory.errors import UserError

#: Rows may miss a sum of 1 by this much before they are refused.
SUM_TOLERANCE = 1e-6
#: Elements that a pass over a large table holds at once: small enough to stay in cache.
CHUNK = 1 << 16


def row_chunks(shape: tuple[int, int], elements: int = CHUNK) -> Iterator[slice]:
    """Row slices of a table ``[X, Y]``, about `elements` entries each."""
    step = max(1, elements // shape[1])
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def log_sums(rows: np.ndarray) -> np.ndarray:
    """``logsumexp`` of each row of ``[X, Y]``, one pass in cache; NaN stays NaN."""
    top = rows.max(axis=1)
    shift = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return shift + np.log(np.exp(rows - shift[:, None]).sum(axis=1))


def as_log_probs(values: np.ndarray, name: str = "log_probs") -> np.ndarray:
    """The same numbers as an array of floats, refused unless every row is a law: the check at the public boundary.

    Costs one pass of ``exp``, a cacheful at a time; probabilities that sum to 1 are at most 1, so the sums are enough.

    Args:
        values: log-probabilities in nats, ``[..., Y]``; ``-inf`` allowed, so rows padded with it are fine.
        name: of the argument, for the message.

    Raises:
        UserError: a row is empty, holds NaN or a positive number, or misses a sum of 1 by more than `SUM_TOLERANCE`.
    """
    table = np.asarray(values, dtype=float)
    if table.ndim == 0 or table.shape[-1] == 0:
        raise UserError(f"{name} has shape {table.shape}; expected [..., Y] with Y ≥ 1")
    flat = table.reshape(-1, table.shape[-1])
    for rows in row_chunks(flat.shape):
        with np.errstate(over="ignore"):
            off = np.exp(flat[rows]).sum(axis=1) - 1
        if not np.all(np.abs(off) <= SUM_TOLERANCE):
            _refuse(flat, rows.start + int(np.argmax(~(np.abs(off) <= SUM_TOLERANCE))), table.shape, name)
    return table


def _refuse(flat: np.ndarray, row: int, shape: tuple[int, ...], name: str) -> None:
    index = [int(i) for i in np.unravel_index(row, shape[:-1])]
    wrong = np.flatnonzero(~(flat[row] <= SUM_TOLERANCE))
    if len(wrong):
        raise UserError(
            f"{name}{[*index, int(wrong[0])]} is {flat[row, wrong[0]]:g}; expected a log-probability ≤ 0, in nats"
        )
    raise UserError(
        f"{name}{index or ''} sums to {np.exp(flat[row]).sum():.9g}; expected log-probabilities, in nats, whose "
        f"exponentials sum to 1 within {SUM_TOLERANCE:g} (TabularPolicy.from_logits normalises weights)"
    )
