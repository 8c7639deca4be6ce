"""The exact law of a plurality vote: independent draws, or draws without replacement from a pool."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import gammaln

from sharptheory.errors import UserError


def plurality(log_weights: np.ndarray, n: int, *, abstain: np.ndarray | None = None) -> np.ndarray:
    """Probability that each class has the most of `n` draws, ties split uniformly, for ``P(counts) ∝ Π_c w_c(count_c)``.

    For each winning count t the other classes contribute ``Σ_{i<t} w(i) z^i + u w(t) z^t``; ``∫_0^1 u^s du = 1/(1+s)``
    splits a tie with s others, exactly, by Gauss-Legendre nodes.

    Args:
        log_weights: ``log w_c(i)`` for i = 0..n, ``[C, n+1]``. ``log p_c^i/i!`` is the multinomial (`majority`),
            ``log C(m_c, i)`` drawing without replacement from a pool.
        abstain: the same for draws that are no vote, ``[n+1]``; default there are none.

    Returns:
        ``[C]``; sums to 1, less the probability that nobody votes.
    """
    n_classes = len(log_weights)
    # Rescaling a class's weights changes nothing; classes with equal weights are worked out once.
    scaled, group, size = np.unique(
        np.exp(log_weights - log_weights.max(axis=1, keepdims=True)), axis=0, return_inverse=True, return_counts=True
    )
    # A class drawn from a pool has no more votes than members: its polynomial ends there.
    last = scaled.shape[1] - 1 - np.argmax(scaled[:, ::-1] > 0, axis=1)
    silent = np.ones(1) if abstain is None else np.trim_zeros(np.exp(abstain - abstain.max()), "b")
    wins = np.zeros(len(scaled))
    for t in range(max(1, -(-(n - len(silent) + 1) // n_classes)), min(n, last.max()) + 1):
        # A tie at t leaves room for few others: as many nodes as integrate that many powers of u exactly.
        ties = min(n_classes, n // t) - 1
        for u, weight in zip(*_legendre(ties // 2 + 1)):
            factors = [np.append(row[:t], u * row[t]) if end >= t else row[: end + 1] for row, end in zip(scaled, last)]
            powers = [_power(factor, k, n - t) for factor, k in zip(factors, size)]
            before = _prefix_products(powers, n - t, start=silent)
            after = _prefix_products(powers[::-1], n - t)[::-1]
            for g, (factor, k) in enumerate(zip(factors, size)):
                if last[g] < t:
                    continue
                # Coefficient of z^{n-t} in the product of all the other classes.
                others = np.convolve(before[g], _power(factor, k - 1, n - t))[: n - t + 1]
                wins[g] += weight * scaled[g, t] * np.dot(others, after[g + 1][n - t - np.arange(len(others))])
    nobody = np.prod(scaled[:, 0] ** size) * silent[n] if len(silent) > n else 0.0
    return wins[group] / (wins @ size + nobody)


@cache
def _legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss-Legendre quadrature on [0, 1]."""
    x, weights = np.polynomial.legendre.leggauss(nodes)
    return (x + 1) / 2, weights / 2


def _power(polynomial: np.ndarray, k: int, degree: int) -> np.ndarray:
    """The k-th power of a polynomial up to `degree`, by squaring."""
    result, square = np.ones(1), polynomial[: degree + 1]
    while k:
        if k & 1:
            result = np.convolve(result, square)[: degree + 1]
        k >>= 1
        if k:
            square = np.convolve(square, square)[: degree + 1]
    return result


def _prefix_products(factors: list[np.ndarray], degree: int, *, start: np.ndarray = np.ones(1)) -> np.ndarray:  # noqa: B008
    """Products of `start` and the first c polynomials for c = 0..C, up to `degree`: ``[C+1, degree+1]``."""
    products = np.zeros((len(factors) + 1, degree + 1))
    products[0, : len(start)] = start[: degree + 1]
    for c, factor in enumerate(factors):
        product = np.convolve(products[c], factor)[: degree + 1]
        products[c + 1, : len(product)] = product
    return products


def majority(log_probs: np.ndarray, n: int) -> np.ndarray:
    """Law of the plurality answer of `n` i.i.d. draws, ties split uniformly; exact, for answers ``[..., C]``.

    Args:
        log_probs: log-probabilities of the *answers* (responses with the same answer added up), ``[..., C]``.
        n: number of votes, an integer ≥ 1.
    """
    if n != int(n) or n < 1:
        raise UserError(f"n={n}; expected an integer ≥ 1")
    n = int(n)
    log_probs = np.asarray(log_probs, dtype=float)
    counts = np.arange(n + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_weights = np.where(counts == 0, 0.0, counts * log_probs[..., None]) - gammaln(counts + 1)
    rows = [plurality(row, n) for row in log_weights.reshape(-1, *log_weights.shape[-2:])]
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows).reshape(log_probs.shape))


def log_choose(n, k) -> np.ndarray:
    """``log C(n, k)``, ``-inf`` outside ``0 ≤ k ≤ n``; broadcasts."""
    n, k = np.broadcast_arrays(np.asarray(n, dtype=float), np.asarray(k, dtype=float))
    inside = (k >= 0) & (k <= n)
    n, k = np.where(inside, n, 0), np.where(inside, k, 0)
    return np.where(inside, gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), -np.inf)
