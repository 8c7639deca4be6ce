"""Tasks by name or from a file."""

from __future__ import annotations

from pathlib import Path

from sharptheory.llm.tasks import arithmetic, file
from sharptheory.llm.tasks.task import Task

GENERATED = {"arithmetic": arithmetic.load}

__all__ = ["GENERATED", "Task", "load_task"]


def load_task(name: str, n_prompts: int, *, seed: int = 0, extract: str = "last-number") -> Task:
    """`n_prompts` problems of a registered task, or the first ones of a JSON-lines file.

    Raises:
        ValueError: neither a registered name nor a file.
    """
    if n_prompts < 1:
        raise ValueError(f"prompts={n_prompts}; expected at least 1")
    if name in GENERATED:
        return GENERATED[name](n_prompts, seed=seed)
    if Path(name).is_file():
        return file.load(name, n_prompts, extract=extract)
    raise ValueError(f"task {name!r} is neither a file nor one of: {', '.join(GENERATED)}")
