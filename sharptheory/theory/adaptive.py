"""Adaptive best-of-N: draw until the likeliest draw so far is likely enough for how long the drawing took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sharptheory.errors import UserError, expect_numbers
from sharptheory.theory.levels import TOLERANCE, level_bounds, ranked_rows
from sharptheory.theory.rows import SUM_TOLERANCE, as_floats, as_log_probs

#: Least log-likelihood of a level set: beyond it the logarithm of a waiting time has no digits left for the time.
LEAST_LIKELY = -1e9


def stopping_threshold(delta: float) -> float:
    """``μ_stop = ln(2/δ)`` of the adaptive rule.

    Args:
        delta: missing mass ``δ ∈ (0, 1]``.

    Raises:
        UserError: δ is outside (0, 1].

    Source: Theorem D.1 (arXiv 2412.01951).
    """
    expect_numbers("(0, 1]", delta=delta)
    return float(np.log(2) - np.log(delta))


def entry_time(log_likelihood: np.ndarray, threshold: float) -> np.ndarray:
    """First k at which a response stops the rule (10), if it is the likeliest so far: ``⌈μ_stop/p⌉``.

    The one comparison of the rule: all that apply it (the exact law, its average over a pool, the learners) ask here.
    ``μ_stop/p`` within the tolerance of ties above an integer counts as that integer, for rounding decides nothing.

    Args:
        log_likelihood: ``log p`` in nats, any shape. threshold: ``μ_stop``.

    Returns:
        Whole numbers ≥ 1 as floats, of the same shape; ``inf`` where ``μ_stop/p`` is beyond 1e308.

    Source: (10) (arXiv 2412.01951).
    """
    with np.errstate(over="ignore"):
        return np.maximum(np.ceil(np.exp(_log_wait(log_likelihood, threshold))), 1.0)


def _log_wait(log_likelihood: np.ndarray, threshold: float) -> np.ndarray:
    return np.log(threshold) - TOLERANCE - np.asarray(log_likelihood, dtype=float)


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

    >>> rule = adaptive_best_of_n(np.log([0.5, 0.3, 0.2]), stopping_threshold(0.5))
    >>> np.exp(rule.law).round(4)
    array([0.9689, 0.031 , 0.    ])
    >>> round(float(rule.expected_n), 4)
    3.1879

    Args:
        log_probs: ``[..., Y]``, nats.
        threshold: ``μ_stop > 0``, see `stopping_threshold`.
        log_likelihood: ``[..., Y]``, where an entry stands for a whole level set: the log-probability of each of its
            responses, `log_probs` being that of the set. So a policy over 10^12 responses is a row of its level sets.
            At least -1e9 where there is mass. It need not sum to 1: it is no law.
        tolerance: of ties, nats.

    Raises:
        UserError: a row of `log_probs` is no law, `log_likelihood` is positive, NaN or of another shape, or the
            threshold is not positive.

    Source: (10), Appendix D (arXiv 2412.01951); [S1], proved in docs/theory.md.
    """
    expect_numbers("(0, inf)", threshold=threshold)
    expect_numbers("[0, inf)", tolerance=tolerance)
    log_probs = as_log_probs(log_probs)
    table = log_probs.reshape(-1, log_probs.shape[-1])
    likelihood = table if log_likelihood is None else _of_level_sets(log_likelihood, log_probs).reshape(table.shape)
    # A level set without mass is as good as one without likelihood.
    likelihood = np.where(table == -np.inf, -np.inf, likelihood)
    order, starts, log_cdf, log_ratio, log_share, log_hazard = ranked_rows(table, likelihood, tolerance)
    first, last = level_bounds(starts)
    log_p, log_value = (np.take_along_axis(values, order, axis=1) for values in (table, likelihood))
    leader = np.take_along_axis(log_value, last, axis=1)
    entry = entry_time(leader, threshold)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        log_entry = np.where(np.isfinite(entry), np.log(entry), _log_wait(leader, threshold))
        # F(v)^k - F(v⁻)^k at the entry k of the level, and the draws that arrive when it stops at once.
        log_miss = _log_miss(log_p, log_cdf, last)
        at_entry = -np.exp(log_entry + log_miss) + _log_hit(log_entry + log_hazard)
        bottom = (first == 0) | (log_cdf + log_ratio == -np.inf)
        log_tail = _log_tail(log_entry, np.logaddexp(log_miss, log_hazard), bottom, first, last)
        law = np.logaddexp(at_entry, log_p - log_share + log_tail) + log_share
        law[log_p == -np.inf] = -np.inf
        expected = entry[:, -1] + np.exp(log_tail[:, -1])
    result = np.empty_like(table)
    np.put_along_axis(result, order, law, axis=1)
    return Stopping(result.reshape(log_probs.shape), expected.reshape(log_probs.shape[:-1]))


