"""Intervals over prompts hold what they promise, also for few prompts."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from sharptheory.errors import UserError
from sharptheory.measure import bootstrap as bootstrap_room
from sharptheory.measure.bootstrap import (
    DIFFERENCE,
    FEW,
    NEGATIVE,
    POSITIVE,
    PROPORTION,
    Estimate,
    bootstrap,
    from_replicates,
    mean_over_prompts,
    ratio_of_means,
    resampled,
    tail,
)


def misses(estimate: Estimate, truth: float) -> tuple[float, float]:
    """How many intervals lie above and below the truth, as shares."""
    return np.mean(estimate.low > truth), np.mean(estimate.high < truth)


# Means ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5, 9, 20, 100])
def test_interval_of_a_mean_holds_it_for_every_number_of_prompts(n):
    below, above = misses(mean_over_prompts(np.random.default_rng(n).normal(size=(n, 3000))), 0)
    assert 0.015 < below < 0.035 and 0.015 < above < 0.035


@pytest.mark.parametrize("n", [20, 50, 100])
def test_interval_of_a_skewed_mean_misses_on_both_sides_alike(n):
    """Student's misses the mean of an exponential law above twice as often as it says, and below hardly ever."""
    values = np.random.default_rng(n).exponential(size=(n, 3000))
    below, above = misses(mean_over_prompts(values, ends=POSITIVE), 1)
    margin = stats.t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    assert above < 0.8 * np.mean(values.mean(axis=0) + margin < 1) and above < 0.05 and 0.01 < below < 0.03


def test_limits_undo_the_skewness():
    """Student's ratio at each limit, made symmetric by the cubic of Hall (1992), is Student's quantile."""
    values = np.array([0.0, 0.5, 1.0, 1.5, 7.0, 2.0, 1.1, 0.2, 0.3, 3.0])
    estimate = mean_over_prompts(values)
    g = stats.skew(values) / np.sqrt(10)
    for limit, quantile in ((estimate.low, stats.t.ppf(0.975, 9)), (estimate.high, stats.t.ppf(0.025, 9))):
        t = (values.mean() - limit) / (values.std(ddof=1) / np.sqrt(10))
        assert t + g * t**2 / 3 + g**2 * t**3 / 27 + g / 6 == pytest.approx(quantile)


def test_a_mean_without_skewness_has_students_interval():
    values = np.array([-1.0, 1.0, -3.0, 3.0, 0.0])
    assert mean_over_prompts(values, confidence=0.9).high == pytest.approx(
        stats.t.ppf(0.95, 4) * values.std(ddof=1) / np.sqrt(5)
    )
    nine, ten = np.append(np.zeros(8), 5.0), np.append(np.zeros(9), 5.0)  # too few to correct, and enough
    assert mean_over_prompts(nine).low + mean_over_prompts(nine).high == pytest.approx(2 * nine.mean())
    assert mean_over_prompts(ten).low + mean_over_prompts(ten).high > 3 * ten.mean()
    values = np.concatenate([values, values])
    almost = [mean_over_prompts(values + np.array([0, 0, 0, tiny, 0] * 2)).high for tiny in (7e-5, 9e-5, 1.1e-4)]
    assert np.diff(almost) == pytest.approx(np.full(2, np.diff(almost).mean()), rel=0.05)  # no jump where g is tiny


@settings(max_examples=40)
@given(
    st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=2, max_size=30),
    st.floats(0.01, 100),
    st.floats(-10, 10),
)
def test_units_and_signs_change_nothing(values, scale, shift):
    values = np.array(values)
    plain, moved, mirrored = map(mean_over_prompts, (values, scale * values + shift, -values))
    near = dict(rel=1e-6, abs=1e-4 * (1 + scale))
    assert moved.low == pytest.approx(scale * plain.low + shift, **near)
    assert moved.high == pytest.approx(scale * plain.high + shift, **near)
    assert (mirrored.low, mirrored.high) == pytest.approx((-plain.high, -plain.low), abs=1e-4)
    assert plain.low <= plain.value <= plain.high


