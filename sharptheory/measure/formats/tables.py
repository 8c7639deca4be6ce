"""Tables of any tool: columns under other names, one problem per line with parallel lists, counts only.

A row with lists holds several responses of one problem, and every list has one entry for each:
``{"idx": 7, "score": [true, false], "pred": ["4", "5"], "pred_score": [[-0.1, -0.2], [-3.0]]}``. Without renaming, these names are
understood: idx, id, problem_id, task_id, question_id as prompt_id; score, is_correct as correct; pred, preds, predictions as
answer; responses, completions, generations, outputs, code as response. A list of numbers inside of such a list is a response's
token log-probabilities where it is named log_likelihood (summed; an empty one is none), and a reward where it has one entry; else
it is left out.

A row with n and c, and no column correct, says only that c of n responses were right: it becomes n rows without text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from sharptheory.errors import UserError
from sharptheory.measure.formats.hints import unused
from sharptheory.measure.formats.record import MOST_ROWS, Imported
from sharptheory.measure.pool import shown

NAMES = {
    "prompt_id": ("idx", "id", "problem_id", "task_id", "question_id"),
    "correct": ("score", "is_correct"),
    "answer": ("pred", "preds", "predictions"),
    "response": ("responses", "completions", "generations", "outputs", "code"),
}


#: Columns that differ between the responses of a problem: beside lists, they must be lists.
OF_A_RESPONSE = ("correct", "log_likelihood", "response", "answer", "length", "finished", "tokens", "sample_id")


def rename(imported: Imported, columns: Mapping[str, str]) -> Imported:
    """Columns under the names of a pool: ``{"prompt_id": "idx"}``. A column that had the name loses it.

    Raises:
        UserError: there is no such column, or two would have one name.
    """
    if not columns:
        return imported
    frame = imported.frame
    for name, source in columns.items():
        if source not in frame:
            raise UserError(
                f"columns: {name}={source}: column {source!r} is missing; found {', '.join(map(str, frame))}"
            )
    if twice := [source for source in columns.values() if list(columns.values()).count(source) > 1]:
        raise UserError(f"columns: {twice[0]!r} is given two names")
    replaced = [name for name in columns if name in frame and name not in columns.values()]
    frame = frame.drop(columns=replaced).rename(columns={source: name for name, source in columns.items()})
    return Imported(frame, imported.where, imported.format, imported.notes)


def expand(imported: Imported) -> Imported:
    """One row per response, of a table that has one per problem; any other as it is. Notes say what was not used.

    Raises:
        UserError: lists of different lengths, counts that cannot be, or more than `MOST_ROWS` responses.
    """
    frame = imported.frame
    if {"n", "c"} <= set(frame.columns) and "correct" not in frame:
        return _counted(imported)
    if len(frame) and _graded_by_list(frame):
        imported = _parallel(imported)
    frame = imported.frame
    return replace(imported, notes=(*imported.notes, *unused(frame)))


# Counts ---------------------------------------------------------------------------------------------------------------


def _counted(imported: Imported) -> Imported:
    frame, where = imported.frame, imported.where
    n, c = (pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan) for name in "nc")
    wrong_n = ~((n >= 1) & (n % 1 == 0) & (n <= MOST_ROWS))
    for bad, name, expected in (
        (wrong_n, "n", "a number of responses from 1"),
        (~((c >= 0) & (c <= n) & (c % 1 == 0)), "c", "how many of n are right"),
    ):
        if bad.any():
            i = int(np.argmax(bad))
            raise UserError(f"{where(i)}, column {name!r}: found {shown(frame[name].iloc[i])}; expected {expected}")
    if n.sum() > MOST_ROWS:
        raise UserError(f"column 'n': {n.sum():,.0f} responses in all; expected at most {MOST_ROWS:,}")
    n, c = n.astype(np.int64), c.astype(np.int64)
    row = np.repeat(np.arange(len(frame)), n)
    index = np.arange(len(row)) - np.repeat(np.cumsum(n) - n, n)
    ids = _ids(frame)
    rows = pd.DataFrame({"prompt_id": ids.iloc[row].to_numpy(), "sample_id": index, "correct": index < c[row]})
    note = "Counts only: how many responses are right, and nothing else of any."
    return Imported(rows, lambda i: where(int(row[i])), imported.format or "counts", (*imported.notes, note))


def _ids(frame: pd.DataFrame) -> pd.Series:
    """Of each problem: a column that names it, else its row."""
    name = next((name for name in ("prompt_id", *NAMES["prompt_id"]) if name in frame), None)
    return pd.Series(range(len(frame)), dtype=object) if name is None else frame[name].reset_index(drop=True)


# Parallel lists -------------------------------------------------------------------------------------------------------


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _graded_by_list(frame: pd.DataFrame) -> bool:
    """Whether the first row has a list of grades, responses or likelihoods."""
    names = ("log_likelihood", "correct", "response", *NAMES["correct"], *NAMES["response"])
    return any(name in frame and _is_list(frame[name].iloc[0]) for name in names)


def _parallel(imported: Imported) -> Imported:
    frame, where, notes = imported.frame, imported.where, list(imported.notes)
    names: dict[str, str] = {}
    first = frame.iloc[0]
    for name, sources in NAMES.items():
        # Beside lists of predictions, a single answer is the right one.
        if name in frame and (name == "prompt_id" or _is_list(first[name])):
            continue
        source = next(
            (each for each in sources if each in frame and (name == "prompt_id" or _is_list(first[each]))), None
        )
        if source is not None:
            names[source] = name
    frame = frame.drop(columns=[name for name in names.values() if name in frame])
    if names:
        notes.append(f"Taken as {', '.join(f'{name}: {source}' for source, name in names.items())}.")
    frame = frame.rename(columns=names)
    if "prompt_id" not in frame:
        frame = frame.assign(prompt_id=range(len(frame)))
    if "answer" in frame and not _is_list(frame["answer"].iloc[0]):
        frame = frame.drop(columns="answer")
    lists = [name for name in frame if name in OF_A_RESPONSE or _is_list(frame[name].iloc[0])]
    counts = _lengths(frame, lists, where)
    row = np.repeat(np.arange(len(frame)), counts)
    entry = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    place = lambda i: f"{where(int(row[i]))}, entry {entry[i]}"  # noqa: E731
    columns: dict[str, Any] = {}
    for name in frame:
        values = frame[name]
        if name not in lists:
            columns[name] = values.iloc[row].reset_index(drop=True)
            continue
        flat = [value for each in values for value in each]
        if any(map(_is_list, flat)) and name != "tokens":
            flat = _inner(name, flat, place)
        if flat is None:
            notes.append(f"{name} has several numbers for each response and is left out.")
        else:
            columns[name] = pd.Series(flat, dtype=object if name in ("response", "answer", "tokens") else None)
    form = imported.format or "one problem per line, with parallel lists"
    return Imported(pd.DataFrame(columns), place, form, tuple(notes))


def _lengths(frame: pd.DataFrame, lists: list[str], where) -> np.ndarray:
    """Responses of each row."""
    counts = None
    for name in lists:
        lengths = np.array([len(value) if _is_list(value) else -1 for value in frame[name]])
        wrong = (lengths < 0) if counts is None else lengths != counts
        if wrong.any():
            i = int(np.argmax(wrong))
            expected = "a list with one entry for each response"
            if counts is not None:
                expected = f"a list of {counts[i]:,} entries, as {lists[0]!r} has"
            raise UserError(f"{where(i)}, column {name!r}: found {shown(frame[name].iloc[i])}; expected {expected}")
        counts = lengths if counts is None else counts
    if counts.sum() > MOST_ROWS:
        raise UserError(f"{counts.sum():,} responses in all; expected at most {MOST_ROWS:,}")
    return counts


def _inner(name: str, flat: list, place) -> list | None:
    """Lists inside of lists: token log-probabilities summed, single numbers as they are, else None."""
    if name == "log_likelihood":
        empty = [_is_list(value) and len(value) == 0 for value in flat]
        if all(empty):
            return [None] * len(flat)
        if any(empty):
            raise UserError(f"{place(empty.index(True))}, column {name!r}: found []; expected the nats of each token")
        sums = []
        for i, value in enumerate(flat):
            numbers = [value] if not _is_list(value) else value
            if not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in numbers):
                raise UserError(f"{place(i)}, column {name!r}: found {shown(value)}; expected numbers of nats")
            sums.append(math.fsum(numbers))
        return sums
    if all(_is_list(value) and len(value) == 1 for value in flat):
        return [value[0] for value in flat]
    return None
