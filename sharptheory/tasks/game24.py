"""Game of 24: four numbers, each used once, with + - * / to make 24 (official ``24.csv``: Rank, Puzzles, …).

A response is parsed, never evaluated as code, and checked in rationals.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

from sharptheory.errors import UserError
from sharptheory.files import read_csv
from sharptheory.tasks.entry import Entry
from sharptheory.tasks.official import official_files
from sharptheory.tasks.task import Task, choose

FILE = "24.csv"
TARGET = 24
LONGEST = 100
CANDIDATE = re.compile(r"[\d()+\-*/ ]++")
#: An operator between two numbers, whatever brackets; two numbers with none between them.
OPERATION = re.compile(r"\d[\s)]*+[-+*/][\s(]*+\d")
BARE = re.compile(r"\d\s++\d")
SPELLINGS = str.maketrans({"×": "*", "x": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")"})


def extract(response: str) -> str | None:
    """The last expression with an operator, without spaces; None if there is none.

    >>> extract("Answer: (4 + 8) × (6 - 4) = 24")
    '(4+8)*(6-4)'
    """
    text = re.sub(r"\\(?:times|cdot)", "*", response).replace("\\div", "/").replace("**", " ").translate(SPELLINGS)
    for line in reversed(text.splitlines()):
        found = [part.group().strip() for part in CANDIDATE.finditer(line)]
        found = [part for part in found if OPERATION.search(part)]
        if found:
            return found[-1] if BARE.search(found[-1]) else found[-1].replace(" ", "")
    return None


def equal(expression: str, puzzle: str) -> bool:
    """Whether an expression uses the puzzle's numbers, each once, and equals 24 exactly.

    Args:
        expression: as `extract` gives it; one longer than `LONGEST` is not equal.
        puzzle: four numbers.
    """
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
    raise ValueError("not an expression of + - * / over integers")


def load(n_prompts: int | None, *, data: str | Path, seed: int = 0) -> Task:
    """`n_prompts` puzzles of the official file, in an order that `seed` decides; the gold answer is the puzzle itself.

    Args:
        n_prompts: how many, all if None or if there are fewer.
        data: the file or its folder.
        seed: decides which.

    Raises:
        UserError: names file, line and column of the first bad row.
    """
    [path] = official_files(data, [FILE])
    rows = read_csv(path)
    header = next(rows, (1, []))[1]
    if "Puzzles" not in header:
        raise UserError(f"{path}: columns {header}; expected the official header with 'Puzzles'")
    column, puzzles = header.index("Puzzles"), []
    for line, row in rows:
        puzzle = row[column].strip() if column < len(row) else ""
        if not re.fullmatch(r"[0-9]{1,4}( [0-9]{1,4}){3}", puzzle):
            raise UserError(f"{path}:{line}, column 'Puzzles': found {puzzle!r}; expected four numbers")
        puzzles.append(puzzle)
    if not puzzles:
        raise UserError(f"{path} holds no puzzles; expected a line of four numbers for each")
    prompts = [
        f"Use the numbers {puzzle}, each exactly once, with + - * / and parentheses to make 24.\nExpression:"
        for puzzle in puzzles
    ]
    return choose(Task("game24", prompts, puzzles, extract, equal), n_prompts, seed=seed)


ENTRY = Entry("game24", load, "make 24 of four numbers", files=(FILE,))