def test_extreme_values_have_intervals():
    for scale in (1e-300, 1e150, 1e300):
        estimate = mean_over_prompts(scale * np.array([1.0, 2.0, 3.0]))
        assert (estimate.low / scale, estimate.high / scale) == pytest.approx((2 - 2.484, 2 + 2.484), abs=1e-3)
    assert mean_over_prompts(np.full(5, 3.3)).low == mean_over_prompts(np.full(5, 3.3)).high == pytest.approx(3.3)


def test_columns_are_estimated_one_by_one():
    values = np.random.default_rng(0).random((15, 4, 3))
    values[:, 0, 0] = values[:, 1, 1] = 1
    together = mean_over_prompts(values, ends=PROPORTION)
    for place in np.ndindex(4, 3):
        alone = mean_over_prompts(values[(slice(None), *place)], ends=PROPORTION)
        assert (together.low[place], together.high[place]) == pytest.approx((alone.low, alone.high))


@pytest.mark.parametrize("ends", [PROPORTION, DIFFERENCE, NEGATIVE, POSITIVE, (1.0, np.inf)])
@pytest.mark.parametrize("n", [2, 3, 9, 10])
def test_limits_stay_where_the_quantity_can_be(ends, n):
    """Those of few prompts know nothing of its range; those of a quantity without one stay as they are."""
    values = np.append(np.linspace(0, 0.1, n - 1), 0.9) * (-1 if ends == NEGATIVE else 1) + (1 if ends[0] == 1 else 0)
    estimate, free = mean_over_prompts(values, ends=ends), mean_over_prompts(values)
    assert ends[0] <= estimate.low <= estimate.value <= estimate.high <= ends[1]
    if np.isfinite(ends).all() and n >= FEW:  # no further than a count of as many successes
        bottom, width = ends[0], ends[1] - ends[0]
        share = np.sum(values - bottom) / width
        furthest = [stats.beta.ppf(0.025, share, n - share + 1), stats.beta.ppf(0.975, share + 1, n - share)]
        low, high = bottom + width * np.array(furthest)
        assert (estimate.low, estimate.high) == pytest.approx((max(free.low, low), min(free.high, high)))
    else:
        assert (estimate.low, estimate.high) == tuple(np.clip([free.low, free.high], *ends))
    if n == 2:
        assert free.low < ends[0] or free.high > ends[1]


# Counts ---------------------------------------------------------------------------------------------------------------


def counted(right: int, n: int) -> Estimate:
    return mean_over_prompts(np.append(np.ones(right), np.zeros(n - right)), ends=PROPORTION)


@pytest.mark.parametrize(("right", "n"), [(99, 100), (91, 100), (9, 10), (4, 5), (300, 300)])
def test_few_failures_have_the_limits_of_a_count(right, n):
    exact = stats.binomtest(right, n).proportion_ci(method="exact")
    some, mirrored = counted(right, n), counted(n - right, n)
    assert (some.low, some.high) == pytest.approx((exact.low, exact.high))
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - some.high, 1 - some.low))


def test_ten_failures_are_no_longer_counted():
    exact = stats.binomtest(90, 100).proportion_ci(method="exact")
    assert counted(91, 100).high == pytest.approx(stats.binomtest(91, 100).proportion_ci(method="exact").high)
    assert counted(90, 100).high < exact.high - 1e-4
    half = counted(50, 100)  # neither end is theirs
    assert half.high == pytest.approx(0.5 + stats.t.ppf(0.975, 99) * 0.5 / np.sqrt(99))


def test_a_correction_for_skewness_does_not_overshoot():
    """Corrected alone, the lower limit of these dozen would be .04."""
    values = np.array([1, 1, 0.94, 0.88, 0.06, 0.94, 1, 0.81, 0.81, 0.38, 1, 0.94])
    estimate = mean_over_prompts(values, ends=PROPORTION)
    assert mean_over_prompts(values).low < 0.1
    assert estimate.low == pytest.approx(stats.beta.ppf(0.025, values.sum(), 13 - values.sum()))
    assert estimate.high < 0.96


