"""What the readers of other tools' files share: fields by name, errors by place, and what they hand on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sharptheory.errors import UserError
from sharptheory.measure.pool import TEXT, shown

#: What a message calls the i-th row of a frame.
Where = Callable[[int], str]
#: Responses of one file: more are rather a wrong number in a field than samples.
MOST_ROWS = 20_000_000
KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
_REQUIRED = object()


@dataclass(frozen=True)
class Imported:
    """What a reader makes of a file.

    Attributes:
        frame: one row per response, columns as in `sharptheory.measure.pool`.
        where: what errors call its i-th row.
        format: of the file, in words; empty for a plain table.
        notes: what was taken for what, and what was left out: sentences.
    """

    frame: pd.DataFrame
    where: Where = "row {}".format
    format: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """An object of JSON and where it stands.

    >>> Record({"usage": {"tokens": "3"}}, "a.jsonl:7").field("usage.tokens", int)
    Traceback (most recent call last):
    sharptheory.errors.UserError: a.jsonl:7, field 'usage.tokens': found '3'; expected a whole number
    """

    content: Mapping[str, Any]
    where: str

    def __contains__(self, name: str) -> bool:
        return name in self.content

    def field(self, path: str, *kinds: type, default: Any = _REQUIRED) -> Any:
        """The value at a path of names such as ``output.choices``, of one of the kinds.

        Args:
            path: names joined by dots. kinds: any if none is given; an int is a float too, a bool is neither.
            default: what is returned where the field is missing or null.

        Raises:
            UserError: it is missing without a default, or of another kind; names place and field.
        """
        value: Any = self.content
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is None and default is not _REQUIRED:
            return default
        if value is None:
            raise UserError(f"{self.where}, field {path!r} is missing; expected {_named(kinds)}")
        wanted = (*kinds, int) if float in kinds else kinds
        if kinds and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in kinds)):
            raise self.wrong(path, value, _named(kinds))
        return value

    def wrong(self, path: str, found: Any, expected: str) -> UserError:
        """The error that a field holds something else."""
        return UserError(f"{self.where}, field {path!r}: found {shown(found)}; expected {expected}")

    def part(self, content: Mapping[str, Any], where: str = "") -> Record:
        """A record inside of this one."""
        return Record(content, f"{self.where}{where and f', {where}'}")


def _named(kinds: Sequence[type]) -> str:
    return " or ".join(KINDS[kind] for kind in kinds) or "a value"


def table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a frame: texts and ids as they are, other columns by what they hold."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    exact = {*TEXT, "prompt_id", "tokens"}
    columns = {
        name: pd.Series([row.get(name) for row in rows], dtype=object if name in exact else None) for name in names
    }
    return pd.DataFrame(columns, index=range(len(rows)))


def total(values: Sequence[Any], path: str, record: Record) -> float:
    """The sum of a response's token log-probabilities [nats].

    Raises:
        UserError: one of them is no number, or is above 0.
    """
    for i, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value <= 1e-3:
            raise record.wrong(f"{path}[{i}]", value, "a log-probability, at most 0")
    return min(math.fsum(values), 0.0)


def grade(value: Any) -> bool | None:
    """A grade that is one of two: true or false, 1 or 0; None for anything else."""
    if isinstance(value, bool):
        return value
    return bool(value) if isinstance(value, (int, float)) and value in (0, 1) else None


def others(names: Sequence[str], taken: str) -> str:
    """What else could have been taken: `` (there is also f1)``."""
    left = [name for name in names if name != taken]
    return f" (there is also {', '.join(left)})" if left else ""


def of_temperature(temperature: Any) -> str | None:
    """What a temperature other than 1 means for the numbers; None at 1."""
    if temperature is None or temperature == 1:
        return None
    if temperature == 0:
        return "The responses are greedy (temperature 0), no samples: more of them tell nothing new."
    return f"Sampled at temperature {temperature:g}: all numbers are about that law, not the model's own."


def refuse_columns(columns: Mapping[str, str], allowed: Sequence[str], format: str) -> None:
    """Refuse renamings that a format which names its own columns has no use for."""
    if wrong := [name for name in columns if name not in allowed]:
        what = f"only {' and '.join(allowed)} can be chosen" if allowed else "nothing can be renamed"
        raise UserError(f"columns: {wrong[0]}={columns[wrong[0]]}: in {format} {what}")
