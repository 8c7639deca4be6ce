"""The pool: i.i.d. temperature-1 responses per prompt with their log-likelihoods, the container of every estimate.

A pool is a pandas DataFrame, one row per response, sorted by ``(prompt_id, sample_id)``.  Only `prompt_id` and
`log_likelihood` are required; what else is known makes the report larger.

| column | meaning |
|---|---|
| prompt_id | integer or string |
| sample_id | unique within a prompt; numbered in file order if absent |
| prompt, response | text |
| tokens | response token ids, end of sequence included |
| log_likelihood | ``log π(y|x)``, nats, summed over all response tokens |
| length | response tokens |
| finished | False if cut off by the length budget; True if absent |
| answer | extracted answer, null if none |
| correct | whether the answer is right, null if unknown |
| unreadable | why the answer could not be graded (cut off, no answer, answer not understood), null if it could |
| source | who wrote the response; rows of source ``greedy`` are the greedy responses, not samples |

Any further numeric column may serve as a reward.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from sharptheory.errors import UserError

GREEDY = "greedy"


def validate_pool(pool: pd.DataFrame, *, first_line: int | None = None) -> pd.DataFrame:
    """A checked, completed and sorted copy of a pool.

    Fills in what can be: `sample_id` by order, `finished` True, `source` ``"unknown"``.

    Args:
        first_line: file line of the first row, so that errors can name lines; None to name rows from 0.

    Raises:
        ValueError: names row and column, what was found and what was expected.
    """
    for column in ("prompt_id", "log_likelihood"):
        if column not in pool:
            raise UserError(f"column {column!r} is missing; found {', '.join(map(str, pool.columns)) or 'none'}")
    if len(pool) == 0:
        raise UserError("the pool has no rows")
    pool = pool.reset_index(drop=True)

    def refuse(bad: pd.Series | np.ndarray, column: str, expected: str) -> None:
        if np.any(bad):
            i = int(np.flatnonzero(bad)[0])
            found = pool[column].iloc[i]
            found = found.item() if isinstance(found, np.generic) else found
            where = f"row {i}" if first_line is None else f"line {i + first_line}"
            raise UserError(f"{where}, column {column!r}: found {found!r}; expected {expected}")

    refuse(pool["prompt_id"].isna(), "prompt_id", "an integer or a string")
    log_likelihood = pd.to_numeric(pool["log_likelihood"], errors="coerce").astype(float)
    refuse(np.isnan(log_likelihood), "log_likelihood", "a number of nats")
    refuse(log_likelihood > 0, "log_likelihood", "log π(y|x) ≤ 0 (is it a negative log-likelihood?)")
    refuse(
        np.isneginf(log_likelihood), "log_likelihood", "a finite number: a sampled response has positive probability"
    )
    pool["log_likelihood"] = log_likelihood
    if "source" not in pool:
        pool["source"] = "unknown"
    greedy = (pool["source"] == GREEDY).to_numpy()
    if greedy.all():
        raise UserError("column 'source': every row is greedy; a pool needs sampled responses")
    if "sample_id" not in pool:
        pool["sample_id"] = pool.groupby([pool["prompt_id"], greedy]).cumcount()
        pool.loc[greedy, "sample_id"] = -1
    sample_id = pd.to_numeric(pool["sample_id"], errors="coerce")
    refuse(sample_id.isna() | (sample_id % 1 != 0), "sample_id", "an integer")
    pool["sample_id"] = sample_id.astype(np.int64)
    refuse(pool.duplicated(["prompt_id", "sample_id"]), "sample_id", "no second row of this prompt_id and sample_id")
    for column in ("correct", "finished"):
        if column in pool:
            values = as_boolean(pool[column])
            refuse(values.isna() & pool[column].notna(), column, "true, false or empty")
            pool[column] = values
    pool["finished"] = pool["finished"].fillna(True).astype(bool) if "finished" in pool else True
    if "correct" in pool and pool["correct"].isna().all():
        pool = pool.drop(columns="correct")
    if "length" in pool:
        length = pd.to_numeric(pool["length"], errors="coerce")
        refuse(length.isna() | (length < 0), "length", "a number of tokens")
    return pool.sort_values(["prompt_id", "sample_id"], kind="stable", ignore_index=True)


def as_boolean(values: pd.Series) -> pd.Series:
    """Nullable booleans from booleans, 0/1 and true/false in any case; null for anything else."""
    spelled = values.map(lambda v: None if pd.isna(v) else str(v).strip().lower())
    named = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    return spelled.map(lambda v: named.get(v)).astype("boolean")


def samples(pool: pd.DataFrame) -> pd.DataFrame:
    """The i.i.d. samples of a pool, without its greedy responses."""
    return pool[pool["source"] != GREEDY]


def graded(pool: pd.DataFrame, column: str = "correct") -> pd.DataFrame:
    """Rows of the prompts all of whose rows have a value in `column`."""
    return pool[pool[column].notna().groupby(pool["prompt_id"]).transform("all")]


def greedy_responses(pool: pd.DataFrame) -> pd.DataFrame:
    """The greedy responses of a pool, one row per prompt at most."""
    return pool[pool["source"] == GREEDY]


def rectangles(pool: pd.DataFrame, *columns: str) -> Iterator[tuple[np.ndarray, ...]]:
    """Columns as matrices: prompts with the same number of samples stacked, one rectangle per distinct number.

    Yields:
        ``(prompt_ids [x], column_1 [x, m], column_2 [x, m], …)``, floats, ordered by m; together all prompts once.
    """
    pool = pool.sort_values(["prompt_id", "sample_id"], kind="stable")
    counts = pool.groupby("prompt_id", sort=False)["prompt_id"].transform("size").to_numpy()
    for m in np.unique(counts):
        part = pool[counts == m]
        yield (
            part["prompt_id"].to_numpy()[::m],
            *(part[column].to_numpy(dtype=float, na_value=np.nan).reshape(-1, m) for column in columns),
        )
