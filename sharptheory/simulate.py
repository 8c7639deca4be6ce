"""Replications of the finite-sample algorithms on tables, vectorised: how often does sharpening fail?

Best-of-N responses are drawn from their exact law (`laws`), and only what decides success is drawn: the number of visits
of each prompt and how many of them returned a member of ``y*_γ``. That has the same distribution as running
`learners.sft_sharpening` literally, which the tests compare.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sharptheory import laws
from sharptheory.coverage import maximizers, missing_mass
from sharptheory.learners import FiniteClass, Pairs
from sharptheory.policies import TabularPolicy

#: Draws held at once.
CHUNK = 5_000_000


def tabular_errors(
    policy: TabularPolicy,
    law: np.ndarray,
    n_prompts: int,
    *,
    delta: float,
    gamma: float = 0.0,
    replications: int = 1_000,
    rng: np.random.Generator,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Fraction of bad prompts ``P_x[π̂(y*_γ|x) < 1-δ]`` of tabular maximum likelihood on `n_prompts` responses.

    Args:
        policy: base policy; law: log-probabilities ``[X, Y]`` of the responses trained on, e.g. `laws.best_of_n`
            (SFT-Sharpening) or the law of `laws.adaptive_best_of_n`.
        n_prompts: n; delta, gamma: of ``(ε, δ, γ)``-sharpness; a prompt never visited keeps the uniform law.
        progress: called with the number of replications done.

    Returns:
        ``[replications]``.
    """
    inside = maximizers(policy.log_probs, gamma)
    hit = np.clip(1 - missing_mass(law, policy, gamma), 0.0, 1.0)
    unvisited = inside.mean(axis=1) < 1 - delta
    errors = np.empty(replications)
    step = max(1, CHUNK // policy.shape[0])
    for start in range(0, replications, step):
        stop = min(start + step, replications)
        visits = rng.multinomial(n_prompts, policy.mu, size=stop - start)
        hits = rng.binomial(visits, hit)
        # Counts are integers: compared without rounding of 1-δ by a relative 1e-12.
        bad = np.where(visits > 0, hits < (1 - delta) * visits * (1 - 1e-12), unvisited)
        errors[start:stop] = bad @ policy.mu
        if progress:
            progress(stop)
    return errors


def sft_errors(policy: TabularPolicy, n_prompts: int, n_responses: float, **options) -> np.ndarray:
    """`tabular_errors` of SFT-Sharpening with N responses per prompt."""
    return tabular_errors(policy, laws.best_of_n(policy.log_probs, n_responses), n_prompts, **options)


def adaptive_errors(policy: TabularPolicy, n_prompts: int, threshold: float, **options) -> np.ndarray:
    """`tabular_errors` of adaptive SFT-Sharpening."""
    return tabular_errors(policy, laws.adaptive_best_of_n(policy.log_probs, threshold).law, n_prompts, **options)


def dpo_errors(
    policy: TabularPolicy,
    members: FiniteClass,
    n_pairs: int,
    beta: float,
    *,
    delta: float,
    replications: int = 200,
    rng: np.random.Generator,
) -> np.ndarray:
    """Fraction of bad prompts ``P_x[π̂(y*|x) < 1-δ]`` of RLHF-Sharpening over a finite class, ``[replications]``."""
    bad = np.stack([missing_mass(member, policy) > delta for member in members.members]) @ policy.mu
    cdf = np.cumsum(policy.probs, axis=1)
    errors = np.empty(replications)
    for r in range(replications):
        prompts = rng.choice(policy.shape[0], size=n_pairs, p=policy.mu)
        uniforms = rng.random((2, n_pairs)) * cdf[prompts, -1]
        drawn = [np.minimum((cdf[prompts] <= u[:, None]).sum(axis=1), policy.shape[1] - 1) for u in uniforms]
        logs = [policy.log_probs[prompts, y] for y in drawn]
        losses = members.regression_losses(Pairs(prompts, *drawn, *logs), beta)
        errors[r] = bad[int(np.argmin(losses))]
    return errors
