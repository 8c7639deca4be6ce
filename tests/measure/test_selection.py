"""Ways to select an answer, against enumeration of all subsets."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharptheory.errors import UserError
from sharptheory.measure.answers import answer_policy
from sharptheory.measure.rewards import answer_share
from sharptheory.measure.selection import borda, borda_curve, majority_accuracy, majority_curve
from sharptheory.measure.self_consistency import answer_mass_curve


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
        majority_accuracy(np.array(answers, dtype=object), np.array(correct), n), exact, atol=1e-12
    )


def test_a_prompt_without_a_grade_has_no_accuracy():
    pool = pd.DataFrame({"prompt_id": [0, 0, 0, 1, 1, 1], "answer": ["a", "a", "b"] * 2, "log_likelihood": -1.0,
                         "correct": pd.array([True, True, False, None, None, None], dtype="boolean")})  # fmt: skip
    table = majority_curve(pool, [1, 2, 3])
    assert table.loc[0].tolist() == pytest.approx([2 / 3, 2 / 3, 1]) and table.loc[1].isna().all()
    assert majority_curve(pool.assign(finished=False), [1, 3]).loc[1].isna().all(), "nor where nothing votes"


def test_majority_of_a_large_pool_and_its_limits():
    answers = np.array(["a"] * 30 + ["b"] * 25 + [None] * 9, dtype=object)
    accuracy = majority_accuracy(answers, answers == "a", np.array([1, 16, 64]))
    assert accuracy[0] == pytest.approx(30 / 64) and accuracy[2] == pytest.approx(1) and 30 / 64 < accuracy[1] < 1
    assert majority_accuracy(np.array([None, None], dtype=object), np.zeros(2), np.array([1, 2])).tolist() == [
        0,
        0,
    ]
    with pytest.raises(UserError, match="n=65"):
        majority_accuracy(answers, answers == "a", np.array([65]))


@given(st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=7), min_size=1, max_size=4), st.integers(0, 4))
def test_the_votes_of_many_prompts_are_those_of_each(prompts, gold):
    """Ragged prompts, equal problems, silence (0) and answers that are sometimes right."""
    rows = [(x, str(a) if a else None, a == gold or (a == 2 and j % 2 == 0)) for x, answers in enumerate(prompts)
            for j, a in enumerate(answers)]  # fmt: skip
    pool = pd.DataFrame(rows, columns=["prompt_id", "answer", "correct"]).assign(log_likelihood=-1.0)
    n = np.arange(1, min(map(len, prompts)) + 1)
    table = majority_curve(pool, n)
    for x, rows in pool.groupby("prompt_id"):
        share = rows["correct"].groupby(rows["answer"]).mean()
        answers = [None if a != a else a for a in rows["answer"]]
        right = [0.0 if a is None else share[a] for a in answers]
        np.testing.assert_allclose(table.loc[x], [enumerate_majority(answers, right, k) for k in n], atol=1e-12)


def test_a_vote_beyond_the_budget_is_sampled_and_says_so():
    rng = np.random.default_rng(0)
    answers = rng.integers(0, 4, size=(30, 200))
    pool = pd.DataFrame({"prompt_id": np.repeat(np.arange(30), 200), "answer": answers.ravel().astype(str),
                         "correct": answers.ravel() == 1, "log_likelihood": -1.0})  # fmt: skip
    n = [64, 100, 128, 200]
    exact, sampled, other = (majority_curve(pool, n, budget=b, seed=s) for b, s in ((np.inf, 0), (0, 0), (0, 1)))
    assert exact.attrs["sampled"] == {} and list(sampled.attrs["sampled"]) == [100, 128]
    np.testing.assert_array_equal(exact[[64, 200]], sampled[[64, 200]])
    for k, error in sampled.attrs["sampled"].items():
        assert 0 < error < 0.01 and abs(sampled[k].mean() - exact[k].mean()) < 4 * error
        assert not sampled[k].equals(other[k])


def test_borda_is_majority_at_0_and_best_of_n_at_infinity(pool):
    first = pool[pool["prompt_id"] == 0]
    assert borda(first, p=0).tolist() == [1, 2, 2, 0]
    assert borda(first, p=50).idxmax() == first["self_certainty"].idxmax()
    np.testing.assert_allclose(borda(first, p=1), [2, 7, 7, 0])


def test_majority_curve_reads_a_pool(pool):
    table = majority_curve(pool, [1, 3, 4])
    assert table.loc[0, 1] == pytest.approx(0.5) and table.loc[1, 4] == pytest.approx(1) and table.shape == (2, 3)


def test_borda_curve_has_the_vote_of_the_whole_pool_at_its_end():
    """N = M is `borda` itself, p = 0 is majority, and subsets average to the enumerated vote."""
    rng = np.random.default_rng(0)
    answers = rng.choice(["a", "b", "c"], size=7).tolist()
    pool = pd.DataFrame({"prompt_id": 0, "answer": answers, "self_certainty": rng.random(7), "log_likelihood": -1.0})
    pool["correct"] = pool["answer"] == "b"
    winner = pool.loc[borda(pool).idxmax(), "answer"]
    assert borda_curve(pool, [7]).iloc[0, 0] == float(winner == "b")
    assert borda_curve(pool, [1]).iloc[0, 0] == pytest.approx(pool["correct"].mean())
    exact = majority_accuracy(pool["answer"].to_numpy(dtype=object), pool["correct"].to_numpy(), np.array([4]))[0]
    assert borda_curve(pool, [4], p=0.0, subsets=4_000).iloc[0, 0] == pytest.approx(exact, abs=0.03)
    votes = []
    for subset in itertools.combinations(range(7), 4):
        part = pool.iloc[list(subset)]
        scores = borda(part).groupby(part["answer"].to_numpy()).first()
        votes.append(np.mean(scores[scores == scores.max()].index == "b"))
    assert borda_curve(pool, [4], subsets=4_000).iloc[0, 0] == pytest.approx(np.mean(votes), abs=0.03)


def test_equal_self_certainty_is_no_preference():
    """Two answers with equal rewards: one half, by no seed's luck."""
    pool = pd.DataFrame({"prompt_id": 0, "answer": ["a", "b"], "self_certainty": 1.0, "log_likelihood": -1.0,
                         "correct": [True, False]})  # fmt: skip
    for seed in range(5):
        assert borda_curve(pool, [1, 2], seed=seed).values.tolist() == [[0.5, 0.5]]


