"""The answer policy ``π_A(a|x) = Σ_{y: answer(y) = a} π(y|x)`` of a pool: a table over answers, with or without likelihoods.

A sample *votes* if it is finished and has an answer. Those that do not vote, cut off or without an answer, are the class
*none*: it has its share of the mass, but is no answer, and wins no vote.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from sharptheory.errors import UserError, expect_numbers
from sharptheory.measure.pool import Pool, as_pool
from sharptheory.measure.responses import (
    LIKELIHOOD_NOISE,
    Distinct,
    distinct,
    has_likelihoods,
    inclusion_weights,
    unidentified,
)


@dataclass(frozen=True)
class AnswerPolicy:
    """What a pool knows of ``π_A``: the answers of each prompt, those of one prompt one after another, ``[A]``.

    Attributes:
        prompt_ids: of all prompts, in the order of the samples, ``[X]``. samples: of each, M, ``[X]``.
        prompt: position in `prompt_ids` of each answer, ``[A]``. answer: what it is, ``[A]``.
        votes: how many samples gave it, ``[A]``. correct: share of those that are correct, NaN if unknown, ``[A]``.
        of_sample: which answer each sample gave, -1 for none, ``[samples]``.
        seen: ``S_a``, the probability of the distinct sampled responses with this answer: a lower bound, ``[A]``; None
            where likelihoods are not known or responses cannot be recognised, as the next three.
        mass: Horvitz-Thompson estimate of ``π_A(a)``, without bias, ``[A]``.
        none: the same of the samples without a vote, ``[X]``.
        total: S, the probability of all distinct finished responses, ``[X]``.
        error: τ, by how much each log-likelihood may be wrong, at least so much that S may be 1, ``[X]``.
    """

    prompt_ids: pd.Index
    samples: np.ndarray
    prompt: np.ndarray
    answer: np.ndarray
    votes: np.ndarray
    correct: np.ndarray
    of_sample: np.ndarray
    seen: np.ndarray | None = None
    mass: np.ndarray | None = None
    none: np.ndarray | None = None
    total: np.ndarray | None = None
    error: np.ndarray | None = None

    @cached_property
    def starts(self) -> np.ndarray:
        """The first answer of each prompt that has one."""
        return np.flatnonzero(np.diff(self.prompt, prepend=-1))

    def frame(self) -> pd.DataFrame:
        """One row per answer, indexed by ``(prompt_id, answer)``: `votes, share`, and `seen, mass` where they are known."""
        index = pd.MultiIndex.from_arrays([self.prompt_ids[self.prompt], self.answer], names=["prompt_id", "answer"])
        known = {} if self.seen is None else {"seen": self.seen, "mass": self.mass}
        return pd.DataFrame(
            {"votes": self.votes, "share": self.votes / self.samples[self.prompt], **known}, index=index
        )

    def two_largest(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each prompt the answer with the largest value, that value and the second largest, ``[X]`` each.

        Values are at least 0. Of tied answers the first; -1 and 0 where there is none.
        """
        best = np.full(len(self.samples), -1)
        first, second = np.zeros(len(best)), np.zeros(len(best))
        if len(values) == 0:
            return best, first, second
        prompt = self.prompt[self.starts]
        first[prompt] = np.maximum.reduceat(values, self.starts)
        largest = np.flatnonzero(values == first[self.prompt])
        best[prompt] = largest[np.searchsorted(largest, self.starts)]
        others = values.copy()
        others[best[prompt]] = 0
        second[prompt] = np.maximum.reduceat(others, self.starts)
        return best, first, second


def voted_answers(pool: Pool | pd.DataFrame) -> pd.Series:
    """The answer that each sample votes for: its own if it is finished, else none.

    Raises:
        UserError: no column `answer`.
    """
    pool = as_pool(pool)
    return pool["answer"].astype(object).where(pool.finished, None)


