"""MATH, the 500-problem split: competition problems whose answers are LaTeX (official json: prompt, answer, source, id).

Answers are compared as mathematics by math-verify (see `referee`); nothing from a response is executed.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from pathlib import Path

import pandas as pd

from sharptheory.errors import UserError
from sharptheory.files import read_json
from sharptheory.tasks.entry import Entry
from sharptheory.tasks.official import Hub, few_shot, official_files
from sharptheory.tasks.referee import REFEREE
from sharptheory.tasks.task import Task, choose

FILE = "MATH500.json"
EXAMPLES = [
    (
        "What is the sum of the two roots of $x^2 - 7x + 10 = 0$?",
        "By Vieta's formulas the sum of the roots is $7$. The answer is $\\boxed{7}$.",
    )
]
#: Where an answer is announced, its end, a formula in dollars, and what counts when braces are matched.
PHRASE = re.compile(r"(?:answer|result)\s*+(?:is|:|=)\s*+:?\s*+", re.IGNORECASE)
STOP = re.compile(r"\.(?=\s|$)")
DOLLARS = re.compile(r"\$([^$]++)\$")
BRACE = re.compile(r"(?P<boxed>\\(?:boxed|fbox)\s*+\{)|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)
BASE = re.compile(r"\d_\{?\d")
#: Characters of the longest answer that is compared; those of the problems have up to 53.
LONGEST = 300


def extract(response: str) -> str | None:
    r"""The last ``\boxed{…}`` with its braces balanced, else what follows "the answer is", else the last ``$…$``.

    >>> extract(r"so $x = 2$, that is \boxed{\frac{4}{2}}.")
    '\\frac{4}{2}'
    """
    response = response.split("\nQuestion:")[0]
    boxed = _last_boxed(response)
    if boxed is not None:
        return boxed.strip() or None
    found = _last_announced(response) or next(iter(reversed(DOLLARS.findall(response))), None)
    return None if found is None else found.strip().strip("$*").strip() or None


def _last_boxed(text: str) -> str | None:
    """What is in the box that starts last of those that end: one pass over the braces, with a stack of the open ones."""
    open_boxes: list[int | None] = []  # where the content of a box starts, None for other braces
    last = None
    for token in BRACE.finditer(text):
        if token["boxed"]:
            open_boxes.append(token.end())
        elif token["open"]:
            open_boxes.append(None)
        elif token["close"] and open_boxes:
            start = open_boxes.pop()
            if start is not None and (last is None or start > last[0]):
                last = start, token.start()
    return None if last is None else text[slice(*last)]


def _last_announced(text: str) -> str | None:
    """What follows the last "answer is", up to the end of its line or sentence."""
    text = text.rstrip()
    ends = [match.end() for match in PHRASE.finditer(text)]
    for start in reversed(ends):
        if start < len(text):
            line = text[start:].split("\n", 1)[0]
            stop = STOP.search(line, 1)
            return line[: stop.start() if stop else None]
    return None


def normalize(answer: str) -> str:
    """LaTeX without what does not change its meaning: spacing, delimiters, text wrappers, degree and dollar signs."""
    answer = answer.strip().strip("$").rstrip(".").strip()
    answer = re.sub(r"\\(?:left|right|big|Big|,|!|;|:|quad|displaystyle)(?![a-zA-Z])|~", "", answer)
    answer = re.sub(r"\\[dt]frac", r"\\frac", answer)
    answer = re.sub(r"\\(?:text|mathrm|textbf|mbox)\{([^{}]*+)\}", r"\1", answer)
    answer = re.sub(r"\\frac(\d)(\d)", r"\\frac{\1}{\2}", answer)
    answer = re.sub(r"\^\{?\\circ\}?|\\%|\\\$", "", answer)
    answer = re.sub(r"(?<=\d),(?=\d{3}(?:\D|$))", "", answer)
    return re.sub(r"\s+", "", answer)


def equal(answer: str, gold: str) -> bool:
    """Whether two answers are the same mathematics: fractions, surds, tuples, intervals, sets, units aside.

    Args:
        answer: as `extract` gives it; one longer than `LONGEST`, or that takes too long to compare, is not equal.
        gold: LaTeX.
    """
    if max(len(answer), len(gold)) > LONGEST:
        return False
    left, right = normalize(answer), normalize(gold)
    if left == right:
        return True
    # Numbers in another base, 52_8: the library reads the digits and drops the base.
    if BASE.search(right) or BASE.search(left):
        return re.sub(r"[{}]", "", left) == re.sub(r"[{}]", "", right)
    return _asked("equal", gold, answer)


def readable(answer: str) -> bool:
    """Whether an answer is short enough, and mathematics or a plain word."""
    return len(answer) <= LONGEST and (normalize(answer).isalnum() or _asked("readable", answer))


@functools.lru_cache(maxsize=100_000)
def _asked(*question: str) -> bool:
    """What `referee` says; samples of one prompt often have the same answer."""
    _require_library()
    return bool(REFEREE.ask(*question))


def _require_library() -> None:
    if importlib.util.find_spec("math_verify") is None:
        raise UserError("task math500 compares answers with math-verify; pip install 'sharptheory[tasks]'")


def load(n_prompts: int | None, *, data: str | Path, shots: int = 1, seed: int = 0) -> Task:
    """`n_prompts` problems of the official file, in an order that `seed` decides.

    Args:
        n_prompts: how many, all if None or if there are fewer.
        data: the file or its folder.
        shots: worked examples before each.
        seed: decides which.

    Raises:
        UserError: names file, row and field of the first bad row; math-verify is not installed.
    """
    _require_library()
    [path] = official_files(data, [FILE])
    rows = read_json(path, expected="a list of prompt, answer")
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path} holds {type(rows).__name__} {str(rows)[:40]}; expected a list of prompt, answer")
    prompts, answers = [], []
    for number, row in enumerate(rows, start=1):
        where = f"{path}, row {number}, field"
        if not isinstance(row, dict) or not isinstance(row.get("prompt"), str) or not row["prompt"]:
            raise UserError(f"{where} 'prompt': expected a non-empty string")
        answer = row.get("answer")
        if isinstance(answer, bool) or not isinstance(answer, (str, int, float, type(None))):
            raise UserError(f"{where} 'answer': found {answer!r}; expected LaTeX or a number")
        if answer is not None and not 0 < len(str(answer)) <= LONGEST:
            raise UserError(f"{where} 'answer': found {len(str(answer))} characters; expected 1 to {LONGEST}")
        prompts.append(few_shot(EXAMPLES, row["prompt"], shots))
        answers.append(None if answer is None else str(answer))
    return choose(Task("math500", prompts, answers, extract, equal, readable=readable), n_prompts, seed=seed)


def _from_hub(frame: pd.DataFrame) -> str:
    rows = [{"prompt": p, "answer": str(a)} for p, a in zip(frame["problem"], frame["answer"])]
    return json.dumps(rows, ensure_ascii=False)


HUB = Hub("HuggingFaceH4/MATH-500", {"test.jsonl": FILE}, _from_hub)
ENTRY = Entry("math500", load, "competition problems, answers in LaTeX", files=(FILE,), hub=HUB)
