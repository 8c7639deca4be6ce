"""The most likely response, with a proof: best-first search over prefixes.

A prefix's probability bounds that of every completion. So once no open prefix is likelier than the best finished
response, that response is ``y*(x)``; until then the likeliest open prefix bounds ``p*`` from above.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sharptheory.errors import UserError
from sharptheory.oracle import NextToken


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
        raise UserError(f"gamma={gamma}; expected a number in [0, 1)")
    if keep < 1 or budget < 1:
        raise UserError(f"keep={keep}, budget={budget}; expected at least 1 of each")
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
