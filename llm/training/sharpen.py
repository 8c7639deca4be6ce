"""`sharptheory train`: sample, select, train, measure; round after round, and on from wherever it was killed.

Killed at whatever moment, a run ends with the files of one that was not: pools and the argmax are kept as they are made,
training goes on from a checkpoint that was written whole, and an epoch is measured *before* the checkpoint of its last
step, so that no checkpoint goes on from what has not been measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import TrainerCallback

from sharptheory.errors import UserError, expect_integers
from sharptheory.llm.decoding.search import search_task
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.sampling import first_prompts, sample_pool
from sharptheory.llm.training.adapters import check_rank, plain, save_trained, trainable, without_adapters
from sharptheory.llm.training.config import Config, training_reward
from sharptheory.llm.training.evaluation import Evaluation, baselines, trained_decoding
from sharptheory.llm.training.examples import Example, examples
from sharptheory.llm.training.fit import (
    batch_per_process,
    files,
    fit,
    forward_tokens,
    is_whole,
    mark,
    process_state,
    saving,
    steps_per_epoch,
)
from sharptheory.llm.training.pools import Evaluate, given_pool, rescored
from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from sharptheory.runs import PART_OF, Run, claim, digest, file_digest, hold, run_record, write
from sharptheory.tasks import Task

#: ``(stage, done, total)``.
Progress = Callable[[str, int, int], None]
#: What a finished training has beside its model; a folder whose mark holds of all these is only read.
RESULTS = LOG_FILE, BASELINES, EVALUATION = "log.parquet", "baselines.json", "evaluation.parquet"


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
    wait: bool = False,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, dict]:
    """Train a model on its own responses; the folder keeps pools, checkpoints, log, evaluation and the trained model.

    Each round samples from the policy, makes examples of the samples, and trains on them. The base model is what it was
    afterwards; adapters (`config.lora_rank`) are trained inside it, so that its weights are in memory once. A finished
    folder is read, and not changed; if model, log, baselines or evaluation are not what was written, it is finished
    again from its pools and last checkpoints.

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
        baseline: folder of the base model's argmax and samples on the held-out prompts, for runs that share them, each of
            which waits until no other works on them; default `folder`.
        identity: further facts that make two runs different (model fingerprint, dtype …).
        force: discard whatever run the folder holds. wait: for another process to finish with the folder.
        progress: called with ``(stage, done, total)``, in the main process.

    Returns:
        The evaluation: a row per round and epoch, epoch 0 the base model, columns as `Evaluation` and, in the last row,
        the trained model's own `greedy_…` and `best_of_n_…` if `decode`; and the `baselines`.

    Raises:
        UserError: settings that this model or oracle cannot run, a pool that cannot be learnt from, a folder that holds
            a different run or is in use.
    """
    training = _Training(
        oracle, task, held_out, Path(folder), config, n_eval, n_baseline or max(config.n_samples, n_eval), eval_every,
        certify, decode, None if baseline is None else Path(baseline), identity or {}, force,
        progress or (lambda *_: None),
    )  # fmt: skip
    given = check(training, pool, foreign=foreign)
    with _claimed(training, facts(training, pool, foreign=foreign), force=force, wait=wait) as run:
        if not is_whole(training.folder):
            train(training, run, given, foreign=foreign)
        process_state().wait_for_everyone()
        return pd.read_parquet(training.folder / EVALUATION), json.loads((training.folder / BASELINES).read_text())


@dataclass(frozen=True)
class _Training:
    """What all stages share, as given to `sharpen`."""

    oracle: HuggingFaceOracle
    task: Task
    held_out: Task
    folder: Path
    config: Config
    n_eval: int
    n_baseline: int
    eval_every: int
    certify: bool
    decode: bool
    baseline: Path | None
    identity: dict
    force: bool
    progress: Progress

    @property
    def part(self) -> dict:
        """Identity of the runs inside the folder, which are discarded with it."""
        return self.identity | {PART_OF: "training"}

    def discards(self, part: str) -> bool:
        """Whether `force` has to discard a part by itself: one of unreadable record could not be told to be ours."""
        try:
            run_record(self.folder / part)
        except (UserError, OSError):
            return self.force
        return False

    @property
    def due(self) -> list[int]:
        """Epochs of a round that are measured."""
        epochs = range(1, self.config.epochs + 1)
        return [epoch for epoch in epochs if epoch % self.eval_every == 0 or epoch == self.config.epochs]

    def stage(self, name: str) -> Callable[[int, int], None]:
        """The progress of one stage."""
        return lambda done, total: self.progress(name, done, total)


# What is known at once ------------------------------------------------------------------------------------------------


def check(training: _Training, pool: str | Path | None, *, foreign: bool) -> Pool | None:
    """Refuse, before anything is written, what cannot be run; the pool to learn from in the first round, if one is given.

    Raises:
        UserError: numbers out of range, a model that is too small for the adapters or has too small a context, a reward that
            it cannot be asked for, a batch that processes cannot share, a pool that cannot be learnt from.
    """
    oracle, config, task = training.oracle, training.config, training.task
    expect_integers(1, n_eval=training.n_eval, n_baseline=training.n_baseline, eval_every=training.eval_every)
    if config.lora_rank is not None:
        check_rank(oracle.model, config.lora_rank)
    batch_per_process(config)
    oracle.encode([*task.prompts, *training.held_out.prompts])
    reward = training_reward(config.reward)
    if pool is None or config.rounds > 1:  # this run samples, and so has to measure the reward's columns itself
        if reward.measured == "statistic" and not set(reward.needs) <= set(oracle.statistics):
            raise UserError(
                f"reward {reward.name!r} is measured while sampling; build the oracle with statistics={list(reward.needs)}"
            )
        if reward.measured == "judge":
            oracle.p_true(task.prompts[:1], [""])
    if pool is None:
        return None
    given = given_pool(pool, oracle, task, foreign=foreign)
    if not foreign:  # what another model wrote has yet to be scored
        examples(given, config, rng=np.random.default_rng(config.seed))
    return given


def facts(training: _Training, pool: str | Path | None, *, foreign: bool) -> dict:
    """What makes two trainings different, in the order in which a refusal should name it."""
    samples = None if pool is None else digest(file_digest(Path(pool)))
    return {
        "content": "training",
        **training.identity,
        "task": training.task.name,
        **asdict(training.config),
        **training.oracle.settings,
        **first_prompts(training.task, {}),
        "held_out_prompts": first_prompts(training.held_out, {})["prompts"],
        "samples_to_learn_from": samples,
        "foreign": foreign,
        **{name: getattr(training, name) for name in ("n_eval", "n_baseline", "eval_every", "certify", "decode")},
    }


@contextmanager
def _claimed(training: _Training, facts: dict, **options) -> Iterator[Run | None]:
    """The folder, in the hands of the main process; the others go on once it has it, and have none."""
    process = process_state()
    with claim(training.folder, facts, **options) if process.is_main_process else nullcontext() as run:
        process.wait_for_everyone()
        yield run


# Stages ---------------------------------------------------------------------------------------------------------------


def train(training: _Training, run: Run | None, given: Pool | None, *, foreign: bool) -> None:
    """All of a training. Processes other than the main one only train; what they learn from, the main one writes."""
    oracle, config = training.oracle, training.config
    base = measure_baseline(training) if run else None
    with trainable(oracle.model, config.lora_rank, seed=config.seed) as model:
        policy = oracle_around(oracle, plain(model))

        def evaluate(prompts, responses):
            with without_adapters(model):
                return oracle.evaluate(prompts, responses)

        record = None
        if run:
            pool, argmax = base
            measure = Evaluation(
                evaluate, training.held_out, n=training.n_eval, baseline=pool, argmax=argmax, seed=config.seed
            )
            record = _Record(run, measure)
            record(0, 0, policy)
        logs, data, first = [], [], None
        for round_ in range(1, config.rounds + 1):
            samples = sample_round(training, policy, round_) if given is None or round_ > 1 else given
            if foreign or round_ > 1:
                # The self-reward of every round is that of the base, and the regression (8) is against it.
                samples = rescored(samples, evaluate, training.task)
            fresh = examples(
                samples, config, rng=np.random.default_rng(config.seed + round_),
                base=first if config.method == "xpo" else None,
            )  # fmt: skip
            first = samples if first is None else first
            # XPO's regression is over all rounds so far; the others learn from the current one.
            data = data + fresh if config.method == "xpo" else fresh
            logs.append(fit_round(training, run, policy, model, data, round_, record))
        if run:
            decoded = measure_trained(training, policy, evaluate) if training.decode else {}
            finish(training, model, pd.concat(logs, ignore_index=True), baselines(*base), record.table(decoded))


def measure_baseline(training: _Training) -> tuple[Pool, pd.DataFrame | None]:
    """The base model on the held-out prompts: a pool with greedy responses, and each prompt's argmax if asked for."""
    shared, argmax = training.baseline is not None, None
    folder, identity = (training.baseline, training.identity) if shared else (training.folder, training.part)
    if training.certify:
        with hold(folder / "argmax", wait=shared):
            argmax = search_task(
                training.oracle, training.held_out, folder / "argmax", identity=identity, seed=training.config.seed,
                force=not shared and training.discards("argmax"), progress=training.stage("certifying"),
            )  # fmt: skip
    pool = sample_pool(
        training.oracle, training.held_out, training.n_baseline, folder / "baseline", seed=training.config.seed,
        identity=identity, force=not shared and training.discards("baseline"), wait=shared,
        progress=training.stage("baseline"),
    )  # fmt: skip
    return pool, argmax


