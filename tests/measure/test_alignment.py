"""Does likelihood know: concordance at four levels, stochastic dominance, the length confound."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sharptheory.errors import UserError
from sharptheory.measure import alignment
from sharptheory.measure.alignment import (
    _auc_given_length,
    _differences,
    _sign_flips,
    across_methods,
    across_prompts,
    alignment_levels,
    auc_pooled,
    auc_within,
    concordance,
    dominance,
    length_confound,
    rank_sum,
    table_concordance,
)
from sharptheory.measure.best_of_n import curve
from sharptheory.measure.bootstrap import from_replicates, resampled, tail
from sharptheory.measure.pool import Pool
from sharptheory.measure.ranking import rank


def pool_of(score, correct, **columns) -> pd.DataFrame:
    """A pool from rectangles ``[X, M]``."""
    x, m = np.shape(score)
    rows = {"prompt_id": np.repeat(np.arange(x), m), "sample_id": np.tile(np.arange(m), x), "source": "model"}
    columns = {"log_likelihood": score, "correct": correct, **columns}
    return pd.DataFrame(rows | {name: np.ravel(values) for name, values in columns.items()})


def planted(within: float, *, x: int = 80, m: int = 30, seed: int = 0) -> pd.DataFrame:
    """Easy prompts have likelier responses; inside a prompt a correct one is likelier by `within` nats."""
    rng = np.random.default_rng(seed)
    easy = rng.normal(size=(x, 1))
    correct = rng.random((x, m)) < 1 / (1 + np.exp(-easy))
    return pool_of(-10 + 2 * easy + within * correct + rng.normal(size=(x, m)), correct)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_auc_is_mann_whitney(pairs):
    scores, correct = map(np.array, zip(*pairs))
    value = rank_sum(scores, correct)
    if correct.all() or not correct.any():
        assert np.isnan(value)
    else:
        u = stats.mannwhitneyu(scores[correct], scores[~correct]).statistic
        assert value == pytest.approx(u / (correct.sum() * (~correct).sum()))


def test_auc_weights_are_multiplicities():
    rng = np.random.default_rng(0)
    scores, correct, weights = rng.integers(0, 5, 40), rng.random(40) < 0.5, rng.integers(0, 4, 40)
    assert rank_sum(scores, correct, weights) == pytest.approx(
        rank_sum(np.repeat(scores, weights), np.repeat(correct, weights))
    )


def test_within_prompt_auc_is_not_confounded_by_prompt_difficulty():
    """Easy prompts have likelier responses, but inside a prompt likelihood knows nothing."""
    rng = np.random.default_rng(0)
    rows = []
    for x in range(60):
        easy = x % 2
        for i in range(40):
            rows.append((x, i, rng.normal(-5 if easy else -15) - 3, rng.random() < (0.9 if easy else 0.1)))
    pool = pd.DataFrame(rows, columns=["prompt_id", "sample_id", "log_likelihood", "correct"])
    within = auc_within(pool)
    pooled = auc_pooled(pool)
    assert within.low < 0.5 < within.high and within.n_prompts > 50
    assert pooled.low > 0.8 and pooled.low < pooled.value < pooled.high


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8))
def test_concordance_counts_pairs(rows):
    scores, values, weights = map(np.array, zip(*rows))
    total = agree = 0.0
    for i, (s, v, w) in enumerate(rows):
        for j, (t, u, z) in enumerate(rows):
            if i != j and v > u:
                total += w * z
                agree += w * z * (1.0 if s > t else 0.5 if s == t else 0.0)
    value = concordance(scores, values, weights)
    assert (np.isnan(value) and total == 0) or value == pytest.approx(agree / total)
    binary = values > 1
    np.testing.assert_allclose(concordance(scores, binary), rank_sum(scores, binary), equal_nan=True)


def test_four_levels_are_four_questions():
    """Likelihood that knows only which prompts are easy scores high across prompts and 1/2 within them."""
    ignorant, knowing = alignment_levels(planted(0.0)), alignment_levels(planted(2.0))
    assert set(knowing) == {"N of best-of-N", "prompts", "within a prompt"}
    assert ignorant["prompts"].low > 0.8 and ignorant["within a prompt"].low < 0.5 < ignorant["within a prompt"].high
    assert knowing["within a prompt"].low > 0.8 and knowing["N of best-of-N"].value == 1.0
    for level in (*ignorant.values(), *knowing.values()):
        assert np.isnan(level.low) or level.low <= level.value <= level.high


def test_methods_level_uses_what_the_pool_has():
    """Greedy decoding and a second reward make a level; its value is the concordance of the methods' means."""
    pool = planted(2.0).assign(length=7)
    greedy = pool[pool["sample_id"] == 0].assign(sample_id=-1, source="greedy", log_likelihood=-1.0, correct=True)
    levels = alignment_levels(pd.concat([greedy, pool]))
    assert levels["decoding methods"].value == 1.0
    rng = np.random.default_rng(0)
    score, value = rng.normal(size=(50, 4)), rng.random((50, 4))
    estimate = across_methods(score, value)
    assert estimate.value == concordance(score.mean(axis=0), value.mean(axis=0)) and estimate.low <= estimate.value


