"""Tasks by name or from a file."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from sharptheory.errors import UserError
from sharptheory.tasks import arithmetic, file, game24, gsm8k, hub, math500, mmlu, multihop, prontoqa
from sharptheory.tasks.task import Task

#: Tasks with a generator: their modules have `Difficulty`, `load` and `training_pairs`.
GENERATED = {"arithmetic": arithmetic, "multihop": multihop}
#: Tasks with an official file: its name, and their loaders.
OFFICIAL = {
    "gsm8k": ("test.jsonl", gsm8k.load),
    "game24": ("24.csv", game24.load),
    "math500": ("MATH500.json", math500.load),
    "mmlu": ("", mmlu.load),  # a folder of subjects, or one subject's csv
    "prontoqa": ("prontoqa.json", prontoqa.load),
}

__all__ = ["GENERATED", "OFFICIAL", "Task", "load_task", "split_task"]


def load_task(
    name: str,
    n_prompts: int,
    *,
    seed: int = 0,
    extract: str = "last-number",
    data: str | Path | None = None,
    shots: int | None = None,
    split: str = "test",
) -> Task:
    """`n_prompts` problems of a registered task, or the first ones of a JSON-lines file.

    Args:
        name: of a task or a file; a generated task may say how hard it is, ``arithmetic:max_terms=8,operators=+-*``.
        data: official file of the task, or the folder that holds it; by default those in `hub.HUB` come from the hub.
        shots: worked examples, default the task's own.
        split: ``train`` or ``test`` of a generated task; files have one.

    Raises:
        ValueError: neither a registered name nor a file, or no data for a task that needs it.
    """
    if n_prompts < 1:
        raise UserError(f"prompts={n_prompts}; expected at least 1")
    if name in OFFICIAL:
        filename, load = OFFICIAL[name]
        if data is None and name in hub.HUB:
            data = hub.fetch(name)
        if data is None:
            raise UserError(
                f"task {name!r} reads an official file; give --data PATH to {filename or 'it'} or its folder"
            )
        path = Path(data) / filename if Path(data).is_dir() else Path(data)
        if not (path.exists() if name == "mmlu" else path.is_file()):
            raise UserError(f"task data {path} does not exist; expected the official {filename} of {name}")
        return load(n_prompts, data=path, seed=seed, **({} if shots is None else {"shots": shots}))
    if data is not None or shots is not None:
        raise UserError(f"--data and --shots belong to {', '.join(OFFICIAL)}; task {name!r} takes neither")
    kind, _, knobs = name.partition(":")
    if kind in GENERATED:
        return GENERATED[kind].load(n_prompts, seed=seed, split=split, **_difficulty(kind, knobs))
    if Path(name).is_file():
        return file.load(name, n_prompts, extract=extract)
    raise UserError(f"task {name!r} is neither a file nor one of: {', '.join([*GENERATED, *OFFICIAL])}")


def split_task(name: str, n_train: int, n_test: int, **options) -> tuple[Task, Task]:
    """Prompts to learn from and prompts to measure on, disjoint: by the split of a generated task, else by place.

    Of a file the first `n_test` problems are held out and the next `n_train` are learnt from.
    """
    if name.partition(":")[0] in GENERATED:
        return load_task(name, n_train, split="train", **options), load_task(name, n_test, split="test", **options)
    task = load_task(name, n_test + n_train, **options)
    if len(task.prompts) < n_test + 1:
        raise UserError(
            f"task {name!r} has {len(task.prompts)} problems; none is left to learn from after {n_test} held out"
        )
    parts = (slice(n_test, None), slice(0, n_test))
    learnt, held_out = (replace(task, prompts=task.prompts[p], answers=task.answers[p]) for p in parts)
    return learnt, held_out


def _difficulty(kind: str, knobs: str) -> dict:
    """The options in ``max_terms=8,operators=+-*``, checked against the generator's `Difficulty`."""
    defaults = {field.name: field.default for field in fields(GENERATED[kind].Difficulty)}
    options = {}
    for knob in filter(None, knobs.split(",")):
        key, _, text = knob.partition("=")
        if key not in defaults:
            raise UserError(f"task {kind}:{knobs}: option {key!r} is unknown; expected {', '.join(defaults)}")
        try:
            options[key] = type(defaults[key])(text)
        except ValueError:
            raise UserError(f"task {kind}:{knobs}: {key}={text!r}; expected a whole number") from None
    return options
