"""GSM8k: grade-school word problems, answer a number after ``####`` (official ``test.jsonl``: question, answer)."""

from __future__ import annotations

import re
from pathlib import Path

from sharptheory.errors import UserError
from sharptheory.files import read_jsonl
from sharptheory.tasks.file import canonical_number, last_number
from sharptheory.tasks.task import Task, few_shot

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
MARK = re.compile(r"####\s*(.*)")
UNITS = re.compile(r"^[\s$€£]*([-+]?[\d.,]+)")


def extract(response: str) -> str | None:
    """The number after the first ``####``; without one, the last number. A next question made up by the model is cut."""
    response = response.split("\nQuestion:")[0]
    marked = MARK.search(response)
    if marked:
        text = marked.group(1).replace("**", "").replace("−", "-")
        found = UNITS.match(re.sub(r"^([-+]?)\s*[$€£]\s*", r"\1", text))
        return canonical_number(found.group(1).rstrip(".,")) if found else last_number(text)
    return last_number(response.replace("−", "-"))


def load(n_prompts: int | None, *, data: str | Path, shots: int = 1, seed: int = 0) -> Task:
    """The first problems of an official file; `shots` worked examples precede each.

    Raises:
        ValueError: names file, line and field of a row without a question, or with an answer that has no ``####``.
    """
    prompts, answers = [], []
    for number, row in enumerate(read_jsonl(Path(data)), start=1):
        question, solution = row.get("question"), row.get("answer")
        if not isinstance(question, str) or not question:
            raise UserError(f"{data}:{number}, field 'question': found {question!r}; expected a non-empty string")
        gold = None
        if solution is not None:
            marked = MARK.search(str(solution))
            gold = canonical_number(marked.group(1)) if marked else None
            if gold is None:
                raise UserError(f"{data}:{number}, field 'answer': no number after '####'")
        prompts.append(few_shot(EXAMPLES, question, shots))
        answers.append(gold)
        if len(prompts) == n_prompts:
            break
    return Task("gsm8k", prompts, answers, extract, max_new_tokens=512)
