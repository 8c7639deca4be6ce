"""Every way to decode side by side: accuracy and log-likelihood against the forward tokens they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from sharptheory.decoding import beam_search
from sharptheory.decoding.power import mcmc, smc
from sharptheory.llm.decoding.search import find_argmax
from sharptheory.llm.sampling import GROWS, fill_pool, first_prompts, pool_facts
from sharptheory.measure.alignment import across_methods
from sharptheory.measure.best_of_n import adaptive_weights, curve, doubling_grid
from sharptheory.measure.bootstrap import ANY, CONFIDENCE, DIFFERENCE, ENDS, Estimate, mean_over_prompts
from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from sharptheory.measure.prediction import predict_power
from sharptheory.measure.rewards import selecting
from sharptheory.measure.selection import borda_curve, majority_curve
from sharptheory.oracle import Response, TextOracle
from sharptheory.runs import Run, claim
from sharptheory.tasks import Task
from sharptheory.theory.adaptive import entry_time
from sharptheory.theory.laws import stopping_threshold

#: Prompts that share a prefix tree, and that a killed run loses at most.
CHUNK = 8
#: Samples from one population of particles: they tell its accuracy better than one would, at no cost.
SAMPLES = 8
#: Of the table, with their types.
COLUMNS = {
    "method": str,
    "setting": str,
    "prompt_id": int,
    "forward_tokens": float,
    "accuracy": float,
    "log_likelihood": float,
}


def compare_task(
    oracle: TextOracle,
    task: Task,
    folder: str | Path,
    *,
    n: int = 64,
    beams: Sequence[int] = (2, 4, 8),
    alphas: Sequence[float] = (2.0, 4.0),
    particles: Sequence[int] = (8, 32),
    steps: Sequence[int] = (8, 32),
    deltas: Sequence[float] = (0.5, 0.1, 0.01),
    budget: int = 1_000,
    judge: bool = False,
    seed: int = 0,
    identity: dict | None = None,
    force: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> pd.DataFrame:
    """Run all methods on a task; pool and decodings are kept in `folder`, and a killed run goes on where it was.

    Forward tokens count a prompt once and every response token that goes through the model once, however many responses
    share it. What a method of the pool costs and gives is averaged over all subsets of the pool.

    Args:
        n: samples of the pool that the best-of-N methods share. beams: widths. alphas: of power sampling, by `particles`
            (SMC) and `steps` (MCMC). deltas: of adaptive best-of-N. budget: prefixes of the argmax search.
        judge: also best-of-N by the model's own verdict, one more pass over every response (not counted).
        identity: further facts that make two runs different (model fingerprint, dtype …).
        progress: called with ``(stage, done, total)``.

    Returns:
        One row per method, setting and prompt: `method, setting, prompt_id, forward_tokens, log_likelihood, accuracy`; of
        the argmax search also whether it is `certified`, and of adaptive best-of-N whether the rule `stopped` by itself
        within the pool (else the best of the pool counts). The tilted law of each α, estimated from the pool, has no cost.
    """
    report = progress or (lambda *_: None)
    decoders = Decoders(list(beams), list(alphas), list(particles), list(steps), budget, seed)
    facts = pool_facts(oracle, task, n, seed=seed, judge=judge, identity=identity)
    facts |= {"content": "comparison", **asdict(decoders)}
    with claim(folder, facts, grows=GROWS, sized=partial(first_prompts, task), force=force) as run:
        pool = fill_pool(
            run, oracle, task, seed=seed, judge=judge, progress=lambda done, total: report("sampling", done, total)
        )
        decoded = decode(run, oracle, task, decoders, progress=lambda done, total: report("decoding", done, total))
    prompt_tokens = pd.Series([len(ids) for ids in oracle.encode(task.prompts)])
    return pd.concat([*from_pool(pool, prompt_tokens, deltas), decoded, *tilted(pool, alphas)], ignore_index=True)


def decode(
    run: Run, oracle: TextOracle, task: Task, decoders: Decoders, *, progress: Callable[[int, int], None]
) -> pd.DataFrame:
    """Rows of the methods that decode anew; a line of ``decodings.jsonl`` has those of the prompts decoded together."""
    with run.lines("decodings.jsonl", {"prompts": (list,), "rows": (list,)}) as lines:
        done = {tuple(line["prompts"]) for line in lines.rows}
        for chunk in _chunks(run.stages):
            progress(chunk[0], len(task.prompts))
            if tuple(chunk) not in done:
                lines.write({"prompts": chunk, "rows": decoders(oracle, task, chunk)})
        progress(len(task.prompts), len(task.prompts))
    found = {tuple(line["prompts"]): line["rows"] for line in lines.rows}
    rows = [row for chunk in _chunks(run.stages) for row in found[tuple(chunk)]]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "certified"]).astype(COLUMNS)
    parts = [group for _, group in table.groupby(["method", "setting"], sort=False)]
    return pd.concat(parts) if parts else table


def _chunks(stages: Sequence[dict]) -> Iterator[list[int]]:
    """Prompts that are decoded together: of what each stage of a run's growth added, a few at a time."""
    first = 0
    for stage in stages:
        for start in range(first, stage["n_prompts"], CHUNK):
            yield list(range(start, min(start + CHUNK, stage["n_prompts"])))
        first = stage["n_prompts"]


