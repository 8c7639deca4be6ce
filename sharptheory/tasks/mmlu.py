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
#: Signs and LaTeX between words, as many as anyone writes.
GAP = r"(?:\\[a-z]++\{|[\W_]){0,20}+"
ADVERBS = rf"(?:\b(?:\w++(?<=ly)|therefore|thus|hence|then|indeed|most|option|choice)\b{GAP}){{0,3}}+"
#: The words that go on after a letter; before any other word an "a" is the article.
AFTER = (
    r"(?:is|are|was|and|or|but|nor|not|as|because|since|so|for|by|in|with|from|given|due|which|that|if|while|when)\b"
)
#: A letter that stands alone ("A's" and "D-glucose" do not) and is not called wrong.
LETTER = (
    rf"(?!A\s++(?!{AFTER})(?-i:[a-z]))([A-D])\b(?!['’]|-\w)"
    r"(?!\W{0,5}(?:is|are)(?:n['’]t|\s++(?:\w++\s++)?(?:not|wrong|incorrect|false))\b)"
)
#: What a sentence is read by: "not B, but C"; "option C"; a word that announces an answer; "is therefore C"; its end.
PART = re.compile(
    rf"(?:\b(?:can)?not|\bnever|n['’]t)\s++(?:be\s++)?{GAP}[A-D]\b(?:,?\s++but\s++{ADVERBS}{LETTER})?"
    rf"|\b(?:answer|option|choice|letter)\b{GAP}{LETTER}"
    r"|\b(?P<key>answer|option|choice|letter|correct|right|it)\b"
    rf"|(?P<link>\b(?:is|be)\b|['’]s\b|:){GAP}{ADVERBS}{LETTER}"
    r"|(?P<stop>[.!?\n])",
    re.IGNORECASE,
)
BOXED = re.compile(rf"\\boxed\{{{GAP}([A-D])\b")
ALONE = re.compile(r"\W*+([A-D])(?:\W*+$|[.):]\s)")


def extract(response: str) -> str | None:
    """The letter in the last box, else that which is last said to be the answer, or stands alone on the first or last line.

    "The answer is a bit tricky", "it is not A" and "option A is wrong" say no letter.

    >>> extract("Not A. The answer is (C).")
    'C'
    """
    response = response.split("\nQuestion:")[0].strip()
    if found := BOXED.findall(response):
        return found[-1]
    if said := _said(response):
        return said
    lines = response.splitlines()
    for line in (lines[:1] + lines[-1:]) if lines else []:
        if found := ALONE.match(line.strip()):
            return found.group(1)
    return None


def _said(response: str) -> str | None:
    """The letter that is last said to be the answer, in a sentence that speaks of one."""
    said, announced = None, False
    for part in PART.finditer(response):
        letter = part[1] or part[2] or part[part.re.groups - 1]
        if letter and (announced or not part["link"]):
            said = letter.upper()
        announced = (announced or bool(part["key"])) and not part["stop"]
    return said


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
