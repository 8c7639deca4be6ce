"""Every way to select an answer from N responses: best-of-N by each reward, the majority vote, the Borda vote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from sharptheory.errors import UserError, expect_integers
from sharptheory.measure.best_of_n import checked_n, curve
from sharptheory.measure.pool import Pool, as_pool
from sharptheory.measure.responses import has_likelihoods, unidentified
from sharptheory.measure.rewards import Reward, available, reward_values
from sharptheory.measure.self_consistency import answer_mass_curve
from sharptheory.theory.majority import log_choose, plurality

#: The majority vote is exact, but takes time that grows with the square of N: every N up to this, and the whole pool.
MAJORITY_LIMIT = 64
#: Rewards that have seen the whole pool, however small N is: votes within N samples stand for them.
SEEN_ALL = ("answer_share", "answer_mass", "answer_seen_mass")


def accuracy_curves(
    pool: Pool | pd.DataFrame, n: np.ndarray, *, further: Sequence[Reward] = (), seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Expected accuracy of best-of-N by every reward that a graded pool supports, and of the votes over answers.

    Args:
        pool: graded throughout. n: values of N. further: rewards beside the registered ones.

    Returns:
        By name, one row per prompt_id and one column per N; the majority vote has fewer N if they are large.
    """
    pool = as_pool(pool)
    n = checked_n(n, int(pool.sizes.min()))
    by = [reward for reward in available(pool) if reward.name not in SEEN_ALL] + list(further)
    curves = {reward.name: curve(pool, reward, "correct", n) for reward in by}
    if "answer" in pool and pool["answer"].notna().any():
        curves["majority"] = majority_curve(pool, n[(n <= MAJORITY_LIMIT) | (n == n[-1])])
        if has_likelihoods(pool) and unidentified(pool) is None:
            curves["vote by answer mass"] = answer_mass_curve(pool, n, seed=seed)
        if "self_certainty" in curves:
            curves["Borda vote by self-certainty"] = borda_curve(pool, n, seed=seed)
    return curves


