"""Reports: the sentences follow from the numbers, good news or bad; smaller input gives a smaller honest report."""

import json

import numpy as np
import pandas as pd
import pytest

from sharptheory.measure.pool import validate_pool
from sharptheory.report.findings import findings
from sharptheory.report.html import FIGURES, write_report
from sharptheory.report.summary import curve_grid, diagnose
from sharptheory.theory import bounds
from tests.conftest import pool_from_table


def table_pool(*, aligned: float, n_prompts: int = 40, m: int = 32, seed: int = 0) -> pd.DataFrame:
    """A pool whose likeliest response is the correct one on a share `aligned` of the prompts."""
    rng = np.random.default_rng(seed)
    probs = np.sort(rng.dirichlet(np.full(6, 0.6), size=n_prompts), axis=1)[:, ::-1]
    right = np.where(rng.random(n_prompts) < aligned, 0, 4)
    return validate_pool(pool_from_table(probs, m, rng, correct=np.arange(6) == right[:, None]))


def test_good_news():
    summary = diagnose(table_pool(aligned=1.0)).summary
    said = findings(summary)
    assert "Sharpening pays" in said["accuracy"] and "premise of sharpening holds" in said["alignment"]
    assert summary["best_of_n"][-1]["accuracy"] > 0.9 > summary["sampled_accuracy"]
    assert summary["gain_over_sampling"]["low"] > 0


def test_bad_news():
    summary = diagnose(table_pool(aligned=0.0)).summary
    said = findings(summary)
    assert "Bad news" in said["accuracy"] and "anti-aligned" in said["alignment"]
    assert "that likelihood does not pick" in said["accuracy"]
    assert summary["auc_within"]["high"] < 0.5


def test_no_news():
    """Responses all equally likely: likelihood selects at random, and the report claims nothing."""
    rng = np.random.default_rng(0)
    pool = validate_pool(pool_from_table(np.full((30, 4), 0.25), 16, rng, correct=np.eye(4)[rng.integers(0, 4, 30)]))
    said = findings(diagnose(pool).summary)
    assert "not distinguishable from none" in said["accuracy"] and "coin flip" in said["alignment"]


def test_summary_numbers_are_those_of_the_pool():
    pool = table_pool(aligned=0.6)
    summary = diagnose(pool).summary
    assert summary["n_prompts"] == 40 and summary["n_samples"] == 32
    assert summary["sampled_accuracy"] == pytest.approx(pool["correct"].mean())
    assert [row["n"] for row in summary["best_of_n"]] == list(range(1, 33))
    assert summary["best_of_n"][0]["accuracy"] == pytest.approx(summary["pass_at_n"][0]["accuracy"])
    assert summary["best_of_n"][0]["log_likelihood"] == pytest.approx(pool["log_likelihood"].mean())
    top = pool.loc[pool.groupby("prompt_id")["log_likelihood"].idxmax()]
    assert summary["best_of_n"][-1]["accuracy"] == pytest.approx(top["correct"].mean())
    any_right = pool.groupby("prompt_id")["correct"].any().mean()
    assert summary["pass_at_n"][-1]["accuracy"] == pytest.approx(any_right)
    for row in summary["best_of_n"]:
        assert row["low"] <= row["accuracy"] <= row["high"]
    assert 0 <= summary["coverage"]["certified_fraction"] <= 1
    assert summary["coverage"]["c_cov_bar_low"] <= summary["coverage"]["c_cov_bar_high"]


def test_short_responses_winning_is_said():
    pool = table_pool(aligned=0.0)
    rank = pool.groupby("prompt_id")["log_likelihood"].rank(ascending=False)
    said = findings(diagnose(pool.assign(length=10 + rank)).summary)
    assert "Short responses are winning" in said["likelihood"]


def test_unfinished_responses_are_warned_about():
    pool = table_pool(aligned=1.0)
    pool["finished"] = np.arange(len(pool)) % 10 != 0
    said = findings(diagnose(pool).summary)
    assert "10.0 % of the responses were cut" in said["likelihood"]


def test_likelihood_only_pool(tmp_path):
    diagnosis = diagnose(table_pool(aligned=1.0).drop(columns="correct"))
    assert diagnosis.summary["pass_at_n"] is None and diagnosis.summary["auc_within"] is None
    assert diagnosis.summary["best_of_n"][3]["accuracy"] is None
    assert set(findings(diagnosis.summary)) == {"likelihood", "coverage", "theory", "cost"}
    write_report(diagnosis, tmp_path, title="t")
    assert not (tmp_path / "accuracy.png").exists() and (tmp_path / "log_likelihood.png").exists()


