"""Voting by answer mass against the majority vote and best-of-N, on the shipped models.

    python -m experiments.answer_mass [--quick]

Temperature 1, one pool per model, smaller N from the same pool; differences are paired over prompts.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from experiments import record
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.engines.loading import fingerprint, load_model, quiet_transformers
from sharptheory.llm.sampling import sample_pool
from sharptheory.measure.best_of_n import curve
from sharptheory.measure.bootstrap import DIFFERENCE, PROPORTION, mean_over_prompts
from sharptheory.measure.selection import majority_curve
from sharptheory.measure.self_consistency import answer_certificate, answer_mass_curve, limit_accuracy
from sharptheory.tasks import load_task

WORK = Path(__file__).parents[1] / "out/answer_mass"


@dataclass(frozen=True)
class Config:
    models: tuple = (("arithmetic-1m", "arithmetic"), ("multihop-1m", "multihop"))
    n_prompts: int = 256
    n_samples: int = 50
    subsets: int = 256
    seed: int = 0


def compute(config: Config) -> pd.DataFrame:
    """One row per model, method and N: `accuracy` and its difference `over_majority`, with intervals; and the limits."""
    work = WORK if config.n_prompts >= 100 else Path(tempfile.mkdtemp())
    jobs = [(model, task, config, work) for model, task in config.models]
    return pd.concat(record.parallel(measure, jobs), ignore_index=True)


def measure(name: str, task_name: str, config: Config, work: Path) -> pd.DataFrame:
    """Every method on one model's pool."""
    quiet_transformers()
    model, tokenizer = load_model(name)
    task = load_task(task_name, config.n_prompts, seed=config.seed)
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=task.max_new_tokens)
    identity = {"model": fingerprint(name, model)}
    pool = sample_pool(oracle, task, config.n_samples, work / name, seed=config.seed, identity=identity)
    n = np.array([k for k in (1, 2, 4, 8, 16, 32, 50) if k <= config.n_samples])
    masses = dict(subsets=config.subsets, seed=config.seed)
    tables = {
        "majority vote": majority_curve(pool, n),
        "answer mass, seen": answer_mass_curve(pool, n, seen=True, **masses),
        "answer mass, Horvitz-Thompson": answer_mass_curve(pool, n, **masses),
        "best of N by log-likelihood": curve(pool, "log_likelihood", "correct", n),
    }
    limit = limit_accuracy(pool, by="likelihood")
    facts = {
        "model": name, "certified": answer_certificate(pool)["certified"].mean(), "limit_low": limit.low,
        "limit_high": limit.high,
    }  # fmt: skip
    rows = []
    for method, table in tables.items():
        for k in n:
            accuracy = mean_over_prompts(table[k].to_numpy(), ends=PROPORTION)
            over = mean_over_prompts((table[k] - tables["majority vote"][k]).to_numpy(), ends=DIFFERENCE)
            rows.append(
                {
                    **facts,
                    "method": method,
                    "n": int(k),
                    **accuracy.columns("accuracy"),
                    **over.columns("over_majority"),
                }
            )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    record.main("answer_mass", __doc__, compute, Config(), {"n_prompts": 8, "n_samples": 8, "subsets": 16})
