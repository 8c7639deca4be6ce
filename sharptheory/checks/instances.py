"""Random inputs for the checks of the theory, as real arrays that a search can move through."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import log_softmax

from sharptheory.theory import laws
from sharptheory.theory.policies import TabularPolicy


@dataclass(frozen=True, eq=False)
class Instance:
    """One input for every check: real arrays, so that a search can move through them.

    Attributes:
        logits: of the base policy, ``[X, Y]``; other: of a further policy ``π̂``; rewards: of a verifier.
        mu_logits: of the prompt distribution, ``[X]``.
        knobs: numbers in [0, 1] behind γ, δ, β, N and ρ.
    """

    logits: np.ndarray
    other: np.ndarray
    rewards: np.ndarray
    mu_logits: np.ndarray
    knobs: np.ndarray

    @property
    def policy(self) -> TabularPolicy:
        return TabularPolicy(log_softmax(self.logits, axis=1), np.exp(log_softmax(self.mu_logits)), normalize=True)

    @property
    def law(self) -> np.ndarray:
        """Log-probabilities of ``π̂``."""
        return log_softmax(self.other, axis=1)

    @property
    def gamma(self) -> float:
        return float(max(0.0, 1.3 * self.knobs[0] - 0.35))

    @property
    def delta(self) -> float:
        return float(np.exp(-12 * self.knobs[1]))

    @property
    def beta(self) -> float:
        return float(np.exp(12 * (self.knobs[2] - 0.5)))

    @property
    def n(self) -> float:
        return float(np.exp(28 * self.knobs[3] ** 2))

    @property
    def rho(self) -> float:
        return float(np.exp(-12 * self.knobs[4]))


def random_instance(
    rng: np.random.Generator, *, logits: np.ndarray | None = None, mu: np.ndarray | None = None
) -> Instance:
    """Draw an instance: ties, near-ties, ``-inf``, one response, extreme skew, underflowing masses, tiny prompt weights.

    Args:
        logits, mu: fix the base policy instead of drawing it.
    """
    if logits is None:
        n_prompts, n_responses = int(rng.integers(1, 5)), int(rng.integers(1, 9))
        logits = rng.normal(size=(n_prompts, n_responses)) * rng.choice([0.01, 0.3, 1.0, 3.0, 30.0, 400.0])
        if rng.random() < 0.3:
            logits = np.round(logits)  # ties
        if rng.random() < 0.2:
            logits = logits + rng.choice([0.0, 1e-15, -1e-13, 0.8e-12, 1.6e-12, 1e-9], size=logits.shape)
        if rng.random() < 0.3:
            logits = np.where(rng.random(logits.shape) < 0.3, logits.max(axis=1, keepdims=True), logits)
        if rng.random() < 0.2 and n_responses > 1:
            holes = rng.random(logits.shape) < 0.3
            holes[:, 0] = False
            logits = np.where(holes, -np.inf, logits)
    shape = logits.shape
    mu_logits = (
        rng.normal(size=shape[0]) * rng.choice([0.0, 1.0, 30.0]) if mu is None else np.log(np.maximum(mu, 1e-300))
    )
    start = laws.power(log_softmax(logits, axis=1), rng.choice([0.0, 1.0, 2.0, 10.0]))
    other = start + rng.normal(size=shape) * rng.choice([0.0, 0.1, 2.0])
    rewards = rng.normal(size=shape)
    if rng.random() < 0.5:
        rewards = np.round(rewards)
    return Instance(logits, other, rewards, mu_logits, rng.random(5))


def neighbour(instance: Instance, rng: np.random.Generator, *, fixed_policy: bool = False) -> Instance:
    """A random small change of an instance: shift entries, make or break a tie, turn a knob.

    Args:
        instance: to change. rng: of the change. fixed_policy: leave base policy and prompt distribution alone.
    """
    scale = 10 ** rng.uniform(-3, 0.5)
    part = rng.integers(4 if fixed_policy else 7)
    if part == 0:
        knobs = np.clip(instance.knobs + scale * rng.normal(size=5) * (rng.random(5) < 0.4), 0, 1)
        return replace(instance, knobs=knobs)
    name = ("other", "rewards", "mu_logits", "logits", "logits", "logits")[(part - 1) % 6]
    if fixed_policy and name in ("logits", "mu_logits"):
        name = "other"
    values = getattr(instance, name).copy()
    chosen = rng.random(values.shape) < 0.4
    if rng.random() < 0.3 and values.size > 1:
        i, j = rng.integers(values.size, size=2)
        values.flat[i] = values.flat[j]
        if values.ndim == 2 and not np.isfinite(values).any(axis=1).all():
            return instance  # a row without mass is no policy
    else:
        values = values + scale * rng.normal(size=values.shape) * chosen
    return replace(instance, **{name: values})
