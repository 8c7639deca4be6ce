"""SFT-Sharpening and its adaptive form: from the law of the examples to the policy learned on them."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import gammaln, log_softmax

from sharptheory.checks.instances import Instance
from sharptheory.checks.registry import statement
from sharptheory.theory import bounds, laws
from sharptheory.theory.coverage import (
    argmax_summary,
    c_cov_bar,
    coverage_coefficient,
    missing_mass,
)
from sharptheory.theory.divergences import hellinger_squared


@statement("docs/theory.md, Hellinger price", "π(A) ≥ 1-δ/2 and π̂(A) ≤ 1-δ ⇒ κδ ≤ D_H²(π̂, π)")
def _hellinger_price(instance: Instance):
    policy, law, delta = instance.policy, instance.law, instance.delta
    target = laws.tilted(policy.log_probs, instance.beta)
    good = (missing_mass(target, policy, instance.gamma) <= delta / 2) & (
        missing_mass(law, policy, instance.gamma) >= delta
    )
    if not good.any():
        return None
    return bounds.KAPPA * delta, hellinger_squared(law, target)[good]


@statement("Theorem 4.1′", "P_x[π̂(y*_γ) ≤ 1-δ] ≤ E_x D_H²(π̂, π_BoN)/(κδ) + C_cov,γ/N*, N = ⌈N* ln(2/δ)⌉")
def _sft_bad_prompts(instance: Instance):
    policy, law, delta = instance.policy, instance.law, instance.delta
    target = laws.best_of_n(policy.log_probs, bounds.sft_responses(instance.n, delta))
    distance = float(hellinger_squared(law, target) @ policy.mu)
    bad = float((missing_mass(law, policy, instance.gamma) >= delta) @ policy.mu)
    return bad, bounds.bad_prompts_from_hellinger(distance, delta) + coverage_coefficient(
        policy, instance.gamma
    ) / instance.n


@statement("Theorem D.1", "P_x[π̂(y*) ≤ 1-δ] ≤ E_x D_H²(π̂, π_adaptive)/(κδ), μ_stop = ln(2/δ)")
def _adaptive_bad_prompts(instance: Instance):
    policy, law, delta = instance.policy, instance.law, instance.delta
    target = laws.adaptive_best_of_n(policy.log_probs, laws.stopping_threshold(delta)).law
    distance = float(hellinger_squared(law, target) @ policy.mu)
    bad = float((missing_mass(law, policy) >= delta) @ policy.mu)
    return bad, bounds.bad_prompts_from_hellinger(distance, delta)


@statement("Lemma I.1", "E[N_μ] ≤ (μ_stop + 1/|y*|)/p*")
def _adaptive_stopping(instance: Instance):
    policy = instance.policy
    summary = argmax_summary(policy)
    threshold = laws.stopping_threshold(instance.delta)
    expected = laws.adaptive_best_of_n(policy.log_probs, threshold).expected_n
    return expected, bounds.adaptive_stopping(np.exp(summary.log_max), summary.n_maximizers, threshold)


@statement("Lemma I.1", "P[adaptive best-of-N ∉ y*] ≤ exp(-|y*| μ_stop)")
def _adaptive_miss(instance: Instance):
    policy = instance.policy
    summary = argmax_summary(policy)
    threshold = laws.stopping_threshold(instance.delta)
    law = laws.adaptive_best_of_n(policy.log_probs, threshold).law
    return missing_mass(law, policy), bounds.adaptive_miss(summary.n_maximizers, threshold)


@statement("Theorem D.1", "E_x E[N_μ] ≤ (1 + μ_stop) C̄_cov")
def _adaptive_queries(instance: Instance):
    policy = instance.policy
    summary = argmax_summary(policy)
    expected = laws.adaptive_best_of_n(policy.log_probs, laws.stopping_threshold(instance.delta)).expected_n
    return float(expected @ policy.mu), bounds.adaptive_queries(1, delta=instance.delta, c_cov_bar=c_cov_bar(summary))


@statement("Lemma F.1", "P[D_H²(π̂_MLE, π) > 2 log(|Π|/ρ)/n] ≤ ρ, by enumeration of small samples")
def _mle_hellinger(instance: Instance):
    first = instance.policy.log_probs[0, :3]
    if len(first) < 2 or not np.isfinite(first).all():
        return None
    first = log_softmax(first)
    members = [
        first,
        log_softmax(first + instance.other[0, :3]),
        log_softmax(first + instance.rewards[0, :3]),
        first[::-1],
    ]
    members = [m for m in members if np.isfinite(m).all()]
    n = 1 + int(9 * instance.knobs[3])
    counts = np.array([c for c in itertools.product(range(n + 1), repeat=len(first)) if sum(c) == n])
    log_p = gammaln(n + 1) - gammaln(counts + 1).sum(axis=1) + counts @ first
    # The worst maximiser where several tie: the lemma is about any of them.
    likelihood = counts @ np.stack(members).T
    tied = likelihood >= likelihood.max(axis=1, keepdims=True) - 1e-12
    distance = hellinger_squared(np.stack(members), first)
    worst = np.where(tied, distance, 0.0).max(axis=1)
    rho = instance.rho
    beyond = worst > bounds.mle_hellinger(n, np.log(len(members)), rho)
    return float(np.exp(log_p[beyond]).sum()), rho
