"""Error of SFT-Sharpening against N for policies of controlled coverage coefficient, over a finite realizable class.

python -m experiments.coverage_error [--quick]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from experiments import record
from sharptheory.learners import FiniteClass
from sharptheory.measure.bootstrap import PROPORTION, mean_over_prompts
from sharptheory.theory import bounds, laws
from sharptheory.theory.coverage import coverage_coefficient, missing_mass
from sharptheory.theory.policies import TabularPolicy


@dataclass(frozen=True)
class Config:
    n_prompts: int = 60
    n_responses: int = 40
    members: int = 16
    replications: int = 100
    delta: float = 0.2
    rho: float = 0.05
    seed: int = 0


def base_policy(config: Config, coverage: float, rng: np.random.Generator) -> TabularPolicy:
    """Argmax masses spread over two decades, scaled to the coverage coefficient; the rest is spread evenly."""
    inverse = (
        1 + (coverage - 1) * np.geomspace(0.1, 10, config.n_prompts) / np.geomspace(0.1, 10, config.n_prompts).mean()
    )
    inverse = np.minimum(inverse, 0.9 * config.n_responses)
    probs = np.repeat(((1 - 1 / inverse) / (config.n_responses - 1))[:, None], config.n_responses, axis=1)
    probs[:, 0] = 1 / inverse
    return TabularPolicy.from_probs(probs)


def compute(config: Config) -> pd.DataFrame:
    rng, rows = np.random.default_rng(config.seed), []
    for coverage in (2.0, 4.0, 8.0):
        policy = base_policy(config, coverage, rng)
        actual = coverage_coefficient(policy)
        for n in (100, 10_000):
            for n_responses in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
                target = laws.best_of_n(policy.log_probs, n_responses)
                noise = rng.normal(size=(config.members - 1, *target.shape))
                members = FiniteClass(
                    np.concatenate([target[None], log_softmax(np.maximum(target, -60) + noise, axis=2)])
                )
                bad = [float((missing_mass(m, policy) >= config.delta) @ policy.mu) for m in members.members]
                joint = (policy.mu[:, None] * np.exp(target)).ravel()
                scores = members.members.reshape(config.members, -1)
                counts = rng.multinomial(n, joint / joint.sum(), size=config.replications).astype(float)
                chosen = np.argmax(counts @ np.maximum(scores, -1e4).T, axis=1)
                estimate = mean_over_prompts(np.array(bad)[chosen], ends=PROPORTION)
                n_star = n_responses / laws.stopping_threshold(config.delta)
                bound = bounds.sft_bad_prompts(
                    n, n_star, delta=config.delta, rho=config.rho, coverage=actual, log_class=members.log_size
                )
                rows.append(
                    (actual, n, n_responses, float(estimate.value), float(estimate.low), float(estimate.high), bound)
                )
    return pd.DataFrame(rows, columns=["coverage", "n", "n_responses", "error", "low", "high", "bound"])


if __name__ == "__main__":
    record.main("coverage_error", __doc__, compute, Config(), {"n_prompts": 20, "replications": 20})
