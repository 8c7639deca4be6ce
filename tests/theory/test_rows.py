"""What is no law is refused where it enters: positive numbers, rows that miss a sum of 1, NaN."""

import re

import numpy as np
import pytest

from sharptheory.errors import UserError
from sharptheory.theory import coverage, divergences, laws
from sharptheory.theory.majority import majority
from sharptheory.theory.policies import TabularPolicy
from sharptheory.theory.rows import SUM_TOLERANCE, as_log_probs

PROBS = np.array([[0.25, 0.25, 0.5], [0.5, 0.3, 0.2]])
LAW = np.log(PROBS)

TAKE_A_LAW = {
    "best_of_n": lambda p: laws.best_of_n(p, 2),
    "best_of_n by a verifier": lambda p: laws.best_of_n(p, 2, rewards=np.arange(3)),
    "levels": laws.levels,
    "adaptive_best_of_n": lambda p: laws.adaptive_best_of_n(p, 1.0),
    "stopping_tail": lambda p: laws.stopping_tail(p, 1.0, np.arange(3)),
    "argmax_law": laws.argmax_law,
    "tilted": lambda p: laws.tilted(p, 1.0),
    "tilted, β = ∞": lambda p: laws.tilted(p, np.inf),
    "power": lambda p: laws.power(p, 2.0),
    "chi_squared": lambda p: laws.chi_squared(p, 1.0),
    "rank_tilted": lambda p: laws.rank_tilted(p, 2),
    "curated": lambda p: laws.curated(p, 2),
    "majority": lambda p: majority(p, 3),
    "maximizers": coverage.maximizers,
    "missing_mass": lambda p: coverage.missing_mass(p, TabularPolicy(LAW)),
    "concentrability": lambda p: coverage.concentrability(p, LAW),
    "concentrability, base": lambda p: coverage.concentrability(LAW, p),
    "kl": lambda p: divergences.kl(p, LAW),
    "kl, second": lambda p: divergences.kl(LAW, p),
    "hellinger_squared": lambda p: divergences.hellinger_squared(p, LAW),
    "total_variation": lambda p: divergences.total_variation(p, LAW),
    "renyi_2": lambda p: divergences.renyi_2(p, LAW),
    "win_rate": lambda p: divergences.win_rate(p, LAW, np.arange(3.0)),
    "expected_reward": lambda p: divergences.expected_reward(p, np.arange(3.0)),
}


@pytest.mark.parametrize("name", TAKE_A_LAW)
def test_what_is_no_law_is_refused(name):
    call = TAKE_A_LAW[name]
    call(LAW)
    with pytest.raises(ValueError, match=r"\[0, 0\] is 0.25; expected a log-probability ≤ 0, in nats"):
        call(PROBS)
    with pytest.raises(ValueError, match=r"\[1\] sums to 0.9"):
        call(LAW + np.array([[0.0], [np.log(0.9)]]))
    with pytest.raises(ValueError, match=r"\[1, 2\] is nan"):
        call(np.where(np.eye(3)[[0, 2]][:, [0, 1, 2]] * [[0], [1]] > 0, np.nan, LAW))


@pytest.mark.parametrize("name", TAKE_A_LAW)
@pytest.mark.parametrize("values", [[[-1.0], [-1.0, -2.0]], [["a", "b", "c"]], [[0j, 1, 2]], None, [[{}, 0, 0]]])
def test_what_is_no_table_of_numbers_is_refused(name, values):
    with pytest.raises(UserError, match=r"^(log_probs|law|base|p|q)"):
        TAKE_A_LAW[name](values)


TAKE_REWARDS = {
    "best_of_n": lambda r: laws.best_of_n(LAW, 2, rewards=r),
    "levels": lambda r: laws.levels(LAW, r),
    "tilted": lambda r: laws.tilted(LAW, 1.0, rewards=r),
    "chi_squared": lambda r: laws.chi_squared(LAW, 1.0, rewards=r),
    "rank_tilted": lambda r: laws.rank_tilted(LAW, 2, rewards=r),
    "curated": lambda r: laws.curated(LAW, 2, rewards=r),
    "win_rate": lambda r: divergences.win_rate(LAW, LAW, r),
    "expected_reward": lambda r: divergences.expected_reward(LAW, r),
}


@pytest.mark.parametrize("name", TAKE_REWARDS)
def test_rewards_are_numbers_for_every_response(name):
    call = TAKE_REWARDS[name]
    np.testing.assert_array_equal(
        getattr(call([1.0, 2.0, 0.0]), "log_cdf", 0), getattr(call([[1.0, 2.0, 0.0]] * 2), "log_cdf", 0)
    )
    with pytest.raises(
        UserError, match=r"rewards has shape \(2,\); expected \(2, 3\), as log_probs, or what broadcasts"
    ):
        call([1.0, 2.0])
    for values in ([[1.0], [1.0, 2.0]], ["a", "b", "c"]):
        with pytest.raises(UserError, match="rewards is no table of numbers"):
            call(values)


