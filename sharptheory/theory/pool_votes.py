"""The plurality vote of N responses drawn without replacement from a pool: the exact law for many pools and N at once.

For a vote count t of one class, the ways in which no other class has more, ties split, are the coefficients of a product
of generating functions, one factor per class (`sharptheory.theory.majority.plurality`). Here the counts of a class are
binomial, ``Binom(m_c, p)`` with ``p ≈ N/M``: given that they add up to N they are hypergeometric, so one p serves several
small N. The product is taken on the unit circle, at a few standard deviations' worth of points: a transform of all
vote counts together gives the coefficient for every N. A class with fewer than t members is complete, and complete classes
are one factor; a vote count that no class can win by is left out. The time for one pool is about ``N`` times the number of
its distinct class sizes.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len

from sharptheory.theory.majority import _legendre

#: Chances below this are left out.
NEGLIGIBLE = 1e-22
#: Complex numbers that are held at a time.
CELLS = 1 << 18


def win_probabilities(
    sizes: np.ndarray, classes: np.ndarray, focal: np.ndarray, total: np.ndarray, n: np.ndarray
) -> np.ndarray:
    """Probability that one class has the most of N votes drawn without replacement, ties split uniformly; for many pools.

    Args:
        sizes: distinct sizes of the *other* classes of each pool, in descending order, then zeros, ``[B, G]``.
        classes: how many of them there are of each size, ``[B, G]``.
        focal: size of the class that is to win, ``[B]``, positive. total: responses of each pool, ``[B]``: what belongs
            to no class has no vote.
        n: numbers of votes from 1, fewer than `total`, ``[K]``.

    Returns:
        ``[B, K]``; a vote to which nobody contributes is won by no class.

    Source: [S4] without replacement; derived in docs/theory.md for independent votes.
    """
    chances = np.empty((len(focal), len(n)))
    # Up to 64 votes, N within a factor of √2 of each other share their work; more votes deviate less from their mean.
    group = np.where(n <= 64, np.ceil(2 * np.log2(n)), n)
    for each in np.unique(group):
        held = np.flatnonzero(group == each)
        batch = max(1, CELLS // (max(1, sizes.shape[1]) * _points(n[held])))
        for first in range(0, len(focal), batch):
            rows = slice(first, first + batch)
            groups = max(1, int((sizes[rows] > 0).sum(axis=1).max(initial=0)))
            block = (sizes[rows, :groups], classes[rows, :groups], focal[rows], total[rows])
            chances[rows, held] = _wins(*map(np.asarray, block), n[held])
    return np.clip(chances, 0.0, 1.0)


def _points(n: np.ndarray) -> int:
    """Points on the circle at which the coefficients of every `n` are free of each other's copies."""
    return next_fast_len(int(n.max() - n.min() + 12 * np.sqrt(n.max())) + 32, real=True)


def _wins(sizes: np.ndarray, classes: np.ndarray, focal: np.ndarray, total: np.ndarray, n: np.ndarray) -> np.ndarray:
    """`win_probabilities` for N so close to each other that one p serves all."""
    largest, points = int(n.max()), _points(n)
    p = (int(n.min()) + largest) / 2 / total
    log_odds, log_rest = np.log(p) - np.log1p(-p), np.log1p(-p)
    z = np.exp(-2j * np.pi * np.arange(points // 2 + 1) / points)
    # Chances of t votes: of each other class [B, G], of the focal one [B]; complete classes of no members have one.
    log_others, log_focal = sizes * log_rest[:, None], focal * log_rest
    reached = np.zeros((*sizes.shape, len(z)), dtype=complex)  # counts below t
    power = np.ones(len(z), dtype=complex)
    silent = total - focal - (sizes * classes).sum(axis=1)
    complete = (1 - p[:, None] + p[:, None] * z) ** silent[:, None]
    sums = np.zeros((len(focal), len(z)), dtype=complex)
    for t in range(min(largest, int(focal.max())) + 1):
        active = max(1, int((sizes >= t).sum(axis=1).max()))
        chance, wins = np.exp(log_others[:, :active]), np.exp(log_focal)
        if t:
            # At z = 1 everything is positive, and bounds what it is elsewhere.
            bound = np.where(sizes[:, :active] >= t, reached[:, :active, 0].real + chance, 1.0) ** classes[:, :active]
            bound = bound.prod(axis=1) * np.abs(complete[:, 0]) * wins
            live = np.flatnonzero(bound > NEGLIGIBLE)
            if len(live):
                others = _ways(reached[live, :active], chance[live], classes[live, :active] * (sizes[live, :active] >= t), t,
                               power, largest)  # fmt: skip
                sums[live] += wins[live, None] * power * complete[live] * others
        if chance.max() > NEGLIGIBLE**2:
            reached[:, :active] += chance[:, :, None] * power
        if t:
            rows, group = np.nonzero((sizes == t) & (classes > 0))  # one size of each pool at most
            complete[rows] *= reached[rows, group] ** classes[rows, group][:, None]
        with np.errstate(divide="ignore"):
            log_others += np.log(np.maximum(sizes - t, 0)) - np.log(t + 1) + log_odds[:, None]
            log_focal = log_focal + np.log(np.maximum(focal - t, 0)) - np.log(t + 1) + log_odds
        power = power * z
    ways = irfft(sums, points, axis=1)[:, n % points]
    return ways / np.exp(_log_binomial(total, largest, log_odds, log_rest)[:, n])


def _ways(reached, chance, classes, t: int, power: np.ndarray, largest: int) -> np.ndarray:
    """The other classes' factor for a win by t votes, ties split: ``∫_0^1 Π_c (A_c + u P(t votes) z^t) du``, ``[B, points]``.

    Args:
        classes: how many there are of each size, 0 of those that are complete, ``[B, G]``.
    """
    ties = max(0, min(int(classes.sum(axis=1).max()), largest // t - 1))
    step = np.where(classes > 0, chance, 0)[:, :, None] * power
    reached = np.where(classes[:, :, None] > 0, reached, 1)
    several = np.nonzero(classes > 1)
    total = 0
    for u, node_weight in zip(*_legendre(ties // 2 + 1)):
        factors = reached + u * step
        if len(several[0]):
            factors[several] **= classes[several][:, None]
        total = total + node_weight * factors.prod(axis=1)
    return total


def _log_binomial(total: np.ndarray, largest: int, log_odds: np.ndarray, log_rest: np.ndarray) -> np.ndarray:
    """``log P(Binom(total, p) = k)`` for k = 0..largest, ``[B, largest+1]``; by the recursion that the classes follow."""
    k = np.arange(largest)
    with np.errstate(divide="ignore"):
        steps = np.log(np.maximum(total[:, None] - k, 0)) - np.log(k + 1) + log_odds[:, None]
    return np.cumsum(np.concatenate([(total * log_rest)[:, None], steps], axis=1), axis=1)
