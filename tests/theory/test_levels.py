"""One definition of a tie: the best level is the set of maximisers, and a set defined by a comparison is whole levels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from sharptheory.checks import REGISTRY
from sharptheory.checks.instances import Instance
from sharptheory.testing import assert_holds
from sharptheory.theory import laws
from sharptheory.theory.coverage import missing_mass
from sharptheory.theory.levels import TOLERANCE, level_bounds, level_starts, maximizers
from sharptheory.theory.policies import TabularPolicy

#: Three responses, each within the tolerance of the next, the first and the last not.
CHAIN = np.log(1 / 3) + np.array([0.0, 0.8e-12, 1.6e-12])


@st.composite
def chains(draw) -> np.ndarray:
    """One prompt whose responses are near-ties in chains: multiples of a fraction of the tolerance, in any order."""
    step = draw(st.sampled_from([0.3, 0.5, 0.8, 0.99, 1.0]))
    multiples = draw(st.lists(st.integers(0, 6), min_size=2, max_size=8))
    offsets = draw(st.lists(st.sampled_from([0.0, 0.0, -np.log(2), -3.0]), min_size=8, max_size=8))
    return log_softmax(np.array([step * TOLERANCE * m + o for m, o in zip(multiples, offsets)]))


def test_a_chain_is_cut_from_the_top():
    np.testing.assert_array_equal(maximizers(CHAIN), [False, True, True])
    np.testing.assert_array_equal(level_starts(CHAIN[None]), [[True, True, False]])


def test_steps_within_the_tolerance_are_several_levels():
    """Each at most the tolerance wide, however long the chain."""
    assert level_starts(np.arange(10.0)[None] * 0.6e-12).sum() == 5
    np.testing.assert_array_equal(level_starts(np.array([[0.0, 0, 1, 1, 2]]), 0.0), [[1, 0, 1, 0, 1]])
    np.testing.assert_array_equal(level_starts(np.array([[-np.inf, -np.inf, 0, np.inf, np.inf]])), [[1, 0, 1, 1, 0]])


@given(chains(), st.sampled_from([0.0, 0.3, 0.5, 0.6]))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_levels_are_within_the_tolerance_and_the_maximisers_are_whole_levels(row, gamma):
    order = np.argsort(row)
    ascending = row[order]
    first, last = level_bounds(level_starts(ascending[None]))
    assert np.all(ascending >= ascending[last[0]] - TOLERANCE)
    assert np.all(ascending[first[0][1:] - 1][first[0][1:] > 0] < ascending[last[0][1:]][first[0][1:] > 0] - TOLERANCE)
    inside = maximizers(row, gamma)[order]
    for level in np.unique(first):
        members = inside[first[0] == level]
        assert members.all() or not members.any()
    assert inside[first[0] == first[0][-1]].all()
    if gamma == 0:
        np.testing.assert_array_equal(inside, first[0] == first[0][-1])


def test_a_near_tie_on_the_edge_of_gamma_does_not_split_its_level():
    """(1-γ) p* falls between two tied responses: both are in ``y*_γ``, for the better one is."""
    row = log_softmax(np.array([0.0, np.log(0.5) - 0.7e-12, np.log(0.5) - 1.4e-12, -3.0]))
    np.testing.assert_array_equal(maximizers(row, 0.5), [True, True, True, False])


def chained(row: np.ndarray, *, knobs: np.ndarray) -> Instance:
    return Instance(row[None], row[None], np.zeros((1, len(row))), np.zeros(1), knobs)


def test_proposition_c_1_and_lemma_i_1_hold_on_the_chain():
    policy = TabularPolicy(CHAIN, normalize=True)
    hit = 1 - missing_mass(laws.best_of_n(policy.log_probs, 3), policy)
    np.testing.assert_allclose(hit, 1 - (1 / 3) ** 3, rtol=1e-9)
    rule = laws.adaptive_best_of_n(policy.log_probs, 1.5)
    assert missing_mass(rule.law, policy)[0] <= np.exp(-2 * 1.5)


@given(chains(), st.lists(st.floats(0, 1), min_size=5, max_size=5).map(np.array))
@settings(deadline=None, derandomize=True, max_examples=100)
@pytest.mark.parametrize("name", ["best_of_n_hit", "adaptive_miss", "adaptive_stopping", "argmax_concentrability"])
def test_statements_about_maximisers_hold_on_chains(name, row, knobs):
    assert name in REGISTRY
    assert_holds(name, chained(row, knobs=knobs))
