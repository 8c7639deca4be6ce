"""Intervals over prompts: prompts are the independent unit, samples of one prompt are not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sharptheory.errors import UserError, expect_integers

CONFIDENCE = 0.95
RESAMPLES = 2_000
#: With fewer prompts the interval is no shorter than Student's: resamples cannot look beyond the few values there are.
FEW = 10
#: Ends between which a quantity lies by its nature, whatever the data: no limit of an interval lies beyond.
ANY, POSITIVE, NEGATIVE = (-np.inf, np.inf), (0.0, np.inf), (-np.inf, 0.0)
PROPORTION, DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)
#: Those of what a pool or an evaluation has under this name.
ENDS = {"correct": PROPORTION, "accuracy": PROPORTION, "log_likelihood": NEGATIVE, "length": POSITIVE,
        "entropy": POSITIVE}  # fmt: skip
#: A value this far beyond an end of its range is rounding (float32 sums over tokens), and counts as the end.
ROUNDING = 1e-3


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval; scalars or arrays of one shape.

    Attributes:
        value, low, high: NaN limits mean too few prompts for any interval; a NaN value, nothing to estimate from.
        n_prompts: prompts behind it.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n_prompts: int | None = None

    @classmethod
    def unknown(cls) -> Estimate:
        """No prompt says anything."""
        return cls(*np.full(3, np.nan), 0)

    def columns(self, name: str) -> dict[str, float]:
        """A scalar's fields of a row: ``name``, ``name_low``, ``name_high``."""
        return {name: float(self.value), f"{name}_low": float(self.low), f"{name}_high": float(self.high)}


def tail(n_prompts: int, confidence: float = CONFIDENCE) -> float:
    """Mass to cut off at each end of a bootstrap distribution over `n_prompts` prompts.

    The bootstrap's spread misses a factor ``√(n/(n-1))`` and uses the normal where the t law is due: cutting at
    ``Φ(-√(n/(n-1)) t_{n-1})`` makes up for both, and tends to ``(1 - confidence)/2``.

    Source: the expanded percentile interval, Hesterberg, *What Teachers Should Know About the Bootstrap* (2015).
    """
    quantile = stats.t.ppf((1 + confidence) / 2, n_prompts - 1)
    return float(stats.norm.cdf(-np.sqrt(n_prompts / (n_prompts - 1)) * quantile))


