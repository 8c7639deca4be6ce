"""What a run would take, by a probe of a few seconds on the model itself; nothing is claimed, nothing is written.

Every stage does a little of what the run does, in the run's own batches as far as the time allows, and extrapolates by
prompts. Where the time does not allow a whole batch, a smaller one is measured: its seconds per response are then an upper
bound, for larger batches cost less each.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from sharptheory.llm.decoding.compare import CHUNK, Decoders
from sharptheory.llm.decoding.search import search_row
from sharptheory.llm.engines.cache import new_cache
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.engines.prefixes import TREE_BYTES
from sharptheory.llm.sampling import pool_rows
from sharptheory.llm.training.config import Config
from sharptheory.llm.training.examples import examples
from sharptheory.llm.training.fit import collate, forward_tokens, loss
from sharptheory.measure.pool import Pool
from sharptheory.tasks import Task

#: Seconds that the probe of a stage may take, about.
SECONDS = 4.0
#: Responses in the first batch of a probe.
FEW_ROWS = 8
#: Prefixes that a search is first tried with.
FEW_PREFIXES = 50
#: Tensors of the size of the logits that a step of sampling holds at once, in float32.
LOGITS_AT_ONCE = 3
#: Room that a growing cache keeps beyond what it holds.
SPARE = 1.25
#: Bytes of the report, its figures and the summary: of `diagnose` on 30 prompts with 32 samples 1.22 MB, hardly more of more;
#: and of `compare`, its figure and table.
REPORT, COMPARISON = 1_250_000, 230_000


@dataclass(frozen=True)
class Stage:
    """What a part of a run would take.

    Attributes:
        name: of the part.
        tokens: that go through the model; a prompt counts once for all its samples.
        seconds: on this machine as it is now.
        disk: bytes that are kept.
        at_most: the probe was too short for the run's own batches or budgets, so the seconds are an upper bound.
    """

    name: str
    tokens: float
    seconds: float
    disk: float
    at_most: bool = False

    def times(self, factor: float) -> Stage:
        """So many of it."""
        return Stage(self.name, factor * self.tokens, factor * self.seconds, factor * self.disk, self.at_most)


def total(stages: Sequence[Stage]) -> Stage:
    """All of them, one after another."""
    sums = (sum(getattr(stage, of) for stage in stages) for of in ("tokens", "seconds", "disk"))
    return Stage("in all", *sums, at_most=any(stage.at_most for stage in stages))


def report(size: int) -> Stage:
    """Of the report or the figure at the end: only its bytes are known beforehand."""
    return Stage("report", 0.0, 0.0, size)


def _timed(work: Callable, *args, **options):
    """What it returns, and the seconds it took."""
    start = time.perf_counter()
    result = work(*args, **options)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def sampling(
    oracle: HuggingFaceOracle, task: Task, n: int, *, judge: bool = False, seed: int = 0, seconds: float = SECONDS
) -> tuple[Stage, pd.DataFrame]:
    """Of `sample_pool`: `n` samples and the greedy response of each prompt, graded; and the rows of the probe.

    Args:
        n: samples per prompt. judge: as `sample_pool`. seed: of the probe. seconds: that it may take, about.
    """
    encoded = oracle.encode(task.prompts)
    groups = list(oracle.same_length_groups(encoded, n))
    order = np.random.default_rng(seed).permutation(len(groups))

    def work(ids: list[int], k: int) -> pd.DataFrame:
        responses = oracle.sample([task.prompts[i] for i in ids], k, seed=seed)
        return pd.DataFrame(pool_rows(oracle, task, ids, responses, first=0, judge=judge))

    left, frames, whole, rows_at_once, at_most = seconds, [], [], FEW_ROWS, False
    for group in (groups[position] for position in order):
        while True:
            ids, k = group[: max(1, rows_at_once // n)], min(n, rows_at_once)
            frame, spent = _timed(work, ids, k)
            left -= spent
            frames.append(frame)
            if (len(ids), k) == (len(group), n) or spent > left:
                break
            rows_at_once *= 8  # costs less than eight times as much, so `spent` is the time of a few of these
        partial = (len(ids), k) != (len(group), n)
        if not whole:
            at_most = partial
        if not (partial and whole):
            whole.append((spent * n / k, len(ids)))
        if partial or spent > left:
            break
    rows = pd.concat(frames, ignore_index=True)
    time_each = sum(spent for spent, _ in whole) / sum(count for _, count in whole)
    n_prompts, n_rows = len(task.prompts), len(task.prompts) * (n + 1)
    tokens = sum(map(len, encoded)) + n_rows * rows["length"].mean()
    return Stage("sampling", tokens, time_each * n_prompts, n_rows * _parquet_bytes(rows), at_most), rows


def _parquet_bytes(rows: pd.DataFrame) -> float:
    """Bytes of one more row in a parquet file: the second half of the rows, beside the first."""
    sizes, half = [], rows.head(len(rows) // 2)
    for part in (rows, half):
        file = io.BytesIO()
        part.astype({"correct": "boolean", "answer": "string", "unreadable": "string"}).to_parquet(file, index=False)
        sizes.append(file.getbuffer().nbytes)
    return (sizes[0] - sizes[1]) / (len(rows) - len(half))


def searching(
    oracle: HuggingFaceOracle,
    task: Task,
    *,
    budget: int,
    gamma: float = 0.0,
    samples: int = 16,
    seed: int = 0,
    seconds: float = SECONDS,
) -> Stage:
    """Of `search_task`. A search with few prefixes comes first: where it certifies, more would cost no more.

    Args:
        budget, gamma, samples: as `search_task`. seed: of the probe. seconds: that it may take, about.
    """
    order = np.random.default_rng(seed).permutation(len(task.prompts)).tolist()
    few, left, found, at_most = min(budget, FEW_PREFIXES), seconds, [], False

    def work(i: int, most: int) -> dict:
        return search_row(oracle, task, i, gamma=gamma, budget=most, samples=samples, seed=seed + i)

    work(order[0], few)
    for i in order:
        row, spent = _timed(work, i, few)
        left, factor = left - spent, 1.0
        if not row["complete"] and few < budget:
            if spent * budget / few <= left:
                row, spent = _timed(work, i, budget)
                left -= spent
            else:
                factor, at_most = budget / few, True
        found.append((factor * row["forward_tokens"], factor * spent, 2 * len(json.dumps(row))))
        if left <= 0:
            break
    tokens, spent, size = np.mean(found, axis=0) * len(task.prompts)
    return Stage("argmax search", tokens, spent, size, at_most)


def decoding(oracle: HuggingFaceOracle, task: Task, decoders: Decoders, *, seconds: float = SECONDS) -> Stage:
    """Of the decoders of `compare_task`: on one prompt, and on as many as are decoded together if the time allows.

    Args:
        decoders: with all their settings. seconds: that the probe may take, about.
    """
    chunk = [len(task.prompts) // 2]
    rows, spent = _timed(decoders, oracle, task, chunk)
    whole = list(range(min(CHUNK, len(task.prompts))))
    if at_most := spent * len(whole) > seconds:
        whole = chunk
    else:
        rows, spent = _timed(decoders, oracle, task, whole)
    factor = len(task.prompts) / len(whole)
    tokens = sum(row["forward_tokens"] for row in rows)
    return Stage("decoding", factor * tokens, factor * spent, factor * 2 * len(json.dumps(rows)), at_most)


def training(
    oracle: HuggingFaceOracle, task: Task, rows: pd.DataFrame, config: Config, *, steps: int = 2
) -> tuple[Stage, int]:
    """Of the steps of a training, forwards and backwards on examples of sampled rows; and the bytes that one holds.

    The weights are left as they are.

    Args:
        rows: of `sampling`, of prompts with all their samples. config: what to train. steps: how many to time.
    """
    sampled = rows[rows["sample_id"] >= 0]
    counts = sampled.groupby("prompt_id")["sample_id"].nunique()
    whole = counts.index[counts == counts.max()]
    pool = Pool.from_frame(rows[rows["prompt_id"].isin(whole)].drop_duplicates(["prompt_id", "sample_id"]))
    few = Config(**{**config.__dict__, "n": min(config.n, int(counts.max())), "method": _one_round(config.method)})
    data = examples(pool, few, rng=np.random.default_rng(0))
    prompts, model = oracle.encode(task.prompts), oracle.model
    batch = (data * (1 + config.batch_size // max(len(data), 1)))[: config.batch_size]
    inputs = {name: values.to(oracle.device) for name, values in collate(batch, prompts).items()}
    held: dict[int, int] = {}

    def step() -> None:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(lambda t: _noted(held, t), lambda t: t):
            loss(model, inputs, beta=config.beta).backward()
        model.zero_grad(set_to_none=True)

    step()
    _, spent = _timed(lambda: [step() for _ in range(steps)])
    per_prompt = len(data) / len(whole)
    n_steps = np.ceil(per_prompt * len(task.prompts) / config.batch_size) * config.epochs
    tokens = forward_tokens(prompts, batch) * n_steps
    trainable = 1.0 if config.lora_rank is None else 0.0
    disk = weights(oracle) * (1 + 3 * trainable)  # the model, and a checkpoint with its two moments
    memory = beside(oracle) + sum(held.values()) + int(weights(oracle) * (1 + 3 * trainable))
    return Stage("training", tokens, n_steps * spent / steps, disk), memory


def _one_round(method: str) -> str:
    """The first round of `xpo` learns from pairs as `dpo` does."""
    return "dpo" if method == "xpo" else method


def _noted(held: dict[int, int], tensor: torch.Tensor) -> torch.Tensor:
    held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return tensor


def weights(oracle: HuggingFaceOracle) -> int:
    """Bytes of the model's parameters."""
    return sum(values.numel() * values.element_size() for values in oracle.model.parameters())


