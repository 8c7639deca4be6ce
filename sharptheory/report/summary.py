"""From a pool to a summary: everything that a pool supports, estimated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from sharptheory.errors import UserError
from sharptheory.measure import alignment, certificate, prediction, self_consistency
from sharptheory.measure.answers import AnswerPolicy, answer_policy
from sharptheory.measure.best_of_n import curve, doubling_grid, pass_at_n
from sharptheory.measure.bootstrap import (
    ANY,
    CONFIDENCE,
    DIFFERENCE,
    NEGATIVE,
    POSITIVE,
    PROPORTION,
    Estimate,
    mean_over_prompts,
)
from sharptheory.measure.efficiency import reward_efficiency
from sharptheory.measure.pool import Pool, as_pool
from sharptheory.measure.power_bounds import power_certificate
from sharptheory.measure.rewards import REWARDS, Reward, available, column_rewards, load_reward, score_columns
from sharptheory.measure.selection import accuracy_curves
from sharptheory.report import schema
from sharptheory.report.schema import Interval, Range, Summary, number
from sharptheory.theory.tables import sharpening_cost

REWARD = "log_likelihood"
#: A prediction beyond the pool needs this many samples of each prompt.
FEWEST_FOR_PREDICTION = 8


@dataclass(frozen=True)
class Diagnosis:
    """All that a report is made from.

    Attributes:
        pool: samples and greedy responses.
        summary: the numbers, the content of ``summary.json``.
        certificate: per-prompt bounds on ``p*`` (`coverage_certificate`); None where the likelihoods do not allow any.
        hit_rates: theory against measurement, None where no prompt is certified.
        plurality: the same of answers, None where no prompt's likeliest answer is known.
    """

    pool: Pool
    summary: Summary
    certificate: pd.DataFrame | None
    hit_rates: certificate.HitRates | None
    plurality: self_consistency.PluralityRates | None = None


def diagnose(
    pool: Pool | pd.DataFrame,
    *,
    reward: str | Reward | None = None,
    rewards: Sequence[Reward] = (),
    provenance: dict | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Estimates everything a pool supports: best-of-N, pass@N, rewards, coverage, alignment, theory against measurement.

    Args:
        pool: what `read_pool` returns, or a data frame with its columns; accuracy needs `correct`.
        reward: what the report is about, best-of-N by it: a `Reward`, or the name of one or of a column; default
            log-likelihood if there is one. Any scale will do, larger is better.
        rewards: further rewards to compare with the registered ones and the columns (`load_reward`).
        provenance: recorded in the summary as it is; JSON values only.
        seed: of what is resampled: pooled AUC, dominance, votes by subsets.

    Returns:
        The pool, its numbers, and the per-prompt certificate. Likelihoods that cannot be those of samples (distinct
        responses of total probability above 1) leave coverage and what follows from it out; responses that cannot be
        recognised (neither text nor token ids) leave hit rates and the prediction out. A pool without likelihoods, and
        without a `reward`, has no best-of-N beyond N = 1. The summary says why.

    Raises:
        UserError: not a pool, or a reward that it does not support.

    ```python
    >>> pool = pd.DataFrame({"prompt_id": [0, 0, 1, 1], "log_likelihood": [-1.0, -2.0, -0.5, -3.0],
    ...                      "correct": [True, False, True, False]})
    >>> summary = diagnose(pool).summary
    >>> summary.best_of_n[-1].n, summary.best_of_n[-1].accuracy.value, summary.gain_over_sampling.accuracy.value
    (2, 1.0, 0.5)

    ```
    """
    pool = as_pool(pool)
    if len(pool.samples) == 0:
        raise UserError("the pool has no samples; expected one of each prompt at least")
    graded = _graded(pool)
    about, every_n = _about(pool, reward), curve_grid(int(pool.sizes.min()))
    by, n = (NOTHING, every_n[:1]) if about is None else (about, every_n)
    log_likelihood = _log_likelihood(pool, by, n)
    accuracy = None if graded is None else curve(graded, by, "correct", n)
    any_of_n = None if graded is None else pass_at_n(graded, every_n)
    columns, left_out = column_rewards(pool)
    further = [*rewards, *columns]
    unidentified = certificate.unidentified(pool)
    proved, rates, refusal = _certified(pool, identified=unidentified is None)
    answered = _answered(pool, likelihoods=refusal is None)
    plurality = None if answered is None else _plurality(answered, pool)
    summary = Summary(
        reward=None if about is None else about.name,
        notes=(*pool.notes, *_taken(columns, left_out)),
        sampling=_sampling(pool, graded, accuracy, log_likelihood),
        greedy=_greedy(pool, accuracy),
        best_of_n=_best_of_n(accuracy, log_likelihood),
        pass_at_n=None if graded is None else _accuracies(any_of_n),
        gain_over_sampling=_gain_over_sampling(accuracy, log_likelihood, by.name),
        gain_over_greedy=_gain_over_greedy(pool, accuracy, log_likelihood),
        missed=None if graded is None or about is None else _mean((any_of_n - accuracy).iloc[:, -1], PROPORTION),
        peak=None if accuracy is None else _peak(accuracy),
        rewards=() if graded is None else _rewards(graded, int(every_n[-1]), about, further, seed),
        prediction=None
        if graded is None or refusal or unidentified or by.name != REWARD
        else _prediction(graded, int(n[-1])),
        alignment=None if graded is None or about is None else _alignment(graded, about, further, seed),
        length=_length(pool, graded, by, n[[0, -1]]) if "length" in pool else None,
        coverage=None if proved is None else _coverage(proved, None if unidentified else pool),
        coverage_refused=refusal,
        unidentified=unidentified,
        hit_rates=None if rates is None else _hit_rates(rates),
        answers=_answers(answered, pool, graded, plurality),
        cost=() if proved is None else _cost(proved, pool),
        provenance=provenance or {},
    )
    return Diagnosis(pool, summary, proved, rates, plurality)


