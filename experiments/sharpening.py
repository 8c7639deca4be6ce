"""Sharpening the shipped model by training: seeds, responses per prompt, rewards and methods, against the base model.

python -m experiments.sharpening [--quick]

The first cells, SFT-Sharpening with N = 50 for every seed, are the claim; the others vary one thing at a time on a share
of seed 0's prompts and samples. Pools and checkpoints stay in out/sharpening, and an interrupted run goes on from there.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from experiments import record
from sharptheory.llm.loading import fingerprint, load_model, quiet_transformers
from sharptheory.llm.oracle import HuggingFaceOracle
from sharptheory.llm.sharpen import Config as Training
from sharptheory.llm.sharpen import sharpen
from sharptheory.llm.tasks import split_task

WORK = Path(__file__).parents[1] / "out/sharpening"


@dataclass(frozen=True)
class Config:
    model: str = "arithmetic-1m"
    task: str = "arithmetic"
    seeds: int = 3
    n_prompts: int = 4_000
    epochs: int = 8
    n_samples: int = 50
    study_prompts: int = 1_000
    study_epochs: int = 6
    eval_prompts: int = 100
    eval_samples: int = 16
    seed: int = 0


def cells(config: Config) -> Iterator[tuple[str, Training, int, int]]:
    """Name, training, number of prompts and of samples used of each cell; those after the seeds reuse seed 0's pool."""
    n = config.n_samples
    for seed in range(config.seed, config.seed + config.seeds):
        yield f"seed-{seed}", Training(n_samples=n, epochs=config.epochs, seed=seed), config.n_prompts, n
    study = dict(n_samples=n, epochs=config.study_epochs, seed=config.seed)
    for responses in (1, 5, 10, 25, 50):
        if responses <= n:
            yield f"N-{responses}", Training(**study), config.study_prompts, responses
    for reward in ("length_normalized", "majority", "self_certainty", "correctness"):
        yield reward, Training(**study, reward=reward), config.study_prompts, n
    yield "adaptive-sft", Training(**study, method="adaptive-sft", delta=0.5), config.study_prompts, n
    for beta in (0.5, 2.0):
        pairs = Training(**study | {"epochs": 2}, method="dpo", beta=beta)
        yield f"dpo-{beta:g}", pairs, config.study_prompts, min(n, 10)
    control = Training(**study | {"epochs": 1}, method="bon-rlb-p", n=4, reward="correctness", learning_rate=1e-4)
    yield "bon-rlb-p", control, config.study_prompts, min(n, 16)


def compute(config: Config) -> pd.DataFrame:
    quiet_transformers()
    model, tokenizer = load_model(config.model)
    identity, tables = {"model": fingerprint(config.model, model)}, []
    # A small run is a check, and starts anew.
    work = WORK / str(config.n_prompts) if config.n_prompts >= 1_000 else Path(tempfile.mkdtemp())
    for name, training, n_prompts, responses in cells(config):
        task, held_out = split_task(config.task, config.n_prompts, config.eval_prompts, seed=training.seed)
        oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=task.max_new_tokens, statistics=("self_certainty",))
        place, pool = work / name, None
        if not name.startswith("seed-"):
            drawn = pd.read_parquet(work / f"seed-{training.seed}/round-1/pool.parquet")
            pool = work / f"{name}.parquet"
            drawn[(drawn["prompt_id"] < n_prompts) & (drawn["sample_id"] < max(responses, 1))].to_parquet(pool)
        table, base = sharpen(
            oracle, task, held_out, place, training, pool=pool, n_eval=config.eval_samples, eval_every=2,
            identity=identity, base_lines=place.with_name(f"base-{training.seed}"),
        )  # fmt: skip
        gap = base["best_of_n_accuracy"] - base["sampled_accuracy"]
        table = table.assign(
            cell=name, method=training.method, reward=training.reward, beta=training.beta, seed=training.seed,
            n_prompts=n_prompts, responses=responses, base_n=base["n"],
            **{f"base_{key}": value for key, value in base.items() if key != "n"},
            gap_closed=(table["accuracy"] - base["sampled_accuracy"]) / gap,
        )  # fmt: skip
        tables.append(table)
        last = table.iloc[-1]
        print(
            f"{name}: accuracy {base['sampled_accuracy']:.3f} → {last['accuracy']:.3f}, gap closed {last['gap_closed']:.0%}",
            flush=True,
        )
    return pd.concat(tables, ignore_index=True)


if __name__ == "__main__":
    torch.set_num_threads(max(2, torch.get_num_threads()))
    quick = {
        "seeds": 1,
        "n_prompts": 40,
        "n_samples": 8,
        "study_prompts": 20,
        "epochs": 2,
        "study_epochs": 1,
        "eval_prompts": 6,
    }
    record.main("sharpening", __doc__, compute, Config(), quick | {"eval_samples": 4})
