"""Every statement of the theory, paired with the quantity it bounds; run by `sharptheory check` and the property tests.

Importing this module fills the registry; nothing lists the statements twice.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import gammaln, log_softmax, logsumexp

from sharptheory.checks.instances import Instance
from sharptheory.checks.registry import REGISTRY, SLACK, TINY, Check, Result, ratio, run, same, statement
from sharptheory.theory import bounds, laws
from sharptheory.theory.coverage import (
    ArgmaxSummary,
    argmax_summary,
    bad_prompts,
    c_cov_bar,
    concentrability,
    coverage_coefficient,
    coverage_profile,
    margin,
    missing_mass,
)
from sharptheory.theory.divergences import expected_reward, hellinger_squared, kl
from sharptheory.theory.families import HardFamily, cut_size, greedy_fails, max_cut, max_cut_policy, misspecified
from sharptheory.theory.policies import AutoregressivePolicy, TabularPolicy


def _argmax(instance: Instance) -> tuple[TabularPolicy, ArgmaxSummary]:
    policy = instance.policy
    return policy, argmax_summary(policy)


# Best-of-N


@statement("Proposition C.1", "N ≥ log(1/ρ)/q_γ ⇒ P[best-of-N ∉ y*_γ] ≤ ρ")
def _best_of_n_needed(instance: Instance):
    mass = np.exp(argmax_summary(instance.policy, instance.gamma).log_mass)
    mass = mass[mass > 0]
    with np.errstate(divide="ignore"):
        miss = np.exp(bounds.best_of_n_needed(mass, instance.rho) * np.log1p(-np.minimum(mass, 1.0)))
    return miss, instance.rho


@statement("section 2", "P[best-of-N ∈ y*_γ] = 1 - (1-q_γ)^N", identity=True)
def _best_of_n_hit(instance: Instance):
    policy = instance.policy
    law = laws.best_of_n(policy.log_probs, instance.n)
    mass = np.exp(argmax_summary(policy, instance.gamma).log_mass)
    return same(1 - missing_mass(law, policy, instance.gamma), laws.best_of_n_hit(mass, instance.n))


@statement("section 2", "π_BoN / π_base ≤ N, for any reward")
def _best_of_n_density_ratio(instance: Instance):
    base = instance.policy.log_probs
    law = laws.best_of_n(base, instance.n, rewards=instance.rewards)
    support = base > -np.inf
    return np.exp(law[support] - base[support]), bounds.best_of_n_density_ratio(instance.n)


@statement("section 2", "KL(π_BoN ‖ π_base) ≤ log N - (N-1)/N, for any reward")
def _best_of_n_kl(instance: Instance):
    base = instance.policy.log_probs
    law = laws.best_of_n(base, instance.n, rewards=instance.rewards)
    return kl(law, base), bounds.best_of_n_kl(instance.n) + TINY


@statement("section 2", "C_{π_BoN} ≤ N²/(2N-1), for any reward")
def _best_of_n_concentrability(instance: Instance):
    policy = instance.policy
    law = laws.best_of_n(policy.log_probs, instance.n, rewards=instance.rewards)
    return concentrability(law, policy.log_probs, mu=policy.mu), bounds.best_of_n_concentrability(instance.n)


@statement("methods: iterated best-of-N", "BoN_N of BoN_M is BoN_{NM}", identity=True)
def _best_of_n_iterated(instance: Instance):
    base, n = instance.policy.log_probs, min(instance.n, 1e3)
    twice = laws.best_of_n(laws.best_of_n(base, 2.0), n, rewards=base)
    return same(np.exp(twice), np.exp(laws.best_of_n(base, 2.0 * n)))


# SFT-Sharpening


@statement("section 3", "π(A) ≥ 1-δ/2 and π̂(A) ≤ 1-δ ⇒ κδ ≤ D_H²(π̂, π)")
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
    policy, summary = _argmax(instance)
    threshold = laws.stopping_threshold(instance.delta)
    expected = laws.adaptive_best_of_n(policy.log_probs, threshold).expected_n
    return expected, bounds.adaptive_stopping(np.exp(summary.log_max), summary.n_maximizers, threshold)


@statement("Lemma I.1", "P[adaptive best-of-N ∉ y*] ≤ exp(-|y*| μ_stop)")
def _adaptive_miss(instance: Instance):
    policy, summary = _argmax(instance)
    threshold = laws.stopping_threshold(instance.delta)
    law = laws.adaptive_best_of_n(policy.log_probs, threshold).law
    return missing_mass(law, policy), bounds.adaptive_miss(summary.n_maximizers, threshold)


@statement("Theorem D.1", "E_x E[N_μ] ≤ (1 + μ_stop) C̄_cov")
def _adaptive_queries(instance: Instance):
    policy, summary = _argmax(instance)
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


# Tilted laws and RLHF-Sharpening


def _tilt(instance: Instance, beta_of) -> tuple | None:
    policy, summary = _argmax(instance)
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


@statement("section 3", "log(1+γ_margin) E_x[1-π̂(y*)] ≤ J(π*) - J(π̂)")
def _reward_gap(instance: Instance):
    policy, summary = _argmax(instance)
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


@statement("[S3]", "d spanning noise-free differences give θ = (1+1/β)θ* exactly", identity=True)
def _linear_recovery(instance: Instance):
    d = 1 + int(3 * instance.knobs[3])
    rng = np.random.default_rng(int(1e9 * instance.knobs[0]))
    features, theta, beta = rng.normal(size=(d + 1, d)), rng.normal(size=d), max(instance.beta, 0.05)
    differences = features[1:] - features[0]
    if np.linalg.cond(differences) > 1e4:
        return None
    shift = np.linalg.lstsq(beta * differences, differences @ theta, rcond=None)[0]
    return same(theta + shift, (1 + 1 / beta) * theta, 1e-8)


# Coverage


@statement("Appendix D", "C_cov ≤ C̄_cov")
def _coverage_counts_one(instance: Instance):
    _, summary = _argmax(instance)
    return coverage_coefficient(summary), c_cov_bar(summary)


@statement("Appendix H", "C_cov,γ,1 ≤ C_cov,γ,2 ≤ C_cov,γ,∞")
def _coverage_moments(instance: Instance):
    summary = argmax_summary(instance.policy, instance.gamma)
    moments = np.array([coverage_coefficient(summary, p=p) for p in (1.0, 2.0, np.inf)])
    return moments[:-1], moments[1:]


@statement("section 1", "C_cov,γ is the integral of the coverage profile", identity=True)
def _coverage_profile(instance: Instance):
    summary = argmax_summary(instance.policy, instance.gamma)
    support = summary.mu > 0
    with np.errstate(over="ignore"):
        jumps = np.unique(np.concatenate([[0.0], np.exp(-summary.log_mass[support])]))
    if not np.isfinite(jumps).all() or jumps[-1] > 1e12:
        return None
    middles = (jumps[:-1] + jumps[1:]) / 2
    return same(np.dot(np.diff(jumps), coverage_profile(summary, middles)) / coverage_coefficient(summary), 1.0)


@statement("section 2", "C of the argmax law is 1/q_γ", identity=True)
def _argmax_concentrability(instance: Instance):
    policy = instance.policy
    law = laws.argmax_law(policy.log_probs, instance.gamma)
    value = [np.log(concentrability(row, base)) for row, base in zip(law, policy.log_probs)]
    return same(value, -argmax_summary(policy, instance.gamma).log_mass)


@statement("[S5]", "p̂ ≤ p* ≤ max(p̂, 1-S) for any set of responses seen")
def _coverage_certificate(instance: Instance):
    probs = instance.policy.probs
    seen = instance.rewards > 0
    best = np.where(seen, probs, 0.0).max(axis=1)
    unseen = np.where(seen, 0.0, probs).sum(axis=1)
    top = probs.max(axis=1)
    return np.stack([best, top]), np.stack([top, np.maximum(best, unseen)])


@statement("Proposition 3.1", "π(y*) > 1/2 ⇒ token-wise greedy decoding returns y*")
def _greedy_succeeds(instance: Instance):
    policy = token_tree(instance.policy)
    table = policy.table().log_probs
    certain = np.exp(table.max(axis=1)) > 0.5 + 1e-12
    if not certain.any():
        return None
    greedy = [policy.responses[int(np.argmax(row))] != y for row, y in zip(table, policy.greedy())]
    return np.array(greedy, dtype=float)[certain], 0.0


@statement("methods: curation", "E_{t+1}w ≥ E_t w + ((K-1)/K) Var_t(w)/w_max, w = e^r")
def _curation_improves(instance: Instance):
    base, rewards = instance.policy.log_probs, instance.rewards
    k = 2.0 + np.floor(6 * instance.knobs[3])
    w = np.exp(rewards)
    p, after = np.exp(base), np.exp(laws.curated(base, k, rewards=rewards))
    mean = (p * w).sum(axis=1)
    variance = (p * (w - mean[:, None]) ** 2).sum(axis=1)
    largest = np.where(p > 0, w, 0.0).max(axis=1)
    return mean + (k - 1) / k * variance / largest, (after * w).sum(axis=1)


# Hard families


def _family(instance: Instance) -> tuple[HardFamily, int, int]:
    rng = np.random.default_rng((1e9 * instance.knobs).astype(np.int64))
    family = HardFamily(int(rng.integers(3, 20)), float(rng.uniform(0.05, 1)), int(rng.integers(1, 5)))
    return family, int(rng.integers(1, 60)), int(rng.integers(1, 40))


@statement("[S4]", "exact minimax risk ≤ exact risk of SFT-Sharpening, on the family of Theorem 3.1′")
def _minimax_below_sft(instance: Instance):
    family, n_prompts, n_responses = _family(instance)
    return family.minimax_risk(n_prompts, n_responses), family.sft_risk(n_prompts, n_responses)


@statement("Theorem 4.1′ on the family", "exact risk of SFT-Sharpening ≤ bound(ρ) + ρ, δ = 1/2")
def _sft_below_bound(instance: Instance):
    family, n_prompts, n_responses = _family(instance)
    n_star = n_responses / np.log(4)
    bound = bounds.sft_bad_prompts(
        50 * n_prompts, n_star, delta=0.5, rho=0.05, coverage=family.coverage, log_class=family.log_class
    )
    return family.sft_risk(50 * n_prompts, bounds.sft_responses(n_star, 0.5)), bound + 0.05


@statement("Proposition E.2", "every policy of the misspecified class has π(2, 1) ≤ 1/2")
def _misspecified(instance: Instance):
    theta = (
        np.resize(instance.other[np.isfinite(instance.other)], 4) if np.isfinite(instance.other).any() else np.zeros(4)
    )
    policy = misspecified(5, theta=np.clip(theta, -300, 300).reshape(2, 2))
    return np.exp(policy.table().log_probs[0, policy.responses.index((1, 0))]), 0.5


@statement("Proposition E.1", "the argmax of the max-cut policy decodes to a maximum cut")
def _max_cut(instance: Instance):
    rng = np.random.default_rng((1e9 * instance.knobs).astype(np.int64))
    pairs = list(itertools.combinations(range(4), 2))
    edges = [pairs[i] for i in np.sort(rng.choice(6, size=int(rng.integers(1, 6)), replace=False))]
    policy = max_cut_policy(4, edges)
    best = policy.responses[int(np.argmax(policy.table().log_probs[0]))]
    return max_cut(4, edges), cut_size(best[:4], edges)


# Errata: printed statements that are false, each on its counterexample ------------------------------------------------


@statement("Lemma 4.1′ as printed", "C_{π_β} ≤ (1-γ)^{-1} C_cov,γ", erratum=True)
def _lemma_4_1_prime_as_printed(_: Instance | None = None):
    """One response at 0.1, five at 0.09, fifty sharing the rest; γ = 0.1, β = 0.01: 9.998 against 2.02."""
    probs = np.array([0.1] + [0.09] * 5 + [0.45 / 50] * 50)
    # The five sit on the edge of y*_γ; rounding must not throw them out.
    policy = TabularPolicy.from_probs(probs)
    law = laws.tilted(policy.log_probs, 0.01)
    return concentrability(law, policy.log_probs), coverage_coefficient(policy, 0.1) / 0.9


@statement(
    "Algorithm 1 as printed",
    "its minimiser has the smallest squared loss (a minus sign precedes the loss)",
    erratum=True,
)
def _xpo_sign_as_printed(_: Instance | None = None):
    """Class {π_β, uniform}, base (0.7, 0.3), β = 1: the printed objective picks the uniform policy, the worse fit."""
    base = np.log([0.7, 0.3])
    members = [laws.tilted(base, 1.0), np.log([0.5, 0.5])]
    loss = [float((np.subtract(*(m - base)) - np.subtract(*base)) ** 2) for m in members]
    picked = int(np.argmin([-value for value in loss]))
    return loss[picked], min(loss) + TINY


@statement("proof of Lemma I.1 as printed", "P[N draws all miss y*] ≤ (1 - |y*|/p*)^N", erratum=True)
def _lemma_i_1_as_printed(_: Instance | None = None):
    """π = (0.6, 0.4), one draw: it misses with probability 0.4 and the printed term is 1 - 1/0.6 < 0."""
    return 0.4, 1 - 1 / 0.6


@statement("Assumption J.2 as printed", "margin of the set y*_γ ⇒ 1-π_β(y*_γ) ≤ δ/2", erratum=True)
def _set_margin_as_printed(_: Instance | None = None):
    """π = (0.35, 0.34, 0.31), γ = 0.05: the set has 0.69 ≥ 2 · 0.31, yet π_β(y_3) stays above δ/2 = 0.005."""
    policy, delta = TabularPolicy.from_probs([0.35, 0.34, 0.31]), 0.01
    law = laws.tilted(policy.log_probs, bounds.tilt_for_sharpness(1.0, 3, delta))
    return float(missing_mass(law, policy, 0.05)[0]), delta / 2


@statement("Theorem 4.1′ as printed", "P_x[π̂(y*_γ) ≤ 1-2δ] ≤ ε ⇒ π̂ is (ε, δ, γ)-sharpened", erratum=True)
def _two_delta_as_printed(_: Instance | None = None):
    """π̂(y*) = 1 - 1.5δ on every prompt: the printed conclusion holds with ε = 0, Definition F.1 fails with every ε < 1."""
    policy, delta = TabularPolicy.from_probs([0.6, 0.4]), 0.1
    law = np.log([1 - 1.5 * delta, 1.5 * delta])
    missing = missing_mass(law, policy)
    printed = float((missing >= 2 * delta) @ policy.mu)
    return float(bad_prompts(missing, delta, policy.mu)), printed


@statement("Proposition 3.1, below 1/2", "π(y*) = 0.499 ⇒ token-wise greedy decoding returns y*", erratum=True)
def _greedy_below_half(_: Instance | None = None):
    """Tightness: first token 0 with 0.499 and one continuation, token 1 with 0.501 and two."""
    policy = greedy_fails(0.499)
    best = policy.responses[int(np.argmax(policy.table().log_probs[0]))]
    return float(policy.greedy()[0] != best), 0.0


def token_tree(policy: TabularPolicy) -> AutoregressivePolicy:
    """The table as binary sequences: response i is the binary expansion of i, padded to a power of two with ``-inf``."""
    depth = max(1, int(np.ceil(np.log2(policy.shape[1]))))
    leaves = np.full((policy.shape[0], 2**depth), -np.inf)
    leaves[:, : policy.shape[1]] = policy.log_probs
    masses = [leaves]
    for _ in range(depth):
        masses.insert(0, np.logaddexp(masses[0][:, ::2], masses[0][:, 1::2]))
    levels = []
    for h in range(depth):
        children = masses[h + 1].reshape(len(leaves), 2**h, 2)
        with np.errstate(invalid="ignore"):
            conditional = log_softmax(children, axis=-1)
        conditional = np.where(np.isnan(conditional), -np.inf, conditional)
        levels.append(np.concatenate([conditional, np.full((*conditional.shape[:2], 1), -np.inf)], axis=-1))
    return AutoregressivePolicy(tuple(levels), policy.mu)


__all__ = ["REGISTRY", "SLACK", "Check", "Result", "ratio", "run", "token_tree"]
