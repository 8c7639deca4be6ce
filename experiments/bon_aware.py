"""Policies trained for best-of-N, evaluated at every N, and the temperature that suits each N.

python -m experiments.bon_aware [--quick]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from experiments import record
from sharptheory.learners import bon_aware
from sharptheory.theory.divergences import kl
from sharptheory.theory.laws import power


@dataclass(frozen=True)
class Config:
    n_prompts: int = 8
    n_responses: int = 12
    kl_penalty: float = 0.3
    seed: int = 0


SIZES = (1, 4, 16, 64)


def compute(config: Config) -> pd.DataFrame:
    rng = np.random.default_rng(config.seed)
    shape = (config.n_prompts, config.n_responses)
    base, reward = rng.normal(size=shape), rng.normal(size=shape)
    verifier = reward + rng.normal(size=shape)  # an imperfect one
    values = np.zeros((len(SIZES), len(SIZES)))
    for x in range(config.n_prompts):
        trained: dict[int, np.ndarray] = {}
        for n in (*SIZES, *SIZES[::-1]):
            goal = lambda t, n=n, x=x: bon_aware.bon_rl(t, reward[x], n, verifier=verifier[x])  # noqa: E731
            trained[n] = bon_aware.train(
                goal, np.stack([base[x], *trained.values()]), base=base[x], kl_penalty=config.kl_penalty
            )
        for i, m in enumerate(SIZES):
            cost = config.kl_penalty * float(kl(log_softmax(trained[m]), log_softmax(base[x])))
            for j, n in enumerate(SIZES):
                value = bon_aware.bon_rl(trained[m], reward[x], n, verifier=verifier[x])[0]
                values[i, j] += (value - cost) / config.n_prompts
    rows = [("trained", SIZES[i], SIZES[j], values[i, j]) for i in range(len(SIZES)) for j in range(len(SIZES))]
    # pass@N over easy and hard prompts: the best temperature grows with N; on one prompt it does not.
    logits = 2 * rng.normal(size=(200, 30))
    correct = np.zeros(logits.shape, dtype=bool)
    ranks = rng.integers(0, 15, size=200)
    correct[np.arange(200), np.argsort(-logits, axis=1)[np.arange(200), ranks]] = True
    temperatures = np.geomspace(0.05, 5, 150)
    failed = np.array([1 - np.exp(power(log_softmax(logits, axis=1), 1 / t))[correct] for t in temperatures])
    for n in (1, 2, 4, 8, 16, 32, 64, 128):
        rows.append(("T*, many prompts", n, n, float(temperatures[np.argmax((1 - failed**n).mean(axis=1))])))
        rows.append(("T*, one prompt", n, n, float(temperatures[np.argmin(failed[:, np.argmax(ranks == 1)])])))
    return pd.DataFrame(rows, columns=["panel", "trained_for", "n", "value"])


if __name__ == "__main__":
    record.main("bon_aware", __doc__, compute, Config(), {"n_prompts": 2})
