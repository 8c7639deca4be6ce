"""Best-of-N on a pool against brute force, simulation and the law it estimates."""

import itertools
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharptheory.errors import UserError
from sharptheory.measure.best_of_n import (
    adaptive_weights,
    best_of_n_curve,
    best_of_n_weights,
    curve,
    doubling_grid,
    pass_at_n,
)
from sharptheory.theory.laws import adaptive_best_of_n


def enumerated_best_of_n(rewards, values, n):
    """Mean over all n-subsets, ties among the maximisers shared equally."""
    total = []
    for subset in combinations(range(len(rewards)), n):
        chosen = [i for i in subset if rewards[i] == max(rewards[j] for j in subset)]
        total.append(np.mean([values[i] for i in chosen]))
    return np.mean(total)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-5, 5)), min_size=1, max_size=8))
def test_best_of_n_curve_is_the_mean_over_all_subsets(pairs):
    rewards, values = map(np.array, zip(*pairs))
    n = np.arange(1, len(pairs) + 1)
    expected = [enumerated_best_of_n(rewards, values, k) for k in n]
    np.testing.assert_allclose(best_of_n_curve(rewards, values, n)[0], expected, atol=1e-12)


@given(st.integers(1, 60), st.data())
def test_pass_at_n_closed_form(m, data):
    c, n = data.draw(st.integers(0, m)), data.draw(st.integers(1, m))
    pool = pd.DataFrame({"prompt_id": 0, "log_likelihood": -1.0, "correct": np.arange(m) < c})
    assert pass_at_n(pool, [n]).iloc[0, 0] == pytest.approx(1 - comb(m - c, n) / comb(m, n), abs=1e-13)


def test_weights_sum_to_one_for_large_pools():
    n = np.array([1, 2, 17, 5_000, 9_999, 10_000])
    weights = best_of_n_weights(10_000, n)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-11)
    exact = comb(9_989, 16) / comb(10_000, 17)
    assert weights[2, 9_989] == pytest.approx(exact, rel=1e-11)


def test_all_tied_rewards_give_the_plain_mean():
    values = np.arange(6.0)[None]
    np.testing.assert_allclose(best_of_n_curve(np.zeros((1, 6)), values, np.arange(1, 7)), 2.5)


@pytest.mark.parametrize("n", [0, 5, 1.5])
def test_n_outside_the_pool_is_refused(n):
    with pytest.raises(UserError, match="from 1 to the pool size 4"):
        best_of_n_curve(np.zeros((1, 4)), np.zeros((1, 4)), np.array([n]))


def test_nan_rewards_are_refused():
    with pytest.raises(UserError, match=r"rewards\[0, 1\] is NaN"):
        best_of_n_curve(np.array([[0.0, np.nan]]), np.zeros((1, 2)), np.array([1]))


def test_infinite_values_have_no_mean():
    with pytest.raises(UserError, match=r"values\[0, 1\] is infinite"):
        best_of_n_curve(np.zeros((1, 2)), np.array([[0.0, -np.inf]]), np.array([1]))


@pytest.mark.parametrize("largest", [0, -1, 2.5, np.nan])
def test_a_grid_ends_at_a_number_of_samples(largest):
    with pytest.raises(UserError, match=f"largest={largest}; expected an integer ≥ 1"):
        doubling_grid(largest)


def test_best_of_n_curve_is_unbiased_for_the_exact_law():
    """The mean of many pools' curves is within 4 standard errors of best-of-N on the table."""
    probs, value = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 3.0])
    rng = np.random.default_rng(1)
    sampled = rng.choice(3, size=(4_000, 12), p=probs)
    n = np.array([1, 3, 8])
    curves = best_of_n_curve(probs[sampled], value[sampled], n)
    above = np.array([1.0, 0.5, 0.2])  # mass of responses at most as likely, from the likeliest down
    law = above[:, None] ** n - (above - probs)[:, None] ** n
    error = curves.std(axis=0) / np.sqrt(len(curves))
    assert np.all(np.abs(curves.mean(axis=0) - value @ law) < 4 * error)


def test_curve_handles_prompts_with_different_numbers_of_samples():
    pool = pd.DataFrame(
        {
            "prompt_id": ["a"] * 3 + ["b"] * 2,
            "sample_id": [0, 1, 2, 0, 1],
            "log_likelihood": -1.0,
            "r": [1.0, 2, 3, 5, 4],
            "v": [0.0, 0, 1, 1, 0],
        }
    )
    table = curve(pool, "r", "v", np.array([1, 2]))
    np.testing.assert_allclose(table.loc["a"], [1 / 3, 2 / 3])
    np.testing.assert_allclose(table.loc["b"], [1 / 2, 1])


@given(st.lists(st.sampled_from([0.02, 0.1, 0.11, 0.3, 0.5]), min_size=1, max_size=5), st.floats(0.1, 4))
def test_adaptive_weights_average_over_all_orders(probs, threshold):
    """Against running the rule on every permutation of the pool."""
    expected, draws = np.zeros(len(probs)), []
    orders = list(itertools.permutations(range(len(probs))))
    for order in orders:
        for k in range(1, len(order) + 1):
            top = max(probs[j] for j in order[:k])
            if k * top >= threshold * (1 - 1e-12) or k == len(order):
                tied = [j for j in range(len(probs)) if probs[j] == top]
                expected[tied] += 1 / len(tied) / len(orders)
                draws.append(k)
                break
    weights, mean = adaptive_weights(np.log(probs), threshold)
    np.testing.assert_allclose(weights, expected, atol=1e-12)
    assert mean == pytest.approx(np.mean(draws))


def test_adaptive_weights_of_a_large_pool_follow_the_exact_law():
    """On average over pools of 400 from one policy: [S1], which draws with replacement from the policy itself."""
    rng = np.random.default_rng(0)
    log_probs = np.log(rng.dirichlet(np.full(40, 0.5)))
    exact = adaptive_best_of_n(log_probs, 3.0)
    draws, mass = [], np.zeros(40)
    for _ in range(100):
        y = rng.choice(40, size=400, p=np.exp(log_probs))
        weights, mean = adaptive_weights(log_probs[y], 3.0)
        draws.append(mean)
        mass += np.bincount(y, weights, minlength=40) / 100
    assert abs(np.mean(draws) - exact.expected_n) < 4 * np.std(draws) / 10
    np.testing.assert_allclose(mass, np.exp(exact.law), atol=0.03)


@pytest.mark.parametrize("log_likelihood", [[], [np.nan, -1.0], [0.5], [[-1.0]]])
def test_the_adaptive_rule_needs_log_likelihoods(log_likelihood):
    with pytest.raises(UserError, match=r"log_likelihood: shape .*; expected \[M\]"):
        adaptive_weights(log_likelihood, 2.0)
    with pytest.raises(UserError, match=r"threshold=0; expected a number in \(0, inf\)"):
        adaptive_weights([-1.0], 0)