def beside(oracle: HuggingFaceOracle) -> int:
    """Bytes of this process beside the weights: interpreter, libraries, the task; 0 if another device computes, whose
    memory is its own."""
    if oracle.device.type != "cpu":
        return 0
    return max(resident() - weights(oracle), 0)


def resident() -> int:
    """Bytes of memory that this process holds now; where the system does not say, the most that it has held."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1_024 * most


@torch.inference_mode()
def memory(oracle: HuggingFaceOracle, task: Task, n: int, *, searching: bool = False) -> int:
    """Bytes that sampling holds at once: the process, weights, the largest batch's keys and values, its logits.

    Args:
        n: samples per prompt. searching: also what a tree of prefixes may hold.
    """
    encoded = oracle.encode(task.prompts)
    cache = new_cache(oracle.model)
    oracle.last_logits(torch.tensor(encoded[:1], device=oracle.device), cache)
    held = [getattr(layer, name, None) for layer in cache.layers for name in ("keys", "values")]
    token = sum(part.numel() * part.element_size() for part in held if part is not None) / len(encoded[0])
    batches = [
        (min(len(group) * n, oracle.budget.rows(width)), width)
        for group in oracle.same_length_groups(encoded, n)
        for width in [len(encoded[group[0]]) + oracle.max_new_tokens]
    ]
    rows, tokens = max(rows for rows, _ in batches), max(rows * width for rows, width in batches)
    sampled = SPARE * token * tokens + LOGITS_AT_ONCE * 4 * oracle.vocabulary_size * rows
    return int(beside(oracle) + weights(oracle) + max(sampled, TREE_BYTES if searching else 0))
