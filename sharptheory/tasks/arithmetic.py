"""Arithmetic solved step by step, in any order: one answer, many correct responses.

A prompt is a signed sum such as ``17-42+8=``.  A solution rewrites it, each step merging two
neighbours, until a single number is left: ``-25+8#-17``.  Steps are separated by ``=`` and
the answer follows ``#``.  A sum of k terms has (k-1)! merge orders, so the answer's probability is
spread over many responses: this is what makes sharpening non-trivial on such a simple task.

Training and test problems are disjoint by construction: a problem belongs to the test split iff a
hash of its text says so, whatever the generator, seed or difficulty that produced it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

from sharptheory.errors import UserError
from sharptheory.tasks.entry import Entry
from sharptheory.tasks.generated import sample_split
from sharptheory.tasks.task import Task

MERGE_LEFT_TO_RIGHT = 0.6
#: The longest sum and the largest number; a solution is as long as their square, and numbers are machine integers.
MOST_TERMS, MOST_VALUE = 50, 10**9


@dataclass(frozen=True)
class Difficulty:
    """Between `min_terms` and `max_terms` numbers of 2 to `max_value`, joined by `operators` out of ``+``, ``-``, ``*``."""

    min_terms: int = 3
    max_terms: int = 5
    max_value: int = 99
    operators: str = "+-"

    def __post_init__(self):
        if not 2 <= self.min_terms <= self.max_terms <= MOST_TERMS:
            raise UserError(
                f"min_terms={self.min_terms}, max_terms={self.max_terms}; expected 2 ≤ min ≤ max ≤ {MOST_TERMS}"
            )
        if not 2 <= self.max_value <= MOST_VALUE:
            raise UserError(f"max_value={self.max_value}; expected 2 to {MOST_VALUE:,}")
        if (
            not self.operators
            or not set(self.operators) <= set("+-*")
            or len(set(self.operators)) < len(self.operators)
        ):
            raise UserError(f"operators={self.operators!r}; expected some of +, - and *, each once")

    @property
    def longest(self) -> int:
        """Characters that no solution exceeds."""
        digits = len(str(self.max_value)) * (self.max_terms if "*" in self.operators else 1) + 2
        return digits * self.max_terms * (self.max_terms + 1) // 2


#: A sum of products: ``[[17], [-42], [8, 3]]`` is ``17-42+8*3``; only the first factor of a product has a sign.
Expression = list[list[int]]


def render(expression: Expression) -> str:
    """Write an expression: ``[[17], [-42, 3]]`` becomes ``17-42*3``."""
    products = ["*".join([f"{first:+d}", *map(str, rest)]) for first, *rest in expression]
    return "".join(products).removeprefix("+")


def value(expression: Expression) -> int:
    """What an expression amounts to."""
    return sum(map(math.prod, expression))


def sample_expression(rng: np.random.Generator, difficulty: Difficulty = Difficulty()) -> Expression:
    """One problem."""
    k = int(rng.integers(difficulty.min_terms, difficulty.max_terms + 1))
    signs = [sign for operator, sign in (("-", -1), ("+", 1)) if operator in difficulty.operators] or [1]
    numbers = rng.integers(2, difficulty.max_value + 1, size=k)
    terms = (numbers * (rng.choice(signs, size=k) if len(signs) > 1 else signs[0])).tolist()
    expression = [[terms[0]]]
    for term in terms[1:]:
        if "*" in difficulty.operators and rng.random() < 1 / len(difficulty.operators):
            expression[-1].append(abs(term))
        else:
            expression.append([term])
    return expression


def sample_solution(
    expression: Expression, rng: np.random.Generator, *, left_to_right: float = MERGE_LEFT_TO_RIGHT
) -> str:
    """One valid solution: left to right with probability `left_to_right`, else merging random neighbours."""
    expression, steps, ordered = [list(product) for product in expression], [], rng.random() < left_to_right
    while merges := _merges(expression):
        term, factor = merges[0 if ordered else int(rng.integers(len(merges)))]
        if factor is None:
            expression[term : term + 2] = [[expression[term][0] + expression[term + 1][0]]]
        else:
            expression[term][factor : factor + 2] = [math.prod(expression[term][factor : factor + 2])]
        if len(expression) + len(expression[0]) > 2:
            steps.append(render(expression))
    return "=".join(steps) + f"#{value(expression)}"


def _merges(expression: Expression) -> list[tuple[int, int | None]]:
    """Neighbours that may be merged, in reading order: factors of a product, or terms that are single numbers."""
    found = []
    for term, product in enumerate(expression):
        found += [(term, factor) for factor in range(len(product) - 1)]
        if len(product) == 1 and term + 1 < len(expression) and len(expression[term + 1]) == 1:
            found.append((term, None))
    return found


def sample_problems(
    n: int,
    rng: np.random.Generator,
    *,
    split: str,
    difficulty: Difficulty = Difficulty(),
    distinct: bool = False,
) -> list[Expression]:
    """`n` problems of one split, as `generated.sample_split`."""
    return sample_split(
        n, lambda: sample_expression(rng, difficulty), prompt_of, split=split, distinct=distinct, about=difficulty
    )


def prompt_of(expression: Expression) -> str:
    """The prompt that asks for an expression's value: ``17-42+8=``."""
    return render(expression) + "="


def training_pairs(n: int, rng: np.random.Generator, **difficulty) -> list[tuple[str, str]]:
    """`n` training prompts with one sampled solution each."""
    problems = sample_problems(n, rng, split="train", difficulty=Difficulty(**difficulty))
    return [(prompt_of(expression), sample_solution(expression, rng)) for expression in problems]


def extract(response: str) -> str | None:
    """The integer after the last ``#``, in canonical form (``-0`` is ``0``); None if there is none.

    >>> extract("-25+8#-17")
    '-17'
    """
    _, mark, tail = response.rpartition("#")
    try:
        return str(int(tail)) if mark and tail.lstrip("+-").isdecimal() else None
    except ValueError:  # two signs, or more digits than any answer has
        return None


def load(n_prompts: int, *, seed: int = 0, split: str = "test", **difficulty) -> Task:
    """`n_prompts` distinct problems of a split, with their answers.

    Args:
        n_prompts: how many.
        seed: decides which.
        split: ``train`` or ``test``.
        difficulty: as in `Difficulty`.

    Raises:
        UserError: there are fewer problems, or no such difficulty.
    """
    chosen, rng = Difficulty(**difficulty), np.random.default_rng([seed, 0xA217])
    problems = sample_problems(n_prompts, rng, split=split, difficulty=chosen, distinct=True)
    return Task(
        name="arithmetic",
        prompts=[prompt_of(expression) for expression in problems],
        answers=[str(value(expression)) for expression in problems],
        extract=extract,
        max_new_tokens=max(96, chosen.longest),
    )


ENTRY = Entry(
    "arithmetic", load, "signed sums, solved step by step", options=asdict(Difficulty()), training_pairs=training_pairs
)
