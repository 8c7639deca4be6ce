"""Reports about another reward than log-likelihood, and about pools that have no likelihoods."""

import json

import numpy as np
import pandas as pd
import pytest

from sharptheory.errors import UserError
from sharptheory.measure.alignment import auc_within
from sharptheory.measure.best_of_n import curve, pass_at_n
from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from sharptheory.measure.rewards import load_reward
from sharptheory.measure.selection import majority_curve
from sharptheory.report.findings import findings, headline
from sharptheory.report.html import write_report
from sharptheory.report.schema import Summary
from sharptheory.report.summary import diagnose
from tests.measure.foreign import DATA
from tests.report.pools import table_pool


@pytest.fixture(scope="module")
def judged():
    """A judge that mostly knows, on a scale that is no log-probability; lengths and answers."""
    pool, rng = table_pool(aligned=0.7, n_prompts=40, m=16), np.random.default_rng(0)
    judge = 100 + 30 * (pool["correct"].astype(float) + rng.normal(size=len(pool)))
    answer = np.where(pool["correct"], "right", rng.choice(["a", "b", "c"], size=len(pool)))
    return pool.assign(judge=judge, seed=7, length=rng.integers(1, 9, len(pool)), answer=answer)


def mean(table, n: int) -> float:
    return pytest.approx(table[n].mean())


def test_a_report_about_a_column(judged):
    summary = diagnose(judged, reward="judge").summary
    assert summary.reward == summary.rewards[0].name == "judge" and summary.notes == (
        "Further rewards: judge.",
        "No rewards: seed (an identifier).",
    )
    assert summary.best_of_n[-1].accuracy.value == mean(curve(judged, "judge", "correct", [16]), 16)
    assert summary.best_of_n[-1].log_likelihood.value == mean(curve(judged, "judge", "log_likelihood", [16]), 16)
    assert summary.alignment.within.value == pytest.approx(auc_within(judged, "judge").value)
    assert summary.alignment.levels == {} and summary.prediction is None and summary.length.confound is None
    others = {reward.name: reward for reward in summary.rewards[1:]}
    own = curve(judged, "judge", "correct", [16])[16]
    over = curve(judged, "log_likelihood", "correct", [16])[16] - own
    assert others["log_likelihood"].over_reward.value == pytest.approx(over.mean())
    assert summary.coverage is not None and summary.hit_rates is not None  # their chapters need no other reward


def test_its_sentences_name_the_reward(judged):
    summary = diagnose(judged, reward="judge").summary
    texts = findings(summary)
    assert "the best of 16 by judge with" in texts["accuracy"] and "Selecting by judge pays: +" in texts["accuracy"]
    assert "that judge does not pick" in texts["accuracy"] and "likelihood" not in texts["accuracy"]
    assert "a correct response has a higher judge than a wrong one" in texts["alignment"]
    assert "judge knows which responses are right." in texts["alignment"] and "likelihood" not in texts["alignment"]
    assert "Best-of-2 by judge is at +" in texts["efficiency"]
    assert texts["likelihood"].startswith("The log-likelihood of the best of 16 by judge is ")
    assert (
        "than judge: majority" in texts["rewards"]
        or "from judge: majority" in texts["rewards"]
        or "judge" in texts["rewards"]
    )
    assert "Inside a prompt the AUC is 0." in texts["rewards"]
    names = [name for name, _ in headline(summary)]
    assert "best of 16 by judge" in names and "AUC of judge, within prompts" in names


def test_a_reward_that_prefers_wrong_responses_hurts(judged):
    accuracy = findings(diagnose(judged.assign(judge=-judged["judge"]), reward="judge").summary)["accuracy"]
    assert "Bad news: selecting by judge hurts by -" in accuracy and "training" not in accuracy


def test_any_column_is_compared_without_being_asked_for(judged):
    summary = diagnose(judged).summary
    assert summary.reward == "log_likelihood" and "judge" in [reward.name for reward in summary.rewards]
    found = next(reward for reward in summary.rewards if reward.name == "judge")
    assert found.curve[-1].accuracy.value == mean(curve(judged, "judge", "correct", [16]), 16)
    assert found.auc.value == pytest.approx(auc_within(judged, "judge").value)
    assert found.auc.value in [pytest.approx(reward.auc.value) for reward in summary.rewards if reward.auc is not None]
    assert "judge" in [row.name for row in summary.alignment.efficiency]


def test_without_likelihoods_a_reward_carries_the_report(judged):
    bare = judged.drop(columns="log_likelihood")
    summary = diagnose(bare, reward="judge").summary
    assert summary.best_of_n[-1].accuracy.value == mean(curve(bare, "judge", "correct", [16]), 16)
    assert summary.sampling.log_likelihood.value is None and summary.gain_over_sampling.log_likelihood.value is None
    assert summary.coverage is None and summary.coverage_refused == "the pool has no log-likelihoods"
    texts = findings(summary)
    assert not {"likelihood", "coverage", "theory", "cost", "alignment_levels"} & set(texts)
    assert (
        "No log-likelihoods: best-of-N by judge, brevity and majority only; nothing about coverage" in texts["samples"]
    )