def test_equal_votes_are_equal_whatever_their_last_digit():
    """Ranks from 0 in 18: √18 against √8 + √2, which differ by rounding."""
    answers = ["a", "c", "d", "e", "f", "g", "h", "i", "j", "k", "b", "l", "m", "n", "o", "p", "b", "q"]
    pool = pd.DataFrame({"prompt_id": 0, "answer": answers, "log_likelihood": -1.0, "correct": np.array(answers) == "a",
                         "self_certainty": -np.arange(18.0)})  # fmt: skip
    votes = borda(pool).groupby(pool["answer"]).first()
    assert votes["a"] == pytest.approx(votes["b"], rel=1e-12) and votes["a"] != votes["b"]
    silent = pool.assign(answer=[each if each in "ab" else None for each in answers])
    assert borda_curve(silent, [18]).iloc[0, 0] == 0.5


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 50.0])
def test_borda_curve_at_the_pool_size_is_the_winner_of_borda(p):
    rng = np.random.default_rng(int(p))
    for _ in range(20):
        m = int(rng.integers(1, 9))
        pool = pd.DataFrame({"prompt_id": 0, "answer": rng.choice(["a", "b", None], size=m), "log_likelihood": -1.0,
                             "self_certainty": rng.integers(0, 3, m).astype(float)})  # fmt: skip
        pool["correct"] = pool["answer"] == "b"
        scores = borda(pool, p=p).groupby(pool["answer"]).first()
        winners = scores[np.isclose(scores, scores.max(), rtol=1e-9)].index if len(scores) else []
        expected = np.mean(winners == "b") if len(winners) else 0.0
        assert borda_curve(pool, [m], p=p).iloc[0, 0] == pytest.approx(expected)


