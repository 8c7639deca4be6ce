"""The sentences follow from the numbers, good news or bad; where the numbers decide nothing, so do the sentences."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from sharptheory.measure.pool import Pool
from sharptheory.measure.rewards import Reward
from sharptheory.report.findings import findings, headline
from sharptheory.report.findings.alignment import efficiency_table
from sharptheory.report.findings.words import amount, count, coverage_range, listed, percent, points, share, span
from sharptheory.report.schema import (
    Accuracy,
    Check,
    Coverage,
    Gain,
    HitRate,
    HitRates,
    Interval,
    Peak,
    Prediction,
    Range,
    RewardAccuracy,
    RewardCurve,
    RewardEfficiency,
    Summary,
)
from sharptheory.report.summary import diagnose
from tests.conftest import pool_from_table
from tests.report.pools import hand_pool, table_pool
from tests.report.test_summary import peaked


def texts(pool: pd.DataFrame, **options) -> dict[str, str]:
    return findings(diagnose(pool, **options).summary)


@pytest.fixture(scope="module")
def hand() -> Summary:
    """Three times the eight prompts by hand: enough for a verdict, and every mean as before."""
    return diagnose(hand_pool(n_prompts=24, likely_right=21, greedy_right=6)).summary


def changed(summary: Summary, part: str, **values) -> Summary:
    return dataclasses.replace(summary, **{part: dataclasses.replace(getattr(summary, part), **values)})


def gaining(summary: Summary, *, sampling: Interval, greedy: Interval) -> Summary:
    """The summary with other gains in accuracy."""
    nats = summary.gain_over_sampling.log_likelihood
    return dataclasses.replace(summary, gain_over_sampling=Gain(sampling, nats), gain_over_greedy=Gain(greedy, nats))


# The hand-computed pool, word by word ---------------------------------------------------------------------------------


def test_accuracy_by_hand(hand):
    text = findings(hand)["accuracy"]
    assert text.startswith("One sample is right with probability 43.8 %; the most likely of 2 with 87.5 % [")
    assert "Sharpening pays: +43.8 [" in text
    assert "Best-of-2 is better than greedy decoding (25.0 %): +62.5 [" in text
    assert "another" not in text and "peaks" not in text and "expect" not in text


def test_accuracy_by_hand_where_likelihood_prefers_wrong_responses():
    text = texts(hand_pool(n_prompts=24, likely_right=0, unlikely_right=24, greedy_right=24))["accuracy"]
    assert "Bad news: sharpening hurts by -50.0 (the same on every prompt) points" in text
    assert (
        "Best-of-2 is worse than greedy decoding (100.0 %): -100.0 [-100.0, -71.5] points." in text
    )  # 2 · .025^{1/24} - 1
    assert (
        "On another +100.0 [+85.8, +100.0] points there is a correct response among the 2 that likelihood does not pick."
        in text
    )


def test_likelihood_by_hand(hand):
    """log .3 = -1.20; one sample has -1.75, greedy (the unlikely response) -2.30; two tokens against three."""
    assert findings(hand)["likelihood"] == (
        "The log-likelihood of the best of 2 is -1.20 nats on average, +0.55 (the same on every prompt) over one sample. "
        "Against greedy decoding that is +1.10 (the same on every prompt) nats. "
        "Its responses have 2.0 tokens against 3.0, a difference of -1.0 (the same on every prompt). "
        "Short responses are selected (33 % shorter): likelihood sums over tokens, so check that what it selects is not "
        "brevity; a length-normalised reward is the usual remedy. "
        "Within a prompt log-likelihood correlates with length by -1.00 [-1.00, -0.72]; with length regressed "
        "out, best-of-N is right on 43.8 %."
    )


def test_alignment_by_hand(hand):
    assert findings(hand)["alignment"].startswith(
        "Within a prompt, a correct response is likelier than a wrong one with probability 1.00 [0.84, 1.00] "
        "(21 prompts with both): likelihood knows which responses are right. The premise of sharpening holds here."
    )


def test_coverage_by_hand(hand):
    assert findings(hand)["coverage"] == (
        "The most likely response is certified, by this pool alone, on 0.0 % of the prompts. The coverage coefficient, the "
        "mean of 1/p*, is between 1.7 and 3.3 on these prompts; where in between, more samples would tell. Over all prompts "
        "of this kind it is at least 1.5, with 95 % confidence; no sample of prompts can bound it from above. On 100.0 % of "
        "the prompts even the likeliest response sampled has probability below one in the number of samples: too few to "
        "expect the argmax among them."
    )


def test_headline_by_hand(hand):
    rows = dict(headline(hand))
    assert list(rows) == [
        "prompts × samples", "one sample", "greedy decoding", "best of 2 by log-likelihood", "any of 2 (pass@2)",
        "AUC of likelihood, within prompts", "AUC of likelihood, pooled", "argmax certified on",
        "coverage coefficient, mean of 1/p*", "the same on all such prompts", "unfinished responses",
    ]  # fmt: skip
    assert rows["prompts × samples"] == "24 × 2" and rows["unfinished responses"] == "unknown"
    assert rows["one sample"].startswith("43.8 % [") and rows["greedy decoding"].startswith("25.0 % [")
    assert rows["best of 2 by log-likelihood"].startswith("87.5 % [")
    assert (
        rows["coverage coefficient, mean of 1/p*"]
        == "between 1.7 and 3.3 on these prompts (what the samples leave open)"
    )
    assert rows["the same on all such prompts"] == "at least 1.5, with 95 % confidence"


# Verdicts -------------------------------------------------------------------------------------------------------------

UP, DOWN, OPEN = Interval(0.1, 0.05, 0.15, 50), Interval(-0.1, -0.15, -0.05, 50), Interval(0.01, -0.04, 0.06, 50)
SAME = Interval(0.0, 0.0, 0.0, 50)


@pytest.mark.parametrize(
    ("gain", "sentence"),
    [
        (UP, "Sharpening pays: +10.0 [+5.0, +15.0] points over sampling."),
        (DOWN, "Bad news: sharpening hurts by -10.0 [-15.0, -5.0] points"),
        (OPEN, "That sharpening pays is not shown, nor that it does not: +1.0 [-4.0, +6.0] points over sampling."),
        (
            SAME,
            "On every prompt that is exactly as often as one sample: selection changes nothing, and with 95 % confidence on "
            "at least 94 % of all such prompts.",  # .05^{1/50}
        ),
    ],
)
def test_verdict_on_sharpening(hand, gain, sentence):
    assert sentence in findings(gaining(hand, sampling=gain, greedy=OPEN))["accuracy"]


@pytest.mark.parametrize(
    ("gain", "sentence"),
    [
        (UP, "Best-of-2 is better than greedy decoding (25.0 %): +10.0 [+5.0, +15.0] points."),
        (DOWN, "Best-of-2 is worse than greedy decoding (25.0 %): -10.0 [-15.0, -5.0] points."),
        (OPEN, "Best-of-2 is not distinguishable from greedy decoding (25.0 %): +1.0 [-4.0, +6.0] points."),
        (
            SAME,
            "Best-of-2 is right on the same prompts as greedy decoding (25.0 %), and with 95 % confidence on at least 94 % of "
            "all such prompts.",
        ),
        (
            dataclasses.replace(UP, n_prompts=19),
            "Against greedy decoding (25.0 %) best-of-2 has +10.0 [+5.0, +15.0] points: 19 prompts decide nothing, 20 are needed.",
        ),
    ],
)
def test_verdict_against_greedy(hand, gain, sentence):
    assert sentence in findings(gaining(hand, sampling=UP, greedy=gain))["accuracy"]


@pytest.mark.parametrize(
    ("within", "sentence"),
    [
        (
            Interval(0.8, 0.7, 0.9, 50),
            "with both): likelihood knows which responses are right. The premise of sharpening holds",
        ),
        (Interval(0.8, 0.5004, 0.9, 50), "0.8000 [0.5004, 0.9000] (50 prompts with both): likelihood knows"),
        (
            Interval(0.2, 0.1, 0.3, 50),
            "likelihood is anti-aligned with correctness; the likelier a response, the more probably",
        ),
        (
            Interval(0.5, 0.47, 0.53, 500),
            "all of that is between 0.45 and 0.55, close to a coin flip, and sharpening has little to work with.",
        ),
        (
            Interval(0.65, 0.49, 0.79, 25),
            "it is not shown that likelihood knows which responses are right, nor that it does not.",
        ),
        (Interval(0.8, 0.7, 0.9, 19), "(19 prompts with both): 19 prompts decide nothing, 20 are needed."),
        (Interval(None, None, None, 0), "No prompt has both correct and incorrect responses"),
    ],
)
def test_verdict_on_alignment(hand, within, sentence):
    text = findings(changed(hand, "alignment", within=within))["alignment"]
    assert sentence in text
    assert ("likelihood knows" in text) + ("anti-aligned" in text) + ("coin flip" in text) <= 1


@pytest.mark.parametrize(
    ("p_above", "p_below", "sentence"),
    [
        (0.0001, 0.8, "stochastically dominate those of wrong ones within prompts (p < 0.001 for, p = 0.800 against)"),
        (0.2, 0.8, "Stochastic dominance of correct likelihoods within prompts is not shown (p = 0.200 for"),
    ],
)
def test_verdict_on_dominance(hand, p_above, p_below, sentence):
    test = dataclasses.replace(hand.alignment.dominance_within, p_above=p_above, p_below=p_below, holds=p_above < 0.05)
    assert sentence in findings(changed(hand, "alignment", dominance_within=test))["alignment"]


@pytest.mark.parametrize(("agreeing", "stated"), [(0, False), (2, False), (3, True), (5, True)])
def test_a_forecast_that_its_own_check_does_not_bear_out_is_withheld(hand, agreeing, stated):
    point = dataclasses.replace(hand.pass_at_n[0], n=512, accuracy=Interval(0.6, 0.5, 0.7, 50))
    checks = tuple(Check(n, 0.5, 0.5, 0.1, n < agreeing) for n in range(5))
    text = findings(dataclasses.replace(hand, prediction=Prediction((point,), checks)))["accuracy"]
    assert ("With N = 512 expect 60.0 % [50.0 %, 70.0 %]" in text) == stated
    assert ("No forecast for larger N" in text) != stated and f"{agreeing} of 5 values of N" in text
    assert ("where up to 19.6 points more or less would count as agreement." in text) == stated


def test_a_forecast_that_nothing_could_have_contradicted_is_withheld(hand):
    """With errors of .3 everything from 0 to 1 agrees with a measured half, and not with nine tenths."""
    point = Accuracy(512, Interval(0.6, 0.0, 1.0, 50))

    def said(*checks: Check) -> str:
        return findings(dataclasses.replace(hand, prediction=Prediction((point,), checks)))["accuracy"]

    empty, open_ = Check(1, 0.5, 0.5, 0.3, True), Check(2, 0.9, 0.9, 0.3, True)
    assert said(empty, Check(2, 0.5, 0.5, None, False)).endswith(
        "No forecast for larger N: these samples are too few to tell whether predicting in the same way from a quarter of "
        "these samples agrees with the rest."
    )
    assert said(empty, open_).endswith(
        "With N = 512 expect 60.0 % [0.0 %, 100.0 %]; predicting in the same way from a quarter of these samples agrees "
        "with the rest at 1 of 1 value of N, where 58.8 points more or less would count as agreement."
    )


def test_a_peak_is_said_only_with_evidence():
    assert (
        "Accuracy peaks at N = 4 (73.1 %), +73.1 (the same on every prompt) points above N = 16"
        in (texts(peaked(20, others=0))["accuracy"])
    )
    few = texts(peaked(19, others=0))["accuracy"]
    assert (
        "peaks" not in few and "19 prompts have both correct and incorrect responses, and fewer than 20 decide" in few
    )
    assert "peaks" not in texts(peaked(2, others=38))["accuracy"]


# Rewards --------------------------------------------------------------------------------------------------------------


def test_a_reward_is_better_by_paired_differences():
    """32 prompts of forty against twenty of the same: both intervals overlap, the difference is clear."""
    pool = hand_pool(n_prompts=40, likely_right=20).query("source != 'greedy'").drop(columns="length")
    second = pool["response"] == "b"
    pool.loc[second, "correct"] = pool.loc[second, "prompt_id"].between(20, 31)
    better = Reward("knows_more", lambda pool: pool["correct"].astype(float))
    worse = Reward("knows_less", lambda pool: -pool["correct"].astype(float))
    same = Reward("alike", lambda pool: pool["log_likelihood"])
    text = texts(pool, rewards=[better, worse, same])["rewards"]
    assert text.startswith(
        "At N = 2: log likelihood 50.0 %, knows more 80.0 %, knows less 0.0 %, alike 50.0 %. Better than log-likelihood: "
        "knows more by +30.0 ["
    )
    assert "Worse than log-likelihood: knows less by -50.0 [" in text
    assert "Not distinguishable from log-likelihood: alike +0.0 (the same on every prompt)." in text


def test_rewards_without_a_conclusion():
    assert "rewards" not in texts(hand_pool()[["prompt_id", "log_likelihood", "correct"]])
    one = texts(hand_pool(n_prompts=1, likely_right=1))["rewards"]
    assert one == (
        "At N = 2: log likelihood 100.0 %, length normalized 0.0 %. No verdict: 1 prompt has both correct and incorrect "
        "responses, and fewer than 20 decide nothing (take more prompts, or more samples of each)."
    )
    alike = texts(hand_pool(likely_right=8, unlikely_right=8))["rewards"]
    assert alike.endswith("Every response is correct, so there is nothing for any selection to improve.")


# What keeps a verdict back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unfinished", "warned", "judged"), [(0.0, 0, 1), (0.05, 0, 1), (0.1, 1, 1), (0.2, 1, 1), (0.3, 1, 0)]
)
def test_unfinished_responses_are_warned_about_and_judged_only_if_few(hand, unfinished, warned, judged):
    text = findings(changed(hand, "sampling", unfinished=unfinished))
    assert (f"Warning: {100 * unfinished:.1f} % of the responses were cut" in text["likelihood"]) == warned
    assert ("Sharpening pays" in text["accuracy"]) == judged and ("greedy decoding" in text["accuracy"]) == judged
    assert (f"No verdict: {100 * unfinished:.1f} % of the responses were cut" in text["accuracy"]) != judged
    assert ("likelihood knows" in text["alignment"]) == judged and ("No verdict" in text["alignment"]) != judged
    assert ("log-likelihood:" in text["rewards"]) == judged and ("No verdict" in text["rewards"]) != judged


def test_every_premise_that_fails_is_named_with_its_remedy(hand):
    """At N = 1 the law says .5 and the samples .8, on 50 prompts with four held-out samples each."""
    off = rates(
        (0.5, Interval(0.8, 0.75, 0.85, 50)), n_prompts=50, n_samples=200, hits=160, expected=100.0, p_value=0.0
    )
    summary = changed(dataclasses.replace(hand, hit_rates=off), "sampling", unfinished=0.25, n_mixed_prompts=19)
    assert summary.unmet == ("unfinished", "mixed prompts", "law") and not summary.judged
    law = (
        "one sample is the most likely response on 80.0 % where its likelihood says 50.0 %, which is not chance (p < 0.001): "
        "these samples do not follow their log-likelihoods (another temperature, top-p or prompt template?)"
    )
    whole_ = (
        "No verdict: 25.0 % of the responses were cut by the length budget, more than 20 %, and neither likelihoods nor grades "
        "are those of whole responses (sample with a larger budget of tokens); 19 prompts have both correct and incorrect "
        f"responses, and fewer than 20 decide nothing (take more prompts, or more samples of each); {law}."
    )
    text = findings(summary)
    assert all(whole_ in text[chapter] for chapter in ("accuracy", "rewards", "alignment"))
    assert not any(
        word in " ".join(text.values()) for word in ("Sharpening pays", "etter than", "knows which", "dominate")
    )
    only = dataclasses.replace(hand, hit_rates=off)
    assert only.unmet == ("law",) and f"No verdict: {law}." in findings(only)["accuracy"]
    assert text["theory"].endswith(
        "1 of 1 measured points, at N = 1, lies outside its 95 % interval; neighbours share their samples. Tested at N = 1: "
        "160 of 200 samples are the argmax where the law expects 100.0, more than chance explains (p < 0.001, two-sided and exact)."
    )


def test_unknown_is_not_zero():
    pool = hand_pool()
    assert dict(headline(diagnose(pool).summary))["unfinished responses"] == "unknown"
    assert dict(headline(diagnose(pool.assign(finished=True)).summary))["unfinished responses"] == "0.0 %"
    assert "cut by" not in texts(pool)["likelihood"]


def test_likelihoods_that_cannot_be_those_of_samples():
    summary = diagnose(hand_pool().assign(log_likelihood=-0.1)).summary
    text = findings(summary)
    assert text["coverage"].startswith(
        "These are not log-likelihoods of responses sampled at temperature 1, so coverage is"
    )
    assert "total probability of 1.81 > 1" in text["coverage"] and not {"theory", "cost"} & set(text)
    assert dict(headline(summary))["coverage coefficient, mean of 1/p*"].startswith("none: the likelihoods are not")


@pytest.mark.parametrize("answer", [True, False])
def test_unanimous_pools(answer):
    summary = diagnose(table_pool(aligned=1.0).assign(correct=answer)).summary
    text = findings(summary)
    assert f"Every response is {'correct' if answer else 'incorrect'}" in text["accuracy"]
    assert (
        "points" not in text["accuracy"]
        and "No verdict" not in text["accuracy"]
        and "No prompt has both" in text["alignment"]
    )
    last = summary.best_of_n[-1].accuracy
    assert (0.8 < last.low < 1) if answer else (0 < last.high < 0.2)


def test_good_bad_and_no_news_on_larger_pools():
    good, bad = texts(table_pool(aligned=1.0)), texts(table_pool(aligned=0.0))
    assert "Sharpening pays" in good["accuracy"] and "premise of sharpening holds" in good["alignment"]
    assert "stochastically dominate" in good["alignment"] and "within a prompt 1.00" in good["alignment_levels"]
    assert "Bad news" in bad["accuracy"] and "anti-aligned" in bad["alignment"]
    rng = np.random.default_rng(0)
    even = pool_from_table(np.full((30, 4), 0.25), 16, rng, correct=np.eye(4)[rng.integers(0, 4, 30)])
    none = texts(Pool.from_frame(even))
    assert "selection changes nothing" in none["accuracy"] and "coin flip" in none["alignment"]


def test_one_prompt_or_one_sample_concludes_nothing():
    assert (
        "(no interval: one prompt) points. No verdict: 1 prompt has both correct and incorrect responses, and fewer than 20"
        in texts(table_pool(aligned=1.0, n_prompts=1))["accuracy"]
    )
    one = texts(table_pool(aligned=1.0, m=1))
    assert "best-of-N needs more samples" in one["accuracy"] and "nothing to select" in one["likelihood"]
    assert "take more samples" in one["theory"]


def test_an_ungraded_pool_is_about_likelihood_alone():
    summary = diagnose(table_pool(aligned=1.0).drop(columns="correct")).summary
    assert set(findings(summary)) == {"samples", "likelihood", "alignment", "coverage", "theory", "cost"}
    assert findings(summary)["samples"] == (
        "The samples have no answers (the majority vote and the chapter on answers)."
    )
    assert findings(summary)["alignment"] == (
        "None of these samples is known to be correct or not, so likelihood cannot be compared with correctness."
    )
    assert not any("best of" in name or "AUC" in name for name, _ in headline(summary))


def test_what_the_samples_lack_is_said_with_what_it_costs():
    pool = table_pool(aligned=1.0).assign(length=3, answer="4")
    assert "samples" not in findings(diagnose(pool).summary)
    assert findings(diagnose(pool.drop(columns=["response", "tokens"], errors="ignore")).summary)["samples"] == (
        "The samples have no text or token ids (hit rates and the prediction beyond the pool)."
    )


def test_unreadable_answers_are_said(hand):
    text = findings(changed(hand, "sampling", unreadable={"no answer": 0.25, "cut off": 0.125}))["accuracy"]
    assert (
        "37.5 % of the responses have no answer that could be read and count as wrong (no answer 25.0 %, cut off"
        in text
    )
    assert "could be read" not in findings(hand)["accuracy"]


def test_the_law_is_judged_by_its_points():
    summary = diagnose(table_pool(aligned=1.0)).summary
    assert "Every measured point agrees" in findings(summary)["theory"]
    points = summary.hit_rates.curve
    off = [dataclasses.replace(point, predicted=point.measured.high + 0.01) for point in points[2:4]]
    text = findings(changed(summary, "hit_rates", curve=(*points[:2], *off, *points[4:]), p_value=0.25))["theory"]
    assert "2 of 5 measured points, at N = 4 and 8, lie outside their 95 % interval; neighbours share" in text
    assert "Tested at N = 1:" in text and text.endswith("as chance allows (p = 0.250, two-sided and exact).")


def rates(*points: tuple[float, Interval], n_prompts: int = 4, n_samples: int = 16, **tested) -> HitRates:
    curve = tuple(HitRate(2**i, predicted, measured) for i, (predicted, measured) in enumerate(points))
    return HitRates(n_prompts, n_samples, curve, **({"hits": 8, "expected": 8.0, "p_value": 1.0} | tested))


NARROW, WIDE, ALL = Interval(0.5, 0.3, 0.7, 4), Interval(0.5, 0.0, 1.0, 4), Interval(0.1, 0.0, 0.75, 4)
AGREES = "Every measured point agrees with the exact law within its 95 % interval"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (rates((0.5, NARROW), (0.6, NARROW)), f"{AGREES}."),
        (rates((0.5, NARROW), (0.6, WIDE)), f"{AGREES}; at 1 of 2 values of N none could disagree."),
        # Half a width of .65: rates from 0 to 1 are all within it of .4, not of .3.
        (rates((0.4, ALL)), "That says nothing: so few samples cannot disagree with it, whatever they are."),
        (rates((0.3, ALL)), f"{AGREES}."),
        (rates((0.7, ALL)), f"{AGREES}."),
        (
            rates((0.5, NARROW), (0.9, NARROW)),
            "1 of 2 measured points, at N = 2, lies outside its 95 % interval; neighbours share their samples.",
        ),
    ],
)
def test_agreement_is_worth_what_disagreement_could_have_been(hand, found, said):
    text = findings(dataclasses.replace(hand, hit_rates=found))["theory"]
    assert text.startswith(
        "On 4 prompts whose argmax half of the samples certify, the other half (4 samples each) tests the law "
        f"1 - (1 - p*)^N. {said}"
    )


def test_held_out_samples_are_counted(hand):
    one = dataclasses.replace(hand, hit_rates=rates((0.5, NARROW), n_prompts=1, n_samples=1))
    assert (
        "On 1 prompt whose argmax half of the samples certify, the other half (1 sample each)"
        in findings(one)["theory"]
    )
    uneven = changed(dataclasses.replace(hand, hit_rates=rates((0.5, NARROW))), "sampling", n_samples_max=3)
    assert "the other half (16 samples in all) tests" in findings(uneven)["theory"]


def test_a_forecast_that_does_not_begin_at_the_measured_curve_says_by_how_much(hand):
    """Best of two is right on 87.5 %."""
    checks = (Check(1, 0.5, 0.5, 0.1, True),)

    def said(first: float) -> str:
        curve = tuple(Accuracy(n, Interval(value, 0.5, 0.9, 50)) for n, value in ((2, first), (16, 0.9)))
        text = findings(dataclasses.replace(hand, prediction=Prediction(curve, checks)))["accuracy"]
        return text.partition("would count as agreement.")[2].strip()

    assert said(0.8) == (
        "At N = 2 it says 80.0 % where the samples themselves have 87.5 %: it is made from the likelihoods of few samples, "
        "and may be as far below the truth beyond."
    )
    assert said(0.95).endswith("and may be as far above the truth beyond.") and said(0.873) == ""


def test_costs_are_listed(hand):
    text = findings(hand)["cost"]
    assert text == (
        "What the explicit bounds ask for if 90 % of the prompts are to have 90 % of their mass on the argmax, per unit of "
        "log(|Π|/ρ), the size of the policy class and the failure probability, over the range that the samples leave to the "
        "coverage coefficient: SFT-Sharpening: 4,663 prompts × 100 to 200 responses, 1.4 to 2.8 million forward tokens "
        "(Theorem 4.1′). adaptive SFT-Sharpening: 2,332 prompts × 7 to 13 responses, 47,000 to 93,000 forward tokens (Theorem "
        "D.1). RLHF-Sharpening: 6,684 to 13,000 prompts × 2 responses, 40,000 to 80,000 forward tokens ([S2], proved in "
        "docs/theory.md). These are guarantees for the worst case; their ratios are what to read."
    )


# Every sentence, with its numbers -------------------------------------------------------------------------------------


def whole(summary: Summary, figure: str) -> str:
    return findings(summary)[figure]


def with_ends(summary: Summary) -> Summary:
    """The hand-computed summary with limits of our own, so that whole paragraphs are known."""
    accuracy = lambda value: Interval(value, value - 0.1, value + 0.1, 50)  # noqa: E731
    one, two = summary.best_of_n
    ends = (dataclasses.replace(one, accuracy=accuracy(0.4375)), dataclasses.replace(two, accuracy=accuracy(0.875)))
    passed = tuple(dataclasses.replace(point, accuracy=accuracy(0.9375)) for point in summary.pass_at_n)
    missed = Interval(0.0625, 0.01, 0.12, 50)
    return gaining(
        dataclasses.replace(summary, best_of_n=ends, pass_at_n=passed, missed=missed), sampling=UP, greedy=DOWN
    )


def test_the_paragraph_on_accuracy(hand):
    summary = with_ends(hand)
    assert whole(summary, "accuracy") == (
        "One sample is right with probability 43.8 %; the most likely of 2 with 87.5 % [77.5 %, 97.5 %]. Sharpening pays: +10.0 "
        "[+5.0, +15.0] points over sampling. Best-of-2 is worse than greedy decoding (25.0 %): -10.0 [-15.0, -5.0] points. "
        "On another +6.2 [+1.0, +12.0] points there is a correct response among the 2 that likelihood does not pick."
    )
    assert whole(changed(summary, "sampling", unfinished=0.25), "accuracy") == (
        "One sample is right with probability 43.8 %; the most likely of 2 with 87.5 % [77.5 %, 97.5 %]. The difference is +10.0 "
        "[+5.0, +15.0] points. No verdict: 25.0 % of the responses were cut by the length budget, more than 20 %, and neither "
        "likelihoods nor grades are those of whole responses (sample with a larger budget of tokens)."
    )
    without = dataclasses.replace(summary, gain_over_greedy=None)
    assert "greedy" not in whole(without, "accuracy")
    ungraded = dataclasses.replace(summary, gain_over_greedy=Gain(None, summary.gain_over_greedy.log_likelihood))
    assert "greedy" not in whole(ungraded, "accuracy")
    one = gaining(summary, sampling=UP, greedy=Interval(0.1, None, None, 1))
    assert "greedy" not in whole(one, "accuracy")


@pytest.mark.parametrize(("value", "kind"), [(1.0, "correct"), (0.0, "incorrect")])
def test_the_paragraph_on_accuracy_where_all_responses_are_alike(hand, value, kind):
    summary = changed(hand, "sampling", accuracy=Interval(value, value, value, 8))
    assert f"Every response is {kind}, so there is nothing for any selection to improve." in whole(summary, "accuracy")
    assert "Sharpening" not in whole(summary, "accuracy")
    assert whole(summary, "accuracy").startswith(
        f"One sample is right with probability {100 * value:.1f} %; the most likely of 2"
    )
    single = dataclasses.replace(summary, best_of_n=summary.best_of_n[:1])
    assert whole(single, "accuracy") == (
        f"One sample is right with probability {100 * value:.1f} %; best-of-N needs more samples. Every response is {kind}, so "
        "there is nothing for any selection to improve."
    )


def test_what_likelihood_misses_is_said_where_it_is_shown(hand):
    said = lambda missed: "On another" in whole(dataclasses.replace(hand, missed=missed), "accuracy")  # noqa: E731
    assert said(Interval(0.01, 0.001, 0.02, 50)) and not said(Interval(0.3, 0.0, 0.6, 50))
    assert not said(Interval(0.3, 0.1, 0.6, 19))


def test_the_sentence_on_unreadable_answers(hand):
    said = lambda **shares: whole(changed(hand, "sampling", unreadable=shares), "accuracy")  # noqa: E731
    assert said(none=0.012, cut=0.003).endswith(
        "1.5 % of the responses have no answer that could be read and count as wrong (none 1.2 %, cut 0.3 %)."
    )
    assert "could be read" not in said(none=0.01) and "could be read" in said(none=0.006, cut=0.006)


def test_the_sentence_on_a_peak(hand):
    peak = lambda over: dataclasses.replace(hand, peak=Peak(1, 0.9, over))  # noqa: E731
    assert (
        "Accuracy peaks at N = 1 (90.0 %), +10.0 [+5.0, +15.0] points above N = 2 on the same prompts: do not take N larger."
        in whole(peak(UP), "accuracy")
    )
    assert "peaks" not in whole(peak(OPEN), "accuracy") and "peaks" not in whole(peak(DOWN), "accuracy")


def test_the_paragraph_on_likelihood(hand):
    length = dataclasses.replace(hand.length, confound=None)
    brief = changed(dataclasses.replace(hand, length=length), "length", over_sampling=Interval(-0.6, -0.8, -0.4, 50))
    assert whole(changed(brief, "length", best_of_n=2.41), "likelihood").endswith(
        "Its responses have 2.4 tokens against 3.0, a difference of -0.6 [-0.8, -0.4]."
    )
    short = changed(brief, "length", best_of_n=2.39)
    assert "Short responses are selected (20 % shorter)" in whole(short, "likelihood")
    open_ = changed(short, "length", over_sampling=Interval(-0.6, -1.3, 0.1, 50))
    assert whole(open_, "likelihood").endswith(
        "Its responses have 2.4 tokens against 3.0, a difference of -0.6 [-1.3, +0.1]."
    )
    assert whole(changed(brief, "length", over_sampling=SAME), "likelihood").endswith(
        "Its responses are as long as those of one sample, 3.0 tokens on average."
    )
    for none in (None, dataclasses.replace(length, sampled=0.0)):
        assert "tokens" not in whole(dataclasses.replace(hand, length=none), "likelihood")
    assert "greedy" not in whole(dataclasses.replace(hand, gain_over_greedy=None, length=None), "likelihood")
    same = dataclasses.replace(hand, gain_over_greedy=Gain(None, SAME), length=None)
    assert whole(same, "likelihood").endswith("over one sample. That is what greedy decoding has.")
    equal = dataclasses.replace(hand, gain_over_greedy=Gain(None, Interval(0.5, 0.5, 0.5, 8)), length=None)
    assert whole(equal, "likelihood").endswith("Against greedy decoding that is +0.50 (the same on every prompt) nats.")
    unknown = dataclasses.replace(hand, gain_over_greedy=Gain(None, Interval(None, None, None, 0)), length=None)
    assert "greedy" not in whole(unknown, "likelihood")
    single = dataclasses.replace(hand, best_of_n=hand.best_of_n[:1])
    assert (
        whole(single, "likelihood")
        == "One sample has -1.75 nats on average; with one sample there is nothing to select."
    )
    assert whole(changed(single, "sampling", unfinished=0.051), "likelihood").endswith(
        "nothing to select. Warning: 5.1 % of the responses were cut by the length budget. A cut response scores its prefix only, "
        "which is too likely, and is usually graded wrong: sample with a larger budget of tokens."
    )


def test_the_sentence_on_length(hand):
    def said(**values) -> str:
        confound = dataclasses.replace(hand.length.confound, **values)
        return whole(changed(hand, "length", confound=confound), "likelihood").partition("usual remedy. ")[2]

    unknown, part = Interval(None, None, None, 0), Interval(0.75, 0.7, 0.8, 50)
    rest = "with length regressed out, best-of-N is right on 43.8 %."
    assert said(auc_given_length=part) == (
        "Within a prompt log-likelihood correlates with length by -1.00 [-1.00, -0.72]; among responses of one length "
        f"its AUC is 0.75 [0.70, 0.80]; {rest}"
    )
    assert said(correlation=unknown) == f"W{rest[1:]}"
    assert (
        said(correlation=unknown, auc_given_length=part)
        == f"Among responses of one length its AUC is 0.75 [0.70, 0.80]; {rest}"
    )


def test_the_paragraph_on_alignment(hand):
    dominance = dataclasses.replace(hand.alignment.dominance_within, p_above=0.0004, p_below=0.25, holds=True)
    part = Interval(0.75, 0.7, 0.8, 50)
    summary = changed(hand, "alignment", within=part, pooled=UP, dominance_within=dominance)
    assert whole(summary, "alignment") == (
        "Within a prompt, a correct response is likelier than a wrong one with probability 0.75 [0.70, 0.80] (50 prompts with "
        "both): likelihood knows which responses are right. The premise of sharpening holds here. Pooled over prompts it is "
        "0.10 [0.05, 0.15], which also rewards knowing which prompts are easy. The likelihoods of correct responses stochastically "
        "dominate those of wrong ones within prompts (p < 0.001 for, p = 0.250 against)."
    )
    assert "dominate" not in whole(changed(summary, "alignment", dominance_within=None), "alignment")
    cut = whole(changed(summary, "sampling", unfinished=0.3), "alignment")
    assert "(50 prompts with both). No verdict: 30.0 % of the responses were cut" in cut and "dominate" not in cut
    unknown = changed(summary, "alignment", within=Interval(None, None, None, 0))
    assert whole(unknown, "alignment") == (
        "No prompt has both correct and incorrect responses, so likelihood cannot be compared with correctness within prompts."
    )
    assert "None of these samples" in whole(dataclasses.replace(summary, alignment=None), "alignment")
    for low, high, flat in ((0.45, 0.55, True), (0.449, 0.55, False), (0.45, 0.551, False)):
        text = whole(changed(summary, "alignment", within=Interval(0.5, low, high, 50)), "alignment")
        assert ("close to a coin flip" in text) == flat != ("it is not shown that likelihood knows" in text)


def test_the_paragraph_and_table_on_what_rewards_are_worth(hand):
    worth = (
        "A reward is worth its correlation with correctness within a prompt, whatever its scale: 1 for correctness itself, 0 for a "
        "reward that says nothing. Best-of-2 by log-likelihood is at +10.0 [+5.0, +15.0] points over one sample; by "
        "correctness it would be at +1.0 [-4.0, +6.0]. That is the AUC inside a prompt where each prompt counts p(1-p), the "
        "variance of its correctness, and not as much as any other."
    )
    slopes = (
        " To first order a tilt by log-likelihood moves accuracy by -10.0 [-15.0, -5.0] points per √(2 nat) of divergence from the "
        "model, and one by correctness by +1.0 [-4.0, +6.0]."
    )
    one = Interval(1.0, 0.9, 1.0, 50)
    rows = (RewardEfficiency("log_likelihood", UP, DOWN, SAME, UP), RewardEfficiency("correctness", one, OPEN, OPEN, OPEN),
            RewardEfficiency("p_true", SAME, UP, UP, DOWN))  # fmt: skip
    summary = changed(hand, "alignment", efficiency=rows)
    assert whole(summary, "efficiency") == worth + slopes
    header, table = efficiency_table(summary)
    assert header == (
        "reward",
        "correlation within prompts",
        "best-of-2 over one sample [points]",
        "per √(2 nat) [points]",
    )
    assert table == [
        ("log likelihood", "0.10 [0.05, 0.15]", "+10.0 [+5.0, +15.0]", "-10.0 [-15.0, -5.0]"),
        ("p true", "0.00 (the same on every prompt)", "-10.0 [-15.0, -5.0]", "+10.0 [+5.0, +15.0]"),
        ("correctness", "1 by definition", "+1.0 [-4.0, +6.0]", "+1.0 [-4.0, +6.0]"),
    ]
    nothing = Interval(None, None, None, 0)
    unbounded = (dataclasses.replace(rows[0], correlation=nothing, slope=nothing, shared_slope=nothing), *rows[1:])
    assert whole(changed(hand, "alignment", efficiency=unbounded), "efficiency") == worth
    for without in (changed(hand, "alignment", efficiency=()), dataclasses.replace(hand, alignment=None)):
        assert "efficiency" not in findings(without) and efficiency_table(without) is None


@pytest.mark.parametrize(
    ("between", "said"),
    [
        (Range(1.0, 2.0), True),
        (Range(0.9, 2.0), False),
        (Range(0.0, None), False),
        (None, False),
        (Range(0.0, 0.0), True),
    ],
)
def test_an_entropy_is_said_where_the_samples_leave_less_than_a_factor_of_two(hand, between, said):
    text = whole(changed(hand, "coverage", renyi_2=between), "coverage")
    assert ("Rényi" in text) == said
    if between == Range(1.0, 2.0):
        assert (
            "The order-2 Rényi entropy, minus the logarithm of the probability that two samples of a prompt are equal, is "
            "between 1.00 and 2.00 nats on average over these prompts, with certainty." in text
        )


def test_the_paragraph_on_levels(hand):
    levels = {
        "prompts": UP,
        "N of best-of-N": Interval(1.0, None, None, 50),
        "decoding methods": Interval(None, None, None, 0),
    }
    sentence = (
        "The probability that the more accurate of two has the higher log-likelihood is, across prompts 0.10 [0.05, 0.15]{} across "
        "N of best-of-N 1.00 (no interval: these prompts leave it the same in every resample){}."
    )
    assert whole(changed(hand, "alignment", levels=levels), "alignment_levels") == sentence.format(" and", "")
    assert whole(changed(hand, "alignment", levels=levels | {"within a prompt": UP}), "alignment_levels") == (
        sentence.format(",", " and within a prompt 0.10 [0.05, 0.15]")
        + " Only the one within a prompt is what selection uses; the others can be high while it is not, and are often quoted "
        "instead."
    )
    assert "alignment_levels" not in findings(changed(hand, "alignment", levels={}))


def test_the_paragraph_on_rewards(hand):
    def reward(name: str, value: float, over: Interval | None) -> RewardCurve:
        return RewardCurve(name, (RewardAccuracy(2, Interval(value, 0.0, 1.0, 50), over),))

    rewards = (
        reward("log_likelihood", 0.5, None), reward("p_true", 0.6, UP), reward("majority", 0.7, UP),
        reward("mine", 0.4, DOWN), reward("other", 0.5, OPEN),
    )  # fmt: skip
    first = "At N = 2: log likelihood 50.0 %, p true 60.0 %, majority 70.0 %, mine 40.0 %, other 50.0 %."
    summary = dataclasses.replace(hand, rewards=rewards)
    assert whole(summary, "rewards") == (
        f"{first} Better than log-likelihood: p true by +10.0 [+5.0, +15.0] and majority by +10.0 [+5.0, +15.0]. Worse than "
        "log-likelihood: mine by -10.0 [-15.0, -5.0]. Not distinguishable from log-likelihood: other +1.0 [-4.0, +6.0]. "
        "Differences are in points, paired over prompts, with 95 % intervals that hold for all of them together."
    )
    cut = whole(changed(summary, "sampling", unfinished=0.3), "rewards")
    assert cut.startswith(f"{first} No verdict: 30.0 % of the responses were cut") and "log-likelihood:" not in cut
    assert "rewards" not in findings(dataclasses.replace(summary, rewards=rewards[:1]))
    assert "rewards" in findings(dataclasses.replace(summary, rewards=rewards[:2]))
    assert "rewards" not in findings(dataclasses.replace(summary, best_of_n=hand.best_of_n[:1]))


def test_the_paragraphs_on_coverage_and_theory(hand):
    known = (
        "The most likely response is certified, by this pool alone, on 0.0 % of the prompts. The coverage coefficient, the mean of "
        "1/p*, is between 1.7 and 3.3 on these prompts; where in between, more samples would tell. Over all prompts of this kind "
        "it is at least 1.5, with 95 % confidence; no sample of prompts can bound it from above. "
    )
    enough = "these samples are enough to expect the likeliest response among them."
    all_, some = changed(hand, "coverage", undersampled=0.0), changed(hand, "coverage", undersampled=0.051)
    few = (
        "even the likeliest response sampled has probability below one in the number of samples: too few to expect the argmax "
        "among them."
    )
    assert whole(all_, "coverage") == f"{known}On every prompt {enough}"
    assert whole(some, "coverage") == f"{known}On 5.1 % of the prompts {few}"
    assert whole(changed(all_, "sampling", n_prompts=1), "coverage") == f"{known}On the prompt {enough}"
    assert whole(changed(some, "sampling", n_prompts=1), "coverage") == f"{known}On the prompt {few}"
    endless = changed(hand, "coverage", coefficient=Range(1.7, None), log_coefficient_high=None)
    assert (
        "is between 1.7 and ∞ (a prompt without a finished response) on these prompts; its upper end is finite only once every "
        "prompt has a finished response, so sample with a larger budget of tokens." in whole(endless, "coverage")
    )
    exact = changed(hand, "coverage", coefficient=Range(2.01, 2.03))
    assert "the mean of 1/p*, is 2.0 on these prompts. Over all" in whole(exact, "coverage")
    assert ("coverage coefficient, mean of 1/p*", "2.0 on these prompts") in headline(exact)
    assert whole(dataclasses.replace(hand, hit_rates=None), "theory") == (
        "No prompt has its argmax certified by half of its samples, so the exact law cannot be compared with a measurement: take "
        "more samples, or use a model or task with shorter responses."
    )
    cut = changed(dataclasses.replace(hand, hit_rates=None), "sampling", unfinished=0.051)
    assert whole(cut, "theory").endswith(
        "with a measurement: sample with a larger budget of tokens, 5.1 % of the responses were cut, or use a model or task "
        "with shorter responses."
    )
    assert "take more samples" in whole(changed(cut, "sampling", unfinished=0.05), "theory")
    refused = dataclasses.replace(hand, coverage=None, coverage_refused="because", cost=())
    assert whole(refused, "coverage") == (
        "These are not log-likelihoods of responses sampled at temperature 1, so coverage is left out, and with it the test of the "
        "exact law, the prediction and the costs: because."
    )
    assert whole(dataclasses.replace(hand, hit_rates=rates((0.5, NARROW))), "theory").endswith(
        "Tested at N = 1: 8 of 16 samples are the argmax where the law expects 8.0, as chance allows (p = 1.000, two-sided and "
        "exact)."
    )
    assert "theory" not in findings(refused) and "cost" not in findings(refused)
    without = tuple(dataclasses.replace(each, tokens=None) for each in hand.cost)
    assert "100 to 200 responses (Theorem 4.1′)." in whole(dataclasses.replace(hand, cost=without), "cost")
    assert "∞" not in whole(hand, "cost")
    for part in ("prompts", "responses", "tokens"):
        endless = (dataclasses.replace(hand.cost[0], **{part: Range(1.0, None)}), *hand.cost[1:])
        assert whole(dataclasses.replace(hand, cost=endless), "cost").endswith(
            "∞ is for the prompts without a finished response, whose p* has no lower bound: sample with a larger budget of tokens. "
            "These are "
            "guarantees for the worst case; their ratios are what to read."
        )


def test_the_sentence_on_a_forecast(hand):
    curve = (Accuracy(2, hand.best_of_n[-1].accuracy), Accuracy(2_048, Interval(0.9, 0.8, 0.95, 50)))
    check = Check(1, 0.5, 0.5, 0.1, True)
    wrong = dataclasses.replace(check, agrees=False)
    said = lambda *checks: whole(dataclasses.replace(hand, prediction=Prediction(curve, checks)), "accuracy")  # noqa: E731
    assert said(check, check, wrong).endswith(
        "With N = 2,048 expect 90.0 % [80.0 %, 95.0 %]; predicting in the same way from a quarter of these samples agrees with the "
        "rest at 2 of 3 values of N, where up to 19.6 points more or less would count as agreement."
    )
    assert said(check, wrong, wrong).endswith(
        "No forecast for larger N: predicting in the same way from a quarter of these samples agrees with the rest at only 1 of 3 "
        "values of N."
    )


def test_the_numbers_to_see_first(hand):
    summary = with_ends(hand)
    part = Interval(0.75, 0.7, 0.8, 50)
    summary = changed(summary, "alignment", within=part, pooled=Interval(0.85, 0.8, 0.9, 50))
    summary = changed(
        summary, "sampling", accuracy=part, unfinished=0.125, n_prompts=1_000, n_samples=2_000, n_samples_max=2_000
    )
    summary = changed(summary, "greedy", accuracy=Interval(0.25, 0.1, 0.4, 50))
    summary = changed(summary, "coverage", certified=0.5, at_least=1_234.5)
    rows = [
        ("prompts × samples", "1,000 (24 graded) × 2,000"),
        ("one sample", "75.0 % [70.0 %, 80.0 %]"),
        ("greedy decoding", "25.0 % [10.0 %, 40.0 %]"),
        ("best of 2 by log-likelihood", "87.5 % [77.5 %, 97.5 %]"),
        ("any of 2 (pass@2)", "93.8 % [83.8 %, 103.8 %]"),
        ("AUC of likelihood, within prompts", "0.75 [0.70, 0.80]"),
        ("AUC of likelihood, pooled", "0.85 [0.80, 0.90]"),
        ("argmax certified on", "50.0 %"),
        ("coverage coefficient, mean of 1/p*", "between 1.7 and 3.3 on these prompts (what the samples leave open)"),
        ("the same on all such prompts", "at least 1,234.5, with 95 % confidence"),
        ("unfinished responses", "12.5 %"),
    ]
    assert headline(summary) == rows
    ragged = changed(summary, "sampling", n_samples=2, n_samples_max=1_500, n_responses=12_345)
    assert headline(ragged)[0] == ("prompts × samples", "1,000 (24 graded) × 2 to 1,500, 12,345 in all")
    assert headline(dataclasses.replace(summary, greedy=None)) == [*rows[:2], *rows[3:]]
    assert headline(changed(summary, "greedy", accuracy=None)) == [*rows[:2], *rows[3:]]
    unknown = changed(summary, "alignment", within=Interval(None, None, None, 0))
    assert headline(unknown) == [*rows[:5], *rows[6:]]
    refused = ("coverage coefficient, mean of 1/p*", "none: the likelihoods are not those of samples at temperature 1")
    assert headline(dataclasses.replace(summary, coverage=None)) == [*rows[:7], refused, rows[-1]]


# Numbers in words -----------------------------------------------------------------------------------------------------


def test_estimates_in_words():
    estimate = Interval(0.8, 0.77, 0.834, 50)
    assert span(estimate) == "0.80 [0.77, 0.83]" and points(estimate) == "+80.0 [+77.0, +83.4]"
    assert share(estimate) == "80.0 % [77.0 %, 83.4 %]"
    assert span(Interval(0.8, None, None, 1)) == "0.80 (no interval: one prompt)"
    assert share(Interval(0.8, None, None, 1)) == "80.0 %"
    assert points(Interval(0.0, 0.0, 0.0, 9)) == "+0.0 (the same on every prompt)"
    assert points(Interval(-1e-9, -1e-4, 1e-4, 9)) == "+0.00 [-0.01, +0.01]"
    assert share(Interval(0.5, 0.5, 0.5, 9)) == "50.0 % (the same on every prompt)"
    assert span(Interval(None, None, None, 0)) == "unknown" and share(Interval(None, None, None, 0)) == "n/a"
    assert (
        span(Interval(0.5, None, None, 9), unlimited="so") == "0.50 (no interval: so)"
        and span(estimate, scale=10, digits=1) == "8.0 [7.7, 8.3]"
    )
    assert span(Interval(-1e-9, -1.0, 1.0, 9), sign=True) == "+0.00 [-1.00, +1.00]"


@pytest.mark.parametrize(
    ("low", "high", "log_high", "words"),
    [
        (2.2, 8.0, np.log(8.0), "between 2.2 and 8.0"),
        (2.2, 1e300, np.log(1e300), "between 2.2 and 10^300.0"),
        (2.2, None, 1e4, "between 2.2 and 10^4342.9"),
        (1_234.56, 999_999.0, None, "between 1,234.6 and 999,999.0"),
        (None, None, 1e4, "between ∞ and 10^4342.9"),
        (2.2, 1e6, np.log(1e6), "between 2.2 and 10^6.0"),
        (2.2, 2.24, np.log(2.24), "2.2"),
        (2.2, None, None, "between 2.2 and ∞ (a prompt without a finished response)"),
    ],
)
def test_the_range_of_the_coverage_coefficient_is_readable_and_no_interval(low, high, log_high, words):
    none = Interval(None, None, None, 0)
    assert coverage_range(Coverage(0.5, Range(low, high), log_high, 1.0, none, none, None, 0.0, None)) == words
    assert "[" not in words


def test_amounts_and_lists_in_words():
    assert amount(Range(132.0, 479.0)) == "132 to 479" and amount(Range(2.0, 2.0)) == "2"
    assert (
        amount(Range(1.15e7, 6.9e7)) == "12 to 69 million"
        and amount(Range(415_287.0, 2.3e6)) == "420,000 to 2.3 million"
    )
    assert amount(Range(9_999.4, 10_010.0)) == "9,999 to 10,000" and amount(Range(9.96e5, 1.04e6)) == "1 million"
    assert (
        amount(Range(2e9, 3.44e12)) == "2 billion to 3.4 trillion"
        and amount(Range(4e14, 1e15)) == "400 trillion to 1.0 × 10^15"
    )
    assert amount(Range(2.5e300, 2.5e300)) == "2.5 × 10^300"
    assert (
        count(1, "prompt") == "1 prompt"
        and count(0, "prompt") == "0 prompts"
        and count(1_024, "sample") == "1,024 samples"
    )
    assert amount(Range(10.0, None)) == "10 to ∞" and amount(Range(10.0, 3e7)) == "10 to 30 million"
    assert amount(Range(None, None)) == "∞" and amount(Range(10_000.0, 1.0e6)) == "10,000 to 1 million"
    assert amount(Range(12.4, 12.6)) == "12 to 13" and amount(Range(12.1, 12.2)) == "12"
    assert percent(None) == "n/a" and percent(0.12345) == "12.3 %"
    assert listed(["a"]) == "a" and listed(["a", "b", "c"]) == "a, b and c"


def test_what_likelihood_leaves_is_that_of_the_largest_n():
    """Sixteen samples of which the likeliest is wrong and eight are right: at N = 2 some are found, at N = 16 none."""
    text = texts(peaked(20, others=0))["accuracy"]
    assert (
        "On another +100.0 [+83.2, +100.0] points there is a correct response among the 16 that likelihood does not pick."
        in text
    )


@pytest.mark.parametrize(
    ("low", "high", "null", "words"),
    [
        (0.4996, 0.61, 0.5, "0.5500 [0.4996, 0.6100]"),
        (0.5, 0.61, 0.5, "0.55 [0.50, 0.61]"),
        (0.004, 0.61, 0.5, "0.55 [0.00, 0.61]"),
        (0.004, 0.61, 0.0, "0.550 [0.004, 0.610]"),
        (0.5501, 0.5502, 0.5, "0.5500 [0.5501, 0.5502]"),
        (0.55, 0.55, 0.0, "0.55 (the same on every prompt)"),
        (0.55, 0.55, 0.549, "0.550 (the same on every prompt)"),
    ],
)
def test_an_interval_is_shown_in_the_digits_that_bear_its_verdict(low, high, null, words):
    assert span(Interval(0.55, low, high, 50), null=null) == words