def test_an_order_that_no_resample_breaks_is_no_certainty():
    """The likelier method is right on every prompt, the likelier prompt the easier: all resamples say 1, none by how much."""
    pool = pd.DataFrame({"prompt_id": np.repeat(np.arange(30), 4), "correct": [True, True, False, False] * 30,
                         "log_likelihood": np.tile([-1.0, -2, -3, -4], 30) - np.repeat([0, 10], 60)})  # fmt: skip
    pool.loc[60:, "correct"] = [True, False, False, False] * 15
    methods = across_methods(np.tile([-1.0, -2.0, -3.0], (30, 1)), np.tile([1.0, 0.5, 0.0], (30, 1)))
    for estimate in (methods, alignment_levels(pool)["N of best-of-N"], across_prompts(pool)):
        assert estimate.value == 1.0 and estimate.n_prompts == 30 and np.isnan([estimate.low, estimate.high]).all()
    sorted_ = pool.assign(log_likelihood=pool["correct"].astype(float) - 2.0)
    assert auc_pooled(sorted_).value == 1.0 and np.isnan(auc_pooled(sorted_).low)
    assert auc_within(pool).low > 0.8, "counted prompt by prompt, where no exception of 30 leaves some room"


def test_methods_that_are_equal_up_to_rounding_are_equal():
    """0.1 + 0.2 is not 0.3: sums in another order are no order of methods."""
    score = np.array([[-0.1, -0.2, -9.0], [-0.2, -0.1, -9.0], [-0.3, -0.3, -9.0]])
    accuracy = np.array([[0.1, 0.3, 0.0], [0.2, 0.2, 0.0], [0.3, 0.1, 0.0]])
    assert len(set(accuracy.sum(axis=0)[:2])) == 2 and across_methods(score, accuracy).value == 1.0


def test_a_table_of_counts_has_the_concordance_of_what_it_counts():
    rng = np.random.default_rng(0)
    values, scores, weights = rng.integers(0, 4, 50), rng.integers(0, 6, 50), rng.integers(0, 3, 50)
    table = np.bincount(values * 6 + scores, weights, minlength=24).reshape(4, 6)
    assert table_concordance(table) == pytest.approx(float(concordance(scores, values, weights)), abs=1e-12)
    assert np.isnan(table_concordance([[1.0, 2.0], [0.0, 0.0]]))


