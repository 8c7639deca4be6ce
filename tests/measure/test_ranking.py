"""Ranks, levels and counts against what they are defined by, on prompts of any size."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sharptheory.measure.best_of_n import best_of_n_weights, curve, ranked_curves
from sharptheory.measure.pool import Pool
from sharptheory.measure.ranking import counts_below, rank, ranking

prompts = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=7), min_size=1, max_size=5)


def ragged(groups: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(groups).astype(float), np.append(0, np.cumsum([len(group) for group in groups]))


@given(prompts)
def test_every_prompt_is_sorted_stably_and_ranked_by_itself(groups):
    values, starts = ragged(groups)
    ranks = rank(values, starts)
    for group, first in zip(groups, starts):
        rows = slice(first, first + len(group))
        np.testing.assert_array_equal(ranks.order[rows] - first, np.argsort(group, kind="stable"))
        for method in ("average", "max"):
            np.testing.assert_array_equal(ranks.ranks(method=method)[rows], stats.rankdata(group, method=method))
    np.testing.assert_array_equal(np.diff(ranks.level_starts), [len(set(group)) for group in groups])


@given(prompts, st.randoms(use_true_random=False))
def test_curves_of_ragged_prompts_are_weighted_level_means(groups, random):
    rewards, starts = ragged(groups)
    values = np.array([random.random() for _ in rewards])
    found = ranked_curves(rank(rewards, starts), values, np.array([1]))
    np.testing.assert_allclose(found[:, 0], np.add.reduceat(values, starts[:-1]) / np.diff(starts))
    n = np.arange(1, min(map(len, groups)) + 1)
    for x, (group, first) in enumerate(zip(groups, starts)):
        reward, value = np.array(group), values[first : first + len(group)]
        means = np.array([value[reward == each].mean() for each in np.sort(reward)])
        expected = best_of_n_weights(len(group), n) @ means
        np.testing.assert_allclose(ranked_curves(rank(rewards, starts), values, n)[x], expected, atol=1e-12)


def test_curves_of_a_large_pool_need_no_matrix():
    """Blocks of ranks: the same as the weights of all ranks at once, to rounding."""
    rng = np.random.default_rng(0)
    m, n = 40_000, np.array([1, 2, 3, 64, 1_000, 39_999, 40_000])
    rewards, values = rng.normal(size=(2, m)), rng.random((2, m))
    ordered = np.take_along_axis(values, np.argsort(rewards, axis=1), axis=1)
    found = ranked_curves(rank(rewards.ravel(), np.array([0, m, 2 * m])), values.ravel(), n)
    np.testing.assert_allclose(found, ordered @ best_of_n_weights(m, n).T, rtol=1e-11)


@given(st.lists(st.integers(0, 9), max_size=12), st.data())
def test_counts_below_counts(values, data):
    queries = data.draw(st.lists(st.tuples(*3 * [st.integers(0, len(values))]), min_size=1, max_size=5))
    left, right, limit = np.array([(min(a, b), max(a, b), c) for a, b, c in queries]).T
    expected = [sum(v < c for v in values[a:b]) for a, b, c in zip(left, right, limit)]
    assert counts_below(np.array(values, dtype=int), left, right, limit).tolist() == expected


def test_a_pool_is_sorted_once_by_a_reward():
    pool = Pool.from_frame(
        pd.DataFrame({"prompt_id": [0, 0, 1], "log_likelihood": [-1.0, -2, -3], "correct": [1, 0, 1]})
    )
    first = ranking(pool, "log_likelihood")
    curve(pool, "log_likelihood", "correct", [1])
    assert ranking(pool, "log_likelihood") is first and list(pool.rankings) == ["log_likelihood"]
