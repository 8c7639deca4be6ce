"""One question to a next-token law, its answer checked: what a broken model says must not become a proof."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sharptheory.errors import UserError
from sharptheory.oracle import NextToken

#: Rounding of a model in half precision may lift a log-probability this far above 0, in nats.
ROUNDING = 1e-2


def ask(next_token: NextToken, prompts: Sequence[int], prefixes: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Log-probabilities ``[B, V]`` in nats of the token that follows each prefix.

    Args:
        next_token: the law. prompts, prefixes: ``[B]`` each.

    Raises:
        UserError: a row is no law: it holds NaN, a number above 0, or no token with mass.
    """
    rows = np.asarray(next_token(prompts, prefixes))
    # One pass: the largest of a row is NaN if any of it is.
    largest = rows.max(axis=1)
    wrong = np.flatnonzero(~((largest > -np.inf) & (largest <= ROUNDING)))
    if len(wrong):
        i = int(wrong[0])
        raise UserError(
            f"next_token: the largest log-probability after prefix {tuple(prefixes[i])} of prompt {prompts[i]} is "
            f"{largest[i]:g}; expected log-probabilities in nats, at most 0 and not all -inf "
            "(a model that overflows in float16 gives nan)"
        )
    return rows