def test_resamples_by_groups_are_those_of_every_pair(monkeypatch):
    """Pooled AUC on 3,000 different scores in 64 groups, and concordance over prompts without their pairs."""
    pool = Pool.from_frame(planted(0.5, x=100))
    weights = resampled(100, resamples=1_000, seed=0)
    scores, correct = pool.numbers("log_likelihood"), pool["correct"].to_numpy(dtype=bool)
    loop = [rank_sum(scores, correct, w[pool.prompt]) for w in weights[:200]]
    exact = from_replicates(rank_sum(scores, correct), np.array(loop), 100)
    monkeypatch.setattr(alignment, "CELLS", 8 * 100 * 64)  # few groups, and batches of resamples
    monkeypatch.setattr(alignment, "resampled_batches", lambda *_, **__: iter([weights[:50], weights[50:200]]))
    grouped = auc_pooled(pool)
    assert grouped.value == exact.value
    assert (grouped.low, grouped.high) == pytest.approx((exact.low, exact.high), abs=2e-4)
    monkeypatch.undo()
    pairs = across_prompts(pool)
    monkeypatch.setattr(alignment, "MANY_PROMPTS", 50)
    grouped = across_prompts(pool)
    assert grouped.value == pytest.approx(float(pairs.value), abs=1e-12)
    assert (grouped.low, grouped.high) == pytest.approx((pairs.low, pairs.high), abs=2e-3)


def test_nothing_to_compare_is_nan():
    pool = pool_of(np.zeros((3, 4)), np.ones((3, 4), dtype=bool))
    assert np.isnan(across_prompts(pool).value) and np.isnan(alignment_levels(pool)["within a prompt"].value)
    assert dominance(pool, within=True) is None and dominance(pool, within=False) is None
    assert np.isnan(across_methods(np.zeros((3, 2)), np.ones((3, 2))).value)


def test_dominance_is_found_where_it_is_planted():
    for within in (True, False):
        result = dominance(planted(1.0), within=within)
        assert result.holds and result.p_above < 0.01 and result.below < 0.02
    reverse = dominance(planted(-1.0), within=True)
    assert not reverse.holds and reverse.p_below < 0.01 and reverse.above < 0.02
    # Pooling sees dominance that is only prompt difficulty; within prompts there is none.
    assert dominance(planted(0.0), within=False).p_above < 0.05 < dominance(planted(0.0), within=True).p_above


def test_prompts_of_one_kind_say_nothing_within():
    pool = planted(1.0, x=8)
    alike = pool_of(np.full((3, 5), -1.0), np.tile([[True], [False], [True]], (1, 5))).assign(
        prompt_id=lambda frame: frame["prompt_id"] + 100
    )
    assert dominance(pd.concat([pool, alike]), within=True) == dominance(pool, within=True)
    assert dominance(alike, within=True) is None


def test_crossing_laws_do_not_dominate():
    """Same mean, wider spread: evidence on both sides."""
    rng = np.random.default_rng(0)
    correct = rng.random((80, 40)) < 0.5
    pool = pool_of(-20 + np.where(correct, 4.0, 1.0) * rng.normal(size=correct.shape), correct)
    result = dominance(pool, within=True)
    assert result.above > 0.1 and result.below > 0.1 and result.p_above < 0.01 and result.p_below < 0.01
    assert not result.holds


def rejections(n_prompts: int, *, within: bool, worlds: int, uneven: bool = False) -> np.ndarray:
    """How often each one-sided test rejects at 5 % where correctness has nothing to do with likelihood."""
    rejected = np.zeros(2)
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        rate = rng.beta(0.5, 0.5, size=(n_prompts, 1)) if uneven else 0.5
        score = 2 * rng.normal(size=(n_prompts, 1)) + rng.normal(size=(n_prompts, 20)) - 30
        result = dominance(pool_of(score, rng.random((n_prompts, 20)) < rate), within=within, resamples=300, points=64)
        if result is not None:
            rejected += (result.p_above < 0.05, result.p_below < 0.05)
    return rejected


def assert_level(rejected: np.ndarray, worlds: int) -> None:
    """At most 6.5 %, as far as so many worlds can tell."""
    assert np.all(rejected <= stats.binom.isf(1e-3, worlds, 0.065))


