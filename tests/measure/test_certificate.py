"""What a pool proves about its likeliest response, and the law of finding it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharptheory.measure.certificate import argmax_hit_rates, c_cov_bar_bound, coverage_certificate
from tests.conftest import pool_from_table

tables = st.lists(st.floats(1e-6, 1), min_size=1, max_size=8).map(lambda row: np.array(row) / np.sum(row))


@settings(max_examples=200)
@given(tables, st.integers(1, 30), st.integers(0, 2**32 - 1), st.sampled_from(["tokens", "response", "likelihood"]))
def test_certificate_brackets_the_maximum(probs, m, seed, identified_by):
    """[S5] p̂ ≤ p* ≤ max(p̂, 1-S), whatever identifies a response; certified means p̂ = p*."""
    pool = pool_from_table(probs[None], m, np.random.default_rng(seed))
    if identified_by != "tokens":
        pool["response"] = pool["tokens"].map(str)
        pool = pool.drop(columns="tokens" if identified_by == "response" else ["tokens", "response"])
    row = coverage_certificate(pool).iloc[0]
    log_max = np.log(probs.max())
    assert row["log_p_low"] <= log_max + 1e-12
    assert row["log_p_high"] >= log_max - 1e-9
    if row["certified"]:
        assert row["log_p_low"] == pytest.approx(log_max, abs=1e-9)


def test_certificate_without_a_finished_response_says_nothing():
    pool = pool_from_table(np.array([[0.5, 0.5]]), 4, np.random.default_rng(0)).assign(finished=False)
    row = coverage_certificate(pool).iloc[0]
    assert (row["log_p_low"], row["log_p_high"], row["certified"]) == (-np.inf, 0, False)
    bound = c_cov_bar_bound(coverage_certificate(pool))
    assert (bound.low, bound.high, bound.at_least) == (1, np.inf, 1)


def test_identification_bound_contains_the_coefficient():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(30, 0.2), size=50)
    truth = np.mean(1 / probs.max(axis=1))
    for m in (1, 5, 200):
        bound = c_cov_bar_bound(coverage_certificate(pool_from_table(probs, m, rng)))
        assert bound.low <= truth + 1e-9 and truth <= bound.high + 1e-9
    assert bound.high - bound.low < 1e-3 * truth


def test_hit_rates_measure_the_law_they_predict():
    """On 300 tables the held-out hit rate is within 4 standard errors of 1 - (1-p*)^N; one half for both is not."""
    rng = np.random.default_rng(3)
    probs = rng.dirichlet(np.full(6, 0.5), size=300)
    rates = argmax_hit_rates(pool_from_table(probs, 40, rng))
    assert rates is not None and len(rates.mass) > 100
    width = (rates.measured.high - rates.measured.low) / (2 * 1.96)
    assert np.all(np.abs(rates.measured.value - rates.law(rates.n)) < 4 * width + 1e-12)
    assert rates.n.tolist() == [1, 2, 4, 8, 16, 20]


def test_hit_rates_need_a_certified_prompt_and_two_samples():
    rng = np.random.default_rng(0)
    assert argmax_hit_rates(pool_from_table(np.full((3, 50), 0.02), 6, rng)) is None
    assert argmax_hit_rates(pool_from_table(np.array([[0.9, 0.1]]), 1, rng)) is None
