"""Best-first search: what it holds, what it refuses, and the bounds of a search that was cut off.

That it finds the argmax is tested on token trees and on models in tests/llm/decoding/test_search.py.
"""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from sharptheory.decoding import beam_search, best_first
from sharptheory.testing import token_trees


def unpruned(next_token, stop, max_tokens, budget, seed):
    """(log p, upper bound) of a search that forgets nothing, one prefix at a time."""
    best, frontier, unfinished = seed, [(0.0, ())], -np.inf
    for _ in range(budget):
        if not frontier or -frontier[0][0] <= best + 1e-6:
            break
        cost, tokens = heapq.heappop(frontier)
        for token, log_p in enumerate(next_token([0], [tokens])[0] - cost):
            if token == stop:
                best = max(best, log_p)
            elif len(tokens) + 1 >= max_tokens:
                unfinished = max(unfinished, log_p)
            elif log_p > -np.inf:
                heapq.heappush(frontier, (-log_p, (*tokens, token)))
    upper = max(-frontier[0][0] if frontier else -np.inf, unfinished)
    return best, best if upper <= best + 1e-6 else upper


@given(token_trees(), st.integers(1, 12), st.sampled_from([None, -40.0]))
@settings(deadline=None, derandomize=True, max_examples=150)
def test_pruning_the_frontier_changes_neither_bound(policy, budget, seed):
    stop, max_tokens = policy.n_tokens, policy.horizon + 1
    seeds = [] if seed is None else [((stop,), seed)]
    found = best_first(policy.next_token, [stop], max_tokens=max_tokens, budget=budget, batch=1, seeds=seeds)
    low, high = unpruned(policy.next_token, stop, max_tokens, budget, -np.inf if seed is None else seed)
    assert found.log_p == pytest.approx(low, abs=1e-12) and found.log_upper == pytest.approx(high, abs=1e-12)


def test_the_frontier_holds_what_the_budget_can_expand():
    """3,000 tokens, seeds at -40 nats that prune nothing: 96 expansions open 288,000 prefixes and hold 192."""
    n_tokens, seed = 3_000, ((2_999,), -40.0)

    def law(_, prefixes):
        rows = np.stack([np.random.default_rng([len(p), *p]).normal(size=n_tokens) for p in prefixes])
        rows[:, -1] = -30.0
        return log_softmax(rows, axis=1)

    found = best_first(law, [2_999], max_tokens=200, budget=96, seeds=[seed])
    _, upper = unpruned(law, 2_999, 200, 96, -40.0)
    assert found.expanded == 96 and found.held <= 2 * 96
    assert not found.certified and found.log_upper >= upper - 1e-12
    one_by_one = best_first(law, [2_999], max_tokens=200, budget=96, seeds=[seed], batch=1)
    assert one_by_one.log_upper == pytest.approx(upper, abs=1e-12)


@pytest.mark.parametrize("broken", [np.nan, 0.5, -np.inf])
def test_a_broken_model_certifies_nothing(broken):
    """A seed would be certified by NaN, for nothing compares above it."""

    def law(_, prefixes):
        return np.full((len(prefixes), 3), broken)

    with pytest.raises(ValueError, match=r"next_token: .* after prefix \(\) of prompt 0 is"):
        best_first(law, [2], max_tokens=3, seeds=[((2,), -1.0)])
    with pytest.raises(ValueError, match=r"next_token: .* after prefix \(\) of prompt 5 is"):
        beam_search(law, [2], [5], width=2, max_tokens=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens=0; expected an integer ≥ 1"),
        ({"batch": 0}, "batch=0"),
        ({"budget": 2.5}, r"budget=2\.5; expected an integer"),
        ({"keep": True}, "keep=True"),
        ({"tolerance": -1.0}, r"tolerance=-1\.0"),
        ({"seeds": [((0, 2), np.nan)]}, r"seeds: \(0, 2\) has log-likelihood nan"),
        ({"seeds": [((2,), 3.0)]}, r"log-likelihood 3\.0"),
        ({"seeds": [((0, 1), -1.0)]}, r"seeds: \(0, 1\) has not finished"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        best_first(lambda *_: np.log([[0.5, 0.3, 0.2]]), [2], **{"max_tokens": 3, **options})
