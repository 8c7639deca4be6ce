"""Exact laws of sharpened policies: no sampling, everything in log space.

Functions take log-probabilities ``[..., Y]`` of the base policy and return those of the sharpened one, same shape.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_softmax

from sharptheory.errors import UserError
from sharptheory.theory.coverage import TOLERANCE, maximizers
from sharptheory.theory.policies import row_chunks

# Best-of-N ------------------------------------------------------------------------------------------------------------


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
    """Rank the responses of each prompt by reward (default: log-likelihood); rewards within `tolerance` are tied."""
    table = _rows(log_probs)
    if rewards is not None:
        rewards = _rows(np.broadcast_to(np.asarray(rewards, dtype=float), np.shape(log_probs)))
        if np.isnan(rewards).any():
            raise UserError(f"rewards{np.argwhere(np.isnan(rewards))[0].tolist()} is NaN; expected numbers")
    columns = tuple(np.empty(table.shape) for _ in range(4))
    for rows in row_chunks(table.shape):
        chunk = table[rows]
        order, *ranked = _ranked(chunk, chunk if rewards is None else rewards[rows], tolerance)
        for out, values in zip(columns, ranked):
            np.put_along_axis(out[rows], order, values, axis=1)
    return Levels(*columns, np.shape(log_probs))


def _rows(values: np.ndarray) -> np.ndarray:
    """The same numbers as ``[X, Y]``."""
    values = np.asarray(values, dtype=float)
    return values.reshape(-1, values.shape[-1])


def _ranked(log_probs: np.ndarray, rewards: np.ndarray, tolerance: float):
    """The ascending order of reward of a cacheful of rows, and the columns of `Levels` in that order."""
    order = np.argsort(rewards, axis=1)
    sorted_log = np.take_along_axis(log_probs, order, axis=1)
    by_likelihood = rewards is log_probs
    starts = level_starts(sorted_log if by_likelihood else np.take_along_axis(rewards, order, axis=1), tolerance)
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        # Near 1 the mass that is missing says more about F than the mass that is there.
        if np.any((sorted_log < -690) & (sorted_log > -np.inf)):
            log_below, log_above = _log_sums(sorted_log)
            log_cdf = np.logaddexp(log_below, sorted_log)
            log_cdf = np.where(log_above < -np.log(2), np.log1p(-np.exp(log_above)), log_cdf)
        else:
            probs, above, below = np.exp(sorted_log), np.zeros(order.shape), np.zeros(order.shape)
            np.cumsum(probs[:, :0:-1], axis=1, out=above[:, -2::-1])
            np.cumsum(probs[:, :-1], axis=1, out=below[:, 1:])
            log_below, log_cdf = np.log(below), np.where(above < 0.5, np.log1p(-above), np.log(below + probs))
        if starts.all():
            log_mass, share = sorted_log, np.zeros_like(sorted_log)
        else:
            first, last = level_bounds(starts)
            flat = np.flatnonzero(starts)
            top = np.maximum.reduceat(sorted_log.ravel(), flat)
            shift = np.where(np.isfinite(top), top, 0.0)
            size = np.diff(np.append(flat, starts.size))
            mass = np.add.reduceat(np.exp(sorted_log.ravel() - np.repeat(shift, size)), flat)
            log_mass = np.repeat(shift + np.log(mass), size).reshape(starts.shape)
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
    return order, log_cdf, ratio, share, hazard


def level_starts(ascending: np.ndarray, tolerance: float) -> np.ndarray:
    """Where a new level begins in rewards sorted along the rows ``[X, Y]``; a level spans at most `tolerance`."""
    starts = np.ones(ascending.shape, dtype=bool)
    starts[:, 1:] = ascending[:, 1:] > ascending[:, :-1] + tolerance
    if starts.all():
        return starts
    # Steps within the tolerance may add up to more than it: such rows are cut leader by leader.
    first, _ = level_bounds(starts)
    drifted = ascending > np.take_along_axis(ascending, first, axis=1) + tolerance
    for x in np.flatnonzero(drifted.any(axis=1)):
        j = 0
        while j < ascending.shape[1]:
            following = int(np.searchsorted(ascending[x], ascending[x, j] + tolerance, side="right"))
            following = max(following, j + 1)
            starts[x, j], starts[x, j + 1 : following] = True, False
            j = following
    return starts


def level_bounds(starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the first and of the last element of each element's level, ``[X, Y]`` each."""
    index = np.arange(starts.shape[1])
    first = np.maximum.accumulate(np.where(starts, index, 0), axis=1)
    ends = np.ones_like(starts)
    ends[:, :-1] = starts[:, 1:]
    last = np.minimum.accumulate(np.where(ends, index, starts.shape[1])[:, ::-1], axis=1)[:, ::-1]
    return first, last


