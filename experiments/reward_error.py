"""Best-of-N against χ²-pessimism, as N grows, when the reward is wrong on rare responses.

python -m experiments.reward_error [--quick]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments import record
from sharptheory.theory.divergences import expected_reward
from sharptheory.theory.laws import best_of_n, chi_squared


@dataclass(frozen=True)
class Config:
    points: int = 40
    corrupted_mass: float = 0.003
    seed: int = 0


def compute(config: Config) -> pd.DataFrame:
    rng = np.random.default_rng(config.seed)
    probs = np.concatenate([rng.dirichlet(np.full(200, 2.0)) * (1 - config.corrupted_mass), [config.corrupted_mass]])
    base, true = np.log(probs), np.append(rng.uniform(0, 0.8, size=200), 0.0)
    proxy = true.copy()
    proxy[-1] = 1.0  # a rare, bad response that the reward likes best
    rows, sizes = [], np.geomspace(1, 1e5, config.points)
    for n in sizes.tolist():
        law = best_of_n(base, n, rewards=proxy)
        rows.append(("best-of-N", n, float(expected_reward(law, true)), float(expected_reward(law, proxy))))
    for beta in (0.1, 0.3, 1.0):
        target = chi_squared(base, beta, rewards=proxy)
        # Rejection from N samples: each is accepted with probability 1/W, W the largest density ratio; else a plain sample.
        refused = np.log1p(-np.exp(base - target).min())
        for n in sizes.tolist():
            law = np.logaddexp(target + np.log(-np.expm1(n * refused)), base + n * refused)
            rows.append(
                (
                    f"χ²-pessimism, β = {beta:g}",
                    n,
                    float(expected_reward(law, true)),
                    float(expected_reward(law, proxy)),
                )
            )
    return pd.DataFrame(rows, columns=["method", "n", "true_reward", "proxy_reward"])


if __name__ == "__main__":
    record.main("reward_error", __doc__, compute, Config(), {"points": 6})