def test_any_exponent_is_possible():
    """At 400 the sums of powers overflow, and the vote is best-of-N by the reward."""
    rng = np.random.default_rng(0)
    pool = pd.DataFrame({"prompt_id": 0, "answer": rng.choice(["a", "b", None], size=12), "log_likelihood": -1.0,
                         "self_certainty": np.arange(12.0)})  # fmt: skip
    pool["correct"] = pool["answer"] == "b"
    answered = pool[pool["answer"].notna()]
    assert borda_curve(pool, [12], p=400.0).iloc[0, 0] == float(answered["answer"].iloc[-1] == "b")


def test_a_vote_without_answers_is_wrong():
    pool = pd.DataFrame(
        {"prompt_id": 0, "answer": [None] * 3, "self_certainty": 1.0, "log_likelihood": -1.0, "correct": True}
    )
    assert (
        borda_curve(pool, [1, 2, 3]).values.tolist() == [[0.0] * 3] == majority_curve(pool, [1, 2, 3]).values.tolist()
    )


@pytest.mark.parametrize("p", [-0.5, np.inf, np.nan])
def test_the_exponent_of_a_borda_vote_is_finite(pool, p):
    for vote in (lambda: borda(pool, p=p), lambda: borda_curve(pool, [2], p=p)):
        with pytest.raises(UserError, match=f"p={p}; expected a finite exponent from 0"):
            vote()
    with pytest.raises(UserError, match="subsets=0; expected an integer ≥ 1"):
        borda_curve(pool, [2], subsets=0)


def test_answers_and_correctness_are_of_one_length():
    with pytest.raises(UserError, match="2 answers and 1 values of correct"):
        majority_accuracy(["a", "b"], [1], [1])


@pytest.mark.parametrize("n", [2, 3])
def test_borda_curve_of_prompts_of_several_sizes_is_that_of_all_subsets(n):
    """Blocks of one random order are random subsets, whatever the sizes, ties in reward, and samples without an answer."""
    rng = np.random.default_rng(n)
    prompt = np.repeat([0, 1, 2], [4, 7, 8])
    answer = rng.choice(["a", "b", "c", None], len(prompt))
    pool = pd.DataFrame({"prompt_id": prompt, "answer": answer, "correct": answer == "a",
                         "self_certainty": rng.integers(4, size=len(prompt)).astype(float)})  # fmt: skip
    found = borda_curve(pool, [n], subsets=6_000)[n]
    for prompt_id, samples in pool.groupby("prompt_id"):
        accuracy = []
        for subset in itertools.combinations(samples.index, n):
            part = pool.loc[list(subset)]
            votes = borda(part).groupby(part["answer"].to_numpy()).first()
            best = votes.index[votes >= votes.max() - 1e-9] if len(votes) else votes.index
            accuracy.append("a" in best and 1 / len(best))
        assert found[prompt_id] == pytest.approx(np.mean(accuracy), abs=0.03)


def test_a_cut_response_has_no_vote():
    """Not by majority, by rank, by share or by mass, even if its answer is right."""
    pool = pd.DataFrame({"prompt_id": 0, "answer": [4, 4, 4, 5, 5, 6], "correct": [True] * 3 + [False] * 3,
                         "finished": [True, False, False, True, True, True], "self_certainty": 1.0,
                         "response": ["4", "4.", "4?", "5", "5", "6"], "log_likelihood": np.log([0.15] * 6)})  # fmt: skip
    [majority] = majority_curve(pool, [1, 6]).to_numpy()
    assert majority.tolist() == pytest.approx([1 / 6, 0.0])
    assert borda_curve(pool, [1, 6]).to_numpy()[0].tolist() == pytest.approx([1 / 6, 0.0])
    assert answer_mass_curve(pool, [1]).to_numpy()[0, 0] == pytest.approx(1 / 6)
    assert borda(pool, p=0.0).tolist() == [1, 0, 0, 2, 2, 1]
    assert answer_share(pool).tolist() == pytest.approx([0, 0, 0, 0.2, 0.2, 0])
    assert answer_policy(pool).frame()["share"].to_dict() == pytest.approx(
        {(0, "4"): 1 / 6, (0, "5"): 1 / 3, (0, "6"): 1 / 6}
    )