@pytest.mark.parametrize("within", [True, False])
def test_dominance_has_its_level_with_few_prompts(within):
    assert not rejections(3, within=within, worlds=20).any()  # no p-value of three prompts is below 1/8
    assert_level(rejections(6, within=within, worlds=80), 80)


@pytest.mark.slow
@pytest.mark.parametrize("n_prompts", [2, 4, 5, 6, 8, 10, 20, 40, 100])
@pytest.mark.parametrize("uneven", [True, False])
@pytest.mark.parametrize("within", [True, False])
def test_dominance_has_its_level(within, uneven, n_prompts):
    """Also where prompts differ in likelihood and in how often they are right."""
    rejected = rejections(n_prompts, within=within, worlds=500, uneven=uneven)
    assert_level(rejected, 500)
    if n_prompts >= 10:
        assert np.all(rejected > stats.binom.isf(1 - 1e-3, 500, 0.03))  # nor is power wasted


@pytest.mark.parametrize("within", [True, False])
def test_dominance_is_found_on_six_prompts(within):
    found = [dominance(planted(2.0, x=6, seed=seed), within=within).p_above for seed in range(20)]
    assert np.mean(np.array(found) < 0.05) > 0.6


def test_sign_flips_are_all_or_random(monkeypatch):
    signs = np.concatenate(list(_sign_flips(3, 100, 0)))
    assert sorted(map(tuple, signs)) == sorted(itertools.product([-1, 1], repeat=3)) and signs[0].tolist() == [1, 1, 1]
    signs = np.concatenate(list(_sign_flips(40, 100, 0, batch=16)), axis=1)
    assert signs.shape == (101, 40) and (signs[0] == 1).all() and set(np.unique(signs)) == {-1, 1}
    assert not np.array_equal(signs, np.concatenate(list(_sign_flips(40, 100, 1, batch=16)), axis=1))
    assert not np.array_equal(signs[:, :16], signs[:, 16:32])
    monkeypatch.setattr(alignment, "SIGNS", 5)  # how many are floats at a time changes none
    parts = list(_sign_flips(40, 100, 0, batch=16))
    assert max(part.shape[1] for part in parts) <= 5 and np.array_equal(np.concatenate(parts, axis=1), signs)


@pytest.mark.parametrize("within", [True, False])
def test_curves_of_the_prompts_average_to_the_difference_of_the_laws(within):
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 5, size=(2, 7, 9)).astype(float)
    cumulative = counts.cumsum(axis=2)
    pooled = cumulative.sum(axis=1) / counts.sum(axis=(1, 2))[:, None]
    laws = (cumulative / cumulative[..., -1:]).mean(axis=1) if within else pooled
    found = (
        _differences(cumulative).mean(axis=0)
        if within
        else _differences(cumulative, cumulative.sum(axis=1)).sum(axis=0)
    )
    np.testing.assert_allclose(found, laws[0] - laws[1], atol=1e-12)


def auc_coverage(n_prompts: int, worlds: int) -> np.ndarray:
    """How often the interval holds the AUC of infinitely many prompts, within them and pooled."""
    rng = np.random.default_rng(1)
    truth = [estimate.value for estimate in both_aucs(rng, 2_000)]
    held = np.zeros(2)
    for _ in range(worlds):
        held += [e.low <= t <= e.high for e, t in zip(both_aucs(rng, n_prompts), truth)]
    return held


def both_aucs(rng, n_prompts):
    correct = rng.random((n_prompts, 20)) < rng.beta(2, 2, size=(n_prompts, 1))
    better = 0.5 + 0.5 * rng.normal(size=(n_prompts, 1))
    score = rng.normal(size=(n_prompts, 1)) + better * correct + rng.normal(size=correct.shape) - 30
    pool = Pool.from_frame(pool_of(score, correct))
    return auc_within(pool), auc_pooled(pool, resamples=200 if n_prompts < 100 else 2)


