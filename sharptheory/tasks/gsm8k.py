"""GSM8k: grade-school word problems, answer a number after ``####`` (official ``test.jsonl``: question, answer)."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from sharptheory.errors import UserError
from sharptheory.files import read_jsonl
from sharptheory.tasks.answers import NUMBER, canonical_number, last_number
from sharptheory.tasks.entry import Entry
from sharptheory.tasks.official import Hub, few_shot, official_files
from sharptheory.tasks.task import Task, choose

FILE = "test.jsonl"
EXAMPLES = [
    (
        "A shelf holds 4 boxes with 6 jars each. After 5 jars are sold, how many jars are left?",
        "There are 4 * 6 = 24 jars on the shelf.\nAfter selling 5 of them, 24 - 5 = 19 jars are left.\n#### 19",
    ),
    (
        "Mira reads 12 pages a day for a week and then 10 pages more. How many pages has she read?",
        "In a week she reads 12 * 7 = 84 pages.\nWith 10 more that makes 84 + 10 = 94 pages.\n#### 94",
    ),
]
MARK = re.compile(r"####\s*+(.*)")
#: A sign, a currency and a number, in the ways to write them.
AMOUNT = re.compile(r"[\s$€£]*+([-+]?)[\s$€£]*+([\d.,]++(?:[eE][-+]?\d++)?)")


def extract(response: str) -> str | None:
    """The number after the first ``####``; without one, the last number. A next question made up by the model is cut.

    Of an equation after the mark it is the first side that is a number: "3 * 4 = 12" is 12, "18 = 9 * 2" is 18.

    >>> extract("She has 24 - 5 = 19.\\n#### $19")
    '19'
    """
    response = response.split("\nQuestion:")[0]
    marked = MARK.search(response)
    if marked:
        text = _value(marked.group(1).replace("**", "").replace("−", "-"))
        found = AMOUNT.match(text)
        return canonical_number(found[1] + found[2].rstrip(".,")) if found else last_number(text)
    return last_number(response)


def _value(text: str) -> str:
    """The first side of an equation that holds one number and no more; the text itself if there is none."""
    sides = text.split("=")
    return next((side for side in sides if len(NUMBER.findall(side)) == 1), text) if len(sides) > 1 else text


def load(n_prompts: int | None, *, data: str | Path, shots: int = 1, seed: int = 0) -> Task:
    """`n_prompts` problems of the official file, in an order that `seed` decides.

    Args:
        n_prompts: how many, all if None or if there are fewer.
        data: the file or its folder.
        shots: worked examples before each.
        seed: decides which.

    Raises:
        UserError: names file, line and field of a row without a question, or with an answer that has no ``####``.
    """
    [path] = official_files(data, [FILE])
    prompts, answers = [], []
    for line, row in enumerate(read_jsonl(path), start=1):
        question, solution = row.get("question"), row.get("answer")
        if not isinstance(question, str) or not question:
            raise UserError(f"{path}:{line}, field 'question': found {question!r}; expected a non-empty string")
        gold = None
        if solution is not None:
            # Read as a response is, so that the solution itself would be graded as right.
            gold = extract(str(solution)) if MARK.search(str(solution)) else None
            if gold is None:
                raise UserError(f"{path}:{line}, field 'answer': no number after '####'")
        prompts.append(few_shot(EXAMPLES, question, shots))
        answers.append(gold)
    return choose(Task("gsm8k", prompts, answers, extract), n_prompts, seed=seed)


def _from_hub(frame: pd.DataFrame) -> str:
    return frame[["question", "answer"]].to_json(orient="records", lines=True, force_ascii=False)


HUB = Hub("openai/gsm8k", {"main/test-00000-of-00001.parquet": FILE}, _from_hub)
ENTRY = Entry("gsm8k", load, "grade-school word problems", files=(FILE,), hub=HUB)