def test_differences_of_rounding_are_none():
    """Best-of-3 of 16 samples that are all right is 1 + 2e-16: 98 prompts without a difference are counted as such."""
    exact, rounded = (np.append(np.full(98, eps), [1.0, 1.0]) for eps in (0.0, 2e-16))
    one, other = (mean_over_prompts(values, ends=DIFFERENCE) for values in (exact, rounded))
    assert (one.value, one.low, one.high) == (other.value, other.low, other.high) and one.low < 0
    all_right = mean_over_prompts(np.full(16, 2e-16), ends=DIFFERENCE)
    assert (all_right.value, all_right.low, all_right.high) == (0, 0, 0)


def test_small_numbers_are_not_rounded_to_the_ends():
    assert mean_over_prompts(np.full(20, 1e-10), ends=POSITIVE).value == 1e-10
    assert mean_over_prompts(np.linspace(0, 1e-10, 20), ends=(0.0, 1e-10)).value == pytest.approx(5e-11)


@pytest.mark.parametrize("scale", [1e-300, 1e-90, 1e90, 1e300])
def test_a_ratio_knows_no_scale(scale):
    above, below = np.array([1, 2, 3, 4.0]), np.array([2.1, 3.9, 6.1, 7.9])
    one, other = ratio_of_means(above, below), ratio_of_means(scale * above, scale * below)
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    assert ratio_of_means(above, below * 1e-9).low == pytest.approx(one.low * 1e9)


@pytest.mark.parametrize("values", ["a", None, 3.0, [[1, 2], [3]]])
def test_what_is_no_list_of_numbers_is_refused(values):
    with pytest.raises(UserError, match=r"per_prompt: found .*; expected numbers"):
        mean_over_prompts(values)


def test_rare_differences_are_as_large_as_the_largest_seen():
    whole, small = np.zeros(30), np.zeros(30)
    whole[[3, 9]], small[[3, 9]] = (1, -1), (1e-3, -1e-3)
    one, other = (mean_over_prompts(values, ends=DIFFERENCE) for values in (whole, small))
    assert (other.low, other.high) == pytest.approx((1e-3 * one.low, 1e-3 * one.high)) and one.high > 0.1
    same = mean_over_prompts(np.full(30, 1e-17), ends=DIFFERENCE)
    assert same.high - same.low < 1e-15


def test_partial_failures_are_counted_by_their_sum():
    """Three prompts of 40 right on some samples only: 2 failures in all."""
    values = np.append(np.ones(37), [0.75, 0.25, 0.0])
    estimate = mean_over_prompts(values, ends=PROPORTION)
    assert estimate.low == pytest.approx(stats.beta.ppf(0.025, 38, 3))
    assert estimate.high == pytest.approx(stats.beta.ppf(0.975, 39, 2))


@pytest.mark.parametrize("n", [10, 20, 100])
def test_a_further_failure_lowers_both_limits(n):
    lows, highs = zip(*((e.low, e.high) for e in (counted(right, n) for right in range(n + 1))))
    assert np.all(np.diff(lows) > 0) and np.all(np.diff(highs) > 0)


@pytest.mark.parametrize("n", [10, 20, 50, 100, 300])
def test_intervals_of_proportions_hold_them(n):
    """Whatever the proportion, weighted by how often each count is found."""
    values = 1.0 * (np.arange(n)[:, None] < np.arange(n + 1))
    estimate, shares = mean_over_prompts(values, ends=PROPORTION), np.linspace(0.005, 0.995, 199)[:, None]
    chances = stats.binom.pmf(np.arange(n + 1), n, shares)
    holds = (chances * ((estimate.low <= shares) & (shares <= estimate.high))).sum(axis=1)
    assert holds.min() > 0.94 and holds.mean() < 0.99


def test_few_differences_are_counted():
    """Three prompts gained and one lost half a point: Newcombe's limits of 3 and of 0.5 in 50."""
    estimate = mean_over_prompts(np.append(np.zeros(46), [1.0, 1.0, 1.0, -0.5]), ends=DIFFERENCE)
    gain, loss = ((m / 50, *stats.beta.ppf([0.025, 0.975], [m, m + 1], [51 - m, 50 - m])) for m in (3, 0.5))
    assert estimate.low == pytest.approx(0.05 - np.hypot(gain[0] - gain[1], loss[2] - loss[0]))
    assert estimate.high == pytest.approx(0.05 + np.hypot(gain[2] - gain[0], loss[0] - loss[1]))
    assert estimate.low < 0 < estimate.high


