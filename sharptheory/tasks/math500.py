"""MATH, the 500-problem split: competition problems whose answers are LaTeX (official json: prompt, answer, source, id).

Answers are compared as mathematics by math-verify; nothing from a response is executed.
"""

from __future__ import annotations

import re
from pathlib import Path

from sharptheory.errors import UserError
from sharptheory.tasks.task import Task, few_shot, read_json

EXAMPLES = [
    (
        "What is the sum of the two roots of $x^2 - 7x + 10 = 0$?",
        "By Vieta's formulas the sum of the roots is $7$. The answer is $\\boxed{7}$.",
    )
]
PHRASE = re.compile(r"(?:answer|result)\s*(?:is|:|=)\s*:?\s*(.+?)\s*(?:\.\s|\.?$)", re.IGNORECASE | re.MULTILINE)
BASE = re.compile(r"\d_\{?\d")
LONGEST = 300


def extract(response: str) -> str | None:
    """The last ``\\boxed{…}`` with its braces balanced, else what follows "the answer is", else the last ``$…$``."""
    response = response.split("\nQuestion:")[0]
    boxed = _last_boxed(response)
    if boxed is not None:
        return boxed.strip() or None
    for found in (PHRASE.findall(response), re.findall(r"\$([^$]+)\$", response)):
        if found:
            return found[-1].strip().strip("$*").strip() or None
    return None


def _last_boxed(text: str) -> str | None:
    starts = [match.end() for match in re.finditer(r"\\(?:boxed|fbox)\s*\{", text)]
    for start in reversed(starts):
        depth = 1
        for i in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[i], 0)
            if depth == 0:
                return text[start:i]
    return None


def normalize(answer: str) -> str:
    """LaTeX without what does not change its meaning: spacing, delimiters, text wrappers, degree and dollar signs."""
    answer = answer.strip().strip("$").rstrip(".").strip()
    answer = re.sub(r"\\(?:left|right|big|Big|,|!|;|:|quad|displaystyle)(?![a-zA-Z])|~", "", answer)
    answer = re.sub(r"\\[dt]frac", r"\\frac", answer)
    answer = re.sub(r"\\(?:text|mathrm|textbf|mbox)\{\s*([^{}]*?)\s*\}", r"\1", answer)
    answer = re.sub(r"\\frac(\d)(\d)", r"\\frac{\1}{\2}", answer)
    answer = re.sub(r"\^\{?\\circ\}?|\\%|\\\$", "", answer)
    answer = re.sub(r"(?<=\d),(?=\d{3}(?:\D|$))", "", answer)
    return re.sub(r"\s+", "", answer)


def equal(answer: str, gold: str) -> bool:
    """Whether two answers are the same mathematics: fractions, surds, tuples, intervals, sets, units aside."""
    if len(answer) > LONGEST:
        return False
    if normalize(answer) == normalize(gold):
        return True
    # Numbers in another base, 52_8: the library reads the digits and drops the base.
    if BASE.search(normalize(gold)) or BASE.search(normalize(answer)):
        return re.sub(r"[{}]", "", normalize(answer)) == re.sub(r"[{}]", "", normalize(gold))
    parsed = [_parsed(text) for text in (gold, answer)]
    try:
        return all(parsed) and bool(_library().verify(*parsed, timeout_seconds=5, raise_on_error=False))
    except Exception:  # an answer that the library cannot handle is a wrong one
        return False


def readable(answer: str) -> bool:
    """Whether an answer is short enough, and mathematics or a plain word."""
    # The library hands back what it cannot parse as a string.
    return len(answer) <= LONGEST and (
        normalize(answer).isalnum() or any(not isinstance(part, str) for part in _parsed(answer))
    )


def _parsed(text: str) -> list:
    try:
        return _library().parse(f"${text}$", parsing_timeout=5, raise_on_error=False)
    except ModuleNotFoundError:
        raise
    except Exception:
        return []


def _library():
    try:
        import math_verify
    except ImportError as error:
        raise ModuleNotFoundError(
            "task math500 compares answers with math-verify; pip install 'sharptheory[tasks]'"
        ) from error
    return math_verify


def load(n_prompts: int | None, *, data: str | Path, shots: int = 1, seed: int = 0) -> Task:
    """The first problems of the file.

    Raises:
        ValueError: names file, row and field of the first bad row.
    """
    rows = read_json(data, expected="a list of prompt, answer")
    prompts, answers = [], []
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], start=1):
        if not isinstance(row, dict) or not isinstance(row.get("prompt"), str):
            raise UserError(f"{data}, row {number}, field 'prompt': expected a non-empty string")
        prompts.append(few_shot(EXAMPLES, row["prompt"], shots))
        answers.append(None if row.get("answer") is None else str(row["answer"]))
        if len(prompts) == n_prompts:
            break
    return Task("math500", prompts, answers, extract, equal, max_new_tokens=512, readable=readable)
