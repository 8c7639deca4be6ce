"""The hard family, and what greedy decoding and linear classes cannot do."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import log_softmax

from sharptheory.checks.instances import Instance
from sharptheory.checks.registry import statement
from sharptheory.theory import bounds
from sharptheory.theory.families import HardFamily, cut_size, max_cut, max_cut_policy, misspecified
from sharptheory.theory.policies import AutoregressivePolicy, TabularPolicy


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


@statement("Proposition 3.1", "π(y*) > 1/2 ⇒ token-wise greedy decoding returns y*")
def _greedy_succeeds(instance: Instance):
    policy = token_tree(instance.policy)
    table = policy.table().log_probs
    certain = np.exp(table.max(axis=1)) > 0.5 + 1e-12
    if not certain.any():
        return None
    greedy = [policy.responses[int(np.argmax(row))] != y for row, y in zip(table, policy.greedy())]
    return np.array(greedy, dtype=float)[certain], 0.0


def token_tree(policy: TabularPolicy) -> AutoregressivePolicy:
    """The table as binary sequences: response i is the binary expansion of i, padded to a power of two with ``-inf``.

    Args:
        policy: ``[X, Y]``.
    """
    depth = max(1, int(np.ceil(np.log2(policy.shape[1]))))
    leaves = np.full((policy.shape[0], 2**depth), -np.inf)
    leaves[:, : policy.shape[1]] = policy.log_probs
    masses = [leaves]
    for _ in range(depth):
        masses.insert(0, np.logaddexp(masses[0][:, ::2], masses[0][:, 1::2]))
    depths = []
    for h in range(depth):
        children = masses[h + 1].reshape(len(leaves), 2**h, 2)
        with np.errstate(invalid="ignore"):
            conditional = log_softmax(children, axis=-1)
        conditional = np.where(np.isnan(conditional), -np.inf, conditional)
        depths.append(np.concatenate([conditional, np.full((*conditional.shape[:2], 1), -np.inf)], axis=-1))
    return AutoregressivePolicy(tuple(depths), policy.mu)
