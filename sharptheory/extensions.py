"""Code of the user's own: an object in a file, or an entry point of an installed package. Only what is named runs."""

from __future__ import annotations

import difflib
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from sharptheory.errors import UserError
from sharptheory.files import read_text


def load_object(spec: str, *, group: str, kind: str, known: Sequence[str] = ()):
    """The object that ``path/to/file.py:name`` or an entry point's name stands for.

    Args:
        group: of the entry points. kind: what messages call it. known: names that exist besides, for the message.

    Raises:
        UserError: no such file, name or entry point, or the code itself fails; names the file.
    """
    path, _, name = spec.partition(".py:")
    if name:
        module = load_file(Path(f"{path}.py"), kind=kind)
        if not hasattr(module, name):
            offered = [each for each in vars(module) if not each.startswith("_")]
            raise UserError(f"{kind} file {path}.py has no {name!r}; it has {', '.join(offered) or 'nothing'}")
        return getattr(module, name)
    if spec in installed(group):
        return load_entry_point(spec, group=group, kind=kind)[1]
    names = [*known, *sorted(installed(group))]
    near = difflib.get_close_matches(spec, names, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise UserError(f"{kind} {spec!r} is unknown{hint}; expected one of {', '.join(names)}, or ./file.py:name")


def load_file(path: str | Path, *, kind: str) -> ModuleType:
    """The module that a Python file makes; runs it.

    Raises:
        UserError: there is none, or it fails; names the file and the line.
    """
    if not Path(path).is_file():
        raise UserError(f"{kind} file {path} does not exist")
    source = read_text(path)
    module = ModuleType(f"sharptheory_{kind}_{Path(path).stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses look for the names of a module
    call(str(path), "running it", lambda: exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__))
    return module


def installed(group: str) -> set[str]:
    """The names that installed packages offer in a group of entry points, none of them loaded."""
    return set(entry_points(group=group).names)


def load_entry_point(name: str, *, group: str, kind: str) -> tuple[str, object]:
    """Where the object of an installed package is from, for messages, and the object; runs the package's code.

    Raises:
        UserError: it cannot be loaded, or several packages have one of this name.
    """
    points = sorted({point.value: point for point in entry_points(group=group, name=name)}.items())
    if len(points) > 1:
        raise UserError(f"{kind} {name!r} is announced by several packages: {', '.join(value for value, _ in points)}")
    [(value, point)] = points
    where = f"{kind} {name!r} ({value})"
    return where, call(where, "import", point.load)


def call(where: str, what: str, function: Callable, *arguments, **options):
    """What a function of the user's returns; what it raises is theirs to mend, and says the line of their file.

    Raises:
        UserError: it failed; `where` and `what` say in which file and what of it.
    """
    try:
        return function(*arguments, **options)
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == where]
        line = f":{lines[-1]}" if lines else ""
        raise UserError(f"{where}{line}: {what} failed with {type(error).__name__}: {error}") from error
