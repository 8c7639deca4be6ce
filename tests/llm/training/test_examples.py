"""What each method makes of a pool, against enumeration of all pools and exact gradients on a table."""

import itertools
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sharptheory.errors import UserError
from sharptheory.learners import bon_aware
from sharptheory.learners.bon_aware import max_at_k_weights
from sharptheory.llm.training import examples as module
from sharptheory.llm.training.config import Config
from sharptheory.measure.pool import Pool
from tests.llm.training.tiny import EOS, pool_of

TABLE = np.log([0.4, 0.3, 0.2, 0.1])
CORRECT = np.array([0.0, 1.0, 0.0, 1.0])


def examples(pool, seed: int = 0, base=None, **options):
    config = Config(**{"n": 2, "optimism": 0.0, **options})
    return module.examples(pool, config, rng=np.random.default_rng(seed), base=base)


# Best-of-N-aware ------------------------------------------------------------------------------------------------------


def expected_weights(method: str, n: int, m: int, rewards: np.ndarray) -> np.ndarray:
    """Expectation over all pools of m samples, one prompt each, of the weight on each response of the table."""
    pools = np.array(list(itertools.product(range(4), repeat=m)))
    chance = np.exp(TABLE[pools].sum(axis=1))
    pool = pool_of([[(y, EOS) for y in row] for row in pools.tolist()], TABLE[pools])
    pool["correct"] = [bool(CORRECT[y]) for y in pools.ravel()]
    binary = np.isin(rewards, (0, 1)).all()
    if binary:
        found = examples(pool, method=method, n=n, n_samples=m, reward="correctness")
    else:
        pool["log_likelihood"] = rewards[pools].ravel()
        found = examples(pool, method=method, n=n, n_samples=m)
    return np.bincount([e.tokens[0] for e in found], [chance[e.prompt_id] * e.weight for e in found], minlength=4)


@pytest.mark.parametrize("method", ["bon-rlb", "bon-rlb-p"])
@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 2), (2, 3), (3, 4), (4, 5)])
@pytest.mark.parametrize("rewards", [CORRECT, TABLE, np.array([-3.0, -0.5, -3.0, -1.0]), np.array([-9.0, -1, -2, -1])])
def test_bon_rlb_weights_are_unbiased(method, n, m, rewards):
    """The expected weighted score is ``∇ E[max of N rewards]``, which ``∇ (1 - p_fail^N)`` is; ties included."""
    exact = bon_aware.bon_rl(TABLE, rewards, n)[1]
    if rewards is CORRECT:
        np.testing.assert_allclose(exact, bon_aware.bon_rlb(TABLE, rewards, n)[1], atol=1e-12)
    weights = expected_weights(method, n, m, rewards)
    np.testing.assert_allclose(weights - np.exp(TABLE) * weights.sum(), exact, atol=1e-10)


@given(arrays(float, (2, 6), elements=st.sampled_from((-700.0, -3.0, -1.0, -1.0 + 1e-9, 0.0, 0.5))), st.integers(1, 6))
@settings(deadline=None, derandomize=True)
def test_weights_are_averages_over_the_subsets_of_fellows(rewards, n):
    expected = {True: np.zeros_like(rewards), False: np.zeros_like(rewards)}
    for x, i in np.ndindex(*rewards.shape):
        fellows = np.delete(rewards[x], i)
        subsets = [max(subset, default=fellows.min()) for subset in itertools.combinations(fellows, n - 1)]
        with_it = [rewards[x, i] if n == 1 else max(rewards[x, i], best) for best in subsets]
        expected[True][x, i] = n * (np.mean(with_it) - np.mean(subsets))
        expected[False][x, i] = n * (np.mean(with_it) - fellows.min())
    for positive, weights in expected.items():
        found = max_at_k_weights(rewards, n, binary=False, positive=positive)
        np.testing.assert_allclose(found, weights, atol=1e-8)
        assert n == 1 or (found >= 0).all()


