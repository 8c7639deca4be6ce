"""Exact laws on one policy, what each pays for its self-reward, greedy decoding against the argmax, and the errata.

python -m experiments.laws [--quick]
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from experiments import record
from sharptheory.checks import REGISTRY
from sharptheory.theory import laws
from sharptheory.theory.coverage import concentrability
from sharptheory.theory.divergences import kl
from sharptheory.theory.policies import AutoregressivePolicy
from sharptheory.theory.tables import law_table


@dataclass(frozen=True)
class Config:
    n_responses: int = 12
    points: int = 400
    trees: int = 20_000
    seed: int = 0


def compute(config: Config) -> pd.DataFrame:
    base = log_softmax(-np.log(np.arange(1, config.n_responses + 1)))
    parts = [one_policy(base), frontier(base, config.points), greedy(config), errata()]
    return pd.concat(parts, ignore_index=True)


def one_policy(base: np.ndarray) -> pd.DataFrame:
    table = law_table(base, n=(4, 16), beta=(0.5,), delta=(0.1,))
    names = {"best-of-N": "best of {:.0f}", "tilted": "tilted, β = {:g}", "adaptive best-of-N": "adaptive, δ = {:g}"}
    name = [names.get(row.law, row.law).format(row.parameter) for row in table.itertuples()]
    wide = table[[f"p{y}" for y in range(len(base))]].set_axis(range(1, len(base) + 1), axis=1).assign(name=name)
    return wide.melt(id_vars="name", var_name="rank", value_name="p").assign(panel="law")


def frontier(base: np.ndarray, points: int) -> pd.DataFrame:
    """Expected self-reward, KL and concentrability along each law's own parameter."""
    table = law_table(
        base, n=np.geomspace(1, 1e3, points), beta=np.geomspace(0.05, 1e3, points), delta=np.geomspace(1e-3, 1, points)
    )
    columns = [f"p{y}" for y in range(len(base))]
    table = table.assign(reward=table[columns].to_numpy() @ base).drop(columns=columns)
    pessimistic = []
    for beta in np.geomspace(1e-2, 1e3, points):
        law = laws.chi_squared(base, beta)
        pessimistic.append(
            {"law": "χ²-regularised", "parameter": beta, "kl": float(kl(law, base)), "reward": float(np.exp(law) @ base),
             "concentrability": concentrability(law, base)}
        )  # fmt: skip
    return pd.concat([table, pd.DataFrame(pessimistic)]).assign(panel="frontier")


def greedy(config: Config, *, n_tokens: int = 2, horizon: int = 4) -> pd.DataFrame:
    """How often token-wise greedy decoding of random token trees returns the argmax, by the argmax's probability."""
    rng = np.random.default_rng(config.seed)
    scale = rng.uniform(0, 5, size=(config.trees, 1, 1))
    levels = [
        log_softmax(scale * rng.normal(size=(config.trees, n_tokens**h, n_tokens + 1)), axis=-1) for h in range(horizon)
    ]
    tree = AutoregressivePolicy(tuple(levels))
    table, responses = tree.table().log_probs, {y: i for i, y in enumerate(tree.responses)}
    found = table[np.arange(len(table)), [responses[y] for y in tree.greedy()]] >= table.max(axis=1) - 1e-12
    bins = np.linspace(0, 1, 21)
    position = np.digitize(np.exp(table.max(axis=1)), bins) - 1
    rows = (
        pd.DataFrame({"position": np.minimum(position, 19), "found": found})
        .groupby("position")["found"]
        .agg(["mean", "size"])
    )
    return pd.DataFrame(
        {
            "panel": "greedy",
            "p_best": (bins[rows.index] + bins[rows.index + 1]) / 2,
            "found": rows["mean"],
            "trees": rows["size"],
        }
    )


def errata() -> pd.DataFrame:
    """Printed statements that fail, with what they bound and their bound on the counterexample."""
    rows = []
    for check in REGISTRY.values():
        if check.must_fail:
            quantity, bound = check.evaluate(None)
            rows.append(
                {
                    "panel": "erratum",
                    "name": check.source,
                    "statement": check.statement,
                    "quantity": quantity,
                    "bound": bound,
                }
            )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    record.main("laws", __doc__, compute, Config(), {"points": 20, "trees": 500})
