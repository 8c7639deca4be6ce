"""Pools from files: parquet, JSON lines, CSV."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sharptheory.errors import UserError
from sharptheory.files import read_csv, read_jsonl
from sharptheory.measure.pool import TEXT, Pool

#: What a message calls the i-th row of a file.
Where = Callable[[int], str]


def read_pool(path: str | Path) -> Pool:
    """The pool in a ``.parquet``, ``.jsonl`` or ``.csv`` file; columns as in `sharptheory.measure.pool`.

    Args:
        path: of the file. In a CSV file an empty field is null, and nothing else is.

    Raises:
        UserError: no such file, unknown suffix, malformed line, or invalid content; names file, line or row, and column.

    ```python
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "samples.csv"
    >>> _ = file.write_text("prompt_id,log_likelihood,correct\\n7,-0.5,true\\n7,-2.5,false\\n")
    >>> read_pool(file).samples[["prompt_id", "sample_id", "correct"]].values.tolist()
    [[7, 0, True], [7, 1, False]]

    ```
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"pool file {path} does not exist{' (it is a folder)' if path.is_dir() else ''}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: unknown suffix {path.suffix!r}; expected {', '.join(READERS)}")
    frame, where = reader(path)
    try:
        return Pool.from_frame(frame, where=where)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read_parquet(path: Path) -> tuple[pd.DataFrame, Where]:
    try:
        # Integers with nulls stay integers: as floats, large ones would merge.
        frame = pq.ParquetFile(path).read().to_pandas(ignore_metadata=True, integer_object_nulls=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable parquet file: {' '.join(str(error).split())}") from None
    unnamed = [name for name in frame.columns if re.fullmatch(r"__index_level_\d+__", str(name))]  # pandas' row numbers
    return frame.drop(columns=unnamed), "row {}".format


def _read_jsonl(path: Path) -> tuple[pd.DataFrame, Where]:
    rows = list(read_jsonl(path))
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {
        name: pd.Series([row.get(name) for row in rows], dtype=object if name in TEXT or name == "prompt_id" else None)
        for name in names
    }
    return pd.DataFrame(columns, index=range(len(rows))), lambda i: f"line {i + 1}"


def _read_csv(path: Path) -> tuple[pd.DataFrame, Where]:
    """Every field is text, and a number only where its whole column is numbers and not a column of text."""
    with _any_field_size():
        rows = list(read_csv(path))
    if not rows:
        raise UserError(f"{path} is empty; expected the names of the columns, then one line per response")
    (_, header), *rows = rows
    seen: set[str] = set()
    if twice := [name for name in header if name in seen or seen.add(name)]:  # now: columns of 50,000 commas take long
        raise UserError(f"{path}: column {twice[0]!r} appears twice; expected one of each name")
    for line, row in rows:
        if len(row) != len(header):
            raise UserError(f"{path}:{line} has {len(row)} fields; expected {len(header)} as in the header")
    fields = zip(*([field or None for field in row] for _, row in rows)) if rows else [()] * len(header)
    columns = [_typed(name, values) for name, values in zip(header, fields)]
    frame = pd.DataFrame(dict(enumerate(columns))).set_axis(header, axis=1)
    return frame, lambda i: f"line {rows[i][0]}"


def _typed(name: str, fields: Sequence[str | None]) -> pd.Series:
    if name == "prompt_id":
        # Integers only if every id is one in its shortest spelling: 01 and 1 are two prompts.
        plain = all(field is not None and re.fullmatch("0|-?[1-9][0-9]{0,17}", field) for field in fields)
        return pd.Series(list(map(int, fields)) if plain else fields, dtype=np.int64 if plain else object)
    if name in TEXT:
        return pd.Series(fields, dtype=object)
    try:
        return pd.Series([math.nan if field is None else float(field) for field in fields])
    except ValueError:
        return pd.Series(fields, dtype=object)


@contextmanager
def _any_field_size() -> Iterator[None]:
    """A response may be longer than the 131,072 characters that `csv` takes for a mistake."""
    limit = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


READERS: dict[str, Callable[[Path], tuple[pd.DataFrame, Where]]] = {
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".csv": _read_csv,
}