def _of_level_sets(log_likelihood: np.ndarray, log_probs: np.ndarray) -> np.ndarray:
    values = as_floats(log_likelihood, "log_likelihood")
    if values.shape != log_probs.shape:
        raise UserError(f"log_likelihood has shape {values.shape}; expected {log_probs.shape}, as log_probs")
    # What has mass and no likelihood would never stop the rule.
    wrong = ~(values <= SUM_TOLERANCE) | ((values < LEAST_LIKELY) & (log_probs > -np.inf))
    if wrong.any():
        index = np.argwhere(wrong)[0].tolist()
        raise UserError(
            f"log_likelihood{index} is {values[tuple(index)]:g}; expected a log-probability ≤ 0, in nats, and ≥ "
            f"{LEAST_LIKELY:g} where there is mass"
        )
    return values


def _log_miss(log_p: np.ndarray, log_cdf: np.ndarray, last: np.ndarray) -> np.ndarray:
    """``log(-log F)`` of the mass F up to each entry's level, ``[X, Y]``, also where a float cannot tell F from 1."""
    log_miss = np.log(-log_cdf)
    if not np.any((log_p < -690) & (log_p > -np.inf)):
        return log_miss
    log_above = np.full(log_p.shape, -np.inf)
    log_above[:, :-1] = np.logaddexp.accumulate(log_p[:, :0:-1], axis=1)[:, ::-1]
    log_above = np.take_along_axis(log_above, last, axis=1)
    return np.where(log_above < -600, log_above, log_miss)


def _log_tail(
    log_entry: np.ndarray,
    log_rate: np.ndarray,
    bottom: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
) -> np.ndarray:
    """``log Σ_{k ≥ entry} P[N_μ > k]`` of each entry's level, ``[X, Y]``: geometric pieces, added from below.

    Between a level's entry and that of the level below, the rule goes on with the mass G below the level:
    ``Σ_{k=a}^{b-1} G^k = G^a (1 - G^{b-a})/(1 - G)``, in terms of ``log(-log G)``, the rate, which never underflows. At
    the bottom G is 0.
    """
    below = np.take_along_axis(log_entry, np.maximum(first - 1, 0), axis=1)
    log_span = below + np.log(-np.expm1(np.minimum(log_entry - below, 0.0)))
    log_geometric = -np.exp(log_entry + log_rate) + _log_hit(log_span + log_rate) - _log_hit(log_rate)
    is_first = first == np.arange(first.shape[1])
    log_piece = np.where(~bottom & is_first & (log_span > -np.inf), log_geometric, -np.inf)
    return np.take_along_axis(np.logaddexp.accumulate(log_piece, axis=1), last, axis=1)


def _log_hit(log_x: np.ndarray) -> np.ndarray:
    """``log(1 - e^{-x})`` for ``x ≥ 0`` given by its logarithm."""
    return np.where(log_x < -30, log_x, np.log(-np.expm1(-np.exp(log_x))))


def stopping_tail(log_probs: np.ndarray, threshold: float, k: np.ndarray) -> np.ndarray:
    """``P[N_μ > k] = G(μ_stop/k)^k``, the chance that the adaptive rule needs more than k draws.

    Args:
        log_probs: ``[..., Y]``, nats. threshold: ``μ_stop > 0``. k: whole numbers ≥ 0, ``[K]``.

    Returns:
        Probabilities ``[..., K]``; 1 at ``k = 0``.

    Raises:
        UserError: a row is no law, the threshold is not positive, or a k is no whole number.

    Source: [S1], proved in docs/theory.md.
    """
    expect_numbers("(0, inf)", threshold=threshold)
    log_probs, k = as_log_probs(log_probs), np.atleast_1d(as_floats(k, "k"))
    if not np.all((k >= 0) & (k == np.floor(k))):
        raise UserError(f"k={k}; expected whole numbers ≥ 0")
    with np.errstate(divide="ignore", invalid="ignore"):
        low = entry_time(log_probs, threshold)[..., None, :] > k[:, None]
        probs = np.exp(log_probs)[..., None, :]
        inside, outside = np.where(low, probs, 0.0).sum(axis=-1), np.where(low, 0.0, probs).sum(axis=-1)
        log_mass = np.where(outside < 0.5, np.log1p(-outside), np.log(inside))
        return np.where(k == 0, 1.0, np.exp(np.where(k == 0, 0.0, k * log_mass)))
