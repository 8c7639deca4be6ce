"""Pools to learn from that were not just sampled from the policy: given as a file, or scored anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sharptheory.errors import UserError
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool, as_pool
from sharptheory.tasks import Task

#: A model scores its own pool this well, in nats per token; another model's it does not.
OWN_NOISE = 1e-2
#: ``(prompts, responses of each) → log-likelihoods of each``, as `Oracle.evaluate`.
Evaluate = Callable[[Sequence[str], Sequence[Sequence[tuple[int, ...]]]], list[np.ndarray]]


def given_pool(path: str | Path, oracle: HuggingFaceOracle, task: Task, *, foreign: bool = False) -> Pool:
    """Samples for a task from a file.

    Args:
        oracle: of the model that is to learn from them.
        foreign: they are another model's: their text is tokenised, and they have yet to be `rescored` under this one.

    Raises:
        UserError: no tokens, tokens of another tokenizer, prompts of another task, or another model's log-likelihoods.
    """
    pool = read_pool(path)
    if foreign and "tokens" not in pool and "response" in pool:
        pool = pool.assign(tokens=tokenized(pool["response"], oracle))
    if "tokens" not in pool:
        raise UserError(
            f"{path}: column 'tokens' is missing; training needs the token ids (or --foreign and 'response')"
        )
    _check_tokens(path, pool, len(oracle.tokenizer))
    _check_prompts(path, pool, task)
    if not foreign and not check_origin(oracle, task.prompts, pool):
        raise UserError(
            f"{path}: its log-likelihoods are not this model's; give the model that sampled it, or --foreign to score it anew"
        )
    return pool


def tokenized(responses: pd.Series, oracle: HuggingFaceOracle) -> pd.Series:
    """Token ids of whole responses, end of sequence included."""
    end = min(oracle.stop_ids)
    return responses.map(lambda text: [*oracle.tokenizer(text, add_special_tokens=False)["input_ids"], end])


def score(rows: pd.DataFrame, evaluate: Evaluate, task: Task) -> pd.Series:
    """Log-likelihoods of responses (`prompt_id`, `tokens`) to the prompts of a task, aligned with the rows."""
    groups = rows.groupby("prompt_id").groups
    responses = [[tuple(y) for y in rows.loc[index, "tokens"]] for index in groups.values()]
    scores = evaluate([task.prompts[i] for i in groups], responses)
    # Rounding may put the likelihood of a sure response above 1.
    values = np.minimum(np.concatenate(scores), 0.0)
    return pd.Series(values, index=np.concatenate(list(groups.values()))).loc[rows.index]


def rescored(pool: Pool, evaluate: Evaluate, task: Task) -> Pool:
    """The samples with other log-likelihoods; responses that have none are left out, as are greedy ones."""
    samples = pool.samples.assign(log_likelihood=score(pool.samples, evaluate, task))
    return Pool.from_frame(samples[np.isfinite(samples["log_likelihood"])])


def check_origin(oracle: HuggingFaceOracle, prompts: Sequence[str], pool: Pool, *, rows: int = 16) -> bool:
    """Whether a pool's log-likelihoods are those of this model, by scoring a few samples again."""
    few = as_pool(pool).samples.head(rows)
    scores = oracle.evaluate([prompts[i] for i in few["prompt_id"]], [[tuple(tokens)] for tokens in few["tokens"]])
    error = np.abs(np.concatenate(scores) - few["log_likelihood"].to_numpy(dtype=float))
    return bool(np.all(error <= OWN_NOISE * few["tokens"].map(len).to_numpy()))


def _check_tokens(path: str | Path, pool: Pool, vocabulary: int) -> None:
    tokens = pool["tokens"]
    if (empty := tokens.map(len) == 0).any():
        raise UserError(
            f"{path}: sample {int(np.flatnonzero(empty)[0])} has no tokens; expected its end of sequence at least"
        )
    if (alien := tokens.map(max) >= vocabulary).any():
        i = int(np.flatnonzero(alien)[0])
        raise UserError(
            f"{path}: sample {i} has token {max(tokens.iloc[i])} but this tokenizer has {vocabulary}; the pool is of a model "
            "with another tokenizer: drop column 'tokens' and use --foreign, which tokenises 'response' anew"
        )


def _check_prompts(path: str | Path, pool: Pool, task: Task) -> None:
    if not pd.api.types.is_integer_dtype(pool["prompt_id"]) or pool["prompt_id"].min() < 0:
        raise UserError(
            f"{path}: prompt_id {pool['prompt_id'].min()!r}; expected numbers of the task's prompts, from 0"
        )
    last = pool["prompt_id"].max()
    if last >= len(task.prompts):
        raise UserError(
            f"{path}: prompt_id {last} is beyond the {len(task.prompts)} prompts of the task; raise --prompts"
        )
    if "prompt" not in pool:
        return
    asked = pool["prompt_id"].map(dict(enumerate(task.prompts)))
    if (other := (pool["prompt"] != asked) & pool["prompt"].notna()).any():
        i = int(np.flatnonzero(other)[0])
        raise UserError(
            f"{path}: sample {i} asks {pool['prompt'].iloc[i]!r}, prompt {pool['prompt_id'].iloc[i]} of the task is "
            f"{asked.iloc[i]!r}; use the task and seed it was sampled with"
        )
