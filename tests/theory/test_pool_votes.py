"""The plurality vote without replacement, many pools and N at once, against one pool and one N at a time."""

from math import comb

import numpy as np
import pytest

from sharptheory.theory.majority import log_choose, plurality
from sharptheory.theory.pool_votes import win_probabilities


def chances(sizes: list[int], silent: int, n: list[int]) -> np.ndarray:
    """Of every class of one pool, ``[C, K]``."""
    rows = []
    for focal in range(len(sizes)):
        others, classes = np.unique(np.delete(sizes, focal), return_counts=True)
        others, classes = (np.append(each[::-1], 0)[None].astype(int) for each in (others, classes))
        total = np.array([sum(sizes) + silent])
        rows.append(win_probabilities(others, classes, np.array([sizes[focal]]), total, np.array(n))[0])
    return np.array(rows)


@pytest.mark.parametrize("seed", range(12))
def test_chances_are_those_of_the_plurality(seed):
    """Twelve digits, at every N: near 1, near the pool's size, with silence, with classes of one size."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, [3, 12, 60][seed % 3], size=rng.integers(1, 8)).tolist()
    silent, total = int(rng.integers(0, 6)), sum(sizes)
    n = np.unique(rng.integers(1, max(total + silent, 2), size=6)).clip(max=max(1, total + silent - 1))
    if total + silent == 1:
        return
    found = chances(sizes, silent, n)
    for i, votes in enumerate(n):
        counts = np.arange(votes + 1)
        exact = plurality(np.stack([log_choose(size, counts) for size in sizes]), int(votes),
                          abstain=log_choose(silent, counts))  # fmt: skip
        np.testing.assert_allclose(found[:, i], exact, atol=1e-12)


def test_somebody_wins_unless_nobody_votes():
    sizes, silent, n = [400, 300, 200, 5, 5, 1], 89, [1, 2, 20, 64, 65, 500, 999]
    nobody = [comb(silent, k) / comb(1_000, k) for k in n]
    np.testing.assert_allclose(chances(sizes, silent, n).sum(axis=0), 1 - np.array(nobody), atol=1e-12)


def test_equal_classes_win_equally_and_a_pool_of_a_million_is_near_independent_votes():
    np.testing.assert_allclose(chances([7] * 9, 0, [1, 5, 30, 62]), 1 / 9, rtol=1e-12)
    found = chances([600_000, 400_000], 0, [3, 51])
    independent = [sum(comb(k, i) * 0.6**i * 0.4 ** (k - i) for i in range(k // 2 + 1, k + 1)) for k in (3, 51)]
    np.testing.assert_allclose(found[0], independent, atol=1e-4)


def test_a_hundred_thousand_answers_are_few_sizes():
    """50,000 answers with one response, 25,000 with two and one with 100: by counts of sizes, not of classes."""
    chance = win_probabilities(np.array([[2, 1]]), np.array([[25_000, 50_000]]), np.array([100]), np.array([100_100]),
                               np.array([1, 64]))  # fmt: skip
    assert chance[0, 0] == pytest.approx(100 / 100_100, rel=1e-12) and 100 / 100_100 < chance[0, 1] < 0.064