#: One call for each number that a law or a measure takes, and where it must lie.
TAKE_A_NUMBER = {
    "n of best_of_n in [1, inf)": lambda x: laws.best_of_n(LAW, x),
    "tolerance of best_of_n in [0, inf)": lambda x: laws.best_of_n(LAW, 2, tolerance=x),
    "tolerance of levels in [0, inf)": lambda x: laws.levels(LAW, tolerance=x),
    "tolerance of argmax_law in [0, inf)": lambda x: laws.argmax_law(LAW, tolerance=x),
    "gamma of argmax_law in [0, 1)": lambda x: laws.argmax_law(LAW, x),
    "beta of tilted in [0, inf]": lambda x: laws.tilted(LAW, x),
    "alpha of power in [0, inf]": lambda x: laws.power(LAW, x),
    "beta of chi_squared in (0, inf)": lambda x: laws.chi_squared(LAW, x),
    "n of rank_tilt in [1, inf)": laws.rank_tilt,
    "threshold of adaptive_best_of_n in (0, inf)": lambda x: laws.adaptive_best_of_n(LAW, x),
    "tolerance of adaptive_best_of_n in [0, inf)": lambda x: laws.adaptive_best_of_n(LAW, 1.0, tolerance=x),
    "threshold of stopping_tail in (0, inf)": lambda x: laws.stopping_tail(LAW, x, 1),
    "delta of stopping_threshold in (0, 1]": laws.stopping_threshold,
    "gamma of maximizers in [0, 1)": lambda x: coverage.maximizers(LAW, x),
    "gamma of argmax_summary in [0, 1)": lambda x: coverage.argmax_summary(TabularPolicy(LAW), x),
    "tolerance of argmax_summary in [0, inf)": lambda x: coverage.argmax_summary(TabularPolicy(LAW), tolerance=x),
    "p of coverage_coefficient in (0, inf]": lambda x: coverage.coverage_coefficient(TabularPolicy(LAW), p=x),
    "order of concentrability in [0, inf)": lambda x: coverage.concentrability(LAW, LAW, order=x),
    "eps of is_sharpened in [0, 1]": lambda x: coverage.is_sharpened(LAW, TabularPolicy(LAW), eps=x, delta=0.5),
    "delta of is_sharpened in [0, 1]": lambda x: coverage.is_sharpened(LAW, TabularPolicy(LAW), eps=0.5, delta=x),
    "tolerance of win_rate in [0, inf)": lambda x: divergences.win_rate(LAW, LAW, np.arange(3), tolerance=x),
}


@pytest.mark.parametrize("what", TAKE_A_NUMBER)
def test_numbers_out_of_range_are_named(what):
    name, interval = what.split()[0], what.split(" in ")[1]
    low, high = map(float, interval[1:-1].split(", "))
    inside = [min(low + 0.5, high), *([low] if interval[0] == "[" else []), *([high] if interval[-1] == "]" else [])]
    for value in inside:
        TAKE_A_NUMBER[what](value)
    outside = [np.nan, -1.0, "a", None, [0.5, 0.5], *([low] if interval[0] == "(" else [np.nextafter(low, -1)])]
    outside += [high] if interval[-1] == ")" else [] if high == np.inf else [np.nextafter(high, 2)]
    for value in outside:
        with pytest.raises(UserError, match=re.escape(f"{name}={value}; expected a number in {interval}")):
            TAKE_A_NUMBER[what](value)


def test_padding_and_rounding_are_fine():
    padded = np.array([np.log(0.5), np.log(0.5), -np.inf])
    assert as_log_probs(padded) is padded
    as_log_probs(padded + 0.9 * SUM_TOLERANCE)
    with pytest.raises(ValueError, match="sums to 1"):
        as_log_probs(padded + 1.1 * SUM_TOLERANCE)
    with pytest.raises(ValueError, match=r"log_probs\[1, 0\] sums to 0;"):
        as_log_probs(np.stack([[padded, padded], [np.full(3, -np.inf), padded]]))


@pytest.mark.parametrize("shape", [(), (0,), (2, 0)])
def test_a_row_needs_a_response(shape):
    with pytest.raises(ValueError, match=r"expected \[\.\.\., Y\]"):
        as_log_probs(np.zeros(shape))


def test_level_sets_need_not_sum_to_one_but_are_log_probabilities():
    masses = np.log([0.75, 0.25])
    assert laws.adaptive_best_of_n(masses, 1.0, log_likelihood=np.array([-20.0, -10.0])).expected_n > 1e4
    with pytest.raises(ValueError, match=r"log_likelihood\[0\] is 0.2"):
        laws.adaptive_best_of_n(masses, 1.0, log_likelihood=np.array([0.2, 0.1]))
    with pytest.raises(ValueError, match=r"log_likelihood has shape \(3,\); expected \(2,\)"):
        laws.adaptive_best_of_n(masses, 1.0, log_likelihood=np.zeros(3))
