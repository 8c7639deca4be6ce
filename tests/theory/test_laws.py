import itertools

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import log_softmax

from sharptheory.measure.best_of_n import adaptive_weights
from sharptheory.testing import assert_law, assert_laws_equal, policies
from sharptheory.theory import laws
from sharptheory.theory.divergences import expected_reward, kl
from sharptheory.theory.majority import majority

COMMON = dict(deadline=None, derandomize=True, max_examples=100)


def enumerate_best_of_n(probs: np.ndarray, rewards: np.ndarray, n: int) -> np.ndarray:
    """All sequences of n draws; ties among the best draws broken uniformly over the draws."""
    law = np.zeros(len(probs))
    for draws in itertools.product(range(len(probs)), repeat=n):
        best = [y for y in draws if rewards[y] == max(rewards[list(draws)])]
        for y in best:
            law[y] += np.prod(probs[list(draws)]) / len(best)
    return law


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("rewards", [[0.0, 1, 2, 3], [1, 1, 0, 2], [0, 0, 0, 0], [-np.inf, 1, 1, 1]])
def test_best_of_n_law_matches_enumeration(n, rewards):
    probs, rewards = np.array([0.1, 0.4, 0.3, 0.2]), np.array(rewards)
    law = laws.best_of_n(np.log(probs), n, rewards=rewards)
    np.testing.assert_allclose(np.exp(law), enumerate_best_of_n(probs, rewards, n), rtol=1e-12)


def test_best_of_n_law_matches_simulation():
    """200,000 draws, chi-squared test at level 1e-6, fixed seed."""
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(30, 0.7))
    rewards = rng.integers(0, 10, size=30).astype(float)
    draws = rng.choice(30, size=(200_000, 7), p=probs)
    noise = rng.random(draws.shape)  # breaks ties uniformly over the draws
    chosen = np.take_along_axis(draws, np.argmax(rewards[draws] + 1e-3 * noise, axis=1)[:, None], axis=1)[:, 0]
    expected = np.exp(laws.best_of_n(np.log(probs), 7, rewards=rewards)) * len(draws)
    counts = np.bincount(chosen, minlength=30)
    kept = expected > 10
    statistic = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    assert statistic < stats.chi2.ppf(1 - 1e-6, kept.sum())


def best_of_n_by_mpmath(log_masses: list[float], n: float) -> list[mp.mpf]:
    """The law of distinct levels, worst first, in 60 digits and more."""
    with mp.workdps(700):
        masses = [mp.exp(mp.mpf(m)) for m in log_masses]
        total = mp.fsum(masses)
        cdf = [mp.fsum(masses[: i + 1]) / total for i in range(len(masses))]
        lower = [mp.mpf(0), *cdf[:-1]]
        return [mp.log(f ** mp.mpf(n) - g ** mp.mpf(n)) if f > 0 else mp.mpf("-inf") for f, g in zip(cdf, lower)]


@pytest.mark.parametrize("n", [1, 2.5, 64, 1e6, 1e12])
@pytest.mark.parametrize(
    "log_masses",
    [
        [-690.7755, 0.0],  # mass 1e-300 at the bottom
        [0.0, -690.7755],  # and on top: the best response is nearly never drawn
        [-800.0, 0.0, -900.0],  # masses that underflow
        [-1.0, -2.0, -27.6310, -0.5],
        [0.0],
        [-2.0] * 6,
    ],
)
def test_best_of_n_law_at_the_extremes(log_masses, n):
    """Relative error of the probabilities at most 1e-10, for N up to 1e12 and masses down to 1e-390."""
    row = log_softmax(np.array(log_masses))
    law = laws.best_of_n(row, n, rewards=np.arange(len(row)))
    for value, exact in zip(law, best_of_n_by_mpmath(log_masses, n)):
        if exact < -1e6:
            assert value < -0.999e6
        else:
            assert abs(float(mp.mpf(float(value)) - exact)) < 1e-10


def test_best_of_n_of_tied_and_nearly_tied_rows_is_the_base():
    base = np.log(np.full(5, 0.2))
    near = log_softmax(base + np.array([0, 1e-15, -1e-15, 2e-15, 0]))
    for n in (1, 3, 1e12):
        np.testing.assert_allclose(laws.best_of_n(base, n), base, rtol=1e-14)
        np.testing.assert_allclose(np.exp(laws.best_of_n(near, n)), 0.2, rtol=1e-12)
    assert laws.best_of_n(np.zeros(1), 1e12) == 0


