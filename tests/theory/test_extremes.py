"""Tables and parameters at the ends of what a float holds: laws stay laws, limits are reached, nothing is NaN."""

import itertools
import warnings

import mpmath as mp
import numpy as np
import pytest
from scipy.special import log_softmax

from sharptheory.learners import bon_aware
from sharptheory.theory import bounds, coverage, divergences, laws
from sharptheory.theory.majority import majority
from sharptheory.theory.policies import TabularPolicy

TABLES = {
    "ordinary": [0.0, -1.0, -2.0],
    "tied": [0.0, 0.0, -1.0],
    "near ties": [0.0, -1e-17, -1e-13],
    "underflowing": [0.0, -800.0, -700.0],
    "a likelihood of e^(-1e308)": [0.0, -1e308, -1.0],
    "two of them": [-1e308, 0.0, -1.7e308],
    "no mass": [0.0, -np.inf, -1e300],
    "one response": [0.0],
}
TINY_AND_HUGE = [5e-324, 1e-300, 1e-17, 1e-9, 0.5, 1.0, 1 + 1e-15, 3.0, 1e9, 1e17, 1e300, 1.7e308]
REWARDS = [None, [0.0, 1.0, 1.0], [1e17, -1e17, 0.0], [1.7e308, -1.7e308, 0.0], [1e-17, 0.0, 5e-324]]

LAWS = {
    "best_of_n": lambda p, x, r: laws.best_of_n(p, max(x, 1.0), rewards=r),
    "tilted": lambda p, x, r: laws.tilted(p, x, rewards=r),
    "power": lambda p, x, r: laws.power(p, x),
    "chi_squared": lambda p, x, r: laws.chi_squared(p, x, rewards=r),
    "rank_tilted": lambda p, x, r: laws.rank_tilted(p, max(x, 1.0), rewards=r),
    "adaptive_best_of_n": lambda p, x, r: laws.adaptive_best_of_n(p, x).law,
    "majority": lambda p, x, r: majority(p, int(min(max(x, 1), 9))),
    "curated": lambda p, x, r: laws.curated(p, np.inf if x > 9 else max(np.floor(x), 1), rewards=r),
}


