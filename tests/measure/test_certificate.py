"""What a pool proves about its likeliest response, and the law of finding it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sharptheory.errors import UserError
from sharptheory.measure.bootstrap import mean_over_prompts
from sharptheory.measure.certificate import (
    argmax_hit_rates,
    c_cov_bar_bound,
    coverage_certificate,
    hits_p_value,
    mean_at_least,
)
from sharptheory.measure.prediction import calibration, predict_best_of_n, predict_power, predicted_curve
from sharptheory.measure.responses import distinct_responses, response_keys
from tests.conftest import pool_from_table

tables = st.lists(st.floats(1e-6, 1), min_size=1, max_size=8).map(lambda row: np.array(row) / np.sum(row))


@settings(max_examples=200, deadline=None)
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


def noisy_pool(log_likelihoods, tokens):
    return pd.DataFrame({"prompt_id": 0, "tokens": [[int(t)] for t in tokens], "log_likelihood": log_likelihoods})


def with_errors(probs, m, seed, tau):
    """m samples with errors within τ on their scores; the first response is scored τ/2 to either side of the truth."""
    rng = np.random.default_rng(seed)
    tokens = rng.choice(len(probs), size=m, p=probs)
    errors = rng.uniform(-tau, tau, m)
    tokens[1], errors[:2] = tokens[0], (-tau / 2, tau / 2)
    return tokens, noisy_pool(np.minimum(np.log(probs)[tokens] + errors, 0.0), tokens)


@settings(max_examples=200, deadline=None)
@given(tables, st.integers(2, 30), st.integers(0, 2**32 - 1), st.floats(2e-4, 0.5), st.booleans())
def test_certificate_of_noisy_scores_brackets_the_maximum(probs, m, seed, tau, shown):
    """Errors up to τ break nothing, whether the pool shows τ or the caller says it; what is certified is the argmax."""
    tokens, pool = with_errors(probs, m, seed, tau)
    try:
        row = coverage_certificate(pool, noise=0.0 if shown else tau).iloc[0]
    except UserError as refusal:
        assert "total probability" in str(refusal)  # the masses add up to more than 1 by more than the scatter
        return
    log_max = np.log(probs.max())
    assert row["log_p_low"] <= log_max + 1e-9 and row["log_p_high"] >= log_max - 1e-9
    if row["certified"]:
        assert probs[tokens[pool["log_likelihood"].argmax()]] >= probs.max() * (1 - 1e-9)


@settings(max_examples=100, deadline=None)
@given(tables, st.integers(2, 30), st.integers(0, 2**32 - 1), st.floats(2e-4, 0.3))
def test_noise_of_responses_that_cannot_be_recognised_is_carried(probs, m, seed, tau):
    _, pool = with_errors(probs, m, seed, tau)
    try:
        row = coverage_certificate(pool.drop(columns="tokens"), noise=tau).iloc[0]
    except UserError:
        return
    assert row["log_p_low"] <= np.log(probs.max()) + 1e-9 and row["log_p_high"] >= np.log(probs.max()) - 1e-9


@pytest.mark.parametrize(
    "probs, tau, certified",
    [([0.55, 0.45], 0.05, True), ([0.55, 0.45], 0.15, False), ([0.5, 0.5], 0.05, False), ([0.5, 0.5], 5e-5, True)],
)
def test_responses_that_noise_may_reorder_certify_no_argmax(probs, tau, certified):
    """.55 and .45 are told apart by noise of .05, not of .15; ties are told by none beyond rounding."""
    pool = noisy_pool(np.log(np.repeat(probs, 2)) + np.array([0, -tau, 0, 0]), [1, 1, 2, 2])
    assert coverage_certificate(pool)["certified"][0] == certified
    single = noisy_pool(np.log(probs), [1, 2])
    assert (
        coverage_certificate(single)["certified"][0]
        and coverage_certificate(single, noise=tau)["certified"][0] == certified
    )


def test_upper_end_allows_for_errors_upwards():
    """p̂ = .5 read off scores that err by .1 may be .55; what the others are known to have limits it too."""
    [row] = coverage_certificate(noisy_pool(np.log([0.5, 0.5, 0.1]), [1, 1, 2]), noise=0.1).itertuples()
    assert np.exp(row.log_p_high) == pytest.approx(0.5 * np.exp(0.1))
    [row] = coverage_certificate(noisy_pool(np.log([0.95, 0.05]), [1, 2]), noise=0.3).itertuples()
    assert np.exp(row.log_p_high) == pytest.approx(1 - 0.05 * np.exp(-0.3)) and row.certified


def test_noise_that_one_prompt_shows_holds_for_all():
    """A prompt without repeated responses is scored by the same engine."""
    steady = noisy_pool(np.log([0.55, 0.45]), [1, 2]).assign(prompt_id=1)
    assert coverage_certificate(steady)["certified"][1]
    pool = pd.concat([noisy_pool(np.log([0.6, 0.5]), [1, 1]), steady])
    assert not coverage_certificate(pool)["certified"][1]


@pytest.mark.parametrize("noise", [-0.1, np.inf, np.nan])
def test_noise_is_a_number_of_nats(noise):
    with pytest.raises(UserError, match=r"noise=.*; expected a number in \[0, inf\)"):
        coverage_certificate(noisy_pool([-1.0], [1]), noise=noise)


def test_hits_of_noisy_scores_are_hits_of_the_likeliest():
    """`log_q` and the hits count one response, however far below its score the certificate is."""
    pool = noisy_pool(np.log([0.8, 0.8, 0.78, 0.78, 0.8, 0.2, 0.79, 0.2]), [1, 1, 1, 1, 1, 2, 1, 2])
    rates = argmax_hit_rates(pool)
    np.testing.assert_allclose(rates.mass, [0.8])
    assert rates.measured.value[0] == pytest.approx(0.5)


def test_distinct_responses_are_listed_with_their_likelihoods():
    pool = pd.DataFrame({"prompt_id": ["p", "p", "p", "q"], "response": ["b", "a", "b", "a"],
                         "log_likelihood": [-2.0, -1.0, -2.0, -0.5], "finished": [True, True, True, True]})  # fmt: skip
    assert distinct_responses(pool).to_dict() == {("p", 0): -2.0, ("p", 1): -1.0, ("q", 1): -0.5}


def test_what_scores_scatter_by_is_not_certified():
    """a .3, b .3 and an unseen c .4 fit these scores with errors of .2 nats."""
    scores = np.log(0.3) + np.array([-0.1, 0.2, -0.1, 0.2])
    pool = pd.DataFrame({"prompt_id": 0, "tokens": [(1,), (1,), (2,), (2,)], "log_likelihood": scores})
    [row] = coverage_certificate(pool).itertuples()
    assert not row.certified and np.exp(row.log_p_low) <= 0.4 <= np.exp(row.log_p_high)
    assert row.log_p_low == pytest.approx(np.log(0.3) - 0.1)
    assert np.exp(row.log_p_high) == pytest.approx(1 - 0.6 * np.exp(-0.1))
    exact = pool.assign(log_likelihood=np.log(0.3) + np.array([0, 5e-5, 0, 0]))
    [row] = coverage_certificate(exact).itertuples()
    assert row.log_p_low == np.log(0.3) + 5e-5 and not row.certified
    sure = pool.assign(log_likelihood=np.log([0.8, 0.7, 0.1, 0.1]))
    [row] = coverage_certificate(sure).itertuples()
    assert row.certified and np.exp(row.log_p_low) == pytest.approx(0.7)


def test_responses_whose_probabilities_add_up_to_more_than_1_are_no_evidence():
    """Averages per token, say: nothing may be certified, predicted or compared with a law."""
    pool = pd.DataFrame({"prompt_id": ["q"] * 4, "sample_id": range(4), "response": list("abca"), "correct": True,
                         "log_likelihood": np.log([0.6, 0.5, 0.1, 0.6])})  # fmt: skip
    functions = [
        coverage_certificate,
        argmax_hit_rates,
        lambda pool: predict_best_of_n(pool, [8]),
        lambda pool: predict_power(pool, 2.0),
        calibration,
    ]
    for function in functions:
        with pytest.raises(UserError, match=r"prompt 'q': its [23] distinct responses have a total probability of 1"):
            function(pool)
        function(pool.assign(log_likelihood=np.log([0.6, 0.3, 0.1, 0.6])))


def test_scatter_of_repeated_responses_is_no_excess():
    """Likelihoods in half precision add up to more than 1 by what repeated responses show; more than that is refused."""
    probs = np.array([0.9, 0.1, 0.9, 0.9, 0.1])
    pool = pd.DataFrame({"prompt_id": 0, "tokens": [[1], [2], [1], [1], [2]], "log_likelihood": np.log(probs)})
    noisy = pool.assign(log_likelihood=np.log(probs) + np.array([0.05, 0.0, -0.05, 0.0, 0.1]))
    assert coverage_certificate(noisy)["certified"].all()
    with pytest.raises(UserError, match=r"total probability of 1\.0[5-9]"):
        coverage_certificate(pool.assign(log_likelihood=np.log(probs) + 0.06))
    with pytest.raises(UserError, match=r"total probability of 1\.0[5-9]"):
        # Texts of several tokenizations have several likelihoods: their spread is no noise.
        coverage_certificate(noisy.assign(response=noisy["tokens"].map(str)).drop(columns="tokens"))


def test_the_scatter_of_one_prompt_excuses_no_other():
    scattered = pd.DataFrame({"prompt_id": "q", "tokens": [[1], [1]], "log_likelihood": np.log([0.9, 0.75])})
    excess = pd.DataFrame({"prompt_id": "r", "tokens": [[1], [2]], "log_likelihood": np.log([0.6, 0.5])})
    with pytest.raises(UserError, match=r"prompt 'r': its 2 distinct responses have a total probability of 1\.1"):
        coverage_certificate(pd.concat([scattered, excess]))
    assert coverage_certificate(scattered)["certified"].all()


def test_likelihoods_alone_are_told_apart_within_a_prompt():
    """.5 twice and .25 once are two responses of the first prompt, whatever the second has."""
    pool = pd.DataFrame({"prompt_id": [0, 0, 0, 1], "log_likelihood": np.log([0.5, 0.5, 0.25, 0.5])})
    table = coverage_certificate(pool)
    np.testing.assert_allclose(np.exp(table["log_p_high"]), [0.5, 0.5])
    close = coverage_certificate(pool.assign(log_likelihood=np.log([0.3, 0.3 * (1 + 5e-5), 0.3 * (1 + 1e-3), 0.5])))
    assert np.exp(close["log_p_high"][0]) == pytest.approx(0.4, abs=1e-3)  # two responses of .3, not one and not three


def test_certificate_by_hand():
    pool = pd.DataFrame({"prompt_id": [7, 7, 7, 3, 3, 5], "log_likelihood": np.log([0.5, 0.5, 0.25, 0.1, 0.2, 0.9]),
                         "response": list("aabcda"), "finished": [True] * 5 + [False]})  # fmt: skip
    table = coverage_certificate(pool)
    assert table.index.tolist() == [3, 5, 7] and table["n_samples"].tolist() == [2, 1, 3]
    np.testing.assert_allclose(np.exp(table["log_p_low"]), [0.2, 0, 0.5])
    np.testing.assert_allclose(np.exp(table["log_p_high"]), [0.7, 1, 0.5])
    np.testing.assert_allclose(np.exp(table["log_q"]), [0.2, 0, 0.5])
    assert table["certified"].tolist() == [False, False, True]


#: 600 samples of probabilities (.4, .4, .2), in proportion and in turn; the first response is right.
TIED = pd.DataFrame({"prompt_id": 0, "response": list("abcab") * 120, "correct": [True, False, False, True, False] * 120,
                     "log_likelihood": np.log([0.4, 0.4, 0.2, 0.4, 0.4] * 120)})  # fmt: skip


def test_tied_responses_are_told_apart_by_what_they_say():
    n = np.array([1, 2, 4])
    np.testing.assert_allclose(argmax_hit_rates(TIED).law(n), 1 - 0.2**n, rtol=1e-9)
    assert np.exp(coverage_certificate(TIED)["log_q"][0]) == pytest.approx(0.8)
    np.testing.assert_allclose(predict_best_of_n(TIED, n).to_numpy()[0], 0.5 * (1 - 0.2**n), rtol=1e-9)
    one_right = TIED.assign(correct=TIED["response"] != "c")
    np.testing.assert_allclose(predict_best_of_n(one_right, n).to_numpy()[0], [0.8, 0.96, 0.9984], rtol=1e-9)
    halves = pd.DataFrame({"prompt_id": 0, "response": ["a", "b"], "log_likelihood": np.log([0.5, 0.5])})
    assert coverage_certificate(halves)["log_q"][0] == pytest.approx(0.0)


@pytest.mark.parametrize("nameless", [TIED.drop(columns="response"), TIED.assign(response=["a", None] * 300),
                                      TIED.drop(columns="response").assign(tokens=[[1], None] * 300)])  # fmt: skip
def test_equal_likelihoods_do_not_make_responses_equal(nameless):
    """Without text or token ids p* is bounded still, more loosely; whatever counts distinct responses is refused."""
    row, known = coverage_certificate(nameless).iloc[0], coverage_certificate(TIED).iloc[0]
    assert row["log_p_low"] == known["log_p_low"] <= known["log_p_high"] <= row["log_p_high"] <= 0
    assert np.exp(row["log_p_high"]) == pytest.approx(0.4) and row["certified"]  # .4 and .2 are seen, .4 is left
    assert np.isnan(row["log_q"]) and not np.isnan(known["log_q"])
    for function in (argmax_hit_rates, calibration, distinct_responses, response_keys,
                     lambda pool: predict_best_of_n(pool, [1]), lambda pool: predict_power(pool, 2.0),
                     lambda pool: predicted_curve(pool, [1])):  # fmt: skip
        with pytest.raises(UserError, match=r"column '.*' is (missing|null on some samples); .*only by their text or"):
            function(nameless)
        function(TIED)


def test_tied_maximisers_share_the_mass_that_is_hit():
    pool = pd.DataFrame(
        {"prompt_id": 0, "response": list("abc"), "log_likelihood": np.log([0.4, 0.4 * (1 - 1e-5), 0.2])}
    )
    assert np.exp(coverage_certificate(pool)["log_q"][0]) == pytest.approx(0.8, abs=1e-5)


def test_unfinished_responses_certify_nothing():
    """A prefix is no response: its probability is a bound on others, not one of them. Unknown counts as finished."""
    pool = pd.DataFrame({"prompt_id": 0, "response": list("ab"), "log_likelihood": np.log([0.9, 0.08])})
    certified = [coverage_certificate(pool.assign(finished=f))["certified"][0] for f in ([False, True], [None, True])]
    assert certified == [False, True]


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


def heavy(rng, n):
    """1/p* is 1.25 on most prompts and 40 on a few."""
    return np.where(rng.random(n) < 0.95, 1.25, 40.0)


#: Laws of 1/p* on the prompts, and their means.
WORLDS = {
    "heavy": (heavy, 0.95 * 1.25 + 0.05 * 40),
    "constant": (lambda rng, n: np.full(n, 3.0), 3.0),
    "uniform": (lambda rng, n: rng.uniform(1, 2, n), 1.5),
    "exponential": (lambda rng, n: 1 + rng.exponential(size=n), 2.0),
    "Pareto": (lambda rng, n: (1 - rng.random(n)) ** (-1 / 1.5), 3.0),
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("n", [1, 5, 20, 100])
def test_lower_confidence_bound_holds_for_every_law(world, n):
    sample, mean = WORLDS[world]
    rng = np.random.default_rng(n)
    holds = sum(mean_at_least(sample(rng, n)) <= mean + 1e-12 for _ in range(500))
    assert stats.binomtest(holds, 500, 0.95, alternative="less").pvalue > 1e-3


def test_bootstrap_interval_of_a_skewed_mean_is_no_guarantee():
    """Why the bound is there: in the heavy world the interval at 95 % misses the mean in a third of the samples."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        estimate = mean_over_prompts(heavy(rng, 20))
        covered += estimate.low <= WORLDS["heavy"][1] <= estimate.high
    assert covered < 0.8 * 300