def bootstrap(
    data: tuple[np.ndarray, ...],
    statistic: Callable,
    *,
    ends: tuple[float, float] = ANY,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Percentile bootstrap over prompts, its ends moved outwards for few prompts (`tail`, `FEW`).

    Args:
        data: arrays whose first axis is the prompt, resampled together.
        statistic: ``statistic(*data, axis=0)``, vectorised over further axes.
        ends: between which it lies by its nature; limits are cut to them.

    Returns:
        The statistic on `data` with its interval; limits are NaN when there is a single prompt.

    Raises:
        UserError: no such confidence, number of resamples or seed.
    """
    _check(confidence, resamples, seed)
    value = np.asarray(statistic(*data, axis=0), dtype=float)
    n_prompts = len(data[0])
    if n_prompts < 2:
        return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan), n_prompts)
    batch = max(1, 4_000_000 // max(1, data[0].size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant data: the interval is a point, which is what it returns
        result = stats.bootstrap(
            data,
            statistic,
            paired=True,
            axis=0,
            confidence_level=1 - 2 * tail(n_prompts, confidence),
            n_resamples=resamples,
            batch=batch,
            method="percentile",
            vectorized=True,
            rng=np.random.default_rng(seed),
        )
    low, high = map(np.asarray, result.confidence_interval)
    return Estimate(value, *_widened(value, low, high, result.standard_error, n_prompts, ends, confidence), n_prompts)


def _check(confidence: float, resamples: int, seed: int) -> None:
    if not 0 < confidence < 1:
        raise UserError(f"confidence={confidence}; expected a number between 0 and 1")
    expect_integers(1, resamples=resamples)
    expect_integers(0, seed=seed)


def _widened(
    value, low, high, spread, n_prompts: int, ends: tuple[float, float], confidence: float = CONFIDENCE
) -> np.ndarray:
    """Below `FEW` prompts, limits no nearer than Student's; `spread` is the standard deviation of the resamples.

    Limits ``[2, …]`` are cut to the `ends`: Student's know nothing of the range of a quantity.
    """
    if n_prompts < FEW:
        margin = stats.t.ppf((1 + confidence) / 2, n_prompts - 1) * np.sqrt(n_prompts / (n_prompts - 1)) * spread
        low, high = np.minimum(low, value - margin), np.maximum(high, value + margin)
    return np.clip(np.stack([low, high]), *ends)


def bootstrap_mean(
    per_prompt: np.ndarray,
    *,
    ends: tuple[float, float] = ANY,
    confidence: float = CONFIDENCE,
    **options,
) -> Estimate:
    """Mean over prompts ``[X, …]`` with its bootstrap interval.

    Args:
        ends: between which the values lie by their nature, and so do the limits. Where all prompts have one of two finite
            ends, the bootstrap returns a point; the limit on its far side is then exact, ``1 - (α/2)^{1/X}`` of their
            distance away.
        options: `resamples` and `seed` of `bootstrap`.

    Raises:
        UserError: a value beyond the ends.

    ```python
    >>> estimate = bootstrap_mean([0.2, 0.4, 0.9, 0.5], seed=0)
    >>> round(float(estimate.value), 3), bool(estimate.low < 0.5 < estimate.high), estimate.n_prompts
    (0.5, True, 4)

    ```
    """
    bottom, top = ends
    per_prompt = _within(np.asarray(per_prompt, dtype=float), ends)
    if len(per_prompt) == 0:
        return Estimate.unknown()
    estimate = bootstrap((per_prompt,), np.mean, ends=ends, confidence=confidence, **options)
    if not np.isfinite(ends).all() or len(per_prompt) < 2:
        return estimate
    slack = (top - bottom) * (1 - ((1 - confidence) / 2) ** (1 / len(per_prompt)))
    high = np.where(np.all(per_prompt == bottom, axis=0), bottom + slack, estimate.high)
    low = np.where(np.all(per_prompt == top, axis=0), top - slack, estimate.low)
    return Estimate(estimate.value, low, high, estimate.n_prompts)


def _within(values: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """Values with what rounding did at the ends of their range undone: weights that add up to 1 do so up to rounding."""
    bottom, top = ends
    if np.any((values < bottom - ROUNDING) | (values > top + ROUNDING)):
        found = values[(values < bottom - ROUNDING) | (values > top + ROUNDING)][0]
        raise UserError(f"per_prompt: found {found:g}; expected values from {bottom:g} to {top:g}")
    for end in ends:
        values = np.where(np.abs(values - end) < 1e-9, end, values)
    return np.clip(values, bottom, top)


def resampled(n_prompts: int, *, resamples: int, seed: int) -> np.ndarray:
    """Bootstrap multiplicities of prompts, ``[resamples, n_prompts]``."""
    _check(CONFIDENCE, resamples, seed)
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_prompts, np.full(n_prompts, 1 / n_prompts), size=resamples).astype(float)


def from_replicates(
    value: float, replicates: np.ndarray, n_prompts: int, *, ends: tuple[float, float] = ANY
) -> Estimate:
    """An estimate with the interval of its bootstrap replicates, cut to the `ends` it can have; NaN ones are left out."""
    if n_prompts < 2 or np.isnan(replicates).all():
        return Estimate(np.asarray(value), np.asarray(np.nan), np.asarray(np.nan), n_prompts)
    low, high = np.nanquantile(replicates, [tail(n_prompts), 1 - tail(n_prompts)])
    limits = _widened(value, low, high, np.nanstd(replicates, ddof=1), n_prompts, ends)
    return Estimate(np.asarray(value), *limits, n_prompts)
