"""Best-first search: what it holds, what it refuses, and the bounds of a search that was cut off.

That it finds the argmax of a model is tested in tests/llm/decoding/test_search.py.
"""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from sharptheory.decoding import beam_search, best_first
from sharptheory.decoding.next_token import ask
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


def law_of(n_tokens: int, *, shift: float = 0.0):
    """A random next-token law, another one for each prompt and prefix; its last token is the end."""

    def law(prompts, prefixes):
        rows = [np.random.default_rng([x, len(p), *p]).normal(size=n_tokens) for x, p in zip(prompts, prefixes)]
        return log_softmax(np.array(rows) + shift * (np.arange(n_tokens) == n_tokens - 1), axis=1)

    return law


def responses_of(law, n_tokens: int, stops: list[int], max_tokens: int, prompt: int = 0) -> list[tuple]:
    """All finished responses with their log-likelihoods, likeliest first."""
    found, live = [], [((), 0.0)]
    for _ in range(max_tokens):
        children = [
            ((*tokens, token), score + float(log_p))
            for tokens, score in live
            for token, log_p in enumerate(law([prompt], [tokens])[0])
        ]
        found += [child for child in children if child[0][-1] in stops]
        live = [child for child in children if child[0][-1] not in stops]
    return sorted(found, key=lambda child: -child[1])


@pytest.mark.parametrize("stops", [[2], [0, 2]])
@pytest.mark.parametrize(("gamma", "keep"), [(0.0, 1), (0.0, 3), (0.5, 1), (0.9, 2), (0.3, 6)])
@pytest.mark.parametrize("batch", [1, 3, 32])
def test_a_finished_search_knows_every_response_that_was_asked_for(stops, gamma, keep, batch):
    """Those within the factor 1-γ of the best, and the `keep` likeliest; at any batch, for the prompt that is meant."""
    law = law_of(3, shift=2.0)
    for prompt in (0, 7):
        exact = responses_of(law, 3, stops, 6, prompt)
        found = best_first(law, stops, prompt=prompt, max_tokens=6, gamma=gamma, keep=keep, batch=batch, budget=10_000)
        wanted = [r for i, r in enumerate(exact) if i < keep or r[1] >= exact[0][1] + np.log1p(-gamma)]
        assert [tokens for tokens, _ in found.responses] == [tokens for tokens, _ in wanted]
        np.testing.assert_allclose([log_p for _, log_p in found.responses], [log_p for _, log_p in wanted], atol=1e-12)
        assert found.certified and found.complete
        assert (found.tokens, found.log_p) == found.responses[0] and found.log_upper == found.log_p
        assert all(isinstance(token, int) for token in found.tokens)


def test_the_budget_is_the_number_of_prefixes_asked_about():
    for budget in (1, 2, 5, 31, 33):
        asked = []
        law = law_of(4, shift=-4.0)

        def counted(prompts, prefixes, law=law, asked=asked):
            asked.extend(prefixes)
            assert len(prefixes) <= 32  # the default batch
            return law(prompts, prefixes)

        found = best_first(counted, [3], max_tokens=30, budget=budget)
        assert found.expanded == len(asked) == len(set(asked)) == budget and not found.complete
        assert found.held <= 2 * budget
    assert best_first(law_of(8, shift=-12.0), [7], max_tokens=30).expanded == 1_000


def test_a_search_without_an_end_says_what_it_does_not_know():
    """No response finished: none is returned, and the likeliest open or cut prefix bounds the maximum."""
    never = lambda _, prefixes: np.tile(np.log([0.6, 0.4]), (len(prefixes), 1))  # noqa: E731
    found = best_first(never, [], max_tokens=3, batch=1)
    assert found.tokens is None and found.log_p == -np.inf and found.responses == ()
    assert found.certified is False and found.complete is False and found.expanded == 7
    assert found.log_upper == pytest.approx(3 * np.log(0.6))
    cut = best_first(never, [], max_tokens=30, budget=2, batch=1)
    assert cut.log_upper == pytest.approx(np.log(0.4)) and cut.expanded == 2
    # Rounding of a model may lift a probability above 1; a bound is not.
    above = lambda _, prefixes: np.tile([5e-3, -9.0], (len(prefixes), 1))  # noqa: E731
    assert best_first(above, [], max_tokens=2).log_upper == 0.0


def test_seeds_prune_and_are_results_themselves():
    """A seed that is the argmax is certified after one question, the empty prefix being no proof."""
    law = lambda _, prefixes: np.tile(np.log([0.3, 0.1, 0.6]), (len(prefixes), 1))  # noqa: E731
    found = best_first(law, [2], max_tokens=9, seeds=[((2,), np.log(0.6))])
    assert (found.tokens, found.expanded, found.certified) == ((2,), 1, True)
    # Of two opinions on the likelihood of one response the larger counts.
    found = best_first(law, [2], max_tokens=9, keep=2, seeds=[((2,), np.log(0.5)), ((0, 2), np.log(0.2))])
    assert dict(found.responses) == pytest.approx({(2,): np.log(0.6), (0, 2): np.log(0.2)})
    # The tolerance decides what is worth expanding.
    wide = best_first(law, [2], max_tokens=9, seeds=[((2,), np.log(0.6))], tolerance=1.0)
    assert wide.expanded == 0 and wide.certified


