"""What a report says where what it rests on fails: likelihoods that are none, sequences too rare, grades that are missing."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sharptheory.report import html
from sharptheory.report.findings import findings
from sharptheory.report.schema import Interval
from sharptheory.report.summary import diagnose
from tests.report.pools import hand_pool, table_pool


@pytest.fixture(scope="module")
def hand():
    return diagnose(hand_pool(n_prompts=24, likely_right=21, greedy_right=6)).summary


def test_averages_per_token_give_no_verdict_about_sharpening():
    pool = hand_pool(n_prompts=24, likely_right=21, greedy_right=6)
    diagnosis = diagnose(pool.assign(log_likelihood=np.where(pool["response"] == "a", -0.05, -0.2)))
    summary, texts = diagnosis.summary, findings(diagnosis.summary)
    assert summary.unmet == ("likelihoods",) and not summary.by_likelihood and summary.coverage is None
    assert "the best of 2 by log_likelihood with 87.5 %" in texts["accuracy"]
    assert "selecting by it is no sharpening" in texts["accuracy"] and "--reward score" in texts["accuracy"]
    everything = " ".join(texts.values())
    assert "Sharpening pays" not in everything and "premise of sharpening holds" not in everything
    assert "nats" not in texts["likelihood"] and texts["likelihood"].startswith("The log_likelihood of the best of 2")
    assert html.question(summary) == "Does selecting by log_likelihood find better responses than one sample?"


def test_the_premise_needs_the_gain_of_best_of_two_as_well(hand):
    assert "The premise of sharpening holds here." in findings(hand)["alignment"]
    rows = tuple(
        dataclasses.replace(row, best_of_two=Interval(0.0149, -0.0001, 0.0294, 24)) for row in hand.alignment.efficiency
    )
    open_ = dataclasses.replace(hand, alignment=dataclasses.replace(hand.alignment, efficiency=rows))
    text = findings(open_)["alignment"]
    assert "premise of sharpening holds" not in text and "is not shown to be above 0" in text
    assert "each prompt counts p(1-p)" in findings(open_)["efficiency"]


def test_rare_sequences_have_no_forecast(monkeypatch):
    summary = diagnose(table_pool(aligned=1.0)).summary
    assert summary.prediction is not None and summary.forecast
    monkeypatch.setattr(type(summary), "by_answers", property(lambda self: True))
    monkeypatch.setattr("sharptheory.report.findings.answers.sentences", lambda summary: [])
    assert summary.forecast == ()
    assert "No forecast for larger N: it would be made from the likelihoods of whole" in findings(summary)["accuracy"]


def test_prompts_without_a_grade_are_counted():
    pool = hand_pool(n_prompts=24, likely_right=21, greedy_right=6)
    pool["correct"] = pool["correct"].astype(object)
    pool.loc[0, "correct"] = None
    summary = diagnose(pool).summary
    expected = "1 prompt of 24 has samples without a grade and is left out of everything about accuracy, which is of the other 23."
    assert expected in findings(summary)["samples"]


def test_the_question_is_that_of_the_reward(hand):
    assert html.question(hand) == html.SHARPENING
    assert html.question(dataclasses.replace(hand, reward="judge")).startswith("Does selecting by judge find")
    assert html.question(dataclasses.replace(hand, reward=None)) == html.NOTHING


def test_the_histogram_within_prompts_is_of_prompts_with_both():
    diagnosis = diagnose(hand_pool(n_prompts=24, likely_right=21, greedy_right=6))
    _, ax = plt.subplots()
    html.figures(diagnosis)["alignment_within"](ax)
    assert "21 prompts with both" in ax.get_xlabel()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["correct (21)", "incorrect (21)"]
    plt.close("all")