def row(name: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        return log_softmax(np.array(TABLES[name]))


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("table", TABLES)
def test_a_law_stays_a_law(name, table):
    base = row(table)
    for parameter, rewards in itertools.product(TINY_AND_HUGE, REWARDS):
        given = None if rewards is None else np.array(rewards[: len(base)])
        law = LAWS[name](base, parameter, given)
        assert np.all(law <= 1e-12), (parameter, rewards, law)
        assert np.exp(law).sum() == pytest.approx(1, abs=1e-9), (parameter, rewards, law)
        assert np.all(law[base == -np.inf] == -np.inf)


@pytest.mark.parametrize(("p", "q"), [*itertools.product(["a likelihood of e^(-1e308)", "two of them"], repeat=2)])
def test_divergences_of_extreme_likelihoods_are_numbers(p, q):
    p, q = row(p), row(q)
    for divergence in (divergences.kl, divergences.renyi_2, divergences.hellinger_squared, divergences.total_variation):
        assert divergence(p, q) >= 0
    assert divergences.renyi_2(p, p) == 0
    assert 1 <= coverage.concentrability(p, q) <= np.inf


def test_chi_squared_with_a_small_beta_is_the_law_of_the_best():
    base = np.log([0.5, 0.3, 0.2])
    for beta in (1e-17, 1e-300):
        np.testing.assert_allclose(np.exp(laws.chi_squared(base, beta, rewards=[0, 1, 1])), [0, 0.6, 0.4], rtol=1e-14)
        np.testing.assert_allclose(np.exp(laws.chi_squared(base, beta, rewards=[3e9, 7e9, 7e9])), [0, 0.6, 0.4])


def test_chi_squared_sees_rewards_that_differ_little_beside_their_size():
    base, rewards = np.log([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 0.5])
    np.testing.assert_allclose(
        laws.chi_squared(base, 0.4, rewards=rewards), laws.chi_squared(base, 0.4, rewards=2**40 + rewards), rtol=1e-12
    )


def test_chi_squared_with_a_large_beta_is_the_base():
    base = np.log([0.5, 0.3, 0.2])
    np.testing.assert_allclose(laws.chi_squared(base, 1e300, rewards=[0, 1, 2]), base, rtol=1e-14)


@pytest.mark.parametrize("n", [1 + 1e-9, 1 + 1e-6, 1.0005, 1.002, 1.01, 2, 1e6, 1e300])
def test_rank_tilt_has_the_divergence_of_best_of_n(n):
    with mp.workdps(60):
        tilt, n = mp.mpf(laws.rank_tilt(n)), mp.mpf(n)
        target = mp.log(n) - (n - 1) / n
        kl = ((tilt - 1) + mp.exp(-tilt)) / (1 - mp.exp(-tilt)) - tilt - mp.log((1 - mp.exp(-tilt)) / tilt)
        assert abs(kl / target - 1) < 1e-11
    assert laws.rank_tilt(1) == 0


def test_coverage_coefficient_of_a_small_power_is_the_geometric_mean():
    policy = TabularPolicy.from_probs([[0.6, 0.4], [0.9, 0.1]])
    for p in (1e-6, 1e-9, 1e-17, 1e-300, 5e-324):
        assert coverage.coverage_coefficient(policy, p=p) == pytest.approx(1 / np.sqrt(0.6 * 0.9), rel=1e-6)
    steps = [1e-17, 1e-8, 1e-4, 0.1, 1.0, 1.2, 3.0, 1e3, 1e300, np.inf]
    values = [coverage.coverage_coefficient(policy, p=p) for p in steps]
    assert np.all(np.diff(values) >= 0)
    assert values[-1] == pytest.approx(1 / 0.6)
    assert values[steps.index(3.0)] == pytest.approx(((0.6**-3 + 0.9**-3) / 2) ** (1 / 3), rel=1e-14)


def test_concentrability_of_order_0_is_1_also_without_mass():
    law, base = row("ordinary"), row("no mass")
    assert coverage.concentrability(law, base, order=0) == pytest.approx(1)
    assert coverage.concentrability(law, base) == np.inf


def test_infinitely_many_samples_hit_what_has_mass():
    np.testing.assert_array_equal(laws.best_of_n_hit([0.0, 5e-324, 0.3, 1.0], np.inf), [0, 1, 1, 1])
    assert laws.best_of_n_hit(0.0, 1e308) == 0


def test_best_of_n_divergence_grows_without_end():
    assert bounds.best_of_n_kl(np.inf) == np.inf


def test_a_level_set_with_mass_needs_a_likelihood():
    masses = np.log([0.75, 0.25])
    with pytest.raises(ValueError, match=r"log_likelihood\[0\] is -inf; expected .* ≥ -1e\+09 where there is mass"):
        laws.adaptive_best_of_n(masses, 1.0, log_likelihood=[-np.inf, -np.inf])
    with pytest.raises(ValueError, match=r"log_likelihood\[1\] is -1e\+308"):
        laws.adaptive_best_of_n(masses, 1.0, log_likelihood=[-1.0, -1e308])
    # Without mass it needs none.
    law = laws.adaptive_best_of_n([0.0, -np.inf], 1.0, log_likelihood=[-2.0, -np.inf]).law
    np.testing.assert_array_equal(law, [0, -np.inf])


def test_curation_with_rewards_far_apart_is_cheap_and_exact():
    """Of two groups infinitely far apart the worse one is kept only where all K samples are of it."""
    base = np.log([0.3, 0.5, 0.2])
    for gap, k in itertools.product((1e3, 1e9, 1e300), (2, 7)):
        law = laws.curated(base, k, rewards=[0.0, 0.0, gap])
        kept = 0.8**k
        np.testing.assert_allclose(np.exp(law), [kept * 3 / 8, kept * 5 / 8, 1 - kept], rtol=1e-12)


def test_curation_refuses_what_no_memory_holds():
    with pytest.raises(
        ValueError, match=r"k=1e\+12, rewards from 0 to 1e\+300: .* terms of a quadrature; expected at most"
    ):
        laws.curated(np.log([0.3, 0.5, 0.2]), 1e12, rewards=[0.0, 1e299, 1e300])
    with pytest.raises(ValueError, match=r"k=1e\+16; expected an integer from 1 to 1,000,000,000,000,000, or inf"):
        laws.curated(np.log([0.3, 0.7]), 1e16)


def test_rewards_without_a_mean_are_refused():
    half = np.log([0.5, 0.5])
    assert divergences.expected_reward(half, [0.0, -np.inf]) == -np.inf
    assert divergences.expected_reward([0.0, -np.inf], [1.0, np.nan]) == 1
    for rewards in ([np.inf, -np.inf], [np.nan, 0.0]):
        with pytest.raises(ValueError, match="rewards hold NaN, or inf and -inf"):
            divergences.expected_reward(half, rewards)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_best_of_n_gradients_of_extreme_logits_are_numbers():
    for table, n in itertools.product(TABLES, [1.0, 2.0, 1e17]):
        value, jacobian = bon_aware.log_best_of_n(row(table), np.arange(len(TABLES[table])), n)
        assert not np.isnan(value).any() and not np.isnan(jacobian).any()


def test_costs_at_tiny_delta_are_infinite_not_errors():
    common = dict(delta=1e-200, c_max=1e10, min_max_prob=0.5, c_cov_bar=2.0)
    assert bounds.dpo_cost(eps=0.1, rho=0.1, log_class=1.0, **common).queries == np.inf
    assert bounds.dpo_bad_prompts(0.1, **common) == np.inf
    assert bounds.dpo_bad_prompts(0.0, **common) == 0


@pytest.mark.parametrize("table", ["ordinary", "tied", "near ties", "underflowing", "no mass", "one response"])
def test_nothing_that_is_expected_warns(table):
    """Zero masses, underflow and infinite limits are results, not warnings."""
    base = row(table)
    policy = TabularPolicy(np.stack([base, base]), mu=[0.0, 1.0])
    rewards = np.array([-np.inf, 1.0, 1.0])[-len(base) :]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for parameter in (1e-9, 0.5, 1.0, 3.0, 1e9):
            for name, law in LAWS.items():
                if name not in ("chi_squared", "curated"):
                    law(base, parameter, rewards)
                law(base, parameter, None)
            laws.stopping_tail(base, parameter, np.array([0, 1, 5, 1e9]))
            coverage.coverage_coefficient(policy, p=parameter)
            coverage.concentrability(base, base, order=parameter)
        for extreme in (0.0, np.inf):
            laws.tilted(base, extreme, rewards=rewards)
            laws.power(base, extreme)
        laws.entry_time(base, 3.0)
        laws.best_of_n_hit(np.exp(base), np.inf)
        for divergence in (divergences.kl, divergences.renyi_2, divergences.hellinger_squared):
            divergence(base, np.roll(base, 1))
        divergences.win_rate(base, base, rewards)
        divergences.expected_reward(base, rewards)
        for value in (
            coverage.margin(policy),
            coverage.c_cov_bar(policy),
            coverage.coverage_profile(policy, [0.0, 2.0]),
        ):
            assert np.all(value >= 0)
        coverage.missing_mass(np.stack([base, base]), policy)
        TabularPolicy.from_probs(np.exp(base))