@pytest.mark.parametrize("n", [1e280, 1e287, 1e290, 1e300])
@pytest.mark.parametrize("log_mass", [-640.0, -660.0, -690.0])
def test_best_of_n_of_a_faint_level_with_a_huge_n(log_mass, n):
    """N times the mass of the best level is of order 1, or far above: never a probability above 1."""
    law = laws.best_of_n(np.array([log_mass, 0.0]), n, rewards=np.array([1.0, 0.0]))
    with mp.workdps(50):
        exact = mp.log(-mp.expm1(mp.mpf(n) * mp.log1p(-mp.exp(mp.mpf(log_mass)))))
    assert law[0] == pytest.approx(float(exact), rel=1e-10, abs=1e-12) and law[0] <= 0


def test_levels_know_their_rewards_and_tolerance():
    ranking = laws.levels(np.log([0.5, 0.3, 0.2]))
    for options in ({"rewards": np.array([0.0, 0.0, 1.0])}, {"tolerance": 0.1}):
        with pytest.raises(ValueError, match="beside levels"):
            laws.best_of_n(ranking, 4, **options)


@given(policies(), st.floats(1, 1e12))
@settings(**COMMON)
def test_best_of_n_is_a_law(policy, n):
    assert_law(laws.best_of_n(policy.log_probs, n), policy)


@given(policies())
@settings(**COMMON)
def test_best_of_1_is_the_base_and_huge_n_the_argmax(policy):
    base = policy.log_probs
    np.testing.assert_allclose(laws.best_of_n(base, 1), base, rtol=1e-11, atol=1e-11)
    assert_laws_equal(laws.best_of_n(base, 1e300), laws.argmax_law(base), tolerance=1e-9)


def test_hit_probability_of_tiny_masses():
    for mass, n in ((1e-300, 1e12), (1e-16, 10), (0.3, 1e12), (1.0, 5)):
        with mp.workdps(400):
            exact = 1 - (1 - mp.mpf(mass)) ** int(n)
        assert float(laws.best_of_n_hit(mass, n)) == pytest.approx(float(exact), rel=1e-12)


# Adaptive best-of-N


def adaptive_by_steps(probs: np.ndarray, threshold: float, steps: int) -> tuple[np.ndarray, float]:
    """Law of the returned response and E[N], following the running maximum draw by draw (ties uniform over draws)."""
    values = np.unique(probs)
    current = np.zeros(len(values))  # P[not stopped, running maximum is this level]
    law, expected, alive = np.zeros(len(probs)), 0.0, 1.0
    mass = np.array([probs[probs == v].sum() for v in values])
    for k in range(1, steps + 1):
        expected += alive
        if k == 1:
            current = mass.copy()
        else:
            below = np.concatenate([[0], np.cumsum(mass)[:-1]])
            current = current * (below + mass) + mass * np.concatenate([[0], np.cumsum(current)[:-1]])
        stop = 1 / values <= k / threshold
        for level in np.flatnonzero(stop):
            members = probs == values[level]
            law[members] += current[level] * probs[members] / probs[members].sum()
        current = np.where(stop, 0.0, current)
        alive = current.sum()
    return law, expected


@pytest.mark.parametrize("probs", [[0.5, 0.3, 0.2], [0.25] * 4, [0.4, 0.4, 0.1, 0.06, 0.04], [1.0], [0.9, 0.1, 0.0]])
@pytest.mark.parametrize("delta", [1.0, 0.1, 1e-3])
def test_adaptive_law_and_cost_match_a_step_by_step_computation(probs, delta):
    probs, threshold = np.array(probs), laws.stopping_threshold(delta)
    law, expected = adaptive_by_steps(probs[probs > 0], threshold, 3_000)
    with np.errstate(divide="ignore"):
        stopping = laws.adaptive_best_of_n(np.log(probs), threshold)
    np.testing.assert_allclose(np.exp(stopping.law)[probs > 0], law, rtol=1e-10, atol=1e-14)
    assert float(stopping.expected_n) == pytest.approx(expected, rel=1e-12)


