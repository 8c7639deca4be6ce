"""Curation: the law of what people keep when they choose among K samples of a policy."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, logsumexp

from sharptheory.errors import UserError
from sharptheory.theory.rows import as_log_probs
from sharptheory.theory.tilts import finite_rewards, tilted

#: Step of the trapezoidal rule in ``log s``: for integer K its relative error is below 1e-14, whatever the rewards.
STEP = 0.25


def curated(log_probs: np.ndarray, k: float, *, rewards: np.ndarray | None = None) -> np.ndarray:
    """One round of K-wise Bradley-Terry curation: ``p(y) E[K e^{r(y)} / (e^{r(y)} + Σ_{i=2..K} e^{r(y_i)})]``.

    ``K = inf`` is the tilt ``p e^r``; iterating with the fixed reward ``log π_base`` gives ``π_base^{1+t}``. The
    expectation is ``K ∫_0^∞ w e^{-sw} M(s)^{K-1} ds`` with ``w = e^r``, ``M(s) = E e^{-sw}``, by quadrature in
    ``log s``, with nodes from where nothing has decayed to where everything has: as many as the range of the rewards
    asks for.

    Args:
        log_probs: ``[..., Y]``, nats. k: K, an integer ≥ 1, or inf.
        rewards: ``[..., Y]``, finite where there is mass; default the log-likelihood.

    Returns:
        Log-probabilities, same shape.

    Raises:
        UserError: K is out of range, a row is no law, or a reward is not finite.

    Source: Ferbach et al., *Self-Consuming Generative Models with Curated Data*, arXiv 2407.09499; error of the
    quadrature in docs/theory.md.
    """
    if not (k >= 1 and (k == np.inf or k == int(k))):
        raise UserError(f"k={k}; expected an integer ≥ 1 or inf")
    log_probs = as_log_probs(log_probs)
    rewards = finite_rewards(log_probs, rewards)
    if k == np.inf:
        return tilted(log_probs, 1.0, rewards=rewards)
    if k == 1:
        return log_probs.copy()
    law = np.full(log_probs.shape, -np.inf)
    for x in np.ndindex(log_probs.shape[:-1]):
        kept = log_probs[x] > -np.inf
        law[x][kept] = log_softmax(log_probs[x][kept] + _log_factor(log_probs[x][kept], rewards[x][kept], k))
    return law


def _log_factor(log_p: np.ndarray, rewards: np.ndarray, k: float) -> np.ndarray:
    """``log ∫ w e^{-sw} M(s)^{K-1} ds`` of each response ``[Y]``, up to a constant, in blocks of nodes."""
    log_w = rewards - rewards.max()
    log_size = np.log(k) - log_w.min()
    # Left of the first node is less than e^{-38} of the integral, right of the last e^{-45}.
    first, last = -np.log(k) - 40, -log_w.min() + np.log(45 + log_size)
    v = first + STEP * np.arange(int(np.ceil((last - first) / STEP)) + 1)
    parts, block = [], max(1, (1 << 18) // len(log_w))
    for nodes in (v[i : i + block] for i in range(0, len(v), block)):
        with np.errstate(over="ignore"):
            decay = np.exp(nodes + log_w[:, None])
        parts.append(logsumexp(nodes + log_w[:, None] - decay + (k - 1) * _log_mean(log_p, decay), axis=1))
    return logsumexp(parts, axis=0)


def _log_mean(log_p: np.ndarray, decay: np.ndarray) -> np.ndarray:
    """``log M = log E e^{-decay}`` for each column of `decay` ``[Y, V]``; near 1 by what is missing."""
    with np.errstate(divide="ignore"):
        missing = np.exp(log_p) @ -np.expm1(-decay)
        return np.where(missing < 0.5, np.log1p(-np.minimum(missing, 0.5)), logsumexp(log_p[:, None] - decay, axis=0))
