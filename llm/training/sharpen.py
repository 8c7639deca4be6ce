"""`sharptheory train`: sample, select, train, measure; round after round, and on from wherever it was killed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import TrainerCallback

from sharptheory.errors import UserError
from sharptheory.llm.decoding.search import search_task
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.sampling import sample_pool, task_identity
from sharptheory.llm.training.adapters import check_rank, plain, save_trained, trainable, without_adapters
from sharptheory.llm.training.config import Config, training_reward
from sharptheory.llm.training.evaluation import Evaluation, baselines, trained_decoding
from sharptheory.llm.training.examples import Example, examples
from sharptheory.llm.training.fit import fit, forward_tokens, process_state
from sharptheory.llm.training.pools import Evaluate, given_pool, rescored
from sharptheory.measure.pool import Pool
from sharptheory.runs import refuse_other_run
from sharptheory.tasks import Task

#: ``(stage, done, total)``.
Progress = Callable[[str, int, int], None]


def sharpen(
    oracle: HuggingFaceOracle,
    task: Task,
    held_out: Task,
    folder: str | Path,
    config: Config,
    *,
    pool: str | Path | None = None,
    foreign: bool = False,
    n_eval: int = 16,
    n_baseline: int | None = None,
    eval_every: int = 1,
    certify: bool = True,
    decode: bool = True,
    baseline: str | Path | None = None,
    identity: dict | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, dict]:
    """Train a model on its own responses; the folder keeps pools, checkpoints, log, evaluation and the trained model.

    Each round samples from the policy, makes examples of the samples, and trains on them. The base model is what it was
    afterwards; adapters (`config.lora_rank`) are trained inside it, so that its weights are in memory once.

    Args:
        oracle: of the base model.
        task: prompts to learn from. held_out: prompts to measure on.
        config: what to train.
        pool: file of samples for the first round, instead of sampling; refused if they are not this model's, unless
            `foreign`, which scores them all under this model first (selection of the likeliest foreign response).
        n_eval: samples per held-out prompt and evaluation.
        n_baseline: samples of the base model, and of the trained one in the end: the N of the best-of-N to compare with; default
            `config.n_samples` or `n_eval`, whichever is larger.
        eval_every: epochs between evaluations.
        certify: also search each held-out prompt's argmax, so that the mass on it is measured.
        decode: also measure how the trained model decodes, greedily and by best-of-N of its own.
        baseline: folder of the base model's argmax and samples on the held-out prompts, for runs that share them; default
            `folder`.
        identity: further facts that make two runs different (model fingerprint, dtype …).
        force: discard whatever run the folder holds.
        progress: called with ``(stage, done, total)``.

    Returns:
        The evaluation: a row per round and epoch, epoch 0 the base model, columns as `Evaluation` and, in the last row,
        the trained model's own `greedy_…` and `best_of_n_…` if `decode`; and the `baselines`.

    Raises:
        UserError: settings that this model or oracle cannot run, a pool that cannot be learnt from, a folder that holds
            a different run.
    """
    folder = Path(folder)
    run = _Run(
        oracle, task, held_out, folder, config, n_eval, n_baseline or max(config.n_samples, n_eval), eval_every,
        identity, progress or (lambda *_: None),
    )  # fmt: skip
    check(oracle, config, sampled=pool is None or config.rounds > 1)
    facts = {**(identity or {}), **asdict(config), **task_identity(task), "held_out": task_identity(held_out)["prompts"],
             "pool": None if pool is None else str(Path(pool).resolve()), "foreign": foreign}  # fmt: skip
    # With several processes the main one samples and writes; the others wait, then read what it wrote.
    process = process_state()
    with process.main_process_first():
        _claim(folder, facts, force=force and process.is_main_process)
        base_pool, argmax = measure_baseline(run, folder if baseline is None else Path(baseline), certify=certify)
    with trainable(oracle.model, config.lora_rank, seed=config.seed) as model:
        policy = oracle_around(oracle, plain(model))

        def evaluate(prompts, responses):
            with without_adapters(model):
                return oracle.evaluate(prompts, responses)

        measure = Evaluation(evaluate, held_out, n=n_eval, baseline=base_pool, argmax=argmax, seed=config.seed)
        record = _Record(folder / "evaluation.jsonl", measure)
        if process.is_main_process:
            record(0, 0, policy)
        logs, data, first = [], [], None
        for round_ in range(1, config.rounds + 1):
            with process.main_process_first():
                given = pool if round_ == 1 else None
                samples = sample_round(run, policy, evaluate, round_, given=given, foreign=foreign)
            fresh = examples(
                samples, config, rng=np.random.default_rng(config.seed + round_),
                base=first if config.method == "xpo" else None,
            )  # fmt: skip
            first = samples if first is None else first
            # XPO's regression is over all rounds so far; the others learn from the current one.
            data = data + fresh if config.method == "xpo" else fresh
            logs.append(fit_round(run, policy, model, data, round_, record))
        if process.is_main_process:
            if decode:
                measure_trained(run, policy, evaluate, record)
            finish(run, model, pd.concat(logs, ignore_index=True), record)
    return record.table, baselines(base_pool, argmax)


@dataclass(frozen=True)
class _Run:
    """What all stages share, as given to `sharpen`."""

    oracle: HuggingFaceOracle
    task: Task
    held_out: Task
    folder: Path
    config: Config
    n_eval: int
    n_baseline: int
    eval_every: int
    identity: dict | None
    progress: Progress

    def stage(self, name: str) -> Callable[[int, int], None]:
        """The progress of one stage."""
        return lambda done, total: self.progress(name, done, total)


# Stages ---------------------------------------------------------------------------------------------------------------


def check(oracle: HuggingFaceOracle, config: Config, *, sampled: bool) -> None:
    """Refuse, before anything is sampled, what this model or oracle cannot run.

    Args:
        sampled: whether this run samples what it learns from, and so has to measure the reward's columns itself.
    """
    if config.lora_rank is not None:
        check_rank(oracle.model, config.lora_rank)
    reward = training_reward(config.reward)
    if sampled and reward.measured == "statistic" and not set(reward.needs) <= set(oracle.statistics):
        raise UserError(
            f"reward {reward.name!r} is measured while sampling; build the oracle with statistics={list(reward.needs)}"
        )


def measure_baseline(run: _Run, folder: Path, *, certify: bool) -> tuple[Pool, pd.DataFrame | None]:
    """The base model on the held-out prompts: a pool with greedy responses, and each prompt's argmax if asked for."""
    argmax = None
    if certify:
        argmax = search_task(
            run.oracle, run.held_out, folder / "argmax.jsonl", identity=run.identity, seed=run.config.seed,
            progress=run.stage("certifying"),
        )  # fmt: skip
    pool = sample_pool(
        run.oracle, run.held_out, run.n_baseline, folder / "baseline", seed=run.config.seed, identity=run.identity,
        progress=run.stage("baseline"),
    )  # fmt: skip
    return pool, argmax


