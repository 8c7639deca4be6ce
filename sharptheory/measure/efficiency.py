"""What each reward is worth in accuracy: its correlation with correctness within prompts, and the gain of best-of-2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sharptheory.measure.best_of_n import best_of_n_curve
from sharptheory.measure.bootstrap import DIFFERENCE, Estimate, from_replicates, mean_over_prompts, resampled_batches
from sharptheory.measure.pool import Pool, as_pool, rectangles
from sharptheory.measure.rewards import Reward, reward_values

RESAMPLES = 1_000


@dataclass(frozen=True)
class Efficiency:
    """What selecting by a reward gains, to first order and by best-of-2; each with its interval over prompts.

    Attributes:
        correlation: of reward and correctness within a prompt, averaged over the prompts with right and wrong responses; 1
            for correctness itself. That of M samples is nearer to 0 or to ±1 than the model's by terms of order 1/M, and for
            two samples it is -1, 0 or 1.
        slope: gain in accuracy per √(2 nat) of KL at the first step of a tilt by the reward, ``ρ σ_c`` averaged over all
            prompts, each with a tilt of its own.
        shared_slope: the same where one tilt serves all prompts, ``E_x[Cov_x]/√(E_x[Var_x r])``.
        best_of_two: gain in accuracy of best-of-2 over one sample, ``E_x[p(1-p)(2 AUC - 1)]``; unbiased.
    """

    correlation: Estimate
    slope: Estimate
    shared_slope: Estimate
    best_of_two: Estimate


def reward_efficiency(
    pool: Pool | pd.DataFrame, reward: str | Reward = "log_likelihood", *, resamples: int = RESAMPLES, seed: int = 0
) -> Efficiency:
    """How much accuracy a reward buys, whatever its scale: the theory's `first_order`, estimated from a graded pool.

    With c of M samples right and the AUC of the pool, ``c(M-c)/(M(M-1)) (2 AUC - 1)`` estimates ``p(1-p)(2 AUC - 1)`` without
    bias; it is the pool's best-of-2 curve minus its mean, exactly.

    Args:
        pool: prompts that are not graded throughout, or have a single sample, are left out.
        reward: a self-reward or a numeric column. resamples: of the prompts. seed: of the resamples.

    Returns:
        Estimates; those that need a variance of the reward are unknown where one is infinite, and all are if no prompt
        counts.

    Raises:
        UserError: an unknown column, one that is not numeric or has gaps, or nothing is graded.

    Source: [S10] and [S11], proved in docs/theory.md.

    ```python
    >>> pool = pd.DataFrame({"prompt_id": 4 * [0] + 4 * [1], "log_likelihood": [-1.0, -2.0, -3.0, -4.0] * 2,
    ...                      "correct": [1, 1, 0, 0, 1, 0, 0, 0]})
    >>> found = reward_efficiency(pool)
    >>> round(float(found.correlation.value), 3), round(float(found.best_of_two.value), 3)
    (0.835, 0.292)

    ```
    """
    known = as_pool(pool).graded()
    table = known.assign(_reward=reward_values(known, reward))
    parts = [_of_prompts(r, c) for _, r, c in rectangles(table, "_reward", "correct") if r.shape[1] > 1]
    if not parts:
        return Efficiency(*[Estimate.unknown()] * 4)
    covariance, reward_variance, value_variance, gain, power = (np.concatenate(part) for part in zip(*parts))
    mean = lambda values: mean_over_prompts(values, ends=DIFFERENCE)  # noqa: E731
    best_of_two = mean(gain)
    if not np.isfinite(reward_variance).all():
        return Efficiency(*[Estimate.unknown()] * 3, best_of_two)
    slopes = covariance / np.sqrt(np.where(reward_variance > 0, reward_variance, 1.0))
    mixed = value_variance > 0
    rho = np.clip(slopes[mixed] / np.sqrt(value_variance[mixed]), -1.0, 1.0)
    power = power - power[reward_variance > 0].max(initial=-2000)  # in one unit for all prompts
    shared = _shared(np.ldexp(covariance, power), np.ldexp(reward_variance, 2 * power), resamples, seed)
    return Efficiency(mean(rho), mean(slopes), shared, best_of_two)


def _of_prompts(rewards: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, ...]:
    """Covariance and variances within each prompt, unbiased, and its gain of best-of-2; of ``[x, m]``, ``[x]`` each.

    Rewards are taken in units of a power of 2 of each prompt, the last of the results, lest their squares underflow.
    """
    one, two = best_of_n_curve(rewards, correct, [1, 2]).T
    free = rewards.shape[1] - 1
    with np.errstate(invalid="ignore"):
        # Relative to the first, so that equal rewards deviate by exactly 0.
        r = rewards - rewards[:, :1]
        r = r - r.mean(axis=1, keepdims=True)
    power = np.frexp(np.abs(r).max(axis=1))[1]
    r = np.ldexp(r, -power[:, None])
    c = correct - correct.mean(axis=1, keepdims=True)
    return (r * c).sum(axis=1) / free, (r**2).sum(axis=1) / free, (c**2).sum(axis=1) / free, two - one, power


def _shared(covariance: np.ndarray, reward_variance: np.ndarray, resamples: int, seed: int) -> Estimate:
    """``mean Cov/√(mean Var)``, numerator and denominator resampled together."""
    if not reward_variance.any():
        return mean_over_prompts(np.zeros(len(covariance)), ends=DIFFERENCE)
    both = np.stack([covariance, reward_variance], axis=1)
    batches = resampled_batches(len(covariance), resamples=resamples, seed=seed)
    means = np.concatenate([weights @ both for weights in batches]) / len(covariance)
    with np.errstate(invalid="ignore"):
        replicates = means[:, 0] / np.sqrt(means[:, 1])
    value = covariance.mean() / np.sqrt(reward_variance.mean())
    return from_replicates(value, replicates, len(covariance), ends=DIFFERENCE)