def sample_round(training: _Training, policy: HuggingFaceOracle, round_: int) -> Pool:
    """What the policy gives at the beginning of a round; the main process samples it, and all read it."""
    config, process, folder = training.config, process_state(), training.folder / f"round-{round_}"
    if process.is_main_process:
        sample_pool(
            policy, training.task, config.n_samples, folder, seed=config.seed + 1000 * round_, identity=training.part,
            judge=training_reward(config.reward).measured == "judge", force=training.discards(folder.name),
            progress=training.stage("sampling"),
        )  # fmt: skip
    process.wait_for_everyone()
    return read_pool(folder / "pool.parquet")


def fit_round(
    training: _Training,
    run: Run | None,
    policy: HuggingFaceOracle,
    model,
    data: list[Example],
    round_: int,
    record: _Record | None,
) -> pd.DataFrame:
    """Train on a round's examples, measuring between epochs; the log with what it went over."""
    prompts, config = training.oracle.encode(training.task.prompts), training.config
    callbacks, before = [], None
    if record is not None:
        measure = _Measure(lambda epoch: record(round_, epoch, policy), model, training.stage("training"), training.due)
        callbacks = [_Clock(run, round_), measure]
        if missing := record.missing(round_, training.due):
            before = steps_per_epoch(len(data), config) * missing[0]
    folder = training.folder / f"round-{round_}/checkpoints"
    log = fit(model, prompts, data, folder, config, before=before, callbacks=callbacks)
    return log.assign(round=round_, examples=len(data), tokens=forward_tokens(prompts, data))


