"""Best-of-N at an N larger than the pool, from what the pool's likelihoods say about what was never sampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sharptheory.errors import UserError
from sharptheory.measure.best_of_n import checked_n, curve
from sharptheory.measure.bootstrap import ANY, ENDS, Estimate, mean_over_prompts
from sharptheory.measure.pool import Pool, as_pool, rectangular, shown
from sharptheory.measure.ranking import ranking
from sharptheory.measure.responses import distinct_responses, inclusion_weights, response_keys
from sharptheory.measure.rewards import Reward


def predict_best_of_n(
    pool: Pool | pd.DataFrame, n: np.ndarray, *, reward: str | Reward = "log_likelihood", value: str = "correct"
) -> pd.DataFrame:
    """Expected value of the best of N fresh samples, for any N, per prompt.

    A response of probability π is in a pool of M samples with probability ``1 - (1-π)^M``, and π is known: so the sum of
    ``π / (1 - (1-π)^M)`` over the *distinct* responses of a set estimates the set's mass, unbiased (Horvitz-Thompson);
    for likely responses that is their exact mass and for unlikely ones their share of the pool. Here these masses are
    normalised to leave room for what was never sampled, and best-of-N is a function of them: the prediction is consistent
    as M grows, not unbiased. What is better than all samples gets the mass ``(1-p̂)^M/(M+1)``, and at most what the
    distinct responses leave over: ``1/(M+1)`` is the mean mass above the best of M samples of a law without atoms, and M
    samples miss a response of probability p̂ or more, as a better one has, with probability at most ``(1-p̂)^M``. This is
    a rule of thumb, no bound. Its value is that of the top ``√M`` samples, on average. `calibration` measures what the
    prediction is worth.

    Args:
        pool: prompts with a null `value` are left out. n: values of N ≥ 1, real, ``[K]``.
        reward: to select by. value: column to average.

    Returns:
        One row per prompt_id, one column per N.

    Raises:
        UserError: an N below 1, an unknown column, one that is not numeric, or, as in `certificate.distinct_responses`, it
            is not known which responses are equal, or likelihoods are no probabilities.

    ```python
    >>> pool = pd.DataFrame({"prompt_id": 0, "response": 20 * ["a", "a", "b"], "correct": 20 * [True, True, False],
    ...                      "log_likelihood": 20 * np.log([0.7, 0.7, 0.3]).tolist()})
    >>> predict_best_of_n(pool, [1, 2, 1e9]).round(3).values.tolist()  # 1 - (1 - 0.7)^N, also beyond the 60 samples
    [[0.7, 0.91, 1.0]]

    ```
    """
    n = checked_n(n, whole=False)
    name = reward.name if isinstance(reward, Reward) else reward
    pool, values, found = _known(pool, value)
    ranks = ranking(pool, reward)
    x, m = len(pool.prompt_ids), np.diff(pool.starts)
    p = np.exp(found.log_p)
    # Another reward does not say how likely the better responses are.
    top = np.zeros(x)
    if name == "log_likelihood":
        np.maximum.at(top, found.prompt, p)
    mass = inclusion_weights(p, m[found.prompt])
    unseen = np.minimum((1 - top) ** m / (m + 1), np.maximum(1 - np.bincount(found.prompt, p, x), 0.0))
    mass *= ((1 - unseen) / np.bincount(found.prompt, mass, x))[found.prompt]
    # A response has the level of the best of its samples.
    level = np.empty(len(values), dtype=np.int64)
    level[ranks.order] = np.repeat(np.arange(len(ranks.levels)), ranks.level_sizes)
    best = np.zeros(len(p), dtype=np.int64)
    np.maximum.at(best, found.of_sample, level)
    level_mass, level_value = (
        np.bincount(best, weights, len(ranks.levels)) for weights in (mass, mass * found.mean(values))
    )
    level_value /= np.maximum(level_mass, 1e-300)
    count = np.ones_like(m) if value == name else np.minimum(np.maximum(3, np.sqrt(m).astype(int)), m)
    tops = np.stack([pool.starts[1:] - count, pool.starts[1:]], axis=1).ravel()
    above = np.add.reduceat(np.append(values[ranks.order], 0.0), tops)[::2] / count
    curves = np.empty((x, len(n)))
    for prompts, rows in rectangular(ranks.level_starts):
        cdf = np.minimum(np.cumsum(level_mass[rows], axis=1), 1.0)
        for i, each in enumerate(n):
            power = cdf**each
            chosen = np.diff(power, axis=1, prepend=0.0)
            curves[prompts, i] = (level_value[rows] * chosen).sum(axis=1) + above[prompts] * (1 - power[:, -1])
    return pd.DataFrame(curves, index=pool.prompt_ids, columns=n)


def predict_power(pool: Pool | pd.DataFrame, alpha: float, *, value: str = "correct") -> pd.Series:
    """Expected value under the power law ``π^α / Z_α`` (the tilted law at ``β = 1/(α-1)``), per prompt.

    ``Σ π^α v`` and ``Z_α`` are each estimated without bias from the distinct responses, as in `predict_best_of_n`; their
    ratio is consistent as the pool grows, and biased for a small one.

    Args:
        pool: prompts with a null `value` are left out. alpha: the power, > 0. value: column to average.

    Returns:
        One value per prompt_id.

    Raises:
        UserError: as `predict_best_of_n`, or a power that is not positive and finite.
    """
    if not 0 < alpha < np.inf:
        raise UserError(f"alpha={alpha}; expected a positive finite power")
    pool, values, found = _known(pool, value)
    x, m = len(pool.prompt_ids), np.diff(pool.starts)
    top = np.full(x, -np.inf)
    np.maximum.at(top, found.prompt, found.log_p)
    with np.errstate(over="ignore"):  # of two unlikely responses one may have all the mass
        log_mass = np.log(inclusion_weights(np.exp(found.log_p), m[found.prompt]))
        log_mass += (alpha - 1) * (found.log_p - top[found.prompt])
    largest = np.full(x, -np.inf)
    np.maximum.at(largest, found.prompt, log_mass)
    weights = np.exp(log_mass - largest[found.prompt])
    right = np.bincount(found.prompt, weights * found.mean(values), x)
    return pd.Series(right / np.bincount(found.prompt, weights, x), index=pool.prompt_ids)


@dataclass(frozen=True)
class _Found:
    """The distinct responses of each prompt, finished or not.

    Attributes:
        of_sample: which of them each sample is, ``[samples]``. prompt: of each, ``[D]``.
        log_p: its largest log-likelihood, ``[D]``.
    """

    of_sample: np.ndarray
    prompt: np.ndarray
    log_p: np.ndarray

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean over the samples of each response of values ``[samples]``, ``[D]``."""
        return np.bincount(self.of_sample, values) / np.bincount(self.of_sample)


