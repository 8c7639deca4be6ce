"""Levels: sets of tied responses, and the ranking of a policy's responses into them.

Two responses are tied iff they are in one level, and a level is found from the top: it holds the best response that no
better level has, its *leader*, and everything within the tolerance below it. So a level is never wider than the
tolerance, however many near-ties follow each other, the best level is the set of maximisers, and every other set of
this package that is defined by a comparison (``y*_γ``, a stopping rule) consists of whole levels. Cut from below, a
chain of near-ties could leave a maximiser in the second level, and statements about ``y*`` would fail on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sharptheory.errors import UserError, expect_numbers
from sharptheory.theory.rows import as_log_probs, as_rewards, row_chunks

#: Log-probabilities (nats) closer than this are tied. Tight, for tables; language models need about 1e-4.
TOLERANCE = 1e-12


# Which responses are tied ---------------------------------------------------------------------------------------------


def level_starts(ascending: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray:
    """Where a level begins in rewards sorted along the rows, ``[X, Y]``; a level ends with its leader.

    Args:
        ascending: rewards, ``[X, Y]``; infinite ones are tied with their like.
        tolerance: a level reaches this far below its leader.

    Returns:
        Boolean ``[X, Y]``: whether the entry is the smallest of its level.
    """
    starts = np.ones(ascending.shape, dtype=bool)
    # No level spans a gap wider than the tolerance.
    starts[:, 1:] = ascending[:, :-1] < ascending[:, 1:] - tolerance
    if starts.all():
        return starts
    # Steps within the tolerance may add up to more than it: such rows are cut leader by leader.
    _, last = level_bounds(starts)
    wide = ascending < np.take_along_axis(ascending, last, axis=1) - tolerance
    for x in np.flatnonzero(wide.any(axis=1)):
        leader = ascending.shape[1] - 1
        while leader >= 0:
            first = int(np.searchsorted(ascending[x], ascending[x, leader] - tolerance, side="left"))
            starts[x, first], starts[x, first + 1 : leader + 1] = True, False
            leader = first - 1
    return starts


def level_bounds(starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the first and of the last element of each element's level, ``[X, Y]`` each, for `level_starts`.

    Args:
        starts: boolean ``[X, Y]``.
    """
    index = np.arange(starts.shape[1])
    first = np.maximum.accumulate(np.where(starts, index, 0), axis=1)
    ends = np.ones_like(starts)
    ends[:, :-1] = starts[:, 1:]
    last = np.minimum.accumulate(np.where(ends, index, starts.shape[1])[:, ::-1], axis=1)[:, ::-1]
    return first, last


def maximizers(log_probs: np.ndarray, gamma: float = 0.0, *, tolerance: float = TOLERANCE) -> np.ndarray:
    """The set ``y*_γ(x) = {y : π(y|x) ≥ (1-γ) max π(·|x)}``, as whole levels: one is inside iff its leader is.

    Args:
        log_probs: ``[..., Y]``, nats. gamma: ``γ ∈ [0, 1)``. tolerance: of ties, nats.

    Returns:
        Boolean mask ``[..., Y]``.

    Raises:
        UserError: γ is outside [0, 1), the tolerance negative or infinite, or a row is no law.
    """
    expect_numbers("[0, 1)", gamma=gamma)
    expect_numbers("[0, inf)", tolerance=tolerance)
    table = as_log_probs(log_probs)
    flat = table.reshape(-1, table.shape[-1])
    inside = np.empty(flat.shape, dtype=bool)
    for rows in row_chunks(flat.shape):
        inside[rows] = maximizers_of_rows(flat[rows], gamma, tolerance)
    return inside.reshape(table.shape)


def maximizers_of_rows(log_probs: np.ndarray, gamma: float, tolerance: float) -> np.ndarray:
    """`maximizers` of a cacheful of rows ``[X, Y]``, unchecked.

    Args:
        log_probs: ``[X, Y]``, nats. gamma: ``γ ∈ [0, 1)``. tolerance: of ties, nats.
    """
    cut = log_probs.max(axis=1, keepdims=True) + np.log1p(-gamma) - tolerance
    inside = log_probs >= cut
    if gamma == 0:
        return inside
    # A response just below the cut belongs if the leader of its level is above.
    edge = ~inside & (log_probs >= cut - tolerance)
    for x in np.flatnonzero(edge.any(axis=1)):
        order = np.argsort(log_probs[x])
        ascending = log_probs[x, order][None]
        _, last = level_bounds(level_starts(ascending, tolerance))
        inside[x, order] = ascending[0, last[0]] >= cut[x]
    return inside


# The ranking ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Levels:
    """The ranking of responses by reward: all that best-of-N needs, per response, ``[X, Y]``, in nats.

    Attributes:
        log_cdf: ``log F(r_y)``, the base mass of the responses that are not better.
        log_ratio: ``log F(r_y⁻)/F(r_y)``: how much of it is strictly worse.
        log_share: ``log π(y) - log π(level of y)``; 0 for a level of one response.
        log_hazard: ``log(-log_ratio)``, known also where `log_ratio` itself underflows.
        shape: of the table they came from.
    """

    log_cdf: np.ndarray
    log_ratio: np.ndarray
    log_share: np.ndarray
    log_hazard: np.ndarray
    shape: tuple[int, ...]


