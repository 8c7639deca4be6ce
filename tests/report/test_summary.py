"""The numbers of a summary: by hand on a small pool, by another route on a larger one."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sharptheory.errors import UserError
from sharptheory.measure import alignment, certificate, prediction
from sharptheory.measure.best_of_n import curve
from sharptheory.measure.bootstrap import DIFFERENCE, PROPORTION, Estimate, mean_over_prompts
from sharptheory.measure.pool import Pool
from sharptheory.measure.rewards import Reward
from sharptheory.report import schema
from sharptheory.report.findings import findings
from sharptheory.report.schema import Interval
from sharptheory.report.summary import curve_grid, diagnose
from sharptheory.theory import bounds
from tests.conftest import pool_from_table
from tests.report.pools import LIKELY, UNLIKELY, hand_pool, table_pool


def test_by_hand():
    """Eight prompts, two samples: likely right on seven, greedy (the unlikely response) right on two."""
    summary = diagnose(hand_pool()).summary
    sampling, (one, two) = summary.sampling, summary.best_of_n
    assert (sampling.n_prompts, sampling.n_samples, sampling.n_samples_max, sampling.n_responses) == (8, 2, 2, 16)
    assert sampling.n_graded_prompts == 8 and sampling.unfinished is None and sampling.unreadable == {}
    assert (one.n, two.n) == (1, 2)
    ends = lambda interval: (interval.low, interval.value, interval.high)  # noqa: E731
    assert ends(sampling.accuracy) == pytest.approx(ends(one.accuracy)) and one.accuracy.value == pytest.approx(7 / 16)
    assert two.accuracy.value == pytest.approx(7 / 8) and two.accuracy.n_prompts == 8
    assert [point.accuracy.value for point in summary.pass_at_n] == pytest.approx([7 / 16, 7 / 8])
    assert summary.greedy.accuracy.value == pytest.approx(2 / 8)
    assert summary.greedy.log_likelihood.value == pytest.approx(np.log(UNLIKELY))
    assert one.log_likelihood.value == pytest.approx((np.log(LIKELY) + np.log(UNLIKELY)) / 2)
    assert two.log_likelihood.value == pytest.approx(np.log(LIKELY))


def test_a_pool_without_samples_is_refused():
    pool = Pool.from_frame(hand_pool())
    with pytest.raises(UserError, match="the pool has no samples"):
        diagnose(pool.take([False] * len(pool.samples)))


@pytest.mark.parametrize("m", [2, 3, 7, 10, 30])
def test_prompts_on_which_selection_matters_are_counted(m):
    """Of three kinds of prompts; means of ones are one up to rounding."""
    right = np.concatenate([np.ones(m), np.zeros(m), np.arange(m) == 0])
    pool = pd.DataFrame(
        {"prompt_id": np.repeat(range(3), m), "log_likelihood": -1.0 - np.arange(3 * m) % m, "correct": right}
    )
    sampling = diagnose(pool).summary.sampling
    assert sampling.n_mixed_prompts == 1 and sampling.n_graded_prompts == 3


def test_gains_by_hand():
    summary = diagnose(hand_pool()).summary
    assert summary.gain_over_sampling.accuracy.value == pytest.approx(7 / 16)
    assert summary.gain_over_sampling.log_likelihood.value == pytest.approx(np.log(LIKELY / UNLIKELY) / 2)
    assert summary.gain_over_greedy.accuracy.value == pytest.approx(5 / 8)
    assert summary.gain_over_greedy.log_likelihood.value == pytest.approx(np.log(LIKELY / UNLIKELY))
    hurt = diagnose(hand_pool(likely_right=0, unlikely_right=7, greedy_right=6)).summary
    assert hurt.gain_over_sampling.accuracy.value == pytest.approx(-7 / 16)
    assert hurt.gain_over_greedy.accuracy.value == pytest.approx(-6 / 8)
    assert hurt.alignment.within.value == 0.0 and summary.alignment.within.value == 1.0


def test_coverage_by_hand():
    """``p* ∈ [.3, .6]`` on every prompt; the confidence bound drops a mass of ``√(log 20/16)`` to 1."""
    coverage = diagnose(hand_pool()).summary.coverage
    assert coverage.certified == 0.0 and coverage.undersampled == 1.0
    assert coverage.coefficient.low == pytest.approx(1 / 0.6) and coverage.coefficient.high == pytest.approx(1 / 0.3)
    assert coverage.log_coefficient_high == pytest.approx(-np.log(0.3)) == pytest.approx(-coverage.median_log_p)
    assert coverage.at_least == pytest.approx(1 + (1 - np.sqrt(np.log(20) / 16)) * (1 / 0.6 - 1))
    assert coverage.low_estimate.value == pytest.approx(1 / 0.6)
    assert coverage.high_estimate.value == pytest.approx(1 / 0.3)


def test_lengths_by_hand():
    length = diagnose(hand_pool()).summary.length
    assert (length.sampled, length.best_of_n) == (3.0, 2.0)
    assert length.confound.correlation.value == pytest.approx(-1.0)


def test_numbers_by_another_route():
    pool = table_pool(aligned=0.6)
    summary = diagnose(pool).summary
    assert [point.n for point in summary.best_of_n] == list(range(1, 33))
    assert summary.sampling.accuracy.value == pytest.approx(pool["correct"].mean())
    assert summary.best_of_n[0].log_likelihood.value == pytest.approx(pool["log_likelihood"].mean())
    top = pool.loc[pool.groupby("prompt_id")["log_likelihood"].idxmax()]
    assert summary.best_of_n[-1].accuracy.value == pytest.approx(top["correct"].mean())
    any_right = pool.groupby("prompt_id")["correct"].any().mean()
    assert summary.pass_at_n[-1].accuracy.value == pytest.approx(any_right)
    own = summary.rewards[0]
    assert own.name == "log_likelihood" and own.over_reward is None
    assert [point.n for point in own.curve] == [1, 2, 4, 8, 16, 32]
    assert own.curve[-1].accuracy.value == pytest.approx(top["correct"].mean())
    assert [point.n for point in summary.prediction.curve] == [32, 64, 128, 256]


def test_rewards_are_compared_prompt_by_prompt():
    """Right on a superset of the prompts: better for sure, though both accuracies' intervals overlap."""
    pool = hand_pool(n_prompts=20, likely_right=10, unlikely_right=0).query("source != 'greedy'")
    second = pool["response"] == "b"
    pool.loc[second, "correct"] = pool.loc[second, "prompt_id"].between(10, 15)
    knows = Reward("knows", lambda pool: pool["correct"].astype(float))
    summary = diagnose(pool, rewards=[knows]).summary
    curves = {reward.name: reward for reward in summary.rewards}
    assert set(curves) == {"log_likelihood", "length_normalized", "knows"}
    own, better = curves["log_likelihood"].curve[-1].accuracy, curves["knows"].curve[-1].accuracy
    assert own.value == pytest.approx(0.5) and better.value == pytest.approx(0.8) and better.low < own.high
    assert curves["knows"].over_reward.value == pytest.approx(0.3)
    assert curves["knows"].over_reward.direction() == 1
    normalized = curves["length_normalized"]  # log .1 / 4 > log .3 / 2: it prefers the long response
    assert normalized.over_reward.value == pytest.approx(-0.2)


