"""The `sharptheory` command."""

import os
import sys
import warnings

from rich.console import Console

from sharptheory.cli import argmax, check, compare, curves, diagnose, law, train
from sharptheory.cli.app import app
from sharptheory.errors import UserError

__all__ = ["app", "argmax", "check", "compare", "curves", "diagnose", "law", "main", "train"]

ISSUES = "https://github.com/sharptheory/sharptheory/issues"


def main() -> None:
    """Entry point: what a user can mend is one line; a bug shows its traceback and where to report it."""
    warnings.showwarning = lambda message, *_, **__: say("warning", message, "yellow")
    try:
        app()
    except (UserError, OSError, MemoryError, ModuleNotFoundError) as error:
        if os.environ.get("SHARPTHEORY_TRACEBACK"):
            raise
        say("error", f"{error}{_extra(error)}", "red")
        sys.exit(2)
    except Exception:
        say("bug", f"this should not happen; please report the lines below with your command: {ISSUES}", "red")
        raise


def say(kind: str, text: object, style: str) -> None:
    """One line on standard error, printed as it is."""
    Console(stderr=True).print(f"{kind}: {text}", style=style, markup=False, highlight=False, soft_wrap=True)


def _extra(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name in ("torch", "transformers", "safetensors"):
        return "; install the extra: pip install 'sharptheory[llm]'"
    return ""