def _log_sums(ascending: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log of the exclusive cumulative sums of each row from below and from above, where probabilities underflow."""
    below, above = np.full(ascending.shape, -np.inf), np.full(ascending.shape, -np.inf)
    below[:, 1:] = np.logaddexp.accumulate(ascending[:, :-1], axis=1)
    above[:, :-1] = np.logaddexp.accumulate(ascending[:, :0:-1], axis=1)[:, ::-1]
    return below, above


def best_of_n(
    log_probs: np.ndarray | Levels, n: float, *, rewards: np.ndarray | None = None, tolerance: float = TOLERANCE
) -> np.ndarray:
    """Law of the best of N i.i.d. draws by reward, ties among the drawn maximisers broken uniformly over the draws.

    ``P(level = v) = F(v)^N - F(v⁻)^N``, shared within the level in proportion to ``π``.

    Args:
        log_probs: base policy, ``[..., Y]``; or its `levels`, which spares the sort when many N are wanted.
        n: real number ``N ≥ 1``.
        rewards: ``[..., Y]``; default the log-likelihood. For a verifier, its values.
        tolerance: rewards closer than this are tied.

    Returns:
        Log-probabilities, same shape.

    Source: section 2 of the specification; Appendix C (arXiv 2412.01951).
    """
    if not n >= 1:
        raise UserError(f"n={n}; expected a real number ≥ 1")
    ranking = log_probs if isinstance(log_probs, Levels) else levels(log_probs, rewards, tolerance=tolerance)
    law = np.empty(ranking.log_cdf.size)
    columns = [
        column.reshape(-1) for column in (ranking.log_cdf, ranking.log_ratio, ranking.log_share, ranking.log_hazard)
    ]

    def fill(blocks: range) -> None:
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            for start in blocks:
                log_cdf, log_ratio, log_share, log_hazard = (column[start : start + BLOCK] for column in columns)
                out = law[start : start + BLOCK]
                log_gain(n, log_ratio, log_hazard, out=out)
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


#: Entries worked on at once, so that every pass over them stays in cache.
BLOCK = 1 << 14
#: A thread is worth its start from about this many blocks on.
BLOCKS_PER_THREAD = 16

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


def log_gain(n: float, log_ratio: np.ndarray, log_hazard: np.ndarray, out: np.ndarray) -> np.ndarray:
    """``log(1 - e^{N log_ratio})`` into `out`: the logarithm of a level's chance given that no better one is drawn.

    With ``x = -N log_ratio`` it is ``log x - x/2 + log(sinh(x/2)/(x/2))``, and ``log x = log N + log_hazard`` costs
    nothing: up to x = 4 a polynomial replaces an exponential and a logarithm.
    """
    half = log_ratio * (-n / 2)
    far = half > 2
    n_far = np.count_nonzero(far)
    if n_far > far.size // 8:
        np.log(-np.expm1(-2 * half), out=out)
        faint = log_hazard < -600
        if faint.any():
            out[faint] = np.log(n) + log_hazard[faint]
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
    """`best_of_n` for several N, one law at a time, sorting once."""
    ranking = levels(log_probs, **options)
    for each in np.atleast_1d(n):
        yield best_of_n(ranking, float(each))


def best_of_n_hit(mass: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Probability that best-of-N by likelihood returns a maximiser, ``1 - (1 - q)^N``.

    Args:
        mass: ``q = π_base(y*_γ(x)|x)``, any shape, in [0, 1].
        n: number of draws ``N ≥ 1``, real, broadcast against `mass`.

    Returns:
        Probabilities, relative error near machine precision also where ``q`` is tiny and N huge.

    Source: section 2 and Proposition C.1 (arXiv 2412.01951).
    """
    with np.errstate(divide="ignore"):
        return -np.expm1(np.asarray(n) * np.log1p(-np.asarray(mass, dtype=float)))


# Adaptive best-of-N ---------------------------------------------------------------------------------------------------


def stopping_threshold(delta: float) -> float:
    """``μ_stop = ln(2/δ)`` of the adaptive rule, for missing mass δ. Source: Theorem D.1."""
    if not 0 < delta <= 1:
        raise UserError(f"delta={delta}; expected a number in (0, 1]")
    return float(np.log(2) - np.log(delta))


@dataclass(frozen=True, eq=False)
class Stopping:
    """Adaptive best-of-N on a table: the law it returns and what it costs, exactly.

    Attributes:
        law: log-probabilities of the returned response, ``[..., Y]``.
        expected_n: ``E[N_μ]`` per prompt, ``[...]``; ``inf`` beyond 1e308.
    """

    law: np.ndarray
    expected_n: np.ndarray


def adaptive_best_of_n(
    log_probs: np.ndarray,
    threshold: float,
    *,
    log_likelihood: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
) -> Stopping:
    """Draw until ``1/max_{j≤k} π(y_j|x) ≤ k/μ_stop``, return the likeliest draw: its law and ``E[N_μ]``, exactly.

    ``{N_μ > k}`` is the event that the first k draws all have probability below ``μ_stop/k``, so with
    ``G(t) = π({y : π(y) < t})``: ``P[N_μ > k] = G(μ_stop/k)^k``. G is constant in k between the levels, so sums over k
    are geometric sums over levels: the cost does not depend on how long the rule runs.

    Args:
        log_probs: ``[..., Y]``.
        threshold: ``μ_stop > 0``, see `stopping_threshold`.
        log_likelihood: ``[..., Y]``, where an entry stands for a whole level set: the log-probability of each of its
            responses, `log_probs` being that of the set. So a policy over 10^12 responses is a row of its level sets.

    Source: (10), Appendix D; [S1], proved in docs/theory.md.
    """
    if not threshold > 0:
        raise UserError(f"threshold={threshold}; expected a positive number, e.g. stopping_threshold(delta)")
    table = _rows(log_probs)
    likelihood = table if log_likelihood is None else _rows(log_likelihood)
    if likelihood.shape != table.shape:
        raise UserError(f"log_likelihood has shape {likelihood.shape}; expected {table.shape}, as log_probs")
    # A level set without mass is as good as one without likelihood.
    likelihood = np.where(table == -np.inf, -np.inf, likelihood)
    order, log_cdf, log_ratio, log_share, _ = _ranked(table, likelihood, tolerance)
    log_value, log_p = (np.take_along_axis(a, order, axis=1) for a in (likelihood, table))
    first, last = level_bounds(level_starts(log_value, tolerance))
    log_level = np.take_along_axis(log_value, first, axis=1)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        # The first k at which a level stops the rule; -inf levels never do.
        entry = np.maximum(np.ceil(np.exp(np.log(threshold) - log_level)), 1.0)
        log_below = log_cdf + log_ratio
        # Between a level's entry and that of the level below, the rule goes on with the mass below the level.
        entry_below = np.take_along_axis(entry, np.maximum(first - 1, 0), axis=1)
        bottom = (first == 0) | (log_below == -np.inf)
        span = np.where(bottom, 0.0, entry_below - entry)
        log_geometric = entry * log_below + np.log(-np.expm1(span * log_below)) - _log1mexp(log_below)
        is_first = first == np.arange(table.shape[1])
        log_piece = np.where(~bottom & is_first & (span > 0), log_geometric, -np.inf)
        # Σ_{k ≥ entry} P[N > k]: the pieces at this level and below.
        log_tail = np.take_along_axis(np.logaddexp.accumulate(log_piece, axis=1), last, axis=1)
        log_mass = log_p - log_share
        at_entry = entry * log_cdf + np.log(-np.expm1(entry * log_ratio))
        law = np.logaddexp(at_entry, log_mass + log_tail) + log_share
        law[log_p == -np.inf] = -np.inf
        expected = entry[:, -1] + np.exp(log_tail[:, -1])
    result = np.empty_like(table)
    np.put_along_axis(result, order, law, axis=1)
    return Stopping(result.reshape(np.shape(log_probs)), expected.reshape(np.shape(log_probs)[:-1]))


def stopping_tail(log_probs: np.ndarray, threshold: float, k: np.ndarray) -> np.ndarray:
    """``P[N_μ > k] = G(μ_stop/k)^k`` for each k (shape ``[K]``) and prompt, ``[..., K]``. Source: [S1]."""
    log_probs, k = np.asarray(log_probs, dtype=float), np.atleast_1d(np.asarray(k, dtype=float))
    with np.errstate(divide="ignore", invalid="ignore"):
        low = log_probs[..., None, :] < (np.log(threshold) - np.log(k))[:, None]
        inside = np.where(low, np.exp(log_probs)[..., None, :], 0.0).sum(axis=-1)
        outside = np.where(low, 0.0, np.exp(log_probs)[..., None, :]).sum(axis=-1)
        log_mass = np.where(outside < 0.5, np.log1p(-outside), np.log(inside))
        return np.where(k == 0, 1.0, np.exp(np.where(k == 0, 0.0, k * log_mass)))


def _log1mexp(x: np.ndarray) -> np.ndarray:
    """``log(1 - e^x)`` for ``x ≤ 0``."""
    with np.errstate(divide="ignore"):
        return np.where(x > -np.log(2), np.log(-np.expm1(x)), np.log1p(-np.exp(x)))


# Tilted laws ----------------------------------------------------------------------------------------------------------


def argmax_law(log_probs: np.ndarray, gamma: float = 0.0, *, tolerance: float = TOLERANCE) -> np.ndarray:
    """The base policy conditioned on ``y*_γ(x)``; ``C_π = 1/q_γ`` per prompt."""
    log_probs = np.asarray(log_probs, dtype=float)
    inside = maximizers(log_probs, gamma, tolerance=tolerance)
    return log_softmax(np.where(inside, log_probs, -np.inf), axis=-1)


def tilted(log_probs: np.ndarray, beta: float, *, rewards: np.ndarray | None = None) -> np.ndarray:
    """``π_β ∝ π · exp(r/β)``, the optimum of ``E_π'[r] - β KL(π'‖π)``; for the log-likelihood it is ``π^{1+1/β}``.

    Args:
        log_probs: ``[..., Y]``.
        beta: ``β ≥ 0``; 0 gives the law of the best responses (the argmax law), ``inf`` the base.
        rewards: ``[..., Y]``; default the log-likelihood.

    Source: (3).
    """
    if not beta >= 0:
        raise UserError(f"beta={beta}; expected a number ≥ 0")
    log_probs = np.asarray(log_probs, dtype=float)
    values = log_probs if rewards is None else np.broadcast_to(np.asarray(rewards, dtype=float), log_probs.shape)
    support = log_probs > -np.inf
    best = np.where(support, values, -np.inf).max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        gap = np.where(support, np.minimum(values - best, 0.0), -np.inf)
    if beta == 0:
        return log_softmax(np.where(gap >= -TOLERANCE, log_probs, -np.inf), axis=-1)
    with np.errstate(over="ignore"):
        return log_softmax(np.where(support, log_probs + gap / beta, -np.inf), axis=-1)


def power(log_probs: np.ndarray, alpha: float) -> np.ndarray:
    """``π^α / Z_α``; ``α = 1 + 1/β`` is `tilted` by the log-likelihood, ``α = 1/T`` is sequence-level temperature."""
    if not alpha >= 0:
        raise UserError(f"alpha={alpha}; expected a number ≥ 0")
    if alpha == np.inf:
        return argmax_law(log_probs)
    log_probs = np.asarray(log_probs, dtype=float)
    gap = log_probs - log_probs.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):
        return log_softmax(np.where(gap == -np.inf, -np.inf, alpha * gap), axis=-1)


