"""Pools from files: parquet, JSON lines, CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sharptheory.errors import UserError
from sharptheory.files import read_jsonl
from sharptheory.measure.pool import Pool

#: Columns of a CSV file that stay text whatever they look like: ``01`` and ``1`` are two prompts, ``NA`` is an answer.
TEXT = ("prompt_id", "prompt", "response", "answer", "unreadable", "source")


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
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            frame, first_line = pq.ParquetFile(path).read().to_pandas(), None
        elif suffix == ".csv":
            frame, first_line = _read_csv(path), 2
        elif suffix in (".jsonl", ".ndjson"):
            frame, first_line = pd.DataFrame(list(read_jsonl(path))), 1
        else:
            raise UserError(f"{path}: unknown suffix {suffix!r}; expected .parquet, .jsonl or .csv")
    except (pa.ArrowException, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a readable {suffix[1:]} file: {error}") from None
    try:
        return Pool.from_frame(frame, first_line=first_line)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read_csv(path: Path) -> pd.DataFrame:
    """Every field as text first, so that nothing is guessed; then numbers where a column has nothing else."""
    frame = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
    for name in frame.columns:
        if name == "prompt_id":
            frame[name] = _whole_numbers(frame[name])
        elif name not in TEXT:
            numbers = pd.to_numeric(frame[name], errors="coerce")
            if (numbers.notna() | frame[name].isna()).all():
                frame[name] = numbers
    return frame


def _whole_numbers(ids: pd.Series) -> pd.Series:
    """Integers if every id is one in its shortest spelling, else the strings as they are."""
    plain = ids.str.fullmatch(r"0|-?[1-9][0-9]{0,17}")
    return ids.astype("int64") if plain.fillna(False).all() else ids.astype(object)
