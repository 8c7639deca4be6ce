"""The most likely response, with a proof: best-first search over prefixes.

A prefix's probability bounds that of every completion. So once no open prefix is likelier than the best finished
response, that response is ``y*(x)``; until then the likeliest open prefix bounds ``p*`` from above.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sharptheory.decoding.next_token import ROUNDING, ask
from sharptheory.errors import UserError, expect_integers
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
        held: most open prefixes held at once; never more than twice the budget.
        forward_tokens: tokens that the whole search put through a model, its seeds included (`find_argmax`).
    """

    tokens: tuple[int, ...] | None
    log_p: float
    log_upper: float
    responses: tuple[tuple[tuple[int, ...], float], ...]
    complete: bool
    expanded: int
    held: int = 0
    forward_tokens: int = 0

    @property
    def certified(self) -> bool:
        """Whether `tokens` is proved to be the argmax (ties aside)."""
        return bool(self.tokens is not None and self.log_upper <= self.log_p)


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
    """The likeliest response of one prompt, its upper bound, and all responses that come close.

    Args:
        next_token: log-probabilities in nats after prefixes of prompts.
        stop_ids: tokens that end a response.
        prompt: number of the prompt to search.
        max_tokens: longest response; a prefix that reaches it unfinished cannot be completed, and only widens
            `log_upper`.
        budget: most prefixes to expand. Memory is that of twice as many prefixes, whatever the vocabulary.
        gamma, keep: find all responses with ``p ≥ (1-γ)p*``, and at least the `keep` likeliest.
        seeds: finished responses with their log-likelihoods in nats (greedy, sampled): they prune from the start.
        batch: prefixes expanded together, likeliest first.
        tolerance: nats by which a prefix must beat the bound to be worth expanding; float noise of the model.

    Returns:
        An `Argmax`, whose bounds hold also where the budget cut the search off.

    Raises:
        UserError: an argument out of range, a seed that has not finished or has no log-likelihood, or a next-token
            law that is none (NaN, above 0).

    The sequence argmax need not start with the likeliest token:

    >>> import numpy as np
    >>> first, then = np.log([0.55, 0.45, 1e-9]), {0: np.log([0.5, 0.5 - 1e-9, 1e-9]), 1: np.log([1e-9, 1e-9, 1 - 2e-9])}
    >>> law = lambda prompts, prefixes: np.array([then[p[-1]] if p else first for p in prefixes])
    >>> found = best_first(law, [2], max_tokens=3)
    >>> found.tokens, round(float(np.exp(found.log_p)), 3)
    ((1, 2), 0.45)
    """
    stop_ids = np.array(sorted(stop_ids), dtype=int)
    _check(stop_ids, max_tokens, budget, gamma, keep, seeds, batch, tolerance)
    found = _Found({tuple(tokens): float(log_p) for tokens, log_p in seeds}, gamma, keep, tolerance)
    frontier, expanded, unfinished = _Frontier(), 0, -np.inf
    while expanded < budget and frontier.largest() > found.limit:
        nodes = frontier.pop(min(batch, budget - expanded), found.limit)
        rows = ask(next_token, [prompt] * len(nodes), [tokens for _, tokens in nodes])
        expanded += len(nodes)
        children = np.asarray(rows, dtype=float) + np.array([[log_p] for log_p, _ in nodes])
        for (_, tokens), ended in zip(nodes, children[:, stop_ids]):
            found.add(tokens, stop_ids, ended)
        children[:, stop_ids] = -np.inf
        long = np.array([len(tokens) + 1 >= max_tokens for _, tokens in nodes])
        unfinished = max(unfinished, children[long].max(initial=-np.inf))
        children[long] = -np.inf
        frontier.push([tokens for _, tokens in nodes], children, found.limit, budget - expanded)
    open_bound = max(frontier.largest(), frontier.pruned, unfinished)
    return _result(found, open_bound, expanded, frontier.held)


