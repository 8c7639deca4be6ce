"""The sample-and-evaluate oracle: all that a sharpening algorithm may know of a base policy (Def 3.2).

A table is one, a linear softmax policy is one, a language model is one.  Whatever *samples* is written once against
this protocol; whatever *knows the whole law* is written against a table.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Response:
    """One response drawn from, or scored under, a policy.

    Attributes:
        tokens: what identifies the response (token ids including end of sequence; ``(y,)`` on a table).
        log_likelihood: ``log π(y|x)`` in nats, summed over all `tokens`.
        finished: whether it ended by itself; False if it was cut off by a length budget.
    """

    tokens: tuple[int, ...]
    log_likelihood: float
    finished: bool = True


class Oracle(Protocol):
    """Sample-and-evaluate access to a policy ``π(y|x)``."""

    def sample(self, prompts: Sequence[Hashable], n: int, *, seed: int = 0) -> list[list[Response]]:
        """Draw `n` i.i.d. responses per prompt at temperature 1, nested prompt → sample."""
        ...

    def evaluate(self, prompts: Sequence[Hashable], responses: Sequence[Sequence[Sequence[int]]]) -> list[np.ndarray]:
        """Log-likelihoods in nats of given responses, one array per prompt."""
        ...
