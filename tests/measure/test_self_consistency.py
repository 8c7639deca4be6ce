"""The likeliest answer, its coverage, its limit and its law, on tables where everything is known."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sharptheory.errors import UserError
from sharptheory.measure.answers import answer_policy
from sharptheory.measure.selection import majority_curve
from sharptheory.measure.self_consistency import (
    answer_certificate,
    answer_mass_curve,
    counted_coverage,
    limit_accuracy,
    plurality_rates,
)
from tests.measure.test_answers import ANSWERS, PROBS, answered


def voted(*counts, prompt_id=0, silent=0, **columns) -> pd.DataFrame:
    """A pool of one prompt with so many votes for answers a, b, c, …, without text or token ids."""
    answers = [chr(97 + i) for i, count in enumerate(counts) for _ in range(count)] + silent * [None]
    return pd.DataFrame({"prompt_id": prompt_id, "log_likelihood": -1.0, "answer": answers, **columns})


def worlds(rng, n_prompts, m, *, concentration=0.5, n_answers=4):
    """Pools of random policies over 8 responses and some answers, the first of them right; with the answers' truth."""
    pools, truth = [], np.zeros((n_prompts, n_answers))
    labels = [*map(str, range(n_answers)), None]
    for x in range(n_prompts):
        probs, kinds = rng.dirichlet(np.full(8, concentration)) + 1e-9, rng.integers(0, n_answers + 1, 8)
        probs /= probs.sum()
        truth[x] = np.bincount(kinds, probs, minlength=n_answers + 1)[:n_answers]
        drawn = rng.choice(8, size=m, p=probs)
        pools.append(answered(drawn, probs, [labels[k] for k in kinds], correct=kinds[drawn] == 0).assign(prompt_id=x))
    return pd.concat(pools), truth


# Certificates ---------------------------------------------------------------------------------------------------------


def test_certificate_by_hand():
    """Seen a .5 and b .25 of .8: b may have .25 + .2 at most. Without the second of a, .3 against .25 + .4 decides nothing."""
    [row] = answer_certificate(answered([0, 2, 1, 5])).itertuples()
    assert (row.likeliest, row.certified, row.mode, row.n_votes, row.n_samples) == ("a", True, "a", 3, 4)
    np.testing.assert_allclose(np.exp([row.log_p_low, row.log_p_high]), [0.5, 0.7], rtol=3e-4)
    np.testing.assert_allclose([row.margin_low, row.margin_high], [0.5 / 0.45 - 1, 0.7 / 0.25 - 1], rtol=3e-3)
    [row] = answer_certificate(answered([0, 1, 5])).itertuples()
    assert (row.likeliest, row.certified, row.margin_low) == ("a", False, 0)
    [row] = answer_certificate(answered([0, 2, 1, 5]), noise=0.1).itertuples()
    assert not row.certified and np.exp(row.log_p_low) == pytest.approx(0.5 * np.exp(-0.1))


def test_answers_that_are_as_likely_as_each_other_certify_neither():
    probs = np.array([0.5, 0.5 + 1e-6])
    assert not answer_certificate(answered([0, 1], probs, ["a", "b"]))["certified"][0]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([0.0, 0.05, 0.3]), st.floats(0.1, 2))
def test_certified_answer_is_the_likeliest(seed, m, noise, concentration):
    """[S12], with errors of the likelihoods up to the noise that is stated; bounds and margin hold with it."""
    rng = np.random.default_rng(seed)
    pool, truth = worlds(rng, 5, m, concentration=concentration)
    errors = rng.uniform(-noise, noise, (5, 8))[pool["prompt_id"], pool["tokens"].map(lambda y: y[0])]
    pool["log_likelihood"] = np.minimum(pool["log_likelihood"] + errors, 0.0)
    try:
        table = answer_certificate(pool, noise=noise)
    except UserError as refusal:
        assert "total probability" in str(refusal)
        return
    ranked = np.sort(truth, axis=1)
    for row, p, (second, first) in zip(table.itertuples(), truth, ranked[:, -2:]):
        assert row.log_p_low <= np.log(first) + 1e-9 if first > 0 else row.log_p_low == -np.inf
        assert np.exp(row.log_p_high) >= first - 1e-9
        assert row.margin_low <= first / max(second, 1e-300) - 1 + 1e-9
        if row.certified:
            assert p[int(row.likeliest)] == first and row.margin_high >= first / max(second, 1e-300) - 1 - 1e-9


