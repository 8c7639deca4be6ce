"""What a small margin costs: SFT-Sharpening does not care, RLHF-Sharpening needs a smaller β, not more pairs.

python -m experiments.margin [--quick]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments import record
from sharptheory.learners import FiniteClass
from sharptheory.learners.simulate import dpo_errors, sft_errors
from sharptheory.measure.bootstrap import PROPORTION, mean_over_prompts
from sharptheory.theory import bounds, laws
from sharptheory.theory.coverage import c_cov_bar, margin, missing_mass
from sharptheory.theory.policies import TabularPolicy


@dataclass(frozen=True)
class Config:
    n_prompts: int = 20
    n_responses: int = 6
    members: int = 64
    n: int = 20_000
    delta: float = 0.2
    fixed_beta: float = 0.05
    replications: int = 100
    seed: int = 0


def compute(config: Config) -> pd.DataFrame:
    rng, rows = np.random.default_rng(config.seed), []
    for gap in np.geomspace(1.0, 1e-3, 10):
        second = 0.4 / (1 + gap)
        rest = (0.6 - second) / (config.n_responses - 2)
        policy = TabularPolicy.from_probs([[0.4, second] + [rest] * (config.n_responses - 2)] * config.n_prompts)
        sharp = bounds.tilt_for_sharpness_exact(margin(policy), config.n_responses, config.delta)
        sft = mean_over_prompts(
            sft_errors(policy, config.n, 16, delta=config.delta, replications=config.replications, rng=rng),
            ends=PROPORTION,
        )
        for name, beta in (("RLHF, β from the margin", sharp), (f"RLHF, β = {config.fixed_beta:g}", config.fixed_beta)):
            target = laws.tilted(policy.log_probs, beta)
            # Wrong members swap the two likeliest responses on some prompts.
            swapped = target[:, [1, 0, *range(2, config.n_responses)]]
            where = rng.random((config.members - 1, config.n_prompts, 1)) < 0.3
            members = FiniteClass(np.concatenate([target[None], np.where(where, swapped, target)]))
            members = FiniteClass(np.maximum(members.members, -1e6))
            errors = dpo_errors(
                policy, members, config.n, beta, delta=config.delta, replications=config.replications, rng=rng
            )
            estimate = mean_over_prompts(errors, ends=PROPORTION)
            concentration = float(np.exp(2 * target - policy.log_probs).sum(axis=1).max())
            e = bounds.dpo_disagreement(config.n, members.log_size, 0.05)
            s2 = bounds.dpo_bad_prompts(
                e, delta=config.delta, c_max=concentration, min_max_prob=0.4, c_cov_bar=c_cov_bar(policy)
            )
            ideal = float(missing_mass(target, policy)[0])
            rows.append((name, gap, beta, float(estimate.value), float(estimate.low), float(estimate.high), s2, ideal))
        rows.append(
            ("SFT-Sharpening, N = 16", gap, np.nan, float(sft.value), float(sft.low), float(sft.high), np.nan, np.nan)
        )
    return pd.DataFrame(rows, columns=["method", "margin", "beta", "error", "low", "high", "bound", "target_missing"])


if __name__ == "__main__":
    record.main("margin", __doc__, compute, Config(), {"n": 1_000, "replications": 5})