class _Found:
    """Finished responses, and the bound at or below which nothing can change the answer."""

    def __init__(self, responses: dict[tuple[int, ...], float], gamma: float, keep: int, tolerance: float):
        self.responses, self._gamma, self._keep, self.tolerance = responses, gamma, keep, tolerance
        self.limit = self._bound()

    def add(self, prefix: tuple[int, ...], stop_ids: np.ndarray, log_probs: np.ndarray) -> None:
        """Take in ``(*prefix, stop)`` for each of `stop_ids`, with its log-likelihood, ``[S]`` each."""
        for i in np.flatnonzero((log_probs > -np.inf) & (log_probs >= self.limit)):
            response = (*prefix, int(stop_ids[i]))
            self.responses[response] = max(self.responses.get(response, -np.inf), float(log_probs[i]))
        self.limit = self._bound()

    def _bound(self) -> float:
        best = heapq.nlargest(self._keep, self.responses.values())
        if len(best) < self._keep:
            return -np.inf
        floor = best[0] + np.log1p(-self._gamma) - (self.tolerance if self._gamma > 0 else -self.tolerance)
        return min(floor, best[-1] + self.tolerance)

    def ranked(self) -> list[tuple[tuple[int, ...], float]]:
        """All responses, likeliest first."""
        return sorted(self.responses.items(), key=lambda item: -item[1])

    def kept(self) -> tuple[tuple[tuple[int, ...], float], ...]:
        """The responses that were asked for."""
        ranked = self.ranked()
        floor = ranked[0][1] + np.log1p(-self._gamma) - self.tolerance
        return tuple(item for i, item in enumerate(ranked) if i < self._keep or item[1] >= floor)


class _Frontier:
    """Open prefixes, likeliest first, no more of them than a budget can still expand.

    Only the R likeliest can be expanded by a budget of R: an expansion takes the likeliest away and adds less likely
    ones. Of the others the likeliest is remembered (`pruned`), for it bounds ``p*``.
    """

    def __init__(self):
        self._heap: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]  # of (-log p, tokens)
        self._floor = self.pruned = -np.inf
        self.held = 1

    def largest(self) -> float:
        return -self._heap[0][0] if self._heap else -np.inf

    def pop(self, count: int, limit: float) -> list[tuple[float, tuple[int, ...]]]:
        """The likeliest up to `count` prefixes above `limit`, as (log p, tokens)."""
        nodes = []
        while len(nodes) < count and self.largest() > limit:
            cost, tokens = heapq.heappop(self._heap)
            nodes.append((-cost, tokens))
        return nodes

    def push(self, prefixes: list[tuple[int, ...]], children: np.ndarray, limit: float, room: int) -> None:
        """Open the children of `prefixes` (log-likelihoods ``[B, V]``) above `limit`; at most `room` will be expanded."""
        values = children.ravel()
        self._forget(values[(values > limit) & (values <= self._floor)])
        chosen = np.flatnonzero(values > max(limit, self._floor))
        if len(chosen) > room:
            order = np.argpartition(-values[chosen], room)
            self._forget(values[chosen[order[room:]]])
            chosen = chosen[order[:room]]
        if len(self._heap) + len(chosen) > 2 * room:
            self._heap.sort()  # a sorted list is a heap
            self._forget(np.array([-cost for cost, _ in self._heap[room:]]))
            del self._heap[room:]
            if 0 < room == len(self._heap):
                self._floor = -self._heap[-1][0]
        for i in chosen:
            parent, token = divmod(int(i), children.shape[1])
            heapq.heappush(self._heap, (-float(values[i]), (*prefixes[parent], token)))
        self.held = max(self.held, len(self._heap))

    def _forget(self, log_probs: np.ndarray) -> None:
        self.pruned = max(self.pruned, float(log_probs.max(initial=-np.inf)))


def _check(stop_ids, max_tokens, budget, gamma, keep, seeds, batch, tolerance) -> None:
    expect_integers(1, max_tokens=max_tokens, budget=budget, keep=keep, batch=batch)
    if not 0 <= gamma < 1:
        raise UserError(f"gamma={gamma}; expected a number in [0, 1)")
    if not 0 <= tolerance < np.inf:
        raise UserError(f"tolerance={tolerance}; expected a number of nats ≥ 0")
    for tokens, log_p in seeds:
        if not -np.inf < log_p <= ROUNDING:
            raise UserError(f"seeds: {tuple(tokens)} has log-likelihood {log_p}; expected a finite number ≤ 0, in nats")
        if len(tokens) == 0 or tokens[-1] not in stop_ids:
            raise UserError(f"seeds: {tuple(tokens)} has not finished; expected a last token among {stop_ids.tolist()}")


def _result(found: _Found, open_bound: float, expanded: int, held: int) -> Argmax:
    """What the search knows once every open prefix is at most `open_bound`."""
    ranked = found.ranked()
    if not ranked:
        return Argmax(None, -np.inf, min(open_bound, 0.0), (), False, expanded, held)
    best, log_p = ranked[0]
    # Float noise aside, nothing open beats the best.
    upper = log_p if open_bound <= log_p + found.tolerance else open_bound
    return Argmax(best, log_p, upper, found.kept(), bool(open_bound <= found.limit), expanded, held)
