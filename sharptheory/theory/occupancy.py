"""Throwing draws into cells: how long until the hidden response of a hard prompt can be named."""

from __future__ import annotations

from math import comb

import numpy as np
from scipy.special import gammaln


def identification_error(m: int, t: np.ndarray) -> np.ndarray:
    """Bayes error of naming the hidden response of one hard prompt after t draws: ``(1-2/M)^t E[1 - 1/(1+U')]``.

    U' counts the other M-1 responses unseen after t uniform draws. By symmetry ``E[1/(1+U')] = P(V ≥ 1)/(M(1-1/M)^t)``
    with V the number of empty cells after t uniform throws into M, which is what is computed.

    Args:
        m: M ≥ 3. t: draws, whole numbers, any shape.

    Returns:
        Probabilities of the shape of `t`, relative error about 1e-10 at any M and t.

    Source: [S4], proved in docs/theory.md.
    """
    t = np.asarray(t, dtype=float)
    flat = t.ravel()
    expected_empty = m * np.exp(flat * np.log1p(-1 / m))
    known = np.empty_like(flat)  # E[1 - 1/(1+U')]
    few, many = expected_empty < 8, expected_empty >= 8
    known[few] = _some_empty_beyond_one(m, flat[few])
    known[many] = 1 - (1 - all_cells_hit(m, flat[many])) / expected_empty[many]
    known[flat == 0] = 1 - 1 / m
    return (np.exp(flat * np.log1p(-2 / m)) * known).reshape(t.shape)


def _some_empty_beyond_one(m: int, t: np.ndarray) -> np.ndarray:
    """``1 - P(V ≥ 1)/E[V]``, for few empty cells: inclusion-exclusion from its second term, as the first cancels."""
    k = np.arange(2, min(m, 60))
    log_choose = gammaln(m + 1) - gammaln(k + 1) - gammaln(m - k + 1)
    log_expected = np.log(m) + t * np.log1p(-1 / m)
    log_terms = log_choose + t[:, None] * np.log1p(-k / m) - log_expected[:, None]
    return (np.where(k % 2 == 0, 1.0, -1.0) * np.exp(log_terms)).sum(axis=1)


def all_cells_hit(m: int, t: np.ndarray) -> np.ndarray:
    """``P(t uniform throws hit all of m cells)``, for each t of ``[T]``; meant for where it is below 4e-4.

    Few cells are counted exactly; many have a saddle sharp enough for an integral, to an absolute error of 1e-12. Where
    more than 40 cells are expected to be empty it is 0 to that accuracy.

    Args:
        m: number of cells ≥ 3. t: whole numbers, ``[T]``.
    """
    if m < 60:
        return np.array([_counted(m, int(each)) for each in t])
    result = np.zeros_like(t)
    for i in np.flatnonzero((t > m) & (m * np.exp(t * np.log1p(-1 / m)) < 40)):
        result[i] = _integrated(m, t[i])
    return result


def _counted(m: int, t: int) -> float:
    """By inclusion-exclusion in integers."""
    if t < m:
        return 0.0
    ways = sum((-1) ** k * comb(m, k) * (m - k) ** t for k in range(m))
    return ways / m**t


def _integrated(m: int, t: float, points: int = 400) -> float:
    """``t! [z^t] (e^{z/m} - 1)^m`` by Cauchy's integral on the circle through the saddle point ``s = z/m``."""
    s = _saddle_point(t / m)
    spread = 1 / np.sqrt(t * (1 - s * np.exp(-s) / -np.expm1(-s)))
    half = min(np.pi, 12 * spread)
    theta = -half + (np.arange(points) + 0.5) * 2 * half / points
    exponent = m * np.log(np.expm1(s * np.exp(1j * theta)) / np.expm1(s)) - 1j * t * theta
    mean = np.exp(exponent).real.sum() * half / points / np.pi
    log_peak = gammaln(t + 1) - t * np.log(s * m) + m * np.log(np.expm1(s))
    return float(np.exp(log_peak) * mean)


def _saddle_point(ratio: float) -> float:
    """Where ``m log(e^s - 1) - t log s`` is least: ``s/(1 - e^{-s}) = t/m = ratio``, by Newton from above."""
    s = ratio
    for _ in range(60):
        rest = -np.expm1(-s)
        s -= (s / rest - ratio) / ((rest - s * np.exp(-s)) / rest**2)
    return s