def test_comparisons_hold_together():
    """With more rewards each interval is wider."""
    pool = hand_pool(n_prompts=30, likely_right=15).drop(columns="length").query("source != 'greedy'")
    reward = lambda name: Reward(name, lambda pool: pool["response"] == "b")  # noqa: E731
    widths = []
    for names in (["one"], ["one", "two", "three", "four", "five"]):
        one = diagnose(pool, rewards=[reward(name) for name in names]).summary.rewards[1]
        assert one.name == "one"
        widths.append(one.over_reward.high - one.over_reward.low)
    assert widths[1] > widths[0]


def peaked(n_prompts: int, *, others: int) -> pd.DataFrame:
    """Sixteen samples: the likeliest is wrong, the next eight right, the rest wrong; on `others` prompts all are right."""
    rank = np.tile(np.arange(16), n_prompts + others)
    prompt = np.repeat(np.arange(n_prompts + others), 16)
    right = ((rank >= 1) & (rank <= 8)) | (prompt >= n_prompts)
    return pd.DataFrame({"prompt_id": prompt, "log_likelihood": -5.0 - rank, "correct": right})


def test_a_peak_by_hand():
    """``(C(15,N) - C(7,N))/C(16,N)`` is largest at N = 4 among powers of two: 1330/1820; at N = 16 nothing is right."""
    peak = diagnose(peaked(20, others=0)).summary.peak
    assert peak.n == 4 and peak.accuracy == pytest.approx(1330 / 1820)
    assert peak.over_last.value == pytest.approx(1330 / 1820) and peak.over_last.direction() == 1


