"""What a task is: prompts, gold answers, and how to read an answer off a response."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sharptheory.errors import UserError

#: Share of all problems of a generated task that belong to its test split.
TEST_SHARE = 0.1


@dataclass(frozen=True)
class Task:
    """Prompts with their gold answers and the task's own reading of a response.

    Attributes:
        name: registry name or file stem.
        prompts: the text given to the model, one per problem.
        answers: gold answers, same length; None marks a problem without one (likelihood-only).
        extract: reads the answer off a response; None if it holds no answer.
        equal: whether an extracted answer matches the gold one; default equality of strings.
        readable: whether an extracted answer means anything (LaTeX that parses); default all do.
        max_new_tokens: a response budget that leaves few responses unfinished.
    """

    name: str
    prompts: list[str]
    answers: list[str | None]
    extract: Callable[[str], str | None]
    equal: Callable[[str, str], bool] = str.__eq__
    max_new_tokens: int = 512
    readable: Callable[[str], bool] | None = None

    def unreadable(self, answer: str | None, *, finished: bool) -> str | None:
        """Why a response has no answer to be graded: ``cut off``, ``no answer``, ``answer not understood``; or None."""
        if answer is None:
            return "no answer" if finished else "cut off"
        return None if self.readable is None or self.readable(answer) else "answer not understood"

    def grade(self, response: str, gold: str | None) -> tuple[str | None, bool | None]:
        """The extracted answer and whether it is right (None when there is no gold answer)."""
        answer = self.extract(response)
        return answer, None if gold is None else answer is not None and bool(self.equal(answer, gold))


def few_shot(examples: list[tuple[str, str]], question: str, shots: int) -> str:
    """A prompt of worked examples followed by the question.

    Raises:
        ValueError: more shots than examples.
    """
    if not 0 <= shots <= len(examples):
        raise UserError(f"shots={shots}; expected 0 to {len(examples)} for this task")
    blocks = [f"Question: {asked}\nAnswer: {answered}" for asked, answered in examples[:shots]]
    return "\n\n".join([*blocks, f"Question: {question}\nAnswer:"])


def read_json(path: str | Path, *, expected: str):
    """The content of a JSON file; a ValueError that names file and line, and says what was `expected`, if it is none."""
    try:
        return json.loads(Path(path).read_text())
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON ({error.msg}); expected {expected}") from None


def is_test_prompt(prompt: str) -> bool:
    """Whether a generated prompt is in the test split: a fixed hash of its text, uniform on [0, 1), is below `TEST_SHARE`."""
    digest = hashlib.blake2b(prompt.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < TEST_SHARE * 2.0**64
