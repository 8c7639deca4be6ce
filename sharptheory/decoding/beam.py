"""Decoding from next-token probabilities alone, so that a token tree and a language model are one to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sharptheory.decoding.next_token import ask
from sharptheory.errors import expect_integers
from sharptheory.oracle import NextToken


def beam_search(
    next_token: NextToken, stop_ids: Iterable[int], prompts: Sequence[int], *, width: int, max_tokens: int
) -> list[list[tuple[tuple[int, ...], float]]]:
    """Beam search by the likelihood of the whole response; ``width=1`` is greedy decoding.

    A step keeps the `width` likeliest of all continuations, finished ones among them; the search ends when no open
    prefix is likelier than the `width`-th finished response. Ties go to the smallest token. No length penalty.

    Args:
        next_token: log-probabilities in nats after prefixes of prompts.
        stop_ids: tokens that end a response.
        prompts: their numbers, ``[X]``.
        width: hypotheses kept per prompt.
        max_tokens: a prefix of this length is a response too, unfinished.

    Returns:
        Per prompt up to `width` responses, stop tokens included, with their log-likelihoods in nats, likeliest first.

    Raises:
        UserError: `width` or `max_tokens` below 1, or a next-token law that is none (NaN, above 0).
    """
    expect_integers(1, width=width, max_tokens=max_tokens)
    stop_ids = frozenset(stop_ids)
    live = [[((), 0.0)] for _ in prompts]
    done: list[list[tuple[tuple[int, ...], float]]] = [[] for _ in prompts]
    for step in range(max_tokens):
        owner = [index for index, hypotheses in enumerate(live) for _ in hypotheses]
        if not owner:
            break
        hypotheses = [hypothesis for held in live for hypothesis in held]
        rows = ask(next_token, [prompts[index] for index in owner], [tokens for tokens, _ in hypotheses])
        scores = rows + np.array([score for _, score in hypotheses])[:, None]
        live, start = [[] for _ in prompts], 0
        for index in dict.fromkeys(owner):
            block = scores[start : start + owner.count(index)]
            for i in _largest(block.ravel(), width):
                parent, token = divmod(int(i), block.shape[1])
                child = ((*hypotheses[start + parent][0], token), float(block[parent, token]))
                ended = token in stop_ids or step + 1 == max_tokens
                (done if ended else live)[index].append(child)
            start += len(block)
            done[index] = sorted(done[index], key=lambda held: -held[1])[:width]
            if len(done[index]) == width:
                live[index] = [held for held in live[index] if held[1] > done[index][-1][1]]
    return done


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k largest finite values, largest first, ties in order of position."""
    if len(values) > 8 * k:
        threshold = np.partition(values, -k)[-k]
        where = np.flatnonzero(values >= threshold)
    else:
        where = np.arange(len(values))
    where = where[values[where] > -np.inf]
    return where[np.argsort(-values[where], kind="stable")][:k]
