"""Self-rewards as functions of a pool: one value per row, larger is better, same signature.

Every one is a column that `estimators.curve` can rank by. Majority vote is not best-of-N by `answer_share`, which knows
the whole pool: it has its own exact curve, `majority_curve`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sharptheory.errors import UserError
from sharptheory.measure.best_of_n import curve
from sharptheory.theory.majority import log_choose, plurality

#: The majority vote is exact, but takes time that grows with the square of N: every N up to this, and the whole pool.
MAJORITY_LIMIT = 64


def log_likelihood(pool: pd.DataFrame) -> pd.Series:
    """``log π(y|x)``, the self-reward of maximum-likelihood sharpening (2)."""
    return pool["log_likelihood"].astype(float)


def length_normalized(pool: pd.DataFrame) -> pd.Series:
    """``log π(y|x) / |y|``."""
    return pool["log_likelihood"].astype(float) / pool["length"].clip(lower=1)


def answer_share(pool: pd.DataFrame) -> pd.Series:
    """Fraction of the prompt's other responses with the same answer; a response without an answer gets 0.

    Leaving the response itself out keeps the share from rewarding small pools.
    """
    key = [pool["prompt_id"], pool["answer"].astype(object)]
    same = pool.groupby(key, dropna=False)["log_likelihood"].transform("size") - 1
    others = pool.groupby("prompt_id")["log_likelihood"].transform("size") - 1
    return (same / others.clip(lower=1)).where(pool["answer"].notna(), 0.0).astype(float)


def self_certainty(pool: pd.DataFrame) -> pd.Series:
    """Mean over tokens of ``KL(uniform ‖ p_t)``, measured while sampling (`diagnose --rewards self_certainty`)."""
    return pool["self_certainty"].astype(float)


def negative_entropy(pool: pd.DataFrame) -> pd.Series:
    """Minus the mean token entropy, measured while sampling (`diagnose --rewards negative_entropy`)."""
    return pool["negative_entropy"].astype(float)


def p_true(pool: pd.DataFrame) -> pd.Series:
    """The model's own probability that the response is right, asked for after sampling (`diagnose --rewards p_true`)."""
    return pool["p_true"].astype(float)


def correctness(pool: pd.DataFrame) -> pd.Series:
    """The skyline: best-of-N by correctness is pass@N."""
    return pool["correct"].astype(float)


#: Each reward with the columns it needs.
REWARDS = {
    "log_likelihood": (log_likelihood, ()),
    "length_normalized": (length_normalized, ("length",)),
    "answer_share": (answer_share, ("answer",)),
    "self_certainty": (self_certainty, ("self_certainty",)),
    "negative_entropy": (negative_entropy, ("negative_entropy",)),
    "p_true": (p_true, ("p_true",)),
    "correctness": (correctness, ("correct",)),
}


def available(pool: pd.DataFrame) -> list[str]:
    """Names of the rewards whose columns a pool has, without gaps."""
    complete = lambda column: column in pool and (column == "answer" or pool[column].notna().all())  # noqa: E731
    return [name for name, (_, needs) in REWARDS.items() if all(map(complete, needs))]


def selecting(pool: pd.DataFrame) -> list[str]:
    """Those that a best-of-N could select by at inference: neither the skyline nor the share in the whole pool."""
    return [name for name in available(pool) if name not in ("correctness", "answer_share")]


