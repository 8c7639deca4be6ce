"""The law of best-of-N sampling: one sort per prompt, then one pass per N."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from sharptheory.errors import UserError, expect_numbers
from sharptheory.theory.levels import TOLERANCE, Levels, levels
from sharptheory.theory.rows import SUM_TOLERANCE, as_floats

#: Entries worked on at once, so that every pass over them stays in cache.
BLOCK = 1 << 14
#: A thread is worth its start from about this many blocks on.
BLOCKS_PER_THREAD = 16


def best_of_n(
    log_probs: np.ndarray | Levels, n: float, *, rewards: np.ndarray | None = None, tolerance: float = TOLERANCE
) -> np.ndarray:
    """Law of the best of N i.i.d. samples by reward, ties among the best of them broken uniformly over the samples.

    ``P(level = v) = F(v)^N - F(v⁻)^N``, shared within the level in proportion to ``π``.

    >>> np.exp(best_of_n(np.log([0.5, 0.3, 0.2]), 4)).round(4)  # the likeliest of four
    array([0.9375, 0.0609, 0.0016])
    >>> np.exp(best_of_n(np.log([0.5, 0.3, 0.2]), 4, rewards=np.array([0, 0, 1]))).round(4)  # by a verifier
    array([0.256 , 0.1536, 0.5904])

    Args:
        log_probs: base policy, ``[..., Y]``, nats; or its `levels`, which spares the sort when many N are wanted.
        n: real number ``1 ≤ N < ∞``; the limit is `argmax_law`.
        rewards: ``[..., Y]``; default the log-likelihood. For a verifier, its values.
        tolerance: of ties, see `levels`.

    Returns:
        Log-probabilities, same shape.

    Raises:
        UserError: N is out of range, a row is no law, a reward is NaN, or `rewards` or `tolerance` is given beside
            `levels`, which hold their own.

    Source: Appendix C (arXiv 2412.01951); proved in docs/theory.md.
    """
    expect_numbers("[1, inf)", n=n)
    if not isinstance(log_probs, Levels):
        ranking = levels(log_probs, rewards, tolerance=tolerance)
    elif rewards is None and tolerance == TOLERANCE:
        ranking = log_probs
    else:
        raise UserError("rewards or tolerance given beside levels, which hold their own; give them to levels()")
    law = np.empty(ranking.log_cdf.size)
    columns = [
        column.reshape(-1) for column in (ranking.log_cdf, ranking.log_ratio, ranking.log_share, ranking.log_hazard)
    ]

    def fill(blocks: range) -> None:
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            for start in blocks:
                log_cdf, log_ratio, log_share, log_hazard = (column[start : start + BLOCK] for column in columns)
                out = law[start : start + BLOCK]
                _log_gain(n, log_ratio, log_hazard, out=out)
                out += n * log_cdf
                out += log_share

    blocks = range(0, law.size, BLOCK)
    workers = min(os.cpu_count() or 1, len(blocks) // BLOCKS_PER_THREAD)
    if workers > 1:
        with ThreadPoolExecutor(workers) as threads:
            list(threads.map(fill, (blocks[i::workers] for i in range(workers))))
    else:
        fill(blocks)
    return law.reshape(ranking.shape)


#: Interpolation of ``log(sinh(√u)/√u)/u`` on [0, 4], lowest power first; its error is below 1e-13.
_LOG_SINH = (
    0.16666666666663438,
    -0.005555555553608985,
    0.0003527336664800381,
    -2.6454949013318306e-05,
    2.137621561040551e-06,
    -1.801760382340564e-07,
    1.551550328682765e-08,
    -1.3150374674929623e-09,
    1.0028820577020786e-10,
    -5.762435982926596e-12,
    1.7447533317106367e-13,
)


def _log_gain(n: float, log_ratio: np.ndarray, log_hazard: np.ndarray, out: np.ndarray) -> np.ndarray:
    """``log(1 - e^{N log_ratio})`` into `out`: the logarithm of a level's chance given that no better one is sampled.

    With ``x = -N log_ratio`` it is ``log x - x/2 + log(sinh(x/2)/(x/2))``, and ``log x = log N + log_hazard`` costs
    nothing: up to x = 4 a polynomial replaces an exponential and a logarithm.
    """
    half = log_ratio * (-n / 2)
    far = half > 2
    n_far = np.count_nonzero(far)
    if n_far > far.size // 8:
        np.log(-np.expm1(-2 * half), out=out)
        faint = log_hazard < -600  # where log_ratio has lost its digits
        if faint.any():
            log_x = np.log(n) + log_hazard[faint]
            out[faint] = np.where(log_x < -30, log_x, np.log(-np.expm1(-np.exp(log_x))))
        return out
    square = half * half
    np.multiply(square, _LOG_SINH[-1], out=out)
    for coefficient in _LOG_SINH[-2:0:-1]:
        out += coefficient
        out *= square
    out += _LOG_SINH[0]
    out *= square
    out -= half
    out += log_hazard
    out += np.log(n)
    if n_far:
        out[far] = np.log1p(-np.exp(-2 * half[far]))
    return out


def best_of_n_laws(log_probs: np.ndarray, n: np.ndarray, **options) -> Iterator[np.ndarray]:
    """`best_of_n` for several N, one law ``[..., Y]`` at a time, sorting once.

    Args:
        log_probs: ``[..., Y]``, nats. n: real numbers ``N ≥ 1``, ``[K]``. options: of `levels`: rewards, tolerance.
    """
    ranking = levels(log_probs, **options)
    for each in np.atleast_1d(n):
        yield best_of_n(ranking, float(each))


def best_of_n_hit(mass: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Probability that best-of-N by likelihood returns a maximiser, ``1 - (1 - q)^N``.

    Args:
        mass: ``q = π_base(y*_γ(x)|x)``, any shape, in [0, 1].
        n: number of samples ``N ≥ 1``, real, broadcast against `mass`; at inf the limit, 1 for every positive mass and
            0 for none.

    Returns:
        Probabilities, relative error near machine precision also where ``q`` is tiny and N huge.

    Raises:
        UserError: a mass is outside [0, 1], or N below 1.

    Source: Proposition C.1 (arXiv 2412.01951).
    """
    mass, n = as_floats(mass, "mass"), as_floats(n, "n")
    # Masses that were added up may pass 1 by rounding.
    if not np.all((mass >= 0) & (mass <= 1 + SUM_TOLERANCE)):
        raise UserError(f"mass={mass}; expected numbers in [0, 1]")
    if not np.all(n >= 1):
        raise UserError(f"n={n}; expected numbers ≥ 1")
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return np.where(mass == 0, 0.0, -np.expm1(n * np.log1p(-np.minimum(mass, 1.0))))[()]