# Methods that select from the pool ------------------------------------------------------------------------------------


def from_pool(pool: Pool, prompt_tokens: pd.Series, deltas: Sequence[float]) -> Iterator[pd.DataFrame]:
    """Greedy decoding and every selection from the samples, exactly averaged over the subsets of the pool.

    Args:
        pool: with greedy responses and `length`.
        prompt_tokens: length of each prompt, by prompt_id; every method pays it once.
        deltas: of adaptive best-of-N.

    Yields:
        A frame per method and setting, a row per prompt; accuracy is NaN where a prompt has no gold answer.
    """
    lengths = pool.samples.groupby("prompt_id")["length"].mean()
    prompts = prompt_tokens.loc[lengths.index]
    greedy = pool.greedy.set_index("prompt_id")
    correct = greedy["correct"].astype("Float64") if "correct" in pool else np.nan
    yield _frame("greedy", "", prompts + greedy["length"], correct, greedy["log_likelihood"])
    sizes = doubling_grid(int(pool.sizes.min()))
    yield from _best_of_n(pool, sizes, prompts, lengths)
    yield from _votes(pool, sizes[sizes > 2], prompts, lengths)
    yield from _adaptive(pool, deltas, prompts, lengths)


def _frame(method: str, setting, forward_tokens, accuracy, log_likelihood) -> pd.DataFrame:
    """Rows of one method and setting, columns aligned by prompt_id."""
    columns = {"forward_tokens": forward_tokens, "accuracy": accuracy, "log_likelihood": log_likelihood}
    table = pd.DataFrame(columns).rename_axis("prompt_id").reset_index()
    return table.assign(method=method, setting=str(setting))[list(COLUMNS)].astype(COLUMNS)


def _best_of_n(pool: Pool, sizes, prompts: pd.Series, lengths: pd.Series) -> Iterator[pd.DataFrame]:
    """By every self-reward; N = 1 is sampling, whatever the reward."""
    for reward in selecting(pool):
        likelihoods = curve(pool, reward, "log_likelihood", sizes)
        accuracies = curve(pool, reward, "correct", sizes) if "correct" in pool else None
        for n in sizes:
            if n == 1 and reward.name != "log_likelihood":
                continue
            method = "sampling" if n == 1 else f"best-of-N, {reward.name.replace('_', ' ')}"
            accuracy = np.nan if accuracies is None else accuracies[n]
            yield _frame(method, n, prompts + n * lengths, accuracy, likelihoods[n])


def _votes(pool: Pool, sizes, prompts: pd.Series, lengths: pd.Series) -> Iterator[pd.DataFrame]:
    """Of two votes neither can win, so they begin at N = 4; a vote chooses an answer, which has no likelihood."""
    if "correct" not in pool or not pool["answer"].notna().any() or len(sizes) == 0:
        return
    votes = {"majority vote": majority_curve(pool, sizes)}
    if "self_certainty" in pool:
        votes["Borda vote, self certainty"] = borda_curve(pool, sizes)
    for method, accuracies in votes.items():
        for n in accuracies:
            yield _frame(method, n, prompts + n * lengths, accuracies[n], np.nan)


