"""Intervals over prompts: prompts are the independent unit, samples of one prompt are not.

Four rules, one per kind of quantity, whose coverage docs/statistics.md measures:

* A mean over prompts (`mean_over_prompts`): Student's interval, corrected for skewness; nothing is resampled.
* A mean of values between two ends, or of differences, of which only a few prompts are off an end, or off 0: the exact
  limits of a count.
* A ratio of two means (`ratio_of_means`): Fieller's interval.
* Any other statistic (`bootstrap`, `from_replicates`): the expanded percentile bootstrap.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special, stats

from sharptheory.errors import UserError, expect_integers

CONFIDENCE = 0.95
RESAMPLES = 2_000
#: Multiplicities that are held at a time.
BATCH = 1 << 22
#: Multiplicities, a byte each, that are kept for the next statistic of the same prompts.
KEPT = 1 << 27
#: With fewer prompts intervals are Student's, or a bootstrap's where that is longer: so few values have no shape to speak of.
FEW = 10
#: Fewer prompts than this, and fewer than half of them, are no sample of how far from an end a prompt can be: they are counted.
RARE = 10
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


def mean_over_prompts(
    per_prompt: np.ndarray, *, ends: tuple[float, float] = ANY, confidence: float = CONFIDENCE
) -> Estimate:
    """Mean over prompts ``[X, …]`` with its interval, in closed form.

    With ``g = γ/√X`` of the values' skewness γ, the interval is ``[m - s t(q), m - s t(-q)]``, where s is the standard
    error, q Student's quantile and ``t(z) = (3/g) (∛(1 + g (z - g/6)) - 1)``, which undoes what skewness does to Student's
    ratio and is z where there is none, or with fewer than `FEW` prompts.

    Values between two finite `ends` of which fewer than `RARE` prompts, and fewer than half, are off one end: the exact
    limits of ``S`` successes in ``X``, with S the sum of the values. All prompts at an end have them there and ``1 -
    (α/2)^{1/X}`` away from it. Differences, in [-1, 1], of which as few are not 0: gains and losses, in units of the largest
    of them, have such limits ``[l, u]`` around their means m, and the difference ``m₊ - m₋`` has them ``√((m₊-l₊)² + (u₋-m₋)²)``
    below and ``√((u₊-m₊)² + (m₋-l₋)²)`` above. Only prompts that all have the same difference have no width: of these
    prompts it is a fact. No limit of another mean is further away than these: of all laws of one mean, that of successes and
    failures varies most, and a correction for the skewness of a dozen values may overshoot.

    Args:
        per_prompt: values ``[X, …]``. ends: between which they lie by their nature, and so do the limits.
        confidence: of the interval.

    Returns:
        ``[…]``; limits are NaN when there is a single prompt.

    Raises:
        UserError: a value beyond the ends, or no such confidence.

    Source: Hall, *On the removal of skewness by transformation* (JRSS B 54, 1992); the limits of a count are those of
    Clopper and Pearson (Biometrika 26, 1934), of a difference Newcombe's (Statistics in Medicine 17, 1998).

    ```python
    >>> estimate = mean_over_prompts([0.2, 0.4, 0.9, 0.5])
    >>> round(float(estimate.value), 3), bool(estimate.low < 0.5 < estimate.high), estimate.n_prompts
    (0.5, True, 4)

    ```
    """
    _check(confidence, 1, 0)
    values = _within(per_prompt, ends)
    n_prompts = len(values)
    if n_prompts == 0:
        return Estimate.unknown()
    value = values.mean(axis=0)
    if n_prompts < 2:
        return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan), n_prompts)
    limits = _unskewed(values, confidence)
    if ends == DIFFERENCE:
        some = _rare(values != 0) & np.any(values != 0, axis=0)
        limits = np.where(some, _difference_of_counts(values, confidence), limits)
    if np.isfinite(ends).all():
        bottom, top = ends
        share = (values - bottom) / (top - bottom)
        counted = bottom + (top - bottom) * _count(share.sum(axis=0), n_prompts, confidence)
        limits = np.where(_rare(share > 0) | _rare(share < 1), counted, limits)
        if n_prompts >= FEW:
            limits = np.stack([np.maximum(limits[0], counted[0]), np.minimum(limits[1], counted[1])])
    # Between rounding of the mean and that of the limits, the mean is not to lie outside.
    low, high = np.clip(limits, *ends)
    return Estimate(value, np.minimum(low, value), np.maximum(high, value), n_prompts)


def ratio_of_means(numerators: np.ndarray, denominators: np.ndarray, *, confidence: float = CONFIDENCE) -> Estimate:
    """Ratio of two means over the same prompts ``[X, …]`` with its interval, which knows that they share prompts.

    The interval holds the ratios r at which the mean of ``numerator - r denominator`` has 0 in its Student interval: the
    roots of ``(a - r b)² = q² (s_aa - 2 r s_ab + r² s_bb) / X``. Where the interval of the denominators' mean includes
    0, no bounded interval has the `confidence`, and the limits are NaN.

    Args:
        numerators, denominators: of the same prompts, ``[X, …]``. confidence: of the interval.

    Returns:
        ``[…]``; a NaN value where the mean of the denominators is 0.

    Raises:
        UserError: shapes differ, or no such confidence.

    Source: Fieller, *Some problems in interval estimation* (JRSS B 16, 1954).

    ```python
    >>> estimate = ratio_of_means([1.0, 2.0, 3.0, 4.0], [2.1, 3.9, 6.1, 7.9])
    >>> [round(float(x), 3) for x in (estimate.value, estimate.low, estimate.high)]
    [0.5, 0.447, 0.518]

    ```
    """
    _check(confidence, 1, 0)
    above, below = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    if above.shape != below.shape or above.ndim == 0:
        raise UserError(f"numerators {above.shape}, denominators {below.shape}; expected both [X, …]")
    n_prompts = len(above)
    if n_prompts == 0:
        return Estimate.unknown()
    units = [
        np.where(np.any(x != 0, axis=0), np.abs(x).max(axis=0), 1.0) for x in (above, below)
    ]  # fourth powers follow
    above, below = above / units[0], below / units[1]
    a, b = above.mean(axis=0), below.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = units[0] / units[1]
        value = np.where(b != 0, a / b, np.nan) * unit
        if n_prompts < 2:
            return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan), n_prompts)
        wide = special.stdtrit(n_prompts - 1, (1 + confidence) / 2) ** 2 / (n_prompts * (n_prompts - 1))
        moment = lambda x, y: wide * ((x - x.mean(axis=0)) * (y - y.mean(axis=0))).sum(axis=0)  # noqa: E731
        # (b² - s_bb) r² - 2 (a b - s_ab) r + (a² - s_aa) ≤ 0
        square, half, rest = b**2 - moment(below, below), a * b - moment(above, below), a**2 - moment(above, above)
        root = np.sqrt(np.maximum(half**2 - square * rest, 0))
        low, high = (np.where(square > 0, (half + sign * root) / square, np.nan) for sign in (-1, 1))
    return Estimate(value, low * unit, high * unit, n_prompts)


def _unskewed(values: np.ndarray, confidence: float) -> np.ndarray:
    """Skewness-corrected limits ``[2, …]`` of a mean; a point where all values are the same."""
    n_prompts = len(values)
    scale = np.abs(values).max(axis=0)
    scale = np.where(scale > 0, scale, 1.0)  # so that cubes neither overflow nor vanish
    centred = values / scale
    mean = centred.mean(axis=0)
    centred -= mean
    square = centred * centred
    variance = square.mean(axis=0)
    third = np.multiply(square, centred, out=square).mean(axis=0)
    error = np.sqrt(variance / (n_prompts - 1))
    told = (variance > 1e-24) & (n_prompts >= FEW)
    skewness = np.divide(third, variance**1.5, out=np.zeros_like(third), where=told) / np.sqrt(n_prompts)
    g = np.where(np.abs(skewness) > 1e-5, skewness, 1.0)
    quantile = special.stdtrit(n_prompts - 1, (1 + confidence) / 2) * np.array([1.0, -1.0])
    quantile = quantile.reshape(2, *np.ones(values.ndim - 1, dtype=int))
    corrected = (3 / g) * (np.cbrt(1 + g * (quantile - g / 6)) - 1)
    symmetric = quantile - skewness / 6 - skewness * quantile**2 / 3
    return scale * (mean - error * np.where(np.abs(skewness) > 1e-5, corrected, symmetric))


def _rare(off: np.ndarray) -> np.ndarray:
    """Whether so few prompts are off an end that they have to be counted."""
    number = np.count_nonzero(off, axis=0)
    return (number < RARE) & (2 * number < len(off))


def _count(successes: np.ndarray, n: int, confidence: float) -> np.ndarray:
    """Exact limits ``[2, …]`` of the share of successes, also of a sum of shares."""
    successes, alpha = np.clip(successes, 0, n), 1 - confidence
    low = np.where(successes > 0, special.betaincinv(successes, n - successes + 1, alpha / 2), 0.0)
    high = np.where(successes < n, special.betaincinv(successes + 1, n - successes, 1 - alpha / 2), 1.0)
    return np.stack([low, high])


def _difference_of_counts(values: np.ndarray, confidence: float) -> np.ndarray:
    """Limits ``[2, …]`` of a mean of gains less losses: shares of the prompts, each as large as the largest seen."""
    largest = np.abs(values).max(axis=0)
    unit = np.where(largest > 0, largest, 1.0)
    gains, losses = (np.maximum(sign * values / unit, 0).sum(axis=0) for sign in (1, -1))
    (low_gain, high_gain), (low_loss, high_loss) = (_count(sums, len(values), confidence) for sums in (gains, losses))
    gain, loss = gains / len(values), losses / len(values)
    low = gain - loss - np.hypot(gain - low_gain, high_loss - loss)
    high = gain - loss + np.hypot(high_gain - gain, loss - low_loss)
    return np.stack([low, high]) * unit


def _within(per_prompt, ends: tuple[float, float]) -> np.ndarray:
    """Values as floats, with what rounding did at the ends of their range, or to equal ones, undone."""
    try:
        values = np.asarray(per_prompt, dtype=float)
    except (TypeError, ValueError):
        values = np.asarray(np.nan)
    if values.ndim == 0:
        raise UserError(f"per_prompt: found {per_prompt!r:.60}; expected numbers, [X] or [X, …]")
    bottom, top = ends
    width = top - bottom if np.isfinite(ends).all() else np.abs(values).max(initial=0.0)
    slack = ROUNDING * (width if np.isfinite(ends).all() else 1.0)
    if np.any((values < bottom - slack) | (values > top + slack)):
        found = values[(values < bottom - slack) | (values > top + slack)][0]
        raise UserError(f"per_prompt: found {found:g}; expected values from {bottom:g} to {top:g}")
    if np.isfinite(top):
        values = np.where(values > top - 1e-9 * width, top, values)
    if np.isfinite(bottom):
        values = np.where(values < bottom + 1e-9 * width, bottom, values)
    # Differences of what is equal but for the order of a sum.
    return np.where(np.abs(values) < 1e-12, 0.0, values) if ends == DIFFERENCE else values


def resampled(n_prompts: int, *, resamples: int, seed: int) -> np.ndarray:
    """Bootstrap multiplicities of prompts, ``[resamples, n_prompts]``."""
    return np.concatenate(list(resampled_batches(n_prompts, resamples=resamples, seed=seed)))


def resampled_batches(n_prompts: int, *, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """`resampled`, some rows at a time ``[b, n_prompts]``: those of 100,000 prompts would fill the memory."""
    _check(CONFIDENCE, resamples, seed)
    batch = max(1, BATCH // n_prompts)
    if n_prompts * resamples <= KEPT:
        kept = _multiplicities(n_prompts, resamples, seed)
        yield from (kept[start : start + batch].astype(float) for start in range(0, resamples, batch))
        return
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, batch):
        yield _drawn(n_prompts, min(batch, resamples - start), rng).astype(float)


@lru_cache(maxsize=1)
def _multiplicities(n_prompts: int, resamples: int, seed: int) -> np.ndarray:
    """All of them, for the many statistics of one pool."""
    return _drawn(n_prompts, resamples, np.random.default_rng(seed))


def _drawn(n_prompts: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """In bytes: with more than 255 prompts none is drawn as often as 256 times, but with a chance below ``1/256!``."""
    weights = np.empty((resamples, n_prompts), dtype=np.uint8)
    for row in weights:  # several times faster than multinomial counts, and no more memory than they need
        row[:] = np.bincount(rng.integers(n_prompts, size=n_prompts), minlength=n_prompts)
    return weights


def from_replicates(
    value: float, replicates: np.ndarray, n_prompts: int, *, ends: tuple[float, float] = ANY
) -> Estimate:
    """An estimate with the interval of its bootstrap replicates, cut to the `ends` it can have; NaN ones are left out."""
    if n_prompts < 2 or np.isnan(replicates).all():
        return Estimate(np.asarray(value), np.asarray(np.nan), np.asarray(np.nan), n_prompts)
    low, high = np.nanquantile(replicates, [tail(n_prompts), 1 - tail(n_prompts)])
    limits = _widened(value, low, high, np.nanstd(replicates, ddof=1), n_prompts, ends)
    return Estimate(np.asarray(value), *limits, n_prompts)