def curve_grid(largest: int, points: int = 64) -> np.ndarray:
    """Every N up to `points`, then about `points` more up to `largest`, evenly on a logarithmic axis, doublings included."""
    if largest <= points:
        return np.arange(1, largest + 1)
    return np.unique(
        np.concatenate(
            [
                np.arange(1, points + 1),
                np.geomspace(points, largest, points).round().astype(int),
                doubling_grid(largest),
            ]
        )
    )


# What the report is about ---------------------------------------------------------------------------------------------

#: Selecting by it is taking any sample.
NOTHING = Reward("nothing", lambda pool: pd.Series(0.0, index=pool.samples.index))


def _about(pool: Pool, reward: str | Reward | None) -> Reward | None:
    """The reward that a report is about; None where there is nothing to select by."""
    if reward is None:
        return REWARDS[REWARD] if REWARD in pool else None
    found = reward if isinstance(reward, Reward) else load_reward(reward, columns=score_columns(pool))
    if not found.selects:
        raise UserError(f"reward {found.name!r} knows grades or all responses; expected one that can select")
    return found


def _taken(rewards: Sequence[Reward], left_out: Mapping[str, str]) -> list[str]:
    """Which columns are rewards, and why the others are none."""
    notes = [f"Further rewards: {', '.join(reward.name for reward in rewards)}."] if rewards else []
    if left_out:
        notes.append(f"No rewards: {', '.join(f'{name} ({reason})' for name, reason in left_out.items())}.")
    return notes


# What the samples are -------------------------------------------------------------------------------------------------


def _graded(pool: Pool) -> Pool | None:
    """The prompts whose correctness is known throughout; None if there are none."""
    if "correct" not in pool:
        return None
    throughout = pool["correct"].notna().groupby(pool["prompt_id"]).transform("all")
    return pool.take(throughout) if throughout.any() else None


def _log_likelihood(pool: Pool, reward: Reward, n: np.ndarray) -> pd.DataFrame:
    """Expected log-likelihood of what best-of-N selects; NaN in a pool without."""
    if REWARD in pool:
        return curve(pool, reward, REWARD, n)
    return pd.DataFrame(np.nan, index=pool.prompt_ids, columns=n)


