"""The sample-and-evaluate oracle: all that a sharpening algorithm may know of a base policy (Definition 3.2).

A table is one, a linear softmax policy is one, a language model is one.  Whatever *samples* is written once against
`Oracle`, whatever needs text against `TextOracle`, and decoders of any next-token law against `NextToken`; whatever
*knows the whole law* is written against a table.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Protocol, runtime_checkable

import numpy as np

from sharptheory.errors import UserError, expect_integers

#: ``(prompt numbers [B], token prefixes [B]) → log-probabilities [B, V]`` of the next token, in nats:
#: `AutoregressivePolicy.next_token`, or what `TextOracle.next_token` returns.
NextToken = Callable[[Sequence[int], Sequence[tuple[int, ...]]], np.ndarray]


@dataclass(frozen=True)
class Response:
    """One response sampled from, or scored under, a policy.

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


@runtime_checkable
class Oracle(Protocol):
    """Sample-and-evaluate access to a policy ``π(y|x)``."""

    def sample(self, prompts: Sequence[Hashable], n: int, *, seed: int = 0) -> list[list[Response]]:
        """Sample `n` i.i.d. responses per prompt at temperature 1, nested prompt → sample."""
        ...

    def evaluate(self, prompts: Sequence[Hashable], responses: Sequence[Sequence[Sequence[int]]]) -> list[np.ndarray]:
        """Log-likelihoods in nats of given responses, one array per prompt."""
        ...


