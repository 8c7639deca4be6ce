"""Text files that people hand in: UTF-8, JSON, JSON lines, CSV, packed (``.gz``, ``.zst``) or not.  Every error names file
and line.

This is the one place that reads them, so that a wrong encoding, a number that no float holds, half a character, or
brackets without end are told apart from a bug once for all.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from sharptheory.errors import UserError

#: Suffixes of packed files, and what packed them.
PACKED = {".gz": "gzip", ".zst": "zstd"}
#: A packed file may hold this many bytes, and as many times its own size: text never packs so well, a bomb does.
MOST_UNPACKED, MOST_TIMES = 2**28, 200
#: Digits of the longest whole number that a float holds.
MOST_DIGITS = 308
#: Encodings that are recognised by their first bytes, to name them in an error.
MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, without the byte-order mark that some editors put in front; unpacked if its suffix says so.

    Raises:
        UserError: the file cannot be opened or unpacked, or is in another encoding; names the line of the first wrong byte.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a path with a null character
        raise UserError(f"{str(path)!r} cannot be read: {error}") from None
    if packed := PACKED.get(Path(path).suffix.lower()):
        content = unpack(content, packed, path)
    return decode(content, path)


def unpack(content: bytes, packed: str, where: str | Path) -> bytes:
    """The bytes that gzip or zstd packed.

    Raises:
        UserError: they are damaged, or so many more than the packed ones that it must be a mistake.
    """
    most = max(MOST_UNPACKED, MOST_TIMES * len(content))
    try:
        with pa.CompressedInputStream(pa.BufferReader(content), packed) as stream:
            unpacked = stream.read(most + 1)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{where} is not a whole {packed} file: {' '.join(str(error).split())}") from None
    if len(unpacked) > most:
        raise UserError(f"{where} unpacks to more than {most:,} bytes, {MOST_TIMES} times its size; unpack it yourself")
    return unpacked


def decode(content: bytes, path: str | Path) -> str:
    """The text of UTF-8 bytes, as `read_text`."""
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = MARKS.get(content[:2]) or f"the byte 0x{content[error.start]:02x}"
        raise UserError(f"{path}:{line}: found {found}; expected text in UTF-8") from None


def read_json(path: str | Path, *, expected: str = "JSON"):
    """The content of a JSON file.

    Args:
        path: of the file.
        expected: what an error says was expected, "the official examples".

    Raises:
        UserError: as `read_text` and `parse_json`.
    """
    return parse_json(read_text(path), path, expected=expected)


def read_jsonl(path: str | Path, *, constants: bool = False) -> Iterator[dict]:
    """The objects of a JSON-lines file; blank lines at its end are allowed.

    Args:
        path: of the file. constants: as `parse_json`.

    Raises:
        UserError: as `read_text` and `parse_json`, with the line; an empty file, or a line that holds no object.
    """
    text = read_text(path).rstrip()
    if not text:
        raise UserError(f"{path} is empty; expected one JSON object per line")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            raise UserError(f"{path}:{number} is empty; expected one JSON object per line")
        row = parse_json(line, path, line=number, expected="one JSON object per line", constants=constants)
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number} holds a {type(row).__name__}; expected a JSON object")
        yield row


def read_csv(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file as texts, each with the line that it ends on; empty lines are left out.

    Raises:
        UserError: as `read_text`; a quote that is never closed, or a cell too long; names the line.
    """
    rows = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        for row in rows:
            if row:
                yield rows.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}:{rows.line_num} is not CSV ({error})") from None


def parse_json(
    text: str, path: str | Path, *, line: int | None = None, expected: str = "JSON", constants: bool = False
):
    """The content of a JSON text.

    Args:
        text: to parse.
        path: of the file that it is from, for errors.
        line: of the file that the text is, if it is one.
        expected: what an error says was expected.
        constants: NaN and Infinity, which some tools write, are null instead of an error.

    Raises:
        UserError: no JSON; NaN or Infinity, which JSON does not know; a number beyond what a float holds; half of a
            surrogate pair, which no UTF-8 can hold; brackets nested too deeply.

    >>> parse_json('{"answer": 4}', "mine.jsonl", line=1)
    {'answer': 4}
    >>> parse_json('{"answer": NaN}', "mine.jsonl", line=1)
    Traceback (most recent call last):
    sharptheory.errors.UserError: mine.jsonl:1: found NaN, which is not JSON; expected a number or null
    """
    where = f"{path}" if line is None else f"{path}:{line}"
    try:
        content = (_LENIENT if constants else _DECODER).decode(text)
        # Looked for only where there can be one: it is written as an escape, or is in a text that is not from UTF-8.
        half = _half_pair(content) if "\\ud" in text.lower() or not _is_utf8(text) else None
    except json.JSONDecodeError as error:
        at = (line or 1) + error.lineno - 1
        raise UserError(f"{path}:{at} is not valid JSON ({error.msg}); expected {expected}") from None
    except _WrongNumber as error:
        raise UserError(f"{where}: found {error}") from None
    except RecursionError:
        raise UserError(f"{where} is nested too deeply; expected {expected}") from None
    if half is not None:
        raise UserError(
            f"{where}{half}: found half of a surrogate pair (\\ud800 to \\udfff); expected whole characters"
        )
    return content


def _is_utf8(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


class _WrongNumber(Exception):
    """A number that JSON does not know or that no float holds."""


def _no_constant(text: str):
    raise _WrongNumber(f"{text}, which is not JSON; expected a number or null")


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise _WrongNumber(f"a number of {len(text)} digits; expected at most {MOST_DIGITS}")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _WrongNumber(f"{text[:40]}; expected a number below 1.8e308")
    return value


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_int=_whole, parse_float=_float)
_LENIENT = json.JSONDecoder(parse_constant=lambda _: None, parse_int=_whole, parse_float=_float)


def _half_pair(content, at: str = "") -> str | None:
    """Where in some JSON content a text holds half of a surrogate pair: ``, field 'prompt'``; None if nowhere."""
    match content:
        case str():
            return at if any("\ud800" <= character <= "\udfff" for character in content) else None
        case dict():
            parts = [(f"{at}, field {key!r}", part) for key, value in content.items() for part in (key, value)]
        case list():
            parts = [(at, part) for part in content]
        case _:
            return None
    return next((found for field, part in parts if (found := _half_pair(part, field)) is not None), None)
