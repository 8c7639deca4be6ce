"""What the registry knows of a task: one `Entry` per file of this folder."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sharptheory.errors import UserError
from sharptheory.tasks.official import Hub, fetch
from sharptheory.tasks.task import Task

#: What every `load` may take besides the number of prompts; anything else is an option of its own.
STANDARD = ("seed", "split", "data", "shots")


@dataclass(frozen=True)
class Entry:
    """A task's name, and how its problems are had.

    Args:
        name: what ``--task`` calls it.
        load: ``load(n_prompts, *, seed, …) -> Task``. It takes of `STANDARD` what it needs: ``split`` ("train" or "test")
            if its problems come in two halves, ``data`` if it reads a file, ``shots`` if it shows worked examples.
        about: a line for help texts.
        files: names of the official files that `load` reads, if it does.
        hub: where they can be fetched.
        options: what else `load` takes, with defaults: how hard the problems are. Numbers or texts.
        training_pairs: ``training_pairs(n, rng, **options)`` samples n pairs of a training prompt and a solution.
    """

    name: str
    load: Callable[..., Task]
    about: str = ""
    files: tuple[str, ...] = ()
    hub: Hub | None = None
    options: Mapping[str, int | float | str] = field(default_factory=dict)
    training_pairs: Callable[..., list[tuple[str, str]]] | None = None

    def takes(self, argument: str) -> bool:
        """Whether `load` has an argument of this name."""
        return argument in inspect.signature(self.load).parameters

    def problems(
        self,
        n_prompts: int,
        *,
        seed: int,
        split: str = "test",
        data: str | Path | None = None,
        shots: int | None = None,
        options: str = "",
    ) -> Task:
        """`n_prompts` problems, fewer if an official file holds fewer.

        Args:
            n_prompts: how many.
            seed: decides which.
            split: ``train`` or ``test``, of a task that has both.
            data: official file or its folder; by default the hub's, if it is there.
            shots: worked examples, default the task's own.
            options: ``key=value,key=value``.

        Raises:
            UserError: an argument that the task does not take, or whose value is wrong; no data for a task that needs it.
        """
        if self.files and data is None:
            data = fetch(self.name, self.hub) if self.hub else None
            if data is None:
                raise UserError(
                    f"task {self.name!r} reads an official file; give --data PATH to {' or '.join(self.files)} or its folder"
                )
        if split not in ("train", "test") or (split == "train" and not self.takes("split")):
            expected = "train or test" if self.takes("split") else "test: its problems are not split"
            raise UserError(f"task {self.name!r}: split={split!r}; expected {expected}")
        given = {"data": None if data is None else Path(data), "shots": shots}
        for argument, value in given.items():
            if value is not None and not self.takes(argument):
                raise UserError(f"task {self.name!r} takes no {argument}; found {argument}={str(value)!r}")
        given = {argument: value for argument, value in given.items() if value is not None}
        if self.takes("split"):
            given["split"] = split
        return self.load(n_prompts, seed=seed, **given, **self._parsed(options))

    def _parsed(self, options: str) -> dict:
        """The options in ``max_terms=8,operators=+-*``, each of the type of its default."""
        parsed: dict[str, int | float | str] = {}
        where = f"task {self.name}:{options}"
        for option in filter(None, options.split(",")):
            key, _, text = option.partition("=")
            if key not in self.options:
                raise UserError(f"{where}: option {key!r} is unknown; expected {', '.join(self.options) or 'none'}")
            if key in parsed:
                raise UserError(f"{where}: option {key!r} is given twice")
            kind = type(self.options[key])
            try:
                if kind is int and not re.fullmatch(r"[-+]?[0-9]{1,30}", text):
                    raise ValueError
                parsed[key] = kind(text)
            except ValueError:
                number = "a whole number" if kind is int else "a number"
                raise UserError(f"{where}: {key}={text!r}; expected {number}") from None
        return parsed