def test_lower_confidence_bound_at_its_edges():
    assert mean_at_least([7.0]) == 1.0  # one prompt says nothing
    assert mean_at_least(np.full(10**6, 3.0)) == pytest.approx(3, abs=0.01)
    values = np.array([1.0] * 97 + [np.inf] * 3)
    assert mean_at_least(values) == 1.0  # what is infinite on few prompts may be chance
    assert mean_at_least(np.full(100, np.inf)) == np.inf
    assert mean_at_least([2.0, 5.0, 9.0] * 50) <= mean_at_least([2.0, 5.0, 9.0] * 500) < 16 / 3
    assert mean_at_least(np.full(50, 3.0), confidence=0.5) > mean_at_least(np.full(50, 3.0), confidence=0.99)


@pytest.mark.parametrize("values", [[], [np.nan, 2.0], [0.5, 2.0], [[2.0]]])
def test_lower_confidence_bound_needs_values_of_its_support(values):
    with pytest.raises(UserError, match=r"values: shape .*; expected \[n\] from 1"):
        mean_at_least(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, np.nan])
def test_confidence_is_a_probability(confidence):
    for function in (lambda **given: mean_at_least([2.0], **given), lambda **given: argmax_hit_rates(TIED, **given)):
        with pytest.raises(UserError, match=f"confidence={confidence}; expected a number between 0 and 1"):
            function(confidence=confidence)