def test_adaptive_law_matches_simulation():
    """20,000 runs: E[N] within 5 standard errors, the law within 5 standard errors of each probability."""
    rng = np.random.default_rng(1)
    probs, threshold = rng.dirichlet(np.full(12, 0.8)), laws.stopping_threshold(0.05)
    stopping = laws.adaptive_best_of_n(np.log(probs), threshold)
    runs, returned, counts = 20_000, [], []
    for draws in rng.choice(12, size=(runs, 200), p=probs):
        running = np.maximum.accumulate(probs[draws])
        k = int(np.argmax(1 / running <= np.arange(1, 201) / threshold)) + 1
        counts.append(k)
        returned.append(int(np.argmax(probs == running[k - 1])))
    assert abs(np.mean(counts) - stopping.expected_n) < 5 * np.std(counts) / np.sqrt(runs)
    law = np.exp(stopping.law)
    assert np.all(np.abs(np.bincount(returned, minlength=12) / runs - law) < 5 * np.sqrt(law / runs) + 1e-4)


@given(policies(), st.floats(1e-6, 1))
@settings(**COMMON)
def test_adaptive_best_of_n_is_a_law(policy, delta):
    stopping = laws.adaptive_best_of_n(policy.log_probs, laws.stopping_threshold(delta))
    assert_law(stopping.law, policy)
    assert np.all(stopping.expected_n >= 1)


@pytest.mark.parametrize("log_p", [-np.log(1e3), -np.log(1e12), -np.log(1e300)])
def test_expected_stopping_of_level_sets(log_p):
    """A policy over up to 1e300 responses as two level sets, against the geometric sum in mpmath."""
    threshold = laws.stopping_threshold(0.01)
    masses, values = np.log([0.75, 0.25]), np.array([log_p, log_p + np.log(3.7)])
    stopping = laws.adaptive_best_of_n(masses, threshold, log_likelihood=values)
    with mp.workdps(320):
        first, second = (mp.ceil(mp.mpf(threshold) / mp.exp(mp.mpf(float(v)))) for v in values[::-1])
        below = mp.mpf("0.75")
        exact = first + below**first * (1 - below ** (second - first)) / (1 - below)
    assert float(stopping.expected_n) == pytest.approx(float(exact), rel=1e-10)


def test_stopping_tail_sums_to_the_expectation():
    rng = np.random.default_rng(2)
    table, threshold = np.log(rng.dirichlet(np.full(6, 0.5), size=3)), laws.stopping_threshold(0.1)
    tail = laws.stopping_tail(table, threshold, np.arange(200_000))
    np.testing.assert_allclose(tail.sum(axis=1), laws.adaptive_best_of_n(table, threshold).expected_n, rtol=1e-8)
    assert np.all(tail[:, 0] == 1) and np.all(np.diff(tail, axis=1) <= 1e-15)


@pytest.mark.parametrize("values", [(-800.0, -750.0), (-1e5, -9e4), (-750.0, -700.0)])
def test_adaptive_rule_on_likelihoods_that_underflow(values):
    """p* down to e^-90,000: the rule waits for ages, so it returns the best level, and ``E[N]`` is what a float holds."""
    rule = laws.adaptive_best_of_n(np.log([0.75, 0.25]), 1.0, log_likelihood=np.array(values))
    np.testing.assert_allclose(np.exp(rule.law), [0, 1])
    assert rule.expected_n == (np.inf if values[1] < -710 else pytest.approx(np.exp(700.0)))


def test_adaptive_rule_with_a_faint_best_level():
    """The best level of mass e^-800 never shows up: the rule waits ⌈2/0.7⌉ draws for it and 7 for the next."""
    masses, values = np.array([np.log1p(-0.3), np.log(0.3), -800.0]), np.log([0.1, 0.3, 0.7])
    rule = laws.adaptive_best_of_n(masses, 2.0, log_likelihood=values)
    missed = 0.7 ** np.arange(7, 20)
    assert rule.expected_n == pytest.approx(7 + missed.sum(), rel=1e-12)
    assert np.exp(rule.law[0]) == pytest.approx(0.7**20, rel=1e-12) and rule.law[2] < -797


@pytest.mark.parametrize(
    ("log_threshold", "shift"), [(0, 30), (230, 300), (230, 490), (690, 17), (709.7, 0), (709.7, 600)]
)
def test_adaptive_rule_where_the_chance_of_a_hit_underflows(log_threshold, shift):
    """A best level of mass 1/k stops the rule from draw k on and the other from draw ek on: e^-e miss it, however large k."""
    threshold = np.exp(log_threshold)
    log_k = np.log(threshold) + shift
    rule = laws.adaptive_best_of_n([0.0, -log_k], threshold, log_likelihood=[-1.0 - shift, -float(shift)])
    np.testing.assert_allclose(np.exp(rule.law), [np.exp(-np.e), 1 - np.exp(-np.e)], rtol=1e-10)
    if log_k < 700:
        mean = 1 + np.exp(-1) - np.exp(-np.e)
        assert np.log(rule.expected_n) == pytest.approx(log_k + np.log(mean), rel=1e-10)


