"""The `sharptheory` command."""

import errno
import os
import sys
import warnings

from sharptheory.cli import argmax, check, compare, curves, diagnose, law, plan, train
from sharptheory.cli.app import app, say
from sharptheory.errors import UserError

__all__ = ["app", "argmax", "check", "compare", "curves", "diagnose", "law", "main", "plan", "train"]

#: Packages that only an extra installs.
EXTRAS = {"torch": "llm", "transformers": "llm", "safetensors": "llm", "math_verify": "tasks", "peft": "train",
          "accelerate": "train", "lm_eval": "bench"}  # fmt: skip
#: What to do when the system refuses a file.
CURES = {
    errno.ENOSPC: "free some space and repeat the command, or write elsewhere with --out",
    errno.EDQUOT: "free some of your quota and repeat the command, or write elsewhere with --out",
    errno.EFBIG: "files may not grow so large here; write elsewhere with --out",
    errno.EROFS: "write elsewhere with --out",
    errno.EACCES: "see to its permissions, or choose another path",
    errno.EPERM: "see to its permissions, or choose another path",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ENOTDIR: "a part of it is a file; choose another path",
    errno.EEXIST: "it is a file; choose another path",
    errno.EISDIR: "give a file instead",
    errno.ENOENT: "see whether it is spelled as it should be",
}


def main() -> None:
    """Entry point: what a user can mend is one line; a bug shows its traceback and where to report it."""
    warnings.showwarning = lambda message, *_, **__: say("warning", message, "yellow")
    try:
        app()
    except Exception as error:
        if (reason := explained(error)) is None:
            say(
                "bug",
                "please report your command and the lines below to the maintainers, as CONTRIBUTING.md says",
                "red",
            )
            raise
        if os.environ.get("SHARPTHEORY_TRACEBACK"):
            raise
        say("error", reason, "red")
        _forget_unwritable_output()
        sys.exit(2)


def explained(error: Exception) -> str | None:
    """What went wrong and how to mend it, in a line; None if only the maintainers can mend it."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError):
        return str(error) or "memory is full; ask for fewer --prompts or --samples, or lower --batch-tokens"
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return f"{error}; install the extra: pip install 'sharptheory[{EXTRAS[error.name]}]'"
    if isinstance(error, OSError):
        return _system(error)
    return None


def _system(error: OSError) -> str:
    """An error of the operating system: what could not be read or written, why, and what to do."""
    if error.strerror is None:
        return str(error)
    what = "standard output" if error.filename is None else error.filename
    # Libraries wrap the words of the system in their own; the number tells.
    why, cure = os.strerror(error.errno) if error.errno in CURES else error.strerror, CURES.get(error.errno)
    return f"{what}: {why[:1].lower()}{why[1:]}" + (f"; {cure}" if cure else "")


def _forget_unwritable_output() -> None:
    """Python flushes standard output once more when it ends, and would complain once more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