def test_coverage_bound_of_one_prompt_and_beyond_floats():
    certificate = pd.DataFrame({"log_p_low": [-2.0], "log_p_high": [-1.0]})
    bound = c_cov_bar_bound(certificate)
    assert (bound.low, bound.high, bound.at_least) == (pytest.approx(np.e), pytest.approx(np.e**2), 1.0)
    assert np.isnan(bound.low_estimate.low) and np.isnan(bound.high_estimate.high)
    bound = c_cov_bar_bound(pd.DataFrame({"log_p_low": [-1.0, -800.0], "log_p_high": [-1.0, -0.5]}))
    assert bound.high_estimate.n_prompts == bound.low_estimate.n_prompts == 2
    assert bound.high == np.inf == bound.high_estimate.high and np.isfinite(bound.low_estimate.high)


def test_coverage_bound_keeps_its_ends_apart():
    rng = np.random.default_rng(1)
    table = rng.dirichlet(np.full(12, 0.3), size=40)
    certificate = coverage_certificate(pool_from_table(table, 6, rng))
    bound = c_cov_bar_bound(certificate)
    assert bound.low < bound.high and bound.at_least == mean_at_least(np.exp(-certificate["log_p_high"])) < bound.low
    assert (bound.low_estimate.value, bound.high_estimate.value) == (bound.low, bound.high)
    assert bound.low_estimate.low <= bound.low <= bound.low_estimate.high


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 5))
def test_hit_rates_and_their_limits_are_probabilities(seed, m, n_prompts):
    rng = np.random.default_rng(seed)
    rates = argmax_hit_rates(pool_from_table(rng.dirichlet(np.full(4, 0.4), size=n_prompts), m, rng))
    if rates is not None:
        low, value, high = rates.measured.low, rates.measured.value, rates.measured.high
        assert np.all((low >= 0) & (low <= value) & (value <= high) & (high <= 1))


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