@pytest.mark.parametrize(("size", "threshold"), [(7, 3), (3, 1), (10, 7), (49, 2), (6, 0.5)])
def test_a_threshold_that_is_a_multiple_of_the_likelihood_is_met_exactly(size, threshold):
    """Uniform on Y: the rule stops at μ Y draws, in the exact law, its tail and its average over a pool alike."""
    rng, row = np.random.default_rng(0), np.log(np.full(size, 1 / size))
    for jitter in (0.0, 1e-15, -1e-15, 2e-16, rng.normal(size=size) * 1e-15):
        wait = threshold * size
        assert np.all(laws.entry_time(row + jitter, threshold) == wait)
        assert laws.adaptive_best_of_n(row + jitter, threshold).expected_n == wait
        assert adaptive_weights((row + jitter)[rng.integers(size, size=200)], threshold)[1] == pytest.approx(wait)
    np.testing.assert_array_equal(laws.stopping_tail(row, threshold, [wait - 1, wait]), [1, 0])


# Tilted laws


@given(policies(), st.floats(1e-3, 1e3))
@settings(**COMMON)
def test_tilted_is_the_power_law(policy, beta):
    base = policy.log_probs
    law = laws.tilted(base, beta)
    assert_law(law, policy)
    assert_laws_equal(law, laws.power(base, 1 + 1 / beta))


def test_tilted_limits():
    base = np.log([0.5, 0.3, 0.2])
    np.testing.assert_allclose(laws.tilted(base, np.inf), base)
    for beta in (0.0, 1e-12, 1e-300):
        np.testing.assert_allclose(np.exp(laws.tilted(base, beta)), [1, 0, 0], atol=1e-300)
    tied = np.log([0.4, 0.4, 0.2])
    np.testing.assert_allclose(np.exp(laws.tilted(tied, 0.0)), [0.5, 0.5, 0])
    np.testing.assert_allclose(np.exp(laws.power(tied, np.inf)), [0.5, 0.5, 0])


