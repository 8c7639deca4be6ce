"""Every way to decode side by side: accuracy and log-likelihood against the forward tokens they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sharptheory.decoding import beam_search
from sharptheory.decoding.power import mcmc, smc
from sharptheory.llm.decoding.search import find_argmax
from sharptheory.llm.sampling import sample_pool, task_identity
from sharptheory.measure.alignment import across_methods
from sharptheory.measure.best_of_n import adaptive_weights, curve, doubling_grid
from sharptheory.measure.bootstrap import Estimate, bootstrap_mean
from sharptheory.measure.pool import Pool
from sharptheory.measure.prediction import predict_power
from sharptheory.measure.rewards import selecting
from sharptheory.measure.selection import borda_curve, majority_curve
from sharptheory.oracle import Response, TextOracle
from sharptheory.runs import Lines
from sharptheory.tasks import Task
from sharptheory.theory.laws import stopping_threshold

#: Prompts that share a prefix tree, and that a killed run loses at most.
CHUNK = 8
#: Draws from one population of particles: they tell its accuracy better than one would, at no cost.
DRAWS = 8


def compare_task(
    oracle: TextOracle,
    task: Task,
    folder: str | Path,
    *,
    n: int = 64,
    beams: Sequence[int] = (2, 4, 8),
    alphas: Sequence[float] = (2.0, 4.0),
    particles: Sequence[int] = (8, 32),
    steps: Sequence[int] = (8, 32),
    deltas: Sequence[float] = (0.5, 0.1, 0.01),
    budget: int = 1_000,
    judge: bool = False,
    seed: int = 0,
    identity: dict | None = None,
    force: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> pd.DataFrame:
    """Run all methods on a task; pool and decodings are kept in `folder`, and a killed run goes on where it was.

    Forward tokens count a prompt once and every response token that goes through the model once, however many responses
    share it. What a method of the pool costs and gives is its expectation over the draw of the pool.

    Args:
        n: samples of the pool that the best-of-N methods share. beams: widths. alphas: of power sampling, by `particles`
            (SMC) and `steps` (MCMC). deltas: of adaptive best-of-N. budget: prefixes of the argmax search.
        judge: also best-of-N by the model's own verdict, one more pass over every response (not counted).
        identity: further facts that make two runs different (model fingerprint, dtype …).
        progress: called with ``(stage, done, total)``.

    Returns:
        One row per method, setting and prompt: `method, setting, prompt_id, forward_tokens, log_likelihood, accuracy`.
        The tilted law of each α, estimated from the pool, has no cost.
    """
    folder, told = Path(folder), progress or (lambda *_: None)
    pool = sample_pool(
        oracle, task, n, folder, seed=seed, judge=judge, identity=identity, force=force,
        progress=lambda done, total: told("sampling", done, total),
    )  # fmt: skip
    run = {**(identity or {}), "seed": seed, **task_identity(task), "max_new_tokens": oracle.max_new_tokens,
           "beams": list(beams), "alphas": list(alphas), "particles": list(particles), "steps": list(steps),
           "budget": budget}  # fmt: skip
    with Lines(folder / "decodings.jsonl", run, force=force) as lines:
        done = {row["prompt_id"] for row in lines.rows}
        for start in range(0, len(task.prompts), CHUNK):
            chunk = range(start, min(start + CHUNK, len(task.prompts)))
            told("decoding", start, len(task.prompts))
            if not done.issuperset(chunk):
                lines.write(*_decoded(oracle, task, list(chunk), beams, alphas, particles, steps, budget, seed))
        told("decoding", len(task.prompts), len(task.prompts))
    prompt_tokens = pd.Series([len(ids) for ids in oracle.encode(task.prompts)])
    parts = [_pooled(pool, prompt_tokens, deltas), lines.rows, _tilted(pool, alphas)]
    table = pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)
    return table.astype({"accuracy": float, "log_likelihood": float, "setting": str})


def _pooled(pool: Pool, prompt_tokens: pd.Series, deltas: Sequence[float]) -> Iterator[dict]:
    """Methods that select from the pool, exactly averaged over its subsets."""
    lengths = pool.samples.groupby("prompt_id")["length"].mean()
    graded = "correct" in pool

    def rows(method: str, setting, cost: pd.Series, accuracy: pd.Series | None, log_likelihood: pd.Series | None):
        for i in lengths.index:
            yield {
                "method": method,
                "setting": str(setting),
                "prompt_id": i,
                "forward_tokens": float(prompt_tokens[i] + cost[i]),
                "accuracy": np.nan if accuracy is None else float(accuracy[i]),
                "log_likelihood": np.nan if log_likelihood is None else float(log_likelihood[i]),
            }

    best = pool.greedy.set_index("prompt_id")
    yield from rows(
        "greedy", "", best["length"], best["correct"].astype(float) if graded else None, best["log_likelihood"]
    )
    n = doubling_grid(int(pool.sizes.min()))
    for reward in selecting(pool):
        name = reward.name
        likelihoods = curve(pool, reward, "log_likelihood", n)
        accuracies = curve(pool, reward, "correct", n) if graded else None
        for k in n:
            label = "sampling" if k == 1 else f"best-of-N, {name.replace('_', ' ')}"
            if k > 1 or name == "log_likelihood":
                yield from rows(label, k, k * lengths, None if accuracies is None else accuracies[k], likelihoods[k])
    if graded and pool["answer"].notna().any():
        votes = majority_curve(pool, n[n > 2])
        for k in votes:
            yield from rows("majority vote", k, k * lengths, votes[k], None)
        if "self_certainty" in pool:
            votes = borda_curve(pool, n[n > 2])
            for k in votes:
                yield from rows("Borda vote, self certainty", k, k * lengths, votes[k], None)
    for delta in deltas:
        spent, accuracy, likelihood = {}, {}, {}
        for i, group in pool.samples.groupby("prompt_id"):
            weights, draws = adaptive_weights(group["log_likelihood"].to_numpy(), stopping_threshold(delta))
            spent[i], likelihood[i] = draws * lengths[i], weights @ group["log_likelihood"].to_numpy()
            accuracy[i] = weights @ group["correct"].to_numpy(dtype=float) if graded else np.nan
        yield from rows("adaptive best-of-N", f"δ = {delta:g}", spent, accuracy, likelihood)


def _tilted(pool: Pool, alphas: Sequence[float]) -> Iterator[dict]:
    """What the power laws themselves would give, estimated from the pool: where power sampling should arrive."""
    for alpha in alphas:
        likelihood = predict_power(pool, alpha, value="log_likelihood")
        accuracy = predict_power(pool, alpha) if "correct" in pool else {}
        for i, value in likelihood.items():
            yield {
                "method": "tilted law, from the pool",
                "setting": f"α={alpha:g}, β={1 / (alpha - 1):.3g}" if alpha > 1 else "α=1",
                "prompt_id": i,
                "log_likelihood": value,
                "accuracy": accuracy.get(i, np.nan),
            }


def _decoded(oracle, task: Task, chunk: list[int], beams, alphas, particles, steps, budget, seed) -> list[dict]:
    """Methods that decode anew, on a few prompts together; each starts with an empty tree, as a user would."""
    prompts, stop, limit = [task.prompts[i] for i in chunk], oracle.stop_ids, oracle.max_new_tokens
    places, rows = list(range(len(chunk))), []

    def add(method: str, setting: str, responses: list[list[Response]], tokens) -> None:
        for place, (drawn, cost) in enumerate(zip(responses, tokens)):
            if not drawn:
                continue
            i = chunk[place]
            grades = [task.grade(oracle.decode(response.tokens), task.answers[i])[1] for response in drawn]
            rows.append({
                "method": method, "setting": setting, "prompt_id": i, "forward_tokens": float(cost),
                "log_likelihood": float(np.mean([response.log_likelihood for response in drawn])),
                "accuracy": None if None in grades else float(np.mean(grades)),
            })  # fmt: skip

    for width in beams:
        tree = oracle.next_token(prompts)
        found = beam_search(tree, stop, places, width=width, max_tokens=limit)
        add("beam search", str(width), [[Response(*ranked[0])] for ranked in found], tree.forward_tokens)
    for alpha in alphas:
        for k in particles:
            tree = oracle.next_token(prompts)
            drawn = smc(
                tree, stop, places, alpha=alpha, samples=min(DRAWS, k), particles=k, max_tokens=limit, seed=seed
            )
            add(f"power α = {alpha:g}, SMC", f"{k} particles", drawn.responses, tree.forward_tokens)
        for length in steps:
            tree = oracle.next_token(prompts)
            drawn = mcmc(tree, stop, places, alpha=alpha, chains=1, steps=length, max_tokens=limit, seed=seed)
            add(f"power α = {alpha:g}, MCMC", f"{length} steps", drawn.responses, tree.forward_tokens)
    found = [find_argmax(oracle, prompt, budget=budget, seed=seed + i) for i, prompt in zip(chunk, prompts)]
    # A search that found no finished response within its budget has nothing to grade.
    best = [[] if result.tokens is None else [Response(result.tokens, min(result.log_p, 0.0))] for result in found]
    add("argmax search", f"{budget} prefixes", best, [result.forward_tokens for result in found])
    return rows


def alignment(table: pd.DataFrame, *, seed: int = 0) -> Estimate | None:
    """Across all methods with a cost: whether the likelier is the more accurate (`alignment.across_methods`)."""
    paid = table[table["forward_tokens"].notna()].dropna(subset=["accuracy", "log_likelihood"])
    accuracy, likelihood = (
        paid.pivot_table(index="prompt_id", columns=["method", "setting"], values=column).dropna(axis=1)
        for column in ("accuracy", "log_likelihood")
    )
    shared = accuracy.columns.intersection(likelihood.columns)
    if len(shared) < 2:
        return None
    return across_methods(likelihood[shared].to_numpy(), accuracy[shared].to_numpy(), seed=seed)


def summarize(table: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Means over prompts per method and setting, with bootstrap intervals."""
    rows = []
    for (method, setting), group in table.groupby(["method", "setting"], sort=False):
        row = {"method": method, "setting": setting, "n_prompts": len(group)}
        row["forward_tokens"] = group["forward_tokens"].mean()
        for column in ("accuracy", "log_likelihood"):
            values = group[column].dropna().to_numpy()
            unknown = Estimate(np.nan, np.nan, np.nan)
            estimate = bootstrap_mean(values, proportion=column == "accuracy", seed=seed) if len(values) else unknown
            row |= estimate.columns(column)
        rows.append(row)
    return pd.DataFrame(rows)
