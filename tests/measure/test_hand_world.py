"""A world of three prompts and seven responses whose every number is computed here by hand, signs included.

| prompt  | responses: probability, answer, right or wrong, tokens                                | samples, in order | greedy |
|---------|---------------------------------------------------------------------------------------|-------------------|--------|
| sharp   | a: .5, "1", right, 2;  b: .3, "2", wrong, 4;  c: .2, no answer, wrong, 6               | a b c a           | b      |
| hurt    | d: .6, "x", wrong, 1;  e: .4, "y", right, 2                                            | d e d e           | e      |
| unseen  | f: .1, "z", right, 3;  g: .05, "w", wrong, 3;  .85 on what was never sampled           | f g g g           | g      |

Likelihood is right on the first and the third prompt and wrong on the second.
"""

from fractions import Fraction as F
from math import log, sqrt

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sharptheory.measure import alignment, best_of_n, certificate, prediction, rewards, selection
from sharptheory.measure.bootstrap import mean_over_prompts
from sharptheory.measure.pool import Pool
from sharptheory.report.summary import diagnose

#: Probability, answer, whether it is right, tokens.
RESPONSES = {
    "a": (0.5, "1", True, 2), "b": (0.3, "2", False, 4), "c": (0.2, None, False, 6),
    "d": (0.6, "x", False, 1), "e": (0.4, "y", True, 2),
    "f": (0.1, "z", True, 3), "g": (0.05, "w", False, 3),
}  # fmt: skip
#: Samples and their self-certainty, greedy response.
PROMPTS = {
    "sharp": ("abca", (1, 3, 2, 0), "b"),
    "hurt": ("dede", (1, 3, 2, 4), "e"),
    "unseen": ("fggg", (9, 1, 2, 3), "g"),
}
N = [1, 2, 3, 4]
NAMES = ["hurt", "sharp", "unseen"]  # in the order of prompt ids


def row(prompt: str, response: str, source: str, self_certainty: float | None = None) -> dict:
    p, answer, correct, length = RESPONSES[response]
    return dict(prompt_id=prompt, response=response, log_likelihood=log(p), answer=answer, correct=correct, length=length,
                finished=True, source=source, self_certainty=self_certainty)  # fmt: skip


@pytest.fixture(scope="module")
def world() -> Pool:
    rows = [
        row(prompt, y, "model", score) for prompt, (ys, scores, _) in PROMPTS.items() for y, score in zip(ys, scores)
    ]
    return Pool.from_frame(pd.DataFrame(rows + [row(prompt, y, "greedy") for prompt, (_, _, y) in PROMPTS.items()]))


