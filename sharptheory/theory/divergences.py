"""How far apart two laws are.

All take log-probabilities in nats, ``[..., Y]``, of two laws over the same responses (broadcast against each other) and
return an array ``[...]``, divergences in nats. A row that is no law, or laws over different responses, raise a UserError.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from sharptheory.errors import UserError, expect_numbers
from sharptheory.theory.levels import TOLERANCE, levels
from sharptheory.theory.rows import as_floats, as_log_probs, as_rewards


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """``KL(p‖q) = Σ p log(p/q)``; ``inf`` if p has mass (above 1e-308) where q has none. Never negative.

    Summed as ``Σ p (log(p/q) - 1) + q``, whose terms are non-negative: no cancellation for close laws.

    Args:
        p, q: log-probabilities of the two laws in nats, ``[..., Y]``.
    """
    p, q = _pair(p, q)
    support = np.exp(p) > 0
    ratio = np.where(support, q, 0.0) - np.where(support, p, 0.0)
    # p (e^x - 1 - x) with x = log q/p; where q has mass and p none, the term is q itself.
    with np.errstate(over="ignore", invalid="ignore"):
        inside = np.where(ratio < 30, np.exp(p) * (np.expm1(ratio) - ratio), np.exp(q) - np.exp(p) * (1 + ratio))
        terms = np.where(support, np.where(ratio == -np.inf, np.inf, inside), np.exp(q))
    return terms.sum(axis=-1)


def reverse_kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """``KL(q‖p)``.

    Args:
        p, q: log-probabilities of the two laws in nats, ``[..., Y]``.
    """
    return kl(q, p)


def hellinger_squared(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """``D_H²(p, q) = Σ (√p - √q)²``, in [0, 2].

    Args:
        p, q: log-probabilities of the two laws in nats, ``[..., Y]``.
    """
    p, q = _pair(p, q)
    return ((np.exp(p / 2) - np.exp(q / 2)) ** 2).sum(axis=-1)


def total_variation(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """``TV(p, q) = ½ Σ |p - q|``, in [0, 1].

    Args:
        p, q: log-probabilities of the two laws in nats, ``[..., Y]``.
    """
    p, q = _pair(p, q)
    return np.abs(np.exp(p) - np.exp(q)).sum(axis=-1) / 2


def renyi_2(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Order-2 Rényi divergence ``log Σ p²/q``, the logarithm of the concentrability ``E_p[p/q]``.

    Args:
        p, q: log-probabilities of the two laws in nats, ``[..., Y]``.
    """
    p, q = _pair(p, q)
    support = p > -np.inf
    with np.errstate(over="ignore"):  # in this order, to -inf at worst
        terms = np.where(support, p + (np.where(support, p, 0.0) - np.where(support, q, 0.0)), -np.inf)
    return np.maximum(logsumexp(terms, axis=-1), 0.0)


def renyi_entropy(p: np.ndarray, alpha: float) -> np.ndarray:
    """Rényi entropy ``H_α(p) = log(Σ p^α)/(1-α)``: the sum is the normaliser Z_α of the power law ``p^α/Z_α``.

    It falls in α, from the logarithm of the support's size at 0 over the Shannon entropy at 1 to ``-log max p`` at ∞.

    Args:
        p: log-probabilities in nats, ``[..., Y]``. alpha: its order, ``α ≥ 0``, infinity included.

    Raises:
        UserError: a row is no law, or α is negative.

    ```python
    >>> round(float(renyi_entropy(np.log([0.5, 0.25, 0.25]), 2.0)), 3)  # -log Σ p²
    0.981

    ```
    """
    expect_numbers("[0, inf]", alpha=alpha)
    p = as_log_probs(p, "p")
    if alpha == np.inf:
        return -p.max(axis=-1) + 0.0
    support = p > -np.inf
    finite = np.where(support, p, 0.0)
    shannon = -(np.where(support, np.exp(p), 0.0) * finite).sum(axis=-1) + 0.0
    # Near 1 the quotient cancels, and the entropy differs from Shannon's by less than what is lost.
    if abs(alpha - 1) < 1e-8:
        return shannon
    return logsumexp(np.where(support, alpha * finite, -np.inf), axis=-1) / (1 - alpha) + 0.0


def win_rate(p: np.ndarray, q: np.ndarray, rewards: np.ndarray, *, tolerance: float = TOLERANCE) -> np.ndarray:
    """``P[r(y) > r(y')] + ½ P[r(y) = r(y')]`` for independent ``y ~ p, y' ~ q``; one level is tied.

    Args:
        p, q: ``[..., Y]``, nats. rewards: ``[..., Y]``. tolerance: of ties, see `sharptheory.theory.levels`.

    Returns:
        Probabilities ``[...]``.

    Raises:
        UserError: a row is no law, or a reward is NaN.
    """
    p, q = _pair(p, q)
    ranking = levels(q, rewards, tolerance=tolerance)
    cdf = np.exp(ranking.log_cdf).reshape(q.shape)
    below = np.exp(ranking.log_cdf + ranking.log_ratio).reshape(q.shape)
    return (np.exp(p) * (cdf + below) / 2).sum(axis=-1)


def expected_reward(p: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """``E_p[r]``; a response of no mass counts nothing, whatever its reward.

    Args:
        p: ``[..., Y]``, nats. rewards: broadcast to it.

    Raises:
        UserError: a row is no law, or the rewards have no mean.
    """
    p = as_log_probs(p, "p")
    weights = np.exp(p)
    rewards = np.where(weights > 0, as_rewards(rewards, p.shape), 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = (weights * rewards).sum(axis=-1)
    if np.isnan(expected).any():
        raise UserError("rewards hold NaN, or inf and -inf beside each other; expected numbers that have a mean")
    return expected


def _pair(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, q = as_floats(p, "p"), as_floats(q, "q")
    try:
        shape = np.broadcast_shapes(p.shape, q.shape)
    except ValueError:
        shape = ()
    if not shape or p.shape[-1:] != q.shape[-1:]:
        raise UserError(f"q has shape {q.shape}, p {p.shape}; expected the same responses, and prompts that broadcast")
    return np.broadcast_arrays(as_log_probs(p, "p"), as_log_probs(q, "q"))
