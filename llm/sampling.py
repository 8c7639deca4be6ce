"""Fill a pool from a model and a task: written as it is sampled, resumable after any interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from sharptheory.measure.pool import GREEDY, Pool
from sharptheory.measure.storage import PoolStore
from sharptheory.oracle import Response, TextOracle
from sharptheory.runs import Run, claim, digest
from sharptheory.tasks import Task

#: What a run may have more of than it had.
GROWS = ("n_prompts", "samples")


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
    wait: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Pool:
    """Sample `n` responses and the greedy one for each prompt of a task into ``folder/pool.parquet``.

    A folder that holds this run, or a smaller one, is gone on with: what is there is kept, the rest is what one larger run
    would have sampled. A folder that holds a different run is refused.

    Args:
        judge: also ask the model about every response (`TextOracle.p_true`), one more pass over it each.
        identity: further facts that make two runs different (model fingerprint, dtype …).
        force: discard whatever run the folder holds. wait: for another process to finish with the folder.
        progress: called with ``(prompts done, prompts in all)``.

    Raises:
        UserError: the folder holds a different run, or is in use; says how and by what.
    """
    facts = pool_facts(oracle, task, n, seed=seed, judge=judge, identity=identity)
    with claim(folder, facts, grows=GROWS, sized=partial(first_prompts, task), force=force, wait=wait) as run:
        return fill_pool(run, oracle, task, seed=seed, judge=judge, progress=progress)


def pool_facts(
    oracle: TextOracle, task: Task, n: int, *, seed: int, judge: bool = False, identity: dict | None = None
) -> dict:
    """What makes two runs that sample different, in the order in which a refusal should name it."""
    return {
        "content": "samples",
        **(identity or {}),
        "task": task.name,
        "seed": seed,
        "n_prompts": len(task.prompts),
        "samples": n,
        **oracle.settings,
        "statistics": list(oracle.statistics) + ["p_true"] * judge,
    }


def first_prompts(task: Task, sizes: dict) -> dict:
    """Stands for the first prompts and answers of a task: a larger task must begin with those of a smaller."""
    n = sizes.get("n_prompts", len(task.prompts))
    return {"prompts": digest([task.prompts[:n], task.answers[:n]])}


def fill_pool(
    run: Run,
    oracle: TextOracle,
    task: Task,
    *,
    seed: int,
    judge: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Pool:
    """Sample what the pool of a run lacks, stage by stage of its growth, and return it."""
    store, total = PoolStore(run), len(task.prompts)
    have = store.done()
    report = progress or (lambda *_: None)
    for numbers, first, n in _jobs(run.stages):
        done = frozenset(i for i in numbers if have.issuperset((i, j) for j in range(first, first + n)))
        report(len(done), total)
        prompts = [task.prompts[i] for i in numbers]
        for ids, responses in oracle.sample_groups(prompts, n, seed=seed, numbers=numbers, first=first, skip=done):
            rows = pool_rows(oracle, task, ids, responses, first=first, judge=judge)
            store.write(pd.DataFrame(rows).astype({"correct": "boolean", "answer": "string", "unreadable": "string"}))
            done |= set(ids)
            report(len(done), total)
    report(total, total)
    return store.finish()


def pool_rows(
    oracle: TextOracle,
    task: Task,
    ids: Sequence[int],
    responses: Sequence[Sequence[Response]],
    *,
    first: int,
    judge: bool,
) -> list[dict]:
    """Rows of the pool for samples of some prompts, graded and judged; with the first sample comes the greedy response.

    Args:
        ids: numbers of the prompts. responses: to each. first: number of the first of them. judge: as `sample_pool`.
    """
    rows = [
        _row(oracle, task, i, j, response) for i, row in zip(ids, responses) for j, response in enumerate(row, first)
    ]
    if first == 0:
        greedy = oracle.greedy([task.prompts[i] for i in ids])
        rows += [_row(oracle, task, i, -1, response) for i, response in zip(ids, greedy)]
    if judge:
        asked = oracle.p_true([row["prompt"] for row in rows], [row["response"] for row in rows])
        rows = [row | {"p_true": value} for row, value in zip(rows, asked.tolist())]
    return rows


def _jobs(stages: Sequence[dict]) -> Iterator[tuple[range, int, int]]:
    """``(prompt numbers, first sample, samples)`` of all that a run samples: what each stage adds to the one before.

    A stage is worked on as if it was alone, so that its batches, and with them the last digits, do not depend on when
    it was interrupted.
    """
    prompts = samples = 0
    for stage in stages:
        if prompts and stage["samples"] > samples:
            yield range(prompts), samples, stage["samples"] - samples
        if stage["n_prompts"] > prompts:
            yield range(prompts, stage["n_prompts"]), 0, stage["samples"]
        prompts, samples = stage["n_prompts"], stage["samples"]


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
