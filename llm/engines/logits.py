"""What is computed from the logits of a language model: a token, its log-probability, statistics of the law."""

from __future__ import annotations

import numpy as np
import torch

from sharptheory.errors import UserError

BLOCK = 128


def self_certainty(logits: torch.Tensor) -> torch.Tensor:
    """``KL(uniform ‖ p) = -(1/V) Σ_v log(V p_v)`` of each row of logits ``[rows, V]``, in nats."""
    return logits.logsumexp(-1) - logits.mean(-1) - np.log(logits.shape[-1])


def negative_entropy(logits: torch.Tensor) -> torch.Tensor:
    """``Σ_v p_v log p_v`` of each row of logits ``[rows, V]``, in nats."""
    log_probs = logits.log_softmax(-1)
    return torch.where(log_probs > -torch.inf, log_probs.exp() * log_probs, 0.0).sum(-1)


#: Per-token statistics that an oracle can average while sampling, never storing ``[tokens, vocabulary]``.
STATISTICS = {"self_certainty": self_certainty, "negative_entropy": negative_entropy}


def choose(logits: torch.Tensor, u: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """A token per row: the inverse CDF of ``softmax(logits)`` at `u`, or the likeliest if `u` is None.

    The CDF is accumulated in float64 over blocks of the vocabulary, then inside one block: float32's resolution in the
    tail of a large vocabulary would be a truncation of the distribution, and a float64 pass over all of it is slow.

    Args:
        logits: ``[rows, V]`` in float32. u: uniforms ``[rows]`` in float64.

    Returns:
        The tokens and their log-probabilities in nats, both ``[rows]``.
    """
    log_norm = logits.logsumexp(-1)
    if u is None:
        best, token = logits.max(-1)
        return token, best.double() - log_norm
    probs = torch.nn.functional.pad((logits - log_norm[:, None]).exp_(), (0, -logits.shape[-1] % BLOCK))
    blocks = probs.unflatten(-1, (-1, BLOCK))
    mass = blocks.sum(-1, dtype=torch.float64)
    cdf = mass.cumsum(-1)
    target = u[:, None] * cdf[:, -1:]
    block = torch.searchsorted(cdf, target, right=True).clamp_(max=mass.shape[-1] - 1)
    rest = target - (cdf - mass).gather(-1, block)
    inner = blocks.gather(1, block[..., None].expand(-1, 1, BLOCK))[:, 0]
    index = torch.searchsorted(inner.double().cumsum(-1), rest, right=True).clamp_(max=BLOCK - 1)
    # Rounding at a block's edge may point at a token of probability zero: take the block's likeliest instead.
    index = torch.where(inner.gather(-1, index) > 0, index, inner.argmax(-1, keepdim=True))
    token = (block * BLOCK + index)[:, 0]
    return token, logits.gather(-1, token[:, None])[:, 0].double() - log_norm


def refuse_nan(log_probs: torch.Tensor) -> torch.Tensor:
    """`log_probs` as they are.

    Raises:
        UserError: some are NaN, which comparisons would take for a proof.
    """
    if log_probs.isnan().any():
        raise UserError("the model returns NaN logits; load it in float32 (--dtype float32) or check its weights")
    return log_probs
