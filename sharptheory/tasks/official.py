"""Official task data: the files that a user gives, or those of the Hugging Face hub, fetched once and kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sharptheory.errors import UserError


@dataclass(frozen=True)
class Hub:
    """Where a task's data is on the hub.

    Args:
        dataset: its name there.
        files: those of the dataset, each with the official file that it becomes.
        convert: the text of the official file, from the table that the dataset's file holds.
    """

    dataset: str
    files: Mapping[str, str]
    convert: Callable[[pd.DataFrame], str]


def official_files(data: str | Path, names: Sequence[str]) -> list[Path]:
    """The official files that `data` stands for: itself, or if it is a folder those of `names` that it holds.

    Raises:
        UserError: there is no such file, or none of them in the folder.
    """
    data = Path(data)
    files = [data / name for name in names if (data / name).is_file()] if os.path.isdir(data) else [data]
    if not files:
        raise UserError(f"{data} holds none of {', '.join(names)}")
    if not os.path.isfile(files[0]):
        raise UserError(f"task data {data} does not exist; expected the official {' or '.join(names)}")
    return files


def few_shot(examples: list[tuple[str, str]], question: str, shots: int) -> str:
    """A prompt of worked examples followed by the question.

    Args:
        examples: questions with their answers.
        question: asked last.
        shots: how many of the examples to show.

    Raises:
        UserError: more shots than examples.

    >>> print(few_shot([("1+1?", "2")], "2+2?", 1))
    Question: 1+1?
    Answer: 2
    <BLANKLINE>
    Question: 2+2?
    Answer:
    """
    if not 0 <= shots <= len(examples):
        raise UserError(f"shots={shots}; expected 0 to {len(examples)} for this task")
    blocks = [f"Question: {asked}\nAnswer: {answered}" for asked, answered in examples[:shots]]
    return "\n\n".join([*blocks, f"Question: {question}\nAnswer:"])


def cache() -> Path:
    """The folder for what is fetched."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sharptheory/tasks"


def fetch(name: str, hub: Hub) -> Path:
    """The folder with a task's official files, downloaded and converted on first use.

    Args:
        name: of the task, and of the folder.
        hub: where its data is.

    Raises:
        UserError: the hub cannot be reached, or has other columns than expected.
    """
    from huggingface_hub import hf_hub_download

    folder = cache() / name
    for remote, official in hub.files.items():
        if (folder / official).is_file():
            continue
        try:
            source = Path(hf_hub_download(hub.dataset, remote, repo_type="dataset"))
        except Exception as error:  # no network, no such file, no permission: the remedy is the same
            raise UserError(
                f"task {name!r}: {remote} of the dataset {hub.dataset} could not be fetched from the hub "
                f"({type(error).__name__}); give --data PATH to the official {official} or its folder"
            ) from error
        frame = (
            pd.read_parquet(source) if source.suffix == ".parquet" else pd.read_json(source, lines=True, dtype=False)
        )
        try:
            text = hub.convert(frame)
        except KeyError as error:
            raise UserError(
                f"{hub.dataset}, {remote}: column {error} is missing; give --data PATH to the official {official}"
            ) from None
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{official}.{os.getpid()}.partial"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, folder / official)
    return folder
