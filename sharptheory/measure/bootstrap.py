"""Intervals over prompts: prompts are the independent unit, samples of one prompt are not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
RESAMPLES = 2_000


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval; scalars or arrays of one shape. NaN limits: too few prompts for any."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def columns(self, name: str) -> dict[str, float]:
        """A scalar's fields of a row: ``name``, ``name_low``, ``name_high``."""
        return {name: float(self.value), f"{name}_low": float(self.low), f"{name}_high": float(self.high)}


def bootstrap(
    data: tuple[np.ndarray, ...],
    statistic: Callable,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Percentile bootstrap over prompts.

    Args:
        data: arrays whose first axis is the prompt, resampled together.
        statistic: ``statistic(*data, axis=0)``, vectorised over further axes.

    Returns:
        The statistic on `data` with its interval; limits are NaN when there is a single prompt.
    """
    value = np.asarray(statistic(*data, axis=0), dtype=float)
    n_prompts = len(data[0])
    if n_prompts < 2:
        return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    batch = max(1, 4_000_000 // max(1, data[0].size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant data: the interval is a point, which is what it returns
        interval = stats.bootstrap(
            data,
            statistic,
            paired=True,
            axis=0,
            confidence_level=level,
            n_resamples=resamples,
            batch=batch,
            method="percentile",
            vectorized=True,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return Estimate(value, np.asarray(interval.low), np.asarray(interval.high))


def bootstrap_mean(per_prompt: np.ndarray, *, proportion: bool = False, level: float = LEVEL, **options) -> Estimate:
    """Mean over prompts ``[X, …]`` with its bootstrap interval.

    Args:
        proportion: the values lie in [0, 1]. Where all prompts have 0 (or all 1) the bootstrap returns a point; the
            exact limit ``1 - (α/2)^{1/X}`` (or its mirror) is used instead.
    """
    per_prompt = np.asarray(per_prompt, dtype=float)
    estimate = bootstrap((per_prompt,), np.mean, level=level, **options)
    if not proportion:
        return estimate
    slack = 1 - ((1 - level) / 2) ** (1 / len(per_prompt))
    high = np.where(np.all(per_prompt == 0, axis=0), slack, estimate.high)
    low = np.where(np.all(per_prompt == 1, axis=0), 1 - slack, estimate.low)
    return Estimate(estimate.value, low, high)
