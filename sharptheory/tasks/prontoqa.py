"""ProntoQA: is a statement true or false, given facts (official json: examples with question, query, answer)."""

from __future__ import annotations

import re
from pathlib import Path

from sharptheory.errors import UserError
from sharptheory.tasks.task import Task, few_shot, read_json

EXAMPLES = [
    (
        "Each wug is a tove. Toves are red. Sam is a wug. True or false: Sam is red.",
        "Sam is a wug. Each wug is a tove. Sam is a tove. Toves are red. Sam is red. The answer is True.",
    )
]
SAID = re.compile(
    r"(?:answer|statement|conclusion|query)\b[^.\n]*?\b(?:is|:)\s*\W*(not\s+)?(true|false)\b", re.IGNORECASE
)
WORD = re.compile(r"\b(true|false)\b", re.IGNORECASE)


def extract(response: str) -> str | None:
    """``True`` or ``False``: what the answer or statement is said to be, else the last of the two words."""
    response = response.split("\nQuestion:")[0]
    if found := SAID.findall(response):
        negated, word = found[-1]
        return str((word.lower() == "true") != bool(negated))
    found = WORD.findall(response)
    return found[-1].capitalize() if found else None


def load(n_prompts: int | None, *, data: str | Path, shots: int = 1, seed: int = 0) -> Task:
    """The first examples of an official file (``{"example1": {"test_example": {…}}, …}`` or a list of examples).

    Raises:
        ValueError: names file, example and field of the first bad one.
    """
    held = read_json(data, expected="the official examples")
    examples = held.items() if isinstance(held, dict) else enumerate(held, start=1)
    prompts, answers = [], []
    for name, example in examples:
        example = example.get("test_example", example) if isinstance(example, dict) else {}
        for field in ("question", "query", "answer"):
            if not isinstance(example.get(field), str) or not example[field]:
                raise UserError(f"{data}, example {name}, field {field!r}: expected a non-empty string")
        if example["answer"] not in ("True", "False"):
            raise UserError(
                f"{data}, example {name}, field 'answer': found {example['answer']!r}; expected True or False"
            )
        prompts.append(few_shot(EXAMPLES, f"{example['question']} {example['query']}", shots))
        answers.append(example["answer"])
        if len(prompts) == n_prompts:
            break
    return Task("prontoqa", prompts, answers, extract, max_new_tokens=512)
