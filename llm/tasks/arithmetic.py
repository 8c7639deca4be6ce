"""Signed sums solved step by step, in any order: one answer, many correct responses.

A prompt is a signed sum such as ``17-42+8=``.  A solution rewrites it, each step merging two
neighbouring terms, until a single number is left: ``-25+8#-17``.  Steps are separated by ``=`` and
the answer follows ``#``.  A sum of k terms has (k-1)! merge orders, so the answer's probability is
spread over many responses: this is what makes sharpening non-trivial on such a simple task.

Training and test problems are disjoint by construction: a problem belongs to the test split iff a
hash of its text says so, whatever the generator, seed or difficulty that produced it.
"""

from __future__ import annotations

import hashlib

import numpy as np

from sharptheory.llm.tasks.task import Task

TEST_SHARE = 0.1
MERGE_LEFT_TO_RIGHT = 0.6


def render(terms: list[int]) -> str:
    """Write a signed sum: ``[17, -42, 8]`` becomes ``17-42+8``."""
    return str(terms[0]) + "".join(f"{term:+d}" for term in terms[1:])


def is_test_prompt(prompt: str) -> bool:
    """Whether a prompt is in the test split: a fixed hash of its text, uniform on [0, 1), is below `TEST_SHARE`."""
    digest = hashlib.blake2b(prompt.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < TEST_SHARE * 2.0**64


def sample_terms(rng: np.random.Generator, *, min_terms: int = 3, max_terms: int = 5, max_value: int = 99) -> list[int]:
    """Draw one problem: between `min_terms` and `max_terms` terms, each ±(2..`max_value`)."""
    k = int(rng.integers(min_terms, max_terms + 1))
    return (rng.integers(2, max_value + 1, size=k) * rng.choice([-1, 1], size=k)).tolist()


def sample_solution(terms: list[int], rng: np.random.Generator, *, left_to_right: float = MERGE_LEFT_TO_RIGHT) -> str:
    """Draw one valid solution: left to right with probability `left_to_right`, else merging random neighbours."""
    terms, steps, ordered = list(terms), [], rng.random() < left_to_right
    while len(terms) > 1:
        i = 0 if ordered else int(rng.integers(len(terms) - 1))
        terms[i : i + 2] = [terms[i] + terms[i + 1]]
        if len(terms) > 1:
            steps.append(render(terms))
    return "=".join(steps) + f"#{terms[0]}"


def sample_problems(n: int, rng: np.random.Generator, *, split: str, **difficulty) -> list[list[int]]:
    """Draw `n` problems of one split (``"train"`` or ``"test"``) by rejection; difficulty as in `sample_terms`."""
    problems = []
    while len(problems) < n:
        terms = sample_terms(rng, **difficulty)
        if is_test_prompt(render(terms) + "=") == (split == "test"):
            problems.append(terms)
    return problems


def extract(response: str) -> str | None:
    """The integer after the last ``#``, in canonical form (``-0`` is ``0``); None if there is none."""
    _, mark, tail = response.rpartition("#")
    try:
        return str(int(tail)) if mark and tail.lstrip("+-").isdecimal() else None
    except ValueError:
        return None


def load(n_prompts: int, *, seed: int = 0, split: str = "test") -> Task:
    """`n_prompts` distinct problems of a split, with their answers."""
    rng = np.random.default_rng([seed, 0xA217])
    answers: dict[str, str] = {}
    while len(answers) < n_prompts:
        for terms in sample_problems(n_prompts, rng, split=split):
            answers.setdefault(render(terms) + "=", str(sum(terms)))
    kept = list(answers.items())[:n_prompts]
    return Task(
        name="arithmetic",
        prompts=[prompt for prompt, _ in kept],
        answers=[answer for _, answer in kept],
        extract=extract,
        max_new_tokens=96,
    )
