"""What a little selection by a reward gains: the slope of the tilted law, and best-of-2, exactly.

All take log-probabilities of the base policy in nats, ``[..., Y]``, with a reward and a value (correctness, say) for each
response, broadcast to them. What has no mass counts nothing.

Source: [S10] and [S11], proved in docs/theory.md.
"""

from __future__ import annotations

import numpy as np

from sharptheory.errors import UserError
from sharptheory.theory.levels import TOLERANCE, levels
from sharptheory.theory.rows import as_log_probs, as_rewards
from sharptheory.theory.tilts import finite_rewards


def slope(log_probs: np.ndarray, rewards: np.ndarray | None, values: np.ndarray) -> np.ndarray:
    """Gain in ``E[value]`` per √(2 nat) of KL, at the first step of the tilt ``π e^{tr}/Z`` of each prompt: ``ρ σ_v``.

    ``d E_t[v] = Cov(v, r) dt`` and ``KL = ½ t² Var r``, so the slope is ``Cov(v, r)/√Var r``; 0 where the reward is constant.

    Args:
        log_probs: ``[..., Y]``. rewards: finite where there is mass; None for the log-likelihood. values: finite.

    Returns:
        ``[...]``, in the unit of the values.

    Raises:
        UserError: a row is no law, or a reward or value is not finite where there is mass.

    ```python
    >>> round(float(slope(np.log([0.5, 0.3, 0.2]), None, [1, 0, 0])), 3)  # of at most σ_v = 1/2
    0.461

    ```
    """
    covariance, reward_variance, _ = moments(log_probs, rewards, values)
    return _ratio(covariance, np.sqrt(reward_variance), where_none=0.0)


def correlation(log_probs: np.ndarray, rewards: np.ndarray | None, values: np.ndarray) -> np.ndarray:
    """``ρ(r, v)`` within each prompt: a reward's efficiency, the share of the steepest possible slope σ_v that its tilt has.

    1 for the value itself, 0 for a reward that is constant where the value is not.

    Args:
        log_probs: ``[..., Y]``. rewards: finite where there is mass; None for the log-likelihood. values: finite.

    Returns:
        ``[...]`` in [-1, 1]; NaN where the value is constant.

    Raises:
        UserError: as `slope`.
    """
    covariance, reward_variance, value_variance = moments(log_probs, rewards, values)
    rho = _ratio(covariance, np.sqrt(reward_variance * value_variance), where_none=0.0)
    return np.where(value_variance > 0, np.clip(rho, -1.0, 1.0), np.nan)


def shared_slope(
    log_probs: np.ndarray, rewards: np.ndarray | None, values: np.ndarray, *, mu: np.ndarray | None = None
) -> float:
    """Gain in ``E_x E[value]`` per √(2 nat) of mean KL where one tilt serves all prompts: ``E_x[Cov_x]/√(E_x[Var_x r])``.

    Not the mean of the prompts' slopes: a shared tilt spends more KL where the reward varies more.

    Args:
        log_probs: ``[X, Y]``. rewards, values: broadcast to it, as in `slope`. mu: weights of the prompts ``[X]``, summing
            to 1; default uniform.

    Returns:
        One number; 0 if the reward is constant within every prompt.

    Raises:
        UserError: as `slope`, or weights of another shape.
    """
    covariance, reward_variance, _ = moments(log_probs, rewards, values)
    covariance, reward_variance = np.atleast_1d(covariance), np.atleast_1d(reward_variance)
    weights = np.full(covariance.shape, 1 / covariance.size) if mu is None else np.asarray(mu, dtype=float)
    if weights.shape != covariance.shape:
        raise UserError(f"mu has shape {weights.shape}; expected {covariance.shape}, a weight per prompt")
    return float(_ratio((weights * covariance).sum(), np.sqrt((weights * reward_variance).sum()), where_none=0.0))


def best_of_two_gain(
    log_probs: np.ndarray, rewards: np.ndarray | None, values: np.ndarray, *, tolerance: float = TOLERANCE
) -> np.ndarray:
    """What best-of-2 by the reward adds to the mean value, exactly: ``E[v (F(r) + F(r⁻) - 1)]``.

    For correctness, with pass rate p, it is ``p (1-p) (2 AUC - 1)``: this is what an AUC within a prompt means. Tied
    responses share, as they do in the AUC.

    Args:
        log_probs: ``[..., Y]``. rewards: no NaN; None for the log-likelihood. values: finite. tolerance: of ties, see `levels`.

    Returns:
        ``[...]``, in the unit of the values.

    Raises:
        UserError: a row is no law, a reward is NaN, or a value is not finite where there is mass.

    ```python
    >>> round(float(best_of_two_gain(np.log([0.5, 0.3, 0.2]), None, [1, 0, 0])), 3)  # 1 - 0.5² instead of 0.5
    0.25

    ```
    """
    ranking = levels(log_probs, rewards, tolerance=tolerance)
    log_probs = as_log_probs(log_probs)
    cdf = np.exp(ranking.log_cdf).reshape(log_probs.shape)
    below = np.exp(ranking.log_cdf + ranking.log_ratio).reshape(log_probs.shape)
    return (np.exp(log_probs) * _values(log_probs, values) * (cdf + below - 1)).sum(axis=-1)


def moments(
    log_probs: np.ndarray, rewards: np.ndarray | None, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``Cov(r, v)``, ``Var r`` and ``Var v`` within each prompt, ``[...]`` each.

    Args, Raises: as `slope`.
    """
    log_probs = as_log_probs(log_probs)
    mass = np.exp(log_probs)
    r = _centred(mass, np.where(mass > 0, finite_rewards(log_probs, rewards), 0.0))
    v = _centred(mass, _values(log_probs, values))
    return tuple((mass * a * b).sum(axis=-1) for a, b in ((r, v), (r, r), (v, v)))


def _values(log_probs: np.ndarray, values: np.ndarray) -> np.ndarray:
    values = np.where(log_probs > -np.inf, as_rewards(values, log_probs.shape, "values"), 0.0)
    if not np.isfinite(values).all():
        raise UserError(f"values{np.argwhere(~np.isfinite(values))[0].tolist()} is not finite; expected finite numbers")
    return values


def _centred(mass: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Deviations from the mean under the law, exactly 0 where all that has mass has one value."""
    some = mass > 0
    top = np.where(some, values, -np.inf).max(axis=-1, keepdims=True)
    relative = np.where(some, values - top, 0.0)
    return np.where(
        some, relative - (mass * relative).sum(axis=-1, keepdims=True) / mass.sum(axis=-1, keepdims=True), 0.0
    )


def _ratio(numerator: np.ndarray, denominator: np.ndarray, *, where_none: float) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1.0), where_none)
