"""Tables of responses in parquet: a file, or a folder of them, partitioned or not (``…/model=a/part-0.parquet``).

What a table holds of text is never in memory at once where only numbers are asked for: `prompt`, `response` and `tokens`
stay on disk, and which responses are the same is known from 128 bits of each, read one row group after another. Answers and
other short texts come as codes of their distinct values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from sharptheory.errors import UserError
from sharptheory.measure.formats.hints import unused
from sharptheory.measure.formats.record import Imported, Where
from sharptheory.measure.hashing import mixed_bits
from sharptheory.measure.pool import GREEDY, TEXT, Responses, two_prompts, unlike_prompts

#: Columns that no number of a report is made of.
LONG = ("prompt", "response", "tokens")
#: Text of few distinct values.
SHORT = tuple(name for name in TEXT if name not in LONG)
#: The folder of rows whose value is null.
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def open_table(path: str | Path, columns: Mapping[str, str]) -> ds.Dataset | None:
    """The parquet files behind a path if each of their rows is one response; None if the path is anything else.

    Args:
        columns: what the table calls a column, by its name in a pool.

    Raises:
        UserError: a parquet file that cannot be read, or files of which a column has types that do not go together.
    """
    path = Path(path)
    files = parquet_files(path)
    if not files:
        return None
    options = ds.ParquetReadOptions(dictionary_columns=[columns.get(name, name) for name in (*SHORT, "prompt")])
    read = partial(ds.dataset, list(map(str, files)), format=ds.ParquetFileFormat(read_options=options))
    try:
        found = read()
        schemas = [fragment.physical_schema for fragment in found.get_fragments()]
        names = {name for schema in schemas for name in schema.names}  # which may not be UTF-8
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    partitions = _partitions(path, files, names)
    if not all(_one_response_per_row(pa.schema([*schema, *partitions]), columns) for schema in schemas):
        return None
    if path.is_file():
        return found
    return read(
        schema=pa.schema([*_one_schema(schemas, files), *partitions]),
        partitioning=ds.partitioning(partitions, flavor="hive") if len(partitions) else None,
        partition_base_dir=str(path),
    )


def _partitions(path: Path, files: Sequence[Path], known: set[str]) -> pa.Schema:
    """What folders say beyond the columns of their files: whole numbers where each is in its shortest spelling, else text."""
    values: dict[str, set[str]] = {}
    for file in files if path.is_dir() else ():
        for folder in file.relative_to(path).parts[:-1]:
            name, _, value = folder.partition("=")
            if name not in known:
                values.setdefault(name, set()).add(value)
    whole = lambda each: all(re.fullmatch("0|-?[1-9][0-9]{0,17}", value) for value in each - {NO_VALUE})  # noqa: E731
    return pa.schema([(name, pa.int64() if whole(each) else pa.string()) for name, each in values.items()])


def _one_schema(schemas: Sequence[pa.Schema], files: Sequence[Path]) -> pa.Schema:
    """The columns of all files; one that a file lacks is null there.

    Raises:
        UserError: a column has types of which none holds the values of both; names the files.
    """
    types: dict[str, pa.DataType] = {}
    first: dict[str, Path] = {}
    for schema, file in zip(schemas, files):
        for field in schema:
            name, kind = field.name, types.get(field.name, field.type)
            common = _common(kind, field.type)
            if common is None:
                found = f"{file}, column {name!r}: found {_plain(field.type)}"
                raise UserError(
                    f"{found}; expected {_plain(kind)}, as in {first[name]}: files of one table have one type"
                )
            types[name] = common
            if not pa.types.is_null(field.type):
                first.setdefault(name, file)
    return pa.schema(list(types.items()))


def _common(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """The narrowest type that holds all values of two; None if there is none."""
    types = pa.types
    if a.equals(b) or types.is_null(b):
        return a
    if types.is_null(a):
        return b
    a, b = _plain(a), _plain(b)
    if all(types.is_string(kind) or types.is_large_string(kind) for kind in (a, b)):
        return pa.string() if a.equals(b) else pa.large_string()
    if all(types.is_list(kind) or types.is_large_list(kind) for kind in (a, b)):
        inner = _common(a.value_type, b.value_type)
        return None if inner is None else pa.large_list(inner)
    if all(types.is_integer(kind) for kind in (a, b)):
        signed = next((kind for kind in (a, b) if types.is_signed_integer(kind)), None)
        if signed is None:
            return pa.uint64()
        return None if types.is_uint64(a) or types.is_uint64(b) else pa.int64()
    # A whole number of 64 bits that no float holds is refused when it is read.
    if all(types.is_integer(kind) or types.is_floating(kind) for kind in (a, b)):
        return pa.float64()
    if types.is_decimal(a) and types.is_decimal(b):
        return pa.unify_schemas([pa.schema({"": a}), pa.schema({"": b})], promote_options="permissive").field("").type
    return None


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def parquet_files(path: Path) -> list[Path]:
    """A parquet file itself; those of a folder and of its partitions (folders ``name=value``), in order."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".parquet" else []
    folders = lambda file: file.relative_to(path).parts[:-1]  # noqa: E731
    return sorted(file for file in path.rglob("*.parquet") if all("=" in name for name in folders(file)))