def test_a_peak_on_a_few_prompts_is_no_evidence():
    peak = diagnose(peaked(2, others=38)).summary.peak
    assert peak.over_last.value > 0.02 and peak.over_last.direction() == 0
    assert diagnose(peaked(0, others=10)).summary.peak is None


def test_no_limit_of_a_difference_in_accuracy_is_beyond_what_it_can_be():
    """Two prompts, one gained and one lost: Student's interval alone would be ± 6.2."""
    pool = pd.DataFrame({"prompt_id": [0, 0, 1, 1], "log_likelihood": [-1.0, -2.0] * 2, "correct": [1, 0, 0, 1]})
    gain = diagnose(pool).summary.gain_over_sampling.accuracy
    assert (gain.value, gain.low, gain.high) == (0.0, -1.0, 1.0)


def test_partly_graded_pool():
    pool = table_pool(aligned=1.0, n_prompts=10, m=4)
    pool.loc[pool["prompt_id"] < 3, "correct"] = pd.NA
    summary = diagnose(pool).summary
    assert summary.sampling.n_graded_prompts == 7 and summary.sampling.n_prompts == 10
    assert summary.best_of_n[-1].accuracy.n_prompts == 7 and summary.best_of_n[-1].log_likelihood.n_prompts == 10


def test_no_prompt_graded_throughout_leaves_correctness_out():
    pool = table_pool(aligned=1.0, n_prompts=5, m=4)
    pool.loc[pool["sample_id"] == 0, "correct"] = pd.NA
    summary = diagnose(pool).summary
    assert (
        summary.sampling.n_graded_prompts == 0 and summary.pass_at_n is None and summary.best_of_n[-1].accuracy is None
    )


def test_greedy_is_compared_on_the_prompts_that_have_it():
    """Greedy on three prompts only: best-of-2 is right there, greedy on one."""
    pool = hand_pool(greedy_right=1)
    pool = pool[(pool["source"] != "greedy") | (pool["prompt_id"] < 3)]
    summary = diagnose(pool).summary
    assert summary.greedy.accuracy.value == pytest.approx(1 / 3) and summary.greedy.accuracy.n_prompts == 3
    assert summary.gain_over_greedy.accuracy.value == pytest.approx(2 / 3)
    assert summary.gain_over_greedy.log_likelihood.n_prompts == 3


def test_likelihoods_that_add_up_to_more_than_one_leave_coverage_out():
    diagnosis = diagnose(hand_pool().assign(log_likelihood=-0.1))
    summary = diagnosis.summary
    assert "total probability of 1.81 > 1" in summary.coverage_refused and diagnosis.certificate is None
    assert (summary.coverage, summary.hit_rates, summary.prediction, summary.cost) == (None, None, None, ())
    assert summary.best_of_n[-1].accuracy.value == pytest.approx(7 / 16)  # a tie