def chi_squared(log_probs: np.ndarray, beta: float, rewards: np.ndarray) -> np.ndarray:
    """χ²-pessimism: ``π(y) · relu((r(y) - λ)/β)`` with λ such that it sums to 1; λ is found exactly by sorting.

    Unlike best-of-N it does not degrade as its strength ``1/β`` grows when the reward is wrong on rare responses.

    Args:
        log_probs, rewards: ``[..., Y]``; beta: ``β > 0``.

    Source: Huang et al., arXiv 2503.21878.
    """
    if not 0 < beta < np.inf:
        raise UserError(f"beta={beta}; expected a positive number")
    log_probs = np.asarray(log_probs, dtype=float)
    rewards = np.broadcast_to(np.asarray(rewards, dtype=float), log_probs.shape)
    if not np.isfinite(rewards).all():
        raise UserError(f"rewards{np.argwhere(~np.isfinite(rewards))[0].tolist()} is not finite")
    order = np.argsort(-rewards, axis=-1)
    r = np.take_along_axis(rewards, order, axis=-1)
    p = np.take_along_axis(np.exp(log_probs), order, axis=-1)
    mass = np.cumsum(p, axis=-1)
    # Σ_{i ≤ k} p_i (r_i - r_k): what the best k responses sum to, times β, when λ is the k-th reward.
    at_reward = np.concatenate(
        [np.zeros_like(r[..., :1]), np.cumsum(mass[..., :-1] * (r[..., :-1] - r[..., 1:]), axis=-1)], axis=-1
    )
    k = np.maximum((at_reward < beta).sum(axis=-1, keepdims=True) - 1, 0)
    # A leading response of no mass cannot carry the root.
    k = np.maximum(k, (mass <= 0).sum(axis=-1, keepdims=True))
    r_k, at_k, mass_k = (np.take_along_axis(a, k, axis=-1) for a in (r, at_reward, mass))
    root = r_k - (beta - at_k) / mass_k
    with np.errstate(divide="ignore"):
        return log_softmax(log_probs + np.log(np.maximum(rewards - root, 0.0)), axis=-1)