def by_prompt(table, **expected) -> None:
    """Each prompt's row is as expected."""
    assert sorted(table.index) == sorted(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(np.ravel(table.loc[name]).astype(float), np.ravel(values).astype(float), rtol=1e-12)


# Selection ------------------------------------------------------------------------------------------------------------


def test_best_of_n_by_likelihood(world):
    """Of the six pairs of `sharp`, five hold an a; of those of `hurt`, one holds no d; of those of `unseen`, three f."""
    accuracy = best_of_n.curve(world, "log_likelihood", "correct", N)
    by_prompt(accuracy, sharp=[1 / 2, 5 / 6, 1, 1], hurt=[1 / 2, 1 / 6, 0, 0], unseen=[1 / 4, 1 / 2, 3 / 4, 1])
    assert accuracy.mean().tolist() == pytest.approx([5 / 12, 1 / 2, 7 / 12, 2 / 3])
    by_prompt(
        best_of_n.curve(world, "log_likelihood", "log_likelihood", [1, 2, 4]),
        sharp=[(2 * log(0.5) + log(0.3) + log(0.2)) / 4, (5 * log(0.5) + log(0.3)) / 6, log(0.5)],
        hurt=[(log(0.6) + log(0.4)) / 2, (5 * log(0.6) + log(0.4)) / 6, log(0.6)],
        unseen=[(log(0.1) + 3 * log(0.05)) / 4, (log(0.1) + log(0.05)) / 2, log(0.1)],
    )
    by_prompt(best_of_n.curve(world, "log_likelihood", "length", [1, 4]), sharp=[3.5, 2], hurt=[1.5, 1], unseen=[3, 3])


def test_any_of_n(world):
    table = best_of_n.pass_at_n(world, N)
    by_prompt(table, sharp=[1 / 2, 5 / 6, 1, 1], hurt=[1 / 2, 5 / 6, 1, 1], unseen=[1 / 4, 1 / 2, 3 / 4, 1])
    assert table.mean().tolist() == pytest.approx([5 / 12, 13 / 18, 11 / 12, 1])


def test_majority_vote(world):
    """c has no vote: of the pairs of `sharp` aa, ac, ac are right, ab twice a tie and bc wrong."""
    table = selection.majority_curve(world, N)
    by_prompt(table, sharp=[1 / 2, 2 / 3, 3 / 4, 1], hurt=[1 / 2] * 4, unseen=[1 / 4, 1 / 4, 0, 0])
    assert table.mean().tolist() == pytest.approx([5 / 12, 17 / 36, 5 / 12, 1 / 2])


def test_borda_vote(world):
    """Heights by self-certainty: b 4, c 3, a 2 and 1; e 4 and 3, d 2 and 1; f 4, g 3, 2 and 1."""
    votes = selection.borda(world).groupby([world["prompt_id"], world["response"]]).first()
    expected = {("sharp", "a"): sqrt(2) + 1, ("sharp", "b"): 2, ("sharp", "c"): 0, ("hurt", "d"): sqrt(2) + 1,
                ("hurt", "e"): 2 + sqrt(3), ("unseen", "f"): 2, ("unseen", "g"): sqrt(3) + sqrt(2) + 1}  # fmt: skip
    assert votes.to_dict() == pytest.approx(expected)
    by_prompt(selection.borda_curve(world, [1, 4]), sharp=[1 / 2, 1], hurt=[1 / 2, 1], unseen=[1 / 4, 0])
    by_prompt(selection.borda_curve(world, [4], p=2), sharp=[0], hurt=[1], unseen=[1])  # 16 > 4 + 1, 16 > 9 + 4 + 1


def test_votes_have_every_n_that_the_rewards_have(world):
    curves = selection.accuracy_curves(world, N)
    assert curves["majority"].columns.tolist() == N and curves["log_likelihood"].columns.tolist() == N
    assert "Borda vote by self-certainty" in curves and "answer_share" not in curves
    assert list(selection.accuracy_curves(world.assign(answer=None), [1])) == [
        "log_likelihood", "length_normalized", "self_certainty", "correctness"]  # fmt: skip


def test_rewards(world):
    """Per token c beats b and a, e beats d, f beats g; the best by self-certainty are b, e and f."""
    assert [reward.name for reward in rewards.selecting(world)] == [
        "log_likelihood", "length_normalized", "self_certainty"]  # fmt: skip
    values = {name: rewards.reward_values(world, name) for name in ("length_normalized", "answer_share", "correctness")}
    ys = world["response"].to_list()
    assert dict(zip(ys, values["length_normalized"])) == pytest.approx(
        {y: log(p) / length for y, (p, _, _, length) in RESPONSES.items()}
    )
    assert dict(zip(ys, values["answer_share"])) == pytest.approx(
        {"a": 1 / 3, "b": 0, "c": 0, "d": 1 / 3, "e": 1 / 3, "f": 0, "g": 2 / 3}
    )
    assert dict(zip(ys, values["correctness"])) == {y: float(right) for y, (_, _, right, _) in RESPONSES.items()}
    curves = selection.accuracy_curves(world, [1, 4])
    assert {name: table.mean().tolist() for name, table in curves.items()} == {
        name: pytest.approx([5 / 12, float(last)])
        for name, last in {"log_likelihood": F(2, 3), "length_normalized": F(2, 3), "self_certainty": F(2, 3),
                           "correctness": F(1), "majority": F(1, 2), "answer-mass vote": F(2, 3),
                           "Borda vote by self-certainty": F(2, 3)}.items()
    }  # fmt: skip
    by_prompt(curves["length_normalized"][[4]], sharp=[0], hurt=[1], unseen=[1])


@pytest.mark.parametrize(
    ("threshold", "e", "wait"),
    [
        (0.5, 1 / 6, 3 / 2),  # d stops at once, e at the second sample, which is a d in two cases of three
        (1.0, 0, 13 / 6),  # d stops at the second sample, e at the third, and only ee has no d before it
        (1.5, 0, 3),  # d stops at the third
        (9.0, 0, 4),  # nothing stops: all are sampled
    ],
)
def test_adaptive_rule(threshold, e, wait):
    weights, mean = best_of_n.adaptive_weights(np.log([0.6, 0.4, 0.6, 0.4]), threshold)
    np.testing.assert_allclose(weights, [(1 - e) / 2, e / 2, (1 - e) / 2, e / 2], atol=1e-12)
    assert mean == pytest.approx(wait)


# What likelihood knows ------------------------------------------------------------------------------------------------


def test_auc_within_and_pooled(world):
    """Pooled, the right .5, .5, .4, .4 beat five of seven wrong ones each, .1 beats three."""
    within, pooled = alignment.auc_within(world), alignment.auc_pooled(world)
    assert (float(within.value), within.n_prompts) == (pytest.approx(2 / 3), 3)
    assert (float(pooled.value), pooled.n_prompts) == (pytest.approx(23 / 35), 3)
    assert float(alignment.auc_within(world, "self_certainty").value) == pytest.approx((0 + 1 + 1) / 3)


def test_alignment_levels(world):
    """Accuracies of one sample, three rewards and greedy: 5/12, 2/3, 2/3, 2/3, 1/3.

    Their log-likelihoods: -1.53, -1.17, -1.61 (per token), -1.47 (self-certainty), -1.71. Of the seven pairs that differ
    in accuracy one is out of order: one sample is likelier than the best per token.
    """
    levels = {name: float(level.value) for name, level in alignment.alignment_levels(world).items()}
    assert levels == pytest.approx(
        {"decoding methods": 6 / 7, "N of best-of-N": 1, "prompts": 1, "within a prompt": 2 / 3}
    )


def test_stochastic_dominance_within_prompts(world):
    """``F_wrong - F_correct`` at ranks 1/4, 1/2, 3/4: (½, 1, 1), (0, -1, -1) and (0, 0, 1), so (1/6, 0, 1/3) on average.

    Four of the eight choices of signs reach 1/3 somewhere; nothing is below 0, and every choice is that good.
    """
    test = alignment.dominance(world, within=True)
    assert (test.above, test.below, test.n_prompts) == (pytest.approx(1 / 3), 0, 3)
    assert (test.p_above, test.p_below, test.holds) == (4 / 8, 1, False)


def test_stochastic_dominance_over_all_responses(world):
    """Five right at .1, .4, .4, .5, .5 and seven wrong at .05 × 3, .2, .3, .6 × 2: 5/7 - 1/5 at .3, 5/7 - 1 at .5."""
    test = alignment.dominance(world, within=False)
    assert (test.above, test.below) == (pytest.approx(5 / 7 - 1 / 5), pytest.approx(2 / 7))


def test_length(world):
    """Lengths less their prompt's mean: (-1.5, .5, 2.5, -1.5), ±.5, 0. Only f and g are of one length."""
    found = alignment.length_confound(world)
    slope = (-3 * log(0.5) + 0.5 * log(0.3) + 2.5 * log(0.2) + log(0.4) - log(0.6)) / 12
    assert found.slope == pytest.approx(slope) and slope < 0
    assert (float(found.correlation.value), found.correlation.n_prompts) == (pytest.approx(-1), 2)
    assert (float(found.auc.value), float(found.auc_given_length.value), found.n_prompts) == (1, 1, 1)
    # Longer ones gain .246 a token: c wins `sharp`, d still `hurt`.
    assert (float(found.accuracy.value), float(found.accuracy_adjusted.value)) == pytest.approx((2 / 3, 1 / 3))
    assert all(0 <= each.low < each.value < each.high <= 1 for each in (found.accuracy, found.accuracy_adjusted))


# What the pool proves -------------------------------------------------------------------------------------------------


def test_certificate(world):
    """All of `sharp` and `hurt` is seen; of `unseen` .15 is."""
    table = certificate.coverage_certificate(world)
    by_prompt(np.exp(table[["log_p_low", "log_p_high", "log_q"]]), sharp=[0.5, 0.5, 0.5], hurt=[0.6, 0.6, 0.6],
              unseen=[0.1, 0.85, 0.1])  # fmt: skip
    assert table["certified"].to_dict() == {"sharp": True, "hurt": True, "unseen": False}
    assert table["n_samples"].tolist() == [4, 4, 4]
    bound = certificate.c_cov_bar_bound(table)
    low, high = (1 / 0.6 + 1 / 0.5 + 1 / 0.85) / 3, (1 / 0.6 + 1 / 0.5 + 1 / 0.1) / 3
    assert (bound.low, bound.high) == (pytest.approx(low), pytest.approx(high)) and low < high
    assert (float(bound.low_estimate.value), float(bound.high_estimate.value)) == (bound.low, bound.high)
    # Of a mass of 1 - √(log 20/6) = .293 the least value is sure, 1/.85; the rest may be 1.
    assert bound.at_least == pytest.approx(1 + (1 - sqrt(log(20) / 6)) * (1 / 0.85 - 1))


def test_hit_rates(world):
    """ac and dd certify a (.3 ≤ .5 is left) and d (.4 ≤ .6), fg does not; of the other halves, ba hits once and ee never."""
    rates = certificate.argmax_hit_rates(world)
    assert rates.n.tolist() == [1, 2] and sorted(rates.mass) == pytest.approx([0.5, 0.6]) and rates.n_samples == 4
    assert rates.measured.n_prompts == 2
    np.testing.assert_allclose(rates.measured.value, [1 / 4, 1 / 2])
    np.testing.assert_allclose(rates.law([1, 2]), [(0.5 + 0.6) / 2, (0.75 + 0.84) / 2])
    variance = np.array([(0.5 * 0.5 + 0.6 * 0.4) / 2, 0.75 * 0.25 + 0.84 * 0.16])
    margin = stats.norm.ppf(0.975) * np.sqrt(variance) / 2
    np.testing.assert_allclose(rates.measured.low, np.maximum(rates.measured.value - margin, 0))
    np.testing.assert_allclose(rates.measured.high, np.minimum(rates.measured.value + margin, 1))
    assert rates.disagreements() == 0
    strict = certificate.argmax_hit_rates(world, [1, 2], confidence=0.4)  # ±.13 at N = 1, ±.15 at N = 2
    assert strict.disagreements() == 2


def stands_for(p: float, m: int = 4) -> float:
    """The mass that a distinct response of a pool of m stands for."""
    return p / (1 - (1 - p) ** m)


def test_prediction_leaves_room_for_what_was_not_sampled(world):
    """Of `unseen` .9⁴/5 = .131 may be better than f, and is worth what the top three are, 1/3. Elsewhere nothing is left."""
    n = np.array([1.0, 4, 64])
    a, b, c, d, e, f, g = (stands_for(p) for p, *_ in RESPONSES.values())
    left = 0.9**4 / 5
    worse = (1 - left) * g / (f + g)
    expected = {
        "sharp": 1 - ((b + c) / (a + b + c)) ** n,
        "hurt": (e / (d + e)) ** n,
        "unseen": (1 - left) ** n - worse**n + (1 - (1 - left) ** n) / 3,
    }
    by_prompt(prediction.predict_best_of_n(world, n), **expected)
    mean = prediction.predicted_curve(world, n)
    np.testing.assert_allclose(mean.value, np.mean(list(expected.values()), axis=0))
    assert np.all((mean.low >= 0) & (mean.low <= mean.value) & (mean.value <= mean.high) & (mean.high <= 1))
    # By the likelihood itself the unseen is worth what the best sample has.
    ends = prediction.predict_best_of_n(world, [1e9], value="log_likelihood")
    by_prompt(ends, sharp=[log(0.5)], hurt=[log(0.6)], unseen=[log(0.1)])


def test_power_law(world):
    """``π²`` by what each response stands for."""
    a, b, c, d, e, f, g = (p * stands_for(p) for p, *_ in RESPONSES.values())
    by_prompt(prediction.predict_power(world, 2.0), sharp=a / (a + b + c), hurt=e / (d + e), unseen=f / (f + g))


def test_calibration(world):
    """The first samples, a, d and f, predict 1, 0 and 1 at every N; the others are right on 1/3 at N = 1, 2 and 3."""
    table = prediction.calibration(world)
    assert table["n"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(table["predicted"], 2 / 3)
    np.testing.assert_allclose(table["measured"], 1 / 3)
    off = np.array([[2 / 3, -2 / 3, 1], [1 / 3, -1 / 3, 1], [0, 0, 1]])  # sharp, hurt, unseen
    np.testing.assert_allclose(table["error"], off.std(axis=1, ddof=1) / sqrt(3))
    assert table["agrees"].tolist() == [True, True, True]
    assert ((table["low"] >= 0) & (table["low"] < 2 / 3) & (table["high"] > 2 / 3) & (table["high"] <= 1)).all()


# The same world as a summary ------------------------------------------------------------------------------------------


def test_gains_have_their_signs(world):
    """Best of 4 is right on `sharp` and `unseen`, greedy on `hurt`: one prompt more, and ``5^{1/3}`` times as likely."""
    summary = diagnose(world).summary
    assert summary.greedy.accuracy.value == pytest.approx(1 / 3)
    assert summary.greedy.log_likelihood.value == pytest.approx((log(0.3) + log(0.4) + log(0.05)) / 3)
    over = summary.gain_over_greedy
    assert over.accuracy.value == pytest.approx(1 / 3) and over.log_likelihood.value == pytest.approx(log(5) / 3)
    assert summary.gain_over_sampling.accuracy.value == pytest.approx(1 / 4)
    assert summary.gain_over_sampling.log_likelihood.value == pytest.approx(
        (log(0.5) + log(0.6) + log(0.1) - log(0.5) / 2 - log(0.3 * 0.2) / 4 - log(0.24) / 2 - log(0.1 * 0.05**3) / 4)
        / 3
    )
    assert [point.accuracy.value for point in summary.best_of_n] == pytest.approx([5 / 12, 1 / 2, 7 / 12, 2 / 3])
    assert summary.peak is None and (summary.length.sampled, summary.length.best_of_n) == pytest.approx((8 / 3, 2))
    coverage = summary.coverage
    assert (coverage.certified, coverage.undersampled) == pytest.approx((2 / 3, 1 / 3))
    assert coverage.median_log_p == pytest.approx(log(0.5))


def test_a_prompt_is_graded_if_all_its_samples_are(world):
    """Without the grade of one g, `unseen` counts in no accuracy, but in every likelihood."""
    partly = Pool.from_frame(world.frame().assign(correct=lambda t: t["correct"].where(t.index != len(t) - 1)))
    assert partly["correct"].isna().sum() == 1
    assert best_of_n.curve(partly, "log_likelihood", "correct", [4]).index.tolist() == ["hurt", "sharp"]
    assert len(best_of_n.curve(partly, "log_likelihood", "log_likelihood", [4])) == 3
    assert partly.graded().sizes.to_dict() == {"hurt": 4, "sharp": 4} and partly.sizes["unseen"] == 4


def test_interval_of_three_prompts():
    """0, 0 and 1: standard error 1/3, Student's quantile 4.3."""
    estimate = mean_over_prompts([0.0, 0.0, 1.0])
    margin = stats.t.ppf(0.975, 2) / 3
    assert (float(estimate.low), float(estimate.high)) == pytest.approx((1 / 3 - margin, 1 / 3 + margin))
    assert estimate.columns("x") == {"x": pytest.approx(1 / 3), "x_low": estimate.low, "x_high": estimate.high}
