"""Fill a pool from a model and a task: written as it is sampled, resumable after any interruption."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from sharptheory.llm.oracle import HuggingFaceOracle
from sharptheory.llm.tasks import Task
from sharptheory.oracle import Response
from sharptheory.pool import GREEDY, PoolWriter

RUN_FILE = "run.json"


def sample_pool(
    oracle: HuggingFaceOracle,
    task: Task,
    n: int,
    folder: str | Path,
    *,
    seed: int = 0,
    judge: bool = False,
    identity: dict | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Draw `n` samples and the greedy response for each prompt of a task into ``folder/pool.parquet``.

    A folder that holds part of the same run is continued: finished prompts are kept, the others are drawn exactly as
    an uninterrupted run draws them. A folder that holds a different run is refused.

    Args:
        judge: also ask the model about every response (`HuggingFaceOracle.p_true`), one more pass over it each.
        identity: further facts that make two runs different (model fingerprint, dtype …).
        force: discard whatever run the folder holds.
        progress: called with ``(prompts done, prompts in all)``.

    Raises:
        ValueError: the folder holds a different run; names the first field in which they differ.
    """
    run = {
        **(identity or {}),
        **task_identity(task),
        "samples": n,
        "seed": seed,
        "max_new_tokens": oracle.max_new_tokens,
        "batch_tokens": oracle.batch_tokens,
        "statistics": list(oracle.statistics) + ["p_true"] * judge,
        "chat": oracle.chat,
    }
    claim_folder(Path(folder), run, force=force)
    writer = PoolWriter(folder)
    total = len(task.prompts)
    if not writer.path.is_file():
        done = writer.done()
        if progress:
            progress(len(done), total)
        for ids, drawn in oracle.sample_groups(task.prompts, n, seed=seed, skip=frozenset(done)):
            greedy = oracle.greedy([task.prompts[i] for i in ids])
            rows = [
                _row(oracle, task, i, sample_id, response)
                for i, responses, best in zip(ids, drawn, greedy)
                for sample_id, response in [(-1, best), *enumerate(responses)]
            ]
            if judge:
                asked = oracle.p_true([row["prompt"] for row in rows], [row["response"] for row in rows])
                rows = [row | {"p_true": value} for row, value in zip(rows, asked.tolist())]
            writer.write(pd.DataFrame(rows).astype({"correct": "boolean", "answer": "string", "unreadable": "string"}))
            done.update(ids)
            if progress:
                progress(len(done), total)
    elif progress:
        progress(total, total)
    return writer.finish()


def _row(oracle: HuggingFaceOracle, task: Task, prompt_id: int, sample_id: int, response: Response) -> dict:
    text = oracle.decode(response.tokens)
    answer, correct = task.grade(text, task.answers[prompt_id])
    return {
        "prompt_id": prompt_id,
        "sample_id": sample_id,
        "prompt": task.prompts[prompt_id],
        "response": text,
        "tokens": list(response.tokens),
        "log_likelihood": min(response.log_likelihood, 0.0),
        "length": len(response.tokens),
        "finished": response.finished,
        "answer": answer,
        "correct": correct,
        "unreadable": None if correct else task.unreadable(answer, finished=response.finished),
        "source": GREEDY if sample_id < 0 else "model",
        **response.statistics,
    }


def task_identity(task: Task) -> dict:
    """What makes two tasks the same run: name, and a hash of all prompts and answers."""
    content = json.dumps([task.prompts, task.answers]).encode()
    return {
        "task": task.name,
        "prompts": hashlib.blake2b(content, digest_size=8).hexdigest(),
        "n_prompts": len(task.prompts),
    }


def refuse_other_run(place: Path, held: dict, run: dict) -> None:
    """Raise a ValueError that names the first field in which the run held at `place` differs from this one."""
    for key in {**held, **run}:
        if held.get(key) != run.get(key):
            raise ValueError(
                f"{place} holds a different run: {key} is {held.get(key)!r} there and {run.get(key)!r} here; "
                "choose another --out, repeat its settings to resume it, or discard it with --force"
            )


class Lines:
    """A ``.jsonl`` file that grows by one row at a time, so that a killed run goes on where it was.

    Its first line says which run it is; a different run is refused unless `force`. A half-written last line is dropped.

    Attributes:
        rows: those the file holds.
    """

    def __init__(self, path: str | Path, run: dict, *, force: bool = False):
        self.path, self.run, self.rows = Path(path), run, []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file() and not force:
            lines = self.path.read_bytes().split(b"\n")
            self.path.write_bytes(b"\n".join(lines[:-1]) + b"\n" if len(lines) > 1 else b"")
            if len(lines) > 1:
                refuse_other_run(self.path, json.loads(lines[0]), run)
                self.rows = [json.loads(line) for line in lines[1:-1]]
        self._file = self.path.open("w" if force else "a")
        if self._file.tell() == 0:
            self._file.write(json.dumps(run) + "\n")

    def write(self, *rows: dict) -> None:
        """Add rows, on disk when this returns."""
        self.rows.extend(rows)
        self._file.write("".join(json.dumps(row) + "\n" for row in rows))
        self._file.flush()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()


def claim_folder(folder: Path, run: dict, *, force: bool) -> None:
    """Make `folder` the home of `run`, or raise a ValueError if it holds a different run (unless `force`)."""
    path = folder / RUN_FILE
    pools = [old for old in (folder / "pool.parquet", folder / "pool.parts") if old.exists()]
    if force:
        for old in pools:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    elif path.is_file():
        held = json.loads(path.read_text())
        refuse_other_run(folder, held, run)
        return
    elif pools:
        raise ValueError(f"{folder} holds a pool of an unknown run; choose another --out or discard it with --force")
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(run, indent=1) + "\n")
    os.replace(partial, path)