def test_mode_is_shown_by_the_votes_of_two():
    """8 to 1 has 2 (1 + 9)/2^9; other answers change nothing; nobody, or a tie, shows none."""
    table = answer_certificate(pd.concat([voted(8, 1), voted(8, 1, 1, 1, silent=3, prompt_id=1), voted(3, 3, prompt_id=2),
                                          voted(silent=4, prompt_id=3), voted(6, prompt_id=4)]))  # fmt: skip
    np.testing.assert_allclose(table["p_value"], [20 / 512, 20 / 512, 1, 1, 2 / 64])
    assert table["shown"].tolist() == [True, True, False, False, True] and table["mode"].tolist() == [
        "a",
        "a",
        "a",
        None,
        "a",
    ]
    assert (table["log_p_high"] == 0).all() and not table["certified"].any() and table["likeliest"].isna().all()
    assert not answer_certificate(voted(8, 1), confidence=0.99)["shown"][0]


@pytest.mark.parametrize("probs", [[0.5, 0.5], [0.36, 0.34, 0.3], np.full(10, 0.1), [0.45, 0.45, 0.1]])
def test_mode_that_is_shown_is_wrong_as_rarely_as_said(probs):
    rng = np.random.default_rng(0)
    counts = rng.multinomial(40, probs, size=4000)
    pool = pd.DataFrame({"prompt_id": np.repeat(np.arange(4000), 40), "log_likelihood": -1.0,
                         "answer":
                             np.concatenate([np.repeat(np.arange(len(probs)), row) for row in counts]).astype(str)})  # fmt: skip
    table = answer_certificate(pool)
    wrong = table["shown"] & (np.asarray(probs)[table["mode"].astype(int)] < max(probs))
    # Where several are likeliest any of them is no mode that others are below: counted as an error too.
    wrong |= table["shown"] & (np.sum(np.isclose(probs, max(probs))) > 1)
    assert stats.binomtest(int(wrong.sum()), 4000, 0.05, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, np.nan])
def test_confidence_is_a_probability(confidence):
    with pytest.raises(UserError, match=f"confidence={confidence}; expected a number in"):
        answer_certificate(voted(2, 1), confidence=confidence)


@pytest.mark.parametrize("noise", [np.nan, -1.0, np.inf, "x", True])
def test_noise_is_a_number_from_0(noise):
    pool = answered([0, 2, 1, 5], correct=True)
    for call in (answer_certificate, answer_policy, lambda pool, noise: limit_accuracy(pool, by="likelihood", noise=noise),
                 lambda pool, noise: answer_certificate(answer_policy(pool), noise=noise)):  # fmt: skip
        with pytest.raises(UserError, match=f"noise={noise}; expected a number in"):
            call(pool, noise=noise)


def test_noise_counts_with_a_policy_that_was_made_without_it():
    pool = answered([0, 2, 1, 5], correct=True)
    policy = answer_policy(pool)
    assert answer_certificate(policy)["certified"][0]
    pd.testing.assert_frame_equal(answer_certificate(policy, noise=0.1), answer_certificate(pool, noise=0.1))
    pd.testing.assert_frame_equal(
        answer_certificate(answer_policy(pool, noise=0.1)), answer_certificate(pool, noise=0.1)
    )
    assert limit_accuracy(policy, by="likelihood").known == 1
    of_policy, of_pool = (limit_accuracy(each, by="likelihood", noise=0.5) for each in (policy, pool))
    assert (of_policy.low, of_policy.high, of_policy.known) == (of_pool.low, of_pool.high, of_pool.known) == (0, 1, 0)