def test_without_any_reward_there_is_one_sample_the_vote_and_pass_at_n(judged):
    bare = judged.drop(columns=["log_likelihood", "judge", "length"])
    summary = diagnose(bare).summary
    assert summary.reward is None and [point.n for point in summary.best_of_n] == [1] and summary.missed is None
    assert summary.pass_at_n[-1].n == 16 and summary.pass_at_n[-1].accuracy.value == mean(pass_at_n(bare, [16]), 16)
    (vote,) = summary.rewards
    assert vote.name == "majority" and vote.auc is None and vote.over_reward is None
    assert vote.curve[-1].accuracy.value == mean(majority_curve(bare, [16]), 16)
    texts, names = findings(summary), dict(headline(summary))
    assert "there is nothing to select a response by. At least one of 16 is right on" in texts["accuracy"]
    assert (
        "best-of-N by majority only" in texts["samples"]
        and "majority of 16" in names
        and "any of 16 (pass@16)" in names
    )
    assert not any("best of" in name or "coverage coefficient, mean" in name for name in names)
    open_ = findings(diagnose(judged.drop(columns="log_likelihood")).summary)["accuracy"]
    assert "; --reward makes the report about brevity or judge. At least" in open_


def test_counts_give_pass_at_n_and_nothing_else(tmp_path):
    (tmp_path / "a.csv").write_text("task_id,n,c\n" + "".join(f"t{i},20,{i % 20}\n" for i in range(40)))
    texts = findings(diagnose(read_pool(tmp_path / "a.csv")).summary)
    assert set(texts) == {"samples", "accuracy"}
    assert (
        texts["samples"].startswith("Read as counts. Counts only: how many")
        and "no best-of-N; nothing" in texts["samples"]
    )


@pytest.mark.parametrize(
    "name", ["samples_repeated.jsonl", "samples_filtered.jsonl", "inspect.eval", "inspect_hf.json", "chat.jsonl"]
)
def test_every_log_becomes_a_report(tmp_path, name):
    diagnosis = diagnose(read_pool(DATA / name))
    report = write_report(diagnosis, tmp_path, title=name).read_text()
    assert "The samples" in report and "Read as" in report
    assert ("No log-likelihoods" in report) == (name not in ("inspect.eval", "chat.jsonl"))
    text = (tmp_path / "summary.json").read_text()
    assert Summary.from_json(text) == diagnosis.summary
    json.loads(text, parse_constant=lambda constant: pytest.fail(constant))


def test_what_a_pool_lacks_entirely_is_said(judged):
    summary = diagnose(judged[["prompt_id", "answer"]]).summary
    assert "No grades: nothing about accuracy" in findings(summary)["samples"] and not summary.graded
    single = judged.groupby("prompt_id").head(1)
    assert "One sample of a prompt: there is nothing to select from." in findings(diagnose(single).summary)["samples"]


def test_greedy_responses_need_no_likelihoods(judged):
    greedy = judged.groupby("prompt_id").head(1).assign(source="greedy", sample_id=-1)
    bare = Pool.from_frame(pd.concat([judged, greedy]).drop(columns="log_likelihood"))
    summary = diagnose(bare, reward="judge").summary
    assert summary.greedy.log_likelihood.value is None and summary.gain_over_greedy.accuracy.value is not None


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        ("correctness", "reward 'correctness' knows grades or all responses; expected one that can select"),
        ("answer_share", "reward 'answer_share' knows grades or all responses"),
        ("nothing", "reward 'nothing' is unknown"),
        ("self_certainty", "reward 'self_certainty' needs column 'self_certainty', which is missing"),
        ("answer", "reward 'answer': this column says what a response is, not how good; expected one of"),
        ("prompt_id", "reward 'prompt_id': this column says what a response is"),
        ("correct", "reward 'correct': this column is the grade itself"),
        ("typo", "correctness, judge, seed, or ./file.py:name"),
    ],
)
def test_what_cannot_carry_a_report_is_refused(judged, reward, message):
    with pytest.raises(UserError, match=message):
        diagnose(judged, reward=reward)


def test_a_loaded_reward_carries_a_report(judged, tmp_path):
    (tmp_path / "mine.py").write_text("def mine(pool):\n    return pool['judge'] ** 3\n")
    by_file, by_name = (diagnose(judged, reward=r).summary for r in (load_reward(f"{tmp_path}/mine.py:mine"), "judge"))
    assert by_file.reward == "mine" and by_file.best_of_n == by_name.best_of_n
