"""What a task is: prompts, gold answers, and how to read an answer off a response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sharptheory.errors import UserError, expect_integers


@dataclass(frozen=True)
class Task:
    """Prompts with their gold answers and the task's own reading of a response.

    `extract`, `equal` and `readable` meet whatever a model writes: they must raise nothing, and take time linear in the
    length of a response.

    Args:
        name: registry name or file stem.
        prompts: the texts given to the model, X of them.
        answers: gold answers, X of them; None marks a problem without one (likelihood-only).
        extract: reads the answer off a response; None if it holds no answer.
        equal: whether an extracted answer matches the gold one; default equality of strings.
        max_new_tokens: a response budget that leaves few responses unfinished.
        readable: whether an extracted answer means anything (LaTeX that parses); default all do.

    Raises:
        UserError: no prompts, as many answers as there are not prompts, or one that is not text; names its index.
    """

    name: str
    prompts: list[str]
    answers: list[str | None]
    extract: Callable[[str], str | None]
    equal: Callable[[str, str], bool] = str.__eq__
    max_new_tokens: int = 512
    readable: Callable[[str], bool] | None = None

    def __post_init__(self):
        for name in ("prompts", "answers"):
            if isinstance(found := getattr(self, name), str) or not isinstance(found, Sequence):
                raise UserError(f"task {self.name!r}: {name} is a {type(found).__name__}; expected a list of texts")
        if not self.prompts or len(self.prompts) != len(self.answers):
            raise UserError(
                f"task {self.name!r} has {len(self.prompts)} prompts and {len(self.answers)} answers; expected as many of "
                "both, at least one"
            )
        for i, (prompt, answer) in enumerate(zip(self.prompts, self.answers)):
            if not prompt or not is_text(prompt):
                raise UserError(f"task {self.name!r}, prompt {i}: found {prompt!r}; expected a non-empty text")
            if answer is not None and not is_text(answer):
                raise UserError(f"task {self.name!r}, answer {i}: found {answer!r}; expected a text or None")
        expect_integers(1, **{f"task {self.name!r}: max_new_tokens": self.max_new_tokens})
        for name in ("extract", "equal", "readable"):
            function = getattr(self, name)
            if not callable(function) and not (name == "readable" and function is None):
                raise UserError(f"task {self.name!r}: {name}={function!r}; expected a function")

    @property
    def graded(self) -> np.ndarray:
        """Which problems have a gold answer, ``[X]``: all of them, some, or none."""
        return np.array([answer is not None for answer in self.answers])

    def select(self, indices: Sequence[int]) -> Task:
        """The task of the problems at `indices`, in their order."""
        return replace(self, prompts=[self.prompts[i] for i in indices], answers=[self.answers[i] for i in indices])

    def grade(self, response: str, gold: str | None) -> tuple[str | None, bool | None]:
        """The extracted answer and whether it is right (None when there is no gold answer).

        Args:
            response: what the model wrote.
            gold: one of `answers`.

        >>> Task("sums", ["2+2="], ["4"], extract=lambda text: text.split()[-1]).grade("that is 4", "4")
        ('4', True)
        """
        answer = self.extract(response)
        return answer, None if gold is None else answer is not None and bool(self.equal(answer, gold))

    def unreadable(self, answer: str | None, *, finished: bool) -> str | None:
        """Why a response has no answer to be graded: ``cut off``, ``no answer``, ``answer not understood``; or None.

        Args:
            answer: what `extract` made of it.
            finished: whether the model ended the response itself.
        """
        if answer is None:
            return "no answer" if finished else "cut off"
        return None if self.readable is None or self.readable(answer) else "answer not understood"


def choose(task: Task, n_prompts: int | None, *, seed: int) -> Task:
    """The first `n_prompts` problems in a random order that `seed` decides.

    The order does not depend on `n_prompts`: a larger request begins with the problems of a smaller one.

    Args:
        task: of all problems.
        n_prompts: how many to take; all if None or if there are fewer.
        seed: of the permutation.

    Raises:
        UserError: not a number of prompts from 1, or not a seed from 0.
    """
    expect_integers(0, seed=seed)
    if n_prompts is not None:
        expect_integers(1, n_prompts=n_prompts)
    order = np.random.default_rng([seed, 0xF11E]).permutation(len(task.prompts))
    return task.select(order[:n_prompts].tolist())


def is_text(value) -> bool:
    """Whether a value is a text that UTF-8 can hold: without half of a surrogate pair."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)