@pytest.mark.parametrize("m", [1, 2, 7, 300])
def test_weights_of_binary_rewards_are_the_closed_forms(m):
    """``N ρ(m-1, c, N-1)`` for a failure; for a success N, or ``N (1 - ρ(m-1, c-1, N-1))`` over the others."""
    miss = lambda total, c, k: comb(total - c, k) / comb(total, k)  # noqa: E731
    for c, n in itertools.product({0, 1, m // 2, m}, {1, min(2, m), m}):
        rewards = np.array([[1.0] * c + [0.0] * (m - c)])
        failure = n * (1 - miss(m - 1, c, n - 1)) if c < m else 0
        success = n * miss(m - 1, c - 1, n - 1) if c else 0
        np.testing.assert_allclose(
            max_at_k_weights(rewards, n, binary=True, positive=False), [[n] * c + [failure] * (m - c)], atol=1e-9
        )
        np.testing.assert_allclose(
            max_at_k_weights(rewards, n, binary=True, positive=True), [[success] * c + [0] * (m - c)], atol=1e-9
        )


def test_bon_sft_weights_are_the_exact_gradient():
    """On a pool that holds each response in proportion to its probability."""
    counts = [4, 3, 2, 1]
    tokens = [[(y, EOS) for y in range(4) for _ in range(counts[y])]]
    found = examples(pool_of(tokens, [np.repeat(TABLE, counts)]), method="bon-sft", n=5)
    weights = np.bincount([e.tokens[0] for e in found], [e.weight for e in found], minlength=4)
    _, jacobian = bon_aware.log_best_of_n(TABLE, TABLE, 5)
    np.testing.assert_allclose(weights - np.exp(TABLE) * weights.sum(), jacobian[0], atol=1e-10)


# The others -----------------------------------------------------------------------------------------------------------


def test_sft_and_adaptive_choose_the_likeliest():
    rng = np.random.default_rng(0)
    sampled = rng.choice(4, size=(50, 20), p=np.exp(TABLE))
    pool = pool_of([[(y, EOS) for y in row] for row in sampled.tolist()], TABLE[sampled])
    assert [e.tokens[0] for e in examples(pool)] == [min(row) for row in sampled.tolist()]
    # With μ = ln 4 the rule stops at the first sample with 1/p ≤ k/μ.
    for example, row in zip(examples(pool, method="adaptive-sft", delta=0.5), sampled):
        best = 1.0
        for k in range(1, len(row) + 1):
            best = TABLE[row[:k]].max()
            if np.exp(-best) <= k / np.log(4):
                break
        assert TABLE[example.tokens[0]] == best


def test_rewards_choose(tmp_path):
    pool = pool_of(
        [[(0, EOS), (3, EOS), (3, EOS), (2, EOS)]], [TABLE[[0, 3, 3, 2]]], answer=["a", "b", "b", "c"],
        correct=[False, True, True, False],
    )  # fmt: skip
    (tmp_path / "mine.py").write_text("def third(pool):\n    return pool['sample_id'] == 3\n")
    chosen = lambda reward: examples(pool, reward=reward)[0].tokens[0]  # noqa: E731
    assert (chosen("log_likelihood"), chosen("majority"), chosen("correctness")) == (0, 3, 3)
    assert chosen(f"{tmp_path / 'mine.py'}:third") == 2


def test_equal_responses_are_equal_whatever_rounding_says():
    """One response with log-likelihoods that differ by noise: no copy of the best one is worse than the best."""
    noise = np.array([0.0, 1e-6, -1e-6, 0.0])
    pool = pool_of([[(0, EOS)] * 3 + [(3, EOS)]], [TABLE[[0, 0, 0, 3]] + noise])
    clean = pool_of([[(0, EOS)] * 3 + [(3, EOS)]], [TABLE[[0, 0, 0, 3]]])
    found, expected = (examples(p, method="bon-sft", n=2) for p in (pool, clean))
    assert [(e.tokens, e.weight) for e in found] == [(e.tokens, e.weight) for e in expected]
    assert [e.tokens[0] for e in found] == [0, 3]
    noisy = examples(pool_of([[(0, EOS), (0, EOS), (3, EOS), (0, EOS)]], [TABLE[[0, 0, 3, 0]] + noise]), method="dpo")
    assert [(e.tokens[0], e.other[0]) for e in noisy] == [(3, 0)]  # the pair of equal responses says nothing


def test_ties_of_different_responses_are_broken_evenly():
    """Equal rewards, one of the responses sampled three times: each sample has the same chance, as in best-of-N."""
    pool = pool_of([[(0, EOS)] * 3 + [(2, EOS)]] * 400 + [[(1, EOS), (0, EOS)]], [[-1.0] * 4] * 400 + [[-2.0, -3.0]])
    share = np.mean([e.tokens[0] == 0 for e in examples(pool)[:400]])
    assert abs(share - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 400)


def test_pairs_aim_at_the_tilted_law():
    """At ``log π = (1 + 1/β) log π_base`` every pair's regression is solved."""
    beta, order = 0.7, [0, 1, 2, 3, 3, 0]
    for method in ("dpo", "xpo"):
        for e in examples(pool_of([[(y, EOS) for y in order]], [TABLE[order]]), method=method, beta=beta):
            difference = (1 + 1 / beta) * (TABLE[e.tokens[0]] - TABLE[e.other[0]])
            assert beta * difference == pytest.approx(e.target)


def test_xpo_pairs_the_policy_with_the_base():
    policy = Pool.from_frame(pool_of([[(3, EOS), (2, EOS)], [(1, EOS), (1, EOS)]], [TABLE[[3, 2]], TABLE[[1, 1]]]))
    base = Pool.from_frame(pool_of([[(0, EOS), (1, EOS)], [(2, EOS), (1, EOS)]], [TABLE[[0, 1]], TABLE[[2, 1]]]))
    found = examples(policy, base=base, method="xpo", optimism=0.1)
    pairs = [(e.prompt_id, e.tokens[0], e.other[0]) for e in found if e.other]
    assert pairs == [(0, 3, 0), (0, 2, 1), (1, 1, 2)]
    weighted = [(e.prompt_id, e.tokens[0], e.weight) for e in found if not e.other]
    assert weighted == [(0, 0, -0.1), (0, 1, -0.1), (1, 2, -0.1), (1, 1, -0.1)]


def test_what_cannot_be_learnt_from_is_refused():
    pool = pool_of([[(0, EOS), (1, EOS)]], [TABLE[[0, 1]]])
    with pytest.raises(UserError, match="needs column 'self_certainty'"):
        examples(pool, reward="self_certainty")
    with pytest.raises(UserError, match="needs at least as many samples per prompt, found 2"):
        examples(pool, method="bon-rlb", n=9)
    with pytest.raises(UserError, match="tied on every prompt"):
        examples(pool_of([[(0, EOS), (0, EOS)]], [TABLE[[0, 0]]]))
    with pytest.raises(UserError, match="tied on every prompt"):
        examples(pool.assign(correct=False), method="bon-rlb", reward="correctness")
