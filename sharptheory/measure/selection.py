"""Every way to select an answer from N responses: best-of-N by each reward, the majority vote, the Borda vote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sharptheory.errors import UserError, expect_integers
from sharptheory.measure.answers import prompt_answers, voted_answers
from sharptheory.measure.best_of_n import checked_n, curve
from sharptheory.measure.hashing import mixed_bits
from sharptheory.measure.pool import Pool, as_pool
from sharptheory.measure.ranking import Ranking, ranking
from sharptheory.measure.responses import has_masses
from sharptheory.measure.rewards import Reward, available
from sharptheory.measure.self_consistency import SHUFFLED, answer_mass_curve, random_places
from sharptheory.theory.pool_votes import win_probabilities

#: Up to this N the majority vote is exact whatever it costs. It is exact for N beyond that cost at most this many
#: operations, about ``64 N`` for each distinct number of votes of a prompt, and for the whole pool; others are sampled.
MAJORITY_LIMIT, BUDGET = 64, 3e8
#: Votes counted for the estimate at one N where it is sampled, over all prompts and answers.
SAMPLED_VOTES = 1e7
#: Rewards that have seen the whole pool, however small N is: votes within N samples stand for them.
SEEN_ALL = ("answer_share", "answer_mass", "answer_seen_mass")


def accuracy_curves(
    pool: Pool | pd.DataFrame, n: np.ndarray, *, further: Sequence[Reward] = (), seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Expected accuracy of best-of-N by every reward that a graded pool supports, and of the votes over answers.

    Args:
        pool: graded throughout. n: values of N. further: rewards beside the registered ones.

    Returns:
        By name, one row per prompt_id and one column per N.
    """
    pool = as_pool(pool)
    n = checked_n(n, int(pool.sizes.min()))
    by = [reward for reward in available(pool) if reward.name not in SEEN_ALL] + list(further)
    curves = {reward.name: curve(pool, reward, "correct", n) for reward in by}
    if "answer" in pool and pool["answer"].notna().any():
        curves["majority"] = majority_curve(pool, n, seed=seed)
        if has_masses(pool):
            curves["answer-mass vote"] = answer_mass_curve(pool, n, seed=seed)
        if "self_certainty" in curves:
            curves["Borda vote by self-certainty"] = borda_curve(pool, n, seed=seed)
    return curves


