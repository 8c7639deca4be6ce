import itertools

import numpy as np
import pandas as pd
import pytest

from sharptheory.measure import rewards
from sharptheory.measure.best_of_n import curve


def enumerate_majority(answers, correct, n):
    """All N-subsets; ties split uniformly; no vote from None."""
    total = []
    for subset in itertools.combinations(range(len(answers)), n):
        votes = [answers[i] for i in subset if answers[i] is not None]
        if not votes:
            total.append(0.0)
            continue
        counts = {a: votes.count(a) for a in votes}
        winners = [a for a, c in counts.items() if c == max(counts.values())]
        total.append(np.mean([correct[answers.index(a)] for a in winners]))
    return np.mean(total)


@pytest.mark.parametrize("seed", range(6))
def test_majority_matches_enumeration_of_subsets(seed):
    rng = np.random.default_rng(seed)
    answers = [[None, "1", "2", "3", "4"][i] for i in rng.integers(5 if seed % 2 else 4, size=8)]
    correct = [a == "1" for a in answers]
    n = np.arange(1, 9)
    exact = [enumerate_majority(answers, correct, k) for k in n]
    np.testing.assert_allclose(
        rewards.majority_accuracy(np.array(answers, dtype=object), np.array(correct), n), exact, atol=1e-12
    )


def test_majority_of_a_large_pool_and_its_limits():
    answers = np.array(["a"] * 30 + ["b"] * 25 + [None] * 9, dtype=object)
    accuracy = rewards.majority_accuracy(answers, answers == "a", np.array([1, 16, 64]))
    assert accuracy[0] == pytest.approx(30 / 64) and accuracy[2] == pytest.approx(1) and 30 / 64 < accuracy[1] < 1
    assert rewards.majority_accuracy(np.array([None, None], dtype=object), np.zeros(2), np.array([1, 2])).tolist() == [
        0,
        0,
    ]
    with pytest.raises(ValueError, match="n=65"):
        rewards.majority_accuracy(answers, answers == "a", np.array([65]))


@pytest.fixture
def pool():
    return pd.DataFrame(
        {
            "prompt_id": [0] * 4 + [1] * 4,
            "sample_id": [0, 1, 2, 3] * 2,
            "log_likelihood": [-1.0, -2, -6, -4, -3, -3, -1, -8],
            "length": [1, 4, 6, 2, 3, 1, 1, 8],
            "answer": ["5", "7", "7", None, "1", "1", "1", "2"],
            "correct": [False, True, True, False, True, True, True, False],
            "self_certainty": [1.0, 3, 2, 0.5, 1, 1, 2, 3],
        }
    )


def test_rewards_by_hand(pool):
    np.testing.assert_allclose(rewards.length_normalized(pool)[:4], [-1, -0.5, -1, -2])
    np.testing.assert_allclose(rewards.answer_share(pool), [0, 1 / 3, 1 / 3, 0, 2 / 3, 2 / 3, 2 / 3, 0])
    assert rewards.available(pool) == [
        "log_likelihood",
        "length_normalized",
        "answer_share",
        "self_certainty",
        "correctness",
    ]
    assert rewards.available(pool.drop(columns=["length", "answer"])) == [
        "log_likelihood",
        "self_certainty",
        "correctness",
    ]


def test_every_reward_ranks_a_curve(pool):
    for name in rewards.available(pool):
        ranked = pool.assign(reward=rewards.REWARDS[name][0](pool))
        accuracy = curve(ranked, "reward", "correct", np.array([1, 4]))
        np.testing.assert_allclose(accuracy[1], [0.5, 0.75])
        if name in ("length_normalized", "answer_share", "self_certainty", "correctness"):
            assert accuracy.loc[0, 4] == pytest.approx(1)
    assert curve(pool, "log_likelihood", "correct", np.array([4])).loc[0, 4] == 0


def test_borda_is_majority_at_0_and_best_of_n_at_infinity(pool):
    first = pool[pool["prompt_id"] == 0]
    assert rewards.borda(first, p=0).tolist() == [1, 2, 2, 0]
    assert rewards.borda(first, p=50).idxmax() == first["self_certainty"].idxmax()
    np.testing.assert_allclose(rewards.borda(first, p=1), [2, 7, 7, 0])


def test_majority_curve_reads_a_pool(pool):
    table = rewards.majority_curve(pool, [1, 3, 4])
    assert table.loc[0, 1] == pytest.approx(0.5) and table.loc[1, 4] == pytest.approx(1) and table.shape == (2, 3)


def test_borda_curve_has_the_vote_of_the_whole_pool_at_its_end():
    """N = M is `borda` itself, p = 0 is majority, and subsets average to the enumerated vote."""
    rng = np.random.default_rng(0)
    answers = rng.choice(["a", "b", "c"], size=7).tolist()
    pool = pd.DataFrame({"prompt_id": 0, "answer": answers, "self_certainty": rng.random(7), "log_likelihood": -1.0})
    pool["correct"] = pool["answer"] == "b"
    winner = pool.loc[rewards.borda(pool).idxmax(), "answer"]
    assert rewards.borda_curve(pool, [7]).iloc[0, 0] == float(winner == "b")
    assert rewards.borda_curve(pool, [1]).iloc[0, 0] == pytest.approx(pool["correct"].mean())
    exact = rewards.majority_accuracy(pool["answer"].to_numpy(dtype=object), pool["correct"].to_numpy(), np.array([4]))[
        0
    ]
    assert rewards.borda_curve(pool, [4], p=0.0, subsets=4_000).iloc[0, 0] == pytest.approx(exact, abs=0.03)
    votes = []
    for subset in itertools.combinations(range(7), 4):
        part = pool.iloc[list(subset)]
        scores = rewards.borda(part).groupby(part["answer"]).first()
        votes.append(np.mean(scores[scores == scores.max()].index == "b"))
    assert rewards.borda_curve(pool, [4], subsets=4_000).iloc[0, 0] == pytest.approx(np.mean(votes), abs=0.03)
