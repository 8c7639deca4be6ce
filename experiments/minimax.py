"""The price of sharpening on the lower-bound family: exact minimax risk, algorithms, bounds and rates.

python -m experiments.minimax [--quick]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments import record
from sharptheory.learners.simulate import sft_errors
from sharptheory.measure.bootstrap import mean_over_prompts
from sharptheory.theory import families
from sharptheory.theory.tables import sample_complexity


@dataclass(frozen=True)
class Config:
    coverage: float = 10.0
    dim: int = 5
    points: int = 13
    replications: int = 4_000
    seed: int = 0


def compute(config: Config) -> pd.DataFrame:
    eps = np.geomspace(1e-3, 0.2, config.points)
    table = sample_complexity(eps, [config.coverage], [config.dim]).assign(low=np.nan, high=np.nan)
    rng, measured = np.random.default_rng(config.seed), []
    for e in eps[::3]:
        # The family and the N on which the exact curve of SFT-Sharpening stands.
        costs = {}
        families.hardest(
            e, config.coverage, config.dim, lambda f, e=e, c=costs: c.setdefault(f, f.sft_queries(e)), points=12
        )
        family = max(costs, key=costs.get)
        queries, n_responses = family.sft_best(e)
        policy = family.policy([0] * family.d)
        errors = sft_errors(
            policy,
            int(queries / n_responses),
            n_responses,
            delta=0.5 - 1e-9,
            replications=config.replications,
            rng=rng,
        )
        estimate = mean_over_prompts(errors)
        measured.append(("SFT-Sharpening, simulated", "measured", float(estimate.value), config.coverage, config.dim, 0.5,
                         costs[family], float(estimate.low), float(estimate.high)))  # fmt: skip
    return pd.concat([table, pd.DataFrame(measured, columns=table.columns)], ignore_index=True)


if __name__ == "__main__":
    record.main("minimax", __doc__, compute, Config(), {"coverage": 4.0, "points": 2, "replications": 500})