def test_a_response_that_was_read_in_two_ways_gives_what_was_read_most_often():
    """Two of three readings of one text say 7, whichever comes last."""
    for order in itertools.permutations(["7", "7", "8"]):
        pool = pd.DataFrame({"prompt_id": 0, "response": "seven", "log_likelihood": np.log(0.9), "answer": order})
        [row] = answer_certificate(pool).itertuples()
        assert (row.likeliest, row.certified) == ("7", True)


def test_an_unknown_way_to_go_by_is_refused_however_small_the_pool():
    with pytest.raises(UserError, match="by='foo'; expected 'likelihood' or 'votes'"):
        plurality_rates(voted(1), by="foo")


# Coverage -------------------------------------------------------------------------------------------------------------


def test_counted_coverage_by_hand():
    """Votes a b a a and none at all: 5/4 and 5/1. Halves a a | b a: a leads with 1 of 2; of b and a one has 0 of 2, one 2."""
    pool = pd.concat([voted(4).assign(answer=list("abaa")), voted(silent=4, prompt_id=1)])
    bound = counted_coverage(pool)
    assert bound.low.value == pytest.approx((5 / 4 + 5) / 2) and bound.unrepeated == 0.5
    assert bound.high.value == pytest.approx(((3 / 2 + (3 / 1 + 3 / 3) / 2) / 2 + 3) / 2)
    assert bound.at_least <= bound.low.value
    single = counted_coverage(voted(1))
    assert np.isnan(single.high.value) and single.low.value == 1 and single.unrepeated == 1


