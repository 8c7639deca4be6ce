"""Rows of log-probabilities: what makes them laws, and how to pass over many of them in cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sharptheory.errors import UserError

#: Rows may miss a sum of 1 by this much before they are refused.
SUM_TOLERANCE = 1e-6
#: Elements that a pass over a large table holds at once: small enough to stay in cache.
CHUNK = 1 << 16
#: Entries of a table that a few numbers may ask for: 1 GiB.
MOST_ENTRIES = 1 << 27


def row_chunks(shape: tuple[int, int], elements: int = CHUNK) -> Iterator[slice]:
    """Row slices of a table ``[X, Y]``, about `elements` entries each.

    Args:
        shape: ``(X, Y)``. elements: about as many entries per slice.
    """
    step = max(1, elements // shape[1])
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def log_sums(rows: np.ndarray) -> np.ndarray:
    """``logsumexp`` of each row of ``[X, Y]``, one pass in cache; NaN stays NaN.

    Args:
        rows: nats, ``[X, Y]``.
    """
    top = rows.max(axis=1)
    shift = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return shift + np.log(np.exp(rows - shift[:, None]).sum(axis=1))


def as_floats(values, name: str) -> np.ndarray:
    """An array of floats, refused if the values are ragged, text or complex: the check at the public boundary.

    Args:
        values: numbers, any shape. name: of the argument, for the message.

    Raises:
        UserError: naming the argument.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biufO":
            raise TypeError(f"found {array.dtype}")
        with np.errstate(over="ignore", invalid="ignore"):  # of a float wider than ours
            return np.asarray(array, dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{name} is no table of numbers ({error}); expected real numbers, rows of one length") from None


def expect_room(entries: float, /, **asked) -> None:
    """Refuse to build a table that no memory holds, where a few numbers decide its size.

    Args:
        entries: of the table. asked: the arguments that decide it, for the message.

    Raises:
        UserError: naming the arguments and the limit, `MOST_ENTRIES`.
    """
    if not entries <= MOST_ENTRIES:
        given = ", ".join(f"{name}={value}" for name, value in asked.items())
        raise UserError(f"{given}: a table of {float(entries):.3g} entries; expected at most {MOST_ENTRIES:,} (1 GiB)")


def as_rewards(rewards, shape: tuple[int, ...], name: str = "rewards") -> np.ndarray:
    """Rewards as floats of a table's shape, to which they are broadcast; they may be infinite.

    Args:
        rewards: numbers. shape: of the table, ``[..., Y]``. name: of the argument, for the message.

    Raises:
        UserError: they are no numbers, or of a shape that does not broadcast.
    """
    array = as_floats(rewards, name)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise UserError(
            f"{name} has shape {array.shape}; expected {shape}, as log_probs, or what broadcasts to it"
        ) from None


def as_log_probs(values: np.ndarray, name: str = "log_probs") -> np.ndarray:
    """The same numbers as an array of floats, refused unless every row is a law.

    Costs one pass of ``exp``, a cacheful at a time; probabilities that sum to 1 are at most 1, so the sums are enough.

    Args:
        values: log-probabilities in nats, ``[..., Y]``; ``-inf`` allowed, so rows padded with it are fine.
        name: of the argument, for the message.

    Raises:
        UserError: the values are no table of numbers, or a row is empty, holds NaN or a positive number, or misses a sum
            of 1 by more than `SUM_TOLERANCE`.
    """
    table = as_floats(values, name)
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
