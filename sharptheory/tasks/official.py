"""Official task data from the Hugging Face hub, for users with a network: fetched once, kept in the official format."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd

from sharptheory.errors import UserError
from sharptheory.tasks.mmlu import LETTERS, SUBJECTS

#: Task → (dataset on the hub, its files, the official file each becomes).
HUB = {
    "gsm8k": ("openai/gsm8k", {"main/test-00000-of-00001.parquet": "test.jsonl"}),
    "math500": ("HuggingFaceH4/MATH-500", {"test.jsonl": "MATH500.json"}),
    "mmlu": ("cais/mmlu", {f"{s}/test-00000-of-00001.parquet": f"{s}_test.csv" for s in SUBJECTS}),
}


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sharptheory/tasks"


def fetch(name: str) -> Path:
    """The folder with a task's official files, downloaded and converted on first use.

    Raises:
        ValueError: the hub cannot be reached, or has other columns than expected.
    """
    from huggingface_hub import hf_hub_download

    repo, files = HUB[name]
    folder = cache() / name
    for remote, official in files.items():
        if (folder / official).is_file():
            continue
        try:
            source = Path(hf_hub_download(repo, remote, repo_type="dataset"))
        except Exception as error:  # no network, no such file, no permission: the remedy is the same
            raise UserError(
                f"task {name!r}: {remote} of the dataset {repo} could not be fetched from the hub ({type(error).__name__}); "
                f"give --data PATH to the official {official} or its folder"
            ) from error
        frame = (
            pd.read_parquet(source) if source.suffix == ".parquet" else pd.read_json(source, lines=True, dtype=False)
        )
        try:
            text = CONVERT[name](frame)
        except KeyError as error:
            raise UserError(
                f"{repo}, {remote}: column {error} is missing; give --data PATH to the official {official}"
            ) from None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{official}.partial").write_text(text)
        os.replace(folder / f"{official}.partial", folder / official)
    return folder


def _gsm8k(frame: pd.DataFrame) -> str:
    return frame[["question", "answer"]].to_json(orient="records", lines=True, force_ascii=False)


def _math500(frame: pd.DataFrame) -> str:
    return json.dumps(
        [{"prompt": p, "answer": str(a)} for p, a in zip(frame["problem"], frame["answer"])], ensure_ascii=False
    )


def _mmlu(frame: pd.DataFrame) -> str:
    rows = [
        [q, *choices, LETTERS[int(a)]] for q, choices, a in zip(frame["question"], frame["choices"], frame["answer"])
    ]
    return pd.DataFrame(rows).to_csv(header=False, index=False)


CONVERT = {"gsm8k": _gsm8k, "math500": _math500, "mmlu": _mmlu}
