"""lm-evaluation-harness: ``samples_TASK_DATE.jsonl``, written by ``lm_eval --log_samples`` (versions 0.4 on).

A line holds one document and one filter (a way to read answers); a generated task is read so:

| field | becomes |
|---|---|
| doc_id | prompt_id |
| arguments.gen_args_0.arg_0 | prompt |
| resps[0] | response, one row for each of the task's `repeats` |
| filtered_resps[0] | answer, if the filter kept one for each response |
| the metric named first in `metrics` | correct: 1 or 0, one for each response or one for the first |
| arguments.gen_args_0.arg_1 | whether it was sampled, and its temperature |

lm_eval logs no log-likelihoods of what it generates and no lengths. Of several filters the first is taken, ``filter=NAME``
takes another; ``correct=NAME`` another metric. Most metrics grade the first response only: the others are not graded. A metric
that is the mean of all (pass@1), a share of some document, says how many were right, not which.
Log-likelihood and multiple-choice tasks are refused: there the model writes nothing, it is asked for given texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sharptheory.errors import UserError
from sharptheory.measure.formats.record import Imported, Record, grade, of_temperature, others, refuse_columns, table

FORMAT = "samples of lm-evaluation-harness"


def recognises(first: Mapping[str, Any]) -> bool:
    """Whether a line is one of this format, by its fields."""
    return {"doc_id", "resps", "filtered_resps"} <= first.keys()


def read(records: Iterable[Record], columns: Mapping[str, str]) -> Imported:
    """A pool's rows. Args: columns: ``correct`` names a metric, ``filter`` a filter.

    Raises:
        UserError: a task that generates nothing, an unknown metric or filter, or a field that is not as above.
    """
    refuse_columns(columns, ("correct", "filter"), FORMAT)
    records = list(records)
    filters = list(dict.fromkeys(record.field("filter", str, default="none") for record in records))
    # A filter called maj@8 keeps the vote of several responses, which is none of them.
    chosen = columns.get("filter", next((name for name in filters if not name.startswith("maj")), filters[0]))
    if chosen not in filters:
        raise UserError(f"columns: filter={chosen}; the log has {', '.join(filters)}")
    records = [record for record in records if record.field("filter", str, default="none") == chosen]
    names, metric = _metrics(records[0], columns.get("correct"))
    # One that is never a share may be of the first response, and is true of it also if it is of all.
    shared = metric is not None and any(_is_share(record.content.get(metric)) for record in records)
    rows, places, grading = [], [], set()
    for record in records:
        found, how = _rows(record, metric, shared=shared)
        rows += found
        places += [record.where] * len(found)
        grading.add(how)
    notes = [*_choices(metric, names, chosen, filters), *map(GRADING.get, sorted(grading - {"each"}))]
    notes += dict.fromkeys(filter(None, map(_drawn, records)))
    return Imported(table(rows), places.__getitem__, FORMAT, tuple(notes))


#: What filters leave of a response in which they find nothing.
NO_ANSWER = ("[invalid]", "none", "")
#: What a metric says of several responses, if it does not grade each.
GRADING = {
    "count": "The metric is the mean over a prompt's responses: how many are right is known, not which, so the responses are "
    "left out.",
    "first": "The metric grades the first response of each prompt only; a task whose `process_results` returns a list grades all.",
}  # fmt: skip


def _metrics(record: Record, wanted: str | None) -> tuple[list[str], str | None]:
    """The metrics that grade responses, and the one to take."""
    listed = record.field("metrics", list, default=[])
    names = [name for name in listed if isinstance(name, str) and _grades(record.content.get(name))]
    if wanted is None:
        return names, names[0] if names else None
    if wanted not in record:
        raise UserError(f"columns: correct={wanted}; {record.where} has the metrics {', '.join(map(str, listed))}")
    return names, wanted


def _grades(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(each, (bool, int, float)) for each in values)


def _choices(metric: str | None, names: list[str], chosen: str, filters: list[str]) -> list[str]:
    notes = [] if metric is None else [f"Correct is the metric {metric}{others(names, metric)}."]
    if len(filters) > 1:
        notes.append(f"Answers are read by the filter {chosen}{others(filters, chosen)}.")
    return notes


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and grade(value) is None


def _rows(record: Record, metric: str | None, *, shared: bool) -> tuple[list[dict], str]:
    """The responses to one document, and whether each is graded, the first, or only their number."""
    responses = _responses(record)
    k = len(responses)
    row = {"prompt_id": record.field("doc_id", int, str)}
    prompt = record.field("arguments.gen_args_0.arg_0", default=None)
    if isinstance(prompt, str):
        row["prompt"] = prompt
    kept = _kept(record)
    answers = _answers(record, kept, k)
    grades, how = (
        ([None] * k, "each") if metric is None else _graded(record, metric, k, shared=shared and len(kept) > 1)
    )
    rows = []
    for response, answer, correct in zip(responses, answers, grades):
        known = {} if how == "count" else {"response": response, "answer": answer}
        rows.append({**row, **known, "correct": correct})
    return rows, how


def _responses(record: Record) -> list[str]:
    requests = record.field("resps", list)
    texts = requests[0] if len(requests) == 1 else None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        if any(isinstance(text, list) for request in requests if isinstance(request, list) for text in request):
            raise UserError(
                f"{record.where}: the log is of a multiple-choice or log-likelihood task, whose model wrote nothing: it was asked "
                "for the likelihood of given texts; expected a task of output_type generate_until"
            )
        raise record.wrong("resps", requests, "a list of one list of texts")
    return texts


def _kept(record: Record) -> list:
    """What the filter kept: a list for each response, or one of them."""
    filtered = record.field("filtered_resps", list)
    if len(filtered) != 1:
        raise record.wrong("filtered_resps", filtered, "a list of one")
    return filtered[0] if isinstance(filtered[0], list) else filtered


def _answers(record: Record, kept: list, k: int) -> list[str | None]:
    """What the filter made of each response; none where it kept fewer, or did nothing."""
    if record.field("filter", str, default="none") == "none" or len(kept) != k:
        return [None] * k
    if not all(isinstance(text, str) for text in kept):
        raise record.wrong("filtered_resps", kept, "texts")
    return [None if text in NO_ANSWER else text for text in kept]


def _graded(record: Record, metric: str, k: int, *, shared: bool) -> tuple[list[bool | None], str]:
    """Grades of k responses by the value of a metric, and which of them it grades."""
    value = record.content.get(metric)
    if value is None:
        return [None] * k, "each"
    if isinstance(value, list):
        grades = list(map(grade, value))
        if len(value) != k or None in grades:
            raise record.wrong(metric, value, f"1 or 0 for each of {k} responses")
        return grades, "each"
    if not shared:
        if (only := grade(value)) is None:
            raise record.wrong(
                metric, value, "1 or 0: a response is right or wrong (correct=NAME takes another metric)"
            )
        return [only, *[None] * (k - 1)], "each" if k == 1 else "first"
    if not _grades(value) or not 0 <= value <= 1 or abs(value * k - round(value * k)) > 1e-6 * k:
        raise record.wrong(metric, value, f"a share of {k} responses")
    return [i < round(value * k) for i in range(k)], "count"


def _drawn(record: Record) -> str | None:
    options = record.field("arguments.gen_args_0.arg_1", default=None)
    if not isinstance(options, Mapping):
        return None
    temperature = options.get("temperature", 1.0) if options.get("do_sample") else 0.0
    return of_temperature(temperature) if isinstance(temperature, (int, float)) else None