@pytest.mark.parametrize("m", [4, 6])
def test_the_upper_count_has_the_expectation_that_is_proved(m):
    """All samples of two equal answers: (1 - (1/2)^{m/2+1})/(1/2), whichever of two that lead was met first."""
    drawn = list(itertools.product("ab", repeat=m))
    pool = pd.concat([voted(m, prompt_id=x).assign(answer=list(each)) for x, each in enumerate(drawn)])
    assert counted_coverage(pool).high.value == pytest.approx((1 - 0.5 ** (m // 2 + 1)) / 0.5)


def test_counted_coverage_brackets_the_coefficient_where_the_share_of_the_mode_does_not():
    """Four answers of about 1/4: the largest of the shares of 8 is near 1/2, and its inverse half of the coefficient."""
    rng = np.random.default_rng(0)
    probs = np.array([0.28, 0.26, 0.24, 0.22])
    answers = rng.choice(list("abcd"), p=probs, size=(3000, 8))
    pool = pd.DataFrame({"prompt_id": np.repeat(np.arange(3000), 8), "log_likelihood": -1.0, "answer": answers.ravel()})
    bound, truth = counted_coverage(pool), 1 / 0.28
    shares = answer_certificate(pool)["n_samples"] / [max(map(list(row).count, "abcd")) for row in answers]
    assert shares.mean() < 0.7 * truth
    assert bound.at_least <= bound.low.high < truth
    assert bound.high.value > 0.85 * truth  # less what 4 samples hardly show: .72^5/.28


@settings(max_examples=50, deadline=None)
@given(st.floats(0.02, 1), st.integers(1, 30))
def test_inverse_of_a_count_overestimates_no_inverse_probability(p, m):
    """E (M+1)/(n+1) = (1 - (1-p)^{M+1})/p."""
    n = np.arange(m + 1)
    mean = stats.binom.pmf(n, m, p) @ ((m + 1) / (n + 1))
    assert mean == pytest.approx((1 - (1 - p) ** (m + 1)) / p)


# The limit ------------------------------------------------------------------------------------------------------------


def test_limit_by_hand():
    """Certified right; certified wrong; open between two of which one is right; open to what was never sampled."""
    rows = [answered([0, 2, 1, 5], correct=[True, True, False, False]),
            answered([0, 2, 1, 5], correct=[False, False, True, False]),
            answered([0, 1], np.array([0.52, 0.48]), ["a", "b"], correct=[True, False]).assign(log_likelihood=np.log(0.48)),
            answered([3], correct=[True]).assign(finished=True)]  # fmt: skip
    pool = pd.concat([row.assign(prompt_id=x) for x, row in enumerate(rows)])
    limit = limit_accuracy(pool, by="likelihood")
    assert (limit.low, limit.high, limit.known) == (1 / 4, 3 / 4, 1 / 2)
    assert limit.low_estimate.value == limit.low and limit.high_estimate.n_prompts == 4
    votes = pd.concat([voted(20, correct=True), voted(2, 1, prompt_id=1, correct=[True, True, False]),
                       voted(silent=3, prompt_id=2, correct=False)])  # fmt: skip
    limit = limit_accuracy(votes, by="votes")
    assert (limit.low, limit.high, limit.by) == (1 / 3, 1, "votes")
    with pytest.raises(UserError, match="by='likelihood'; expected 'votes', or 'likelihood' for a pool with"):
        limit_accuracy(votes, by="likelihood")
    with pytest.raises(UserError, match="by='both'"):
        limit_accuracy(votes, by="both")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.floats(0.1, 2))
def test_limit_lies_between_its_bounds(seed, m, concentration):
    pool, truth = worlds(np.random.default_rng(seed), 8, m, concentration=concentration)
    limit = limit_accuracy(pool, by="likelihood")
    exact = np.mean(truth.argmax(axis=1) == 0)
    assert limit.low - 1e-12 <= exact <= limit.high + 1e-12
    if limit.known == 1:
        assert limit.low == limit.high == exact


def test_votes_converge_to_the_limit_that_is_certified():
    pool, _ = worlds(np.random.default_rng(4), 20, 400, concentration=0.3)
    limit = limit_accuracy(pool, by="likelihood")
    assert limit.known > 0.9
    assert majority_curve(pool, [400]).mean().item() == pytest.approx((limit.low + limit.high) / 2, abs=0.1)


# The law --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["likelihood", "votes"])
def test_law_of_the_plurality_is_what_held_out_samples_do(by):
    pool, _ = worlds(np.random.default_rng(1), 140, 64, concentration=0.3)
    rates = plurality_rates(pool, [1, 2, 5, 11], by=by)
    assert rates.by == by and rates.measured.n_prompts > 20 and rates.n_samples == 32 * rates.measured.n_prompts
    assert np.all(np.abs(rates.measured.value - rates.predicted) < 0.04)
    np.testing.assert_allclose(rates.difference.value, rates.measured.value - rates.predicted)
    assert rates.disagreements() <= 1 and np.all(np.diff(rates.predicted[[0, 2, 3]]) > 0)


def test_law_of_the_plurality_by_hand():
    """a .6, b .3 and none .1: the plurality of 2 is a with .36 + 2 · .6 · .1 + .6 · .3, ties split."""
    probs, answers = np.array([0.6, 0.3, 0.1]), ["a", "b", None]
    drawn = [0, 0, 1, 0, 1, 0, 2, 1, 0, 0, 0, 1, 0, 0, 0, 0, 2, 2, 0, 0]
    rates = plurality_rates(answered(drawn, probs, answers), [1, 2], by="likelihood")
    a, b, none = probs  # all three are in the even half, so the table is known
    np.testing.assert_allclose(rates.predicted, [a, a**2 + 2 * a * none + a * b], rtol=1e-9)
    odd = drawn[1::2]
    assert rates.measured.value[0] == pytest.approx(np.mean([y == 0 for y in odd]))
    pairs = [(odd[i], odd[j]) for i, j in itertools.combinations(range(10), 2)]
    score = {(0, 0): 1, (0, 2): 1, (2, 0): 1, (0, 1): 0.5, (1, 0): 0.5}
    assert rates.measured.value[1] == pytest.approx(np.mean([score.get(pair, 0) for pair in pairs]))


def test_law_of_the_plurality_notices_samples_that_are_none_of_the_policy():
    """Odd samples from another policy: the measurement leaves the law."""
    rng = np.random.default_rng(2)
    pools = []
    for x in range(40):
        drawn = rng.choice(3, p=[0.6, 0.3, 0.1], size=40)
        drawn[1::2] = rng.choice(3, p=[0.3, 0.6, 0.1], size=20)
        pools.append(answered(drawn, np.array([0.6, 0.3, 0.1]), list("abc")).assign(prompt_id=x))
    rates = plurality_rates(pd.concat(pools), [1, 4, 8], by="likelihood")
    assert rates.disagreements() == 3


def test_law_of_the_plurality_needs_a_known_mode_and_samples():
    assert plurality_rates(voted(2, 2, 2, 2), by="votes") is None
    assert plurality_rates(voted(3), by="votes") is None and plurality_rates(answered([0]), by="likelihood") is None
    with pytest.raises(UserError, match="by='likelihood'"):
        plurality_rates(voted(30), by="likelihood")
    with pytest.raises(UserError, match="by='both'"):
        plurality_rates(voted(30), by="both")


# The vote by mass -----------------------------------------------------------------------------------------------------


def by_enumeration(drawn, correct, n, seen):
    """The vote by mass of every N-subset of a pool of one prompt."""
    total = []
    for subset in itertools.combinations(range(len(drawn)), n):
        mass = {}
        for y in {drawn[i] for i in subset}:
            if ANSWERS[y] is not None:
                weight = PROBS[y] if seen else PROBS[y] / (1 - (1 - PROBS[y]) ** n)
                mass[ANSWERS[y]] = mass.get(ANSWERS[y], 0.0) + weight
        best = [a for a in mass if mass[a] >= max(mass.values()) - 1e-12]
        total.append(np.mean([a in correct for a in best]) if best else 0.0)
    return np.mean(total)


@pytest.mark.parametrize("seen", [True, False])
def test_vote_by_mass_is_that_of_all_subsets(seen):
    drawn = [0, 1, 1, 3, 4, 5, 2]
    pool = answered(drawn, correct=[ANSWERS[y] in ("b", "c") for y in drawn])
    found = answer_mass_curve(pool, [1, 3, 7], seen=seen, subsets=4000, seed=1)
    for n in (1, 3, 7):
        exact = by_enumeration(drawn, ("b", "c"), n, seen)
        assert found[n][0] == pytest.approx(exact, abs=4 * 0.5 / np.sqrt(4000) if n < 7 else 1e-12)


def test_vote_by_seen_mass_does_not_underflow():
    pool = pd.DataFrame({"prompt_id": 0, "response": list("abc"), "answer": ["x", "y", "y"], "correct": [True, False, False],
                         "log_likelihood": [-900.0, -901.0, -950.0]})  # fmt: skip
    assert answer_mass_curve(pool, [3], seen=True)[3][0] == 1.0
    assert answer_mass_curve(pool, [3])[3][0] == 0.0


def test_vote_by_mass_of_nobody_is_wrong_and_seeds_matter():
    pool = pd.concat([answered([5, 5], correct=False), answered([0, 1], correct=[True, False]).assign(prompt_id=1)])
    assert answer_mass_curve(pool, [1, 2]).loc[0].tolist() == [0, 0]
    three = answered([0, 1, 4], correct=[True, False, False])
    draws = [answer_mass_curve(three, [2], subsets=9, seed=seed).iloc[0, 0] for seed in (0, 0, 1, 2)]
    assert draws[0] == draws[1] and len(set(draws)) > 1
    with pytest.raises(UserError, match="told apart only by their text"):
        answer_mass_curve(pool.drop(columns="tokens"), [1])
