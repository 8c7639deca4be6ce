"""The chapter on answers: beside those on responses, and instead of them where responses are too rare."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from sharptheory.measure.bootstrap import Estimate
from sharptheory.report import plots
from sharptheory.report.findings import findings, headline
from sharptheory.report.html import write_report
from sharptheory.report.schema import Interval, Range, Summary
from sharptheory.report.summary import diagnose
from tests.measure.test_self_consistency import worlds


def rare(pool: pd.DataFrame) -> pd.DataFrame:
    """The same answers, in responses none of which comes twice or has mass."""
    rows = range(len(pool))
    return pool.drop(columns="tokens").assign(
        response=[f"{i}" for i in rows], log_likelihood=-500.0 - np.arange(len(pool)) / 9
    )


@pytest.fixture(scope="module")
def pool() -> pd.DataFrame:
    return worlds(np.random.default_rng(0), 30, 64, concentration=0.3)[0]


@pytest.fixture(scope="module")
def common(pool):
    return diagnose(pool)


@pytest.fixture(scope="module")
def instead(pool):
    return diagnose(rare(pool))


def test_answers_stand_beside_responses(common):
    summary, texts = common.summary, findings(common.summary)
    assert not summary.by_answers and {"coverage", "theory", "answers", "cost"} <= set(texts)
    answers = summary.answers
    assert answers.certified > 0.8 and answers.limit_by == "likelihood" and answers.law.by == "likelihood"
    assert answers.coefficient.low <= answers.coefficient.high < 3
    assert "by likelihoods alone, on" in texts["answers"] and "responses were cut or have no answer" in texts["answers"]
    assert "its limit is known on" in texts["answers"] or "tends to an accuracy of" in texts["answers"]
    assert Summary.from_json(summary.to_json()) == summary


def test_answers_stand_instead_of_responses_that_are_too_rare(common, instead, tmp_path):
    summary, texts = instead.summary, findings(instead.summary)
    assert summary.by_answers and summary.coverage.certified == 0
    assert {"coverage", "theory", "cost"}.isdisjoint(texts) and texts["answers"].startswith(
        "The most likely response is certified on only 0.0 % of the prompts: these samples hold too little"
    )
    rows = dict(headline(summary))
    assert "argmax certified on" not in rows and rows["limit of the majority vote"].count("%") in (1, 2)
    assert summary.answers.certified == 0 and summary.answers.limit_by == "votes" and summary.answers.law.by == "votes"
    assert summary.answers.shown == common.summary.answers.shown > 0.4
    assert summary.answers.low_estimate == common.summary.answers.low_estimate
    page = write_report(instead, tmp_path, title="rare").read_text()
    assert "Answers, whatever the responses around them" in page and (tmp_path / "answers.png").is_file()
    assert "Coverage profile" not in page and not (tmp_path / "coverage_profile.png").exists()


def test_votes_suffice(pool):
    """No text and no token ids: nothing is certified, and the sentence says what that takes, with or without likelihoods."""
    summary = diagnose(pool.drop(columns="tokens")).summary
    assert summary.answers.certified is None and summary.answers.coefficient is None
    left_out = "it is certified on none, and the vote by answer mass is left out, as it cannot be known what mass answers have: "
    assert f"{left_out}column 'response' or 'tokens' is missing; the pool has" in findings(summary)["answers"]
    unscored = findings(diagnose(pool.drop(columns="log_likelihood")).summary)["answers"]
    assert (
        "it is certified on none, for that takes likelihoods, and so does the vote by answer mass, which is" in unscored
    )
    assert summary.answers.limit_by == "votes" and summary.answers.limit_low.value <= summary.answers.limit_high.value
    refused = diagnose(pool.assign(log_likelihood=-0.01)).summary
    assert refused.coverage is None and refused.answers.certified is None and refused.answers.shown > 0
    assert f"{left_out}prompt" in findings(refused)["answers"] and "total probability" in findings(refused)["answers"]


def test_without_answers_there_is_no_chapter(pool):
    for none in (pool.drop(columns="answer"), pool.assign(finished=False)):
        summary = diagnose(none).summary
        assert summary.answers is None and not summary.by_answers and "answers" not in findings(summary)


def test_ungraded_answers_have_no_limit(pool):
    summary = diagnose(pool.drop(columns="correct")).summary
    assert summary.answers.limit_low is summary.answers.limit_known is summary.answers.limit_by is None
    assert "accuracy" not in findings(summary)["answers"]


def test_sentences_say_what_the_numbers_are(common):
    summary = common.summary
    replaced = lambda **fields: findings(  # noqa: E731
        dataclasses.replace(summary, answers=dataclasses.replace(summary.answers, **fields))
    )["answers"]
    known = dict(limit_known=1.0, limit_by="votes", limit_high=summary.answers.limit_low)
    assert (
        f"tends to an accuracy of {100 * summary.answers.limit_low.value:.1f} % on these prompts, with 95 %"
        in replaced(**known)
    )
    assert "On 25.0 % of the prompts no answer came twice" in replaced(unrepeated=0.25)
    assert "it is 2.0 to 4.0 times as likely as the next" in replaced(median_margin=Range(1.0, 3.0))
    assert "it is 2.0 to any number of times" in replaced(median_margin=Range(1.0, None))
    assert "is 1.50 on these prompts by likelihoods" in replaced(coefficient=Range(1.5, 1.5))
    unbounded = "is at least 1.00 on these prompts by likelihoods, which bound it by nothing from above; it is"
    assert all(unbounded in replaced(coefficient=Range(1.0, high)) for high in (1e110, None))
    assert "is between 1.00 and 999,999.00 on these prompts" in replaced(coefficient=Range(1.0, 999_999.0))
    crossed = replaced(low_estimate=Interval(1.2, 1.1, 1.3, 12), high_estimate=Interval(1.19, 1.0, 1.4, 12))
    assert "it is 1.19 [1.00, 1.40] to 1.20 [1.10, 1.30] by votes (chance has the estimate from below above" in crossed
    by_votes = replaced(limit_known=0.65, limit_by="votes")
    assert (
        "known on 65.0 % of them, where the test shows the most likely answer at 5 % for all prompts together"
        in by_votes
    )
    assert "for all prompts together" not in replaced(limit_known=0.65, limit_by="likelihood")
    law = summary.answers.law
    off = dataclasses.replace(
        law.curve[0], difference=dataclasses.replace(law.curve[0].difference, value=0.2, low=0.1, high=0.3)
    )
    text = replaced(law=dataclasses.replace(law, curve=(off, *law.curve[1:])))
    assert (
        f"differs from its exact law at {1 + law.disagreements} of {len(law.curve)}" in text
        or law.curve[0].difference.direction()
    )
    few = dataclasses.replace(off, difference=dataclasses.replace(off.difference, n_prompts=19))
    text = replaced(law=dataclasses.replace(law, curve=(few, *law.curve[1:])))
    assert text.endswith("the majority is compared with its exact law: 19 prompts decide nothing, 20 are needed.")
    one = dataclasses.replace(off, difference=dataclasses.replace(off.difference, n_prompts=1))
    assert "1 prompt decides nothing, 20 are" in replaced(law=dataclasses.replace(law, curve=(one, *law.curve[1:])))
    by_votes = dataclasses.replace(law, by="votes")
    why = "The law is that of votes, though likelihoods certify more prompts: half of the samples have 95 % of the mass"
    assert why in replaced(law=by_votes, certified=0.9, shown=0.8)
    for fields in (dict(law=by_votes, certified=0.8, shown=0.8), dict(law=law, certified=0.9, shown=0.8)):
        assert why not in replaced(**fields)
    assert "take more samples" in replaced(law=None)


def test_votes_that_contradict_likelihoods_are_said_to(pool):
    """Of responses cut at random, whatever they are, likelihoods prove more than votes can find."""
    rng = np.random.default_rng(0)
    cut = pool.loc[pool.index.repeat(8)].reset_index(drop=True)
    cut = cut.assign(prompt_id=np.arange(len(cut)) % 8 * 30 + cut["prompt_id"], finished=rng.random(len(cut)) < 0.3)
    summary = diagnose(cut).summary
    assert summary.answers.at_least > summary.answers.coefficient.high
    said = "Votes and likelihoods contradict each other: Votes count what was cut as no answer, while to likelihoods it may"
    assert said in findings(summary)["answers"]
    assert "contradict" not in findings(diagnose(pool).summary)["answers"]


def test_plot_of_the_plurality_draws_law_and_measurement(instead):
    import matplotlib.pyplot as plt

    rates = instead.plurality
    figure, ax = plt.subplots()
    plots.plurality_rates(rates, ax)
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_allclose(lines["theory: law of the plurality, by votes"].get_ydata(), rates.predicted)
    plt.close(figure)


@pytest.mark.parametrize(
    ("n_prompts", "title"), [(1, "no bars: only 1 prompt"), (19, "no bars: only 19 prompts"), (20, "20 prompts")]
)
def test_plot_of_the_plurality_has_bars_where_the_text_judges(instead, n_prompts, title):
    import matplotlib.pyplot as plt

    rates = instead.plurality
    last = np.array([1, 2, 4, 8, 12])
    estimate = Estimate(np.full(5, 0.5), np.full(5, 0.4), np.full(5, 0.6), n_prompts)
    figure, ax = plt.subplots()
    plots.plurality_rates(dataclasses.replace(rates, n=last, predicted=np.full(5, 0.5), measured=estimate), ax)
    assert ax.containers[0].has_yerr == (n_prompts >= 20) and ax.get_legend().get_title().get_text() == title
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "4", "8", "12"]
    plt.close(figure)