def test_responses_without_text_or_tokens_leave_out_what_counts_them():
    """Bounds of p* stay; hit rates and the prediction go, and the report says why."""
    pool = table_pool(aligned=1.0)
    known, diagnosis = diagnose(pool).summary, diagnose(pool.drop(columns="tokens"))
    summary = diagnosis.summary
    assert known.unidentified is None and known.prediction is not None and known.hit_rates is not None
    assert summary.unidentified.startswith(
        "column 'response' or 'tokens' is missing; the pool has prompt_id, sample_id"
    )
    assert (summary.prediction, summary.hit_rates, summary.coverage_refused) == (None, None, None)
    assert summary.coverage == replace(known.coverage, renyi_2=None) and summary.cost == known.cost
    assert summary.best_of_n == known.best_of_n and summary.alignment == known.alignment
    assert findings(summary)["theory"] == (
        f"The test of the exact law and the prediction beyond the pool are left out: {summary.unidentified}."
    )


def test_unfinished_share():
    pool = table_pool(aligned=1.0, n_prompts=5, m=4)
    assert diagnose(pool.assign(finished=np.arange(len(pool)) % 10 != 0)).summary.sampling.unfinished == pytest.approx(
        0.1
    )
    assert diagnose(pool.drop(columns="finished")).summary.sampling.unfinished is None


def test_unreadable_shares():
    pool = table_pool(aligned=1.0, n_prompts=5, m=4)
    reason = np.where(np.arange(len(pool)) % 4 == 0, "no answer", None)
    assert diagnose(pool.assign(unreadable=reason)).summary.sampling.unreadable == {"no answer": 0.25}


def test_the_pool_may_be_either_type_and_is_left_as_it_is():
    frame = hand_pool()
    before = frame.copy()
    assert diagnose(frame).summary == diagnose(Pool.from_frame(frame)).summary
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("m", [65, 130, 256, 600])
def test_any_number_of_samples_is_diagnosed(m):
    summary = diagnose(table_pool(aligned=1.0, n_prompts=6, m=m)).summary
    assert summary.best_of_n[-1].n == summary.pass_at_n[-1].n == m


def test_curve_grid():
    assert curve_grid(5).tolist() == [1, 2, 3, 4, 5]
    large = curve_grid(10_000)
    assert large[0] == 1 and large[-1] == 10_000 and len(large) < 140 and np.all(np.diff(large) > 0)


def test_costs_are_the_bounds_at_both_ends_of_the_coverage_coefficient():
    summary = diagnose(hand_pool()).summary  # three tokens per response
    sft, adaptive, rlhf = summary.cost
    common = dict(eps=0.1, delta=0.1, rho=1.0, log_class=1.0)
    for end, coverage in (("low", 1 / 0.6), ("high", 1 / 0.3)):
        queries = getattr(sft.queries, end)
        assert queries == bounds.sft_cost(**common, coverage=coverage).queries
        assert getattr(sft.tokens, end) == 3 * queries
    assert sft.queries.low < sft.queries.high and adaptive.queries.high < sft.queries.high / 5
    assert rlhf.responses.low == 2 and rlhf.prompts.low < rlhf.prompts.high


# Every interval -------------------------------------------------------------------------------------------------------


def assert_is(found: Interval, estimate: Estimate, *, within: float = np.inf) -> None:
    """The same value and limits, cut to what the quantity can be, and the number of prompts."""
    assert found.n_prompts == estimate.n_prompts
    assert found.value == pytest.approx(float(estimate.value))
    ends = np.clip([float(estimate.low), float(estimate.high)], -within, within)
    assert [found.low, found.high] == pytest.approx(ends.tolist())


RIGHT = np.array([1.0] * 7 + [0.0])
#: Of each prompt of `hand_pool`: accuracy of one sample and of the best of two, whether greedy decoding is right.
ONE, TWO, GREEDY = RIGHT / 2, RIGHT, np.array([1.0] * 2 + [0.0] * 6)


