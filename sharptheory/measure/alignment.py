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
from sharptheory.measure.best_of_n import curve, doubling_grid, ranked_curves
from sharptheory.measure.bootstrap import (
    DIFFERENCE,
    PROPORTION,
    Estimate,
    from_replicates,
    mean_over_prompts,
    resampled,
    resampled_batches,
)
from sharptheory.measure.pool import Pool, as_pool
from sharptheory.measure.ranking import Ranking, counts_below, rank, ranking
from sharptheory.measure.rewards import reward_values, selecting

RESAMPLES = 1_000
#: Lengths within this factor of each other count as equal when length is held fixed.
LENGTH_FACTOR = 1.1
#: Resamples of more prompts than this go by groups of their values, the value itself is exact (`_grouped`).
MANY_PROMPTS = 2_000
#: Cells of the tables that are held at a time.
CELLS = 1 << 24
#: Prompts whose random signs are floats at a time.
SIGNS = 1 << 13


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


def auc_within(pool: Pool | pd.DataFrame, score: str = "log_likelihood") -> Estimate:
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
    known = _known(as_pool(pool))
    per_prompt = _auc_by_prompt(ranking(known, score), known["correct"].to_numpy(dtype=bool))
    return mean_over_prompts(per_prompt[~np.isnan(per_prompt)], ends=PROPORTION)


def _auc_by_prompt(ranks: Ranking, correct: np.ndarray) -> np.ndarray:
    """`rank_sum` of each prompt, ``[X]``; NaN without responses of both kinds."""
    if not len(correct):
        return np.empty(0)
    right = ranks.by_level(correct.astype(float))
    wrong = ranks.level_sizes - right
    begin = ranks.level_starts[:-1]
    below = np.cumsum(wrong) - wrong
    below -= np.repeat(below[begin], np.diff(ranks.level_starts))
    agree = np.add.reduceat(right * (below + wrong / 2), begin)
    with np.errstate(invalid="ignore"):
        return agree / (np.add.reduceat(right, begin) * np.add.reduceat(wrong, begin))