def test_auc_intervals_hold_with_few_prompts():
    assert np.all(auc_coverage(4, 60) >= stats.binom.isf(1 - 1e-3, 60, 0.92))


@pytest.mark.slow
@pytest.mark.parametrize("n_prompts", [3, 5, 10, 20, 30])
def test_auc_intervals_cover(n_prompts):
    """Nominally 95 %; 92 % or more at any number of prompts."""
    assert np.all(auc_coverage(n_prompts, 600) >= stats.binom.isf(1 - 1e-3, 600, 0.93))


def test_an_auc_of_1_on_every_prompt_is_no_certainty():
    pool = pool_of(np.tile([-1.0, -2.0], (8, 1)), np.tile([True, False], (8, 1)))
    estimate = auc_within(pool)
    assert estimate.value == 1 and estimate.low == pytest.approx(0.025 ** (1 / 8)) and estimate.high == 1


def test_ungraded_samples_are_left_out_of_an_auc_and_ungraded_prompts_of_a_curve():
    pool = planted(1.0, x=6, m=8)
    correct = pool["correct"].astype(object)
    correct[(pool["prompt_id"] == 0) | (pool.index == 9)] = None
    known = pool[correct.notna()]
    for function in (auc_within, auc_pooled):
        assert function(pool.assign(correct=correct)).value == function(known).value
    assert curve(pool.assign(correct=correct), "log_likelihood", "correct", [1, 8]).index.tolist() == [2, 3, 4, 5]


def test_length_confound_is_found_and_removed():
    """Likelihood that is only brevity: high AUC, none of it left at equal lengths, and adjusting undoes the choice."""
    rng = np.random.default_rng(0)
    length = rng.integers(5, 40, size=(100, 40))
    correct = rng.random(length.shape) < np.where(length < 15, 0.7, 0.3)
    pool = pool_of(-0.8 * length + 0.1 * rng.normal(size=length.shape), correct, length=length)
    found = length_confound(pool)
    assert found.correlation.high < -0.9 and found.auc.low > 0.6 and found.slope == pytest.approx(-0.8, abs=0.01)
    assert found.auc_given_length.value < 0.55 and found.n_prompts > 90
    assert found.accuracy.value > found.accuracy_adjusted.value + 0.1


def test_length_that_does_not_matter_changes_nothing():
    pool = planted(2.0)
    assert length_confound(pool.assign(length=9)) is None
    rng = np.random.default_rng(1)
    found = length_confound(pool.assign(length=rng.integers(21, 23, len(pool))))
    assert found.auc_given_length.value == pytest.approx(found.auc.value, abs=1e-12)  # 21 and 22 are similar lengths
    assert abs(found.accuracy.value - found.accuracy_adjusted.value) < 0.05


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3), st.booleans()), min_size=2, max_size=15))
def test_auc_at_equal_length_counts_pairs_of_similar_length(rows):
    length, score, correct = map(np.array, zip(*rows))
    pairs = [
        (np.sign(s - t) + 1) / 2
        for (a, s, right), (b, t, wrong) in itertools.product(rows, rows)
        if right and not wrong and max(a, b) <= 1.1 * max(min(a, b), 1) + 1e-9
    ]
    [value] = _auc_given_length(rank(score.astype(float), np.array([0, len(rows)])), length, correct)
    assert value == pytest.approx(np.mean(pairs)) if pairs else np.isnan(value)


def test_scores_that_cannot_be_ranked_are_refused():
    for scores, correct in (([np.nan, 1.0], [1, 0]), ([1.0, 2.0], [1]), ([[1.0]], [[1]])):
        with pytest.raises(UserError, match=r"scores .*, correct .*; expected numbers and booleans"):
            rank_sum(scores, correct)
    with pytest.raises(UserError, match=r"log_likelihood \(2, 3\), accuracy \(2, 2\); expected both"):
        across_methods(np.ones((2, 3)), np.ones((2, 2)))
    pool = pd.DataFrame({"prompt_id": 0, "log_likelihood": [-1.0, -2.0], "correct": [True, False]})
    for wrong in (dict(points=1), dict(resamples=0)):
        with pytest.raises(UserError, match="expected an integer"):
            dominance(pool, within=True, **wrong)


