"""MMLU: multiple choice (official csv without header: question, A, B, C, D, letter; one file per subject)."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from sharptheory.errors import UserError
from sharptheory.files import read_csv
from sharptheory.tasks.entry import Entry
from sharptheory.tasks.official import Hub, few_shot, official_files
from sharptheory.tasks.task import Task, choose

SUBJECTS = ("college_biology", "college_physics", "college_chemistry")
FILES = tuple(f"{subject}_test.csv" for subject in SUBJECTS)
LETTERS = ("A", "B", "C", "D")
EXAMPLES = [
    (
        "Which of these is a prime number?\nA. 21\nB. 27\nC. 31\nD. 33",
        "21 and 27 and 33 are divisible by 3, and 31 has no divisor but 1 and itself. The answer is C.",
    )
]
SAID = re.compile(r"(?:answer|option|choice)\b[^A-Za-z]*+(?:is[^A-Za-z]*+)?\b([A-D])\b(?!['’])", re.IGNORECASE)
BOXED = re.compile(r"\\boxed\{(?:\\text\{)?\(?([A-D])\b")
ALONE = re.compile(r"\W*+([A-D])(?:\W*+$|[.):]\s)")


def extract(response: str) -> str | None:
    """The letter after "answer is", in a box, or standing alone on the first or last line.

    >>> extract("Not A. The answer is (C).")
    'C'
    """
    response = response.split("\nQuestion:")[0].strip()
    for pattern in (BOXED, SAID):
        if found := pattern.findall(response):
            return found[-1].upper()
    lines = response.splitlines()
    for line in (lines[:1] + lines[-1:]) if lines else []:
        if found := ALONE.match(line.strip()):
            return found.group(1)
    return None


def load(n_prompts: int | None, *, data: str | Path, shots: int = 1, seed: int = 0) -> Task:
    """`n_prompts` questions of one subject or of several, in an order that `seed` decides and that mixes them.

    Args:
        n_prompts: how many, all if None or if there are fewer.
        data: a subject's file, or a folder with those of `SUBJECTS`.
        shots: worked examples before each.
        seed: decides which.

    Raises:
        UserError: names file, line and column of the first bad row.
    """
    prompts, answers = [], []
    for path in official_files(data, FILES):
        for line, row in read_csv(path):
            if len(row) != 6:
                raise UserError(f"{path}:{line}: {len(row)} columns; expected 6: question, A, B, C, D, letter")
            question, *choices, letter = row
            if not question:
                raise UserError(f"{path}:{line}, column 1 is empty; expected a question")
            if letter not in LETTERS:
                raise UserError(f"{path}:{line}, column 6: found {letter!r}; expected one of A, B, C, D")
            listed = "\n".join(f"{name}. {choice}" for name, choice in zip(LETTERS, choices))
            prompts.append(few_shot(EXAMPLES, f"{question}\n{listed}", shots))
            answers.append(letter)
    if not prompts:
        raise UserError(f"{data} is empty; expected a line per question: question, A, B, C, D, letter")
    return choose(Task("mmlu", prompts, answers, extract), n_prompts, seed=seed)


def _from_hub(frame: pd.DataFrame) -> str:
    rows = [
        [q, *choices, LETTERS[int(a)]] for q, choices, a in zip(frame["question"], frame["choices"], frame["answer"])
    ]
    return pd.DataFrame(rows).to_csv(header=False, index=False)


HUB = Hub("cais/mmlu", {f"{s}/test-00000-of-00001.parquet": file for s, file in zip(SUBJECTS, FILES)}, _from_hub)
ENTRY = Entry("mmlu", load, "multiple choice, three college subjects", files=FILES, hub=HUB)