def answer_policy(pool: Pool | pd.DataFrame, *, likelihoods: bool = True, noise: float = 0.0) -> AnswerPolicy:
    """The answers of each prompt with every estimate of their probability that the pool supports.

    With M samples of a prompt, ``n_a`` of them with answer a:

    * ``n_a/M`` has no bias and needs no likelihood; its error falls as ``1/√M`` only.
    * ``S_a = Σ π(y)`` over the distinct sampled responses of a is a lower bound, short of ``π_A(a)`` by at most ``1 - S``.
    * ``Σ π(y)/(1 - (1-π(y))^M)`` over the same has no bias (Horvitz-Thompson: the divisor is the chance that y is sampled
      at all), and no error once the pool has all the mass. Of responses of no mass it is the share of distinct ones.

    Args:
        pool: with `answer`; likelihoods and text or token ids, by which to recognise equal responses, are optional.
        likelihoods: use them where they are known; without, votes are all there is.
        noise: as in `coverage_certificate`.

    Raises:
        UserError: no column `answer`, likelihoods that are none (`distinct_responses`), or a noise that is no number from 0.

    Source: [S13], docs/theory.md.

    ```python
    >>> pool = pd.DataFrame({"prompt_id": 0, "answer": ["1", "1", "2", None], "response": ["one", "1", "two", "?"],
    ...                      "log_likelihood": np.log([0.3, 0.3, 0.25, 0.1])})
    >>> answer_policy(pool).frame().round(3).values.tolist()
    [[2.0, 0.5, 0.6, 0.79], [1.0, 0.25, 0.25, 0.366]]

    ```
    """
    expect_numbers("[0, inf)", noise=noise)
    pool = as_pool(pool)
    samples = np.diff(pool.starts)
    of_sample, prompt, answer = prompt_answers(pool)
    votes = of_sample >= 0
    counts = np.bincount(of_sample[votes], minlength=len(prompt))
    correct = np.full(len(prompt), np.nan)
    if "correct" in pool:
        correct = np.bincount(of_sample[votes], pool.numbers("correct")[votes], minlength=len(prompt)) / counts
    policy = AnswerPolicy(
        prompt_ids=pool.prompt_ids,
        samples=samples,
        prompt=prompt,
        answer=answer,
        votes=counts,
        correct=correct,
        of_sample=of_sample,
    )
    known = likelihoods and has_likelihoods(pool) and unidentified(pool) is None
    return _with_likelihoods(policy, pool, noise) if known else policy


def prompt_answers(pool: Pool | pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct answers of each prompt that its samples vote for (`voted_answers`), those of one prompt one after another.

    Returns:
        Which of them each sample gave, -1 for none, ``[samples]``; the number of the prompt of each, ``[A]``; what it
        is, ``[A]``.

    Raises:
        UserError: no column `answer`.
    """
    pool = as_pool(pool)
    labels, answers = pd.factorize(voted_answers(pool).to_numpy(dtype=object))
    given = labels >= 0
    found, inverse = np.unique(pool.prompt[given] * (len(answers) + 1) + labels[given], return_inverse=True)
    of_sample = np.full(len(labels), -1)
    of_sample[given] = inverse
    return of_sample, found // (len(answers) + 1), answers[found % (len(answers) + 1)]


def _with_likelihoods(policy: AnswerPolicy, pool: Pool, noise: float) -> AnswerPolicy:
    responses = distinct(pool, noise=noise)
    answer = answers_of(responses, policy)
    p = np.minimum(np.exp(responses.highest), 1.0)
    weights = inclusion_weights(p, policy.samples[responses.prompt])
    voting = answer >= 0
    total = lambda values: np.bincount(answer[voting], values[voting], minlength=len(policy.votes))  # noqa: E731
    # What was cut off has no likelihood of a response: its mass is known by its share alone.
    cut = np.bincount(pool.prompt[responses.of_sample < 0], minlength=len(policy.samples)) / policy.samples
    silent = np.bincount(responses.prompt[~voting], weights[~voting], minlength=len(policy.samples))
    with np.errstate(divide="ignore"):
        error = np.maximum(np.log(responses.mass), max(responses.error(noise), LIKELIHOOD_NOISE))
    return replace(policy, seen=total(p), mass=total(weights), none=silent + cut, total=responses.mass, error=error)


def answers_of(responses: Distinct, policy: AnswerPolicy) -> np.ndarray:
    """Which answer each distinct response gives, -1 for none, ``[D]``.

    Equal responses have equal answers; where a grader read them differently, the answer that it read most often, of
    those as frequent as each other none before any, and the first.
    """
    sampled, answers = responses.of_sample >= 0, len(policy.votes) + 1
    read, counts = np.unique(responses.of_sample[sampled] * answers + policy.of_sample[sampled] + 1, return_counts=True)
    response, answer = read // answers, read % answers - 1
    order = np.lexsort((-counts, response))
    first = order[np.diff(response[order], prepend=-1) > 0]
    return answer[first]


def answer_masses(pool: Pool | pd.DataFrame, *, seen: bool = False) -> pd.Series:
    """The estimated probability of each sample's answer, 0 without a vote: `AnswerPolicy.mass`, or `AnswerPolicy.seen`.

    Raises:
        UserError: as `answer_policy`; or likelihoods are unknown, or it is not known which responses are equal.
    """
    pool = as_pool(pool)
    if reason := unidentified(pool):
        raise UserError(reason)
    policy = answer_policy(pool)
    if policy.mass is None:
        raise UserError(f"column 'log_likelihood' is missing or has gaps; the pool has {pool.names}")
    values = np.append(policy.seen if seen else policy.mass, 0.0)
    return pd.Series(values[policy.of_sample], index=pool.samples.index)
