"""Proposition E.2: inference-time sharpening succeeds where no policy of the class can be trained to it.

python -m experiments.realizability [--quick]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from experiments import record
from sharptheory.theory import laws
from sharptheory.theory.families import misspecified


@dataclass(frozen=True)
class Config:
    tokens: int = 40
    seed: int = 0


def compute(config: Config) -> pd.DataFrame:
    base = misspecified(config.tokens)
    table, argmax = base.table().log_probs[0], base.responses.index((1, 0))
    rows = []
    for n in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        law = laws.best_of_n(table, n)

        def loss(theta, law=law):
            trained = misspecified(config.tokens, theta=theta.reshape(2, 2)).table().log_probs[0]
            return -float(np.dot(np.exp(law), np.maximum(trained, -1e3)))

        # Infinite data: the best of the class for the best-of-N law, with θ in a ball large enough not to matter.
        start = np.array([[np.log(config.tokens), 0.0]] * 2).ravel()
        best = minimize(loss, start, method="L-BFGS-B", bounds=[(-20, 20)] * 4)
        trained = np.exp(misspecified(config.tokens, theta=best.x.reshape(2, 2)).table().log_probs[0, argmax])
        rows.append((n, float(np.exp(law[argmax])), float(trained)))
    return pd.DataFrame(rows, columns=["n_responses", "best_of_n", "trained"])


if __name__ == "__main__":
    record.main("realizability", __doc__, compute, Config(), {"tokens": 10})