def test_intervals_of_levels_are_those_of_resampled_prompts():
    """By a loop over the same resamples; with two prompts there is an interval, with one there is none."""
    rng = np.random.default_rng(0)
    pool = pd.DataFrame({"prompt_id": np.repeat(np.arange(12), 4), "log_likelihood": -rng.exponential(size=48),
                         "correct": rng.random(48) < 0.5})  # fmt: skip
    means = pool.groupby("prompt_id").mean()
    weights = resampled(12, resamples=1_000, seed=3)
    loop = [
        concordance(*(means[c].to_numpy().repeat(w.astype(int)) for c in ("log_likelihood", "correct")))
        for w in weights
    ]
    found = across_prompts(pool, seed=3)
    assert (found.low, found.high) == pytest.approx(tuple(np.nanquantile(loop, [tail(12), 1 - tail(12)])))
    assert found.n_prompts == 12 and found.low < found.value < found.high
    pooled = [auc_pooled(pool[pool["prompt_id"] < n]) for n in (2, 1)]
    assert pooled[0].low <= pooled[0].value <= pooled[0].high and pooled[0].n_prompts == 2
    assert np.isnan([pooled[1].low, pooled[1].high]).all() and pooled[1].n_prompts == 1


def test_levels_are_those_that_a_pool_supports():
    """Three methods and three N at least: one sample and the best by likelihood are two, and 1 and 2 are two N."""
    pool = pd.DataFrame({"prompt_id": np.repeat([0, 1], 4), "log_likelihood": [-1.0, -2, -3, -4] * 2, "source": "model",
                         "correct": [True, False, True, False] * 2})  # fmt: skip
    greedy = pd.DataFrame({"prompt_id": [0, 1], "log_likelihood": -0.5, "source": "greedy", "correct": [True, False]})
    assert set(alignment_levels(pool)) == {"N of best-of-N", "prompts", "within a prompt"}
    assert "decoding methods" in alignment_levels(pd.concat([pool, greedy]))
    for other in (greedy.iloc[:1], greedy.drop(columns="correct"), greedy.assign(correct=None)):
        assert "decoding methods" not in alignment_levels(pd.concat([pool, other]))
    assert "N of best-of-N" not in alignment_levels(pool[pool.index % 4 < 2])


def test_ranks_of_prompts_with_more_samples_weigh_no_more():
    """Shares, not counts: four and eight samples, right in their upper halves, have one curve, with a step at 1/2."""
    pool = pd.concat([pd.DataFrame({"prompt_id": m, "log_likelihood": np.arange(m) - 20.0, "correct": np.arange(m) >= m / 2})
                      for m in (4, 8)])  # fmt: skip
    assert dominance(pool, within=True).above == 1.0


def test_scores_without_order_correlate_with_no_length():
    pool = pd.DataFrame({"prompt_id": [0, 0, 1, 1], "log_likelihood": [-1.0, -1, -1, -2], "length": [1, 2, 1, 2],
                         "correct": [True, False] * 2})  # fmt: skip
    found = length_confound(pool)
    assert (float(found.correlation.value), found.correlation.n_prompts) == (-1.0, 1)


def test_one_greedy_response_is_a_method_of_one_prompt():
    pool = pd.DataFrame({"prompt_id": 0, "log_likelihood": [-1.0, -2, -3], "correct": [True, False, False],
                         "source": ["model", "model", "greedy"]})  # fmt: skip
    assert float(alignment_levels(pool)["decoding methods"].value) == 1.0