def test_the_p_value_of_hits_is_that_of_the_sum_of_binomials():
    """By hand, against one binomial, against the sum over every outcome, and the two sides of one law."""
    assert hits_p_value(180, np.full(30, 12), np.full(30, 0.44)) == pytest.approx(2 * stats.binom.sf(179, 360, 0.44))
    assert hits_p_value(180, np.full(30, 12), np.full(30, 0.44)) < 0.05 < hits_p_value(175, [360], [0.44])
    sizes, mass = np.array([2, 1, 3]), np.array([0.9, 0.3, 0.99])
    laws = [stats.binom.pmf(np.arange(m + 1), m, q) for m, q in zip(sizes, mass)]
    law = np.convolve(np.convolve(*laws[:2]), laws[2])
    for hits in range(7):
        exact = min(1, 2 * min(law[: hits + 1].sum(), law[hits:].sum()))
        assert hits_p_value(hits, sizes, mass) == pytest.approx(exact, abs=1e-13)
        assert hits_p_value(6 - hits, sizes, 1 - mass) == pytest.approx(exact, abs=1e-13)


def test_noise_excuses_hits_that_rounding_alone_makes_impossible():
    """Likelihoods of .99999 that are .9999 in truth: one miss of 400 is no evidence."""
    assert hits_p_value(399, [400], [0.99999]) < 0.01 < 0.05 < hits_p_value(399, [400], [0.99999], noise=1e-3)
    assert hits_p_value(400, [400], [1.0]) == 1.0 and hits_p_value(399, [400], [1.0]) == 0.0
    assert hits_p_value(5, [10], [0.4], noise=0.1) >= hits_p_value(5, [10], [0.4])