def _sampling(
    pool: Pool, graded: Pool | None, accuracy: pd.DataFrame | None, log_likelihood: pd.DataFrame
) -> schema.Sampling:
    sizes, finished = pool.sizes, pool["finished"].dropna()
    unreadable = {}
    if graded is not None and "unreadable" in graded:
        counts = graded["unreadable"].value_counts()
        unreadable = {str(reason): count / len(graded.samples) for reason, count in counts.items()}
    return schema.Sampling(
        n_prompts=len(sizes),
        n_samples=int(sizes.min()),
        n_samples_max=int(sizes.max()),
        n_responses=len(pool.samples),
        n_graded_prompts=0 if accuracy is None else len(accuracy),
        n_mixed_prompts=0 if accuracy is None else int(accuracy[1].between(1e-9, 1 - 1e-9).sum()),
        accuracy=None if accuracy is None else _mean(accuracy[1], PROPORTION),
        log_likelihood=_mean(log_likelihood[1], NEGATIVE),
        unfinished=float(1 - finished.mean()) if len(finished) else None,
        unreadable=unreadable,
    )


def _greedy(pool: Pool, accuracy: pd.DataFrame | None) -> schema.Greedy | None:
    if len(pool.greedy) == 0:
        return None
    correct = _greedy_correct(pool, accuracy)
    return schema.Greedy(
        accuracy=None if correct is None else _mean(correct, PROPORTION),
        log_likelihood=_mean(_greedy_log_likelihood(pool), NEGATIVE),
    )


def _greedy_log_likelihood(pool: Pool) -> pd.Series:
    """Of the greedy responses, by prompt_id; NaN in a pool without."""
    return pool.greedy.reindex(columns=["prompt_id", REWARD]).set_index("prompt_id")[REWARD].astype(float)


def _greedy_correct(pool: Pool, accuracy: pd.DataFrame | None) -> pd.Series | None:
    """Correctness of the greedy responses of graded prompts, by prompt_id; None if not known for any."""
    if accuracy is None or "correct" not in pool.greedy:
        return None
    correct = pool.greedy.set_index("prompt_id")["correct"].dropna().astype(float)
    correct = correct[correct.index.intersection(accuracy.index)]
    return correct if len(correct) else None


# What selection gains -------------------------------------------------------------------------------------------------


def _best_of_n(accuracy: pd.DataFrame | None, log_likelihood: pd.DataFrame) -> tuple[schema.BestOfN, ...]:
    n = log_likelihood.columns
    accuracies, over = [[None] * len(n)] * 2
    if accuracy is not None:
        accuracies = _means(accuracy, PROPORTION)
        over = _means(accuracy.sub(accuracy[1], axis=0), DIFFERENCE)
    return tuple(map(schema.BestOfN, map(int, n), accuracies, over, _means(log_likelihood, NEGATIVE)))


def _accuracies(table: pd.DataFrame) -> tuple[schema.Accuracy, ...]:
    return tuple(map(schema.Accuracy, map(int, table.columns), _means(table, PROPORTION)))


def _gain_over_sampling(accuracy: pd.DataFrame | None, log_likelihood: pd.DataFrame, reward: str) -> schema.Gain:
    over_one = lambda table, ends: _mean(table.iloc[:, -1] - table.iloc[:, 0], ends)  # noqa: E731
    # The best of several by log-likelihood has no less of it than one.
    ends = POSITIVE if reward == REWARD else ANY
    return schema.Gain(None if accuracy is None else over_one(accuracy, DIFFERENCE), over_one(log_likelihood, ends))


def _gain_over_greedy(pool: Pool, accuracy: pd.DataFrame | None, log_likelihood: pd.DataFrame) -> schema.Gain | None:
    if len(pool.greedy) == 0:
        return None
    greedy, correct = _greedy_log_likelihood(pool), _greedy_correct(pool, accuracy)
    greedy = greedy[greedy.index.intersection(log_likelihood.index)]
    return schema.Gain(
        accuracy=None if correct is None else _mean(accuracy.iloc[:, -1][correct.index] - correct, DIFFERENCE),
        log_likelihood=_mean(log_likelihood.iloc[:, -1][greedy.index] - greedy, ANY),
    )


