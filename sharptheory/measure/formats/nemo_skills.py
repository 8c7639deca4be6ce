"""NeMo-Skills: ``output-rs0.jsonl``, ``output-rs1.jsonl``, …, a file for each random seed, problems in the same order.

| field | becomes |
|---|---|
| the line | prompt_id, the same in every file |
| problem, else question | prompt |
| generation | response |
| predicted_answer | answer |
| symbolic_correct, is_correct or judgement (``Judgement: Yes``), the first of these | correct |
| num_generated_tokens | length |
| reward_model_score | itself, a further reward |

``correct=NAME`` takes another grade. NeMo-Skills logs no log-likelihoods.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sharptheory.measure.formats.record import Imported, Record, grade, others, refuse_columns, table

FORMAT = "outputs of NeMo-Skills"
GRADES = ("symbolic_correct", "is_correct", "judgement")


def recognises(first: Mapping[str, Any]) -> bool:
    """Whether a line is one of this format, by its fields."""
    return "generation" in first and any(name in first for name in ("predicted_answer", "expected_answer", *GRADES))


def read(records: Iterable[Record], columns: Mapping[str, str]) -> Imported:
    """A pool's rows. Args: columns: ``correct`` names a grade.

    Raises:
        UserError: a field that is not as above.
    """
    refuse_columns(columns, ("correct",), FORMAT)
    rows, places, graded = [], [], columns.get("correct")
    for number, record in enumerate(records):
        graded = graded or next((name for name in GRADES if name in record), None)
        row = {"prompt_id": number, "response": record.field("generation", str)}
        for name in ("problem", "question"):
            if isinstance(record.content.get(name), str):
                row.setdefault("prompt", record.content[name])
        if isinstance(answer := record.field("predicted_answer", str, int, float, default=None), (str, int, float)):
            row["answer"] = str(answer)
        if graded is not None:
            row["correct"] = _grade(record, graded)
        if (length := record.field("num_generated_tokens", int, default=None)) is not None:
            row["length"] = length
        if (score := record.field("reward_model_score", float, default=None)) is not None:
            row["reward_model_score"] = score
        rows.append(row)
        places.append(record.where)
    names = [name for name in GRADES if any(name in record for record in records)]
    notes = () if graded is None else (f"Correct is {graded}{others(names, graded)}.",)
    return Imported(table(rows), places.__getitem__, FORMAT, notes)


def _grade(record: Record, name: str) -> bool | None:
    value = record.field(name, default=None)
    if value is None:
        return None
    if isinstance(value, str):
        if found := re.search(r"judgement:\W*(yes|no)\b", value, re.IGNORECASE):
            return found[1].lower() == "yes"
        return False if name == "judgement" else _refuse(record, name, value)
    return grade(value) if grade(value) is not None else _refuse(record, name, value)


def _refuse(record: Record, name: str, value: Any) -> None:
    raise record.wrong(name, value, "true or false")
