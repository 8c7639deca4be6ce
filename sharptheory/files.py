"""Text files that people hand in: every error names file and line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from sharptheory.errors import UserError


def read_jsonl(path: str | Path) -> Iterator[dict]:
    """The objects of a JSON-lines file; blank lines at its end are allowed, anything else is an error with its line."""
    text = Path(path).read_text(encoding="utf-8").rstrip()
    if not text:
        raise UserError(f"{path} is empty; expected one JSON object per line")
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            reason = "is empty" if not line.strip() else f"is not valid JSON ({error.msg})"
            raise UserError(f"{path}:{number} {reason}; expected one JSON object per line") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number} holds a {type(row).__name__}; expected a JSON object")
        yield row