def test_tolerance_is_the_noise_of_the_model():
    """Two responses that differ by less than the tolerance: the one found first is as good as certified."""
    first = np.log([0.5 - 1e-8, 0.5])
    law = lambda _, prefixes: np.array([first if not p else np.log([1e-300, 1.0]) for p in prefixes])  # noqa: E731
    close = best_first(law, [1], max_tokens=3, seeds=[((0, 1), np.log(0.5 - 1e-8))], batch=1)
    assert close.certified and close.log_upper == close.log_p
    exact = best_first(law, [1], max_tokens=3, tolerance=0.0)
    assert exact.tokens == (1,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 1.0}, r"gamma=1\.0; expected a number in \[0, 1\)"),
        ({"gamma": -0.1}, r"gamma=-0\.1"),
        ({"tolerance": np.inf}, "tolerance=inf"),
        ({"keep": 0}, "keep=0"),
        ({"budget": 0}, "budget=0"),
        ({"seeds": [((), -1.0)]}, r"seeds: \(\) has not finished"),
        ({"seeds": [((2,), -np.inf)]}, "log-likelihood -inf"),
    ],
)
def test_more_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        best_first(lambda *_: np.log([[0.5, 0.3, 0.2]]), [2], **{"max_tokens": 3, **options})
    # At the edge: rounding may lift a seed above 0.
    best_first(lambda _, p: np.tile(np.log([0.5, 0.3, 0.2]), (len(p), 1)), [2], max_tokens=3, seeds=[((2,), 1e-2)])


def test_a_law_is_checked_row_by_row():
    rows = np.log([[0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_array_equal(ask(lambda *_: rows.tolist(), [0, 1], [(), (3,)]), rows)
    lifted = np.array([[1e-2, -5.0]])
    assert ask(lambda *_: lifted, [0], [()]) is lifted
    for wrong, shown in ((1.1e-2, "0.011"), (np.nan, "nan"), (np.inf, "inf")):
        broken = rows.copy()
        broken[1, 0] = wrong
        with pytest.raises(ValueError, match=rf"after prefix \(3, 4\) of prompt 8 is {shown}"):
            ask(lambda *_, broken=broken: broken, [7, 8], [(), [3, 4]])


def test_what_is_certified_need_not_be_complete():
    """The best is proved after one question; whether another is within half of it is not."""
    law = lambda _, prefixes: np.tile(np.log([0.3, 0.1, 0.6]), (len(prefixes), 1))  # noqa: E731
    short = best_first(law, [2], max_tokens=9, budget=1, gamma=0.9)
    assert short.certified is True and short.complete is False and [r for r, _ in short.responses] == [(2,)]
    full = best_first(law, [2], max_tokens=9, gamma=0.9)
    assert full.complete is True and [r for r, _ in full.responses] == [(2,), (0, 2), (1, 2)]
    assert best_first(law, [2], max_tokens=1).held == 1


def test_a_law_in_single_precision_keeps_the_argmax():
    exact = law_of(3, shift=1.0)
    single = lambda prompts, prefixes: exact(prompts, prefixes).astype(np.float32)  # noqa: E731
    found, same = (best_first(law, {2}, max_tokens=5, keep=4) for law in (exact, single))
    assert [r for r, _ in found.responses] == [r for r, _ in same.responses]
    np.testing.assert_allclose([s for _, s in found.responses], [s for _, s in same.responses], atol=1e-5)
    # The accumulation is in double: the likelihoods are sums of what the law said.
    [(tokens, score), *_] = same.responses
    steps = [float(single([0], [tokens[:t]])[0, tokens[t]]) for t in range(len(tokens))]
    assert score == pytest.approx(sum(steps), abs=1e-15)


def test_a_prefix_that_cannot_win_any_more_is_not_expanded():
    """(1,), of .4, is opened first and then beaten by the response (0, 2) of .45: nobody asks what follows it."""
    asked = []

    def law(_, prefixes):
        asked.extend(prefixes)
        after = {(): [0.5, 0.4, 0.1], (0,): [0.05, 0.05, 0.9]}
        return np.log([after[prefix] for prefix in prefixes])

    found = best_first(law, [2], max_tokens=9, batch=1)
    assert asked == [(), (0,)] and found.tokens == (0, 2) and found.complete is True
    assert (found.expanded, found.log_upper) == (2, found.log_p)
