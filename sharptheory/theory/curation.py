"""Curation: the law of what people keep when they choose among K samples of a policy."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, logsumexp

from sharptheory.errors import UserError, expect_numbers
from sharptheory.theory.rows import as_log_probs
from sharptheory.theory.tilts import finite_rewards, tilted

#: Step of the trapezoidal rule in ``log s``: for integer K its relative error is below 1e-14, whatever the rewards.
STEP = 0.25
#: Log-probability below which a response keeps nothing.
FAINTEST = -1e5
#: Largest finite K.
MOST_CHOICES = 10**15
#: Terms of the quadrature, nodes times responses, beyond which it is refused: about ten seconds.
MOST_TERMS = 2**28


def curated(log_probs: np.ndarray, k: float, *, rewards: np.ndarray | None = None) -> np.ndarray:
    """One round of K-wise Bradley-Terry curation: ``p(y) E[K e^{r(y)} / (e^{r(y)} + Σ_{i=2..K} e^{r(y_i)})]``.

    ``K = inf`` is the tilt ``p e^r``; iterating with the fixed reward ``log π_base`` gives ``π_base^{1+t}``. The
    expectation is ``K ∫_0^∞ w e^{-sw} M(s)^{K-1} ds`` with ``w = e^r``, ``M(s) = E e^{-sw}``, by quadrature in
    ``log s``, with nodes from where nothing has decayed to where everything has: as many as the range of the rewards
    asks for, gaps too wide to matter left out.

    Args:
        log_probs: ``[..., Y]``, nats. k: K, an integer from 1 to 10^15, or inf.
        rewards: ``[..., Y]``, finite where there is mass; default the log-likelihood.

    Returns:
        Log-probabilities, same shape; ``-inf`` for responses less likely than e^{-10^5}, unless K is 1 or inf.

    Raises:
        UserError: K is out of range, a row is no law, or a reward is not finite.

    Source: Ferbach et al., *Self-Consuming Generative Models with Curated Data*, arXiv 2407.09499; error of the
    quadrature in docs/theory.md.
    """
    expect_numbers("[1, inf]", k=k)
    if k != np.inf and (k > MOST_CHOICES or k != np.floor(k)):
        raise UserError(f"k={k:g}; expected an integer from 1 to {MOST_CHOICES:,}, or inf")
    log_probs = as_log_probs(log_probs)
    rewards = finite_rewards(log_probs, rewards)
    if k == np.inf:
        return tilted(log_probs, 1.0, rewards=rewards)
    if k == 1:
        return log_probs.copy()
    law = np.full(log_probs.shape, -np.inf)
    for x in np.ndindex(log_probs.shape[:-1]):
        kept = log_probs[x] > FAINTEST
        law[x][kept] = log_softmax(log_probs[x][kept] + _log_factor(log_probs[x][kept], rewards[x][kept], k))
    return law


def _log_factor(log_p: np.ndarray, rewards: np.ndarray, k: float) -> np.ndarray:
    """``log ∫ w e^{-sw} M(s)^{K-1} ds`` of each response ``[Y]``, up to a constant, in blocks of nodes."""
    log_w = _without_wide_gaps(log_p, rewards, k)
    log_size = np.log(k) - log_w.min()
    # Left of the first node is less than e^{-38} of the integral, right of the last e^{-45}.
    first, last = -np.log(k) - 40, -log_w.min() + np.log(45 + log_size)
    n_nodes = np.ceil((last - first) / STEP) + 1
    if not n_nodes * len(log_w) <= MOST_TERMS:
        raise UserError(
            f"k={k:g}, rewards from {rewards.min():g} to {rewards.max():g}: {n_nodes * len(log_w):.3g} terms of a quadrature; "
            f"expected at most {MOST_TERMS:,}"
        )
    v = first + STEP * np.arange(int(n_nodes))
    parts, block = [], max(1, (1 << 18) // len(log_w))
    for nodes in (v[i : i + block] for i in range(0, len(v), block)):
        with np.errstate(over="ignore"):
            decay = np.exp(nodes + log_w[:, None])
        parts.append(logsumexp(nodes + log_w[:, None] - decay + (k - 1) * _log_mean(log_p, decay), axis=1))
    return logsumexp(parts, axis=0)


def _without_wide_gaps(log_p: np.ndarray, rewards: np.ndarray, k: float) -> np.ndarray:
    """The rewards relative to the best, gaps between neighbours narrowed to where they are as good as infinite.

    What lies below a gap, of mass F, is kept at least as often as all K samples lie there: its factor is F^{K-1} or more.
    Through samples above the gap it gains less than K e^{-gap}, and takes as little from them.
    """
    order = np.argsort(rewards)
    narrowed = np.empty_like(rewards)
    with np.errstate(over="ignore", invalid="ignore"):
        enough = 50 + np.log(k) - (k - 1) * np.logaddexp.accumulate(log_p[order])[:-1]
        gaps = np.minimum(np.diff(rewards[order]), enough)
        narrowed[order] = -np.concatenate([np.cumsum(gaps[::-1])[::-1], [0.0]])
    return narrowed


def _log_mean(log_p: np.ndarray, decay: np.ndarray) -> np.ndarray:
    """``log M = log E e^{-decay}`` for each column of `decay` ``[Y, V]``; near 1 by what is missing."""
    with np.errstate(divide="ignore"):
        missing = np.exp(log_p) @ -np.expm1(-decay)
        return np.where(missing < 0.5, np.log1p(-np.minimum(missing, 0.5)), logsumexp(log_p[:, None] - decay, axis=0))
