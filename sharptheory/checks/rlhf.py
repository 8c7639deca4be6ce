"""Tilted laws and RLHF-Sharpening."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, logsumexp

from sharptheory.checks.instances import Instance
from sharptheory.checks.registry import TINY, same, statement
from sharptheory.theory import bounds, laws
from sharptheory.theory.coverage import (
    argmax_summary,
    c_cov_bar,
    concentrability,
    coverage_coefficient,
    margin,
    missing_mass,
)
from sharptheory.theory.divergences import expected_reward, kl


def _tilt(instance: Instance, beta_of) -> tuple | None:
    policy = instance.policy
    summary = argmax_summary(policy)
    gap = margin(summary)
    if not 0 < gap < np.inf:
        return None
    beta = beta_of(gap, policy.shape[1], instance.delta)
    if not 1e-250 < beta < np.inf:
        return None
    return policy, laws.tilted(policy.log_probs, beta)


@statement("Theorem J.2", "1/β ≥ 2 log(2|Y|/δ)/γ_margin, γ_margin ≤ 1 ⇒ 1-π_β(y*) ≤ δ/2")
def _tilted_is_sharp(instance: Instance):
    pair = _tilt(instance, bounds.tilt_for_sharpness)
    return pair and (missing_mass(pair[1], pair[0])[pair[0].mu > 0], instance.delta / 2)


@statement("Theorem J.2, exact", "(1+γ_margin)^{1+1/β} ≥ 2|Y|/δ ⇒ 1-π_β(y*) ≤ δ/2")
def _tilted_is_sharp_exact(instance: Instance):
    pair = _tilt(instance, bounds.tilt_for_sharpness_exact)
    return pair and (missing_mass(pair[1], pair[0])[pair[0].mu > 0], instance.delta / 2)


@statement("Lemma 4.1", "C_{π_β} ≤ C_cov")
def _tilted_concentrability(instance: Instance):
    policy = instance.policy
    law = laws.tilted(policy.log_probs, instance.beta)
    return concentrability(law, policy.log_probs, mu=policy.mu), coverage_coefficient(policy)


@statement("Lemma 4.1", "C_{π_base/π_β;β} ≤ |Y|")
def _tilted_loss_coverage(instance: Instance):
    policy, beta = instance.policy, instance.beta
    base, support = policy.log_probs, policy.log_probs > -np.inf
    # (π_base/π_β)^β = π_base^{-1} Z^β: without dividing by masses that underflow.
    log_z = logsumexp(np.where(support, (1 + 1 / beta) * np.where(support, base, 0.0), -np.inf), axis=1)
    per_prompt = support.sum(axis=1) * np.exp(beta * log_z)
    return float(per_prompt @ policy.mu), bounds.tilted_loss_coverage(policy.shape[1])


@statement("Lemma 4.1′, corrected", "C_{π_β} ≤ (1-γ)^{-1/β} C_cov,γ")
def _tilted_concentrability_gamma(instance: Instance):
    policy, gamma = instance.policy, instance.gamma
    law = laws.tilted(policy.log_probs, instance.beta)
    with np.errstate(over="ignore"):
        factor = np.exp(-np.log1p(-gamma) / instance.beta)
    return concentrability(law, policy.log_probs, mu=policy.mu), factor * coverage_coefficient(policy, gamma)


@statement("(3)", "π_β maximises E_π[log π_base] - β KL(π‖π_base)")
def _tilted_is_optimal(instance: Instance):
    base, law, beta = instance.policy.log_probs, instance.law, instance.beta
    value = lambda p: expected_reward(p, base) - beta * kl(p, base)  # noqa: E731
    best, other = value(laws.tilted(base, beta)), value(law)
    scale = 1 + np.abs(best)
    return np.where(np.isnan(other), -np.inf, other) - best, 1e-9 * scale


@statement("docs/theory.md, Reward gap", "log(1+γ_margin) E_x[1-π̂(y*)] ≤ J(π*) - J(π̂)")
def _reward_gap(instance: Instance):
    policy = instance.policy
    summary = argmax_summary(policy)
    gap = margin(summary)
    if gap == np.inf:
        return None
    law = instance.law
    # Missing mass times its distance below the maximum: the difference of the two J without cancellation.
    below = expected_reward(law, policy.log_probs - summary.log_max[:, None])
    return bounds.reward_gap(gap, missing_mass(law, policy), policy.mu), float(-below @ policy.mu) + TINY


@statement("[S2]", "P_x[π̂(y*) ≤ 1-δ] ≤ 4C_∞e/δ² + min{e/min p*, 2√(e C̄_cov)}, π̂ in disagreement e with π_β")
def _dpo_bad_prompts(instance: Instance):
    pair = _tilt(instance, bounds.tilt_for_sharpness)
    if pair is None:
        return None
    policy, target = pair
    # π̂ ∝ π_β e^{s}: it disagrees with π_β on pairs with different s.
    shift = np.where(instance.rewards > 3 * instance.knobs[2], 20 * instance.rewards, 0.0)
    law = log_softmax(np.where(target > -np.inf, target + shift, -np.inf), axis=1)
    disagreement = np.array(
        [1 - sum(np.exp(p[s == v]).sum() ** 2 for v in np.unique(s)) for p, s in zip(policy.log_probs, shift)]
    )
    summary = argmax_summary(policy)
    support = policy.mu > 0
    concentration = [concentrability(row, base) for row, base in zip(law, policy.log_probs)]
    bad = float((missing_mass(law, policy) >= instance.delta) @ policy.mu)
    return bad, bounds.dpo_bad_prompts(
        max(float(disagreement @ policy.mu), 0.0) + TINY,
        delta=instance.delta,
        c_max=max(np.array(concentration)[support]),
        min_max_prob=float(np.exp(summary.log_max[support].min())),
        c_cov_bar=c_cov_bar(summary),
    )


def _linear(instance: Instance, features: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """A seeded θ*, the law ``π_θ*`` over `features`, and β."""
    theta = np.random.default_rng(int(1e9 * instance.knobs[0])).normal(size=features.shape[1])
    return theta, np.exp(log_softmax(features @ theta)), max(instance.beta, 0.05)


def _regressed(differences: np.ndarray, theta: np.ndarray, beta: float) -> np.ndarray:
    """The least-squares θ of (8) on noise-free pairs: the smallest solution, where they leave a choice."""
    return theta + np.linalg.lstsq(beta * differences, differences @ theta, rcond=None)[0]


@statement("[S3]", "d spanning noise-free differences give θ = (1+1/β)θ* exactly", identity=True)
def _linear_recovery(instance: Instance):
    d = 1 + int(3 * instance.knobs[3])
    features = np.random.default_rng(int(1e9 * instance.knobs[1])).normal(size=(d + 1, d))
    theta, _, beta = _linear(instance, features)
    differences = features[1:] - features[0]
    if np.linalg.cond(differences) > 1e4:
        return None
    return same(_regressed(differences, theta, beta), (1 + 1 / beta) * theta, 1e-8)


def _sampled_differences(instance: Instance) -> tuple[np.ndarray, np.ndarray, float]:
    """Up to 4d pairs sampled from a linear softmax policy, half of the time with features ``0, e_1, …, e_d``."""
    d = 1 + int(3 * instance.knobs[3])
    rng = np.random.default_rng(int(1e9 * instance.knobs[1]))
    atoms = instance.knobs[2] < 0.5
    features = np.vstack([np.zeros(d), np.eye(d)]) if atoms else rng.normal(size=(d + 3, d))
    theta, probs, beta = _linear(instance, features)
    pairs = rng.choice(len(features), size=(1 + int(4 * d * instance.knobs[4]), 2), p=probs)
    return features[pairs[:, 0]] - features[pairs[:, 1]], theta, beta


@statement("[S3]", "sampled pairs whose differences span R^d give θ = (1+1/β)θ* exactly", identity=True)
def _linear_recovery_from_samples(instance: Instance):
    differences, theta, beta = _sampled_differences(instance)
    values = np.linalg.svd(differences, compute_uv=False)
    if len(values) < len(theta) or values[-1] <= 1e-4 * values[0]:
        return None
    return same(_regressed(differences, theta, beta), (1 + 1 / beta) * theta, 1e-8)


@statement("[S3]", "fewer than d sampled pairs never span R^d, and leave θ undetermined")
def _linear_pairs(instance: Instance):
    differences, theta, _ = _sampled_differences(instance)
    spans = np.linalg.matrix_rank(differences) == len(theta)
    return bounds.linear_pairs(len(theta)).n_prompts * spans, len(differences)
