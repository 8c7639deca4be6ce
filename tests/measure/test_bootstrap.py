"""Intervals over prompts hold what they promise, also for few prompts."""

import numpy as np
import pytest
from scipy import stats

from sharptheory.measure.bootstrap import bootstrap_mean, tail


def test_bootstrap_interval_covers_the_mean():
    rng = np.random.default_rng(0)
    covered = [(e := bootstrap_mean(rng.normal(size=50), resamples=500, seed=i)).low <= 0 <= e.high for i in range(300)]
    assert stats.binomtest(sum(covered), 300, 0.93).pvalue > 1e-3


@pytest.mark.parametrize("n", [2, 3, 5, 9, 20])
def test_interval_of_few_prompts_holds_the_mean(n):
    """Resamples cannot look beyond the few values there are: with 2 prompts a plain bootstrap holds it half the time."""
    rng = np.random.default_rng(n)
    covered = [(e := bootstrap_mean(rng.normal(size=n), resamples=300, seed=i)).low <= 0 <= e.high for i in range(200)]
    assert sum(covered) >= stats.binom.isf(1 - 1e-3, 200, 0.94)


def test_limits_of_a_proportion_are_proportions():
    estimate = bootstrap_mean(np.array([[0.1, 0.9], [0.2, 1.0], [0.0, 0.5]]), proportion=True)
    assert np.all(estimate.low >= 0) and np.all(estimate.high <= 1) and np.any(estimate.low == 0)


def test_expanded_tails_tend_to_the_nominal_ones():
    assert tail(5) < tail(30) < tail(1_000) < 0.025 and tail(10**6) == pytest.approx(0.025, rel=1e-4)


def test_bootstrap_with_one_prompt_has_no_interval():
    estimate = bootstrap_mean(np.array([[0.25, 0.5]]))
    assert estimate.value.tolist() == [0.25, 0.5] and np.isnan(estimate.low).all() and np.isnan(estimate.high).all()


def test_bootstrap_of_unanimous_prompts_is_not_a_point():
    """All of 20 prompts right does not mean accuracy 1: the exact interval starts at (α/2)^(1/20)."""
    estimate = bootstrap_mean(np.ones((20, 2)), proportion=True)
    np.testing.assert_allclose(estimate.low, 0.025 ** (1 / 20))
    np.testing.assert_allclose(estimate.high, 1)
    estimate = bootstrap_mean(np.zeros(20), proportion=True)
    assert (float(estimate.low), float(estimate.high)) == (0, pytest.approx(1 - 0.025 ** (1 / 20)))