@pytest.mark.parametrize(
    "log_masses", [[0.0, -690.7755], [-1.0, -1.0 - 1e-15, -2.0], [0.0], [-3.0, -3.0], [-0.1, -800.0]]
)
@pytest.mark.parametrize("beta", [1e12, 7.0, 0.3, 1e-3])
def test_tilted_laws_at_the_extremes(log_masses, beta):
    """Against 700 digits: relative error of every probability at most 1e-10, argmax law and divergences included."""
    row = log_softmax(np.array(log_masses))
    law = laws.tilted(row, beta)
    with mp.workdps(700):
        powers = [mp.exp(mp.mpf(float(v)) * (1 + 1 / mp.mpf(beta))) for v in row]
        exact = [p / mp.fsum(powers) for p in powers]
        for value, probability in zip(law, exact):
            assert abs(float(mp.mpf(float(value)) - mp.log(probability))) <= 1e-10 * max(1.0, abs(float(value)))
        base = [mp.exp(mp.mpf(float(v))) for v in row]
        divergence = mp.fsum(p * mp.log(p / b) for p, b in zip(exact, base))
    assert float(kl(law, row)) == pytest.approx(float(divergence), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("delta", [1e-300, 1e-12, 1.0])
def test_adaptive_rule_as_delta_vanishes(delta):
    """δ down to 1e-300: the rule still stops, its law is the argmax law to δ/2, and Lemma I.1 holds."""
    row, threshold = np.log([0.6, 0.3, 0.1]), laws.stopping_threshold(delta)
    stopping = laws.adaptive_best_of_n(row, threshold)
    with mp.workdps(60):
        entries = [mp.ceil(mp.mpf(threshold) / mp.exp(mp.mpf(float(v)))) for v in row]
        below = [1 - mp.exp(mp.mpf(float(row[0]))), mp.exp(mp.mpf(float(row[2])))]
        exact = entries[0] + mp.fsum(
            g**a * (1 - g ** (b - a)) / (1 - g) for g, a, b in zip(below, entries[:2], entries[1:])
        )
    assert float(stopping.expected_n) == pytest.approx(float(exact), rel=1e-12)
    assert 1 - np.exp(stopping.law[0]) <= delta / 2 + 1e-15 and stopping.expected_n <= (threshold + 1) / 0.6


def test_tilted_by_a_reward_is_optimal():
    rng = np.random.default_rng(0)
    base, rewards, beta = np.log(rng.dirichlet(np.ones(6))), rng.normal(size=6), 0.3
    best = laws.tilted(base, beta, rewards=rewards)
    value = lambda law: float(expected_reward(law, rewards) - beta * kl(law, base))  # noqa: E731
    for other in np.log(rng.dirichlet(np.ones(6), size=200)):
        assert value(other) <= value(best)


def test_tilted_by_infinite_rewards():
    """+inf takes all the mass, -inf none, and an infinite β is the base whatever the rewards."""
    base, inf = np.log([0.5, 0.3, 0.2]), np.inf
    for rewards, probs in (
        ([inf, 0, inf], [5 / 7, 0, 2 / 7]),
        ([-inf, 0, 0], [0, 0.6, 0.4]),
        ([-inf] * 3, [0.5, 0.3, 0.2]),
    ):
        for beta in (0.0, 1.0, 1e300):
            np.testing.assert_allclose(np.exp(laws.tilted(base, beta, rewards=np.array(rewards))), probs, rtol=1e-12)
        np.testing.assert_allclose(laws.tilted(base, inf, rewards=np.array(rewards)), base)
    with pytest.raises(ValueError, match=r"rewards\[1\] is NaN"):
        laws.tilted(base, 1.0, rewards=np.array([0, np.nan, 0]))


def test_argmax_law_keeps_proportions_within_gamma():
    base = np.log([0.5, 0.45, 0.05])
    np.testing.assert_allclose(np.exp(laws.argmax_law(base, 0.2)), [10 / 19, 9 / 19, 0])


def test_chi_squared_solves_its_equation():
    rng = np.random.default_rng(0)
    base, rewards = np.log(rng.dirichlet(np.ones(7), size=50)), rng.normal(size=(50, 7)).round(1)
    for beta in (0.01, 0.3, 5.0, 100.0):
        law = np.exp(laws.chi_squared(base, beta, rewards=rewards))
        density = law / np.exp(base)
        np.testing.assert_allclose(law.sum(axis=1), 1)
        # On the support, r - β·density is one number λ; off it, r ≤ λ.
        threshold = np.where(law > 0, rewards - beta * density, np.nan)
        assert np.nanmax(np.nanmax(threshold, axis=1) - np.nanmin(threshold, axis=1)) < 1e-9
        assert np.all(np.where(law > 0, -np.inf, rewards) <= np.nanmax(threshold, axis=1)[:, None] + 1e-9)


def test_rank_tilt_has_the_published_values():
    for n, tilt in zip((2, 4, 8, 16, 32, 64), (2.2886, 4.9169, 9.0545, 17.0319, 33.0158, 65.0079)):
        assert laws.rank_tilt(n) == pytest.approx(tilt, abs=1e-4)
    assert laws.rank_tilt(1) == 0 and laws.rank_tilt(1e6) == pytest.approx(1e6, rel=1e-3)


def test_rank_tilted_approaches_best_of_n_as_responses_grow_but_not_for_a_binary_verifier():
    rng = np.random.default_rng(0)
    gaps = []
    for size in (4, 64, 2048):
        base, rewards = np.full(size, -np.log(size)), rng.normal(size=size)
        exact, surrogate = laws.best_of_n(base, 8, rewards=rewards), laws.rank_tilted(base, 8, rewards=rewards)
        gaps.append(float(kl(exact, base) - kl(surrogate, base)))
    assert abs(gaps[2]) < abs(gaps[1]) < abs(gaps[0]) and abs(gaps[2]) < 0.01
    binary = np.log([0.9, 0.1])
    exact, surrogate = (
        np.exp(f(binary, 32, rewards=np.array([0.0, 1]))[1]) for f in (laws.best_of_n, laws.rank_tilted)
    )
    assert exact == pytest.approx(0.966, abs=1e-3) and surrogate == pytest.approx(0.751, abs=1e-3)


# Curation


def test_curation_matches_enumeration_and_its_limits():
    rng = np.random.default_rng(0)
    probs, rewards = rng.dirichlet(np.ones(4)), rng.normal(size=4)
    base, w = np.log(probs), np.exp(rewards)
    for k in (2, 3, 4):
        factor = np.zeros(4)
        for y in range(4):
            for others in itertools.product(range(4), repeat=k - 1):
                factor[y] += np.prod(probs[list(others)]) * k * w[y] / (w[y] + w[list(others)].sum())
        np.testing.assert_allclose(np.exp(laws.curated(base, k, rewards=rewards)), probs * factor, rtol=1e-8)
    np.testing.assert_allclose(laws.curated(base, 1, rewards=rewards), base)
    assert_laws_equal(
        laws.curated(base, 1e7, rewards=rewards), laws.curated(base, np.inf, rewards=rewards), tolerance=1e-5
    )


def curated_by_mpmath(log_p: list[float], rewards: list[float], k: int) -> list[float]:
    """Sum over the number of times that each response is among the K-1 others, in 50 digits."""
    with mp.workdps(60):
        p, w = [mp.exp(mp.mpf(v)) for v in log_p], [mp.exp(mp.mpf(r)) for r in rewards]
        total = mp.fsum(p)
        law = []
        for y in range(len(p)):
            factor = mp.mpf(0)
            for counts in itertools.product(range(k), repeat=len(p)):
                if sum(counts) == k - 1:
                    ways = mp.factorial(k - 1)
                    for q, c in zip(p, counts):
                        ways *= (q / total) ** c / mp.factorial(c)
                    factor += ways * w[y] / (w[y] + mp.fsum(c * v for c, v in zip(counts, w)))
            law.append(mp.log(p[y] / total * k * factor))
        return [float(v) for v in law]


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("span", [0.0, 1e-9, 1.0, 30.0, 200.0, 500.0, 700.0])
def test_curation_at_any_range_of_rewards(k, span):
    """Relative error at most 1e-9 of every probability, for rewards up to 700 apart, in every order of the masses."""
    for masses in ([0.7, 0.3, 1e-300], [1e-300, 0.5, 0.5], [0.2, 0.5, 0.3]):
        for shape in ([0.0, 1.0, 0.4], [1.0, 0.9, 0.0]):
            log_p, rewards = np.log(masses), span * np.array(shape)
            exact = curated_by_mpmath(log_p, rewards, k)
            np.testing.assert_allclose(laws.curated(log_p, k, rewards=rewards), exact, rtol=0, atol=1e-9)


def test_curation_by_the_likelihood_of_a_nearly_impossible_response():
    """(.7, .3, 1e-300), K = 2: as if the third were not there, .784 and .216."""
    law = np.exp(laws.curated(np.log([0.7, 0.3, 1e-300]), 2))
    np.testing.assert_allclose(law[:2], [0.784, 0.216], rtol=1e-9)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(np.exp(laws.curated(np.log([0.7, 0.3, 0.0]), 2)), [0.784, 0.216, 0], rtol=1e-12)
    with pytest.raises(ValueError, match=r"rewards\[0\] is not finite"):
        laws.curated(np.log([0.7, 0.3]), 2, rewards=np.array([np.inf, 0]))


def test_iterated_curation_is_the_power_law():
    """t rounds with the fixed reward log π_base give π_base^{1+t}; with the live one, π_base^{2^t}."""
    base = np.log([0.5, 0.3, 0.2])
    fixed = live = base
    for _ in range(3):
        fixed, live = laws.curated(fixed, np.inf, rewards=base), laws.curated(live, np.inf)
    assert_laws_equal(fixed, laws.power(base, 4))
    assert_laws_equal(live, laws.power(base, 8))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: laws.best_of_n(b, 0.5), "n=0.5"),
        (lambda b: laws.best_of_n(b, np.nan), "n=nan"),
        (lambda b: laws.best_of_n(b, np.inf), "n=inf"),
        (lambda b: laws.best_of_n_hit(1.1, 2), "mass=1.1"),
        (lambda b: laws.best_of_n_hit(0.5, 0), "n=0"),
        (lambda b: laws.adaptive_best_of_n(b, np.inf), "threshold=inf"),
        (lambda b: laws.curated(b, 2.5), "k=2.5"),
        (lambda b: laws.chi_squared(b, 1.0, rewards=np.array([0, np.inf, 0])), r"rewards\[1\] is not finite"),
        (lambda b: laws.best_of_n(b, 2, rewards=np.array([0, np.nan, 1])), r"rewards\[1\] is NaN"),
        (lambda b: laws.adaptive_best_of_n(b, 0.0), "threshold=0.0"),
        (lambda b: laws.stopping_threshold(0.0), "delta=0.0"),
        (lambda b: laws.tilted(b, -1.0), "beta=-1.0"),
        (lambda b: laws.power(b, np.nan), "alpha=nan"),
        (lambda b: laws.argmax_law(b, 1.0), "gamma=1.0"),
        (lambda b: majority(b, 2.5), "n=2.5"),
        (lambda b: laws.chi_squared(b, 0.0), "beta=0.0"),
        (lambda b: laws.curated(b, 0.5), "k=0.5"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.log([0.5, 0.3, 0.2]))


