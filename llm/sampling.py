"""Fill a pool from a model and a task: written as it is sampled, resumable after any interruption."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from sharptheory.measure.pool import GREEDY, Pool
from sharptheory.measure.storage import PoolWriter
from sharptheory.oracle import Response, TextOracle
from sharptheory.runs import claim_folder
from sharptheory.tasks import Task


def sample_pool(
    oracle: TextOracle,
    task: Task,
    n: int,
    folder: str | Path,
    *,
    seed: int = 0,
    judge: bool = False,
    identity: dict | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Pool:
    """`n` samples and the greedy response of each prompt of a task, in ``folder/pool.parquet``.

    A folder that holds part of the same run is continued: finished prompts are kept, the others are sampled exactly as an
    uninterrupted run samples them. A folder that holds a different run is refused.

    Args:
        n: samples per prompt. seed: of sample j of prompt i is a function of ``(seed, i, j)``.
        judge: also ask the model about every response (`TextOracle.p_true`), one more pass over it each.
        identity: further facts that make two runs different (model fingerprint, dtype …).
        force: discard whatever run the folder holds.
        progress: called with ``(prompts done, prompts in all)``.

    Returns:
        The pool, greedy responses apart from the samples.

    Raises:
        UserError: the folder holds a different run; names the first field in which they differ.
    """
    run = {
        **(identity or {}),
        **task_identity(task),
        "samples": n,
        "seed": seed,
        **oracle.settings,
        "statistics": list(oracle.statistics) + ["p_true"] * judge,
    }
    claim_folder(Path(folder), run, force=force)
    writer = PoolWriter(folder)
    total = len(task.prompts)
    if not writer.path.is_file():
        done = writer.done()
        if progress:
            progress(len(done), total)
        for ids, sampled in oracle.sample_groups(task.prompts, n, seed=seed, skip=frozenset(done)):
            writer.write(_rows(oracle, task, ids, sampled, judge=judge))
            done.update(ids)
            if progress:
                progress(len(done), total)
    elif progress:
        progress(total, total)
    return writer.finish()


def _rows(
    oracle: TextOracle, task: Task, ids: list[int], sampled: list[list[Response]], *, judge: bool
) -> pd.DataFrame:
    """Rows of some prompts: of each its greedy response, then its samples."""
    greedy = oracle.greedy([task.prompts[i] for i in ids])
    rows = [
        _row(oracle, task, i, sample_id, response)
        for i, responses, best in zip(ids, sampled, greedy)
        for sample_id, response in [(-1, best), *enumerate(responses)]
    ]
    if judge:
        asked = oracle.p_true([row["prompt"] for row in rows], [row["response"] for row in rows])
        rows = [row | {"p_true": value} for row, value in zip(rows, asked.tolist())]
    return pd.DataFrame(rows).astype({"correct": "boolean", "answer": "string", "unreadable": "string"})


def _row(oracle: TextOracle, task: Task, prompt_id: int, sample_id: int, response: Response) -> dict:
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
