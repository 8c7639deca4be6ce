"""The most likely response of a language model, with a proof: best-first search over prefixes.

A prefix's probability bounds that of every completion. So once no open prefix is likelier than the best finished
response, that response is ``y*(x)``; until then the likeliest open prefix bounds ``p*`` from above.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from sharptheory.decoding import beam_search
from sharptheory.decoding.best_first import Argmax, best_first
from sharptheory.llm.sampling import first_prompts
from sharptheory.measure.certificate import mean_at_least
from sharptheory.measure.responses import LIKELIHOOD_NOISE
from sharptheory.oracle import TextOracle
from sharptheory.runs import claim
from sharptheory.tasks import Task

NUMBER, NOTHING = (int, float), type(None)
#: What is kept of a search, and the types that it has in JSON.
ROW = {
    "prompt_id": (int,), "prompt": (str,), "response": (str, NOTHING), "tokens": (list, NOTHING), "correct": (bool, NOTHING),
    "log_p": (*NUMBER, NOTHING), "log_upper": NUMBER, "certified": (bool,), "complete": (bool,), "log_q": (*NUMBER, NOTHING),
    "n_maximizers": (int, NOTHING), "log_runner_up": (*NUMBER, NOTHING), "greedy_log_p": (*NUMBER, NOTHING),
    "greedy_correct": (bool, NOTHING), "greedy_is_argmax": (bool,), "expanded": (int,), "forward_tokens": NUMBER,
}  # fmt: skip


def find_argmax(
    oracle: TextOracle,
    prompt: str,
    *,
    samples: int = 16,
    beams: int = 4,
    seed: int = 0,
    **options,
) -> Argmax:
    """`best_first` on one prompt of a model, seeded by beam search (which `beams=1` makes greedy) and by samples.

    Args:
        samples: how many to seed the search with; beams: width of the beam search that seeds it; seed: of the samples.
        cached: keep the model's key-value cache of open prefixes; otherwise compute each prefix anew.
        options: budget, gamma, keep, batch, tolerance of `best_first`.

    Returns:
        As `best_first`, with the forward tokens of the seeds too.
    """
    tree = oracle.next_token([prompt], remember=False)
    [found] = beam_search(tree, oracle.stop_ids, [0], width=beams, max_tokens=oracle.max_new_tokens)
    seeds = [(tokens, log_p) for tokens, log_p in found if tokens[-1] in oracle.stop_ids]
    sampled = oracle.sample([prompt], samples, seed=seed)[0] if samples else []
    seeds += [(response.tokens, response.log_likelihood) for response in sampled if response.finished]
    result = best_first(tree, oracle.stop_ids, max_tokens=oracle.max_new_tokens, seeds=seeds, **options)
    sampled_tokens = sum(len(response.tokens) for response in sampled)
    return replace(result, forward_tokens=int(tree.forward_tokens[0]) + sampled_tokens)


def search_task(
    oracle: TextOracle,
    task: Task,
    folder: str | Path,
    *,
    gamma: float = 0.0,
    budget: int = 1_000,
    samples: int = 16,
    seed: int = 0,
    identity: dict | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Search every prompt of a task; each is kept in ``folder/argmax.jsonl`` as it is found.

    A folder that holds this run, or one of fewer prompts, is gone on with; a different run is refused.

    Args:
        gamma: of ``y*_γ``, whose members are all searched. budget: most prefixes per prompt. samples: seeds per prompt.
        seed: prompt i is searched with ``seed + i``.
        identity: further facts that make two runs different (model fingerprint, dtype …).
        force: discard whatever run the folder holds. progress: called with ``(prompts done, prompts in all)``.

    Returns:
        One row per prompt: `response, tokens, correct, log_p, log_upper, certified`; `log_q` and `n_maximizers` of ``y*_γ`` and
        `log_runner_up`, the likeliest response outside ``y*``, where `complete`; `greedy_log_p, greedy_correct`,
        `greedy_is_argmax`; `expanded`, `forward_tokens`.

    Raises:
        UserError: the folder holds a different run, is in use, or is damaged.
    """
    facts = {
        "content": "argmax",
        **(identity or {}),
        "task": task.name,
        "seed": seed,
        "n_prompts": len(task.prompts),
        "gamma": gamma,
        "budget": budget,
        "samples": samples,
        "max_new_tokens": oracle.max_new_tokens,
    }
    report = progress or (lambda *_: None)
    with (
        claim(folder, facts, grows=("n_prompts",), sized=partial(first_prompts, task), force=force) as run,
        run.lines("argmax.jsonl", ROW) as lines,
    ):
        done = {row["prompt_id"] for row in lines.rows}
        for i in range(len(task.prompts)):
            report(i, len(task.prompts))
            if i not in done:
                lines.write(search_row(oracle, task, i, gamma=gamma, budget=budget, samples=samples, seed=seed + i))
        report(len(task.prompts), len(task.prompts))
    found = {row["prompt_id"]: row for row in lines.rows}
    rows = pd.DataFrame([found[i] for i in range(len(task.prompts))], columns=list(ROW))
    return rows.astype({"correct": "boolean", "greedy_correct": "boolean"})