def rank_tilt(n: float) -> float:
    """``λ_N``: the tilt of a uniform rank with the KL of best-of-N, the root of
    ``((λ-1)e^λ+1)/(e^λ-1) - log((e^λ-1)/λ) = log N - (N-1)/N``.

    Source: Chow et al., arXiv 2412.15287; 2.2886, 4.9169, 9.0545, … for N = 2, 4, 8.
    """
    if not n >= 1:
        raise UserError(f"n={n}; expected a real number ≥ 1")
    target = np.log(n) - (n - 1) / n
    if target <= 0:
        return 0.0

    def excess(tilt: float) -> float:
        # Both terms divided by e^λ, so that nothing overflows; near 0 the divergence is λ²/24.
        if tilt < 1e-4:
            return tilt**2 / 24 - target
        rest = -np.expm1(-tilt)
        return (tilt - 1 + np.exp(-tilt)) / rest - tilt - np.log(rest) + np.log(tilt) - target

    return float(brentq(excess, 0.0, 4 * n + 10, xtol=1e-13, rtol=1e-14))


def rank_tilted(log_probs: np.ndarray, n: float, *, rewards: np.ndarray | None = None) -> np.ndarray:
    """Variational surrogate of best-of-N: ``π exp(λ_N Q)/Z`` with ``Q(y) = P[r(y) ≥ r(y')]``; for atomless rewards only.

    Source: Chow et al., arXiv 2412.15287.
    """
    ranking = levels(log_probs, rewards)
    cdf = np.exp(ranking.log_cdf).reshape(ranking.shape)
    return log_softmax(np.asarray(log_probs, dtype=float) + rank_tilt(n) * cdf, axis=-1)