def measure_trained(training: _Training, policy: HuggingFaceOracle, evaluate: Evaluate) -> dict[str, float]:
    """The trained model's own greedy and best-of-N responses on the held-out prompts."""
    pool = sample_pool(
        policy, training.held_out, training.n_baseline, training.folder / "trained", seed=training.config.seed,
        identity=training.part, force=training.discards("trained"), progress=training.stage("trained model"),
    )  # fmt: skip
    return trained_decoding(pool, evaluate, training.held_out)


def finish(training: _Training, model, log: pd.DataFrame, base: dict, table: pd.DataFrame) -> None:
    """Write model, log, baselines and evaluation, and the mark by which the folder is finished."""
    folder = training.folder
    with saving(folder / "model"):
        save_trained(model, folder / "model")
        training.oracle.tokenizer.save_pretrained(folder / "model")
    write(folder / LOG_FILE, lambda at: log.to_parquet(at, index=False))
    write(folder / BASELINES, json.dumps(base, indent=1) + "\n")
    write(folder / EVALUATION, lambda at: table.to_parquet(at, index=False))
    mark(folder, [f"model/{name}" for name in files(folder / "model")] + list(RESULTS))


# Between the steps ----------------------------------------------------------------------------------------------------


class _Record:
    """Evaluations, each kept in ``evaluation.jsonl`` as soon as it is made, and made once."""

    def __init__(self, run: Run, measure: Evaluation):
        self.run, self.measure = run, measure
        with self._lines() as lines:
            self.rows = {(row["round"], row["epoch"]): row for row in lines.rows}

    def _lines(self):
        return self.run.lines("evaluation.jsonl", ("round", "epoch", *self.measure.fields))

    def __call__(self, round_: int, epoch: int, policy: HuggingFaceOracle) -> None:
        if (round_, epoch) not in self.rows:
            row = {"round": round_, "epoch": epoch, **self.measure(policy)}
            with self._lines() as lines:
                lines.write(row)
            self.rows[round_, epoch] = row

    def missing(self, round_: int, epochs: Sequence[int]) -> list[int]:
        """Those of a round that have not been measured."""
        return [epoch for epoch in epochs if (round_, epoch) not in self.rows]

    def table(self, last: dict[str, float]) -> pd.DataFrame:
        """A row per round and epoch, in order; the last row has further columns."""
        table = pd.DataFrame([self.rows[key] for key in sorted(self.rows)])
        return table.join(pd.DataFrame([last], index=table.index[-1:]))