def test_laws_keep_the_shape_of_their_input():
    base = np.log(np.random.default_rng(0).dirichlet(np.ones(4), size=(2, 3)))
    for law in (
        laws.best_of_n(base, 3),
        laws.tilted(base, 0.5),
        majority(base, 3),
        laws.adaptive_best_of_n(base, 2.0).law,
    ):
        assert law.shape == base.shape
    for each, one in zip(laws.best_of_n_laws(base, [1, 5]), (1, 5)):
        np.testing.assert_array_equal(each, laws.best_of_n(base, one))
    row = laws.best_of_n(base[0, 0], 3)
    np.testing.assert_allclose(row, laws.best_of_n(base, 3)[0, 0], rtol=1e-14)


EVERY_LAW = {
    "best_of_n": lambda p, r: laws.best_of_n(p, 2.5, rewards=r),
    "tilted": lambda p, r: laws.tilted(p, 0.7, rewards=r),
    "tilted, β = 0": lambda p, r: laws.tilted(p, 0.0, rewards=r),
    "power": lambda p, r: laws.power(p, 2.0),
    "chi_squared": lambda p, r: laws.chi_squared(p, 0.7, rewards=r),
    "rank_tilted": lambda p, r: laws.rank_tilted(p, 2.5, rewards=r),
    "curated": lambda p, r: laws.curated(p, 3, rewards=r),
    "argmax_law": lambda p, r: laws.argmax_law(p, 0.3),
    "adaptive_best_of_n": lambda p, r: laws.adaptive_best_of_n(p, 1.7).law,
    "expected_n": lambda p, r: laws.adaptive_best_of_n(p, 1.7).expected_n,
    "stopping_tail": lambda p, r: laws.stopping_tail(p, 1.7, np.array([1, 3])),
    "majority": lambda p, r: majority(p, 4),
    "kl": lambda p, r: kl(p, np.roll(p, 1, axis=-1)),
    "expected_reward": expected_reward,
}


