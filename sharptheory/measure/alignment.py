"""Does likelihood know? How a score (log-likelihood by default) orders right and wrong, each answer with an interval.

One measure throughout, concordance: of two things that differ in how right they are, the probability that the better
one has the higher score, ties counting half. 1/2 is ignorance. It is taken at four levels, of which only the last is
what sharpening uses: across decoding methods, across the N of best-of-N, across prompts, and within one prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from sharptheory.errors import UserError, expect_integers
from sharptheory.measure.best_of_n import curve, doubling_grid
from sharptheory.measure.bootstrap import (
    DIFFERENCE,
    PROPORTION,
    Estimate,
    bootstrap_mean,
    from_replicates,
    resampled,
)
from sharptheory.measure.pool import Pool, as_pool
from sharptheory.measure.rewards import reward_values, selecting

RESAMPLES = 1_000
#: Lengths within this factor of each other count as equal when length is held fixed.
LENGTH_FACTOR = 1.1


def rank_sum(scores: np.ndarray, correct: np.ndarray, weights: np.ndarray | None = None) -> float:
    """``P(score of a correct response > score of a wrong one)``, ties counting half; NaN if either kind is absent.

    Args:
        scores, correct: ``[n]``; weights: non-negative multiplicities ``[n]``, default 1.

    Raises:
        UserError: shapes differ, or a score is NaN.
    """
    scores, correct = np.asarray(scores, dtype=float), np.asarray(correct, dtype=bool)
    if scores.shape != correct.shape or scores.ndim != 1 or np.isnan(scores).any():
        raise UserError(f"scores {scores.shape}, correct {correct.shape}; expected numbers and booleans, both [n]")
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=float)
    _, level = np.unique(scores, return_inverse=True)
    right = np.bincount(level, weights * correct)
    wrong = np.bincount(level, weights * ~correct)
    pairs = right.sum() * wrong.sum()
    return float(np.dot(right, np.cumsum(wrong) - wrong / 2) / pairs) if pairs > 0 else np.nan


def auc_within(pool: Pool | pd.DataFrame, score: str = "log_likelihood", *, seed: int = 0) -> Estimate:
    """AUC of a score for correctness inside each prompt, averaged over the prompts that have both kinds.

    Only this is what sharpening uses: pooled over prompts, the AUC also rewards knowing which prompts are easy.

    Args:
        score: a self-reward or a numeric column.

    Returns:
        The mean with its interval; `n_prompts` counts the prompts with both kinds, without any the value is NaN.

    Raises:
        UserError: an unknown column, or one that is not numeric or has gaps.

    ```python
    >>> pool = pd.DataFrame({"prompt_id": [0, 0, 0, 1], "log_likelihood": [-1.0, -2.0, -3.0, -1.0],
    ...                      "correct": [True, False, True, True]})
    >>> estimate = auc_within(pool)
    >>> float(estimate.value), estimate.n_prompts
    (0.5, 1)

    ```
    """
    mixed = _mixed(as_pool(pool))
    scores, correct = reward_values(mixed, score), mixed.numbers("correct")
    groups = mixed.samples.groupby("prompt_id").indices.values()
    per_prompt = np.array([rank_sum(scores[rows], correct[rows]) for rows in groups])
    return bootstrap_mean(per_prompt, ends=PROPORTION, seed=seed)


def auc_pooled(
    pool: Pool | pd.DataFrame, score: str = "log_likelihood", *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """AUC of a score for correctness over all graded responses of all prompts together, with a prompt bootstrap.

    It mixes what `auc_within` measures with knowing which prompts are easy.

    Args:
        score: a self-reward or a numeric column. resamples: of the prompts.

    Returns:
        The AUC with its interval; NaN if all responses are right, or all wrong.

    Raises:
        UserError: an unknown column, or one that is not numeric or has gaps.

    ```python
    >>> pool = pd.DataFrame({"prompt_id": [0, 0, 1, 1], "log_likelihood": [-1.0, -2.0, -8.0, -9.0],
    ...                      "correct": [True, True, False, False]})
    >>> float(auc_pooled(pool).value), float(auc_within(pool).value)  # it knows the easy prompt, and nothing within
    (1.0, nan)

    ```
    """
    known = _known(as_pool(pool))
    prompt, ids = pd.factorize(known["prompt_id"])
    _, scores = np.unique(reward_values(known, score), return_inverse=True)
    correct = known["correct"].to_numpy(dtype=bool)
    value = rank_sum(scores, correct)
    if np.isnan(value) or len(ids) < 2:
        return Estimate(np.asarray(value), np.asarray(np.nan), np.asarray(np.nan), len(ids))
    weights = resampled(len(ids), resamples=resamples, seed=seed)
    return from_replicates(
        value, np.array([rank_sum(scores, correct, w[prompt]) for w in weights]), len(ids), ends=PROPORTION
    )


# Four levels ----------------------------------------------------------------------------------------------------------


def concordance(scores: np.ndarray, values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Of pairs with different values, the share in which the larger value has the larger score, ties in score half.

    Args:
        scores, values: ``[..., K]``; weights: of the K things, ``[..., K]``, a pair weighing their product.

    Returns:
        ``[...]``; NaN where all values are equal.
    """
    scores, values = np.asarray(scores, dtype=float), np.asarray(values, dtype=float)
    above = values[..., :, None] > values[..., None, :]
    agree = np.where(above, (np.sign(scores[..., :, None] - scores[..., None, :]) + 1) / 2, 0.0)
    weights = np.ones(values.shape[-1]) if weights is None else np.asarray(weights, dtype=float)
    count = lambda pairs: np.einsum("...i,...ij,...j->...", weights, pairs, weights, optimize=True)  # noqa: E731
    with np.errstate(invalid="ignore", divide="ignore"):
        return count(agree) / count(above.astype(float))


