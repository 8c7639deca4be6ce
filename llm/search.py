"""The most likely response of a language model, with a proof: best-first search over prefixes.

A prefix's probability bounds that of every completion. So once no open prefix is likelier than the best finished
response, that response is ``y*(x)``; until then the likeliest open prefix bounds ``p*`` from above.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sharptheory.decoding import NextToken, beam_search
from sharptheory.estimators import LIKELIHOOD_NOISE
from sharptheory.llm.oracle import HuggingFaceOracle
from sharptheory.llm.prefixes import PrefixTree
from sharptheory.llm.sampling import Lines, task_identity
from sharptheory.llm.tasks import Task


@dataclass(frozen=True)
class Argmax:
    """Result of a search for the likeliest response of one prompt; logarithms in nats.

    Attributes:
        tokens: the likeliest response found, end of sequence included; None if none has finished.
        log_p: its log-likelihood, a lower bound on ``log p*``.
        log_upper: upper bound on ``log p*``; equal to `log_p` when certified.
        responses: all finished responses that the search was asked to keep, likeliest first, with log-likelihoods:
            every response within the factor ``1-γ`` of the best, and the `keep` likeliest, if `complete`.
        complete: whether `responses` is proved to be complete.
        expanded: number of prefixes expanded.
        forward_tokens: tokens that the whole search put through a model, its seeds included (`find_argmax`).
    """

    tokens: tuple[int, ...] | None
    log_p: float
    log_upper: float
    responses: tuple[tuple[tuple[int, ...], float], ...]
    complete: bool
    expanded: int
    forward_tokens: int = 0

    @property
    def certified(self) -> bool:
        """Whether `tokens` is proved to be the argmax (ties aside)."""
        return self.tokens is not None and self.log_upper <= self.log_p


def best_first(
    next_token: NextToken,
    stop_ids: Iterable[int],
    *,
    prompt: int = 0,
    max_tokens: int,
    budget: int = 1_000,
    gamma: float = 0.0,
    keep: int = 1,
    seeds: Sequence[tuple[tuple[int, ...], float]] = (),
    batch: int = 32,
    tolerance: float = 1e-6,
) -> Argmax:
    """Search one prompt.

    Args:
        next_token: log-probabilities after prefixes of prompts. prompt: the one to search.
        stop_ids: tokens that end a response. max_tokens: longest response; a prefix that reaches it unfinished cannot
            be completed, and only widens `log_upper`.
        budget: most prefixes to expand.
        gamma, keep: find all responses with ``p ≥ (1-γ)p*``, and at least the `keep` likeliest.
        seeds: finished responses with their log-likelihoods (greedy, sampled): they prune from the start.
        batch: prefixes expanded together, likeliest first.
        tolerance: nats by which a prefix must beat the bound to be worth expanding; float noise of the model.
    """
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma={gamma}; expected a number in [0, 1)")
    if keep < 1 or budget < 1:
        raise ValueError(f"keep={keep}, budget={budget}; expected at least 1 of each")
    stop_ids = np.array(sorted(stop_ids))
    found = {tuple(tokens): float(log_p) for tokens, log_p in seeds}
    # Heap of (-log p, tokens).
    frontier, expanded, cut = [(0.0, ())], 0, -np.inf

    def bound() -> float:
        """Prefixes at or below this cannot change the answer."""
        values = sorted(found.values(), reverse=True)
        if len(values) < keep:
            return -np.inf
        floor = values[0] + np.log1p(-gamma) - (tolerance if gamma > 0 else -tolerance)
        return min(floor, values[keep - 1] + tolerance)

    limit = bound()
    while frontier and expanded < budget and -frontier[0][0] > limit:
        nodes = []
        while frontier and len(nodes) < min(batch, budget - expanded) and -frontier[0][0] > limit:
            nodes.append(heapq.heappop(frontier))
        log_probs = next_token([prompt] * len(nodes), [tokens for _, tokens in nodes])
        expanded += len(nodes)
        for (cost, tokens), row in zip(nodes, np.asarray(log_probs, dtype=float)):
            children = row - cost
            for token in stop_ids:
                if children[token] > -np.inf and children[token] >= limit:
                    response = (*tokens, int(token))
                    found[response] = max(found.get(response, -np.inf), float(children[token]))
            children[stop_ids] = -np.inf
            limit = bound()
            for token in np.flatnonzero(children > limit):
                if len(tokens) + 1 >= max_tokens:
                    cut = max(cut, float(children[token]))
                    continue
                heapq.heappush(frontier, (-float(children[token]), (*tokens, int(token))))
    ranked = sorted(found.items(), key=lambda item: -item[1])
    open_bound = max(-frontier[0][0] if frontier else -np.inf, cut)
    if not ranked:
        return Argmax(None, -np.inf, min(open_bound, 0.0), (), False, expanded)
    best, log_p = ranked[0]
    floor = log_p + np.log1p(-gamma) - tolerance
    kept = tuple(item for i, item in enumerate(ranked) if i < keep or item[1] >= floor)
    # Float noise aside, nothing open beats the best.
    upper = log_p if open_bound <= log_p + tolerance else open_bound
    return Argmax(best, log_p, upper, kept, bool(open_bound <= limit), expanded)


def find_argmax(
    oracle: HuggingFaceOracle,
    prompt: str,
    *,
    samples: int = 16,
    beams: int = 4,
    seed: int = 0,
    cached: bool = True,
    **options,
) -> Argmax:
    """`best_first` on one prompt of a model, seeded by beam search (which `beams=1` makes greedy) and by samples.

    Args:
        options: budget, gamma, keep, batch, tolerance of `best_first`.
    """
    tree = PrefixTree(oracle, [prompt], cached=cached, remember=False)
    [found] = beam_search(tree, oracle.stop_ids, [0], width=beams, max_tokens=oracle.max_new_tokens)
    seeds = [(tokens, log_p) for tokens, log_p in found if tokens[-1] in oracle.stop_ids]
    drawn = oracle.sample([prompt], samples, seed=seed)[0] if samples else []
    seeds += [(response.tokens, response.log_likelihood) for response in drawn if response.finished]
    result = best_first(tree, oracle.stop_ids, max_tokens=oracle.max_new_tokens, seeds=seeds, **options)
    sampled = sum(len(response.tokens) for response in drawn)
    return replace(result, forward_tokens=int(tree.forward_tokens[0]) + sampled)


def search_task(
    oracle: HuggingFaceOracle,
    task: Task,
    path: str | Path,
    *,
    gamma: float = 0.0,
    budget: int = 1_000,
    samples: int = 16,
    seed: int = 0,
    identity: dict | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Search every prompt of a task, one line of JSON each, appended as it is found: a killed run goes on.

    Args:
        path: of the ``.jsonl`` file; its first line says which run it is. A different run is refused unless `force`.
        identity: further facts that make two runs different (model fingerprint, dtype …).

    Returns:
        One row per prompt: `response, tokens, correct, log_p, log_upper, certified`; `log_q` and `n_maximizers` of ``y*_γ`` and
        `log_runner_up`, the likeliest response outside ``y*``, where `complete`; `greedy_log_p, greedy_correct`,
        `greedy_is_argmax`; `expanded`, `forward_tokens`.
    """
    # The seed first: it decides the prompts of a generated task, so it is what a refusal should name.
    run = {
        **(identity or {}),
        "seed": seed,
        **task_identity(task),
        "gamma": gamma,
        "budget": budget,
        "samples": samples,
    }
    run["max_new_tokens"] = oracle.max_new_tokens
    with Lines(path, run, force=force) as lines:
        for i in range(len(lines.rows), len(task.prompts)):
            if progress:
                progress(i, len(task.prompts))
            lines.write(_searched(oracle, task, i, gamma=gamma, budget=budget, samples=samples, seed=seed + i))
    rows = lines.rows
    if progress:
        progress(len(rows), len(task.prompts))
    return pd.DataFrame(rows).astype({"correct": "boolean", "greedy_correct": "boolean"})