@pytest.mark.parametrize("name", EVERY_LAW)
@pytest.mark.parametrize("kind", [float, int])
def test_each_row_of_a_table_has_the_law_it_has_alone(name, kind):
    """Tables of any number of dimensions; rewards that differ from row to row, or are whole numbers."""
    rng = np.random.default_rng(0)
    base = np.log(rng.dirichlet(np.ones(4), size=(2, 3)))
    base[0, 1, 2] = -np.inf
    base = log_softmax(base, axis=-1)
    rewards = rng.integers(-3, 4, size=base.shape).astype(kind)
    together = EVERY_LAW[name](base, rewards)
    assert together.shape[:2] == (2, 3)
    for x in itertools.product(range(2), range(3)):
        alone = EVERY_LAW[name](base[x], rewards[x].astype(float))
        np.testing.assert_allclose(together[x], alone, rtol=1e-12, atol=1e-14)


def test_masses_that_pass_1_by_rounding_are_hit_at_once():
    np.testing.assert_array_equal(laws.best_of_n_hit([1.0, 1 + 5e-7], 3), [1, 1])


def test_a_threshold_of_samples_counts_its_ends():
    """μ/p an integer, a hair above it, and clearly above it; the first sample is never too early."""
    p = np.log([0.5, 0.5 * (1 - 1e-13), 0.49, 1.0])
    np.testing.assert_array_equal(laws.entry_time(p, 1.0), [2, 2, 3, 1])
    np.testing.assert_array_equal(laws.entry_time(p, 1e-3), [1, 1, 1, 1])
    assert laws.entry_time(-800, 1.0) == np.inf