def test_every_interval_is_that_of_its_values_on_each_prompt():
    """Another seed than the default, which has to arrive everywhere."""
    summary = diagnose(hand_pool(), seed=3).summary
    of = lambda values, **options: mean_over_prompts(np.asarray(values, dtype=float), **options)  # noqa: E731
    assert_is(summary.sampling.accuracy, of(ONE, ends=PROPORTION))
    assert_is(summary.greedy.accuracy, of(GREEDY, ends=PROPORTION))
    for points in (summary.best_of_n, summary.pass_at_n, summary.rewards[0].curve):
        for point, values in zip(points, (ONE, TWO), strict=True):
            assert_is(point.accuracy, of(values, ends=PROPORTION))
    assert_is(summary.gain_over_sampling.accuracy, of(TWO - ONE, ends=DIFFERENCE))
    assert_is(summary.gain_over_greedy.accuracy, of(TWO - GREEDY, ends=DIFFERENCE))
    assert_is(summary.rewards[1].over_reward, of(-TWO, ends=DIFFERENCE))  # per token the unlikely one is preferred
    assert summary.gain_over_greedy.accuracy.n_prompts == 8 and summary.gain_over_greedy.accuracy.low < 5 / 8


def test_likelihoods_have_the_interval_of_their_prompts():
    pool = table_pool(aligned=0.7, n_prompts=12, m=16)
    greedy = pool.drop_duplicates("prompt_id").assign(sample_id=-1, source="greedy")
    greedy.loc[greedy["prompt_id"] == 3, "correct"] = pd.NA
    whole = Pool.from_frame(pd.concat([pool, greedy]))
    summary = diagnose(whole, seed=3).summary
    by_n = curve(whole, "log_likelihood", "log_likelihood", range(1, 17))
    correct = curve(whole, "log_likelihood", "correct", range(1, 17))
    of = lambda values, **options: mean_over_prompts(values.to_numpy(dtype=float), **options)  # noqa: E731
    own = whole.greedy.set_index("prompt_id")
    assert_is(summary.sampling.log_likelihood, of(by_n[1]))
    assert_is(summary.greedy.log_likelihood, of(own["log_likelihood"]))
    assert_is(summary.gain_over_sampling.log_likelihood, of(by_n[16] - by_n[1]))
    assert_is(summary.gain_over_greedy.log_likelihood, of(by_n[16] - own["log_likelihood"]))
    for point in summary.best_of_n:
        assert_is(point.log_likelihood, of(by_n[point.n]))
        assert_is(point.accuracy, of(correct[point.n], ends=PROPORTION))
    known = own["correct"].drop(3).astype(float)
    assert_is(summary.greedy.accuracy, of(known, ends=PROPORTION))
    assert_is(summary.gain_over_greedy.accuracy, of(correct[16].drop(3) - known, ends=DIFFERENCE))


def test_what_likelihood_knows_is_as_estimated():
    pool = Pool.from_frame(
        table_pool(aligned=0.7, n_prompts=40, m=8).assign(length=lambda pool: pool["sample_id"] % 3 + 1)
    )
    # Grades by chance: concordances of many values, whose quantiles depend on the seed.
    pool = Pool.from_frame(pool.samples.assign(correct=np.random.default_rng(0).random(len(pool.samples)) < 0.5))
    found = diagnose(pool, seed=3).summary.alignment
    assert_is(found.within, alignment.auc_within(pool))
    assert_is(found.pooled, alignment.auc_pooled(pool, seed=3))
    levels = alignment.alignment_levels(pool, seed=3)
    assert list(found.levels) == list(levels)
    for name, level in levels.items():
        assert_is(found.levels[name], level)
    for dominance, within in ((found.dominance_within, True), (found.dominance_pooled, False)):
        test = alignment.dominance(pool, within=within, seed=3)
        assert dominance == schema.Dominance(
            test.above, test.p_above, test.below, test.p_below, test.n_prompts, test.holds
        )
    confound, expected = diagnose(pool, seed=3).summary.length.confound, alignment.length_confound(pool)
    for name in ("correlation", "auc", "auc_given_length", "accuracy", "accuracy_adjusted"):
        assert_is(getattr(confound, name), getattr(expected, name))
    assert (confound.slope, confound.n_prompts) == (expected.slope, expected.n_prompts)