@pytest.mark.parametrize("answer", [True, False])
def test_unanimous_pools(tmp_path, answer):
    pool = table_pool(aligned=1.0).assign(correct=answer)
    diagnosis = diagnose(validate_pool(pool))
    said = findings(diagnosis.summary)
    assert f"Every response is {'correct' if answer else 'incorrect'}" in said["accuracy"]
    assert "No prompt has both" in said["alignment"]
    last = diagnosis.summary["best_of_n"][-1]
    assert (last["low"] > 0.8 and last["low"] < 1) if answer else (last["high"] < 0.2 and last["high"] > 0)
    write_report(diagnosis, tmp_path, title="t")


def test_one_sample_per_prompt(tmp_path):
    diagnosis = diagnose(table_pool(aligned=1.0, m=1))
    assert "best-of-N needs more samples" in findings(diagnosis.summary)["accuracy"]
    assert diagnosis.hit_rates is None
    write_report(diagnosis, tmp_path, title="t")


def test_one_prompt(tmp_path):
    diagnosis = diagnose(table_pool(aligned=1.0, n_prompts=1))
    assert diagnosis.summary["gain_over_sampling"]["low"] is None
    assert "no conclusion" in findings(diagnosis.summary)["accuracy"]
    write_report(diagnosis, tmp_path, title="t")


def test_partly_graded_pool():
    pool = table_pool(aligned=1.0)
    pool.loc[pool["prompt_id"] < 10, "correct"] = pd.NA
    summary = diagnose(pool).summary
    assert summary["n_graded_prompts"] == 30 and summary["n_prompts"] == 40


def test_minuscule_likelihoods_do_not_overflow(tmp_path):
    pool = table_pool(aligned=1.0)
    pool["log_likelihood"] *= 1_000
    diagnosis = diagnose(pool)
    write_report(diagnosis, tmp_path, title="t")
    coverage = json.loads((tmp_path / "summary.json").read_text())["coverage"]
    assert coverage["c_cov_bar_high"] is None and coverage["log_c_cov_bar_high"] > 709
    assert "10^" in findings(diagnosis.summary)["coverage"]


def test_report_is_complete_and_self_contained(tmp_path):
    diagnosis = diagnose(table_pool(aligned=0.8), provenance={"seed": 0})
    html = write_report(diagnosis, tmp_path, title="<my model>").read_text()
    images = list(filter(None, (name for _, name in FIGURES.values())))
    assert "&lt;my model&gt;" in html and html.count("data:image/png;base64,") == len(images)
    assert "http" not in html.replace("http-equiv", "") and "<script" not in html
    for name in images:
        assert (tmp_path / name).stat().st_size > 5_000
    for text in findings(diagnosis.summary).values():
        assert text.split(". ")[0].replace("'", "&#39;")[:40] in html
    assert json.loads((tmp_path / "summary.json").read_text())["provenance"] == {"seed": 0}


def test_curve_grid():
    assert curve_grid(5).tolist() == [1, 2, 3, 4, 5]
    large = curve_grid(10_000)
    assert large[0] == 1 and large[-1] == 10_000 and len(large) < 140 and np.all(np.diff(large) > 0)


def test_cost_rows_are_the_bounds():
    """At both ends of the certified coverage; adaptive needs a 1/ε less than SFT."""
    summary = diagnose(table_pool(aligned=1.0).assign(length=5)).summary
    sft, adaptive, rlhf = summary["cost"]
    at = lambda key: bounds.sft_cost(eps=0.1, delta=0.1, rho=1.0, log_class=1.0, coverage=summary["coverage"][key])  # noqa: E731
    assert sft["queries_low"] == at("c_cov_bar_low").queries and sft["queries_high"] == at("c_cov_bar_high").queries
    assert sft["tokens_low"] == 5 * sft["queries_low"] and adaptive["queries_high"] < sft["queries_high"] / 5
    assert rlhf["responses_low"] == 2 and rlhf["prompts_low"] <= rlhf["prompts_high"]
    assert "1,8" not in findings(summary)["accuracy"] and "RLHF-Sharpening:" in findings(summary)["cost"]


def test_prediction_levels_and_dominance_are_said():
    said = findings(diagnose(table_pool(aligned=0.9)).summary)
    assert "With N = 256 expect" in said["accuracy"] and "of 5 values of N" in said["accuracy"]
    assert "stochastically dominate" in said["alignment"] and "within a prompt 0." in said["alignment_levels"]