def _one_response_per_row(schema: pa.Schema, columns: Mapping[str, str]) -> bool:
    types = {name: schema.field(source).type for name, source in _sources(schema, columns).items()}
    lists = any(map(pa.types.is_nested, (kind for name, kind in types.items() if name != "tokens")))
    twice = len(set(schema.names)) < len(schema.names)
    return (
        "prompt_id" in types and not lists and not twice and not ({"n", "c"} <= types.keys() and "correct" not in types)
    )


def _sources(schema: pa.Schema, columns: Mapping[str, str]) -> dict[str, str]:
    """Columns of a pool, each with what the table calls it; nothing if one that is asked for is missing."""
    if not set(columns.values()) <= set(schema.names) or len(set(columns.values())) < len(columns):
        return {}
    others = [name for name in schema.names if name not in columns.values() and name not in columns]
    return {**columns, **{name: name for name in others if not re.fullmatch(r"__index_level_\d+__", name)}}


def read_table(found: ds.Dataset, columns: Mapping[str, str], *, texts: bool) -> tuple[Imported, Responses | None]:
    """The rows of a table, and which of them are the same response.

    Args:
        columns: as in `open_table`. texts: whether to load `prompt`, `response`, `tokens` and other text; if not, the
            second result tells responses apart.

    Raises:
        UserError: a file that cannot be read.
    """
    sources = _sources(found.schema, columns)
    kept = dict(sources)
    if not texts:
        known = (*SHORT, "prompt_id", "correct", "finished")
        kept = {n: s for n, s in sources.items() if n in known or not _is_text(found.schema.field(s).type)}
        kept = {n: s for n, s in kept.items() if n not in LONG}
    try:
        table = found.to_table(columns={name: ds.field(source) for name, source in kept.items()})
        # Integers with nulls stay integers: as floats, large ones would merge.
        frame = table.to_pandas(
            ignore_metadata=True,
            integer_object_nulls=True,
            types_mapper={pa.bool_(): pd.BooleanDtype()}.get,
            split_blocks=True,
            self_destruct=True,
        )
        where = _where(found)
        if not texts and "prompt" in sources:
            _one_prompt_each(found, sources["prompt"], frame["prompt_id"], where)
        same = None if texts else _recognised(found, sources, frame)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(Path(found.files[0]), error) from None
    return Imported(frame, where, notes=tuple(unused(frame, sources))), same


def _is_text(kind: pa.DataType) -> bool:
    kind = _plain(kind)
    return not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
                or pa.types.is_decimal(kind) or pa.types.is_null(kind))  # fmt: skip


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is not a readable parquet file: {' '.join(str(error).split())}")


def _where(found: ds.Dataset) -> Where:
    if len(found.files) == 1:
        return "row {}".format
    ends = np.cumsum([fragment.count_rows() for fragment in found.get_fragments()])

    def where(i: int) -> str:
        at = int(np.searchsorted(ends, i, side="right"))
        return f"{found.files[at]}: row {i - (int(ends[at - 1]) if at else 0)}"

    return where


