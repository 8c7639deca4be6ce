"""Iterated curation: rounds with the fixed self-reward, with the live one, and with real data mixed in.

python -m experiments.iterated [--quick]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments import record
from sharptheory.theory.divergences import total_variation
from sharptheory.theory.laws import curated, power


@dataclass(frozen=True)
class Config:
    rounds: int = 12
    choices: float = 4.0
    mixing: float = 0.25
    seed: int = 0


def compute(config: Config) -> pd.DataFrame:
    rng = np.random.default_rng(config.seed)
    base = np.log(rng.dirichlet(np.full(10, 1.5)))
    top = int(np.argmax(base))
    starts = {"fixed reward, K = ∞": base, "live reward, K = ∞": base, f"fixed reward, K = {config.choices:g}": base,
              f"K = {config.choices:g}, {1 / (1 + config.mixing):.0%} real data": base}  # fmt: skip
    laws_, rows = dict(starts), []
    for t in range(config.rounds + 1):
        predicted = {"fixed reward, K = ∞": power(base, 1 + t), "live reward, K = ∞": power(base, min(2.0**t, 1e6))}
        for name, law in laws_.items():
            gap = float(total_variation(law, predicted[name])) if name in predicted else np.nan
            mass = float(np.exp(predicted[name][top])) if name in predicted else np.nan
            rows.append((name, t, float(np.exp(law[top])), mass, gap))
        fixed, live, finite, mixed = laws_.values()
        weight = config.mixing
        blend = (np.exp(base) + weight * np.exp(curated(mixed, config.choices, rewards=base))) / (1 + weight)
        updates = (
            curated(fixed, np.inf, rewards=base),
            curated(live, np.inf),
            curated(finite, config.choices, rewards=base),
            np.log(blend),
        )
        laws_ = dict(zip(laws_, updates))
    return pd.DataFrame(rows, columns=["method", "round", "argmax_mass", "predicted", "gap"])


if __name__ == "__main__":
    record.main("iterated", __doc__, compute, Config(), {"rounds": 3})