def majority_accuracy(answers: np.ndarray, correct: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Expected accuracy of the plurality of N responses sampled without replacement from one prompt's pool, exactly.

    Ties are split uniformly. Responses without an answer (None) have no vote; if none of the N has one, the vote is
    wrong. Averages over all N-subsets by the multivariate hypergeometric law, without enumerating them.

    Args:
        answers: ``[M]``, None where there is no answer; correct: ``[M]``; n: values of N in 1..M, ``[K]``.

    Returns:
        ``[K]``.

    Raises:
        UserError: lengths differ, or an N is out of range.
    """
    if len(answers) != len(correct):
        raise UserError(f"{len(answers)} answers and {len(correct)} values of correct; expected as many of both, [M]")
    m = len(answers)
    n = checked_n(n, m)
    voting = np.array([answer is not None and answer == answer for answer in answers], dtype=bool)
    codes, classes = pd.factorize(np.asarray(answers, dtype=object)[voting])
    if len(classes) == 0:
        return np.zeros(len(n))
    sizes = np.bincount(codes)
    right = np.bincount(codes, np.asarray(correct, dtype=float)[voting]) / sizes
    silent = m - sizes.sum()
    values = np.empty(len(n))
    for i, votes in enumerate(n):
        if votes == m:  # the whole pool votes
            values[i] = right[sizes == sizes.max()].mean()
            continue
        counts = np.arange(votes + 1)
        log_weights = np.stack([log_choose(size, counts) for size in sizes])
        values[i] = right @ plurality(log_weights, int(votes), abstain=log_choose(silent, counts))
    return values


def majority_curve(pool: Pool | pd.DataFrame, n: np.ndarray) -> pd.DataFrame:
    """`majority_accuracy` of every prompt.

    Args:
        pool: with `answer` and `correct`. n: values of N, integers from 1 to the smallest number of samples, ``[K]``.

    Returns:
        One row per prompt_id, one column per N.

    Raises:
        UserError: a column is missing, or an N is out of range.
    """
    pool = as_pool(pool)
    n = checked_n(n, int(pool.sizes.min()))
    answers, correct = _answers(pool), pool.numbers("correct")
    rows = {
        prompt_id: majority_accuracy(answers[index], correct[index], n)
        for prompt_id, index in pool.samples.groupby("prompt_id").indices.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=n)


def _answers(pool: Pool) -> np.ndarray:
    """Answers of the samples, None where there is none."""
    answers = pool["answer"].astype(object)
    return answers.where(answers.notna(), None).to_numpy()


def borda(pool: Pool | pd.DataFrame, reward: str | Reward = "self_certainty", *, p: float = 0.5) -> pd.Series:
    """Votes of each response's answer class, ranks by a reward: ``Σ (N - rank)^p``, rank from 0, equal rewards sharing
    their mean rank.

    ``p = 0`` is majority; ``p → ∞`` is best-of-N by the reward. Responses without an answer get 0.

    Args:
        reward: to rank by; p: exponent, ≥ 0.

    Returns:
        One value per sample, in the order of `Pool.samples`.

    Raises:
        UserError: no answers, no such reward, or an exponent that cannot be.

    Source: Kang et al., *Scalable Best-of-N Selection via Self-Certainty*, arXiv 2502.18581.
    """
    pool, p = as_pool(pool), _exponent(p)
    prompt, answer = pool["prompt_id"], pool["answer"]
    values = pd.Series(reward_values(pool, reward), index=prompt.index)
    rank = values.groupby(prompt).rank(ascending=False, method="average") - 1
    size = prompt.groupby(prompt).transform("size")
    votes = ((size - rank) ** p).where(answer.notna(), 0.0)
    return votes.groupby([prompt, answer], dropna=False).transform("sum")


def _exponent(p: float) -> float:
    if not 0 <= p < np.inf:
        raise UserError(f"p={p}; expected a finite exponent from 0")
    return p


def borda_curve(
    pool: Pool | pd.DataFrame,
    n: np.ndarray,
    *,
    reward: str | Reward = "self_certainty",
    p: float = 0.5,
    subsets: int = 64,
    seed: int = 0,
) -> pd.DataFrame:
    """Expected accuracy of the answer with the most Borda votes (`borda`) among N responses, ties split uniformly.

    Unlike the other curves it is estimated, over random subsets of the pool: votes depend on ranks inside each subset.
    N = 1 and N = M are exact.

    Args:
        n: values of N, integers from 1 to the smallest number of samples, ``[K]``. reward, p: as in `borda`.
        subsets: random subsets of each prompt's pool for each N.

    Returns:
        One row per prompt_id, one column per N.

    Raises:
        UserError: no answers or correctness, no such reward, an exponent or number of subsets that cannot be, or an N out
            of range.
    """
    pool, rng = as_pool(pool), np.random.default_rng(seed)
    n, p = checked_n(n, int(pool.sizes.min())), _exponent(p)
    expect_integers(1, subsets=subsets)
    scores, answers, correct = reward_values(pool, reward), pool["answer"], pool.numbers("correct")
    rows = {}
    for prompt_id, index in pool.samples.groupby("prompt_id").indices.items():
        codes, classes = pd.factorize(answers.iloc[index])
        voting, m = codes >= 0, len(index)
        right = np.bincount(codes[voting], correct[index][voting], minlength=len(classes))
        right = right / np.maximum(np.bincount(codes[voting], minlength=len(classes)), 1)
        rows[prompt_id] = [
            float(np.mean(correct[index] * voting)) if k == 1
            else _borda_accuracy(scores[index], codes, right, int(k), 1 if k == m else subsets, p, rng)
            for k in n
        ]  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index", columns=n)


def _borda_accuracy(score, codes, right, n: int, subsets: int, p: float, rng: np.random.Generator) -> float:
    if len(right) == 0:
        return 0.0
    chosen = rng.permuted(np.tile(np.arange(len(score)), (subsets, 1)), axis=1)[:, :n]
    height = n + 1 - stats.rankdata(-score[chosen], axis=1)  # N - rank, rank from 0
    voting = codes[chosen] >= 0
    # Relative to the highest that votes: any exponent is possible.
    height = np.where(voting, height, 0.0) / np.maximum(np.where(voting, height, 0.0).max(axis=1, keepdims=True), 1)
    votes = np.zeros((subsets, len(right)))
    np.add.at(votes, (np.nonzero(voting)[0], codes[chosen][voting]), height[voting] ** p)
    # Equal sums of roots differ in their last digits: √18 = √8 + √2.
    best = (votes >= votes.max(axis=1, keepdims=True) * (1 - 1e-9)) & (votes > 0)
    return float(np.mean((best * right).sum(axis=1) / np.maximum(best.sum(axis=1), 1)))