def _searched(oracle: HuggingFaceOracle, task: Task, i: int, *, gamma: float, **options) -> dict:
    prompt = task.prompts[i]
    # Two responses at least: the runner-up gives the margin.
    found = find_argmax(oracle, prompt, gamma=gamma, keep=2, **options)
    [greedy] = oracle.greedy([prompt])
    text = None if found.tokens is None else oracle.decode(found.tokens)
    members = [log_p for _, log_p in found.responses if log_p >= found.log_p + np.log1p(-gamma) - LIKELIHOOD_NOISE]
    outside = [log_p for _, log_p in found.responses if log_p < found.log_p - LIKELIHOOD_NOISE]
    known = found.certified and found.complete
    return {
        "prompt_id": i,
        "prompt": prompt,
        "response": text,
        "tokens": None if found.tokens is None else list(found.tokens),
        "correct": None if text is None else task.grade(text, task.answers[i])[1],
        "log_p": _finite(found.log_p),
        "log_upper": found.log_upper,
        "certified": found.certified,
        "complete": known,
        "log_q": float(np.logaddexp.reduce(members)) if known else None,
        "n_maximizers": len(members) if known else None,
        "log_runner_up": max(outside) if known and outside else None,
        "greedy_log_p": greedy.log_likelihood if greedy.finished else None,
        "greedy_correct": task.grade(oracle.decode(greedy.tokens), task.answers[i])[1],
        "greedy_is_argmax": greedy.finished and greedy.log_likelihood >= found.log_p - LIKELIHOOD_NOISE,
        "expanded": found.expanded,
        "forward_tokens": found.forward_tokens,
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def summarize(table: pd.DataFrame, gamma: float) -> dict:
    """Exact coverage of the certified prompts, bounds on all of them, and what the argmax is worth."""
    certified, complete = table[table["certified"]], table[table["complete"].astype(bool)]
    exact = lambda column: np.exp(-complete[column].to_numpy(dtype=float)).mean() if len(complete) else None  # noqa: E731
    gaps = (complete["log_p"] - complete["log_runner_up"].astype(float)).to_numpy(dtype=float)
    share = lambda column: float(table[column].mean()) if table[column].notna().any() else None  # noqa: E731
    with np.errstate(over="ignore"):
        return {
            "n_prompts": len(table),
            "n_certified": len(certified),
            "n_complete": len(complete),
            "gamma": gamma,
            "c_cov_bar": exact("log_p"),
            "c_cov_gamma": exact("log_q"),
            "margin": float(np.expm1(np.nanmin(gaps))) if np.isfinite(gaps).any() else None,
            "median_margin": float(np.expm1(np.nanmedian(gaps))) if np.isfinite(gaps).any() else None,
            "greedy_is_argmax": float(certified["greedy_is_argmax"].mean()) if len(certified) else None,
            "argmax_accuracy": share("correct"),
            "greedy_accuracy": share("greedy_correct"),
            "median_expanded": float(table["expanded"].median()),
            "max_expanded": int(table["expanded"].max()),
        }
