"""Text files that people hand in: every error names file and line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from sharptheory.errors import UserError


def read_text(path: str | Path) -> str:
    """The content of a UTF-8 file as it is, line ends included, without a byte order mark."""
    content = Path(path).read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        found = f"byte {content[error.start]:#x}"
        raise UserError(f"{path}:{line} is not UTF-8 text (found {found}); save it in that encoding") from None


def read_jsonl(path: str | Path) -> Iterator[dict]:
    """The objects of a JSON-lines file; blank lines at its end are allowed, anything else is an error with its line."""
    text = read_text(path).rstrip()
    if not text:
        raise UserError(f"{path} is empty; expected one JSON object per line")
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            reason = "is empty" if not line.strip() else f"is not valid JSON ({error.msg})"
            raise UserError(f"{path}:{number} {reason}; expected one JSON object per line") from None
        except RecursionError:
            raise UserError(f"{path}:{number} is nested too deeply; expected one JSON object per line") from None
        except ValueError as error:  # Python reads no integer of more than 4,300 digits
            raise UserError(f"{path}:{number} cannot be read ({error}); expected one JSON object per line") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number} holds a {type(row).__name__}; expected a JSON object")
        if "\\ud" in line.lower():
            try:
                json.dumps(row, ensure_ascii=False).encode()
            except UnicodeEncodeError:
                raise UserError(f"{path}:{number} holds a lone surrogate, which is no text") from None
        yield row