def majority_accuracy(answers: np.ndarray, correct: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Expected accuracy of the plurality of N responses sampled without replacement from one prompt's pool, exactly.

    Ties are split uniformly. Responses without an answer (None) have no vote, and a response that was cut is to be passed
    as one; if none of the N has a vote, the majority is wrong. Averages over all N-subsets by the multivariate
    hypergeometric law, without enumerating them.

    Args:
        answers: ``[M]``, None where there is no answer; correct: ``[M]``; n: values of N in 1..M, ``[K]``.

    Returns:
        ``[K]``.

    Raises:
        UserError: lengths differ, or an N is out of range.
    """
    if len(answers) != len(correct):
        raise UserError(f"{len(answers)} answers and {len(correct)} values of correct; expected as many of both, [M]")
    n = checked_n(n, len(answers))
    ballots = _count(np.asarray(answers, dtype=object), np.asarray(correct, dtype=float), np.array([0, len(answers)]))
    return _exact(ballots, _problems(ballots), n)[0]


def majority_curve(pool: Pool | pd.DataFrame, n: np.ndarray, *, budget: float = BUDGET, seed: int = 0) -> pd.DataFrame:
    """`majority_accuracy` of every prompt, exact where it can be afforded.

    A response votes if it is finished and has an answer, as in `sharptheory.measure.answers`. So the majority of one is
    right less often than one sample where a response without a vote is graded as correct.

    Exact for N up to `MAJORITY_LIMIT`, for the whole pool, and for every N within the budget. For other N it is the mean
    over random subsets of each prompt's pool.

    Args:
        pool: with `answer` and `correct`. n: values of N, integers from 1 to the smallest number of samples, ``[K]``.
        budget: operations that an exact N beyond `MAJORITY_LIMIT` may cost; ``np.inf`` samples none.
        seed: of the subsets.

    Returns:
        One row per prompt_id, one column per N; NaN where a sample is not graded. ``attrs["sampled"]`` maps each N that is
        sampled to the standard error that this leaves on the mean over prompts.

    Raises:
        UserError: a column is missing, or an N is out of range.
    """
    pool = as_pool(pool)
    n = checked_n(n, int(pool.sizes.min()))
    ballots = _count(voted_answers(pool).to_numpy(dtype=object), pool.numbers("correct"), pool.starts)
    problems = _problems(ballots)
    operations = 64.0 * n * problems.group_counts.sum()
    exact = (n <= MAJORITY_LIMIT) | (n == ballots.total.min()) & (ballots.total.min() == ballots.total.max())
    exact |= operations <= budget
    values, sampled, rng = np.empty((len(ballots.total), len(n))), {}, np.random.default_rng(seed)
    values[:, exact] = _exact(ballots, problems, n[exact])
    for i in np.flatnonzero(~exact):
        values[:, i], sampled[int(n[i])] = _sampled(ballots, int(n[i]), rng)
    values[np.isnan(np.add.reduceat(pool.numbers("correct"), pool.starts[:-1]))] = np.nan
    table = pd.DataFrame(values, index=pool.prompt_ids, columns=n)
    table.attrs["sampled"] = sampled
    return table


@dataclass(frozen=True)
class _Ballots:
    """Votes by prompt and answer, prompts following one another and the larger answers of a prompt coming first.

    Attributes:
        prompt, votes, right: number of the prompt, votes and share of right responses of each of its answers, ``[C]``.
        total: responses of each prompt, those without an answer included, ``[X]``.
    """

    prompt: np.ndarray
    votes: np.ndarray
    right: np.ndarray
    total: np.ndarray


def _count(answers: np.ndarray, correct: np.ndarray, starts: np.ndarray) -> _Ballots:
    """Ballots of samples ``[n]`` of prompts that begin at `starts` ``[X+1]``."""
    code, distinct = pd.factorize(answers)
    voting, total = code >= 0, np.diff(starts)
    prompt = np.repeat(np.arange(len(total)), total)[voting]
    cell, cells = pd.factorize(prompt * len(distinct) + code[voting])
    votes = np.bincount(cell, minlength=len(cells))
    right = np.bincount(cell, correct[voting], minlength=len(cells)) / np.maximum(votes, 1)
    order = np.lexsort((-votes, cells // max(len(distinct), 1)))
    return _Ballots((cells // max(len(distinct), 1))[order], votes[order], right[order], total)


@dataclass(frozen=True)
class _Problems:
    """Which chances of winning have to be known: of the classes with right responses, and each once.

    Prompts whose answers have the same numbers of votes are one problem, and so are classes of one size in a prompt.

    Attributes:
        sizes, classes: votes of the classes of each prompt and how many have them, prompts following one another, ``[G]``.
        first: the first of them for each prompt and, last, G, ``[X+1]``.
        prompt, focal: of each problem a prompt that poses it, and the group of the class that is to win, ``[P]``.
        asking, problem, right: the prompts that need it, which one, and the right share of their classes, summed, ``[A]``.
    """

    sizes: np.ndarray
    classes: np.ndarray
    first: np.ndarray
    prompt: np.ndarray
    focal: np.ndarray
    asking: np.ndarray
    problem: np.ndarray
    right: np.ndarray

    @property
    def group_counts(self) -> np.ndarray:
        """Distinct sizes in each problem, ``[P]``."""
        return np.diff(self.first)[self.prompt]


def _problems(ballots: _Ballots) -> _Problems:
    prompt, votes = ballots.prompt, ballots.votes
    new = np.flatnonzero(np.append(True, (np.diff(prompt) != 0) | (np.diff(votes) != 0))[: len(votes)])
    sizes, owner, classes = votes[new], prompt[new], np.diff(new, append=len(votes))
    right = np.add.reduceat(ballots.right, new) if len(new) else np.empty(0)
    # A multiset of sizes is known by two sums of 64 mixed bits, and by the number of responses.
    first = np.searchsorted(owner, np.arange(len(ballots.total) + 1))
    keys = []
    for salt in (1, 2):
        running = np.append(
            np.uint64(0), np.cumsum(classes.astype(np.uint64) * mixed_bits(sizes, salt), dtype=np.uint64)
        )
        keys.append(running[first[1:]] - running[first[:-1]])
    asking = np.flatnonzero(right > 0)
    by = owner[asking]
    table = pd.DataFrame({"a": keys[0][by], "b": keys[1][by], "total": ballots.total[by], "size": sizes[asking]})
    problem = table.groupby(list(table), sort=False).ngroup().to_numpy()
    _, posed = np.unique(problem, return_index=True)
    return _Problems(sizes, classes, first, by[posed], asking[posed], by, problem, right[asking])


def _exact(ballots: _Ballots, problems: _Problems, n: np.ndarray) -> np.ndarray:
    """Accuracy of the plurality of N responses of each prompt, ``[X, K]``."""
    values = np.zeros((len(ballots.total), len(n)))
    total, largest = ballots.total[problems.prompt], int(ballots.total.max())
    wins = np.zeros((len(problems.prompt), len(n)))
    order = np.argsort(problems.group_counts, kind="stable")
    for rows in np.array_split(order, max(1, problems.group_counts.sum() // 100_000)):
        some = n < total[rows].min(initial=largest)
        for held, columns in ((rows, np.flatnonzero(some)), *((rows, [i]) for i in np.flatnonzero(~some))):
            held = held[total[held] > n[columns].max()] if len(columns) else held[:0]
            if len(held):
                wins[np.ix_(held, columns)] = win_probabilities(*_padded(problems, held), total[held], n[columns])
    for i in range(len(n)):
        values[:, i] = np.bincount(problems.asking, problems.right * wins[problems.problem, i], len(values))
    # The whole pool votes: its largest classes win.
    most = np.zeros(len(values), dtype=np.int64)
    np.maximum.at(most, ballots.prompt, ballots.votes)
    winning = (ballots.votes == most[ballots.prompt]).astype(float)
    right, winners = (np.bincount(ballots.prompt, each, len(values)) for each in (winning * ballots.right, winning))
    share = right / np.maximum(winners, 1)
    return np.where(ballots.total[:, None] == n, share[:, None], values)


def _padded(problems: _Problems, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`sizes`, `classes` and `focal` of `win_probabilities` for some problems."""
    first, counts = problems.first[problems.prompt[rows]], problems.group_counts[rows]
    at = np.arange(counts.max())
    group = np.where(at < counts[:, None], first[:, None] + at, -1)
    focal = problems.focal[rows]
    sizes = np.where(group >= 0, problems.sizes[group], 0)
    classes = np.where(group >= 0, problems.classes[group] - (group == focal[:, None]), 0)
    return sizes, classes, problems.sizes[focal]


def _sampled(ballots: _Ballots, n: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Accuracy of the plurality of N responses of each prompt over random subsets, ``[X]``; standard error of its mean."""
    subsets = int(np.clip(SAMPLED_VOTES / max(1, len(ballots.votes)), 16, 4096))
    first = np.searchsorted(ballots.prompt, np.arange(len(ballots.total) + 1))
    values, variance = np.zeros(len(ballots.total)), 0.0
    for x, total in enumerate(ballots.total):
        votes, right = ballots.votes[first[x] : first[x + 1]], ballots.right[first[x] : first[x + 1]]
        if not right.any():
            continue
        drawn = rng.multivariate_hypergeometric(np.append(votes, total - votes.sum()), n, size=subsets)[:, :-1]
        best = (drawn == drawn.max(axis=1, keepdims=True)) & (drawn > 0)
        wins = best @ right / np.maximum(best.sum(axis=1), 1)
        values[x] = wins.mean()
        variance += wins.var(ddof=1) / subsets
    return values, float(np.sqrt(variance) / len(values))


def borda(pool: Pool | pd.DataFrame, reward: str | Reward = "self_certainty", *, p: float = 0.5) -> pd.Series:
    """Votes of each response's answer class, ranks by a reward: ``Σ (N - rank)^p``, rank from 0, equal rewards sharing
    their mean rank.

    ``p = 0`` is majority; ``p → ∞`` is best-of-N by the reward. Responses that were cut or have no answer get 0.

    Args:
        reward: to rank by; p: exponent, ≥ 0.

    Returns:
        One value per sample, in the order of `Pool.samples`.

    Raises:
        UserError: no answers, no such reward, or an exponent that cannot be.

    Source: Kang et al., *Scalable Best-of-N Selection via Self-Certainty*, arXiv 2502.18581.
    """
    pool, p = as_pool(pool), _exponent(p)
    answer = prompt_answers(pool)[0]
    height = ranking(pool, reward).ranks(method="average")  # N - rank, rank from 0
    votes = np.bincount(answer + 1, np.where(answer >= 0, height**p, 0.0))
    return pd.Series(votes[answer + 1], index=pool.samples.index)


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
        subsets: random subsets of each prompt's pool for each N, disjoint where it has room; fewer of a large N in a
            large pool.

    Returns:
        One row per prompt_id, one column per N.

    Raises:
        UserError: no answers or correctness, no such reward, an exponent or number of subsets that cannot be, or an N out
            of range.
    """
    pool, rng = as_pool(pool), np.random.default_rng(seed)
    n, p = checked_n(n, int(pool.sizes.min())), _exponent(p)
    expect_integers(1, subsets=subsets)
    ranks, correct = ranking(pool, reward), pool.numbers("correct")
    answer, prompt, _ = prompt_answers(pool)
    alone = np.where(answer >= 0, correct, 0 * correct)
    right = np.bincount(answer[answer >= 0], correct[answer >= 0], minlength=len(prompt))
    right = right / np.bincount(answer[answer >= 0], minlength=len(prompt))
    smallest, largest = pool.sizes.min(), pool.sizes.max()
    blocks = np.clip(SHUFFLED // max(len(prompt), 1), 1, np.minimum(smallest // n, subsets))
    orders = np.clip(-(-subsets // blocks), 1, max(1, SHUFFLED // len(answer)))
    orders[(n == 1) | (n == largest)] = 1
    curves = np.zeros((len(pool.prompt_ids), len(n)))
    curves[:, n == 1] = (np.add.reduceat(alone, pool.starts[:-1]) / np.diff(pool.starts))[:, None]
    for i in range(orders.max(where=n > 1, initial=0)):
        place = random_places(pool.starts, rng)
        for k in np.flatnonzero((orders > i) & (n > 1)):
            ballots = _borda_ballots(ranks, place, answer, int(n[k]), int(blocks[k]), p)
            curves[:, k] += _winners(ballots.reshape(-1, blocks[k]), prompt, right, len(curves)) / orders[k]
    return pd.DataFrame(curves, index=pool.prompt_ids, columns=n)


def _borda_ballots(ranks: Ranking, place: np.ndarray, answer: np.ndarray, n: int, blocks: int, p: float) -> np.ndarray:
    """Votes of each answer within each block of N samples that follow one another in a random order, ``[A blocks]``."""
    chosen = ranks.order[place[ranks.order] < n * blocks]
    block = place[chosen] // n
    # Every block has N samples: sorted by prompt and block, ascending in reward, they are a rectangle.
    prompt = np.repeat(np.arange(len(chosen) // (n * blocks)), n * blocks)
    if blocks > 1:
        chosen = chosen[np.argsort(prompt * blocks + block, kind="stable")]
    level = np.empty(len(answer), dtype=np.int64)
    level[ranks.order] = np.repeat(np.arange(len(ranks.levels)), ranks.level_sizes)
    level = level[chosen]
    first = np.flatnonzero((np.diff(level, prepend=-1) != 0) | (np.arange(len(level)) % n == 0))
    tied = np.diff(first, append=len(level))
    height = np.repeat(first % n + (tied + 1) / 2, tied)  # N - rank, rank from 0
    voting = answer[chosen] >= 0
    # Relative to the highest that votes: any exponent is possible.
    height = np.where(voting, height, 0.0).reshape(-1, n)
    height = (height / np.maximum(height.max(axis=1, keepdims=True), 1)).ravel()[voting] ** p
    cells = answer[chosen][voting] * blocks + (np.arange(len(chosen)) // n % blocks)[voting]
    return np.bincount(cells, height, minlength=(answer.max(initial=-1) + 1) * blocks)


def _winners(votes: np.ndarray, prompt: np.ndarray, right: np.ndarray, n_prompts: int) -> np.ndarray:
    """Correctness of the answers with most votes ``[A, B]`` in each block, ties split, averaged over them, ``[X]``."""
    accuracy = np.zeros(n_prompts)
    if len(votes) == 0:
        return accuracy
    starts = np.flatnonzero(np.diff(prompt, prepend=-1))
    most = np.repeat(np.maximum.reduceat(votes, starts), np.diff(starts, append=len(votes)), axis=0)
    # Equal sums of roots differ in their last digits: √18 = √8 + √2.
    best = (votes >= most * (1 - 1e-9)) & (votes > 0)
    won = np.add.reduceat(best * right[:, None], starts) / np.maximum(np.add.reduceat(best.astype(float), starts), 1)
    accuracy[prompt[starts]] = won.mean(axis=1)
    return accuracy