def auc_pooled(
    pool: Pool | pd.DataFrame, score: str = "log_likelihood", *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """AUC of a score for correctness over all graded responses of all prompts together, with a prompt bootstrap.

    It mixes what `auc_within` measures with knowing which prompts are easy.

    Args:
        score: a self-reward or a numeric column. resamples: of the prompts.

    Returns:
        The AUC with its interval, none where every resample has the same; NaN if all responses are right, or all wrong.

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
    scores, correct = reward_values(known, score), known["correct"].to_numpy(dtype=bool)
    value, n_prompts = rank_sum(scores, correct), len(known.prompt_ids)
    if np.isnan(value) or n_prompts < 2:
        return Estimate(np.asarray(value), np.asarray(np.nan), np.asarray(np.nan), n_prompts)
    group, n_groups = _grouped(scores, int(np.clip(CELLS // (8 * n_prompts), 16, 1024)))
    cells = (known.prompt * 2 + correct) * n_groups + group
    counts = np.bincount(cells, minlength=n_prompts * 2 * n_groups).astype(np.float32).reshape(n_prompts, -1)
    tables = [
        weights.astype(np.float32) @ counts for weights in resampled_batches(n_prompts, resamples=resamples, seed=seed)
    ]
    tables = np.concatenate([counts.sum(axis=0, dtype=float)[None], *tables]).reshape(-1, 2, n_groups)
    return _around(value, table_concordance(tables), n_prompts)


def _grouped(values: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """The rank of each value ``[n]`` among the distinct ones, and their number; beyond `most`, in groups of equal share.

    The resamples of a concordance go by these groups, a pair within one counting half: a share ``1/most`` of the pairs,
    nearly tied, so that the limits move by less than the resampling's own noise.
    """
    ordered = np.sort(values)
    distinct = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    if len(distinct) > most:
        distinct = np.unique(ordered[np.arange(most) * len(ordered) // most])
    return np.searchsorted(distinct, values, side="right") - 1, len(distinct)


def _around(value: float, replicates: np.ndarray, n_prompts: int) -> Estimate:
    """An exact concordance with the interval of its replicates, of which the first is that of the prompts as they are."""
    return _resampled(value, replicates[1:] + (value - replicates[0]), n_prompts)


def _resampled(value: float, replicates: np.ndarray, n_prompts: int) -> Estimate:
    """A concordance with the interval of its replicates; without limits where every resample gives the same.

    An order that no resample of these prompts breaks is no certainty: other prompts may break it, and how often the
    resamples cannot say.
    """
    estimate = from_replicates(value, replicates, n_prompts, ends=PROPORTION)
    if estimate.high - estimate.low > 1e-12:
        return estimate
    return Estimate(estimate.value, np.asarray(np.nan), np.asarray(np.nan), n_prompts)


def table_concordance(counts: np.ndarray) -> np.ndarray:
    """`concordance` of things counted by the rank of their value and the rank of their score, both ascending.

    Args:
        counts: ``[..., A, B]``, A values and B scores.

    Returns:
        ``[...]``; NaN where all values are equal.
    """
    counts = np.asarray(counts, dtype=float)
    less = np.cumsum(counts, axis=-2) - counts  # of a smaller value
    agree = np.sum(counts * (np.cumsum(less, axis=-1) - less / 2), axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return agree / np.sum(counts.sum(axis=-1) * less.sum(axis=-1), axis=-1)


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
    """Whether prompts with a higher mean log-likelihood have a higher accuracy: concordance over pairs of prompts.

    Without an interval where every resample of the prompts has the same, as in `across_methods`.
    """
    known = as_pool(pool).graded()
    starts, n_prompts = known.starts[:-1], len(known.prompt_ids)
    scores, values = (
        np.add.reduceat(known.numbers(column), starts) / np.diff(known.starts)
        for column in ("log_likelihood", "correct")
    )
    if n_prompts <= MANY_PROMPTS:
        value = concordance(scores, values)
        if np.isnan(value):
            return Estimate.unknown()
        weights = resampled(n_prompts, resamples=resamples, seed=seed)
        return _resampled(value, concordance(scores, values, weights), n_prompts)
    # No matrix of all pairs: τ_b √(P_v P_s) is concordant less discordant pairs, P pairs that differ.
    differing = [n_prompts * (n_prompts - 1.0) - (c * (c - 1.0)).sum() for c in map(_counts, (values, scores))]
    if differing[0] == 0:
        return Estimate.unknown()
    tau = stats.kendalltau(scores, values).statistic if differing[1] else 0.0
    value = (tau * np.sqrt(differing[1] / differing[0]) + 1) / 2
    (a, n_a), (b, n_b) = _grouped(values, 64), _grouped(scores, 64)
    table = lambda weights: np.bincount(a * n_b + b, weights, minlength=n_a * n_b).reshape(n_a, n_b)  # noqa: E731
    batches = resampled_batches(n_prompts, resamples=resamples, seed=seed)
    tables = [table(None), *(table(weights) for batch in batches for weights in batch)]
    return _around(value, table_concordance(np.stack(tables)), n_prompts)


def _counts(values: np.ndarray) -> np.ndarray:
    """How often each distinct value occurs."""
    return np.unique(values, return_counts=True)[1].astype(float)


def across_methods(
    log_likelihood: np.ndarray, accuracy: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Whether methods whose responses are likelier are more accurate: concordance over pairs of methods.

    Args:
        log_likelihood, accuracy: expected values of each prompt under each of K methods, ``[X, K]``.

    Returns:
        The concordance with its interval, none where every resample of the prompts has the same.

    Raises:
        UserError: shapes differ.
    """
    if np.ndim(log_likelihood) != 2 or np.shape(log_likelihood) != np.shape(accuracy):
        raise UserError(
            f"log_likelihood {np.shape(log_likelihood)}, accuracy {np.shape(accuracy)}; expected both [X, K]"
        )
    # Two methods that choose the same responses are equal, in whatever order their values were added up.
    means = lambda values, weights: np.round(weights @ values / len(values), 9)  # noqa: E731
    value = concordance(*(means(values, np.ones(len(values))) for values in (log_likelihood, accuracy)))
    if np.isnan(value):
        return Estimate.unknown()
    replicates = [
        concordance(means(log_likelihood, weights), means(accuracy, weights))
        for weights in resampled_batches(len(accuracy), resamples=resamples, seed=seed)
    ]
    return _resampled(value, np.concatenate(replicates), len(accuracy))


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
    levels["within a prompt"] = auc_within(known)
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
    correct, n_prompts = known.numbers("correct") == 1, len(known.prompt_ids)
    if n_prompts < 2 or correct.all() or not correct.any():
        return None
    if within:
        values = ranking(known, score).ranks(method="max") / np.repeat(np.diff(known.starts), np.diff(known.starts))
    else:
        values = reward_values(known, score)
    grid = np.unique(np.quantile(values, np.linspace(0, 1, points), method="inverted_cdf"))
    cells = np.searchsorted(grid, values) + len(grid) * correct
    pooled = None if within else np.bincount(cells, minlength=2 * len(grid)).reshape(2, -1).cumsum(axis=1)
    # Some thousand prompts at a time: the curves of all would not fit in memory.
    sums, first, batch = 0.0, 0, max(CELLS // (8 * len(grid)), 1)
    for signs in _sign_flips(n_prompts, resamples, seed, batch=batch):
        last = first + signs.shape[1]
        rows = slice(known.starts[first], known.starts[last])
        index = (known.prompt[rows] - first) * 2 * len(grid) + cells[rows]
        counts = np.bincount(index, minlength=signs.shape[1] * 2 * len(grid)).reshape(-1, 2, len(grid))
        sums += signs @ _differences(counts.cumsum(axis=2).swapaxes(0, 1), pooled)
        first = last
    curves = sums / n_prompts if within else sums
    above, below = np.maximum([curves[0].max(), -curves[0].min()], 0.0) + 0.0  # not -0
    p_above, p_below = np.mean(curves.max(axis=1) >= above - 1e-12), np.mean(-curves.min(axis=1) >= below - 1e-12)
    return Dominance(float(above), float(p_above), float(below), float(p_below), n_prompts)


def _differences(cumulative: np.ndarray, pooled: np.ndarray | None = None) -> np.ndarray:
    """One curve per prompt ``[X, points]``: ``F_wrong - F_correct`` of it, or what it adds to that of all responses.

    Args:
        cumulative: number of wrong and of correct responses up to each point, ``[2, X, points]``.
        pooled: those of all prompts together, ``[2, points]``, if the curves are to add up to the difference of their laws.
    """
    totals = cumulative[..., -1:]
    if pooled is None:
        return cumulative[0] / totals[0] - cumulative[1] / totals[1]
    # What a prompt adds to each pooled law, less what it would add if its responses followed the law of all of them.
    everyone = pooled.sum(axis=0) / pooled[:, -1].sum()
    excess = (cumulative - totals * everyone) / pooled[:, None, -1:]
    return excess[0] - excess[1]


def _sign_flips(n_prompts: int, resamples: int, seed: int, *, batch: int = 1 << 13) -> Iterator[np.ndarray]:
    """All ``2^n`` sign vectors if they are few, else the data's own and random ones; ``[·, b]``, some prompts at a time.

    Random signs are drawn for `batch` prompts at once, a byte each, and become floats for fewer.
    """
    if 2**n_prompts <= max(resamples, 1024):
        yield 1.0 - 2.0 * (np.arange(2**n_prompts)[:, None] >> np.arange(n_prompts) & 1)
        return
    rng = np.random.default_rng(seed)
    for start in range(0, n_prompts, batch):
        flips = rng.integers(2, size=(resamples, min(batch, n_prompts - start)), dtype=np.int8)
        for held in np.array_split(flips, -(-flips.shape[1] // SIGNS), axis=1):
            yield np.concatenate([np.ones((1, held.shape[1])), 1.0 - 2.0 * held])


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


def length_confound(pool: Pool | pd.DataFrame) -> LengthConfound | None:
    """Does best-of-N pick short responses, and what is left of likelihood when length is held fixed?

    Returns:
        None where lengths do not vary within any prompt, or correctness is unknown.
    """
    known = as_pool(pool).graded()
    length, score, correct = (known.numbers(column) for column in ("length", "log_likelihood", "correct"))
    ranks, lengths = ranking(known, "log_likelihood"), rank(length, known.starts)
    x, y = (_centred(values, known.starts) for values in (length, score))
    if not np.any(x != 0):
        return None
    slope = float(x @ y / (x @ x))
    a, b = (_centred(each.ranks(method="average"), known.starts) for each in (ranks, lengths))
    both, *spreads = (np.add.reduceat(product, known.starts[:-1]) for product in (a * b, a * a, b * b))
    spread = np.sqrt(spreads[0] * spreads[1])
    given = _auc_given_length(ranks, length, correct == 1)
    paired = ~np.isnan(given)
    adjusted, m = rank(score - slope * length, known.starts), np.array([known.sizes.min()])
    return LengthConfound(
        mean_over_prompts(both[spread > 0] / spread[spread > 0], ends=DIFFERENCE),
        mean_over_prompts(_auc_by_prompt(ranks, correct == 1)[paired], ends=PROPORTION),
        mean_over_prompts(given[paired], ends=PROPORTION),
        *(mean_over_prompts(ranked_curves(each, correct, m)[:, 0], ends=PROPORTION) for each in (ranks, adjusted)),
        slope,
        int(paired.sum()),
    )


def _centred(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Values ``[n]`` less the mean of their prompt."""
    sizes = np.diff(starts)
    return values - np.repeat(np.add.reduceat(values, starts[:-1]) / sizes, sizes)


def _auc_given_length(ranks: Ranking, length: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """AUC of each prompt over the pairs of a correct and a wrong response of similar length, ``[X]``; NaN without any.

    The wrong responses of a prompt, in the order of the score, are a range; those of similar length to a right one and
    with a lower score are counted in it (`counts_below`), never looked at one by one.
    """
    distinct, length = np.unique(length, return_inverse=True)
    reach = LENGTH_FACTOR * np.maximum(distinct, 1) * (1 + 1e-12)
    shortest, longest = np.searchsorted(reach, distinct), np.searchsorted(distinct, reach, side="right")
    ordered, length = correct[ranks.order], length[ranks.order]
    wrong_before = np.append(0, np.cumsum(~ordered))
    right = np.flatnonzero(ordered)
    prompt = np.searchsorted(ranks.starts, right, side="right") - 1
    level = np.searchsorted(ranks.levels, right, side="right") - 1
    ends = np.append(ranks.levels, len(ordered))
    first, last = wrong_before[ranks.starts[prompt]], wrong_before[ranks.starts[prompt + 1]]
    low, high = shortest[length[right]], longest[length[right]]
    similar = lambda upto: (  # noqa: E731
        counts_below(wrong, first, upto, high) - counts_below(wrong, first, upto, low)
    )
    wrong = length[~ordered]
    agree = (similar(wrong_before[ends[level]]) + similar(wrong_before[ends[level + 1]])) / 2
    agree, pairs = (np.bincount(prompt, weights, len(ranks.starts) - 1) for weights in (agree, similar(last)))
    with np.errstate(invalid="ignore"):
        return agree / pairs


def _known(pool: Pool) -> Pool:
    """Graded samples."""
    known = pool["correct"].notna().to_numpy()
    return pool if known.all() else pool.take(known)


def _mixed(pool: Pool) -> Pool:
    """Graded samples of the prompts that have correct and wrong ones."""
    known = _known(pool)
    if len(known.samples) == 0:
        return known
    correct, starts = known["correct"].to_numpy(dtype=bool), known.starts
    mixed = np.logical_or.reduceat(correct, starts[:-1]) & ~np.logical_and.reduceat(correct, starts[:-1])
    return known if mixed.all() else known.take(np.repeat(mixed, np.diff(starts)))
