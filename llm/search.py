"""The most likely response of a language model, with a proof: best-first search over prefixes.

A prefix's probability bounds that of every completion. So once no open prefix is likelier than the best finished
response, that response is ``y*(x)``; until then the likeliest open prefix bounds ``p*`` from above.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sharptheory.estimators import LIKELIHOOD_NOISE
from sharptheory.llm.cache import GrowingLayer, new_cache
from sharptheory.llm.oracle import HuggingFaceOracle
from sharptheory.llm.sampling import refuse_other_run, task_identity
from sharptheory.llm.tasks import Task

#: Expands prefixes: ``(node ids, token sequences) → next-token log-probabilities [B, V]``.
Expand = Callable[[list[int], list[tuple[int, ...]]], np.ndarray]


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
    """

    tokens: tuple[int, ...] | None
    log_p: float
    log_upper: float
    responses: tuple[tuple[tuple[int, ...], float], ...]
    complete: bool
    expanded: int

    @property
    def certified(self) -> bool:
        """Whether `tokens` is proved to be the argmax (ties aside)."""
        return self.tokens is not None and self.log_upper <= self.log_p


def best_first(
    expand: Expand,
    stop_ids: Iterable[int],
    *,
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
        expand: next-token log-probabilities of prefixes; the empty prefix has id 0.
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
    # Heap of (-log p, id, tokens); ids number the prefixes in order of creation.
    frontier, next_id, expanded, cut = [(0.0, 0, ())], 1, 0, -np.inf

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
        log_probs = expand([node[1] for node in nodes], [node[2] for node in nodes])
        expanded += len(nodes)
        for (cost, _, tokens), row in zip(nodes, np.asarray(log_probs, dtype=float)):
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
                heapq.heappush(frontier, (-float(children[token]), next_id, (*tokens, int(token))))
                next_id += 1
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


class PrefixExpander:
    """Next-token log-probabilities of prefixes of one prompt, reusing the cache of every prefix's parent.

    Keys and values of each expanded prefix's last token are kept once; a batch of prefixes gathers those of its
    ancestors, padded on the left, so that prefixes of any lengths share one forward pass.

    Args:
        oracle: the model; prompt: its text; cached: False recomputes every prefix (for comparison, and for models whose
            layers do not keep plain keys and values).
    """

    def __init__(self, oracle: HuggingFaceOracle, prompt: str, *, cached: bool = True):
        self.model, [self.prompt] = oracle.model, oracle.encode([prompt])
        # Other layers (sliding windows, linear attention) do not keep every token's keys and values.
        self.cached = cached and all(isinstance(layer, GrowingLayer) for layer in new_cache(self.model).layers)
        self._slots: dict[tuple[int, ...], int] = {}
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._used = 0

    @torch.inference_mode()
    def __call__(self, ids: list[int], prefixes: list[tuple[int, ...]]) -> np.ndarray:
        if not self.cached:
            return np.stack([self._recompute(prefix) for prefix in prefixes])
        if prefixes == [()]:
            return self._start()[None]
        device = self.model.device
        # Slots of the tokens before each prefix's last one: prompt, then its ancestors.
        paths = [[*range(len(self.prompt)), *(self._slots[p[:i]] for i in range(1, len(p)))] for p in prefixes]
        width = max(map(len, paths))
        index = torch.zeros((len(paths), width), dtype=torch.long)
        mask = torch.zeros((len(paths), width + 1), dtype=torch.long)
        for row, path in enumerate(paths):
            index[row, width - len(path) :] = torch.tensor(path)
            mask[row, width - len(path) :] = 1
        cache = new_cache(self.model)
        for layer, (keys, values) in enumerate(zip(self._keys, self._values)):
            gathered = (pool[index.to(device)].transpose(1, 2) for pool in (keys, values))
            cache.update(*gathered, layer)
        output = self.model(
            input_ids=torch.tensor([[p[-1]] for p in prefixes], device=device),
            attention_mask=mask.to(device),
            position_ids=torch.tensor([[len(path)] for path in paths], device=device),
            past_key_values=cache,
            use_cache=True,
        )
        self._store(cache, prefixes)
        return output.logits[:, -1].float().log_softmax(-1).cpu().numpy()

    def _start(self) -> np.ndarray:
        """Encode the prompt; its keys and values take the first slots."""
        cache = new_cache(self.model)
        output = self.model(
            input_ids=torch.tensor([self.prompt], device=self.model.device), past_key_values=cache, use_cache=True
        )
        for layer in cache.layers:
            self._keys.append(layer.keys[0].transpose(0, 1).clone())
            self._values.append(layer.values[0].transpose(0, 1).clone())
        self._used = len(self.prompt)
        return output.logits[0, -1].float().log_softmax(-1).cpu().numpy()

    def _store(self, cache, prefixes: list[tuple[int, ...]]) -> None:
        """Keep the last token's keys and values of each batch row."""
        start, stop = self._used, self._used + len(prefixes)
        for pools, name in ((self._keys, "keys"), (self._values, "values")):
            for layer, held in enumerate(cache.layers):
                if stop > len(pools[layer]):
                    room = pools[layer].new_empty((2 * stop, *pools[layer].shape[1:]))
                    room[:start] = pools[layer][:start]
                    pools[layer] = room
                pools[layer][start:stop] = getattr(held, name)[:, :, -1]
        for slot, prefix in enumerate(prefixes, start):
            self._slots[prefix] = slot
        self._used = stop

    def _recompute(self, prefix: tuple[int, ...]) -> np.ndarray:
        tokens = torch.tensor([[*self.prompt, *prefix]], device=self.model.device)
        return self.model(input_ids=tokens, use_cache=False).logits[0, -1].float().log_softmax(-1).cpu().numpy()


def find_argmax(
    oracle: HuggingFaceOracle, prompt: str, *, samples: int = 16, seed: int = 0, cached: bool = True, **options
) -> Argmax:
    """`best_first` on one prompt of a model, seeded by its greedy response and `samples` drawn ones.

    Args:
        options: budget, gamma, keep, batch, tolerance of `best_first`.
    """
    drawn = oracle.greedy([prompt]) + (oracle.sample([prompt], samples, seed=seed)[0] if samples else [])
    seeds = [(response.tokens, response.log_likelihood) for response in drawn if response.finished]
    expander = PrefixExpander(oracle, prompt, cached=cached)
    return best_first(expander, oracle.stop_ids, max_tokens=oracle.max_new_tokens, seeds=seeds, **options)


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
        One row per prompt: `response, correct, log_p, log_upper, certified`; `log_q` and `n_maximizers` of ``y*_γ`` and
        `log_runner_up`, the likeliest response outside ``y*``, where `complete`; `greedy_log_p, greedy_correct`,
        `greedy_is_argmax`; `expanded`.
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
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [] if force else _continue(path, run)
    with path.open("w" if force else "a") as file:
        if file.tell() == 0:
            file.write(json.dumps(run) + "\n")
        for i in range(len(rows), len(task.prompts)):
            if progress:
                progress(i, len(task.prompts))
            rows.append(_searched(oracle, task, i, gamma=gamma, budget=budget, samples=samples, seed=seed + i))
            file.write(json.dumps(rows[-1]) + "\n")
            file.flush()
    if progress:
        progress(len(rows), len(task.prompts))
    return pd.DataFrame(rows).astype({"correct": "boolean", "greedy_correct": "boolean"})


def _continue(path: Path, run: dict) -> list[dict]:
    """Rows that a file already holds, after checking that it is this run; a half-written last line is dropped."""
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(lines[:-1]) + b"\n" if len(lines) > 1 else b"")
    if len(lines) == 1:
        return []
    refuse_other_run(path, json.loads(lines[0]), run)
    return [json.loads(line) for line in lines[1:-1]]


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
