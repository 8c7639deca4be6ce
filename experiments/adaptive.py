"""Adaptive best-of-N: samples per prompt against the exact law and Lemma I.1, and its total against a fixed N.

python -m experiments.adaptive [--quick]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments import record
from sharptheory.learners import Simplex, adaptive_sharpening
from sharptheory.measure.bootstrap import mean_over_prompts
from sharptheory.oracle import TableOracle
from sharptheory.theory import bounds, laws
from sharptheory.theory.policies import TabularPolicy


@dataclass(frozen=True)
class Config:
    delta: float = 0.1
    runs: int = 400
    n_prompts: int = 400
    seed: int = 0


def compute(config: Config) -> pd.DataFrame:
    rng, rows = np.random.default_rng(config.seed), []
    threshold = laws.stopping_threshold(config.delta)
    for max_prob in np.geomspace(0.5, 0.01, 10):
        size = int(np.ceil(3 / max_prob))
        rest = rng.dirichlet(np.full(size, 20.0)) * (1 - max_prob)
        policy = TabularPolicy.from_probs([[max_prob, *rest]])
        exact = float(laws.adaptive_best_of_n(policy.log_probs, threshold).expected_n[0])
        spent = [
            adaptive_sharpening(
                TableOracle(policy), Simplex(policy.shape), np.zeros(1, dtype=int), threshold, seed=seed
            ).queries
            for seed in range(config.runs)
        ]
        estimate = mean_over_prompts(np.array(spent, dtype=float))
        bound = float(bounds.adaptive_stopping(max_prob, 1, threshold))
        rows.append(
            ("samples", max_prob, exact, float(estimate.value), float(estimate.low), float(estimate.high), bound)
        )
    # Many prompts of different coverage: a fixed N must serve the hardest of the 1-ε it wants, the rule each in turn.
    max_probs = np.clip(rng.beta(0.8, 3.0, size=config.n_prompts), 2e-3, 1.0)
    adaptive = np.mean([two_level_stopping(p, threshold) for p in max_probs])
    for eps in np.geomspace(0.5, 1 / config.n_prompts, 12):
        needed = bounds.best_of_n_needed(np.quantile(max_probs, eps), config.delta / 2)
        rows.append(("total", eps, float(adaptive), float(needed), np.nan, np.nan, np.nan))
    return pd.DataFrame(rows, columns=["panel", "x", "exact", "measured", "low", "high", "bound"])


def two_level_stopping(max_prob: float, threshold: float) -> float:
    """``E[N_μ]`` of a prompt with one response of mass p* and the rest spread over ones of a third of it."""
    with np.errstate(divide="ignore"):
        masses, values = np.log([1 - max_prob, max_prob]), np.log([max_prob / 3, max_prob])
    return float(laws.adaptive_best_of_n(masses, threshold, log_likelihood=values).expected_n)


if __name__ == "__main__":
    record.main("adaptive", __doc__, compute, Config(), {"runs": 40, "n_prompts": 50})
