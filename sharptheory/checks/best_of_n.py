"""Best-of-N and curation: what selecting by a reward can do."""

from __future__ import annotations

import numpy as np

from sharptheory.checks.instances import Instance
from sharptheory.checks.registry import TINY, same, statement
from sharptheory.theory import bounds, laws
from sharptheory.theory.coverage import (
    argmax_summary,
    concentrability,
    missing_mass,
)
from sharptheory.theory.divergences import kl


@statement("Proposition C.1", "N ≥ log(1/ρ)/q_γ ⇒ P[best-of-N ∉ y*_γ] ≤ ρ")
def _best_of_n_needed(instance: Instance):
    mass = np.exp(argmax_summary(instance.policy, instance.gamma).log_mass)
    mass = mass[mass > 0]
    with np.errstate(divide="ignore"):
        miss = np.exp(bounds.best_of_n_needed(mass, instance.rho) * np.log1p(-np.minimum(mass, 1.0)))
    return miss, instance.rho


@statement("docs/theory.md, Best-of-N: hit", "P[best-of-N ∈ y*_γ] = 1 - (1-q_γ)^N", identity=True)
def _best_of_n_hit(instance: Instance):
    policy = instance.policy
    law = laws.best_of_n(policy.log_probs, instance.n)
    mass = np.exp(argmax_summary(policy, instance.gamma).log_mass)
    return same(1 - missing_mass(law, policy, instance.gamma), laws.best_of_n_hit(mass, instance.n))


@statement("docs/theory.md, Best-of-N: density ratio", "π_BoN / π_base ≤ N, for any reward")
def _best_of_n_density_ratio(instance: Instance):
    base = instance.policy.log_probs
    law = laws.best_of_n(base, instance.n, rewards=instance.rewards)
    support = base > -np.inf
    return np.exp(law[support] - base[support]), bounds.best_of_n_density_ratio(instance.n)


@statement("docs/theory.md, Best-of-N: KL", "KL(π_BoN ‖ π_base) ≤ log N - (N-1)/N, for any reward")
def _best_of_n_kl(instance: Instance):
    base = instance.policy.log_probs
    law = laws.best_of_n(base, instance.n, rewards=instance.rewards)
    return kl(law, base), bounds.best_of_n_kl(instance.n) + TINY


@statement("docs/theory.md, Best-of-N: concentrability", "C_{π_BoN} ≤ N²/(2N-1), for any reward")
def _best_of_n_concentrability(instance: Instance):
    policy = instance.policy
    law = laws.best_of_n(policy.log_probs, instance.n, rewards=instance.rewards)
    return concentrability(law, policy.log_probs, mu=policy.mu), bounds.best_of_n_concentrability(instance.n)


@statement("docs/theory.md, Best-of-N: iterated", "BoN_N of BoN_M is BoN_{NM}", identity=True)
def _best_of_n_iterated(instance: Instance):
    base, n = instance.policy.log_probs, min(instance.n, 1e3)
    twice = laws.best_of_n(laws.best_of_n(base, 2.0), n, rewards=base)
    return same(np.exp(twice), np.exp(laws.best_of_n(base, 2.0 * n)))


@statement("Ferbach et al., arXiv 2407.09499", "E_{t+1}w ≥ E_t w + ((K-1)/K) Var_t(w)/w_max, w = e^r")
def _curation_improves(instance: Instance):
    base, rewards = instance.policy.log_probs, instance.rewards
    k = 2.0 + np.floor(6 * instance.knobs[3])
    w = np.exp(rewards)
    p, after = np.exp(base), np.exp(laws.curated(base, k, rewards=rewards))
    mean = (p * w).sum(axis=1)
    variance = (p * (w - mean[:, None]) ** 2).sum(axis=1)
    largest = np.where(p > 0, w, 0.0).max(axis=1)
    return mean + (k - 1) / k * variance / largest, (after * w).sum(axis=1)
