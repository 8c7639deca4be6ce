"""Code of the user's own: an object in a file, or an entry point of an installed package. Only what is named runs."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from sharptheory.errors import UserError


def load_object(spec: str, *, group: str, kind: str, known: Sequence[str] = ()):
    """The object that ``path/to/file.py:name`` or an entry point's name stands for.

    Args:
        group: of the entry points. kind: what messages call it. known: names that exist besides, for the message.

    Raises:
        UserError: no such file, name or entry point, or the code itself fails; names the file.
    """
    path, _, name = spec.partition(".py:")
    if name:
        return _from_file(Path(f"{path}.py"), name, kind)
    offered = {entry.name: entry for entry in metadata.entry_points(group=group)}
    if spec in offered:
        try:
            return offered[spec].load()
        except Exception as error:
            raise UserError(f"{kind} {spec!r}, entry point {offered[spec].value}: {_reason(error)}") from error
    names = [*known, *offered]
    near = difflib.get_close_matches(spec, names, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise UserError(f"{kind} {spec!r} is unknown{hint}; expected one of {', '.join(names)}, or ./file.py:name")


def _from_file(path: Path, name: str, kind: str):
    if not path.is_file():
        raise UserError(f"{kind} file {path} does not exist")
    module_spec = importlib.util.spec_from_file_location(f"sharptheory_user_{path.stem}", path)
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module  # dataclasses and pickle look their module up
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_spec.name]
        raise UserError(f"{kind} file {path} does not run: {_reason(error)}") from error
    if not hasattr(module, name):
        offered = [each for each in vars(module) if not each.startswith("_")]
        raise UserError(f"{kind} file {path} has no {name!r}; it has {', '.join(offered) or 'nothing'}")
    return getattr(module, name)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