def _adaptive(pool: Pool, deltas: Sequence[float], prompts: pd.Series, lengths: pd.Series) -> Iterator[pd.DataFrame]:
    groups = dict(list(pool.samples.groupby("prompt_id")))
    for delta in deltas:
        found = {
            i: adaptive_weights(group["log_likelihood"].to_numpy(), stopping_threshold(delta))
            for i, group in groups.items()
        }
        mean = lambda column: pd.Series(  # noqa: E731
            {i: weights @ groups[i][column].to_numpy(dtype=float, na_value=np.nan) for i, (weights, _) in found.items()}  # noqa: B023
        )
        spent = pd.Series({i: n_samples for i, (_, n_samples) in found.items()}) * lengths
        accuracy = mean("correct") if "correct" in pool else np.nan
        rows = _frame("adaptive best-of-N", f"δ = {delta:g}", prompts + spent, accuracy, mean("log_likelihood"))
        # In whatever order the samples come: the likeliest of all M has then been seen, and lets the rule stop by then.
        stopped = {
            i: bool(entry_time(group["log_likelihood"].max(), stopping_threshold(delta)) <= len(group))
            for i, group in groups.items()
        }
        yield rows.assign(stopped=rows["prompt_id"].map(stopped).astype(object))


def tilted(pool: Pool, alphas: Sequence[float]) -> Iterator[pd.DataFrame]:
    """What the power laws themselves would give, estimated from the pool: where power sampling should arrive, at no cost."""
    for alpha in alphas:
        setting = f"α={alpha:g}, β={1 / (alpha - 1):.3g}" if alpha > 1 else "α=1"
        accuracy = predict_power(pool, alpha) if "correct" in pool else np.nan
        likelihood = predict_power(pool, alpha, value="log_likelihood")
        yield _frame("tilted law, from the pool", setting, np.nan, accuracy, likelihood)


# Methods that decode anew ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decoders:
    """Beam search, power sampling and argmax search; each starts with an empty tree of prefixes, as a user would."""

    beams: list[int]
    alphas: list[float]
    particles: list[int]
    steps: list[int]
    budget: int
    seed: int

    def __call__(self, oracle: TextOracle, task: Task, chunk: list[int]) -> list[dict]:
        """Rows of all of them on a few prompts together."""
        prompts = [task.prompts[i] for i in chunk]
        return [
            row
            for method, setting, responses, forward_tokens, *certified in self._decoded(oracle, prompts, chunk)
            for i, found, cost, proved in zip(chunk, responses, forward_tokens, *(certified or [[None] * len(chunk)]))
            if found  # a search that found no finished response within its budget has nothing to grade
            for row in [{"method": method, "setting": setting, "prompt_id": i, "forward_tokens": float(cost)}
                        | _graded(oracle, task, i, found) | ({} if proved is None else {"certified": proved})]
        ]  # fmt: skip

    def _decoded(self, oracle: TextOracle, prompts: list[str], chunk: list[int]) -> Iterator[tuple]:
        """Method, setting, and of each prompt its responses, the tokens they cost, and whether a search is certified."""
        stop, limit = oracle.stop_ids, oracle.max_new_tokens

        def law(tree):
            """By the prompts' own numbers, which seed what is random."""
            return lambda numbers, prefixes: tree([i - chunk[0] for i in numbers], prefixes)

        for width in self.beams:
            tree = oracle.next_token(prompts)
            found = beam_search(law(tree), stop, chunk, width=width, max_tokens=limit)
            yield "beam search", str(width), [[Response(*ranked[0])] for ranked in found], tree.forward_tokens
        for alpha in self.alphas:
            for k in self.particles:
                tree, few = oracle.next_token(prompts), min(SAMPLES, k)
                found = smc(
                    law(tree), stop, chunk, alpha=alpha, samples=few, particles=k, max_tokens=limit, seed=self.seed
                )
                yield f"power α = {alpha:g}, SMC", f"{k} particles", found.responses, tree.forward_tokens
            for length in self.steps:
                tree = oracle.next_token(prompts)
                found = mcmc(
                    law(tree), stop, chunk, alpha=alpha, chains=1, steps=length, max_tokens=limit, seed=self.seed
                )
                yield f"power α = {alpha:g}, MCMC", f"{length} steps", found.responses, tree.forward_tokens
        found = [find_argmax(oracle, x, budget=self.budget, seed=self.seed + i) for i, x in zip(chunk, prompts)]
        best = [[] if result.tokens is None else [Response(result.tokens, min(result.log_p, 0.0))] for result in found]
        costs, certified = [result.forward_tokens for result in found], [result.certified for result in found]
        yield "argmax search", f"{self.budget} prefixes", best, costs, certified


