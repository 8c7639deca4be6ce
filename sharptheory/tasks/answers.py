"""A task from a JSON-lines file of ``{"prompt": …, "answer": …}``, with a choice of answer extractor."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from sharptheory.errors import UserError
from sharptheory.files import read_jsonl
from sharptheory.tasks.task import Task

NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")


def last_number(text: str) -> str | None:
    """The last number in a text, without thousands separators and in canonical form: ``1,234.50`` is ``1234.5``."""
    found = NUMBER.findall(text)
    return canonical_number(found[-1]) if found else None


def canonical_number(text: str) -> str | None:
    """A number's shortest spelling, or None if the text is no number; ``-0`` is ``0``, ``5.0`` is ``5``."""
    text = text.replace(",", "").strip()
    if re.fullmatch(r"[-+]?\d+", text):
        return str(int(text))
    try:
        value = float(text)
    except ValueError:
        return None
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def exact(text: str) -> str | None:
    """The whole response, surrounding white space removed; None if nothing is left."""
    return text.strip() or None


def extractor(spec: str) -> Callable[[str], str | None]:
    """An answer extractor: ``exact``, ``last-number``, or ``regex:PATTERN`` (last match, its first group if any).

    Raises:
        ValueError: unknown name or a pattern that does not compile.
    """
    if spec == "exact":
        return exact
    if spec == "last-number":
        return last_number
    kind, _, pattern = spec.partition(":")
    if kind != "regex" or not pattern:
        raise UserError(f"extractor {spec!r} is unknown; expected exact, last-number or regex:PATTERN")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"extractor {spec!r} is not a valid regular expression: {error}") from None

    def match(text: str) -> str | None:
        found = list(compiled.finditer(text))
        if not found:
            return None
        answer = found[-1].group(1 if compiled.groups else 0)
        return None if answer is None else answer.strip()

    return match


def load(path: str | Path, n_prompts: int | None, *, extract: str = "last-number", max_new_tokens: int = 512) -> Task:
    """The first `n_prompts` problems of a file (all if None); an answer may be missing or null (likelihood-only).

    Raises:
        ValueError: names file, line and field of the first bad row.
    """
    path, prompts, answers = Path(path), [], []
    read = extractor(extract)
    for number, row in enumerate(read_jsonl(path), start=1):
        prompt, answer = row.get("prompt"), row.get("answer")
        if not isinstance(prompt, str) or not prompt:
            raise UserError(f"{path}:{number}, field 'prompt': found {prompt!r}; expected a non-empty string")
        if not isinstance(answer, (str, int, float, type(None))) or isinstance(answer, bool):
            raise UserError(f"{path}:{number}, field 'answer': found {answer!r}; expected a string or a number")
        prompts.append(prompt)
        # A gold answer may be a bare answer or a solution text: read it the way a response is read.
        answers.append(None if answer is None else read(str(answer)) or str(answer).strip())
        if len(prompts) == n_prompts:
            break
    return Task(path.stem, prompts, answers, read, max_new_tokens=max_new_tokens)