@runtime_checkable
class CountedNextToken(Protocol):
    """A `NextToken` of given prompts that counts what it costs.

    Attributes:
        forward_tokens: tokens that have gone through the model so far, per prompt ``[X]``.
    """

    forward_tokens: np.ndarray

    def __call__(self, prompts: Sequence[int], prefixes: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Log-probabilities of the token after each prefix, ``[B, V]``, in nats."""
        ...


@runtime_checkable
class TextOracle(Oracle, Protocol):
    """An `Oracle` whose prompts are texts and whose responses are token ids: a language model behind any engine.

    Samples, likelihoods and next-token law are of one and the same distribution: temperature 1, not truncated.

    Attributes:
        max_new_tokens: most tokens of a response; a longer one is cut and not `Response.finished`.
        stop_ids: tokens that end a response, and belong to it.
        statistics: names of the means per response that sampling measures (`Response.statistics`).
        settings: whatever else decides the samples, beside prompts, number and seed; part of what identifies a run.
    """

    max_new_tokens: int
    stop_ids: frozenset[int]
    statistics: tuple[str, ...]

    @property
    def settings(self) -> Mapping[str, object]: ...

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of each prompt as the model reads it."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of a response."""
        ...

    def sample_groups(
        self,
        prompts: Sequence[str],
        n: int,
        *,
        seed: int = 0,
        numbers: Sequence[int] | None = None,
        first: int = 0,
        skip: frozenset[int] = frozenset(),
    ) -> Iterator[tuple[list[int], list[list[Response]]]]:
        """Like `sample`, yielding ``(prompt numbers, responses)`` as they come; groups that lie in `skip` are left out.

        A sample depends on the seed, the number of its prompt (default 0, 1, …) and its own (`first`, `first` + 1, …), on
        nothing else: more samples, or more prompts, are those that a larger request would have given.
        """
        ...

    def greedy(self, prompts: Sequence[str]) -> list[Response]:
        """The response of token-wise greedy decoding to each prompt."""
        ...

    def next_token(self, prompts: Sequence[str], *, remember: bool = True) -> CountedNextToken:
        """The next-token law of given prompts; `remember` keeps what it has computed, for callers that come back."""
        ...

    def p_true(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """The model's own probability ``[B]`` that each response to its prompt is right."""
        ...


class TableOracle:
    """A table as an oracle: prompts are row numbers, a response is ``(column,)``.

    Args:
        policy: a `TabularPolicy`, or anything with ``log_probs [X, Y]`` in nats.

    Raises:
        UserError: it has no such table.

    >>> import numpy as np
    >>> from sharptheory.theory.policies import TabularPolicy
    >>> oracle = TableOracle(TabularPolicy.from_probs([[0.75, 0.25], [0.5, 0.5]]))
    >>> [[first, second], [third, fourth]] = oracle.sample([0, 1], 2, seed=1)
    >>> third.tokens, round(third.log_likelihood, 4)
    ((0,), -0.6931)
    >>> [scores] = oracle.evaluate([0], [[(0,), (1,)]])
    >>> np.exp(scores)
    array([0.75, 0.25])
    """

    def __init__(self, policy):
        table = getattr(policy, "log_probs", None)
        if np.ndim(table) != 2:
            raise UserError(f"policy={policy!r}; expected a table of log-probabilities [X, Y], as TabularPolicy has")
        self._log_probs = np.asarray(table, dtype=float)
        cdf = np.cumsum(np.exp(self._log_probs), axis=1)
        self._cdf = cdf / cdf[:, -1:]

    def sample(self, prompts: Sequence[int], n: int, *, seed: int = 0) -> list[list[Response]]:
        """`n` i.i.d. responses per prompt.

        Args:
            prompts: row numbers, ``[B]``, repeats allowed.
            n: responses for each.
            seed: the same one gives the same responses.

        Raises:
            UserError: `n`, `seed` or a prompt is none.
        """
        expect_integers(1, n=n)
        expect_integers(0, seed=seed)
        uniforms = np.random.default_rng(seed).random((len(prompts), n))
        sampled = []
        for x, u in zip(prompts, uniforms):
            self._check_prompt(x)
            # 'right' never lands on a response without mass.
            columns = np.minimum(np.searchsorted(self._cdf[x], u, side="right"), self._last(x))
            sampled.append([Response((int(y),), float(self._log_probs[x, y])) for y in columns])
        return sampled

    def evaluate(self, prompts: Sequence[int], responses: Sequence[Sequence[Sequence[int]]]) -> list[np.ndarray]:
        """Log-probabilities in nats of given responses, one array per prompt.

        Args:
            prompts: row numbers, ``[B]``.
            responses: for each prompt a list of ``(column,)``.

        Raises:
            UserError: a prompt or a response that the table lacks, or not one list per prompt.
        """
        if len(prompts) != len(responses):
            raise UserError(f"{len(prompts)} prompts but {len(responses)} lists of responses; expected one list each")
        n_responses = self._log_probs.shape[1]
        for x, given in zip(prompts, responses):
            self._check_prompt(x)
            for response in given:
                column = response[0] if np.shape(response) == (1,) else None
                if not isinstance(column, Integral) or not 0 <= column < n_responses:
                    raise UserError(
                        f"responses: {response} at prompt {x}; expected (column,) with column from 0 to {n_responses - 1}"
                    )
        return [self._log_probs[x, [y for (y,) in given]] for x, given in zip(prompts, responses)]

    def _check_prompt(self, x: int) -> None:
        expect_integers(0, len(self._log_probs) - 1, prompt=x)

    def _last(self, x: int) -> int:
        return int(np.flatnonzero(self._log_probs[x] > -np.inf)[-1])


class CountingOracle:
    """Counts the queries (Definition 3.2) that go through it: one per sampled and one per evaluated response.

    Args:
        oracle: the one that answers.
    """

    def __init__(self, oracle: Oracle):
        self._oracle = oracle
        self.sampled = self.evaluated = 0

    @property
    def queries(self) -> int:
        """Responses sampled and evaluated; a sampled response comes with its likelihood, so it counts once."""
        return self.sampled + self.evaluated

    def sample(self, prompts: Sequence[Hashable], n: int, *, seed: int = 0) -> list[list[Response]]:
        """As the oracle's own; counted."""
        responses = self._oracle.sample(prompts, n, seed=seed)
        self.sampled += sum(map(len, responses))
        return responses

    def evaluate(self, prompts: Sequence[Hashable], responses: Sequence[Sequence[Sequence[int]]]) -> list[np.ndarray]:
        """As the oracle's own; counted."""
        self.evaluated += sum(map(len, responses))
        return self._oracle.evaluate(prompts, responses)