def _graded(oracle: TextOracle, task: Task, i: int, responses: list[Response]) -> dict:
    """Means over the responses to prompt i; no accuracy without a gold answer."""
    grades = [task.grade(oracle.decode(response.tokens), task.answers[i])[1] for response in responses]
    return {
        "log_likelihood": float(np.mean([response.log_likelihood for response in responses])),
        "accuracy": None if None in grades else float(np.mean(grades)),
    }


# Summaries ------------------------------------------------------------------------------------------------------------


def alignment(table: pd.DataFrame, *, seed: int = 0) -> Estimate | None:
    """Across all methods with a cost: whether the likelier is the more accurate (`alignment.across_methods`)."""
    paid = table[table["forward_tokens"].notna()].dropna(subset=["accuracy", "log_likelihood"])
    accuracy, likelihood = (
        paid.pivot_table(index="prompt_id", columns=["method", "setting"], values=column).dropna(axis=1)
        for column in ("accuracy", "log_likelihood")
    )
    shared = accuracy.columns.intersection(likelihood.columns)
    if len(shared) < 2:
        return None
    return across_methods(likelihood[shared].to_numpy(), accuracy[shared].to_numpy(), seed=seed)


def n_mixed(table: pd.DataFrame) -> int:
    """On how many prompts samples are correct and incorrect, so that it matters how one selects."""
    accuracy = table.loc[(table["method"] == "sampling") & (table["setting"] == "1"), "accuracy"]
    return int(accuracy.between(1e-9, 1 - 1e-9).sum())


def cut_share(folder: Path) -> float:
    """Share of the pool of a comparison that the length budget has cut, and whose likelihoods are those of prefixes."""
    return float(1 - read_pool(folder / "pool.parquet").finished.mean())


def n_certified(table: pd.DataFrame) -> int:
    """On how many prompts the argmax search proved its response to be the argmax."""
    return int(table["certified"].eq(True).sum())


def counted(summary: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The summary, and on how many prompts of a setting its method is what it is called.

    `n_certified`: the argmax search proved its response to be the argmax; `n_stopped`: adaptive best-of-N stopped by
    itself within the pool. Missing of other methods. Both are at most `n_prompts`, those on which the method found a
    finished response, which the means of its row are over.
    """
    groups = table.groupby(["method", "setting"], sort=False)
    counts = pd.DataFrame({
        f"n_{kind}": groups[kind].apply(lambda flags: flags.eq(True).sum() if flags.notna().any() else pd.NA)
        for kind in ("certified", "stopped")
    }).astype("Int64")  # fmt: skip
    return summary.merge(counts.reset_index(), on=["method", "setting"], how="left")


#: The method that every other one is compared with, and its setting.
BASELINE = ("greedy", "")


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Means over prompts per method and setting, with bootstrap intervals, and their differences from greedy decoding.

    ``accuracy_over_greedy`` and ``log_likelihood_over_greedy`` are over the prompts that both have, paired; their
    intervals hold together for all methods (Bonferroni). Missing for greedy decoding itself and where nothing is known.
    """
    groups = dict(list(table.set_index("prompt_id").groupby(["method", "setting"], sort=False)))
    greedy = groups.get(BASELINE)
    rows = []
    for (method, setting), group in groups.items():
        row = {"method": method, "setting": setting, "n_prompts": len(group)}
        row["forward_tokens"] = group["forward_tokens"].mean()
        for column in ("accuracy", "log_likelihood"):
            row |= _mean(group[column], ends=ENDS[column]).columns(column)
            over = Estimate.unknown()
            if greedy is not None and (method, setting) != BASELINE:
                # Of a group whose values are all unknown there is nothing to compare.
                others = sum(each[column].notna().any() for key, each in groups.items() if key != BASELINE)
                over = _mean(
                    group[column] - greedy[column],
                    ends=DIFFERENCE if column == "accuracy" else ANY,
                    confidence=1 - (1 - CONFIDENCE) / max(others, 1),
                )
            row |= over.columns(f"{column}_over_greedy")
        rows.append(row)
    return pd.DataFrame(rows)


def _mean(per_prompt: pd.Series, **options) -> Estimate:
    """Over the prompts with a value."""
    known = per_prompt.dropna().to_numpy(dtype=float)
    return mean_over_prompts(known, **options) if len(known) else Estimate.unknown()