def _peak(accuracy: pd.DataFrame) -> schema.Peak | None:
    """Where best-of-N is most accurate on the doubling grid, by an interval that holds for every N that could have been."""
    n = doubling_grid(int(accuracy.columns[-1]))
    means = accuracy[n].mean()
    best = int(means.idxmax())
    if means[best] <= means[n[-1]] + 1e-12:
        return None
    over = _mean(accuracy[best] - accuracy[n[-1]], DIFFERENCE, comparisons=len(n) - 1)
    return schema.Peak(best, float(means[best]), over)


def _rewards(
    graded: Pool, m: int, about: Reward | None, further: Sequence[Reward], seed: int
) -> tuple[schema.RewardCurve, ...]:
    """Every self-reward that the pool supports, the votes, and `further`; correctness itself is pass@N."""
    own = {reward.name: reward for reward in available(graded)}
    beside = {reward.name: reward for reward in [about, *further] if reward is not None and reward.name not in own}
    tables = accuracy_curves(graded, doubling_grid(m), further=list(beside.values()), seed=seed)
    tables.pop("correctness")
    first = None
    if about is not None:
        first = tables.pop(about.name)
        tables = {about.name: first, **tables}

    def over_reward(table: pd.DataFrame) -> list[Interval | None]:
        if first is None or table is first:
            return [None] * len(table.columns)
        return _means(table.loc[first.index] - first[table.columns], DIFFERENCE, comparisons=len(tables) - 1)

    def knows(name: str) -> Interval | None:
        reward = (own | beside).get(name)
        return None if reward is None else _interval(alignment.auc_within(graded, reward))

    curves = []
    for name, table in tables.items():
        n, sampled = list(map(int, table.columns)), table.attrs.get("sampled", {})
        points = zip(n, _means(table, PROPORTION), over_reward(table), map(sampled.get, n))
        curves.append(schema.RewardCurve(name, tuple(schema.RewardAccuracy(*point) for point in points), knows(name)))
    return tuple(curves)


def _prediction(graded: Pool, m: int) -> schema.Prediction | None:
    """Best-of-N at up to eight times the pool, and how well the same method does from a quarter of it."""
    if m < FEWEST_FOR_PREDICTION:
        return None
    n = m * 2 ** np.arange(4)
    predicted = _intervals(prediction.predicted_curve(graded, n))
    checks = prediction.calibration(graded)
    return schema.Prediction(
        curve=tuple(map(schema.Accuracy, map(int, n), predicted)),
        checks=tuple(
            schema.Check(
                int(row.n), float(row.predicted), float(row.measured), number(row.error), agrees=bool(row.agrees)
            )
            for row in checks.itertuples()
        ),
    )


# What likelihood knows ------------------------------------------------------------------------------------------------


def _alignment(graded: Pool, reward: Reward, further: Sequence[Reward], seed: int) -> schema.Alignment:
    within, pooled = (_dominance(graded, reward, within=within, seed=seed) for within in (True, False))
    found = alignment.alignment_levels(graded, seed=seed) if reward.name == REWARD else {}
    levels = {name: _interval(level) for name, level in found.items()}
    return schema.Alignment(
        within=_interval(alignment.auc_within(graded, reward)),
        pooled=_interval(alignment.auc_pooled(graded, reward, seed=seed)),
        levels=levels,
        dominance_within=within,
        dominance_pooled=pooled,
        efficiency=_efficiency(graded, [reward, *further], seed) if graded.sizes.max() > 1 else (),
    )


def _efficiency(graded: Pool, rewards: Sequence[Reward], seed: int) -> tuple[schema.RewardEfficiency, ...]:
    """Of what best-of-N selects by, and of correctness, which no reward surpasses."""
    by = [reward for reward in available(graded) if reward.selects or reward.name == "correctness"]
    unique = {reward.name: reward for reward in [*by, *rewards]}
    found = {name: reward_efficiency(graded, reward, seed=seed) for name, reward in unique.items()}
    return tuple(
        schema.RewardEfficiency(name, *(_interval(estimate) for estimate in vars(each).values()))
        for name, each in found.items()
    )