def levels(log_probs: np.ndarray, rewards: np.ndarray | None = None, *, tolerance: float = TOLERANCE) -> Levels:
    """Rank the responses of each prompt by reward; those in one level are tied.

    Args:
        log_probs: ``[..., Y]``, nats. rewards: broadcast to it; default the log-likelihood. tolerance: of ties.

    Raises:
        UserError: a row is no law, a reward is NaN, or the tolerance is negative or infinite.
    """
    expect_numbers("[0, inf)", tolerance=tolerance)
    log_probs = as_log_probs(log_probs)
    table = log_probs.reshape(-1, log_probs.shape[-1])
    if rewards is not None:
        rewards = as_rewards(rewards, log_probs.shape)
        if np.isnan(rewards).any():
            raise UserError(f"rewards{np.argwhere(np.isnan(rewards))[0].tolist()} is NaN; expected numbers")
        rewards = rewards.reshape(table.shape)
    columns = tuple(np.empty(table.shape) for _ in range(4))
    for rows in row_chunks(table.shape):
        chunk = table[rows]
        order, _, *ranked = ranked_rows(chunk, chunk if rewards is None else rewards[rows], tolerance)
        for out, values in zip(columns, ranked):
            np.put_along_axis(out[rows], order, values, axis=1)
    return Levels(*columns, log_probs.shape)


def ranked_rows(log_probs: np.ndarray, rewards: np.ndarray, tolerance: float) -> tuple[np.ndarray, ...]:
    """A cacheful of rows in ascending order of reward: the order, `level_starts`, and the columns of `Levels`.

    Args:
        log_probs: ``[X, Y]``, nats. rewards: ``[X, Y]``; `log_probs` itself for the log-likelihood. tolerance: of ties.
    """
    order = np.argsort(rewards, axis=1)
    sorted_log = np.take_along_axis(log_probs, order, axis=1)
    by_likelihood = rewards is log_probs
    starts = level_starts(sorted_log if by_likelihood else np.take_along_axis(rewards, order, axis=1), tolerance)
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        log_below, log_cdf = _cumulative(sorted_log)
        if starts.all():
            log_mass, share = sorted_log, np.zeros_like(sorted_log)
        else:
            first, last = level_bounds(starts)
            log_mass = _level_masses(sorted_log, starts)
            log_cdf = np.take_along_axis(log_cdf, last, axis=1)
            log_below = np.take_along_axis(log_below, first, axis=1)
            share = sorted_log - log_mass
        share[sorted_log == -np.inf] = -np.inf
        part = np.minimum(log_mass - log_cdf, 0.0)
        ratio = np.where(part < -np.log(2), np.log1p(-np.exp(part)), np.minimum(log_below - log_cdf, 0.0))
        hazard = np.where(part < -600, part, np.log(-ratio))
        # A level without mass, below every response with mass.
        nothing = np.isnan(part) | np.isnan(ratio)
        ratio[nothing], hazard[nothing] = 0.0, -np.inf
    return order, starts, log_cdf, ratio, share, hazard


def _cumulative(sorted_log: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log of the mass before each entry, and up to it. Near 1 what is missing says more than what is there."""
    if np.any((sorted_log < -690) & (sorted_log > -np.inf)):  # probabilities underflow: sums of logarithms
        log_below, log_above = np.full(sorted_log.shape, -np.inf), np.full(sorted_log.shape, -np.inf)
        log_below[:, 1:] = np.logaddexp.accumulate(sorted_log[:, :-1], axis=1)
        log_above[:, :-1] = np.logaddexp.accumulate(sorted_log[:, :0:-1], axis=1)[:, ::-1]
        log_cdf = np.logaddexp(log_below, sorted_log)
        return log_below, np.where(log_above < -np.log(2), np.log1p(-np.exp(log_above)), log_cdf)
    probs, above, below = np.exp(sorted_log), np.zeros(sorted_log.shape), np.zeros(sorted_log.shape)
    np.cumsum(probs[:, :0:-1], axis=1, out=above[:, -2::-1])
    np.cumsum(probs[:, :-1], axis=1, out=below[:, 1:])
    return np.log(below), np.where(above < 0.5, np.log1p(-above), np.log(below + probs))


def _level_masses(sorted_log: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Log-mass of each entry's level, ``[X, Y]``."""
    flat = np.flatnonzero(starts)
    top = np.maximum.reduceat(sorted_log.ravel(), flat)
    shift = np.where(np.isfinite(top), top, 0.0)
    size = np.diff(np.append(flat, starts.size))
    mass = np.add.reduceat(np.exp(sorted_log.ravel() - np.repeat(shift, size)), flat)
    return np.repeat(shift + np.log(mass), size).reshape(starts.shape)
