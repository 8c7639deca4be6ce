"""Every experiment runs in its quick version and its figure draws; what the captions say is true of committed results."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from experiments import figures, tables
from experiments.drawing.training import factor, final
from experiments.record import RESULTS


@pytest.mark.parametrize("experiment", sorted({drawn.data for drawn in figures.DRAW.values()}))
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


@pytest.mark.parametrize("page", tables.PAGES)
def test_tables_of_numbers_are_those_of_the_results(page):
    text = (tables.ROOT / page).read_text()
    assert text == tables.filled(text) and len(re.findall("<!-- end -->", text)) >= 3


def table(name: str) -> pd.DataFrame:
    return pd.read_parquet(RESULTS / f"{name}.parquet")


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
