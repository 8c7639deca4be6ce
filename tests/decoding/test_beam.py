"""Beam search against enumeration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharptheory.decoding import beam_search
from sharptheory.testing import token_trees


@given(token_trees(), st.integers(1, 5))
@settings(deadline=None, derandomize=True)
def test_beams_are_responses_with_their_likelihoods(policy, width):
    exact = policy.table().log_probs[0]
    options = dict(max_tokens=policy.horizon + 1)
    [found] = beam_search(policy.next_token, [policy.n_tokens], [0], width=width, **options)
    assert 1 <= len(found) <= width and len({tokens for tokens, _ in found}) == len(found)
    values = [exact[policy.responses.index(tokens[:-1])] for tokens, _ in found]
    np.testing.assert_allclose([log_p for _, log_p in found], values, atol=1e-9)
    assert values == sorted(values, reverse=True)
    [wide] = beam_search(policy.next_token, [policy.n_tokens], [0], width=200, **options)
    assert wide[0][1] == pytest.approx(exact.max(), abs=1e-9)


def test_a_budget_leaves_responses_unfinished():
    row = np.log(np.array([0.5, 0.3, 0.2]))
    [found] = beam_search(lambda x, prefixes: np.tile(row, (len(prefixes), 1)), [2], [0], width=3, max_tokens=2)
    assert [tokens for tokens, _ in found] == [(0, 0), (2,), (0, 1)]
    np.testing.assert_allclose(np.exp([log_p for _, log_p in found]), [0.25, 0.2, 0.15])
