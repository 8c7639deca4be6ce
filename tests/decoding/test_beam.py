"""Beam search against enumeration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from sharptheory.decoding import beam_search
from sharptheory.decoding.beam import _largest
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


def plain_beam(law, stop_ids, prompt, width, max_tokens):
    """Beam search as the docstring says it, one prompt at a time."""
    live, done = [((), 0.0)], []
    for step in range(max_tokens):
        children = []
        for tokens, score in live:
            for token, log_p in enumerate(law([prompt], [tokens])[0]):
                if log_p > -np.inf:
                    children.append(((*tokens, token), score + log_p))
        kept = sorted(children, key=lambda child: -child[1])[:width]  # stable: ties to the earlier prefix and token
        ended = [child for child in kept if child[0][-1] in stop_ids or step + 1 == max_tokens]
        done = sorted(done + ended, key=lambda child: -child[1])[:width]
        live = [child for child in kept if child not in ended]
        if len(done) == width:
            live = [child for child in live if child[1] > done[-1][1]]
        if not live:
            break
    return done


@pytest.mark.parametrize("width", [1, 2, 3, 7])
@pytest.mark.parametrize("stop_ids", [[3], [1, 3], []])
@pytest.mark.parametrize("ties", [False, True])
def test_beam_search_is_what_it_says(width, stop_ids, ties):
    """Several prompts at once, several stop tokens or none, ties to the smallest token, impossible tokens."""

    def law(prompts, prefixes):
        rows = []
        for x, prefix in zip(prompts, prefixes):
            logits = np.random.default_rng([x, len(prefix), *prefix]).normal(size=4)
            if ties:
                logits = np.round(logits)
            logits[2] = -np.inf if len(prefix) == 1 else logits[2]
            rows.append(log_softmax(logits))
        return np.array(rows)

    prompts = [4, 0, 9]
    found = beam_search(law, stop_ids, prompts, width=width, max_tokens=4)
    for x, ranked in zip(prompts, found):
        expected = plain_beam(law, stop_ids, x, width, 4)
        assert [tokens for tokens, _ in ranked] == [tokens for tokens, _ in expected]
        np.testing.assert_allclose([s for _, s in ranked], [s for _, s in expected], atol=1e-12)
        assert all(isinstance(token, int) for tokens, _ in ranked for token in tokens)


def test_beam_search_asks_for_no_more_than_it_needs():
    """It stops once no open prefix beats the last finished response: the law is asked once here, not max_tokens times."""
    asked = []

    def law(prompts, prefixes):
        asked.append(list(zip(prompts, prefixes)))
        return np.tile(np.log([0.1, 0.2, 0.7]), (len(prefixes), 1))

    assert beam_search(law, [2], [5], width=1, max_tokens=50) == [[((2,), np.log(0.7))]]
    assert asked == [[(5, ())]]
    [found] = beam_search(law, [2], [5], width=2, max_tokens=50)
    assert [tokens for tokens, _ in found] == [(2,), (1, 2)]


@pytest.mark.parametrize("size", [3, 8, 9, 40])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_largest_values_come_first_and_ties_in_order(size, k):
    for seed in range(20):
        values = np.random.default_rng(seed).integers(0, 6, size=size).astype(float)
        values[values == 0] = -np.inf
        order = sorted(range(size), key=lambda i: -values[i])
        assert _largest(values, k).tolist() == [i for i in order if values[i] > -np.inf][:k]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"width": 0}, "width=0"), ({"width": 1.5}, r"width=1\.5"), ({"max_tokens": 0}, "max_tokens=0")],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        beam_search(lambda *_: np.log([[0.5, 0.5]]), [1], [0], **{"width": 1, "max_tokens": 1, **options})
