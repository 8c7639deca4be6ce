"""Example J.1 on the hypercube: RLHF-Sharpening needs d pairs, SFT-Sharpening about C_cov = exp(Ω(d)) responses.

The vertices ``{±1/√d}^d`` are a 1/4-packing of the sphere for d ≤ 64, of size 2^d: a million responses at d = 20.

    python -m experiments.separation [--quick]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments import record
from sharptheory.learners import LinearClass, xpo_sharpening
from sharptheory.measure.bootstrap import mean_over_prompts
from sharptheory.oracle import TableOracle
from sharptheory.theory import laws
from sharptheory.theory.coverage import coverage_coefficient, margin
from sharptheory.theory.policies import LinearSoftmaxPolicy


@dataclass(frozen=True)
class Config:
    largest: int = 20
    runs: int = 100
    delta: float = 0.1
    beta: float = 0.01
    xpo_up_to: int = 12
    seed: int = 0


def compute(config: Config) -> pd.DataFrame:
    rng, rows = np.random.default_rng(config.seed), []
    for d in range(2, config.largest + 1, 2):
        bits = (np.arange(2**d)[:, None] >> np.arange(d)) & 1
        points = (1 - 2.0 * bits) / np.sqrt(d)
        base = LinearSoftmaxPolicy(points, points[0]).table()
        coverage, gap = coverage_coefficient(base), margin(base)
        cdf = np.cumsum(base.probs[0])
        spent, recovered = [], 0.0
        for _ in range(config.runs):
            differences, logs = np.empty((0, d)), np.empty(0)
            # Pairs until the observed differences span R^d [S3].
            while np.linalg.matrix_rank(differences) < d:
                y = np.minimum(np.searchsorted(cdf, rng.random(2) * cdf[-1], side="right"), 2**d - 1)
                differences = np.vstack([differences, points[y[0]] - points[y[1]]])
                logs = np.append(logs, base.log_probs[0, y[0]] - base.log_probs[0, y[1]])
            theta = np.linalg.lstsq(config.beta * differences, (1 + config.beta) * logs, rcond=None)[0]
            recovered = max(recovered, float(np.abs(theta - (1 + 1 / config.beta) * points[0]).max()))
            spent.append(2 * len(differences))
        estimate = mean_over_prompts(np.array(spent, dtype=float))
        sft = coverage * laws.stopping_threshold(config.delta)
        xpo = xpo_on(points, base, config) if d <= config.xpo_up_to else (np.nan, np.nan)
        measured = (float(estimate.value), float(estimate.low), float(estimate.high))
        rows.append((d, 2**d, coverage, gap, sft, *measured, recovered, *xpo))
    columns = ["d", "n_responses", "coverage", "margin", "sft_responses", "dpo_queries", "low", "high", "theta_error"]
    columns += ["xpo_queries", "xpo_mass"]
    return pd.DataFrame(rows, columns=columns)


def xpo_on(points: np.ndarray, base, config: Config) -> tuple[float, float]:
    """Mean queries of XPO with 2d rounds (its choice of an iterate included), and the smallest mass it put on y*."""
    members = LinearClass(points[None], bound=2 * (1 + 1 / config.beta))
    prompts = np.zeros(2 * points.shape[1], dtype=int)
    learned = [
        xpo_sharpening(TableOracle(base), members, prompts, config.beta, optimism=1e-6, held_out=20, seed=seed)
        for seed in range(3)
    ]
    return float(np.mean([run.queries for run in learned])), float(min(np.exp(run.log_probs[0, 0]) for run in learned))


if __name__ == "__main__":
    record.main("separation", __doc__, compute, Config(), {"largest": 6, "runs": 5, "xpo_up_to": 4})
