"""Tasks that a user adds without editing the package: a Python file, or an entry point of an installed package.

Either is a function ``load(n_prompts, *, seed, …) -> Task`` as `Entry.load`: it may take ``split``, ``data`` and ``shots``,
and options of its own, with a number or a text as default. A file ``mine.py``::

    from sharptheory.tasks import Task

    def load(n_prompts, *, seed, digits=2):
        prompts = …
        return Task("mine", prompts, answers, extract=lambda response: response.strip())

is ``--task ./mine.py`` or ``--task ./mine.py:digits=3``. A package announces its function as an entry point of the group
``sharptheory.tasks``. Only what is asked for by name runs: a list of the names there are reads metadata.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sharptheory import extensions
from sharptheory.errors import UserError
from sharptheory.extensions import call
from sharptheory.tasks.entry import STANDARD, Entry
from sharptheory.tasks.task import Task

GROUP = "sharptheory.tasks"


def installed() -> set[str]:
    """The names of the tasks of installed packages, none of them loaded."""
    return extensions.installed(GROUP)


def from_entry_point(name: str) -> Entry:
    """The task of an installed package; runs its code.

    Raises:
        UserError: it cannot be loaded, is no such function, or several packages have one of this name.
    """
    where, load = extensions.load_entry_point(name, group=GROUP, kind="task")
    return _entry(name, load, where)


def from_file(path: str | Path) -> Entry:
    """The task of a Python file; runs it.

    Raises:
        UserError: it cannot be run, or defines no such function.
    """
    module = extensions.load_file(path, kind="task")
    if not callable(load := getattr(module, "load", None)):
        raise UserError(f"{path} defines no function load(n_prompts, *, seed), which returns a sharptheory.tasks.Task")
    return _entry(Path(path).stem, load, str(path))


def _entry(name: str, load: Callable[..., Task], where: str) -> Entry:
    """An entry whose functions name `where` they are from when they fail."""
    if not callable(load):
        raise UserError(f"{where}: found a {type(load).__name__}; expected a function load(n_prompts, *, seed)")
    arguments = list(call(where, "load", inspect.signature, load).parameters.values())
    named = {p.name: p for p in arguments[1:] if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    needed = [p for p, argument in named.items() if argument.default is argument.empty and p not in ("seed", "split")]
    if not arguments or "seed" not in named or needed:
        raise UserError(
            f"{where}: load{inspect.signature(load)} cannot be called; expected load(n_prompts, *, seed), and a default for "
            "whatever else it takes but split"
        )

    @functools.wraps(load)
    def guarded(n_prompts: int, **given) -> Task:
        task = call(where, "load", load, n_prompts, **given)
        if not isinstance(task, Task):
            raise UserError(f"{where}: load returned a {type(task).__name__}; expected a sharptheory.tasks.Task")
        if len(task.prompts) > n_prompts:
            raise UserError(
                f"{where}: load returned {len(task.prompts)} prompts; expected at most the {n_prompts} asked for, such as "
                "sharptheory.tasks.choose(task, n_prompts, seed=seed)"
            )
        return replace(
            task,
            extract=_guard(task.extract, where, "extract", (str, type(None))),
            equal=_guard(task.equal, where, "equal", object),
            readable=task.readable and _guard(task.readable, where, "readable", object),
        )

    options = {p: a.default for p, a in named.items() if p not in STANDARD and type(a.default) in (int, float, str)}
    return Entry(name, guarded, (inspect.getdoc(load) or "").partition("\n")[0], options=options)


def _guard(function: Callable, where: str, what: str, kinds) -> Callable:
    """A function of a user's task, whose failures name `where` it is from."""

    def guarded(*arguments):
        found = call(where, what, function, *arguments)
        if not isinstance(found, kinds):
            raise UserError(f"{where}: {what} returned a {type(found).__name__}; expected a text or None")
        return found

    return guarded