# Which responses are the same -----------------------------------------------------------------------------------------


def _recognised(found: ds.Dataset, sources: Mapping[str, str], frame: pd.DataFrame) -> Responses | None:
    """By token ids if all samples have them, else by text; None, and a column of nothing, if neither is complete.

    What is no list of whole numbers is loaded as it is, and refused where every pool is checked.
    """
    sample = (frame["source"] != GREEDY).to_numpy() if "source" in frame else np.ones(len(frame), dtype=bool)
    for column in ("tokens", "response"):
        if column not in sources:
            continue
        keys = _keys(found, sources[column])
        if keys is None:
            table = found.to_table(columns={column: ds.field(sources[column])})
            frame[column] = table.to_pandas(ignore_metadata=True)[column].to_numpy(dtype=object)
            return None
        if (keys[sample] >= 0).all():
            return Responses(keys, column)
        frame[column] = pd.Series([None] * len(frame), dtype=object)
    return None


def _one_prompt_each(found: ds.Dataset, column: str, ids: pd.Series, where: Where) -> None:
    """Refuses a prompt_id with two texts, of which the two are all that is loaded at once."""
    keys = _keys(found, column)
    if keys is None or (rows := two_prompts(ids, keys)) is None:
        return
    texts = found.take(list(rows), columns={"": ds.field(column)}).column(0).to_pylist()
    raise unlike_prompts(ids[rows[1]], texts, *map(where, rows))


def _keys(found: ds.Dataset, column: str) -> np.ndarray | None:
    """A number per row that equal values share, -1 for null; None if some values are neither text nor token ids."""
    parts = list(map(hashed, _pieces(found, column)))
    if any(part is None for part in parts):
        return None
    first, second, known = map(np.concatenate, zip(*parts))
    keys, distinct = pd.factorize(first)
    where = np.full(len(distinct), -1)
    where[keys[::-1]] = np.arange(len(keys))[::-1]
    if (second != second[where[keys]]).any():  # of 64 bits two halves are equal by chance, hardly ever
        keys = pd.DataFrame({"first": first, "second": second}).groupby(["first", "second"]).ngroup().to_numpy()
    return np.where(known, keys, -1)


def _pieces(found: ds.Dataset, column: str) -> Iterator[pa.Array]:
    for batch in found.scanner(columns={"": ds.field(column)}, batch_size=1 << 16, batch_readahead=2).to_batches():
        yield batch.column(0)


def hashed(values: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """128 bits of each text or list of token ids, in two halves ``[n]``, and whether there is one, ``[n]``.

    Of a list they are two sums over its entries of mixed bits of entry, position and half, so that they are taken without
    a loop over rows. None if an entry is no whole number from 0.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):  # each distinct value once
        distinct = hashed(values.dictionary)
        codes = pc.fill_null(values.indices, len(values.dictionary)).to_numpy(zero_copy_only=False)
        return None if distinct is None else tuple(np.append(each, each.dtype.type(0))[codes] for each in distinct)
    known = pc.is_valid(values).to_numpy(zero_copy_only=False)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = values.fill_null("").to_numpy(zero_copy_only=False)
        halves = [
            pd.util.hash_array(texts, hash_key=key, categorize=False)
            for key in ("sharp-theory-one", "sharp-theory-two")
        ]
        return halves[0], halves[1], known
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_integer(kind.value_type):
        return None
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = values.flatten()
    if flat.null_count or (len(flat) and pc.min(flat).as_py() < 0):
        return None
    flat = flat.to_numpy(zero_copy_only=False).astype(np.uint64)
    starts = np.cumsum(lengths) - lengths
    position = (np.arange(len(flat)) - np.repeat(starts, lengths)).astype(np.uint64)
    sums = []
    for salt in (1, 2):
        bits = mixed_bits(mixed_bits(flat, salt) + position)
        running = np.append(np.uint64(0), np.cumsum(bits, dtype=np.uint64))
        sums.append(running[starts + lengths] - running[starts] + mixed_bits(lengths, salt))
    return sums[0], sums[1], known
