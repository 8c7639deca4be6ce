"""The worlds of the calibration: what their formulas give is what their samples give."""

import numpy as np
import pandas as pd
import pytest

from experiments import calibration
from experiments.calibration import Config, coverage, exact, per_prompt, world
from sharptheory.measure.alignment import auc_within, rank_sum
from sharptheory.measure.certificate import coverage_certificate
from sharptheory.measure.pool import Pool


@pytest.mark.parametrize("name", Config.worlds)
def test_the_truths_of_a_world_are_the_means_of_its_samples(name):
    rng = np.random.default_rng(0)
    of = world(name, 300, rng)
    truths, values = exact(of, 16), per_prompt(of, np.arange(300).repeat(20), 16, rng)
    for quantity in set(truths) & set(calibration.MEANS):
        table = values[quantity].reshape(300, 20)
        known = np.isfinite(table)
        spread = np.sqrt(np.nansum(np.nanvar(table, axis=1)[known.any(axis=1)]) / 20) / 300 if known.all() else 0.03
        assert abs(np.nanmean(table) - truths[quantity]) < 4 * spread + 1e-9, quantity
    assert calibration._auc_of_levels(values["levels"].sum(axis=0)) == pytest.approx(truths["auc_pooled"], abs=0.02)
    assert values["trained_gain"].mean() == pytest.approx(0.4 * truths["gain"], abs=0.01)


def test_what_is_simulated_of_a_prompt_is_what_the_package_says():
    """AUC, certificate and levels of one prompt against the estimators of pools."""
    of = world("benign", 50, np.random.default_rng(1))
    kinds, keys = calibration.sample(of, np.arange(50), 16, np.random.default_rng(2))
    values = per_prompt(of, np.arange(50), 16, np.random.default_rng(2))
    rows = np.arange(50).repeat(16)
    pool = Pool.from_frame(pd.DataFrame({
        "prompt_id": rows, "response": [str(key) for key in keys.ravel()], "finished": True,
        "log_likelihood": of.log_likelihoods[rows, kinds.ravel()], "correct": of.correct[rows, kinds.ravel()] == 1,
    }))  # fmt: skip
    assert np.nanmean(values["auc"]) == pytest.approx(float(auc_within(pool).value))
    proved = coverage_certificate(pool)
    assert values["high"] == pytest.approx(np.exp(-proved["log_p_low"].to_numpy(dtype=float)))
    assert values["low"] == pytest.approx(np.exp(-proved["log_p_high"].to_numpy(dtype=float)))
    assert np.array_equal(values["certified"] == 1, proved["certified"].to_numpy())
    level = np.searchsorted(calibration._levels(of), of.log_likelihoods[rows, kinds.ravel()])
    pooled = calibration._auc_of_levels(values["levels"].sum(axis=0))
    assert pooled == pytest.approx(rank_sum(level, of.correct[rows, kinds.ravel()] == 1))


def test_coverage_is_counted_on_both_sides():
    few = Config(worlds=("benign",), n_prompts=(20,), pools=60, population=200, resamples=50, forecast=20)
    table = coverage("benign", few, batch=25).set_index("quantity")
    assert set(table.index) == set(calibration.MEANS) | {
        "share",
        "at_least",
        "auc_pooled",
        "by_n",
        "prompts",
        "forecast",
        "forecast_mean",
    }
    assert (table["coverage"] + table["below"] + table["above"]).to_numpy() == pytest.approx(np.ones(len(table)))
    assert table.loc["accuracy", "coverage"] > 0.85 and table.loc["share", "intervals"] < 1
