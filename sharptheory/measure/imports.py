"""Pools from files: parquet, JSON lines, CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sharptheory.errors import UserError
from sharptheory.files import read_jsonl
from sharptheory.measure.pool import validate_pool


def read_pool(path: str | Path) -> pd.DataFrame:
    """Read and validate a pool from a ``.parquet``, ``.jsonl`` or ``.csv`` file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: unknown suffix, malformed line, or invalid content; names file, line or row, and column.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"pool file {path} does not exist")
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            frame, first = pq.ParquetFile(path).read().to_pandas(), None
        elif suffix == ".csv":
            frame, first = pd.read_csv(path), 2
        elif suffix in (".jsonl", ".ndjson"):
            rows = list(read_jsonl(path))
            frame, first = pd.DataFrame(rows), 1
        else:
            raise UserError(f"{path}: unknown suffix {suffix!r}; expected .parquet, .jsonl or .csv")
    except (pa.ArrowInvalid, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path} is not a readable {suffix[1:]} file: {error}") from None
    try:
        return validate_pool(frame, first_line=first)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