# Curation -------------------------------------------------------------------------------------------------------------


def curated(log_probs: np.ndarray, rewards: np.ndarray, k: float, *, nodes: int = 200) -> np.ndarray:
    """One round of K-wise Bradley-Terry curation: ``p(y) E[K e^{r(y)} / (e^{r(y)} + Σ_{i=2..K} e^{r(y_i)})]``.

    ``K = inf`` is the tilt ``p e^r``; iterating with the fixed reward ``log π_base`` gives ``π_base^{1+t}``. The
    expectation is ``K ∫_0^∞ w e^{-sw} M(s)^{K-1} ds`` with ``w = e^r``, ``M(s) = E e^{-sw}``, by quadrature.

    Args:
        log_probs, rewards: ``[..., Y]``; k: ``K ≥ 1`` or inf; nodes: of the quadrature.

    Source: Ferbach et al., *Self-Consuming Generative Models with Curated Data*.
    """
    if not k >= 1:
        raise UserError(f"k={k}; expected a number ≥ 1 or inf")
    log_probs = np.asarray(log_probs, dtype=float)
    rewards = np.broadcast_to(np.asarray(rewards, dtype=float), log_probs.shape)
    if k == np.inf:
        return tilted(log_probs, 1.0, rewards=rewards)
    if k == 1:
        return log_probs.copy()
    support = log_probs > -np.inf
    scale = np.where(support, rewards, -np.inf).max(axis=-1, keepdims=True)
    w = np.exp(np.where(support, rewards - scale, -np.inf))
    # In v = log s the integrand is smooth and decays on both sides; it lives where K s w is of order 1.
    v = np.linspace(-40.0, 12.0 - np.log(w[support].min()), max(nodes, 20 * nodes // 10))
    step, s = v[1] - v[0], np.exp(v)
    decay = np.exp(-s * w[..., None])
    log_m = np.log(np.maximum((np.exp(log_probs)[..., None] * decay).sum(axis=-2, keepdims=True), 1e-320))
    factor = k * step * np.sum(w[..., None] * s * decay * np.exp((k - 1) * log_m), axis=-1)
    with np.errstate(divide="ignore"):
        return log_softmax(np.where(support, log_probs + np.log(factor), -np.inf), axis=-1)
