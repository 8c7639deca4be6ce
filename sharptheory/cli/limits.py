"""Sizes that cannot work are refused before anything is loaded, with the number and what would fit."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

from sharptheory.errors import UserError

#: Bytes of memory that a response takes at least: its text, its tokens, and what is estimated from it.
RESPONSE = 2_048
#: Bytes of disk that it takes at least, compressed.
RESPONSE_ON_DISK = 32
#: Largest values that options take, whatever the machine.
WIDTH = 1_000  # beams, each with its own cache
PARTICLES = 10_000  # of power sampling
STEPS = 100_000  # of its chains
INSTANCES = 10_000_000  # of `check`
BUDGET = 10_000_000  # prefixes that a search expands
FAMILY = 1e7  # C/ε of `curves`: a minute
FAMILIES = 10_000  # points of its grid


def check_size(counts: dict[str, int], *, each: int = RESPONSE, out: Path | None = None) -> None:
    """Refuse a product of options that needs more memory than the machine has, or more disk than is free.

    Args:
        counts: value of each option, named as it is typed. each: bytes of memory for one of the product.
        out: where the responses are written; None if they are not.

    Raises:
        UserError: says what was asked, what that takes, and what would fit.
    """
    _refuse_beyond(memory(), each, "memory, and this machine has", counts)
    if out is not None:
        _refuse_beyond(free_space(out), RESPONSE_ON_DISK, f"disk, and {existing(out)} has free", counts)


def _refuse_beyond(have: int | None, each: int, of_what: str, counts: dict[str, int]) -> None:
    need = math.prod(counts.values()) * each
    if have is None or need <= have:
        return
    asked = " × ".join(f"{option} {count:,}" for option, count in counts.items())
    largest = max(counts, key=counts.get)
    fitting = have * counts[largest] // need
    cure = f"{largest} {fitting} would fit" if fitting else "none of it fits"
    raise UserError(f"{asked} takes at least {in_bytes(need)} of {of_what} {in_bytes(have)}; {cure}")


def memory() -> int | None:
    """Bytes of physical memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def free_space(path: Path) -> int:
    """Bytes that are free where a path is, or would be."""
    return shutil.disk_usage(existing(path)).free


def in_bytes(count: int) -> str:
    """``131 GB``: bytes in a unit that leaves a readable number."""
    for power, unit in ((5, "PB"), (4, "TB"), (3, "GB"), (2, "MB")):
        if count >= 1_000**power:
            return f"{count / 1_000**power:,.3g} {unit}" if count < 10**18 else f"{count // 1_000**power:,} {unit}"
    return f"{count:,} bytes"


# Where results go -----------------------------------------------------------------------------------------------------


def existing(path: Path) -> Path:
    """The nearest ancestor of a path, or itself, that exists."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def check_kept(given: Path, out: Path, *, force: bool) -> None:
    """Refuse to discard, with the run in `--out`, a file that the new run is to be made from."""
    if force and out.is_dir() and given.resolve().is_relative_to(out.resolve()):
        raise UserError(f"--pool {given} lies in --out {out}, which --force discards; move it, or choose another --out")


def check_out(out: Path, *, folder: bool = True) -> None:
    """Refuse an `--out` that cannot be written, now instead of after the work.

    Args:
        folder: it is a folder; else a file.

    Raises:
        UserError: a file where a folder is needed, or the reverse, or no permission to write.
    """
    found = existing(out)
    if found == out.absolute() and found.is_dir() != folder:
        raise UserError(f"--out {out} is a {'file; give a folder' if folder else 'folder; give a file'}")
    if found != out.absolute() and not found.is_dir():
        raise UserError(f"--out {out} lies under the file {found}; choose another --out")
    if not os.access(found, os.W_OK):
        raise UserError(f"--out {out}: {found} cannot be written to; choose another --out or see to its permissions")
