"""Tilted laws: the base policy reweighted by a function of the reward."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_softmax

from sharptheory.errors import UserError, expect_numbers
from sharptheory.theory.levels import TOLERANCE, levels, maximizers
from sharptheory.theory.rows import as_log_probs, as_rewards


def argmax_law(log_probs: np.ndarray, gamma: float = 0.0, *, tolerance: float = TOLERANCE) -> np.ndarray:
    """The base policy conditioned on ``y*_γ(x)``; ``C_π = 1/q_γ`` per prompt.

    Args:
        log_probs: ``[..., Y]``, nats. gamma: ``γ ∈ [0, 1)``. tolerance: of ties, see `levels`.

    Returns:
        Log-probabilities, same shape.

    Raises:
        UserError: γ is outside [0, 1), or a row is no law.

    Source: Definition F.1 (arXiv 2412.01951).
    """
    inside = maximizers(log_probs, gamma, tolerance=tolerance)
    return log_softmax(np.where(inside, log_probs, -np.inf), axis=-1)


def tilted(log_probs: np.ndarray, beta: float, *, rewards: np.ndarray | None = None) -> np.ndarray:
    """``π_β ∝ π · exp(r/β)``, the optimum of ``E_π'[r] - β KL(π'‖π)``; for the log-likelihood it is ``π^{1+1/β}``.

    >>> np.exp(tilted(np.log([0.5, 0.3, 0.2]), 1.0)).round(4)  # squared and normalised
    array([0.6579, 0.2368, 0.1053])

    Args:
        log_probs: ``[..., Y]``, nats.
        beta: ``β ≥ 0``; 0 gives the law of the best responses (the argmax law), ``inf`` the base.
        rewards: ``[..., Y]``; default the log-likelihood. Where one is ``+inf``, such responses get all the mass; a
            ``-inf`` gets none unless all have it. β = inf comes first: it is the base whatever the rewards.

    Returns:
        Log-probabilities, same shape.

    Raises:
        UserError: β is negative, a row is no law, or a reward is NaN.

    Source: (3) (arXiv 2412.01951).
    """
    expect_numbers("[0, inf]", beta=beta)
    log_probs = as_log_probs(log_probs)
    if beta == np.inf:
        return log_probs.copy()
    values = _rewards(log_probs, rewards)
    best = values.max(axis=-1, keepdims=True)
    if beta == 0:
        return log_softmax(np.where(values >= best - TOLERANCE, log_probs, -np.inf), axis=-1)
    with np.errstate(over="ignore", invalid="ignore"):
        gap = np.where(values == best, 0.0, values - best)
        return log_softmax(log_probs + gap / beta, axis=-1)


def _rewards(log_probs: np.ndarray, rewards: np.ndarray | None) -> np.ndarray:
    """The rewards of a table, by default the log-likelihood; ``-inf`` where a response has no mass."""
    if rewards is None:
        return log_probs
    rewards = as_rewards(rewards, log_probs.shape)
    support = log_probs > -np.inf
    if np.isnan(rewards[support]).any():
        raise UserError(f"rewards{np.argwhere(np.isnan(rewards) & support)[0].tolist()} is NaN; expected numbers")
    return np.where(support, rewards, -np.inf)


def finite_rewards(log_probs: np.ndarray, rewards: np.ndarray | None) -> np.ndarray:
    """The same, refused where a response with mass has an infinite one.

    Args:
        log_probs: ``[..., Y]``, nats. rewards: broadcast to it; default the log-likelihood.

    Raises:
        UserError: a reward is NaN or infinite where there is mass.
    """
    values = _rewards(log_probs, rewards)
    wrong = (log_probs > -np.inf) & np.isinf(values)
    if wrong.any():
        raise UserError(f"rewards{np.argwhere(wrong)[0].tolist()} is not finite; expected finite numbers")
    return values


def power(log_probs: np.ndarray, alpha: float) -> np.ndarray:
    """``π^α / Z_α``; ``α = 1 + 1/β`` is `tilted` by the log-likelihood, ``α = 1/T`` is sequence-level temperature.

    Args:
        log_probs: ``[..., Y]``, nats. alpha: ``α ≥ 0``; 0 is uniform on the support, ``inf`` the argmax law.

    Returns:
        Log-probabilities, same shape.

    Raises:
        UserError: α is negative, or a row is no law.

    Source: (3) (arXiv 2412.01951).
    """
    expect_numbers("[0, inf]", alpha=alpha)
    if alpha == np.inf:
        return argmax_law(log_probs)
    log_probs = as_log_probs(log_probs)
    gap = log_probs - log_probs.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):
        return log_softmax(np.where(gap == -np.inf, -np.inf, alpha * gap), axis=-1)


def chi_squared(log_probs: np.ndarray, beta: float, *, rewards: np.ndarray | None = None) -> np.ndarray:
    """χ²-pessimism: ``π(y) · relu((r(y) - λ)/β)`` with λ such that it sums to 1; λ is found exactly by sorting.

    Unlike best-of-N it does not degrade as its strength ``1/β`` grows when the reward is wrong on rare responses.

    Args:
        log_probs: ``[..., Y]``, nats. beta: ``0 < β < ∞``.
        rewards: ``[..., Y]``, finite where there is mass; default the log-likelihood.

    Returns:
        Log-probabilities, same shape.

    Raises:
        UserError: β is out of range, a row is no law, or a reward is not finite.

    Source: Huang et al., arXiv 2503.21878.
    """
    expect_numbers("(0, inf)", beta=beta)
    log_probs = as_log_probs(log_probs)
    rewards = finite_rewards(log_probs, rewards)
    # Relative to the best, so that a small β is not lost beside them; what has no mass comes last.
    with np.errstate(over="ignore"):
        rewards = np.maximum(rewards - rewards.max(axis=-1, keepdims=True), -np.finfo(float).max)
    order = np.argsort(-rewards, axis=-1)
    r = np.take_along_axis(rewards, order, axis=-1)
    p = np.take_along_axis(np.exp(log_probs), order, axis=-1)
    mass = np.cumsum(p, axis=-1)
    # Σ_{i ≤ k} p_i (r_i - r_k): what the best k responses sum to, times β, when λ is the k-th reward.
    with np.errstate(over="ignore"):
        at_reward = np.concatenate(
            [np.zeros_like(r[..., :1]), np.cumsum(mass[..., :-1] * (r[..., :-1] - r[..., 1:]), axis=-1)], axis=-1
        )
    k = np.maximum((at_reward < beta).sum(axis=-1, keepdims=True) - 1, 0)
    # Leading responses of no mass to speak of cannot carry the root.
    k = np.maximum(k, (mass < 1e-300).sum(axis=-1, keepdims=True))
    r_k, at_k, mass_k = (np.take_along_axis(a, k, axis=-1) for a in (r, at_reward, mass))
    scale = max(beta, 1.0)
    weights = (rewards - r_k) / scale + (beta - at_k) / scale / mass_k
    with np.errstate(divide="ignore"):
        return log_softmax(log_probs + np.log(np.maximum(weights, 0.0)), axis=-1)


def rank_tilt(n: float) -> float:
    """``λ_N``: the tilt of a uniform rank with the KL of best-of-N, the root of
    ``((λ-1)e^λ+1)/(e^λ-1) - log((e^λ-1)/λ) = log N - (N-1)/N``.

    Args:
        n: real number ``1 ≤ N < ∞``.

    Returns:
        λ_N ≥ 0; 2.2886, 4.9169, 9.0545, … for N = 2, 4, 8.

    Raises:
        UserError: N is out of range.

    Source: Chow et al., arXiv 2412.15287.
    """
    expect_numbers("[1, inf)", n=n)
    over = n - 1
    # Near 1 and near 0 by series, for both divergences are differences of nearly equal numbers there.
    target = np.log(n) - over / n if over > 1e-3 else over**2 * (1 / 2 - over * (2 / 3 - over * (3 / 4 - over * 4 / 5)))
    if target <= 0:
        return 0.0

    def excess(tilt: float) -> float:
        # Both terms divided by e^λ, so that nothing overflows.
        if tilt < 0.1:
            u = tilt**2 / 4
            return u * (1 / 6 - u * (3 / 180 - u * (5 / 2835 - u * 7 / 37_800))) - target
        rest = -np.expm1(-tilt)
        return (tilt - 1 + np.exp(-tilt)) / rest - tilt - np.log(rest) + np.log(tilt) - target

    return float(brentq(excess, 0.0, min(4 * n + 10, np.finfo(float).max), xtol=1e-300, rtol=1e-14))


def rank_tilted(log_probs: np.ndarray, n: float, *, rewards: np.ndarray | None = None) -> np.ndarray:
    """Variational surrogate of best-of-N: ``π exp(λ_N Q)/Z`` with ``Q(y) = P[r(y) ≥ r(y')]``; for atomless rewards only.

    Args:
        log_probs: ``[..., Y]``, nats. n: real number ``1 ≤ N < ∞``. rewards: ``[..., Y]``; default the log-likelihood.

    Returns:
        Log-probabilities, same shape.

    Raises:
        UserError: N is out of range, a row is no law, or a reward is NaN.

    Source: Chow et al., arXiv 2412.15287.
    """
    ranking = levels(log_probs, rewards)
    cdf = np.exp(ranking.log_cdf).reshape(ranking.shape)
    return log_softmax(np.asarray(log_probs, dtype=float) + rank_tilt(n) * cdf, axis=-1)