def _dominance(graded: Pool, reward: Reward, *, within: bool, seed: int) -> schema.Dominance | None:
    test = alignment.dominance(graded, reward, within=within, seed=seed)
    return None if test is None else schema.Dominance(**vars(test), holds=test.holds)


def _length(pool: Pool, graded: Pool | None, reward: Reward, ends: np.ndarray) -> schema.Length:
    lengths = curve(pool, reward, "length", np.unique(ends))
    over = _mean(lengths.iloc[:, -1] - lengths.iloc[:, 0], ANY)
    confounded = graded is not None and reward.name == REWARD
    found = alignment.length_confound(graded) if confounded else None
    confound = None
    if found is not None:
        values = {name: _interval(v) if isinstance(v, Estimate) else v for name, v in vars(found).items()}
        confound = schema.LengthConfound(**values)
    means = lengths.mean()
    return schema.Length(float(means.iloc[0]), float(means.iloc[-1]), over, confound)


# What the pool proves -------------------------------------------------------------------------------------------------


def _certified(pool: Pool, *, identified: bool) -> tuple[pd.DataFrame | None, certificate.HitRates | None, str | None]:
    """Certificate and, of responses that can be recognised, hit rates; or why the likelihoods allow neither."""
    if REWARD not in pool:
        return None, None, "the pool has no log-likelihoods"
    try:
        proved = certificate.coverage_certificate(pool)
        return proved, certificate.argmax_hit_rates(pool) if identified else None, None
    except UserError as refusal:
        return None, None, str(refusal)


def _coverage(proved: pd.DataFrame, identified: Pool | None) -> schema.Coverage:
    bound, log_p = certificate.c_cov_bar_bound(proved), proved["log_p_low"].to_numpy()
    return schema.Coverage(
        certified=float(proved["certified"].mean()),
        coefficient=Range(number(bound.low), number(bound.high)),
        log_coefficient_high=number(logsumexp(-log_p) - np.log(len(log_p))),
        at_least=number(bound.at_least),
        low_estimate=_interval(bound.low_estimate),
        high_estimate=_interval(bound.high_estimate),
        median_log_p=number(np.median(log_p)),
        undersampled=float(np.mean(log_p < -np.log(proved["n_samples"]))),
        renyi_2=None if identified is None else _renyi_2(identified),
    )


def _renyi_2(pool: Pool) -> Range:
    ends = power_certificate(pool, 2.0)[["renyi_low", "renyi_high"]].mean()
    return Range(*map(number, ends))


def _hit_rates(rates: certificate.HitRates) -> schema.HitRates:
    predicted = rates.law(rates.n)
    return schema.HitRates(
        n_prompts=len(rates.mass),
        n_samples=rates.n_samples,
        curve=tuple(map(schema.HitRate, map(int, rates.n), map(float, predicted), _intervals(rates.measured))),
        hits=rates.hits,
        expected=rates.expected,
        p_value=rates.p_value,
    )


def _answered(pool: Pool, *, likelihoods: bool) -> AnswerPolicy | None:
    """The answer policy, without likelihoods where they are refused; None if no sample has a vote."""
    if "answer" not in pool or not (pool["answer"].notna() & pool.finished).any():
        return None
    return answer_policy(pool, likelihoods=likelihoods)


def _plurality(answered: AnswerPolicy, pool: Pool) -> self_consistency.PluralityRates | None:
    """The law of the plurality by likelihoods or by votes, whichever says something of more prompts."""
    ways = ("likelihood", "votes") if answered.seen is not None else ("votes",)
    rates = [self_consistency.plurality_rates(pool, by=by) for by in ways]
    return max(filter(None, rates), key=lambda each: each.measured.n_prompts, default=None)