@pytest.mark.parametrize("rate", [0.003, 0.02, 0.1])
@pytest.mark.parametrize("lost", [0.0, 0.5])
def test_intervals_of_rare_differences_hold_them(rate, lost):
    rng = np.random.default_rng(0)
    values = (rng.random((100, 2000)) < rate) * np.where(rng.random((100, 2000)) < lost, -1.0, 1.0)
    estimate = mean_over_prompts(values, ends=DIFFERENCE)
    kept = np.any(values != 0, axis=0)
    below, above = misses(Estimate(estimate.value, estimate.low[kept], estimate.high[kept]), rate * (1 - 2 * lost))
    assert max(below, above) < 0.035


def test_values_beyond_the_ends_are_refused_and_rounding_is_not():
    with pytest.raises(UserError, match=r"per_prompt: found 1\.5; expected values from 0 to 1"):
        mean_over_prompts([0.9999, 1.5], ends=PROPORTION)
    rounded = mean_over_prompts(np.full(20, 1 + 2e-16), ends=PROPORTION)
    assert rounded.value == rounded.high == 1 and rounded.low == pytest.approx(0.025 ** (1 / 20))
    assert mean_over_prompts([-2.0, 1e-5], ends=NEGATIVE).high <= 0


def test_unanimous_differences_are_no_points_either():
    """An exact limit on the far side, over the whole range from -1 to 1."""
    all_worse = mean_over_prompts(np.full(8, -1.0), ends=DIFFERENCE)
    assert (all_worse.low, all_worse.high) == (-1, pytest.approx(-1 + 2 * (1 - 0.025 ** (1 / 8))))
    same = mean_over_prompts(np.zeros(8), ends=DIFFERENCE)
    assert same.low == same.high == 0  # of these prompts it is a fact


# Ratios ---------------------------------------------------------------------------------------------------------------


def student(values: np.ndarray) -> tuple[float, float]:
    margin = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - margin, values.mean() + margin


@given(st.integers(0, 10_000), st.integers(3, 40), st.floats(-2, 2), st.floats(-1, 1))
def test_at_the_limits_of_a_ratio_what_it_explains_just_excludes_nothing(seed, n, ratio, gap):
    rng = np.random.default_rng(seed)
    below = gap + rng.normal(size=n)
    above = ratio * below + rng.normal(size=n)
    estimate, (low, high) = ratio_of_means(above, below), student(below)
    assert estimate.value == pytest.approx(above.mean() / below.mean()) and estimate.n_prompts == n
    if low <= 0 <= high:
        assert np.isnan(estimate.low) and np.isnan(estimate.high)
        return
    assert estimate.low <= estimate.value <= estimate.high
    for limit in (estimate.low, estimate.high):
        touched = student(above - limit * below)
        scale = 1e-6 * (1 + abs(limit)) * (touched[1] - touched[0])
        assert min(abs(touched[0]), abs(touched[1])) < scale


def test_interval_of_a_ratio_holds_it():
    """Where the denominators are four to six standard errors from 0, as the gap of best-of-N often is."""
    rng = np.random.default_rng(0)
    for n in (20, 100):
        below = 0.5 + rng.normal(0, np.sqrt(n) / 10, size=(n, 3000))
        above = 0.4 * below + rng.normal(0, np.sqrt(n) / 12, size=(n, 3000))
        assert max(misses(ratio_of_means(above, below), 0.4)) < 0.035


def test_a_ratio_of_too_little():
    assert np.isnan(ratio_of_means([], []).value) and np.isnan(ratio_of_means([1.0], [2.0]).low)
    none = ratio_of_means([1.0, 2.0], [-1.0, 1.0])
    assert np.isnan([none.value, none.low, none.high]).all()
    exact = ratio_of_means([4.0, 5.0, 6.0], [8.0, 10.0, 12.0])
    assert exact.low == pytest.approx(0.5) and exact.high == pytest.approx(0.5)
    with pytest.raises(UserError, match=r"numerators \(2,\), denominators \(3,\); expected both"):
        ratio_of_means([1.0, 2.0], [1.0, 2.0, 3.0])


