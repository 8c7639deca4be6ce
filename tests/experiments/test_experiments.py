"""Every experiment runs in its quick version and its figure draws; what the captions say is true of committed results."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from experiments import figures, tables
from experiments.drawing.calibration import KINDS
from experiments.drawing.training import closed, factor, final, gap_closed
from experiments.record import RESULTS
from sharptheory.measure.bootstrap import ratio_of_means

#: Even quick, they start processes that take half a minute.
LONG = {"pool_size"}


@pytest.mark.parametrize(
    "experiment",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LONG else ())
        for name in sorted({drawn.data for drawn in figures.DRAW.values()})
    ],
)
def test_experiment_runs_and_its_figures_draw(experiment, tmp_path, monkeypatch):
    command = [sys.executable, "-m", f"experiments.{experiment}", "--quick", "--out", str(tmp_path)]
    subprocess.run(command, cwd=tables.ROOT, check=True)
    assert json.loads((tmp_path / f"{experiment}.json").read_text())["provenance"]["versions"]
    names = [name for name, drawn in figures.DRAW.items() if drawn.data == experiment]
    monkeypatch.setattr(sys, "argv", ["figures", *names, "--results", str(tmp_path), "--out", str(tmp_path / "f")])
    figures.main()
    for name in names:
        assert (tmp_path / f"f/{name}.png").stat().st_size > 10_000 and (tmp_path / f"f/{name}.pdf").is_file()
        assert (tmp_path / f"f/{name}.md").read_text().strip()


def test_the_gallery_has_every_figure_and_its_links_lead_somewhere():
    assert {name for names in figures.CHAPTERS.values() for name in names} == set(figures.DRAW)
    text = figures.gallery(figures.FIGURES)
    assert (figures.FIGURES / "README.md").read_text() == text
    for name in figures.DRAW:
        assert f"]({name}.png)" in text
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (figures.FIGURES / target).is_file(), target


@pytest.mark.parametrize("page", [*tables.PAGES, tables.STATISTICS_PAGE])
def test_tables_of_numbers_are_those_of_the_results(page):
    text = (tables.ROOT / page).read_text()
    assert text == tables.filled(text)
    assert len(re.findall("<!-- end -->", text)) >= (3 if page in tables.PAGES else 1)


def table(name: str) -> pd.DataFrame:
    return pd.read_parquet(RESULTS / f"{name}.parquet")


def test_answer_mass_caption():
    """Above the majority vote at every N beyond 1 on both models, and beyond chance up to N = 16."""
    rows = table("answer_mass").query("n > 1")
    masses = rows[rows["method"].str.startswith("answer mass")]
    assert masses["over_majority"].min() > 0 and masses.query("n <= 16")["over_majority_low"].min() > 0
    few, many = (masses.query(f"n == {n}")["over_majority"].mean() for n in (4, 50))
    assert few > many > 0


def test_minimax_caption():
    rows = table("minimax")
    exact = {
        curve: part.set_index("eps")["queries"] for curve, part in rows[rows["kind"] != "measured"].groupby("curve")
    }
    minimax, sft, adaptive = (exact[c] for c in ("minimax, non-adaptive", "SFT-Sharpening", "adaptive SFT-Sharpening"))
    assert (
        (minimax <= sft).all() and (sft <= exact["SFT-Sharpening, Theorem 4.1′"]).all() and (sft <= 5 * minimax).all()
    )
    assert (adaptive <= exact["adaptive SFT, Theorem D.1"]).all()
    for curve, slope in ((minimax, -2), (sft, -2), (adaptive, -1)):
        assert np.polyfit(np.log(curve.index), np.log(curve), 1)[0] == pytest.approx(slope, abs=0.05)
    measured = rows[rows["kind"] == "measured"]
    on_curve = np.exp(np.interp(np.log(measured["eps"]), np.log(sft.index), np.log(sft)))
    np.testing.assert_allclose(measured["queries"], on_curve, rtol=0.25)


def test_coverage_and_margin_captions():
    rows = table("coverage_error")
    assert (rows["low"] <= rows["bound"]).all() and (rows[rows["n_responses"] == 512]["error"] == 0).all()
    rows = table("margin").set_index("method")
    assert (rows.loc["RLHF, β from the margin", "low"] <= rows.loc["RLHF, β from the margin", "bound"]).all()
    assert rows.loc["RLHF, β = 0.05", "error"].max() == 1 and rows.loc["SFT-Sharpening, N = 16", "error"].max() < 0.01


def test_adaptive_caption():
    rows = table("adaptive")
    rows = rows[rows["panel"] == "samples"]
    spread = (rows["high"] - rows["low"]) / 3.92
    assert (np.abs(rows["measured"] - rows["exact"]) <= 4 * spread).all() and (rows["exact"] <= rows["bound"]).all()


def test_planning_caption():
    rows = table("planning")
    groups = rows.groupby(["effect", "pilot_prompts", "world", "quantity"])
    power, needed = groups["power"].mean(), groups["prompts_needed"].median()
    two_points, five_points = power[0.02], power[0.05]
    assert set(rows["effect"]) == {0.02, 0.05} and (np.abs(two_points.loc[300:] - 0.8) < 0.0205).all()
    assert (groups["range_holds"].mean().loc[:, 300:] >= 0.9).all()
    small = rows[(rows["effect"] == 0.02) & (rows["pilot_prompts"] == 30)].groupby(["world", "quantity"])["power"]
    ends = small.quantile([0.05, 0.95])
    assert round(ends.min(), 2) == 0.51 and round(ends.max(), 2) == 0.94
    excess = (five_points - 0.8)[needed[0.05] < 100]
    assert 0.06 < excess.max() < 0.07 and excess.loc[300:].min() > 0


def test_separation_and_realizability_captions():
    rows = table("separation").set_index("d")
    assert (
        rows.loc[20, "n_responses"] == 2**20
        and (rows["theta_error"] < 1e-5).all()
        and (rows["margin"] > np.expm1(1 / 32)).all()
    )
    assert rows.loc[20, "dpo_queries"] < 50 < 1e6 < rows.loc[20, "sft_responses"]
    assert rows.loc[12, "xpo_queries"] < rows.loc[12, "sft_responses"] / 5 and rows.loc[4:12, "xpo_mass"].min() > 0.9
    rows = table("realizability")
    assert (rows["trained"] <= 0.5 + 1e-9).all() and rows["best_of_n"].iloc[-1] > 0.999


def test_other_captions():
    rows = table("bon_aware")
    values = rows[rows["panel"] == "trained"].pivot(index="trained_for", columns="n", values="value").to_numpy()
    np.testing.assert_array_equal(values.argmax(axis=0), np.arange(4))
    many, one = (rows[rows["panel"] == f"T*, {kind}"]["value"] for kind in ("many prompts", "one prompt"))
    assert many.is_monotonic_increasing and one.nunique() == 1
    assert table("iterated")["gap"].max() < 1e-9
    rows = table("reward_error").set_index("method")["true_reward"]
    assert rows["best-of-N"].iloc[-1] < 0.01 < 0.6 < rows["χ²-pessimism, β = 0.1"].iloc[-1]
    rows = table("laws")
    frontier = rows[rows["panel"] == "frontier"]
    for best, cost in (("tilted", "kl"), ("χ²-regularised", "concentrability")):
        optimal = frontier[frontier["law"] == best].sort_values(cost)
        loss = frontier["reward"] - np.interp(frontier[cost], optimal[cost], optimal["reward"])
        assert loss.max() < 1e-3 and loss[frontier["law"] == "best-of-N"].min() > -0.03
    rows = rows[rows["panel"] == "greedy"]
    assert (rows.loc[rows["p_best"] > 0.5, "found"] == 1).all() and (rows.loc[rows["p_best"] < 0.5, "found"] < 1).any()


def test_the_papers_protocol_captions():
    rows = table("paper")
    exact = rows[rows["panel"] == "theory"]
    inside = (exact["law_low"] <= exact["accuracy_high"]) & (exact["accuracy_low"] <= exact["law_high"])
    assert inside.all() and (exact["law_low"] <= exact["limit"] + 1e-12).all()
    settings = rows.groupby(["model", "label"])
    assert len(settings) == 6 and (settings["finding"].nunique() == 6).all()


def test_calibration_caption():
    """And what docs/statistics.md says of it."""
    rows = table("calibration")
    assert set(rows["quantity"]) == set(KINDS) and (rows["pools"] == 2_000).all()
    assert rows["n_prompts"].min() == 20 and rows["n_prompts"].max() == 1_000
    at = rows.set_index(["world", "quantity", "n_prompts"])["coverage"]
    benign = at["benign"].unstack().drop("forecast")
    assert benign[100].min() > 0.93 and benign[[300, 1000]].min().min() > 0.93 and benign.min().min() > 0.92
    means = rows[rows["percentile"].notna()]
    assert (means["coverage"] > means["percentile"]).mean() > 0.97 and at["rare", "high", 100] > 0.91
    below = at["rare"].unstack().drop(["forecast", "high"])[[100, 300, 1000]]
    assert below.min().min() > 0.92 and at["rare", "forecast", 1000] < 0.9
    assert 0.86 < at["sure", "gain", 300] < 0.9 < at["sure", "auc", 100] < 0.91 and at["sure", "auc_pooled", 100] < 0.6
    intervals = rows.set_index(["world", "quantity", "n_prompts"])["intervals"]
    assert (intervals.xs(("share", 20), level=(1, 2)) < 0.5).all() and at.xs("share", level=1).min() > 0.93


def test_share_of_the_gap_by_all_seeds():
    """By hand: gains .1 and .1 of gaps .2 and .3, with intervals of ±.3 and ±.2 around shares of 1/2 and 1/3."""
    rows = pd.DataFrame({
        "cell": "a", "base_sampled_accuracy": [0.3, 0.3], "accuracy": [0.4, 0.4], "base_best_of_n_accuracy": [0.5, 0.6],
        "gap_closed": [1 / 2, 1 / 3], "gap_closed_low": [0.2, 1 / 3 - 0.2], "gap_closed_high": [0.8, 1 / 3 + 0.2],
    })  # fmt: skip
    share = gap_closed(rows).loc["a"]
    assert (share["mean"], share["high"] - share["mean"]) == pytest.approx((0.4, np.hypot(0.06, 0.06) / 0.5))
    assert share["mean"] - share["low"] == pytest.approx(share["high"] - share["mean"])
    assert closed(rows) == "40 % [23, 57]"
    assert closed(rows.assign(gap_closed_low=[0.2, np.nan])) == "no gap shown"


def test_share_by_all_seeds_is_that_of_their_prompts_together():
    """Three seeds of 200 prompts: combined interval and Fieller's of all 600 prompts differ by a tenth of it at most."""
    rng = np.random.default_rng(0)
    sampled = rng.random((3, 200)) * 0.6
    best, trained = sampled + rng.choice([0.0, 0.4], size=(3, 200)), sampled + rng.normal(0.08, 0.2, size=(3, 200))
    each = [ratio_of_means(t - s, b - s) for t, s, b in zip(trained, sampled, best)]
    rows = pd.DataFrame({
        "cell": "a", "base_sampled_accuracy": sampled.mean(axis=1), "accuracy": trained.mean(axis=1),
        "base_best_of_n_accuracy": best.mean(axis=1), "gap_closed": [float(e.value) for e in each],
        "gap_closed_low": [float(e.low) for e in each], "gap_closed_high": [float(e.high) for e in each],
    })  # fmt: skip
    share, together = gap_closed(rows).loc["a"], ratio_of_means((trained - sampled).ravel(), (best - sampled).ravel())
    assert share["mean"] == pytest.approx(float(together.value))
    width = together.high - together.low
    assert abs(share["low"] - together.low) < 0.1 * width and abs(share["high"] - together.high) < 0.1 * width