def search_row(oracle: TextOracle, task: Task, i: int, *, gamma: float, **options) -> dict:
    """The row of prompt i."""
    # Two responses at least: the runner-up gives the margin.
    found = find_argmax(oracle, task.prompts[i], gamma=gamma, keep=2, **options)
    text = None if found.tokens is None else oracle.decode(found.tokens)
    return {
        "prompt_id": i,
        "prompt": task.prompts[i],
        "response": text,
        "tokens": None if found.tokens is None else list(found.tokens),
        "correct": None if text is None else task.grade(text, task.answers[i])[1],
        "log_p": _finite(found.log_p),
        "log_upper": found.log_upper,
        "certified": found.certified,
        **_maximizers(found, gamma),
        **_greedy(oracle, task, i, found),
        "expanded": found.expanded,
        "forward_tokens": found.forward_tokens,
    }


def _maximizers(found: Argmax, gamma: float) -> dict:
    """Mass and number of ``y*_γ``, and the likeliest response outside ``y*``, where they are proved to be complete."""
    known = found.certified and found.complete
    members = [log_p for _, log_p in found.responses if log_p >= found.log_p + np.log1p(-gamma) - LIKELIHOOD_NOISE]
    outside = [log_p for _, log_p in found.responses if log_p < found.log_p - LIKELIHOOD_NOISE]
    return {
        "complete": known,
        "log_q": float(np.logaddexp.reduce(members)) if known else None,
        "n_maximizers": len(members) if known else None,
        "log_runner_up": max(outside) if known and outside else None,
    }


def _greedy(oracle: TextOracle, task: Task, i: int, found: Argmax) -> dict:
    """Greedy decoding, and whether it is the argmax: the same tokens, or another of its likelihood."""
    [greedy] = oracle.greedy([task.prompts[i]])
    tied = greedy.log_likelihood >= found.log_p - LIKELIHOOD_NOISE
    return {
        "greedy_log_p": greedy.log_likelihood if greedy.finished else None,
        "greedy_correct": task.grade(oracle.decode(greedy.tokens), task.answers[i])[1],
        "greedy_is_argmax": greedy.finished and (tuple(greedy.tokens) == found.tokens or tied),
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def summarize(table: pd.DataFrame, gamma: float) -> dict:
    """Exact coverage of the certified prompts, bounds on all of them, and what the argmax is worth.

    Args:
        table: as `search_task` returns it. gamma: it was searched with.

    Returns:
        Over the `n_certified` prompts, `c_cov_bar` (mean of ``1/p*``) and the share whose `greedy_is_argmax`; over all prompts
        `c_cov_bar_at_least`, the same mean with the upper bound on ``p*`` where the search was cut off; of the prompts as a
        sample of their kind, `c_cov_all_at_least`, a lower 95 % confidence bound on it that holds for every law of prompts
        (`sharptheory.measure.certificate.mean_at_least`); over the certified ones with a gold answer,
        `n_certified_graded`, `argmax_accuracy` and `greedy_accuracy_certified`; over the
        `n_complete` ones, where ``y*_γ`` is known as a whole, `c_cov_gamma` (mean of ``1/q_γ``); over the `n_margins` of them
        that have a runner-up, the `margin` (that of the least clear prompt, Assumption 4.2) and `median_margin`; over all
        `n_graded` with a gold answer, `greedy_accuracy`; numbers of prefixes expanded. None where nothing is known.
    """
    certified, complete = table[table["certified"]], table[table["complete"].astype(bool)]
    mean_inverse = lambda log_p: np.exp(-log_p.to_numpy(dtype=float)).mean() if len(log_p) else None  # noqa: E731
    share = lambda values: float(values.mean()) if values.notna().any() else None  # noqa: E731
    with np.errstate(over="ignore"):
        inverse = np.exp(-np.minimum(table["log_upper"].to_numpy(dtype=float), 0.0))
        margins = np.expm1((complete["log_p"] - complete["log_runner_up"].astype(float)).dropna().to_numpy(dtype=float))
        return {
            "n_prompts": len(table),
            "n_certified": len(certified),
            "n_complete": len(complete),
            "n_margins": len(margins),
            "n_graded": int(table["greedy_correct"].notna().sum()),
            "n_certified_graded": int(certified["correct"].notna().sum()),
            "gamma": gamma,
            "c_cov_bar": mean_inverse(certified["log_p"]),
            "c_cov_bar_at_least": inverse.mean(),
            "c_cov_all_at_least": mean_at_least(inverse),
            "c_cov_gamma": mean_inverse(complete["log_q"]),
            "margin": float(margins.min()) if len(margins) else None,
            "median_margin": float(np.median(margins)) if len(margins) else None,
            "greedy_is_argmax": float(certified["greedy_is_argmax"].mean()) if len(certified) else None,
            "argmax_accuracy": share(certified["correct"]),
            "greedy_accuracy_certified": share(certified["greedy_correct"]),
            "greedy_accuracy": share(table["greedy_correct"]),
            "median_expanded": float(table["expanded"].median()),
            "max_expanded": int(table["expanded"].max()),
        }
