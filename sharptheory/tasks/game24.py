"""Game of 24: four numbers, each used once, with + - * / to make 24 (official ``24.csv``: Rank, Puzzles, …).

A response is parsed, never evaluated as code, and checked in rationals.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pandas as pd

from sharptheory.errors import UserError
from sharptheory.tasks.task import Task

TARGET = 24
LONGEST = 100
CANDIDATE = re.compile(r"[\d()+\-*/ ]*\d[\d()+\-*/ ]*")
SPELLINGS = str.maketrans({"×": "*", "x": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")"})


def extract(response: str) -> str | None:
    """The last expression with an operator: ``(4 + 8) * (6 - 4) = 24`` gives ``(4+8)*(6-4)``; None if there is none."""
    text = re.sub(r"\\(?:times|cdot)", "*", response).replace("\\div", "/").replace("**", " ").translate(SPELLINGS)
    for line in reversed(text.splitlines()):
        found = [part.group().strip() for part in CANDIDATE.finditer(line)]
        found = [part for part in found if re.search(r"\d\s*\)*\s*[-+*/]\s*\(*\s*\d", part)]
        if found:
            return found[-1].replace(" ", "") if not re.search(r"\d\s+\d", found[-1]) else found[-1]
    return None


def equal(expression: str, puzzle: str) -> bool:
    """Whether an expression uses the puzzle's numbers, each once, and equals 24 exactly."""
    if len(expression) > LONGEST:
        return False
    try:
        tree = ast.parse(expression, mode="eval").body
        numbers: list[int] = []
        return _value(tree, numbers) == TARGET and Counter(numbers) == Counter(map(int, puzzle.split()))
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return False


def _value(node: ast.AST, numbers: list[int]) -> Fraction:
    """The rational value of a tree of + - * / over integers; collects the integers."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        numbers.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, numbers), _value(node.right, numbers)
        match node.op:
            case ast.Add():
                return left + right
            case ast.Sub():
                return left - right
            case ast.Mult():
                return left * right
            case ast.Div():
                return left / right
    raise UserError("not an expression of + - * / over integers")


def load(n_prompts: int | None, *, data: str | Path, shots: int = 0, seed: int = 0) -> Task:
    """The first puzzles of an official file; the gold answer is the puzzle itself.

    Raises:
        ValueError: names file, line and column of the first bad row.
    """
    frame = pd.read_csv(data)
    if "Puzzles" not in frame:
        raise UserError(f"{data}: columns {list(frame)}; expected the official header with 'Puzzles'")
    if shots:
        raise UserError(f"shots={shots}: Game of 24 is asked without examples; use --shots 0")
    puzzles = []
    for line, puzzle in enumerate(frame["Puzzles"].astype(str).head(n_prompts or len(frame)), start=2):
        if not re.fullmatch(r"\d+ \d+ \d+ \d+", puzzle.strip()):
            raise UserError(f"{data}:{line}, column 'Puzzles': found {puzzle!r}; expected four numbers")
        puzzles.append(puzzle.strip())
    prompts = [
        f"Use the numbers {' '.join(p.split())}, each exactly once, with + - * / and parentheses to make 24.\nExpression:"
        for p in puzzles
    ]
    return Task("game24", prompts, puzzles, extract, equal, max_new_tokens=512)
