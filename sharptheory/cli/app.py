"""What the commands share: the app, its help, progress, tables and the files they write."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sharptheory.runs import write

#: In the order of a user's day; `--help` keeps it.
COMMANDS = ("plan", "diagnose", "argmax", "compare", "train", "check", "curves", "law")

#: Names, paths and answers are a user's: what looks like markup or an emoji in them is text.
console = Console(markup=False, emoji=False, highlight=False)


class _InOrder(typer.core.TyperGroup):
    def list_commands(self, context) -> list[str]:
        return list(COMMANDS)


def examples(*lines: str) -> str:
    """The end of a help page: commands to copy, each on a line of its own."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


app = typer.Typer(
    cls=_InOrder,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Can this language model improve itself by sharpening? Coverage, exact laws, bounds and measurement.",
    epilog=examples(
        "sharptheory diagnose --model arithmetic-1m --task arithmetic",
        "sharptheory law --probs 0.5,0.3,0.2 --n 1,4,16",
        "sharptheory diagnose --help",
    ),
)


def _version(asked: bool) -> None:
    if asked:
        console.print(f"sharptheory {metadata.version('sharptheory')}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the program itself."""


def say(kind: str, text: object, style: str) -> None:
    """One line on standard error, printed as it is."""
    line = " ".join(f"{kind}: {text}".split("\n"))
    Console(stderr=True, emoji=False).print(line, style=style, markup=False, highlight=False, soft_wrap=True)


# Progress -------------------------------------------------------------------------------------------------------------


def progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def stages(bar: Progress, label: str = "{stage}") -> Callable[[str, int, int], None]:
    """A callback ``(stage, done, total)`` with a line of the bar per stage, from the first time that it is heard of."""
    lines: dict[str, int] = {}

    def callback(stage: str, done: int, total: int) -> None:
        if stage not in lines:
            lines[stage] = bar.add_task(label.format(stage=stage, total=total), total=total)
        bar.update(lines[stage], completed=done, total=total)

    return callback


# Tables ---------------------------------------------------------------------------------------------------------------


def fact_table(rows: Sequence[tuple[str, str]], title: str) -> Table:
    """Names and values, two columns."""
    table = Table(title=title, show_header=False, title_justify="left", title_style="bold")
    for name, value in rows:
        table.add_row(name, value)
    return table


def number_table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str, *, words: int = 1) -> Table:
    """A table whose first `words` columns are words, which may wrap, and the others numbers, which never are cut."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE, show_edge=False, padding=(0, 1, 0, 0)
    )
    for i, column in enumerate(header):
        table.add_column(
            column,
            justify="left" if i < words else "right",
            no_wrap=i >= words,
            overflow="fold",
            min_width=12 if i < words else None,
        )
    for row in rows:
        table.add_row(*row)
    return table


# Files ----------------------------------------------------------------------------------------------------------------


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file, and say so."""
    write(path, json.dumps(content, indent=1) + "\n")
    say_written(path)


def say_written(path: Path) -> None:
    """The path on one line, however long, to be copied."""
    console.print(str(path), soft_wrap=True)
