"""Example J.1 on the hypercube: RLHF-Sharpening needs d pairs, SFT-Sharpening about C_cov = exp(Ω(d)) responses.

The vertices ``{±1/√d}^d`` are a 1/4-packing of the sphere for d ≤ 64, of size 2^d: a million responses at d = 20.

    python -m experiments.separation [--quick]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments import record
from sharptheory import laws
from sharptheory.coverage import coverage_coefficient, margin
from sharptheory.estimators import bootstrap_mean
from sharptheory.policies import LinearSoftmaxPolicy


@dataclass(frozen=True)
class Config:
    largest: int = 20
    runs: int = 100
    delta: float = 0.1
    beta: float = 0.01
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
        estimate = bootstrap_mean(np.array(spent, dtype=float), resamples=500)
        sft = coverage * laws.stopping_threshold(config.delta)
        rows.append(
            (d, 2**d, coverage, gap, sft, float(estimate.value), float(estimate.low), float(estimate.high), recovered)
        )
    columns = ["d", "n_responses", "coverage", "margin", "sft_responses", "dpo_queries", "low", "high", "theta_error"]
    return pd.DataFrame(rows, columns=columns)


if __name__ == "__main__":
    record.main("separation", __doc__, compute, Config(), {"largest": 8, "runs": 5})
