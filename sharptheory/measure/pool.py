"""The pool: i.i.d. temperature-1 responses per prompt with their log-likelihoods, the container of every estimate.

A `Pool` keeps samples and greedy responses apart, so that no estimate can take one for the other. Every public function
of this room takes a pool as `read_pool` returns it, or a data frame with the same columns, which is checked first.

| column | meaning |
|---|---|
| prompt_id | integer or string |
| sample_id | unique within a prompt; numbered in file order if absent |
| prompt, response | text |
| tokens | response token ids, end of sequence included |
| log_likelihood | ``log π(y|x)``, nats, summed over all response tokens |
| length | response tokens |
| finished | False if cut off by the length budget; null if unknown |
| answer | extracted answer, null if none |
| correct | whether the answer is right, null if unknown |
| unreadable | why the answer could not be graded (cut off, no answer, answer not understood), null if it could |
| source | who wrote the response; rows of source ``greedy`` are the greedy responses, not samples |

Only `prompt_id` and `log_likelihood` are required; what else is known makes the report larger. Any further numeric
column may serve as a reward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sharptheory.errors import UserError

GREEDY = "greedy"
#: One token sequence scored twice may differ by this much (nats, low precision); by more, it is not one policy's.
SAME_RESPONSE = 1.0
#: No response is longer than this many tokens.
LONGEST = 10**9


@dataclass(frozen=True, eq=False)
class Pool:
    """Samples of a policy, and beside them its greedy responses.

    Attributes:
        samples: one row per i.i.d. sample, sorted by ``(prompt_id, sample_id)``.
        greedy: the greedy responses, one row per prompt at most, same columns; may be empty.

    ```python
    >>> import pandas as pd
    >>> pool = Pool.from_frame(pd.DataFrame({
    ...     "prompt_id": [0, 0, 0], "log_likelihood": [-1.0, -2.0, -0.5], "source": ["model", "model", "greedy"]}))
    >>> len(pool.samples), len(pool.greedy)
    (2, 1)

    ```
    """

    samples: pd.DataFrame
    greedy: pd.DataFrame

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, first_line: int | None = None) -> Pool:
        """A pool from one row per response, checked, completed and sorted; `frame` is left as it is.

        Fills in what can be: `sample_id` by order, `source` ``"unknown"``, `finished` null.

        Args:
            frame: columns as above. first_line: file line of its first row, so that errors can name lines; None names
                rows from 0.

        Raises:
            UserError: names row and column, what was found and what was expected.
        """
        table = _checked(frame, first_line)
        greedy = (table["source"] == GREEDY).to_numpy()
        if greedy.all():
            raise UserError("column 'source': every row is greedy; a pool needs sampled responses")
        return cls(*(table[rows].reset_index(drop=True) for rows in (~greedy, greedy)))

    def frame(self) -> pd.DataFrame:
        """All rows in one frame, greedy ones marked by their `source`: what is written to disk."""
        table = pd.concat([self.samples, self.greedy]) if len(self.greedy) else self.samples
        return table.sort_values(["prompt_id", "sample_id"], kind="stable", ignore_index=True)

    def __contains__(self, column: str) -> bool:
        return column in self.samples

    def __getitem__(self, column: str) -> pd.Series:
        """A column of the samples.

        Raises:
            UserError: there is none of this name; lists those there are.
        """
        if column not in self.samples:
            raise UserError(f"column {column!r} is missing; the pool has {', '.join(map(str, self.samples.columns))}")
        return self.samples[column]

    def numbers(self, column: str) -> np.ndarray:
        """A column of the samples as floats, null as NaN.

        Raises:
            UserError: the column is missing or not numeric.
        """
        values = self[column]
        if not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)):
            raise UserError(f"column {column!r} holds {values.dtype} values; expected numbers")
        return values.to_numpy(dtype=float, na_value=np.nan)

    def assign(self, **columns) -> Pool:
        """The pool with further columns of its samples, as `pandas.DataFrame.assign`; greedy responses have none."""
        return Pool(self.samples.assign(**columns), self.greedy)

    def take(self, rows) -> Pool:
        """The pool with only some of its samples (a boolean mask over them), greedy responses kept."""
        return Pool(self.samples[np.asarray(rows, dtype=bool)].reset_index(drop=True), self.greedy)

    def graded(self, column: str = "correct") -> Pool:
        """The prompts all of whose samples have a value in `column`."""
        known = self[column].notna()
        return self if known.all() else self.take(known.groupby(self.samples["prompt_id"]).transform("all"))

    @property
    def sizes(self) -> pd.Series:
        """Number of samples of each prompt, indexed by prompt_id."""
        return self.samples.groupby("prompt_id").size()

    @property
    def finished(self) -> np.ndarray:
        """Whether each sample ended by itself; those of which it is not known count as finished."""
        return self.samples["finished"].fillna(True).to_numpy(dtype=bool)


def as_pool(pool: Pool | pd.DataFrame) -> Pool:
    """A pool as it is; a data frame checked and with its greedy rows set apart.

    Raises:
        UserError: it is neither, or the frame is not a pool.
    """
    if isinstance(pool, Pool):
        return pool
    if isinstance(pool, pd.DataFrame):
        return Pool.from_frame(pool)
    raise UserError(
        f"pool is a {type(pool).__name__}; expected what read_pool returns, or a data frame with its columns"
    )


def rectangles(pool: Pool, *columns: str) -> Iterator[tuple[np.ndarray, ...]]:
    """Columns as matrices: prompts with the same number of samples stacked, one rectangle per distinct number.

    Yields:
        ``(prompt_ids [x], column_1 [x, m], column_2 [x, m], …)``, floats, ordered by m; together all prompts once.
    """
    values = [pool.numbers(column) for column in columns]
    _, starts, counts = np.unique(pd.factorize(pool.samples["prompt_id"])[0], return_index=True, return_counts=True)
    prompt_ids = pool.samples["prompt_id"].to_numpy()
    for m in np.unique(counts):
        first = starts[counts == m]
        rows = first[:, None] + np.arange(m)
        yield (prompt_ids[first], *(column[rows] for column in values))


# Checks ---------------------------------------------------------------------------------------------------------------


def _checked(frame: pd.DataFrame, first_line: int | None) -> pd.DataFrame:
    """A checked and completed copy, sorted."""
    for column in ("prompt_id", "log_likelihood"):
        if column not in frame:
            raise UserError(f"column {column!r} is missing; found {', '.join(map(str, frame.columns)) or 'none'}")
    if len(frame) == 0:
        raise UserError("the pool has no rows")
    table = frame.reset_index(drop=True)

    def refuse(bad, column: str, expected: str) -> None:
        bad = np.asarray(bad, dtype=bool)
        if bad.any():
            i = int(np.argmax(bad))
            found = table[column].iloc[i]
            found = repr(found.item() if isinstance(found, np.generic) else found)
            where = f"row {i}" if first_line is None else f"line {i + first_line}"
            shown = found if len(found) <= 60 else f"{found[:60]}… ({len(found):,} characters)"
            raise UserError(f"{where}, column {column!r}: found {shown}; expected {expected}")

    table["prompt_id"] = _identifiers(table["prompt_id"], refuse)
    table["log_likelihood"] = _log_likelihoods(table["log_likelihood"], refuse)
    if "source" not in table:
        table["source"] = "unknown"
    table["sample_id"] = _sample_ids(table, refuse)
    refuse(table.duplicated(["prompt_id", "sample_id"]), "sample_id", "no second row of this prompt_id and sample_id")
    for column in ("correct", "finished"):
        if column in table:
            values = as_boolean(table[column])
            refuse(values.isna() & table[column].notna(), column, "true, false or empty")
            table[column] = values
    if "finished" not in table:
        table["finished"] = pd.array([pd.NA] * len(table), dtype="boolean")
    if "correct" in table and table["correct"].isna().all():
        table = table.drop(columns="correct")
    if "length" in table:
        length = _numbers(table["length"])
        refuse(~((length >= 0) & (length <= LONGEST) & (length % 1 == 0)), "length", "a whole number of tokens")
        table["length"] = length.astype(np.int64)
    for column in ("answer", "unreadable", "source"):
        if column in table:
            text = table[column]
            refuse(~(text.isna() | text.map(np.isscalar)) if text.dtype == object else [False], column, "text or empty")
            table[column] = text.where(text.isna(), text.astype(str)).astype("string") if column != "source" else text
    _one_likelihood_each(table, refuse)
    return table.sort_values(["prompt_id", "sample_id"], kind="stable", ignore_index=True)


def _identifiers(values: pd.Series, refuse) -> pd.Series:
    """Prompt ids: whole numbers that fit 64 bits, or strings, not both."""
    refuse(values.map(lambda v: isinstance(v, (list, dict, tuple, np.ndarray))) if values.dtype == object else [False],
           "prompt_id", "an integer or a string")  # fmt: skip
    refuse(values.isna(), "prompt_id", "an integer or a string")
    if pd.api.types.is_bool_dtype(values):
        refuse(np.ones(len(values), dtype=bool), "prompt_id", "an integer or a string")
    if pd.api.types.is_float_dtype(values):
        refuse((values % 1 != 0) | (np.abs(values) >= 2**53), "prompt_id", "an integer or a string")
        return values.astype(np.int64)
    if values.dtype == object:
        text = values.map(lambda v: isinstance(v, str)).to_numpy()
        if not text.all():
            whole = values.map(lambda v: isinstance(v, (int, np.integer)) and not isinstance(v, bool)).to_numpy()
            refuse(~(text | whole), "prompt_id", "an integer or a string")
            refuse(whole if text.any() else ~whole, "prompt_id", "strings throughout, as other rows have")
            refuse(values.map(lambda v: not -(2**63) <= v < 2**63), "prompt_id", "an integer of at most 64 bits")
            return values.astype(np.int64)
    return values


def _log_likelihoods(values: pd.Series, refuse) -> pd.Series:
    refuse(values.map(lambda v: isinstance(v, (bool, np.bool_))) if values.dtype in (object, bool) else [False],
           "log_likelihood", "a number of nats")  # fmt: skip
    numbers = _numbers(values)
    refuse(np.isnan(numbers), "log_likelihood", "a number of nats")
    refuse(numbers > 0, "log_likelihood", "log π(y|x) ≤ 0 (is it a negative log-likelihood?)")
    refuse(np.isneginf(numbers), "log_likelihood", "a finite number: a sampled response has positive probability")
    return numbers


def _sample_ids(table: pd.DataFrame, refuse) -> pd.Series:
    greedy = table["source"] == GREEDY
    if "sample_id" not in table:
        return table.groupby([table["prompt_id"], greedy]).cumcount().where(~greedy, -1)
    numbers = _numbers(table["sample_id"])
    refuse(~((numbers % 1 == 0) & (np.abs(numbers) < 2**53)), "sample_id", "an integer")
    return numbers.astype(np.int64)


def _one_likelihood_each(table: pd.DataFrame, refuse) -> None:
    """Equal token ids under one policy have one likelihood, up to rounding."""
    if "tokens" in table and table["tokens"].notna().all():
        refuse(
            ~table["tokens"].map(lambda t: isinstance(t, (list, tuple, np.ndarray))), "tokens", "a list of token ids"
        )
        key = [table["prompt_id"], table["tokens"].map(lambda tokens: hash(tuple(tokens)))]
        best = table["log_likelihood"].groupby(key).transform("max")
        refuse(best - table["log_likelihood"] > SAME_RESPONSE, "log_likelihood",
               "what another row of this prompt with the same tokens has")  # fmt: skip


def _numbers(values: pd.Series) -> pd.Series:
    """Floats; NaN for what is no number, or too large for one."""
    if values.dtype == object:
        values = values.map(lambda v: np.nan if isinstance(v, int) and abs(v) > 1e300 else v)
    return pd.to_numeric(values, errors="coerce").astype(float)


def as_boolean(values: pd.Series) -> pd.Series:
    """Nullable booleans from booleans, 0/1 and true/false in any case; null for anything else."""
    if pd.api.types.is_bool_dtype(values):
        return values.astype("boolean")
    spelled = values.map(lambda v: str(v).strip().lower() if np.isscalar(v) and not pd.isna(v) else None)
    named = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    return spelled.map(lambda v: named.get(v)).astype("boolean")
