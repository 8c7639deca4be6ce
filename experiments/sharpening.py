"""Sharpening the shipped models by training: methods, rewards, N, β, and what limits the gain, over seeds.

python -m experiments.sharpening [--quick]

Two kinds of settings, for each model and seed. `full` is the claim: SFT-Sharpening with N = 50 on all prompts. The others
depart from a reference (SFT by log-likelihood on a part of the prompts) in N, reward, method, β or prompts; of the first model
also in epochs, learning rate and rank of the adapters. Where a method needs another rate, number of epochs or of responses than
the reference, its settings say so (`settings_of`). They learn from the pool of `full`, but for `spread`, on one seed: as many
responses as `full`, of four times the prompts with a quarter of the N each, for half the epochs. A seed of a model is one
job; without a GPU as many run at a time as there are cores. Pools and checkpoints stay in out/sharpening, and an interrupted
run goes on from there.

Of a row of the results, column `cell` names the setting, ``base_…`` are the baselines.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from experiments import record
from sharptheory.llm.decoding.search import search_task
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.engines.loading import fingerprint, load_model, quiet_transformers
from sharptheory.llm.training.config import Config as Training
from sharptheory.llm.training.sharpen import sharpen, training_seconds
from sharptheory.measure.best_of_n import curve
from sharptheory.measure.bootstrap import PROPORTION, mean_over_prompts
from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from sharptheory.runs import write
from sharptheory.tasks import Task, split_task
from sharptheory.theory import bounds, laws

WORK = Path(__file__).parents[1] / "out/sharpening"
#: A backward pass costs about two forward passes.
PASSES = 3
PARAMETER_BITS = 32
SPREAD = 4
SFT = Training(n_samples=50, epochs=8)


@dataclass(frozen=True)
class Problem:
    """A model and a task to sharpen it on.

    Attributes:
        n_prompts: to learn from. study_prompts: those of the reference setting; without them, only `full` is run. data: the
            official file of a task that has one. label: names it in tables and figures.
    """

    model: str
    task: str
    n_prompts: int
    study_prompts: int = 0
    data: str | None = None
    label: str = ""

    def __str__(self) -> str:
        return self.label or Path(self.model).name


@dataclass(frozen=True)
class Config:
    problems: tuple[Problem, ...] = (
        Problem("arithmetic-1m", "arithmetic", 4_000, study_prompts=1_000),
        Problem("multihop-1m", "multihop", 1_000, study_prompts=500),
    )
    training: Training = SFT
    seeds: int = 3
    eval_prompts: int = 200
    eval_samples: int = 16
    certify: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Setting:
    """A training, the number of prompts and of responses per prompt it uses, and whether it samples its own pool."""

    training: Training
    n_prompts: int
    responses: int
    own_pool: bool = False


def settings_of(problem: Problem, training: Training, *, limits: bool) -> Iterator[tuple[str, Setting]]:
    """By name: ``factor=value``, what a setting changes of the reference, the first; of one `limits` are studied too."""
    n, epochs, study_prompts = training.n_samples, training.epochs, problem.study_prompts
    reference = Setting(training, study_prompts, n)

    def with_(prompts: int = study_prompts, responses: int = n, **changes) -> Setting:
        return replace(reference, training=replace(training, **changes), n_prompts=prompts, responses=min(responses, n))

    for responses in (n, *(few for few in (25, 10, 5, 1) if few < n)):
        yield f"N={responses}", with_(responses=responses)
    for reward in ("length_normalized", "majority", "self_certainty", "correctness"):
        yield f"reward={reward}", with_(reward=reward)
    for prompts in (study_prompts // 4, study_prompts // 2, 2 * study_prompts):
        if prompts < problem.n_prompts:
            yield f"prompts={prompts}", with_(prompts)
    yield "method=adaptive-sft", with_(method="adaptive-sft", delta=0.5)
    pairs = dict(learning_rate=3e-5, epochs=1)  # a rate of 1e-4 gains less on seed 0
    for beta in (0.5, 1.0, 2.0):
        yield f"beta={beta:g}", with_(responses=30, method="dpo", beta=beta, **pairs)
    weighted = dict(n=4, epochs=1, learning_rate=1e-4)
    yield "method=bon-sft", with_(responses=16, method="bon-sft", **weighted)
    yield "method=bon-rlb", with_(responses=16, method="bon-rlb", reward="correctness", **weighted)
    yield "method=bon-rlb-p", with_(responses=16, method="bon-rlb-p", reward="correctness", **weighted)
    few = dict(rounds=2, n_samples=4, optimism=1e-3)  # pairs of all rounds are learnt from again in each
    yield "method=xpo", with_(responses=4, method="xpo", beta=1.0, **few, **pairs)
    if not limits:
        return
    for passes in (epochs // 2, 2 * epochs):
        yield f"epochs={passes}", with_(epochs=passes)
    for rate in (1e-4, 1e-3):
        yield f"rate={rate:g}", with_(learning_rate=rate)
    for rank in (4, 16, 64):
        yield f"rank={rank}", with_(lora_rank=rank, learning_rate=1e-3)


def compute(config: Config, work: Path | None = None) -> pd.DataFrame:
    """Rows of the panels ``training`` and ``pass@k``; resumable in `work`."""
    # A small run is a check, and starts anew.
    work = work or (WORK if config.eval_prompts >= 100 else Path(tempfile.mkdtemp()))
    seeds = range(config.seed, config.seed + config.seeds)
    jobs = [(config, problem, seed, work) for problem in config.problems for seed in seeds]
    return pd.concat(record.parallel(study, jobs), ignore_index=True)


def study(config: Config, problem: Problem, seed: int, work: Path) -> pd.DataFrame:
    """All settings of one model and seed."""
    quiet_transformers()
    shared = Study(problem, work=work / str(problem), config=config, seed=seed)
    jobs = {"full": shared.full}
    if problem.study_prompts:
        first = problem == config.problems[0]
        training = shared.full.training
        jobs |= settings_of(problem, training, limits=first)
        if first and seed == config.seed:  # it costs as much as all others
            few = replace(training, n_samples=training.n_samples // SPREAD, epochs=training.epochs // 2)
            jobs[f"spread={SPREAD}"] = Setting(few, SPREAD * problem.n_prompts, few.n_samples, own_pool=True)
    tables = []
    for name, setting in jobs.items():
        table = shared.run(name, setting)
        tables.append(table.assign(model=str(problem), cell=name, seed=seed))
        last = table[table["panel"] == "training"].iloc[-1]
        print(
            f"{problem}, seed {seed}, {name}: accuracy {last['base_sampled_accuracy']:.3f} → {last['accuracy']:.3f}, "
            + (
                f"gap closed {last['gap_closed']:.0%} [{last['gap_closed_low']:.0%}, {last['gap_closed_high']:.0%}]"
                if np.isfinite(last["gap_closed_low"])
                else "no gap shown"
            ),
            flush=True,
        )
    return pd.concat(tables, ignore_index=True)


class Study:
    """A model, a task and a seed: what its settings share."""

    def __init__(self, problem: Problem, *, work: Path, config: Config, seed: int):
        self.work, self.config, self.seed = work / f"seed-{seed}", config, seed
        model, tokenizer = load_model(problem.model)
        self.identity = {"model": fingerprint(problem.model, model)}
        self.problems, self.held_out = split_task(
            problem.task,
            problem.n_prompts * (SPREAD if problem.study_prompts else 1),
            config.eval_prompts,
            seed=seed,
            data=problem.data,
        )
        self.n_baseline = max(config.training.n_samples, config.eval_samples)
        self.full = Setting(
            replace(config.training, seed=seed), problem.n_prompts, config.training.n_samples, own_pool=True
        )
        self.oracle = HuggingFaceOracle(
            model, tokenizer, max_new_tokens=self.held_out.max_new_tokens, statistics=("self_certainty",)
        )
        self.tokens_per_second = self._rate()

    def _rate(self) -> float:
        """Tokens per second of sampling, measured on the held-out prompts."""
        start = time.perf_counter()
        samples = self.oracle.sample(self.held_out.prompts, 16, seed=self.seed)
        tokens = sum(map(len, self.oracle.encode(self.held_out.prompts)))
        tokens += sum(len(response.tokens) for row in samples for response in row)
        return tokens / (time.perf_counter() - start)

    @cached_property
    def full_pool(self) -> Pool:
        return read_pool(self.work / "full/round-1/pool.parquet")

    def run(self, name: str, setting: Setting) -> pd.DataFrame:
        """The evaluation of one setting with its baseline, the theory and its costs; of ``full``, pass@k as well."""
        config, training, folder = self.config, setting.training, self.work / name
        few = slice(setting.n_prompts)
        task = replace(self.problems, prompts=self.problems.prompts[few], answers=self.problems.answers[few])
        table, baseline = sharpen(
            self.oracle, task, self.held_out, folder, training, pool=self.part_of_full(name, setting),
            n_eval=config.eval_samples, n_baseline=self.n_baseline, eval_every=2 if setting.own_pool else training.epochs,
            identity=self.identity, baseline=self.work / "base", certify=config.certify,
            decode=setting.own_pool,
        )  # fmt: skip
        table = table.assign(
            panel="training", method=training.method, reward=training.reward, beta=training.beta,
            n_prompts=setting.n_prompts, responses=setting.responses, learning_rate=training.learning_rate,
            lora_rank=training.lora_rank or 0, **{f"base_{key}": value for key, value in baseline.items()},
            **self.theory(setting), **self.costs(task, folder, setting),
        )  # fmt: skip
        if config.certify:
            table = table.assign(base_sharpened=table["sharpened_0.5"].iloc[0])
        return pd.concat([table, self.pass_at_k(folder)]) if name == "full" else table

    def part_of_full(self, name: str, setting: Setting) -> Path | None:
        """The file of the samples of `full` that a setting learns from; None if it samples its own."""
        if setting.own_pool:
            return None
        path, full = self.work / f"{name}.parquet", self.full_pool
        part = (full["prompt_id"] < setting.n_prompts) & (full["sample_id"] < setting.responses)
        write(path, lambda at: full.take(part).samples.to_parquet(at))
        return path

    def theory(self, setting: Setting) -> dict:
        """What infinitely many prompts would give (the law of best-of-N itself), and what Theorem 4.1′ promises.

        The class is every setting of the model's float32 parameters, of which the trained ones are one.
        """
        if not self.config.certify:
            return {}
        argmax = search_task(
            self.oracle, self.held_out, self.work / "base/argmax", identity=self.identity, seed=self.seed
        )
        best = np.exp(argmax.loc[argmax["certified"], "log_p"].to_numpy(dtype=float))
        mass = laws.best_of_n_hit(best, setting.responses)
        found = {"coverage": np.mean(1 / best), "certified": argmax["certified"].mean()}
        log_class = PARAMETER_BITS * np.log(2) * sum(p.numel() for p in self.oracle.model.parameters())
        for delta in (0.5, 0.1):
            n_star = setting.responses / laws.stopping_threshold(delta)
            bad = bounds.sft_bad_prompts(
                setting.n_prompts, n_star, delta=delta, rho=0.05, coverage=found["coverage"], log_class=log_class
            )
            found |= {
                f"law_sharpened_{delta:g}": np.mean(mass >= 1 - delta),
                f"bound_{delta:g}": max(0.0, 1 - bad),
                f"bound_coverage_{delta:g}": max(0.0, 1 - found["coverage"] / n_star),
            }
        return found

    def costs(self, task: Task, folder: Path, setting: Setting) -> dict:
        """Forward tokens and seconds of sampling and of training; sampling at the rate measured on the held-out prompts."""
        pools = [read_pool(path) for path in sorted(folder.glob("round-*/pool.parquet"))]
        if not setting.own_pool:
            pools = [read_pool(folder.with_name(f"{folder.name}.parquet")), *pools]
        prompts = sum(map(len, self.oracle.encode(task.prompts)))
        sampled = sum(prompts + int(pool["tokens"].map(len).sum()) for pool in pools)
        rounds = pd.read_parquet(folder / "log.parquet").groupby("round")["tokens"].max()
        return {
            "sampling_tokens": sampled,
            "sampling_seconds": sampled / self.tokens_per_second,
            "training_tokens": PASSES * setting.training.epochs * int(rounds.sum()),
            "training_seconds": training_seconds(folder),
        }

    def pass_at_k(self, folder: Path) -> pd.DataFrame:
        """pass@k and best-of-k by the own likelihood, for the base model and the trained one, on the held-out prompts."""
        sizes = np.unique([k for k in (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, self.n_baseline) if k <= self.n_baseline])
        rows = []
        for policy, path in (("base", self.work / "base/baseline"), ("trained", folder / "trained")):
            pool = read_pool(path / "pool.parquet")
            for kind, reward in (("pass", "correct"), ("best_of_k", "log_likelihood")):
                values = curve(pool, reward, "correct", sizes)
                for k in sizes:
                    estimate = mean_over_prompts(values[k].to_numpy(), ends=PROPORTION)
                    rows.append(dict(policy=policy, kind=kind, k=int(k), **estimate.columns("value")))
        return pd.DataFrame(rows).rename(columns={"value_low": "low", "value_high": "high"}).assign(panel="pass@k")


if __name__ == "__main__":
    first, *others = (replace(problem, n_prompts=40) for problem in Config.problems)
    few = (replace(first, study_prompts=20), *(replace(problem, study_prompts=0) for problem in others))
    small = dict(problems=few, training=Training(n_samples=6, epochs=2), seeds=1, eval_prompts=6, eval_samples=4)
    record.main("sharpening", __doc__, compute, Config(), small)
