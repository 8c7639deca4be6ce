"""Pools from what people have: a file of any tool, a folder of them, a table.  Columns and formats: docs/formats.md."""

from __future__ import annotations

import csv
import glob
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sharptheory.errors import UserError
from sharptheory.files import PACKED, parse_json, read_csv, read_jsonl, read_text
from sharptheory.measure.formats import completions, datasets, inspect, lm_eval, nemo_skills, parquet, tables
from sharptheory.measure.formats.record import Imported, Record, Where, table
from sharptheory.measure.pool import TEXT, Pool, Responses, shown

#: Formats of JSON lines that are known by the fields of their first line.
FORMATS = (lm_eval, completions, nemo_skills)


def read_pool(
    source: str | Path | pd.DataFrame | pa.Table, *, columns: Mapping[str, str] | None = None, texts: bool = True
) -> Pool:
    """The pool that a file, a folder or a table holds; its format is recognised by what is in it.

    Tables (``.parquet``, ``.csv``, ``.jsonl``, ``.json``, ``.arrow``, text also as ``.gz`` or ``.zst``) have the columns of
    `sharptheory.measure.pool`, lists of them with one problem per row, or counts n and c. Logs of lm-evaluation-harness and
    inspect_ai, completions of OpenAI's interface, outputs of NeMo-Skills and data sets of Hugging Face are read as they are.

    A folder of parquet files is one table, partitioned (``model=a/part-0.parquet``) or not.

    Args:
        source: a path, or a pattern of several files of one format (``out/output-rs*.jsonl``), of which each adds samples
            to the same prompts; a data frame or an Arrow table. In a CSV file an empty field is null, and nothing else is.
        columns: what a table calls a column, by its name here: ``{"prompt_id": "idx", "correct": "score"}``. In a log,
            the metric or scorer that is to be `correct`.
        texts: False leaves `prompt`, `response` and `tokens` of a parquet table on disk: no number is made of them, and
            which responses are the same is read from them piece by piece, as is that a prompt_id has one prompt.

    Returns:
        The pool; `Pool.notes` says what was taken for what.

    Raises:
        UserError: no such file, unknown suffix, malformed line, or invalid content; names file, line or row, and column.
            What is neither a source nor names of columns.

    ```python
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "samples.csv"
    >>> _ = file.write_text("idx,log_likelihood,correct\\n7,-0.5,true\\n7,-2.5,false\\n")
    >>> read_pool(file, columns={"prompt_id": "idx"}).samples[["prompt_id", "sample_id", "correct"]].values.tolist()
    [[7, 0, True], [7, 1, False]]

    ```
    """
    columns = _names(columns)
    if isinstance(source, (pd.DataFrame, pa.Table)):
        frame = source if isinstance(source, pd.DataFrame) else datasets.from_arrow(source)
        return _pool(tables.expand(tables.rename(Imported(frame.reset_index(drop=True)), columns)))
    if not isinstance(source, (str, os.PathLike)):
        raise UserError(f"source is a {type(source).__name__}; expected a path, a data frame or an Arrow table")
    if (found := parquet.open_table(source, columns)) is not None:
        try:
            imported, same = parquet.read_table(found, columns, texts=texts)
            return _pool(_with_unread(imported, source, found.files), same)
        except UserError as error:
            raise (error if str(source) in str(error) else UserError(f"{source}: {error}")) from None
    paths = pool_files(source)
    try:
        return _pool(_with_unread(_joined([(path, _read(path, columns)) for path in paths], source), source, paths))
    except UserError as error:
        raise (
            error if str(source) in str(error) or str(paths[0]) in str(error) else UserError(f"{source}: {error}")
        ) from None


def _names(columns: Mapping[str, str] | None) -> dict[str, str]:
    if columns is None:
        return {}
    if not isinstance(columns, Mapping):
        raise UserError(f"columns: found {shown(columns)}; expected a dictionary, as {{'prompt_id': 'idx'}}")
    for name, source in columns.items():
        # A data frame may number its columns.
        if not isinstance(name, str) or isinstance(source, bool) or not isinstance(source, (str, int)):
            raise UserError(f"columns: found {shown(name)}: {shown(source)}; expected names of columns")
    return dict(columns)