# Bootstrap ------------------------------------------------------------------------------------------------------------


def test_replicates_of_few_prompts_are_cut_to_the_ends():
    estimate = from_replicates(0.9, np.linspace(0.2, 1.0, 100), 3, ends=PROPORTION)
    assert (estimate.low, estimate.high) == (0, 1)


def test_expanded_tails_tend_to_the_nominal_ones():
    assert tail(5) < tail(30) < tail(1_000) < 0.025 and tail(10**6) == pytest.approx(0.025, rel=1e-4)


def test_few_prompts_are_fewer_than_ten():
    """Nine prompts have Student's limits, which look beyond the data; ten have the bootstrap's, which do not."""
    nine, ten = (bootstrap((np.append(np.zeros(n - 1), 1.0),), np.mean) for n in (9, 10))
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
    for estimate in (mean_over_prompts([]), Estimate.unknown()):
        assert np.isnan([estimate.value, estimate.low, estimate.high]).all() and estimate.n_prompts == 0


def test_one_prompt_has_no_interval():
    estimate = mean_over_prompts(np.array([[0.25, 0.5]]))
    assert estimate.value.tolist() == [0.25, 0.5] and np.isnan(estimate.low).all() and np.isnan(estimate.high).all()
    assert estimate.n_prompts == 1


def test_unanimous_prompts_are_not_a_point():
    """All of 20 prompts right does not mean accuracy 1: the exact interval starts at (α/2)^(1/20)."""
    estimate = mean_over_prompts(np.ones((20, 2)), ends=PROPORTION)
    np.testing.assert_allclose(estimate.low, 0.025 ** (1 / 20))
    np.testing.assert_allclose(estimate.high, 1)
    estimate = mean_over_prompts(np.zeros(20), ends=PROPORTION)
    assert (float(estimate.low), float(estimate.high)) == (0, pytest.approx(1 - 0.025 ** (1 / 20)))


def test_resamples_have_as_many_prompts_as_there_are_and_each_as_often():
    weights = resampled(40, resamples=3000, seed=0)
    assert weights.shape == (3000, 40) and np.all(weights.sum(axis=1) == 40)
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.1) and weights.var(axis=0) == pytest.approx(39 / 40, abs=0.15)
    assert not np.array_equal(weights, resampled(40, resamples=3000, seed=1))
    assert np.array_equal(weights[:7], resampled(40, resamples=7, seed=0))


@pytest.mark.parametrize("options", [dict(confidence=1.0), dict(confidence=95), dict(resamples=0), dict(seed=-1)])
def test_a_bootstrap_that_cannot_be_is_refused(options):
    [(name, value)] = options.items()
    with pytest.raises(UserError, match=f"{name}={value}; expected"):
        bootstrap((np.array([1.0, 2.0]),), np.mean, **options)
    with pytest.raises(UserError, match=f"{name}={value}; expected"):
        if name == "confidence":
            mean_over_prompts([1.0, 2.0], **options)
        else:
            resampled(2, **(dict(resamples=5, seed=0) | options))


def test_resamples_come_in_batches_and_are_the_same(monkeypatch):
    whole = resampled(30, resamples=20, seed=1)
    monkeypatch.setattr(bootstrap_room, "BATCH", 100)
    batches = list(bootstrap_room.resampled_batches(30, resamples=20, seed=1))
    assert [len(batch) for batch in batches] == [3] * 6 + [2] and (np.concatenate(batches) == whole).all()
    assert (whole.sum(axis=1) == 30).all() and len(np.unique(whole, axis=0)) == 20
    monkeypatch.setattr(bootstrap_room, "KEPT", 0)
    afresh = bootstrap_room.resampled_batches(30, resamples=20, seed=1)
    assert (np.concatenate(list(afresh)) == whole).all()
