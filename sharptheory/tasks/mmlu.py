"""MMLU: multiple choice (official csv without header: question, A, B, C, D, letter; one file per subject)."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from sharptheory.errors import UserError
from sharptheory.tasks.task import Task, few_shot

SUBJECTS = ("college_biology", "college_physics", "college_chemistry")
LETTERS = "ABCD"
EXAMPLES = [
    (
        "Which of these is a prime number?\nA. 21\nB. 27\nC. 31\nD. 33",
        "21 and 27 and 33 are divisible by 3, and 31 has no divisor but 1 and itself. The answer is C.",
    )
]
SAID = re.compile(r"(?:answer|option|choice)\b[^A-Za-z]*(?:is|:|=)?[^A-Za-z]*\(?\b([A-D])\b(?!['’])", re.IGNORECASE)
BOXED = re.compile(r"\\boxed\{(?:\\text\{)?\(?([A-D])\b")
ALONE = re.compile(r"^\W*([A-D])(?:\W*$|[.):]\s)")


def extract(response: str) -> str | None:
    """The letter after "answer is", in a box, or standing alone at the start or on the last line."""
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
    """The first questions of a subject's file, or of the default subjects' ``*_test.csv`` files in a folder, in turn.

    Raises:
        ValueError: names file, line and column of the first bad row.
    """
    path = Path(data)
    files = sorted(f for s in SUBJECTS for f in path.glob(f"{s}*.csv")) if path.is_dir() else [path]
    if not files:
        raise UserError(f"{path} holds none of {', '.join(f'{s}_test.csv' for s in SUBJECTS)}")
    rows = []
    for file in files:
        frame = pd.read_csv(file, header=None, dtype=str, keep_default_na=False)
        if frame.shape[1] != 6:
            raise UserError(
                f"{file}: {frame.shape[1]} columns; expected 6 without header: question, A, B, C, D, letter"
            )
        for line, (question, *choices, letter) in enumerate(frame.itertuples(index=False), start=1):
            if letter not in LETTERS or not letter:
                raise UserError(f"{file}:{line}, column 6: found {letter!r}; expected one of A, B, C, D")
            listed = "\n".join(f"{name}. {choice}" for name, choice in zip(LETTERS, choices))
            rows.append((few_shot(EXAMPLES, f"{question}\n{listed}", shots), letter))
    rows = rows[:n_prompts]
    return Task("mmlu", [prompt for prompt, _ in rows], [letter for _, letter in rows], extract, max_new_tokens=512)
