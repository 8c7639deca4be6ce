"""The sample-and-evaluate oracle: all that a sharpening algorithm may know of a base policy (Def 3.2).

A table is one, a linear softmax policy is one, a language model is one.  Whatever *samples* is written once against
this protocol; whatever *knows the whole law* is written against a table.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from sharptheory.errors import UserError

#: ``(prompt numbers [B], token prefixes [B]) → log-probabilities [B, V]`` of the next token, in nats:
#: `AutoregressivePolicy.next_token`, or a `sharptheory.llm.engines.prefixes.PrefixTree`.
NextToken = Callable[[Sequence[int], Sequence[tuple[int, ...]]], np.ndarray]


@dataclass(frozen=True)
class Response:
    """One response drawn from, or scored under, a policy.

    Attributes:
        tokens: what identifies the response (token ids including end of sequence; ``(y,)`` on a table).
        log_likelihood: ``log π(y|x)`` in nats, summed over all `tokens`.
        finished: whether it ended by itself; False if it was cut off by a length budget.
        statistics: means over its tokens of what an oracle was asked to measure while sampling (self-rewards).
    """

    tokens: tuple[int, ...]
    log_likelihood: float
    finished: bool = True
    statistics: Mapping[str, float] = field(default_factory=dict, compare=False)


class Oracle(Protocol):
    """Sample-and-evaluate access to a policy ``π(y|x)``."""

    def sample(self, prompts: Sequence[Hashable], n: int, *, seed: int = 0) -> list[list[Response]]:
        """Draw `n` i.i.d. responses per prompt at temperature 1, nested prompt → sample."""
        ...

    def evaluate(self, prompts: Sequence[Hashable], responses: Sequence[Sequence[Sequence[int]]]) -> list[np.ndarray]:
        """Log-likelihoods in nats of given responses, one array per prompt."""
        ...


class TableOracle:
    """A table as an oracle: prompts are row numbers, a response is ``(column,)``.

    Args:
        policy: a `TabularPolicy`, or anything with ``log_probs [X, Y]``.
    """

    def __init__(self, policy):
        self._log_probs = np.asarray(policy.log_probs, dtype=float)
        cdf = np.cumsum(np.exp(self._log_probs), axis=1)
        self._cdf = cdf / cdf[:, -1:]

    def sample(self, prompts: Sequence[int], n: int, *, seed: int = 0) -> list[list[Response]]:
        """Draw `n` i.i.d. responses per prompt."""
        if n < 1:
            raise UserError(f"n={n} samples per prompt; expected at least 1")
        uniforms = np.random.default_rng(seed).random((len(prompts), n))
        drawn = []
        for x, u in zip(prompts, uniforms):
            # 'right' never lands on a response without mass.
            columns = np.minimum(np.searchsorted(self._cdf[x], u, side="right"), self._last(x))
            drawn.append([Response((int(y),), float(self._log_probs[x, y])) for y in columns])
        return drawn

    def evaluate(self, prompts: Sequence[int], responses: Sequence[Sequence[Sequence[int]]]) -> list[np.ndarray]:
        """Log-probabilities of given responses, one array per prompt."""
        if len(prompts) != len(responses):
            raise UserError(f"{len(prompts)} prompts but {len(responses)} lists of responses; expected one list each")
        return [self._log_probs[x, [y for (y,) in given]] for x, given in zip(prompts, responses)]

    def _last(self, x: int) -> int:
        return int(np.flatnonzero(self._log_probs[x] > -np.inf)[-1])


class CountingOracle:
    """Counts the queries (Definition 3.2) that go through it: one per sampled and one per evaluated response."""

    def __init__(self, oracle: Oracle):
        self._oracle = oracle
        self.sampled = self.evaluated = 0

    @property
    def queries(self) -> int:
        """Responses sampled and evaluated; a sampled response comes with its likelihood, so it counts once."""
        return self.sampled + self.evaluated

    def sample(self, prompts: Sequence[Hashable], n: int, *, seed: int = 0) -> list[list[Response]]:
        drawn = self._oracle.sample(prompts, n, seed=seed)
        self.sampled += sum(map(len, drawn))
        return drawn

    def evaluate(self, prompts: Sequence[Hashable], responses: Sequence[Sequence[Sequence[int]]]) -> list[np.ndarray]:
        self.evaluated += sum(map(len, responses))
        return self._oracle.evaluate(prompts, responses)
