"""The coverage coefficient, its profile and its certificate."""

from __future__ import annotations

import numpy as np

from sharptheory.checks.instances import Instance
from sharptheory.checks.registry import same, statement
from sharptheory.theory import laws
from sharptheory.theory.coverage import (
    argmax_summary,
    c_cov_bar,
    concentrability,
    coverage_coefficient,
    coverage_profile,
)


@statement("Appendix D", "C_cov ≤ C̄_cov")
def _coverage_counts_one(instance: Instance):
    summary = argmax_summary(instance.policy)
    return coverage_coefficient(summary), c_cov_bar(summary)


@statement("Appendix H", "C_cov,γ,1 ≤ C_cov,γ,2 ≤ C_cov,γ,∞")
def _coverage_moments(instance: Instance):
    summary = argmax_summary(instance.policy, instance.gamma)
    moments = np.array([coverage_coefficient(summary, p=p) for p in (1.0, 2.0, np.inf)])
    return moments[:-1], moments[1:]


@statement(
    "docs/theory.md, Coverage coefficient: profile", "C_cov,γ is the integral of the coverage profile", identity=True
)
def _coverage_profile(instance: Instance):
    summary = argmax_summary(instance.policy, instance.gamma)
    support = summary.mu > 0
    with np.errstate(over="ignore"):
        jumps = np.unique(np.concatenate([[0.0], np.exp(-summary.log_mass[support])]))
    if not np.isfinite(jumps).all() or jumps[-1] > 1e12:
        return None
    middles = (jumps[:-1] + jumps[1:]) / 2
    return same(np.dot(np.diff(jumps), coverage_profile(summary, middles)) / coverage_coefficient(summary), 1.0)


@statement("docs/theory.md, Coverage coefficient: argmax law", "C of the argmax law is 1/q_γ", identity=True)
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