def test_a_hundred_thousand_prompts_are_near_the_normal_law():
    rng = np.random.default_rng(0)
    sizes, mass = rng.integers(1, 9, 100_000), rng.random(100_000)
    mean, spread = sizes @ mass, np.sqrt(sizes @ (mass * (1 - mass)))
    hits = int(mean + 2 * spread)
    normal = 2 * stats.norm.sf((hits - 0.5 - mean) / spread)
    assert hits_p_value(hits, sizes, mass) == pytest.approx(normal, rel=1e-2)


@pytest.mark.parametrize(
    ("hits", "sizes", "mass"), [(-1, [2], [0.5]), (3, [2], [0.5]), (1, [2], [1.5]), (1, [2, 2], [0.5])]
)
def test_hits_of_what_cannot_be_are_refused(hits, sizes, mass):
    with pytest.raises(UserError, match=r"expected (a whole number from 0 to 2|whole numbers and probabilities)"):
        hits_p_value(hits, sizes, mass)


def test_the_test_of_the_law_holds_its_level_where_it_is_true():
    """Samples of a law are called others in at most 5 % of pools, also where a miss is rare and nothing is normal."""
    rng, sizes = np.random.default_rng(0), np.full(10, 4)
    for q in (0.5, 0.9, 0.99):
        p = [hits_p_value(hits, sizes, np.full(10, q)) for hits in range(41)]
        assert np.mean(np.array(p)[rng.binomial(40, q, size=2_000)] < 0.05) <= 0.05


def test_samples_sharper_than_their_likelihoods_are_found_out():
    """180 hits of 360 where .44 are expected: a bound on the tail would let them pass."""
    pool = pd.concat([
        pd.DataFrame({"prompt_id": x, "response": ["b", "a", "a", "b"] * 6, "log_likelihood": np.log([0.56, 0.44, 0.44, 0.56] * 6)})
        for x in range(30)
    ])  # fmt: skip
    rates = argmax_hit_rates(pool)
    assert (rates.hits, rates.n_samples, rates.expected) == (180, 360, pytest.approx(0.56 * 360))
    assert rates.p_value == pytest.approx(2 * stats.binom.cdf(180, 360, 0.56), rel=0.02) and rates.p_value < 0.05
