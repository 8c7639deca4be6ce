"""The exact law of a plurality vote: independent samples, or draws without replacement from a pool."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.fft import irfft, next_fast_len
from scipy.optimize import brentq
from scipy.special import gammaln, softmax

from sharptheory.errors import UserError, expect_integers
from sharptheory.theory.rows import as_log_probs


def plurality(log_weights: np.ndarray, n: int, *, abstain: np.ndarray | None = None) -> np.ndarray:
    """Probability that each class has the most of `n` draws, ties split uniformly, for ``P(counts) ∝ Π_c w_c(count_c)``.

    For each winning count t the other classes contribute ``Σ_{i<t} w(i) z^i + u w(t) z^t``; ``∫_0^1 u^s du = 1/(1+s)``
    splits a tie with s others, exactly, by Gauss-Legendre nodes. Weights are tilted first (`_tilted`), so that nothing
    that matters underflows, however large n is.

    Args:
        log_weights: ``log w_c(i)`` for i = 0..n, ``[C, n+1]``. ``log p_c^i/i!`` is the multinomial (`majority`),
            ``log C(m_c, i)`` drawing without replacement from a pool.
        n: number of draws, an integer ≥ 1.
        abstain: the same for draws that are no vote, ``[n+1]``; default there are none.

    Returns:
        ``[C]``; sums to 1, less the probability that nobody votes. Chances below about 1e-290 come out as 0.

    Raises:
        UserError: the weights allow no way to make `n` draws.
    """
    rows = log_weights if abstain is None else np.vstack([log_weights, abstain])
    weights = _tilted(np.asarray(rows, dtype=float), n)
    silent = np.ones(1) if abstain is None else np.trim_zeros(weights[-1], "b")
    n_classes = len(log_weights)
    # Classes with equal weights are worked out once.
    weights, group, size = np.unique(weights[:n_classes], axis=0, return_inverse=True, return_counts=True)
    # A class drawn from a pool has no more votes than members: its polynomial ends there.
    last = n - np.argmax(weights[:, ::-1] > 0, axis=1)
    wins = np.zeros(len(weights))
    for t in range(max(1, -(-(n - len(silent) + 1) // n_classes)), min(n, last.max()) + 1):
        # A tie at t leaves room for few others: as many nodes as integrate that many powers of u exactly.
        ties = min(n_classes, n // t) - 1
        for u, node_weight in zip(*_legendre(ties // 2 + 1)):
            polynomials = [np.append(w[:t], u * w[t]) if end >= t else w[: end + 1] for w, end in zip(weights, last)]
            wins += node_weight * _others(polynomials, size, n - t, silent, last >= t) * weights[:, t]
    nobody = np.prod(weights[:, 0] ** size) * silent[n] if len(silent) > n else 0.0
    return wins[group] / (wins @ size + nobody)


#: Chances below this are left out where one class is asked for.
NEGLIGIBLE = 1e-22


def win_probability(log_weights: np.ndarray, focal: int, n: int, *, abstain: np.ndarray | None = None) -> float:
    """`plurality` of one class, to about 1e-13, in a small part of the time.

    The polynomials are multiplied as values on the unit circle, and a transform gives the coefficient that is wanted; at so
    many points that what it is mistaken for, a number of draws that many larger, has no chance under the tilt.

    Args:
        log_weights, n, abstain: as in `plurality`. focal: the class, from 0.

    Raises:
        UserError: as `plurality`.

    ```python
    >>> log_weights = np.array([1, 2, 1])[:, None] * np.log([1, 1, 1]) - gammaln([1, 2, 3])
    >>> round(win_probability(log_weights, 1, 2), 3), plurality(log_weights, 2).round(3).tolist()
    (0.333, [0.333, 0.333, 0.333])

    ```
    """
    rows = log_weights if abstain is None else np.vstack([log_weights, abstain])
    weights = _tilted(np.asarray(rows, dtype=float), n)
    own, silent = weights[focal], np.eye(1, n + 1)[0] if abstain is None else weights[-1]
    others = np.delete(weights[: len(log_weights)], focal, axis=0)
    others, size = np.unique(others, axis=0, return_counts=True)
    points = next_fast_len(int(n + 12 * np.sqrt(n)) + 32, real=True)
    powers = np.exp(-2j * np.pi * np.outer(np.arange(n + 1), np.arange(points // 2 + 1)) / points)
    silent, several = silent @ powers, size > 1

    def product(factors: np.ndarray) -> np.ndarray:
        factors[several] **= size[several, None]
        return factors.prod(axis=0)

    reached = np.zeros((len(others), powers.shape[1]), dtype=complex)  # counts below t
    wins = np.zeros(powers.shape[1], dtype=complex)
    for t in range(n + 1):
        step = others[:, t, None] * powers[t]
        if t > 0:
            # At z = 1 everything is positive, and bounds what it is elsewhere.
            bound = own[t] * np.prod((reached[:, 0] + step[:, 0]).real ** size)
            ties = min(len(log_weights), n // t) - 1
            nodes = _legendre(ties // 2 + 1) if bound > NEGLIGIBLE else ((), ())
            for u, node_weight in zip(*nodes):
                wins += node_weight * own[t] * powers[t] * product(reached + u * step) * silent
        reached += step
    draws = (own @ powers) * product(reached) * silent
    return float(np.clip(np.divide(*irfft([wins, draws], points, axis=1)[:, n]), 0.0, 1.0))


def _tilted(log_weights: np.ndarray, n: int) -> np.ndarray:
    """Weights ``w_c(i) z^i``, each row scaled to sum to 1, with the z at which the expected counts sum to n.

    A tilt multiplies every way of making n draws by ``z^n``, which changes no probability given that there are n. At
    this z the n draws are the most likely total, of chance about ``1/√n``; at ``z = 1`` it is of order ``1/n!``.
    """
    counts = np.arange(log_weights.shape[1])

    def tilted(log_z: float) -> np.ndarray:
        return softmax(log_weights + counts * log_z, axis=1)

    def excess(log_z: float) -> float:
        return float((tilted(log_z) @ counts).sum()) - n

    most = n - np.argmax(log_weights[:, ::-1] > -np.inf, axis=1)
    least = np.argmax(log_weights > -np.inf, axis=1)
    if not least.sum() <= n <= most.sum():
        raise UserError(f"n={n}; the weights allow {least.sum()} to {most.sum()} draws")
    # With hardly a choice the root is at infinity, and far enough is as good.
    low, high = -1.0, 1.0
    while excess(low) > 0 and low > -1e5:
        low *= 2
    while excess(high) < 0 and high < 1e5:
        high *= 2
    root = brentq(excess, low, high, xtol=1e-6) if excess(low) < 0 < excess(high) else low if excess(low) >= 0 else high
    return tilted(root)


def _others(
    polynomials: list[np.ndarray], size: np.ndarray, degree: int, silent: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """For each group of equal classes, the coefficient of ``z^degree`` in the product of all classes but one of it.

    Args:
        polynomials: one per group, of `size` classes each; silent: that of the abstentions; wanted: groups to work out.
    """
    powers = [_power(polynomial, k, degree) for polynomial, k in zip(polynomials, size)]
    before = _prefix_products(powers, degree, start=silent)
    after = _prefix_products(powers[::-1], degree)[::-1]
    coefficients = np.zeros(len(size))
    for g in np.flatnonzero(wanted):
        rest = np.convolve(before[g], _power(polynomials[g], size[g] - 1, degree))[: degree + 1]
        coefficients[g] = np.dot(rest, after[g + 1][degree - np.arange(len(rest))])
    return coefficients


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
    """Law of the plurality answer of `n` i.i.d. samples, ties split uniformly; exact, for answers ``[..., C]``.

    >>> np.exp(majority(np.log([0.5, 0.3, 0.2]), 3)).round(4)
    array([0.56 , 0.276, 0.164])

    Args:
        log_probs: log-probabilities in nats of the *answers* (responses with the same answer added up), ``[..., C]``.
        n: number of votes, an integer ≥ 1.

    Returns:
        Log-probabilities, same shape.

    Raises:
        UserError: n is no integer ≥ 1, or a row is no law.
    """
    expect_integers(1, n=n)
    log_probs = as_log_probs(log_probs)
    counts = np.arange(n + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_weights = np.where(counts == 0, 0.0, counts * log_probs[..., None]) - gammaln(counts + 1)
    rows = [plurality(row, n) for row in log_weights.reshape(-1, *log_weights.shape[-2:])]
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows).reshape(log_probs.shape))


def log_choose(n, k) -> np.ndarray:
    """``log C(n, k)``, ``-inf`` outside ``0 ≤ k ≤ n``; broadcasts.

    Args:
        n, k: whole numbers, any shapes that broadcast.
    """
    n, k = np.broadcast_arrays(np.asarray(n, dtype=float), np.asarray(k, dtype=float))
    inside = (k >= 0) & (k <= n)
    n, k = np.where(inside, n, 0), np.where(inside, k, 0)
    return np.where(inside, gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), -np.inf)