def across_prompts(pool: Pool | pd.DataFrame, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Whether prompts with a higher mean log-likelihood have a higher accuracy: concordance over pairs of prompts."""
    known = as_pool(pool).graded()
    columns = known.samples[["prompt_id", "log_likelihood"]].assign(correct=known.numbers("correct"))
    means = columns.groupby("prompt_id").mean()
    scores, values = means.to_numpy().T
    value = concordance(scores, values)
    if np.isnan(value):
        return Estimate.unknown()
    weights = resampled(len(means), resamples=resamples, seed=seed)
    return from_replicates(value, concordance(scores, values, weights), len(means), ends=PROPORTION)


def across_methods(
    log_likelihood: np.ndarray, accuracy: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Whether methods whose responses are likelier are more accurate: concordance over pairs of methods.

    Args:
        log_likelihood, accuracy: expected values of each prompt under each of K methods, ``[X, K]``.

    Raises:
        UserError: shapes differ.
    """
    if np.ndim(log_likelihood) != 2 or np.shape(log_likelihood) != np.shape(accuracy):
        raise UserError(
            f"log_likelihood {np.shape(log_likelihood)}, accuracy {np.shape(accuracy)}; expected both [X, K]"
        )
    value = concordance(log_likelihood.mean(axis=0), accuracy.mean(axis=0))
    if np.isnan(value):
        return Estimate.unknown()
    weights = resampled(len(accuracy), resamples=resamples, seed=seed)
    return from_replicates(
        value, concordance(weights @ log_likelihood, weights @ accuracy), len(accuracy), ends=PROPORTION
    )


def alignment_levels(pool: Pool | pd.DataFrame, *, seed: int = 0) -> dict[str, Estimate]:
    """Concordance of log-likelihood with correctness at the four levels that a pool supports.

    ``decoding methods`` are one sample, greedy decoding and the best of all samples by each self-reward; ``N of
    best-of-N`` is best-of-N by log-likelihood at N = 1, 2, 4, …
    """
    known = as_pool(pool).graded()
    m = int(known.sizes.min())
    n = doubling_grid(m)
    by_n = [curve(known, "log_likelihood", value, n) for value in ("log_likelihood", "correct")]
    levels, methods = {}, [(by_n[0][1], by_n[1][1])]
    for reward in selecting(known):
        methods.append(tuple(curve(known, reward, value, [m])[m] for value in ("log_likelihood", "correct")))
    if (greedy := _greedy_of(known, by_n[0].index)) is not None:
        methods.append(greedy)
    if len(methods) > 2:
        ids = by_n[0].index
        table = [np.stack([np.asarray(method[i].loc[ids], dtype=float) for method in methods], axis=1) for i in (0, 1)]
        levels["decoding methods"] = across_methods(*table, seed=seed)
    if len(n) > 2:
        levels["N of best-of-N"] = across_methods(*(part.to_numpy() for part in by_n), seed=seed)
    levels["prompts"] = across_prompts(known, seed=seed)
    levels["within a prompt"] = auc_within(known, seed=seed)
    return levels


def _greedy_of(pool: Pool, prompt_ids: pd.Index) -> tuple[pd.Series, pd.Series] | None:
    """Log-likelihood and correctness of the greedy response of each prompt; None if one is not known."""
    if len(pool.greedy) == 0 or "correct" not in pool.greedy:
        return None
    table = pool.greedy.dropna(subset=["correct"]).set_index("prompt_id").reindex(prompt_ids)
    return (table["log_likelihood"], table["correct"]) if table["correct"].notna().all() else None


# Stochastic dominance -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dominance:
    """One-sided tests of whether correct responses' scores stochastically dominate those of wrong ones.

    Dominance means ``F_correct(t) ≤ F_wrong(t)`` for every t.

    Attributes:
        above: ``sup_t F_wrong - F_correct``, the evidence for it; p_above: chance of as much if the laws were equal.
        below: ``sup_t F_correct - F_wrong``, the violation; p_below: chance of as much under dominance.
        n_prompts: behind it.
    """

    above: float
    p_above: float
    below: float
    p_below: float
    n_prompts: int

    @property
    def holds(self) -> bool:
        """Whether there is evidence of dominance and none against it, both at 5 %."""
        return self.p_above < 0.05 <= self.p_below


def dominance(
    pool: Pool | pd.DataFrame,
    score: str = "log_likelihood",
    *,
    within: bool,
    points: int = 256,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Dominance | None:
    """The paper's claim (Fig. 1c, 6) as a test: one-sided Kolmogorov-Smirnov distances, p-values by sign flips of prompts.

    Samples of one prompt are dependent, so the textbook null law does not apply. The difference ``F_wrong - F_correct`` is
    a mean over prompts of one curve each, and where the laws are equal a curve is as likely as its negative: the distance
    is compared with those of all ``2^n`` choices of signs, or of `resamples` random ones. It keeps its size for every number
    of prompts; with fewer than five no p-value can fall below 5 %.

    Args:
        score: a self-reward or a numeric column.
        within: rank the scores inside each prompt and average the prompts that have both kinds, instead of pooling all
            responses, which compares easy prompts with hard ones.
        points: of the grid of scores on which the distances are taken.

    Returns:
        None if there are not two prompts with responses of both kinds (pooled: of either kind).

    Raises:
        UserError: an unknown column, one that is not numeric or has gaps, or fewer than 2 points or 1 resample.

    ```python
    >>> score, prompt = np.tile(np.arange(8.0) - 9, 6), np.repeat(np.arange(6), 8)
    >>> pool = pd.DataFrame({"prompt_id": prompt, "log_likelihood": score, "correct": score > -5})
    >>> test = dominance(pool, within=True)
    >>> test.above, test.p_above, test.below, test.p_below, test.holds
    (1.0, 0.015625, 0.0, 1.0, True)

    ```
    """
    expect_integers(2, points=points)
    expect_integers(1, resamples=resamples)
    known = _mixed(as_pool(pool)) if within else _known(as_pool(pool))
    correct = known.numbers("correct") == 1
    prompt, ids = pd.factorize(known["prompt_id"])
    if len(ids) < 2 or correct.all() or not correct.any():
        return None
    values = pd.Series(reward_values(known, score))
    if within:
        values = values.groupby(prompt).rank(method="max", pct=True)
    grid = np.unique(np.quantile(values, np.linspace(0, 1, points), method="inverted_cdf"))
    counts = np.zeros((2, len(ids), len(grid)))
    np.add.at(counts, (correct.astype(int), prompt, np.searchsorted(grid, values)), 1.0)
    curves = _differences(counts.cumsum(axis=2), within=within)
    seen = curves.mean(axis=0)
    above, below = max(0.0, seen.max()), max(0.0, -seen.min())
    extremes = np.concatenate([np.stack([flipped.max(axis=1), -flipped.min(axis=1)])
                               for signs in _sign_flips(len(ids), resamples, seed)
                               for flipped in [signs @ curves / len(ids)]], axis=1)  # fmt: skip
    p_above, p_below = np.mean(extremes >= np.array([[above], [below]]) - 1e-12, axis=1)
    return Dominance(float(above), float(p_above), float(below), float(p_below), len(ids))


def _differences(cumulative: np.ndarray, *, within: bool) -> np.ndarray:
    """One curve per prompt ``[X, points]`` whose mean is ``F_wrong - F_correct``.

    Args:
        cumulative: number of wrong and of correct responses up to each point, ``[2, X, points]``.
    """
    totals = cumulative[..., -1:]
    if within:
        return cumulative[0] / totals[0] - cumulative[1] / totals[1]
    # What a prompt adds to each pooled law, less what it would add if its responses followed the law of all of them.
    everyone = cumulative.sum(axis=(0, 1)) / totals.sum()
    excess = (cumulative - totals * everyone) / totals.sum(axis=1, keepdims=True)
    return (excess[0] - excess[1]) * cumulative.shape[1]


def _sign_flips(n_prompts: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """All ``2^n`` sign vectors if they are few, else the data's own and random ones; in batches ``[b, n_prompts]``."""
    if 2**n_prompts <= max(resamples, 1024):
        yield 1.0 - 2.0 * (np.arange(2**n_prompts)[:, None] >> np.arange(n_prompts) & 1)
        return
    rng = np.random.default_rng(seed)
    yield np.ones((1, n_prompts))
    batch = max(1, 4_000_000 // n_prompts)
    for start in range(0, resamples, batch):
        yield rng.choice([-1.0, 1.0], size=(min(batch, resamples - start), n_prompts))


# Length ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LengthConfound:
    """How much of likelihood's choice is a choice of length.

    Attributes:
        correlation: Spearman correlation of log-likelihood and length within a prompt, averaged.
        auc: AUC of log-likelihood within prompts (as `auc_within`), on the prompts where the next one is defined.
        auc_given_length: the same over pairs of responses of the same length (within `LENGTH_FACTOR`).
        accuracy: of best-of-N by log-likelihood, N the pool size; accuracy_adjusted: by log-likelihood with its
            regression on length inside the prompts taken out; slope: of that regression, nats per token.
        n_prompts: with correct and wrong responses of one length.
    """

    correlation: Estimate
    auc: Estimate
    auc_given_length: Estimate
    accuracy: Estimate
    accuracy_adjusted: Estimate
    slope: float
    n_prompts: int


def length_confound(pool: Pool | pd.DataFrame, *, seed: int = 0) -> LengthConfound | None:
    """Does best-of-N pick short responses, and what is left of likelihood when length is held fixed?

    Returns:
        None where lengths do not vary within any prompt, or correctness is unknown.
    """
    known = as_pool(pool).graded()
    length, score, correct = (known.numbers(column) for column in ("length", "log_likelihood", "correct"))
    table = pd.DataFrame({"prompt": known["prompt_id"], "length": length, "score": score, "correct": correct == 1})
    centred = table[["length", "score"]] - table.groupby("prompt")[["length", "score"]].transform("mean")
    x, y = centred["length"].to_numpy(), centred["score"].to_numpy()
    if not np.any(x != 0):
        return None
    slope = float(x @ y / (x @ x))
    correlations, pairs = [], []
    for _, group in table.groupby("prompt"):
        if group["length"].nunique() > 1 and group["score"].nunique() > 1:
            correlations.append(stats.spearmanr(group["score"], group["length"]).statistic)
        given = _auc_given_length(group)
        if given is not None:
            pairs.append((rank_sum(group["score"].to_numpy(), group["correct"].to_numpy()), given))
    m = int(known.sizes.min())
    adjusted = known.assign(adjusted=score - slope * length)
    accuracies = [
        bootstrap_mean(curve(adjusted, reward, "correct", [m])[m], ends=PROPORTION, seed=seed)
        for reward in ("log_likelihood", "adjusted")
    ]
    by_pair = np.array(pairs).reshape(-1, 2)
    return LengthConfound(
        bootstrap_mean(np.array(correlations), ends=DIFFERENCE, seed=seed),
        *(bootstrap_mean(by_pair[:, side], ends=PROPORTION, seed=seed) for side in (0, 1)),
        *accuracies,
        slope,
        len(pairs),
    )


def _auc_given_length(group: pd.DataFrame) -> float | None:
    """AUC over the pairs of a correct and a wrong response of similar length in one prompt; None if there are none."""
    correct = group["correct"].to_numpy()
    right, wrong = (group.loc[rows, ["length", "score"]].to_numpy(dtype=float).T for rows in (correct, ~correct))
    agree = pairs = 0.0
    # A few rows at a time: all pairs of a large pool do not fit in memory.
    step = max(1, 1_000_000 // max(1, wrong.shape[1]))
    for start in range(0, right.shape[1], step):
        length, score = right[:, start : start + step, None]
        shorter, longer = np.minimum(length, wrong[0]), np.maximum(length, wrong[0])
        similar = longer <= LENGTH_FACTOR * np.maximum(shorter, 1) * (1 + 1e-12)
        pairs += similar.sum()
        agree += ((np.sign(score - wrong[1]) + 1) / 2)[similar].sum()
    return float(agree / pairs) if pairs else None


def _known(pool: Pool) -> Pool:
    """Graded samples."""
    return pool.take(pool["correct"].notna())


def _mixed(pool: Pool) -> Pool:
    """Graded samples of the prompts that have correct and wrong ones."""
    known = _known(pool)
    return known.take(known["correct"].groupby(known["prompt_id"]).transform("nunique") == 2)