def test_stopping_tail_by_hand():
    """At (.5, .3, .2) and μ = 1 the responses stop the rule from the 2nd, 4th and 5th sample on."""
    tail = laws.stopping_tail(np.log([0.5, 0.3, 0.2]), 1.0, np.arange(7))
    np.testing.assert_allclose(tail, [1, 1, 0.5**2, 0.5**3, 0.2**4, 0, 0], atol=1e-15)
    for k in (-1, 1.5, [2, np.nan]):
        with pytest.raises(ValueError, match="expected whole numbers ≥ 0"):
            laws.stopping_tail(np.log([0.5, 0.5]), 1.0, k)


def test_chi_squared_by_hand():
    """π relu((r - λ)/β): at β = 1, r = (0, 1, 2) all count, λ = E r - 1; at β = .1 only the best does."""
    base = np.log([0.5, 0.3, 0.2])
    rewards = np.array([0.0, 1.0, 2.0])
    np.testing.assert_allclose(np.exp(laws.chi_squared(base, 1.0, rewards=rewards)), [0.15, 0.39, 0.46], atol=1e-14)
    np.testing.assert_allclose(np.exp(laws.chi_squared(base, 0.1, rewards=rewards)), [0, 0, 1], atol=1e-14)
    # At β = .3 the best two: λ = (.3 + .4 - .3)/.5 = .8.
    np.testing.assert_allclose(np.exp(laws.chi_squared(base, 0.3, rewards=rewards)), [0, 0.2, 0.8], atol=1e-14)
    # Responses without mass have no say, however good.
    padded = np.array([-np.inf, *base, -np.inf])
    law = laws.chi_squared(padded, 1.0, rewards=[99.0, *rewards, -99.0])
    np.testing.assert_allclose(np.exp(law), [0, 0.15, 0.39, 0.46, 0], atol=1e-14)


def test_curation_of_two_by_hand():
    """Of two candidates y is kept with probability w/(w + w'): p (p + Σ 2 p' w/(w + w'))."""
    p, w = np.array([0.5, 0.3, 0.2]), np.array([1.0, 3.0, 0.5])
    kept = p * (2 * w[:, None] / (w[:, None] + w) @ p)
    np.testing.assert_allclose(np.exp(laws.curated(np.log(p), 2, rewards=np.log(w))), kept, rtol=1e-12)
    np.testing.assert_array_equal(laws.curated(np.log(p), 1, rewards=np.log(w)), np.log(p))
    np.testing.assert_allclose(np.exp(laws.curated(np.log(p), np.inf, rewards=np.log(w))), p * w / (p @ w))


def test_levels_by_hand():
    ranking = laws.levels(np.log([0.5, 0.3, 0.2]), np.array([1.0, 0.0, 1.0]))
    np.testing.assert_allclose(np.exp(ranking.log_cdf), [[1, 0.3, 1]])
    np.testing.assert_allclose(np.exp(ranking.log_ratio), [[0.3, 0, 0.3]])
    np.testing.assert_allclose(np.exp(ranking.log_share), [[5 / 7, 1, 2 / 7]])
    np.testing.assert_allclose(np.exp(ranking.log_hazard), [[-np.log(0.3), np.inf, -np.log(0.3)]])
    assert ranking.shape == (3,)
    with pytest.raises(ValueError, match="given beside levels"):
        laws.best_of_n(ranking, 2, rewards=np.zeros(3))
    with pytest.raises(ValueError, match="given beside levels"):
        laws.best_of_n(ranking, 2, tolerance=1e-3)


def test_a_table_of_many_rows_is_ranked_and_worked_on_in_pieces():
    """More entries than one piece holds, with threads: every row as alone."""
    rng = np.random.default_rng(0)
    base = log_softmax(rng.normal(size=(6_000, 60)), axis=1)
    law = laws.best_of_n(base, 3.5)
    adaptive = laws.adaptive_best_of_n(base[:2_000], 2.0)
    for x in (0, 1, 1_091, 1_092, 1_093, 1_999, 5_999):
        np.testing.assert_allclose(law[x], laws.best_of_n(base[x], 3.5), rtol=1e-13)
        if x < 2_000:
            np.testing.assert_allclose(adaptive.law[x], laws.adaptive_best_of_n(base[x], 2.0).law, rtol=1e-13)
    np.testing.assert_allclose(np.exp(law).sum(axis=1), 1, rtol=1e-12)
