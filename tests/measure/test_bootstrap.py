"""Intervals over prompts hold what they promise, also for few prompts."""

import numpy as np
import pytest
from scipy import stats

from sharptheory.errors import UserError
from sharptheory.measure.bootstrap import (
    DIFFERENCE,
    NEGATIVE,
    POSITIVE,
    PROPORTION,
    Estimate,
    bootstrap_mean,
    from_replicates,
    resampled,
    tail,
)


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
    estimate = bootstrap_mean(np.array([[0.1, 0.9], [0.2, 1.0], [0.0, 0.5]]), ends=PROPORTION)
    assert np.all(estimate.low >= 0) and np.all(estimate.high <= 1) and np.any(estimate.low == 0)


@pytest.mark.parametrize("ends", [PROPORTION, DIFFERENCE, NEGATIVE, POSITIVE, (1.0, np.inf)])
@pytest.mark.parametrize("n", [2, 3, 9, 10])
def test_limits_stay_where_the_quantity_can_be(ends, n):
    """Student's limits of few prompts know nothing of its range; those of a quantity without one stay as they are."""
    inside = np.clip(np.append(np.full(n - 1, 0.0), 100.0) * np.sign(sum(np.clip(ends, -9, 9)) or 1), *ends)
    estimate, free = bootstrap_mean(inside, ends=ends), bootstrap_mean(inside)
    assert ends[0] <= estimate.low <= estimate.value <= estimate.high <= ends[1]
    assert (estimate.low, estimate.high) == tuple(np.clip([free.low, free.high], *ends))
    if n == 2:
        assert free.low < ends[0] or free.high > ends[1]


def test_values_beyond_the_ends_are_refused_and_rounding_is_not():
    with pytest.raises(UserError, match=r"per_prompt: found 1\.5; expected values from 0 to 1"):
        bootstrap_mean([0.9999, 1.5], ends=PROPORTION)
    rounded = bootstrap_mean(np.full(20, 1 + 2e-16), ends=PROPORTION)
    assert rounded.value == rounded.high == 1 and rounded.low == pytest.approx(0.025 ** (1 / 20))
    assert bootstrap_mean([-2.0, 1e-5], ends=NEGATIVE).high <= 0


def test_unanimous_differences_are_no_points_either():
    """An exact limit on the far side, over the whole range from -1 to 1."""
    all_worse = bootstrap_mean(np.full(8, -1.0), ends=DIFFERENCE)
    assert (all_worse.low, all_worse.high) == (-1, pytest.approx(-1 + 2 * (1 - 0.025 ** (1 / 8))))
    same = bootstrap_mean(np.zeros(8), ends=DIFFERENCE)
    assert same.low == same.high == 0


def test_replicates_of_few_prompts_are_cut_to_the_ends():
    estimate = from_replicates(0.9, np.linspace(0.2, 1.0, 100), 3, ends=PROPORTION)
    assert (estimate.low, estimate.high) == (0, 1)


def test_expanded_tails_tend_to_the_nominal_ones():
    assert tail(5) < tail(30) < tail(1_000) < 0.025 and tail(10**6) == pytest.approx(0.025, rel=1e-4)


def test_few_prompts_are_fewer_than_ten():
    """Nine prompts have Student's limits, which look beyond the data; ten have the bootstrap's, which do not."""
    nine, ten = (bootstrap_mean(np.append(np.zeros(n - 1), 1.0)) for n in (9, 10))
    assert nine.low < 0 <= ten.low
    replicates = np.linspace(0.4, 0.6, 101)
    few, enough = (from_replicates(0.5, replicates, n) for n in (9, 10))
    spread = np.std(replicates, ddof=1)
    assert few.high == pytest.approx(0.5 + stats.t.ppf(0.975, 8) * np.sqrt(9 / 8) * spread)
    assert (enough.low, enough.high) == pytest.approx(tuple(np.quantile(replicates, [tail(10), 1 - tail(10)])))
    assert (few.n_prompts, enough.n_prompts, float(few.value)) == (9, 10, 0.5)


def test_replicates_without_a_value_are_left_out():
    estimate = from_replicates(0.5, np.append(np.linspace(0.4, 0.6, 101), np.nan), 12)
    assert 0.4 <= estimate.low < estimate.high <= 0.6
    for nothing in (from_replicates(0.5, np.full(3, np.nan), 12), from_replicates(0.5, np.ones(3), 1)):
        assert np.isnan(nothing.low) and np.isnan(nothing.high) and nothing.value == 0.5
        assert nothing.n_prompts in (1, 12) and nothing.n_prompts is not None


def test_no_prompts_say_nothing():
    for estimate in (bootstrap_mean([]), Estimate.unknown()):
        assert np.isnan([estimate.value, estimate.low, estimate.high]).all() and estimate.n_prompts == 0


def test_bootstrap_with_one_prompt_has_no_interval():
    estimate = bootstrap_mean(np.array([[0.25, 0.5]]))
    assert estimate.value.tolist() == [0.25, 0.5] and np.isnan(estimate.low).all() and np.isnan(estimate.high).all()
    assert estimate.n_prompts == 1


def test_bootstrap_of_unanimous_prompts_is_not_a_point():
    """All of 20 prompts right does not mean accuracy 1: the exact interval starts at (α/2)^(1/20)."""
    estimate = bootstrap_mean(np.ones((20, 2)), ends=PROPORTION)
    np.testing.assert_allclose(estimate.low, 0.025 ** (1 / 20))
    np.testing.assert_allclose(estimate.high, 1)
    estimate = bootstrap_mean(np.zeros(20), ends=PROPORTION)
    assert (float(estimate.low), float(estimate.high)) == (0, pytest.approx(1 - 0.025 ** (1 / 20)))


@pytest.mark.parametrize("given", [dict(confidence=1.0), dict(confidence=95), dict(resamples=0), dict(seed=-1)])
def test_a_bootstrap_that_cannot_be_is_refused(given):
    [(name, value)] = given.items()
    with pytest.raises(UserError, match=f"{name}={value}; expected"):
        bootstrap_mean([1.0, 2.0], **given)
    if name != "confidence":
        with pytest.raises(UserError, match=f"{name}={value}; expected"):
            resampled(2, **(dict(resamples=5, seed=0) | given))