def test_training_captions():
    everything = table("sharpening")
    rows = final(everything)
    assert rows.groupby(["model", "cell"])["seed"].nunique().drop("spread=4", level="cell").eq(3).all()
    full = rows[rows["cell"] == "full"]
    assert full["gap_closed"].between(0.37, 0.52).all() and (full["accuracy"] < full["base_greedy_accuracy"]).all()
    assert (full["log_likelihood"] > full["base_sampled_log_likelihood"]).all()
    assert (full["sharpened_0.5"] > full["base_sharpened"]).all() and (
        full["sharpened_0.5"] < full["law_sharpened_0.5"]
    ).all()
    assert (rows["bound_0.5"] <= rows["sharpened_0.5"] + 1e-12).all()
    shares = rows.groupby("model").apply(gap_closed, include_groups=False)
    assert (shares.xs("full", level="cell")["low"] > 0.1).all()
    multihop = shares.loc["multihop-1m"].drop("full")
    assert ((multihop["low"] < 0) & (multihop["high"] > 0)).mean() > 0.5
    for model, part in rows.groupby("model"):
        gained = part.groupby("cell")["gap_closed"].mean()
        assert gained["N=1"] < 0 and abs(gained["N=5"] - gained["N=50"]) < 0.05, model
        assert gained["reward=correctness"] < gained["N=50"] and gained["reward=self_certainty"] < 0
        assert gained["beta=0.5"] < min(gained["beta=1"], gained["beta=2"]) and gained["method=xpo"] < gained["N=5"]
        assert (
            max(gained["beta=1"], gained["beta=2"]) < gained["N=50"] and gained.filter(like="bon").max() < gained["N=5"]
        )
        assert gained["reward=majority"] < gained["N=5"] < gained["reward=length_normalized"] + 0.05
        tokens = (part["sampling_tokens"] + part["training_tokens"]).groupby(part["cell"]).mean()
        per_token = (gained / tokens).sort_values(ascending=False)
        assert per_token.index[0] in ("N=5", "N=10", "prompts=125"), per_token
        by_prompts = factor(part, "prompts").groupby("n_prompts")["gap_closed"].mean()
        assert by_prompts.is_monotonic_increasing and gained["full"] > by_prompts.max()
        if "epochs=4" in gained:
            unlimited = gained.filter(regex="epochs|rate|rank|N=50$")
            assert (
                unlimited.max() < gained["N=50"] + 0.05 < gained["full"] and gained["spread=4"] < gained["full"] + 0.02
            )
        curves = everything[(everything["model"] == model) & (everything["kind"] == "pass")]
        mean = curves.groupby(["policy", "k"])["value"].mean()
        assert mean["trained", 1] > mean["base", 1] and mean["trained", 50] < mean["base", 50], model


def test_pool_size_caption():
    """No shape grows faster than its rows; 10^6 rows are within 20 processor seconds and 1.5 GB."""
    for _, rows in table("pool_size").groupby("shape"):
        large = rows[rows["rows"] >= 100_000]
        assert len(large) >= 2 and np.polyfit(np.log(large["rows"]), np.log(large["seconds"]), 1)[0] <= 1
        million = rows[rows["rows"] == 1_000_000]
        assert (million["seconds"] <= 20).all() and (million["gigabytes"] <= 1.5).all()
