"""Tasks by name, from a file, or from a user's code."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

from sharptheory.errors import UserError, expect_integers
from sharptheory.tasks import arithmetic, file, game24, gsm8k, math500, mmlu, multihop, prontoqa, user
from sharptheory.tasks.entry import Entry
from sharptheory.tasks.task import Task

#: The tasks that come with the package, by name. To add one is to write its file and to name it here.
TASKS: dict[str, Entry] = {
    module.ENTRY.name: module.ENTRY for module in (arithmetic, multihop, gsm8k, game24, math500, mmlu, prontoqa)
}
#: Prompts that a task may be asked for.
MOST_PROMPTS = 1_000_000


def names() -> list[str]:
    """The names of all tasks: of this package, then of installed packages that announce some; runs no code of theirs."""
    return [*TASKS, *sorted(user.installed() - set(TASKS))]


def load_task(
    name: str,
    n_prompts: int,
    *,
    seed: int = 0,
    extract: str | None = None,
    data: str | Path | None = None,
    shots: int | None = None,
    split: str = "test",
) -> Task:
    """`n_prompts` problems of a task.

    Which ones `seed` decides, and a larger request begins with the problems of a smaller one. A generated task samples
    them. Those of a file, official or not, are the first of a random order of all; where it holds fewer, all are taken,
    and ``len(task.prompts)`` says how many.

    Args:
        name: of a task (see `names`); a ``.jsonl`` file; or a ``.py`` file that defines ``load`` (see `tasks.user`). What
            takes options has them after a colon, ``arithmetic:max_terms=8,operators=+-*``.
        n_prompts: how many.
        seed: decides which.
        extract: how a ``.jsonl`` file's answers are read, default ``last-number``; see `tasks.answers.extractor`.
        data: official file of the task, or the folder that holds it; by default fetched from the hub, if it is there.
        shots: worked examples, default the task's own.
        split: ``train`` or ``test``, of a task that has both; `split_task` cuts the others in two.

    Raises:
        UserError: no such task, an argument it does not take, bad data (names file, line and field), or fewer distinct
            problems than asked for.

    >>> task = load_task("arithmetic:max_terms=3,max_value=9", 2, seed=1)
    >>> task.prompts, task.answers
    (['2-4-7=', '2+5-5='], ['-9', '2'])
    """
    entry, options = _find(name, extract=extract)
    expect_integers(1, MOST_PROMPTS, prompts=n_prompts)
    expect_integers(0, seed=seed)
    return entry.problems(n_prompts, seed=seed, split=split, data=data, shots=shots, options=options)


def split_task(
    name: str,
    n_train: int,
    n_test: int,
    *,
    seed: int = 0,
    extract: str | None = None,
    data: str | Path | None = None,
    shots: int | None = None,
) -> tuple[Task, Task]:
    """Problems to learn from and problems to measure on, with no prompt in common.

    A generated task has a training and a test half, whatever the seed. Of a file, `seed` decides a random order: the
    first `n_test` are held out, which are those that `load_task` gives, and the next `n_train` are learnt from. So
    measure with the seed that you train with: under another, the held-out problems may be ones that were learnt from.

    Args:
        name: as in `load_task`, and so are the options.
        n_train: problems to learn from; fewer if a file holds fewer, or repeats a prompt.
        n_test: problems to measure on.

    Returns:
        The task to learn from, and the task to measure on.

    Raises:
        UserError: as `load_task`; nothing is left to learn from.
    """
    entry, options = _find(name, extract=extract)
    expect_integers(1, MOST_PROMPTS, **{"prompts to learn from": n_train})
    expect_integers(1, MOST_PROMPTS, **{"prompts to measure on": n_test})
    expect_integers(0, seed=seed)
    problems = functools.partial(entry.problems, seed=seed, data=data, shots=shots, options=options)
    if entry.takes("split"):
        learnt, held_out = problems(n_train, split="train"), problems(n_test, split="test")
        if common := set(learnt.prompts) & set(held_out.prompts):
            raise UserError(f"task {name!r}: {len(common)} prompts are in both splits, such as {min(common)[:80]!r}")
        return learnt, held_out
    task = problems(n_train + n_test)
    held_out = task.select(range(min(n_test, len(task.prompts))))
    measured = set(held_out.prompts)
    rest = [i for i in range(n_test, len(task.prompts)) if task.prompts[i] not in measured]
    if not rest:
        raise UserError(
            f"task {name!r} has {len(task.prompts)} problems; none is left to learn from after {n_test} held out"
        )
    return task.select(rest), held_out


def _find(name: str, *, extract: str | None) -> tuple[Entry, str]:
    """The entry of a task, and the options in its name."""
    kind, _, options = name.partition(":")
    code = re.fullmatch(r"(.+\.py)(?::(.*))?", name)
    if kind in TASKS:
        entry = TASKS[kind]
    elif kind in user.installed():
        entry = user.from_entry_point(kind)
    elif code and os.path.isfile(code[1]):
        entry, options = user.from_file(code[1]), code[2] or ""
    elif os.path.isfile(name):
        load = functools.partial(file.load, name, extract=extract or "last-number")
        return Entry(Path(name).stem, load), ""
    else:
        raise UserError(f"task {name!r} is neither a file nor one of: {', '.join(names())}")
    if extract not in (None, "last-number"):
        raise UserError(f"task {name!r} reads answers in its own way; found extract={extract!r}, for .jsonl files")
    return entry, options