def sample_round(
    run: _Run, policy: HuggingFaceOracle, evaluate: Evaluate, round_: int, *, given: Path | None, foreign: bool
) -> Pool:
    """What a round learns from: the policy's samples, or those given. Their log-likelihoods are the base model's.

    The self-reward of every round is that of the base, and the regression (8) is against it.
    """
    config, task = run.config, run.task
    if given is not None:
        pool = given_pool(given, run.oracle, task, foreign=foreign)
    else:
        pool = sample_pool(
            policy, task, config.n_samples, run.folder / f"round-{round_}", seed=config.seed + 1000 * round_,
            identity=run.identity, judge=training_reward(config.reward).measured == "judge",
            progress=run.stage("sampling"),
        )  # fmt: skip
    return pool if round_ == 1 else rescored(pool, evaluate, task)


def fit_round(
    run: _Run, policy: HuggingFaceOracle, model, data: list[Example], round_: int, record: _Record
) -> pd.DataFrame:
    """Train on a round's examples, evaluating between epochs; the log with what it went over."""
    prompts = run.oracle.encode(run.task.prompts)
    measure = _Measure(lambda epoch: record(round_, epoch, policy), model, run.stage("training"), run.eval_every)
    log = fit(model, prompts, data, run.folder / f"round-{round_}/checkpoints", run.config, callbacks=[measure])
    return log.assign(round=round_, examples=len(data), tokens=forward_tokens(prompts, data))


def measure_trained(run: _Run, policy: HuggingFaceOracle, evaluate: Evaluate, record: _Record) -> None:
    """The trained model's own greedy and best-of-N responses on the held-out prompts, into the last evaluation."""
    pool = sample_pool(
        policy, run.held_out, run.n_baseline, run.folder / "trained", seed=run.config.seed, identity=run.identity,
        progress=run.stage("trained model"),
    )  # fmt: skip
    record.extend(trained_decoding(pool, evaluate, run.held_out))


def finish(run: _Run, model, log: pd.DataFrame, record: _Record) -> None:
    """Write model, log and evaluation."""
    save_trained(model, run.folder / "model")
    run.oracle.tokenizer.save_pretrained(run.folder / "model")
    log.to_parquet(run.folder / "log.parquet", index=False)
    record.table.to_parquet(run.folder / "evaluation.parquet", index=False)


class _Record:
    """Evaluations, each kept in a file as soon as it is made and made once.

    Attributes:
        table: a row per round and epoch.
    """

    def __init__(self, path: Path, measure: Evaluation):
        self.path, self.measure = path, measure
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
        self.table = pd.DataFrame(rows)

    def __call__(self, round_: int, epoch: int, policy: HuggingFaceOracle) -> None:
        if len(self.table) and ((self.table["round"] == round_) & (self.table["epoch"] == epoch)).any():
            return
        row = {"round": round_, "epoch": epoch, **self.measure(policy)}
        self.table = pd.concat([self.table, pd.DataFrame([row])], ignore_index=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def extend(self, columns: dict[str, float]) -> None:
        """Columns that only the last row has."""
        self.table = self.table.join(pd.DataFrame([columns], index=self.table.index[-1:]))


class _Measure(TrainerCallback):
    """Evaluates at the end of epochs and reports how far training is."""

    def __init__(self, evaluate: Callable[[int], None], model, progress: Callable[[int, int], None], every: int):
        self.evaluate, self.model, self.progress, self.every = evaluate, model, progress, every

    def on_step_end(self, args, state, control, **_):
        self.progress(state.global_step, state.max_steps)

    def on_epoch_end(self, args, state, control, **_):
        epoch = round(state.epoch)
        if state.is_world_process_zero and (epoch % self.every == 0 or epoch == args.num_train_epochs):
            self.model.eval()
            self.evaluate(epoch)
            self.model.train()


def oracle_around(oracle: HuggingFaceOracle, model) -> HuggingFaceOracle:
    """The same oracle of another model."""
    return HuggingFaceOracle(
        model, oracle.tokenizer, max_new_tokens=oracle.max_new_tokens, batch_tokens=oracle.batch_tokens, chat=oracle.chat,
        statistics=oracle.statistics,
    )  # fmt: skip


def _claim(folder: Path, run: dict, *, force: bool) -> None:
    path = folder / "train.json"
    if force and path.is_file():
        shutil.rmtree(folder)
    if path.is_file():
        refuse_other_run(folder, json.loads(path.read_text()), run)
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds no training run; choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(run, indent=1) + "\n")
