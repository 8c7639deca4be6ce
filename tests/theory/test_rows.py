"""What is no law is refused where it enters: positive numbers, rows that miss a sum of 1, NaN."""

import numpy as np
import pytest

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
