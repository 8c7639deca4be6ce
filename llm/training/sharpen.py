"""`sharptheory train`: sample, select, train, measure; round after round, and on from wherever it was killed."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import TrainerCallback

from sharptheory.errors import UserError
from sharptheory.llm.decoding.search import search_task
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.sampling import sample_pool, task_identity
from sharptheory.llm.training.config import Config
from sharptheory.llm.training.examples import check_origin, examples
from sharptheory.llm.training.fit import add_lora, fit, forward_tokens, process_state
from sharptheory.measure.best_of_n import curve
from sharptheory.measure.bootstrap import bootstrap_mean
from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from sharptheory.runs import refuse_other_run
from sharptheory.tasks import Task


class Evaluation:
    """Measures a policy at temperature 1 on held-out prompts, on the axes of the paper's Figs 7-9 and Table 1.

    Args:
        oracle: the base model's, `n` samples per prompt of which are the base line.
        argmax: of `search_task` on the same prompts; where certified, the mass that training puts on it is exact.
    """

    def __init__(self, oracle: HuggingFaceOracle, task: Task, *, n: int, argmax: pd.DataFrame | None, seed: int = 0):
        self.base, self.task, self.n, self.argmax, self.seed = oracle, task, n, argmax, seed

    def __call__(self, oracle: HuggingFaceOracle) -> dict:
        """Accuracy, log-likelihood under the base model, entropy, distinct responses, length, mass on the argmax."""
        task = self.task
        drawn = oracle.sample(task.prompts, self.n, seed=self.seed + 1)
        under_base = self.base.evaluate(task.prompts, [[response.tokens for response in row] for row in drawn])
        graded = [
            [task.grade(oracle.decode(response.tokens), gold)[1] for response in row]
            for row, gold in zip(drawn, task.answers)
        ]
        columns = {
            "log_likelihood": np.stack(under_base).mean(axis=1),
            "entropy": -np.array([[response.log_likelihood for response in row] for row in drawn]).mean(axis=1),
            "distinct": np.array([len({response.tokens for response in row}) / len(row) for row in drawn]),
            "length": np.array([[len(response.tokens) for response in row] for row in drawn]).mean(axis=1),
        }
        if None not in graded[0]:
            right = np.array(graded, dtype=float)
            columns["accuracy"] = right.mean(axis=1)
            columns["pass_at_n"] = right.max(axis=1)
        if self.argmax is not None:
            known = self.argmax[self.argmax["certified"]]
            prompts = [task.prompts[i] for i in known["prompt_id"]]
            mass = oracle.evaluate(prompts, [[tuple(tokens)] for tokens in known["tokens"]])
            columns["argmax_mass"] = np.exp(np.concatenate(mass)) if len(prompts) else np.zeros(0)
            # Definition 3.1: a prompt is sharpened where π(y*|x) ≥ 1-δ.
            columns |= {f"sharpened_{delta:g}": 1.0 * (columns["argmax_mass"] >= 1 - delta) for delta in (0.5, 0.1)}
        row = {}
        for name, values in columns.items():
            if len(values) == 0:
                continue
            share = name in ("accuracy", "pass_at_n", "argmax_mass") or name.startswith("sharpened")
            row |= bootstrap_mean(values, proportion=share, seed=self.seed).columns(name)
        return row


class _Measure(TrainerCallback):
    """Evaluates at the end of epochs and tells how far training is."""

    def __init__(self, evaluate: Callable[[int, object], None], told: Callable[[str, int, int], None], every: int):
        self.evaluate, self.told, self.every = evaluate, told, every

    def on_step_end(self, args, state, control, **_):
        self.told("training", state.global_step, state.max_steps)

    def on_epoch_end(self, args, state, control, model=None, **_):
        epoch = round(state.epoch)
        if state.is_world_process_zero and (epoch % self.every == 0 or epoch == args.num_train_epochs):
            model.eval()
            self.evaluate(epoch, model)
            model.train()


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
    n_base: int | None = None,
    eval_every: int = 1,
    certify: bool = True,
    base_lines: str | Path | None = None,
    identity: dict | None = None,
    force: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[pd.DataFrame, dict]:
    """Train a model on its own responses; the folder keeps pool, checkpoints, log, evaluation and the trained model.

    Args:
        oracle: of the base model, which is left as it is.
        task: prompts to learn from. held_out: prompts to measure on.
        pool: samples for the first round instead of drawing them; refused if they are not this model's, unless
            `foreign`, which scores them all under this model first (selection of the likeliest foreign response).
        n_eval: samples per held-out prompt and evaluation; n_base: of the base model, the N of the best-of-N to compare with,
            default `config.n_samples` or `n_eval`, whichever is larger. eval_every: epochs between evaluations.
        certify: also search each held-out prompt's argmax, so that the mass on it is measured.
        base_lines: where the base model's argmax and samples on the held-out prompts are kept, for runs that share them;
            default `folder`.

    Returns:
        The evaluation (a row per round and epoch; epoch 0 is the base model) and the base lines.
    """
    folder, told = Path(folder), progress or (lambda *_: None)
    shared = folder if base_lines is None else Path(base_lines)
    run = {**(identity or {}), **asdict(config), **task_identity(task), "held_out": task_identity(held_out)["prompts"],
           "pool": None if pool is None else str(Path(pool).resolve()), "foreign": foreign}  # fmt: skip
    # With several processes the main one samples and writes; the others wait, then read what it wrote.
    process, table = process_state(), None
    with process.main_process_first():
        _claim(folder, run, force=force and process.is_main_process)
        if certify:
            table = search_task(
                oracle, held_out, shared / "argmax.jsonl", identity=identity, seed=config.seed,
                progress=lambda done, total: told("certifying", done, total),
            )  # fmt: skip
        baseline_pool = sample_pool(
            oracle, held_out, n_base or max(config.n_samples, n_eval), shared / "baseline", seed=config.seed, identity=identity,
            progress=lambda done, total: told("base lines", done, total),
        )  # fmt: skip
    measure = Evaluation(oracle, held_out, n=n_eval, argmax=table, seed=config.seed)
    kept = folder / "evaluation.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []

    def record(round_: int, epoch: int, policy: HuggingFaceOracle) -> None:
        if any((row["round"], row["epoch"]) == (round_, epoch) for row in rows):
            return
        rows.append({"round": round_, "epoch": epoch, **measure(policy)})
        with kept.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")

    if process.is_main_process:
        record(0, 0, oracle)
    policy, found, logs = oracle, [], []
    prompts = oracle.encode(task.prompts)
    for round_ in range(1, config.rounds + 1):
        place = folder / f"round-{round_}"
        if round_ == 1 and pool is not None:
            drawn = _given(pool, oracle, task, foreign=foreign)
        else:
            with process.main_process_first():
                drawn = sample_pool(
                    policy, task, config.n_samples, place, seed=config.seed + 1000 * round_, identity=identity,
                    judge=config.reward == "p_true",
                    progress=lambda done, total: told("sampling", done, total),
                )  # fmt: skip
        drawn = drawn.take(drawn["prompt_id"].isin(range(len(task.prompts))))
        drawn = _referenced(drawn, oracle, task, fresh=policy is oracle)
        if round_ == 1:
            base = drawn.samples.assign(source="base")
        elif config.method == "xpo":
            drawn = Pool(pd.concat([drawn.samples, base], ignore_index=True), drawn.greedy)
        fresh = examples(
            config.method, drawn, reward=config.reward, beta=config.beta, delta=config.delta, n=config.n,
            optimism=config.optimism, seed=config.seed + round_,
        )  # fmt: skip
        # XPO's regression is over all rounds so far; the others learn from the current one.
        found = found + fresh if config.method == "xpo" else fresh
        model = copy.deepcopy(policy.model)
        if config.lora_rank:
            model = add_lora(model, config.lora_rank, seed=config.seed)
        callback = _Measure(
            lambda epoch, trained, round_=round_: record(round_, epoch, _oracle_like(oracle, trained)), told, eval_every
        )
        log = fit(
            model, prompts, found, place / "checkpoints", beta=config.beta, epochs=config.epochs,
            learning_rate=config.learning_rate, batch_size=config.batch_size, max_grad_norm=config.max_grad_norm,
            weight_decay=config.weight_decay, seed=config.seed, callbacks=[callback],
        )  # fmt: skip
        logs.append(log.assign(round=round_, examples=len(found), tokens=forward_tokens(prompts, found)))
        if config.lora_rank:
            model = model.merge_and_unload()
        policy = _oracle_like(oracle, model)
    evaluation = pd.DataFrame(rows)
    if process.is_main_process:
        policy.model.save_pretrained(folder / "model")
        oracle.tokenizer.save_pretrained(folder / "model")
        pd.concat(logs, ignore_index=True).to_parquet(folder / "log.parquet", index=False)
        evaluation.to_parquet(folder / "evaluation.parquet", index=False)
    return evaluation, baselines(baseline_pool, table)


def baselines(pool: Pool, argmax: pd.DataFrame | None = None) -> dict:
    """What the base model gives without training: one sample, greedy decoding, best-of-N, and the certified argmax."""
    n = int(pool.sizes.min())
    values = {"n": n}
    columns = ["log_likelihood"] + ["correct"] * ("correct" in pool)
    for column in columns:
        name = "accuracy" if column == "correct" else column
        best = curve(pool, "log_likelihood", column, [1, n]).mean()
        values |= {f"sampled_{name}": float(best.iloc[0]), f"best_of_n_{name}": float(best.iloc[-1])}
        values[f"greedy_{name}"] = float(pool.greedy[column].astype(float).mean())
    if argmax is not None and argmax["certified"].any():
        known = argmax[argmax["certified"]]
        values["argmax_mass"] = float(np.exp(known["log_p"].astype(float)).mean())
        values["certified"] = float(argmax["certified"].mean())
    return values


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


def _oracle_like(oracle: HuggingFaceOracle, model) -> HuggingFaceOracle:
    return HuggingFaceOracle(
        model, oracle.tokenizer, max_new_tokens=oracle.max_new_tokens, batch_tokens=oracle.batch_tokens, chat=oracle.chat,
        statistics=oracle.statistics,
    )  # fmt: skip


def _given(path: str | Path, oracle: HuggingFaceOracle, task: Task, *, foreign: bool) -> Pool:
    """A pool from a file, re-scored by this model if it is another's."""
    pool = read_pool(path)
    if foreign and "tokens" not in pool and "response" in pool:
        eos = min(oracle.stop_ids)
        encode = lambda text: [*oracle.tokenizer(text, add_special_tokens=False)["input_ids"], eos]  # noqa: E731
        pool = pool.assign(tokens=pool["response"].map(encode))
    if "tokens" not in pool:
        raise UserError(
            f"{path}: column 'tokens' is missing; training needs the token ids (or --foreign and 'response')"
        )
    tokens, vocabulary = pool["tokens"], len(oracle.tokenizer)
    if (alien := tokens.map(max) >= vocabulary).any():
        i = int(np.flatnonzero(alien)[0])
        raise UserError(
            f"{path}: sample {i} has token {max(tokens.iloc[i])} but this tokenizer has {vocabulary}; the pool is of a model "
            "with another tokenizer: drop column 'tokens' and use --foreign, which tokenises 'response' anew"
        )
    last = max(pool["prompt_id"])
    if last >= len(task.prompts):
        raise UserError(
            f"{path}: prompt_id {last} is beyond the {len(task.prompts)} prompts of the task; raise --prompts"
        )
    if "prompt" in pool:
        asked = pool["prompt_id"].map(dict(enumerate(task.prompts)))
        if (bad := (pool["prompt"] != asked) & pool["prompt"].notna()).any():
            i = int(np.flatnonzero(bad)[0])
            raise UserError(
                f"{path}: sample {i} asks {pool['prompt'].iloc[i]!r}, prompt {pool['prompt_id'].iloc[i]} of the task is "
                f"{asked.iloc[i]!r}; use the task and seed it was drawn with"
            )
    if foreign:
        return _scored(pool, oracle, task)
    if not check_origin(oracle, task.prompts, pool):
        raise UserError(
            f"{path}: its log-likelihoods are not this model's; give the model that drew it, or --foreign to score it anew"
        )
    return pool


def _scored(pool: Pool, oracle: HuggingFaceOracle, task: Task) -> Pool:
    """The samples with this model's log-likelihoods; responses that it cannot have said are left out."""
    ids, rows = zip(*((i, group) for i, group in pool.samples.groupby("prompt_id")))
    scores = oracle.evaluate([task.prompts[i] for i in ids], [[tuple(t) for t in group["tokens"]] for group in rows])
    scored = pd.concat([group.assign(log_likelihood=np.minimum(values, 0.0)) for group, values in zip(rows, scores)])
    return Pool.from_frame(scored[np.isfinite(scored["log_likelihood"])])


def _referenced(pool: Pool, oracle: HuggingFaceOracle, task: Task, *, fresh: bool) -> Pool:
    """`log_likelihood` and `reference` both the base model's: the self-reward of every round is that of the base."""
    if not fresh:
        pool = _scored(pool, oracle, task)
    return pool.assign(reference=pool["log_likelihood"])
