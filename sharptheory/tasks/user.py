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
from sharptheory.tasks.task import Task, is_text

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
            extract=_guarded_extract(task.extract, where),
            equal=_guarded_test(task.equal, where, "equal"),
            readable=task.readable and _guarded_test(task.readable, where, "readable"),
        )

    options = {p: a.default for p, a in named.items() if p not in STANDARD and type(a.default) in (int, float, str)}
    return Entry(name, guarded, (inspect.getdoc(load) or "").partition("\n")[0], options=options)


def _guarded_extract(extract: Callable, where: str) -> Callable[[str], str | None]:
    """A user's reading of answers, whose failures name `where` it is from."""
    code = getattr(extract, "__code__", None)
    line = f":{code.co_firstlineno}" if code and code.co_filename == where else ""

    def guarded(response: str) -> str | None:
        answer = call(where, "extract", extract, response)
        if answer is None or is_text(answer):
            return answer
        found = "half of a surrogate pair" if isinstance(answer, str) else f"a {type(answer).__name__}"
        raise UserError(f"{where}{line}: extract returned {found}; expected a text or None")

    return guarded


def _guarded_test(test: Callable, where: str, what: str) -> Callable[..., bool]:
    """A user's function of answers as one of true and false, whose failures name `where` it is from."""
    return lambda *answers: call(where, what, lambda: bool(test(*answers)))