def test_a_prediction_is_as_estimated_with_its_checks():
    pool = Pool.from_frame(table_pool(aligned=0.7, n_prompts=12, m=16))
    found = diagnose(pool, seed=3).summary.prediction
    assert [point.n for point in found.curve] == [16, 32, 64, 128]
    predicted = prediction.predicted_curve(pool, [16, 32, 64, 128])
    for i, point in enumerate(found.curve):
        assert_is(point.accuracy, Estimate(predicted.value[i], predicted.low[i], predicted.high[i], 12))
    checks = prediction.calibration(pool)
    assert set(checks["agrees"]) == {True, False}
    assert [(check.n, check.predicted, check.measured, check.error, check.agrees) for check in found.checks] == [
        (row.n, row.predicted, row.measured, row.error, row.agrees) for row in checks.itertuples()
    ]
    assert diagnose(table_pool(aligned=0.7, n_prompts=12, m=7)).summary.prediction is None


def test_coverage_and_hit_rates_are_as_certified():
    """Half of the prompts have one response of .9 and are certified; the others are left open."""
    probs = np.array([[0.9, 0.1, 0.0]] * 6 + [[0.4, 0.35, 0.25]] * 6)
    pool = Pool.from_frame(pool_from_table(probs, 4, np.random.default_rng(1)))
    diagnosis = diagnose(pool, seed=3)
    proved, rates = certificate.coverage_certificate(pool), certificate.argmax_hit_rates(pool)
    bound, coverage = certificate.c_cov_bar_bound(proved), diagnosis.summary.coverage
    assert coverage.certified == proved["certified"].mean() and 0.5 <= coverage.certified < 1
    assert (coverage.coefficient.low, coverage.coefficient.high) == (bound.low, bound.high)
    assert coverage.at_least == bound.at_least and coverage.coefficient.low < coverage.coefficient.high
    assert_is(coverage.low_estimate, bound.low_estimate)
    assert_is(coverage.high_estimate, bound.high_estimate)
    assert coverage.log_coefficient_high == pytest.approx(np.log(bound.high))
    assert coverage.median_log_p == np.median(proved["log_p_low"])
    assert coverage.undersampled == np.mean(np.exp(proved["log_p_low"]) < 1 / 4)
    found = diagnosis.summary.hit_rates
    assert (found.n_prompts, found.n_samples, len(found.outside)) == (
        len(rates.mass),
        rates.n_samples,
        rates.disagreements(),
    )
    assert (found.hits, found.expected, found.p_value) == (rates.hits, rates.expected, rates.p_value)
    assert [point.n for point in found.curve] == [1, 2] and found.n_samples == 2 * found.n_prompts
    for i, point in enumerate(found.curve):
        assert point.predicted == pytest.approx(np.mean(1 - (1 - rates.mass) ** point.n))
        assert point.measured.value == pytest.approx(rates.measured.value[i])
        assert (point.measured.low, point.measured.high) == (rates.measured.low[i], rates.measured.high[i])
    pd.testing.assert_frame_equal(diagnosis.certificate, proved)


def test_provenance_is_kept_as_it_is():
    assert diagnose(hand_pool(), provenance={"model": "m", "seed": 0}).summary.provenance == {"model": "m", "seed": 0}
    assert diagnose(hand_pool()).summary.provenance == {}


def test_a_peak_is_compared_with_every_other_n_at_once():
    """On 40 prompts with a peak and 10 of another kind: with four comparisons each limit is at 1 - .05/4."""
    pool = pd.concat([peaked(40, others=0), peaked(0, others=10).assign(prompt_id=lambda pool: pool["prompt_id"] + 40)])
    peak = diagnose(pool, seed=3).summary.peak
    values = np.array([1330 / 1820] * 40 + [0.0] * 10)
    assert peak.n == 4 and peak.accuracy == pytest.approx(0.8 * 1330 / 1820 + 0.2)
    assert_is(peak.over_last, mean_over_prompts(values, ends=DIFFERENCE, confidence=1 - 0.05 / 4))


def test_uneven_pools_are_counted():
    pool = hand_pool(n_prompts=3).drop(index=1).drop(columns="length")  # the likely response of the first prompt
    sampling = diagnose(pool).summary.sampling
    assert (sampling.n_prompts, sampling.n_samples, sampling.n_samples_max, sampling.n_responses) == (3, 1, 2, 5)