def pool_files(source: str | Path) -> list[Path]:
    """The files behind a path: itself, those of a pattern, or what a folder holds of one tool, in order.

    Raises:
        UserError: there are none, or a folder holds files of which one has to be chosen.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        return _of_folder(path)
    found = (
        [Path(name) for name in glob.glob(str(source)) if Path(name).is_file()] if glob.has_magic(str(source)) else []
    )
    if not found:
        raise UserError(f"pool file {path} does not exist")
    return _in_order(found)


def _in_order(paths: Sequence[Path]) -> list[Path]:
    """By name, numbers in it by size."""
    return sorted(
        paths,
        key=lambda path: [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", str(path))],
    )


def _of_folder(folder: Path) -> list[Path]:
    if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
        return datasets.arrow_files(folder)
    if found := list(folder.glob("output-rs*.jsonl")) or parquet.parquet_files(folder):
        return _in_order(found)
    logs = _in_order([path for pattern in ("samples_*.jsonl", "*.eval") for path in folder.rglob(pattern)])
    if len(logs) == 1:
        return logs
    if logs:
        raise UserError(f"{folder} holds {len(logs):,} logs; give one of them, as {logs[0]}")
    raise UserError(
        f"pool file {folder} does not exist (it is a folder, without parquet files, state.json, output-rs*.jsonl or logs)"
    )


def _joined(parts: Sequence[tuple[Path, Imported]], source: str | Path) -> Imported:
    """Files of one format as one: each adds samples to the prompts, or prompts if it is a part of a table."""
    if len(parts) == 1:
        return parts[0][1]
    formats = list(dict.fromkeys(part.format for _, part in parts))
    if len(formats) > 1:
        raise UserError(f"{source}: files of several formats: {', '.join(name or 'a table' for name in formats)}")
    frames = [part.frame for _, part in parts]
    if formats != [""] and formats != [datasets.FORMAT]:
        # Every file numbers its own samples.
        frames = [frame.drop(columns="sample_id", errors="ignore") for frame in frames]
    ends = np.cumsum([len(frame) for frame in frames])

    def where(i: int) -> str:
        at = int(np.searchsorted(ends, i, side="right"))
        path, part = parts[at]
        place = part.where(i - int(ends[at] - len(frames[at])))
        return place if str(path) in place else f"{path}: {place}"

    notes = tuple(dict.fromkeys(note for _, part in parts for note in part.notes))
    return Imported(pd.concat(frames, ignore_index=True), where, formats[0], notes)


def _with_unread(imported: Imported, source: str | Path, read: Sequence[str | Path]) -> Imported:
    """With a note of the samples in a folder that were not read."""
    if not Path(source).is_dir():
        return imported
    suffixes, known = (".jsonl", ".ndjson", ".csv", ".eval", ".parquet"), set(map(Path, read))
    files = [path for path in Path(source).iterdir() if path.is_file() and path not in known]
    names = sorted(path.name for path in files if Path(_unpacked(path.name)).suffix in suffixes)
    note = f"Left unread in the folder: {', '.join(names[:3])}{f' and {len(names) - 3:,} more' * (len(names) > 3)}."
    return replace(imported, notes=(*imported.notes, note)) if names else imported


def _unpacked(name: str) -> str:
    """The name of a file, in small letters, without that of what packed it."""
    name = name.lower()
    for suffix in PACKED:
        name = name.removesuffix(suffix)
    return name


def _pool(imported: Imported, recognised: Responses | None = None) -> Pool:
    pool = Pool.from_frame(imported.frame, where=imported.where, recognised=recognised)
    read_as = (f"Read as {imported.format}.",) if imported.format else ()
    return replace(pool, notes=(*read_as, *imported.notes))


def _read(path: Path, columns: Mapping[str, str]) -> Imported:
    """What a file holds, one row per response."""
    suffix = Path(_unpacked(path.name)).suffix
    if suffix == ".eval":
        return inspect.read_zip(path, columns)
    if suffix == ".arrow":
        found = datasets.read_arrow(path)
    elif suffix == ".json":
        found = _read_json(path, columns)
    elif suffix in (".jsonl", ".ndjson"):
        found = _recognised(list(_records(path)), columns)
    elif suffix in READERS:
        found = Imported(*READERS[suffix](path))
    else:
        raise UserError(f"{path}: unknown suffix {path.suffix!r}; expected {', '.join((*READERS, *SUFFIXES))}")
    if found.format not in ("", datasets.FORMAT):
        return found
    return tables.expand(tables.rename(found, columns))


def _records(path: Path) -> Iterator[Record]:
    for number, row in enumerate(read_jsonl(path), start=1):
        yield Record(row, f"{path}:{number}")


def _recognised(records: Sequence[Record], columns: Mapping[str, str]) -> Imported:
    """Records of a format that their first one shows, or of none."""
    for format in FORMATS:
        if format.recognises(records[0].content):
            return format.read(records, columns)
    return Imported(table([record.content for record in records]), lambda i: f"line {i + 1}")


def _read_json(path: Path, columns: Mapping[str, str]) -> Imported:
    content = parse_json(read_text(path), path, constants=True)
    if inspect.recognises(content):
        return inspect.read(content, path, columns)
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list) or not content or not all(isinstance(row, dict) for row in content):
        raise UserError(f"{path} holds a {type(content).__name__}; expected a log of inspect_ai or a list of objects")
    found = _recognised([Record(row, f"{path}[{i}]") for i, row in enumerate(content)], columns)
    return Imported(found.frame, found.where if found.format else "entry {}".format, found.format, found.notes)


# Tables ---------------------------------------------------------------------------------------------------------------


def _read_parquet(path: Path) -> tuple[pd.DataFrame, Where]:
    try:
        # Integers with nulls stay integers: as floats, large ones would merge.
        frame = pq.ParquetFile(path).read().to_pandas(ignore_metadata=True, integer_object_nulls=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable parquet file: {' '.join(str(error).split())}") from None
    unnamed = [name for name in frame.columns if re.fullmatch(r"__index_level_\d+__", str(name))]  # pandas' row numbers
    return frame.drop(columns=unnamed), "row {}".format


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
    columns = []
    for name, values in zip(header, fields):
        try:
            columns.append(_typed(name, values))
        except _Odd as odd:
            line, found = rows[odd.row][0], values[odd.row]
            raise UserError(f"{path}: line {line}, column {name!r}: found {shown(found)}; expected {NUMBER}") from None
    frame = pd.DataFrame(dict(enumerate(columns))).set_axis(header, axis=1)
    return frame, lambda i: f"line {rows[i][0]}"


NUMBER = "a number as 15, -1.5 or 2e-3, or an empty field"
_SPELLED = re.compile(r"\s*[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity)\s*", re.IGNORECASE)


class _Odd(Exception):
    """A field among numbers that only Python takes for one: nan, 1_5."""

    def __init__(self, row: int):
        self.row = row


def _typed(name: str, fields: Sequence[str | None]) -> pd.Series:
    if name in ("prompt_id", *tables.NAMES["prompt_id"]):
        # Integers only if every id is one in its shortest spelling: 01 and 1 are two prompts.
        plain = all(field is not None and re.fullmatch("0|-?[1-9][0-9]{0,17}", field) for field in fields)
        return pd.Series(list(map(int, fields)) if plain else fields, dtype=np.int64 if plain else object)
    if name in TEXT:
        return pd.Series(fields, dtype=object)
    try:
        numbers = [math.nan if field is None else float(field) for field in fields]
    except ValueError:
        return pd.Series(fields, dtype=object)
    spelled = [field is None or _SPELLED.fullmatch(field) is not None for field in fields]
    if all(spelled):
        return pd.Series(numbers)
    if name not in NUMBERS and not any(number and field is not None for number, field in zip(spelled, fields)):
        return pd.Series(fields, dtype=object)  # names such as 1_5, throughout
    raise _Odd(spelled.index(False))


#: Columns of a pool that hold no text.
NUMBERS = ("sample_id", "log_likelihood", "length", "finished", "correct")


@contextmanager
def _any_field_size() -> Iterator[None]:
    """A response may be longer than the 131,072 characters that `csv` takes for a mistake."""
    limit = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


READERS: dict[str, Callable[[Path], tuple[pd.DataFrame, Where]]] = {".parquet": _read_parquet, ".csv": _read_csv}
SUFFIXES = (".jsonl", ".ndjson", ".json", ".arrow", ".eval")