def _known(pool: Pool | pd.DataFrame, value: str) -> tuple[Pool, np.ndarray, _Found]:
    """The prompts whose values are known, these values, and their distinct responses."""
    known = as_pool(pool).graded(value)
    distinct_responses(known)  # refuses likelihoods that are no probabilities
    values, keys = known.numbers(value), response_keys(known)
    if not np.isfinite(values).all():
        raise UserError(f"column {value!r} holds infinite values; expected numbers with a mean")
    size = int(keys.max(initial=0)) + 1
    of_sample, cells = pd.factorize(known.prompt * size + keys)
    log_p = np.full(len(cells), -np.inf)
    np.maximum.at(log_p, of_sample, known.numbers("log_likelihood"))
    return known, values, _Found(of_sample, cells // size, log_p)


def predicted_curve(
    pool: Pool | pd.DataFrame,
    n: np.ndarray,
    *,
    reward: str | Reward = "log_likelihood",
    value: str = "correct",
) -> Estimate:
    """`predict_best_of_n` averaged over prompts, with its bootstrap interval over prompts, ``[K]``."""
    table = predict_best_of_n(pool, n, reward=reward, value=value)
    return mean_over_prompts(table.to_numpy(), ends=ENDS.get(value, ANY))


def calibration(
    pool: Pool | pd.DataFrame,
    *,
    share: float = 0.25,
    n: np.ndarray | None = None,
    reward: str | Reward = "log_likelihood",
    value: str = "correct",
) -> pd.DataFrame:
    """How good the prediction is on this pool: from a `share` of each prompt's samples to the N that all of them reach.

    Args:
        share: of each prompt's samples that predict, at most 1/2. n: values of N, ``[K]``; default five up to what the
            other samples reach. reward, value: as in `predict_best_of_n`.

    Returns:
        One row per N: predicted value with its interval, value `measured` on the samples that had no part in the
        prediction, the standard error of their difference over prompts, and whether it is within 1.96 of those.

    Raises:
        UserError: as `predict_best_of_n`, or a prompt with one sample.
    """
    if not 0 < share <= 0.5:
        raise UserError(f"share={share}; expected a share of the samples, above 0 and at most 0.5")
    pool = as_pool(pool).graded(value)
    if pool.sizes.min() < 2:
        raise UserError(
            f"prompt {shown(pool.sizes.idxmin())} has one sample; calibration needs one to predict and one to compare"
        )
    distinct_responses(pool)  # refuses likelihoods that are no probabilities: a share may not show it
    position = np.arange(len(pool.samples)) - pool.starts[pool.prompt]
    # Every k-th sample predicts: samples that follow one another in a file may have been sampled in one batch.
    k = max(2, round(1 / share))
    few, rest = pool.take(position % k == 0), pool.take(position % k != 0)
    if n is None:
        n = np.unique(np.geomspace(max(1, int(pool.sizes.min()) // k), int(rest.sizes.min()), 5).astype(int))
    predicted = predict_best_of_n(few, n, reward=reward, value=value)
    measured = curve(rest, reward, value, n).loc[predicted.index]
    difference = predicted.to_numpy() - measured.to_numpy(dtype=float)
    estimate = mean_over_prompts(predicted.to_numpy(), ends=ENDS.get(value, ANY))
    error = difference.std(axis=0, ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else np.nan
    return pd.DataFrame(
        {
            "n": n,
            "predicted": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "measured": measured.mean().to_numpy(),
            "error": error,
            "agrees": np.abs(difference.mean(axis=0)) <= 1.96 * error + 1e-12,
        }
    )
