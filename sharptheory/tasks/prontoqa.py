"""ProntoQA: is a statement true or false, given facts (official json: examples with question, query, answer)."""

from __future__ import annotations

import re
from pathlib import Path

from sharptheory.errors import UserError
from sharptheory.files import read_json
from sharptheory.tasks.entry import Entry
from sharptheory.tasks.official import few_shot, official_files
from sharptheory.tasks.task import Task, choose

FILE = "prontoqa.json"
EXAMPLES = [
    (
        "Each wug is a tove. Toves are red. Sam is a wug. True or false: Sam is red.",
        "Sam is a wug. Each wug is a tove. Sam is a tove. Toves are red. Sam is red. The answer is True.",
    )
]
#: Words that lead to a verdict, with a negation in them or not.
NEGATION = r"(?:not|never|cannot|[a-z]{2,6}?n['’]t)"
LINK = r"(?:is|was|be)(?:n['’]t)?"
LEADING = rf"(?:{LINK}|{NEGATION}|[a-z]++(?<=ly)|therefore|thus|hence|then|indeed)\b"
#: A word that announces a verdict, a verdict, and the end of a sentence or line.
PART = re.compile(
    r"(?P<key>(?:answer|statement|conclusion|query)\b)"
    rf"|(?P<before>:\W{{0,20}}+|(?:\b{LEADING}\W{{1,20}}+){{0,6}}+)\b(?P<verdict>true|false)\b"
    r"|(?P<stop>[.\n])",
    re.IGNORECASE,
)
LINKED = re.compile(rf":|\b{LINK}\b", re.IGNORECASE)
NEGATED = re.compile(rf"\b{NEGATION}\b", re.IGNORECASE)


def extract(response: str) -> str | None:
    """``True`` or ``False``: what the answer or statement is said to be, else the last of the two words; negations count.

    >>> extract("Sam is red. So the statement is not false.")
    'True'
    """
    response = response.split("\nQuestion:")[0]
    said, last, announced = None, None, False
    for part in PART.finditer(response):
        if part["verdict"]:
            last = str((part["verdict"].lower() == "true") != bool(len(NEGATED.findall(part["before"])) % 2))
            if not LINKED.search(part["before"]):
                continue
            said = last if announced else said
        announced = bool(part["key"])
    return said or last


def load(n_prompts: int | None, *, data: str | Path, shots: int = 1, seed: int = 0) -> Task:
    """`n_prompts` examples of the official file, in an order that `seed` decides.

    Args:
        n_prompts: how many, all if None or if there are fewer.
        data: the file (``{"example1": {"test_example": {…}}, …}`` or a list of examples) or its folder.
        shots: worked examples before each.
        seed: decides which.

    Raises:
        UserError: names file, example and field of the first bad one.
    """
    [path] = official_files(data, [FILE])
    held = read_json(path, expected="the official examples")
    if not isinstance(held, (dict, list)) or not held:
        raise UserError(f"{path} holds {str(held)[:40]}; expected the official examples, an object or a list")
    examples = held.items() if isinstance(held, dict) else enumerate(held, start=1)
    prompts, answers = [], []
    for name, example in examples:
        example = example.get("test_example", example) if isinstance(example, dict) else {}
        for field in ("question", "query", "answer"):
            value = example.get(field) if isinstance(example, dict) else None
            if not isinstance(value, str) or not value:
                raise UserError(
                    f"{path}, example {name}, field {field!r}: found {value!r}; expected a non-empty string"
                )
        if example["answer"] not in ("True", "False"):
            raise UserError(
                f"{path}, example {name}, field 'answer': found {example['answer']!r}; expected True or False"
            )
        prompts.append(few_shot(EXAMPLES, f"{example['question']} {example['query']}", shots))
        answers.append(example["answer"])
    return choose(Task("prontoqa", prompts, answers, extract), n_prompts, seed=seed)


ENTRY = Entry("prontoqa", load, "true or false, by deduction", files=(FILE,))
