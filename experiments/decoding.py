"""Every way to decode the shipped models, at equal cost: accuracy against the forward tokens spent per prompt.

python -m experiments.decoding [--quick]
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments import record
from sharptheory.llm.decoding.compare import compare_task, summarize
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.engines.loading import load_model, quiet_transformers
from sharptheory.tasks import load_task

MODELS = {"arithmetic-1m": "arithmetic", "multihop-1m": "multihop"}


@dataclass(frozen=True)
class Config:
    n_prompts: int = 50
    n_samples: int = 64
    seed: int = 0


def compute(config: Config) -> pd.DataFrame:
    quiet_transformers()
    tables = []
    for name, task_name in MODELS.items():
        model, tokenizer = load_model(name)
        task = load_task(task_name, config.n_prompts, seed=config.seed)
        oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=task.max_new_tokens, statistics=("self_certainty",))
        table = compare_task(oracle, task, Path(tempfile.mkdtemp()), n=config.n_samples, seed=config.seed)
        tables.append(summarize(table).assign(model=name))
    return pd.concat(tables, ignore_index=True)


if __name__ == "__main__":
    record.main("decoding", __doc__, compute, Config(), {"n_prompts": 4, "n_samples": 8})