class _Measure(TrainerCallback):
    """Measures the policy with the last step of each epoch that is due, and reports how far training is.

    The trainer calls its callbacks at the end of a step before it writes that step's checkpoint.
    """

    def __init__(self, measure: Callable[[int], None], model, progress: Callable[[int, int], None], due: Sequence[int]):
        self.measure, self.model, self.progress, self.due = measure, model, progress, due

    def on_step_end(self, args, state, control, **_):
        self.progress(state.global_step, state.max_steps)
        if state.epoch in self.due:
            self.model.eval()
            self.measure(int(state.epoch))
            self.model.train()


class _Clock(TrainerCallback):
    """Seconds in steps, without what callbacks do between them, into ``times.jsonl``: a line for each of the log."""

    def __init__(self, run: Run, round_: int):
        self.run, self.round, self.seconds = run, round_, 0.0

    def on_step_begin(self, args, state, control, **_):
        self.started = time.perf_counter()

    def on_step_end(self, args, state, control, **_):
        self.seconds += time.perf_counter() - self.started

    def on_log(self, args, state, control, logs, **_):
        if "loss" in logs:
            with self.run.lines("times.jsonl", ("round", "step", "seconds")) as lines:
                lines.write({"round": self.round, "step": state.global_step, "seconds": self.seconds})
            self.seconds = 0.0


def training_seconds(folder: str | Path) -> float:
    """Seconds in the steps of a training; of steps that were done again after a kill, those of the last time."""
    times = pd.read_json(Path(folder) / "times.jsonl", lines=True)
    return float(times.drop_duplicates(["round", "step"], keep="last")["seconds"].sum())


def oracle_around(oracle: HuggingFaceOracle, model) -> HuggingFaceOracle:
    """The same oracle of another model."""
    return HuggingFaceOracle(
        model, oracle.tokenizer, max_new_tokens=oracle.max_new_tokens, batch_tokens=oracle.batch_tokens, chat=oracle.chat,
        statistics=oracle.statistics,
    )  # fmt: skip
