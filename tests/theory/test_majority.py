"""The law of the plurality against enumeration and exact integers."""

import itertools
from fractions import Fraction
from math import comb, factorial

import numpy as np
import pytest
from scipy import stats
from scipy.special import gammaln

from sharptheory.theory.majority import log_choose, majority, plurality, win_probability


def exact_plurality(weights: list[int], n: int, ways) -> np.ndarray:
    """Sum over all counts of three classes of `ways(weight, count)`, in integers; ties split evenly."""
    wins, total = [Fraction(0)] * 3, 0
    for i in range(n + 1):
        for j in range(n + 1 - i):
            counts = (i, j, n - i - j)
            mass = 1
            for weight, count in zip(weights, counts):
                mass *= ways(weight, count)
            total += mass
            best = [c for c in range(3) if counts[c] == max(counts)]
            for c in best:
                wins[c] += Fraction(mass, len(best))
    return np.array([float(win / total) for win in wins])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_majority_matches_enumeration(n):
    probs = np.array([0.45, 0.3, 0.25])
    law = np.zeros(3)
    for draws in itertools.product(range(3), repeat=n):
        counts = np.bincount(draws, minlength=3)
        winners = np.flatnonzero(counts == counts.max())
        law[winners] += np.prod(probs[list(draws)]) / len(winners)
    np.testing.assert_allclose(np.exp(majority(np.log(probs), n)), law, rtol=1e-12)


@pytest.mark.parametrize("n", [60, 176, 200])
def test_majority_of_many_votes_matches_exact_integers(n):
    """(.4, .35, .25) in integers: relative error 1e-11, at numbers of votes where n! is far beyond a float."""
    exact = exact_plurality([8, 7, 5], n, lambda weight, k: weight**k * (factorial(n) // factorial(k)))
    np.testing.assert_allclose(np.exp(majority(np.log([0.4, 0.35, 0.25]), n)), exact, rtol=1e-11)


def test_majority_has_the_documented_values():
    np.testing.assert_allclose(np.exp(majority(np.log([0.4, 0.35, 0.25]), 176)), [0.77702, 0.22096, 0.00203], atol=5e-6)


@pytest.mark.parametrize("n", [101, 177, 1_001, 2_000])
def test_two_answers_follow_the_binomial(n):
    wins = stats.binom.sf(n / 2, n, 0.51) + 0.5 * (n % 2 == 0) * stats.binom.pmf(n // 2, n, 0.51)
    law = np.exp(majority(np.log([0.51, 0.49]), n))
    np.testing.assert_allclose(law, [wins, 1 - wins], rtol=1e-9)


def test_rare_answers_keep_their_digits():
    """Two answers, the second of chance 1e-12: it wins half of the ties at 25 of 50, C(50, 25) 1e-300 / 2."""
    law = np.exp(majority(np.array([np.log1p(-1e-12), np.log(1e-12)]), 50))
    assert law[1] == pytest.approx(comb(50, 25) / 2 * 1e-300, rel=1e-9)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(np.exp(majority(np.log([1.0, 0.0]), 9)), [1, 0])


@pytest.mark.parametrize(("sizes", "n"), [([10, 8, 3], 12), ([90, 80, 70], 64), ([5, 5, 5], 15), ([700, 600, 1], 60)])
def test_plurality_without_replacement_matches_exact_integers(sizes, n):
    exact = exact_plurality(sizes, n, comb)
    votes = np.stack([log_choose(size, np.arange(n + 1)) for size in sizes])
    np.testing.assert_allclose(plurality(votes, n), exact, rtol=1e-11)


@pytest.mark.parametrize(("classes", "size", "n"), [(10, 160, 64), (50, 40, 64), (50, 40, 16)])
def test_equal_classes_of_a_large_pool_win_equally(classes, size, n):
    votes = np.tile(log_choose(size, np.arange(n + 1)), (classes, 1))
    np.testing.assert_allclose(plurality(votes, n), 1 / classes, rtol=1e-12)


def test_abstentions_leave_what_nobody_wins():
    """Two voters of one answer, three without: two draws vote for nothing with chance C(3, 2)/C(5, 2)."""
    counts = np.arange(3)
    share = plurality(log_choose(2, counts)[None], 2, abstain=log_choose(3, counts))
    assert share == pytest.approx(1 - 3 / 10)
    with pytest.raises(ValueError, match="allow 0 to 2 draws"):
        plurality(log_choose(2, np.arange(4))[None], 3)


@pytest.mark.parametrize("n", [1, 2, 7, 32, 100])
@pytest.mark.parametrize("sizes", [[40, 40, 30, 7, 7, 7, 1], [100], [1, 99], [1] * 150])
def test_one_class_wins_as_often_as_among_all(sizes, n):
    counts = np.arange(n + 1)
    log_p = np.log(np.array(sizes) / 300)[:, None]
    for log_weights, silent in (
        (log_choose(np.array(sizes)[:, None], counts), log_choose(np.array(300 - sum(sizes)), counts)),
        (counts * log_p - gammaln(counts + 1), counts * np.log(0.3) - gammaln(counts + 1)),
    ):
        chances = plurality(log_weights, n, abstain=silent)
        for focal in {0, len(sizes) // 2, len(sizes) - 1}:
            assert win_probability(log_weights, focal, n, abstain=silent) == pytest.approx(chances[focal], abs=1e-12)
    if n <= sum(sizes):
        log_weights = log_choose(np.array(sizes)[:, None], counts)
        assert win_probability(log_weights, 0, n) == pytest.approx(plurality(log_weights, n)[0], abs=1e-12)


def test_bad_arguments_are_named():
    for n in (2.5, 0):
        with pytest.raises(ValueError, match=f"n={n}"):
            majority(np.log([0.5, 0.5]), n)