def test_every_number_of_responses_has_a_place_on_the_grid():
    assert curve_grid(64).tolist() == list(range(1, 65)) and curve_grid(1).tolist() == [1]
    assert curve_grid(65).tolist() == list(range(1, 66))
    grid = curve_grid(1_000)
    assert grid.tolist() == curve_grid(1_000, points=64).tolist() != curve_grid(1_000, points=65).tolist()
    assert set(range(1, 65)) | {128, 256, 512, 1_000} <= set(grid) and 110 < len(grid) <= 132 and max(grid) == 1_000
    assert max(np.diff(np.log(grid[64:]))) < 0.06 and curve_grid(9, points=4).tolist() == [1, 2, 3, 4, 5, 7, 8, 9]


def test_greedy_grades_count_only_beside_graded_samples():
    """One sample of each prompt is of unknown correctness, its greedy response is not."""
    pool = hand_pool()
    pool["correct"] = pool["correct"].astype("boolean")
    pool.loc[pool["response"].eq("a") & pool["source"].ne("greedy"), "correct"] = pd.NA
    summary = diagnose(pool).summary
    assert summary.greedy.accuracy is None and summary.gain_over_greedy.accuracy is None
    assert summary.greedy.log_likelihood.value == pytest.approx(np.log(UNLIKELY))


def test_differences_between_rewards_hold_together_by_prompt():
    """Three rewards beside log-likelihood: each limit at 1 - .05/3."""
    pool = Pool.from_frame(
        table_pool(aligned=0.6, n_prompts=15, m=8).assign(length=lambda pool: pool["sample_id"] % 3 + 1)
    )
    one, other = Reward("one", lambda pool: -pool["sample_id"]), Reward("other", lambda pool: pool["sample_id"] % 5)
    found = {reward.name: reward for reward in diagnose(pool, rewards=[one, other], seed=3).summary.rewards}
    assert list(found) == ["log_likelihood", "length_normalized", "one", "other"]
    own = curve(pool, "log_likelihood", "correct", [8])[8]
    for reward in (one, other):
        values = curve(pool, reward, "correct", [8])[8] - own
        expected = mean_over_prompts(values.to_numpy(dtype=float), ends=DIFFERENCE, confidence=1 - 0.05 / 3)
        assert_is(found[reward.name].over_reward, expected)
        assert abs(values).sum() > 0


def test_what_rewards_are_worth_is_in_the_summary():
    """The hand pool: seven of eight prompts have their likelier response right, the other wrong."""
    summary = diagnose(hand_pool()).summary
    rows = {row.name: row for row in summary.alignment.efficiency}
    assert list(rows) == ["log_likelihood", "length_normalized", "correctness"]
    own, most = rows["log_likelihood"], rows["correctness"]
    assert own.best_of_two == most.best_of_two and own.best_of_two.value == pytest.approx(7 / 16)
    assert own.best_of_two.value == pytest.approx(summary.gain_over_sampling.accuracy.value)
    assert own.slope.value == pytest.approx(7 / 8 * np.sqrt(1 / 2)) and own.correlation.value == pytest.approx(1.0)
    # Per token the long, unlikely response is the likelier one: log .1/4 > log .3/2.
    assert rows["length_normalized"].best_of_two.value == pytest.approx(-7 / 16)
    low, high = summary.coverage.renyi_2.low, summary.coverage.renyi_2.high
    assert (low, high) == pytest.approx((-np.log(0.1 + 0.6**2), -np.log(0.1)))


def test_a_reward_of_ones_own_is_worth_something_and_single_samples_say_nothing():
    mine = Reward("mine", lambda pool: -pool["log_likelihood"])
    rows = diagnose(hand_pool(), rewards=[mine]).summary.alignment.efficiency
    assert [row.name for row in rows][-1] == "mine" and rows[-1].best_of_two.value == pytest.approx(-7 / 16)
    single = hand_pool()[lambda t: (t["response"] == "a") & (t["source"] == "model")]
    assert diagnose(single).summary.alignment.efficiency == ()
    cut = hand_pool().assign(finished=False)
    assert diagnose(cut).summary.coverage.renyi_2 == schema.Range(0.0, None)