def accuracy_curves(pool: pd.DataFrame, n: np.ndarray, *, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Expected accuracy of best-of-N by every reward that a graded pool supports, and of the votes over answers.

    Returns:
        By name, one row per prompt_id and one column per N; the majority vote has fewer N if they are large.
    """
    n = np.asarray(n)
    curves = {
        name: curve(pool.assign(reward=REWARDS[name][0](pool)), "reward", "correct", n)
        for name in available(pool)
        if name != "answer_share"  # it has seen the whole pool, however small N is
    }
    if "answer" in pool and pool["answer"].notna().any():
        curves["majority"] = majority_curve(pool, n[(n <= MAJORITY_LIMIT) | (n == n[-1])])
        if "self_certainty" in curves:
            curves["Borda vote by self-certainty"] = borda_curve(pool, n, seed=seed)
    return curves


def borda(pool: pd.DataFrame, reward: str = "self_certainty", *, p: float = 0.5) -> pd.Series:
    """Votes of each response's answer class, ranks by a reward: ``Σ (N - rank)^p``, rank from 0.

    ``p = 0`` is majority; ``p → ∞`` is best-of-N by the reward. Responses without an answer get 0.

    Source: self-certainty's Borda vote, in methods of the specification.
    """
    values = REWARDS[reward][0](pool)
    rank = values.groupby(pool["prompt_id"]).rank(ascending=False, method="average") - 1
    size = pool.groupby("prompt_id")["log_likelihood"].transform("size")
    votes = ((size - rank) ** p).where(pool["answer"].notna(), 0.0)
    return votes.groupby([pool["prompt_id"], pool["answer"].astype(object)], dropna=False).transform("sum")


def majority_accuracy(answers: np.ndarray, correct: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Expected accuracy of the plurality of N responses drawn without replacement from one prompt's pool, exactly.

    Ties are split uniformly. Responses without an answer (None) have no vote; if no drawn response has one, the vote is
    wrong. Averages over all N-subsets by the multivariate hypergeometric law, without enumerating them.

    Args:
        answers: ``[M]``, None where there is no answer; correct: ``[M]``; n: values of N in 1..M, ``[K]``.

    Returns:
        ``[K]``.
    """
    n = np.atleast_1d(n)
    m = len(answers)
    if np.any((n < 1) | (n > m)):
        raise UserError(f"n={n[(n < 1) | (n > m)][0]}; expected an integer from 1 to the pool size {m}")
    voting = np.array([answer is not None and answer == answer for answer in answers], dtype=bool)
    codes, classes = pd.factorize(np.asarray(answers, dtype=object)[voting])
    if len(classes) == 0:
        return np.zeros(len(n))
    sizes = np.bincount(codes)
    right = np.bincount(codes, np.asarray(correct, dtype=float)[voting]) / sizes
    silent = m - sizes.sum()
    values = np.empty(len(n))
    for i, drawn in enumerate(n.astype(int)):
        if drawn == m:  # the whole pool votes
            values[i] = right[sizes == sizes.max()].mean()
            continue
        counts = np.arange(drawn + 1)
        votes = np.stack([log_choose(size, counts) for size in sizes])
        values[i] = right @ plurality(votes, int(drawn), abstain=log_choose(silent, counts))
    return values


def majority_curve(pool: pd.DataFrame, n: np.ndarray) -> pd.DataFrame:
    """`majority_accuracy` of every prompt: one row per prompt_id, one column per N."""
    rows = {
        prompt_id: majority_accuracy(group["answer"].astype(object).where(group["answer"].notna(), None).to_numpy(),
                                     group["correct"].to_numpy(dtype=float), np.asarray(n))
        for prompt_id, group in pool.groupby("prompt_id")
    }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(n))


def borda_curve(
    pool: pd.DataFrame,
    n: np.ndarray,
    *,
    reward: str = "self_certainty",
    p: float = 0.5,
    subsets: int = 64,
    seed: int = 0,
) -> pd.DataFrame:
    """Expected accuracy of the answer with the most Borda votes among N responses, over random subsets of the pool.

    Unlike the other curves it is estimated, not exact: votes depend on ranks inside each subset. N = 1 and N = M need
    one subset each.

    Returns:
        One row per prompt_id, one column per N.
    """
    rng, values = np.random.default_rng(seed), REWARDS[reward][0](pool)
    rows = {}
    for prompt_id, group in pool.assign(score=values).groupby("prompt_id"):
        codes, classes = pd.factorize(group["answer"])
        right = np.bincount(
            codes[codes >= 0], group["correct"].to_numpy(dtype=float)[codes >= 0], minlength=len(classes)
        )
        right = right / np.maximum(np.bincount(codes[codes >= 0], minlength=len(classes)), 1)
        score, m = group["score"].to_numpy(), len(group)
        rows[prompt_id] = [
            float(np.mean(group["correct"].to_numpy(dtype=float) * (codes >= 0))) if k == 1
            else _borda_accuracy(score, codes, right, int(k), 1 if k == m else subsets, p, rng)
            for k in n
        ]  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(n))


def _borda_accuracy(score, codes, right, n: int, subsets: int, p: float, rng: np.random.Generator) -> float:
    if len(right) == 0:
        return 0.0
    drawn = rng.permuted(np.tile(np.arange(len(score)), (subsets, 1)), axis=1)[:, :n]
    rank = np.argsort(np.argsort(-score[drawn], axis=1, kind="stable"), axis=1)
    votes = np.zeros((subsets, len(right) + 1))  # the last column collects those without an answer
    np.add.at(votes, (np.arange(subsets)[:, None], codes[drawn]), (n - rank) ** p)
    votes = votes[:, :-1]
    best = (votes == votes.max(axis=1, keepdims=True)) & (votes > 0)
    return float(np.mean((best * right).sum(axis=1) / np.maximum(best.sum(axis=1), 1)))
