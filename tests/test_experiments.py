"""Every experiment runs in its quick version and its figure draws; what the captions say is true of committed results."""

import json
import runpy
import sys

import numpy as np
import pandas as pd
import pytest

from experiments import figures
from experiments.record import RESULTS


@pytest.mark.parametrize("name", figures.DRAW)
def test_experiment_runs_and_its_figure_draws(name, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--out", str(tmp_path)])
    runpy.run_module(f"experiments.{name}", run_name="__main__")
    assert json.loads((tmp_path / f"{name}.json").read_text())["provenance"]["versions"]
    monkeypatch.setattr(sys, "argv", ["figures", name, "--results", str(tmp_path), "--out", str(tmp_path / "f")])
    figures.main()
    assert (tmp_path / f"f/{name}.png").stat().st_size > 10_000 and (tmp_path / f"f/{name}.md").read_text().strip()


def test_the_gallery_has_every_figure():
    assert set(figures.ORDER) == set(figures.DRAW)
    text = figures.gallery(figures.FIGURES)
    assert (figures.FIGURES / "README.md").read_text() == text
    for name in figures.DRAW:
        assert f"]({name}.png)" in text and (RESULTS / f"{name}.parquet").is_file()


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
