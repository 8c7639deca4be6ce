"""The `sharptheory` command."""

import os
import sys
import warnings

from rich.console import Console

from sharptheory.cli import argmax, check, compare, curves, diagnose, law, train
from sharptheory.cli.app import app, console

__all__ = ["app", "argmax", "check", "compare", "curves", "diagnose", "law", "main", "train"]


def main() -> None:
    """Entry point: errors that a user can mend are one line, not a traceback (SHARPTHEORY_TRACEBACK=1 shows it)."""
    warnings.showwarning = lambda message, *_, **__: console.print(f"[yellow]warning:[/] {message}")
    try:
        app()
    except (ValueError, FileNotFoundError, MemoryError, PermissionError, ModuleNotFoundError) as error:
        if os.environ.get("SHARPTHEORY_TRACEBACK"):
            raise
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name in ("torch", "transformers", "safetensors"):
            hint = "; install the extra: pip install 'sharptheory[llm]'"
        Console(stderr=True).print(f"error: {error}{hint}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
