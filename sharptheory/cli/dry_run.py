"""What `--dry-run` prints: what a run would take, without running it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sharptheory.cli.app import console, number_table
from sharptheory.cli.limits import existing, free_space, in_bytes
from sharptheory.cli.limits import memory as memory_here
from sharptheory.cli.options import Options

if TYPE_CHECKING:
    from sharptheory.llm.dry_run import Stage


def show(options: Options, title: str, stages: Sequence[Stage], memory: int) -> None:
    """A row per stage and one for all: tokens, time, disk; below it memory, and what the machine has.

    Args:
        memory: bytes that the run holds at once.
    """
    from sharptheory.llm.dry_run import total

    rows = [
        (
            stage.name,
            f"{stage.tokens:,.0f}" if stage.tokens else "",
            ("≤ " if stage.at_most else "") + duration(stage.seconds) if stage.seconds else "",
            in_bytes(int(stage.disk)),
        )
        for stage in (*stages, *([total(stages)] if len(stages) > 1 else []))
    ]
    console.print(number_table(("stage", "tokens", "time", "disk"), rows, f"{title}: what the whole run would take"))
    here = memory_here()
    has = "" if here is None or options.device not in (None, "cpu") else f", of {in_bytes(here)}"
    free = in_bytes(free_space(options.out))
    console.print(
        f"memory: about {in_bytes(memory)} at once{has}; disk: {free} free in {existing(options.out)}", soft_wrap=True
    )
    if any(stage.at_most for stage in stages):
        console.print("≤: the probe was too short for a batch or a search of the run's size, so its time is a bound.")
    console.print(
        "Nothing was written. Time is that of this machine as busy as it is now, without loading and reporting. "
        "Memory is without what the report takes for a moment, disk without what is downloaded or converted."
    )


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3.5 min``, ``2.1 h``, ``4.0 d``."""
    for size, unit, most in ((1, "s", 120), (60, "min", 120), (3_600, "h", 48)):
        if seconds < most * size:
            value = seconds / size
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 86_400:,.1f} d"