def _answers(
    answered: AnswerPolicy | None,
    pool: Pool,
    graded: Pool | None,
    plurality: self_consistency.PluralityRates | None,
) -> schema.Answers | None:
    if answered is None:
        return None
    table, counted = self_consistency.answer_certificate(answered), self_consistency.counted_coverage(pool)
    known = answered.seen is not None
    with np.errstate(over="ignore"):
        ends = [np.exp(-table[column].to_numpy()).mean() for column in ("log_p_high", "log_p_low")]
    margins = [np.median(table[column]) for column in ("margin_low", "margin_high")]
    limit = None
    if graded is not None:
        limit = _limit(answered if graded is pool else answer_policy(graded, likelihoods=known))
    return schema.Answers(
        voting=float(answered.votes.sum() / answered.samples.sum()),
        certified=float(table["certified"].mean()) if known else None,
        shown=float(table["shown"].mean()),
        coefficient=Range(*map(number, ends)) if known else None,
        at_least=float(counted.at_least),
        low_estimate=_interval(counted.low),
        high_estimate=_interval(counted.high),
        unrepeated=counted.unrepeated,
        median_margin=Range(*map(number, margins)) if known else None,
        limit_low=None if limit is None else _interval(limit.low_estimate),
        limit_high=None if limit is None else _interval(limit.high_estimate),
        limit_known=None if limit is None else limit.known,
        limit_by=None if limit is None else limit.by,
        law=None if plurality is None else _law(plurality),
    )


def _limit(graded: AnswerPolicy) -> self_consistency.LimitAccuracy:
    """The narrower of the bounds by votes and by likelihoods, where these are known."""
    ways = ("likelihood", "votes") if graded.seen is not None else ("votes",)
    limits = [self_consistency.limit_accuracy(graded, by=by) for by in ways]
    return min(limits, key=lambda limit: limit.high - limit.low)


def _law(rates: self_consistency.PluralityRates) -> schema.PluralityLaw:
    parts = map(float, rates.predicted), _intervals(rates.measured), _intervals(rates.difference)
    curve = tuple(map(schema.PluralityRate, map(int, rates.n), *parts))
    return schema.PluralityLaw(rates.by, rates.measured.n_prompts, rates.n_samples, curve)


def _cost(proved: pd.DataFrame, pool: Pool) -> tuple[schema.Cost, ...]:
    """The bounds' price of sharpening at both ends of the coverage coefficient, per unit of ``log(|Π|/ρ)``."""
    length = float(pool["length"].mean()) if "length" in pool else None
    sides = []
    for column in ("log_p_high", "log_p_low"):
        with np.errstate(over="ignore"):
            inverse = np.exp(-proved[column].to_numpy(dtype=float))
        coverage, worst = max(float(inverse.mean()), 1.0), float(inverse.max())
        sides.append(sharpening_cost(coverage, largest_inverse=worst, tokens_per_response=length))

    def between(low: dict, high: dict, key: str) -> Range | None:
        return None if low[key] is None else Range(number(low[key]), number(high[key]))

    amounts = ("prompts", "responses", "queries", "tokens")
    return tuple(
        schema.Cost(low["method"], low["source"], **{key: between(low, high, key) for key in amounts})
        for low, high in zip(*sides)
    )


# Estimates as numbers of a summary ------------------------------------------------------------------------------------


def _mean(per_prompt: pd.Series, ends: tuple[float, float], *, comparisons: int = 1) -> Interval:
    """Mean over prompts; with several `comparisons` its interval holds together with those of the others (Bonferroni)."""
    return _interval(mean_over_prompts(per_prompt, ends=ends, confidence=_together(comparisons)))


def _means(table: pd.DataFrame, ends: tuple[float, float], *, comparisons: int = 1) -> list[Interval]:
    """Mean over prompts of each column, likewise."""
    values = table.to_numpy(dtype=float)
    return _intervals(mean_over_prompts(values, ends=ends, confidence=_together(comparisons)))


def _together(comparisons: int) -> float:
    return 1 - (1 - CONFIDENCE) / comparisons


def _interval(estimate: Estimate) -> Interval:
    return Interval(*map(number, (estimate.value, estimate.low, estimate.high)), estimate.n_prompts)


def _intervals(estimate: Estimate) -> list[Interval]:
    """One interval for each entry of an array of estimates."""
    ends = zip(estimate.value, estimate.low, estimate.high)
    return [Interval(*map(number, each), estimate.n_prompts) for each in ends]
