"""The paper's protocol at inference: models × tasks, best-of-N against greedy decoding, and each finding put to the test.

    python -m experiments.paper [--quick]
    python -m experiments.reproduce --model ./my-model --task gsm8k --data path/to/gsm8k    # the same for a model of yours

Temperature 1, one pool per setting, smaller N from the same pool, greedy decoding as the base line, as in section 5 of arXiv
2412.01951; our models are small, and their problems come shorter than, as, and longer than those they were trained on. Where the
argmax is certified, what theory allows is exact.
"""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from experiments import record
from sharptheory.llm.decoding.search import search_task
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.engines.loading import fingerprint, load_model, quiet_transformers
from sharptheory.llm.sampling import sample_pool
from sharptheory.measure.alignment import auc_within, dominance
from sharptheory.measure.best_of_n import curve
from sharptheory.measure.bootstrap import ANY, PROPORTION, mean_over_prompts
from sharptheory.measure.pool import Pool
from sharptheory.measure.selection import accuracy_curves
from sharptheory.tasks import load_task
from sharptheory.theory import laws

WORK = Path(__file__).parents[1] / "out/paper"
#: Gains smaller than this many points of accuracy do not matter to a reader.
NEGLIGIBLE = 0.02


@dataclass(frozen=True)
class Setting:
    """A model on a task; `label` is how hard the task is for it, `data` the official file of a task that has one."""

    model: str
    task: str
    label: str
    data: str | None = None


SETTINGS = (
    Setting("arithmetic-1m", "arithmetic:min_terms=2,max_terms=3", "shorter"),
    Setting("arithmetic-1m", "arithmetic", "as trained"),
    Setting("arithmetic-1m", "arithmetic:min_terms=6,max_terms=7", "longer"),
    Setting("multihop-1m", "multihop:min_hops=1,max_hops=2,distractors=1", "shorter"),
    Setting("multihop-1m", "multihop", "as trained"),
    Setting("multihop-1m", "multihop:min_hops=5,max_hops=6", "longer"),
)


@dataclass(frozen=True)
class Config:
    settings: tuple = SETTINGS
    n_prompts: int = 256
    n_samples: int = 50
    budget: int = 1_000
    seed: int = 0


def compute(config: Config, work: Path | None = None) -> pd.DataFrame:
    """Rows of the panels ``curve``, ``theory``, ``samples`` and ``finding`` for every setting; resumable in `work`."""
    work = work or (WORK if config.n_prompts >= 100 else Path(tempfile.mkdtemp()))
    jobs = [(setting, config, work) for setting in config.settings]
    return pd.concat(record.parallel(measure, jobs), ignore_index=True)


def measure(setting: Setting, config: Config, work: Path) -> pd.DataFrame:
    """One setting: pool, certified argmax, and all that follows from them."""
    quiet_transformers()
    name = Path(setting.model).name
    model, tokenizer = load_model(setting.model)
    task = load_task(setting.task, config.n_prompts, seed=config.seed, data=setting.data)
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=task.max_new_tokens)
    folder = work / re.sub(r"[^\w.]+", "-", f"{name}-{setting.label}")
    identity = {"model": fingerprint(setting.model, model)}
    pool = sample_pool(oracle, task, config.n_samples, folder, seed=config.seed, identity=identity)
    argmax = search_task(oracle, task, folder / "argmax", budget=config.budget, seed=config.seed, identity=identity)
    greedy = pool.greedy.set_index("prompt_id")
    n = np.unique([k for k in (1, 2, 3, 5, 7, 10, 16, 25, 35, config.n_samples) if k <= config.n_samples])
    parts = [
        lift_curves(pool, greedy, n, config.seed),
        theory(pool, argmax, n, config.seed),
        pool.samples[["log_likelihood", "correct"]].astype({"log_likelihood": np.float32, "correct": bool}).assign(panel="samples")
        .sample(min(5_000, len(pool.samples)), random_state=config.seed),
        findings(pool, greedy, config.seed),
    ]  # fmt: skip
    print(f"{name} on {setting.task}: {len(task.prompts)} prompts measured", flush=True)
    return pd.concat(parts, ignore_index=True).assign(model=name, task=setting.task, label=setting.label)


def lift_curves(pool: Pool, greedy: pd.DataFrame, n: np.ndarray, seed: int) -> pd.DataFrame:
    """Accuracy of every reward's best-of-N, its lift over greedy decoding in points, and the same of log-likelihood."""
    base = greedy["correct"].astype(float)
    rows = []
    for reward, table in accuracy_curves(pool, n, seed=seed).items():
        likelihood = curve(pool, "log_likelihood", "log_likelihood", n) if reward == "log_likelihood" else None
        for k in table.columns:
            row = {"panel": "curve", "reward": reward, "n": int(k), "greedy_accuracy": base.mean()}
            row |= _estimate("accuracy", table[k], ends=PROPORTION, seed=seed)
            row |= _estimate("lift", table[k] - base[table.index], seed=seed)
            if likelihood is not None:
                row |= _estimate("log_likelihood", likelihood[k], seed=seed)
                row |= _estimate("log_likelihood_lift", likelihood[k] - greedy["log_likelihood"], seed=seed)
            rows.append(row)
    return pd.DataFrame(rows)


def theory(pool: Pool, argmax: pd.DataFrame, n: np.ndarray, seed: int) -> pd.DataFrame:
    """On the certified prompts, what the exact law of best-of-N allows, and what the pool measures there.

    With ``h = 1 - (1-p*)^N`` the probability of the argmax and c* whether it is correct, accuracy lies between ``c* h`` and
    ``c* h + 1 - h``, and tends to c*.
    """
    known = argmax[argmax["certified"]].set_index("prompt_id")
    if known.empty:
        return pd.DataFrame()
    best, right = np.exp(known["log_p"].astype(float)), known["correct"].astype(float)
    measured = curve(pool.take(pool["prompt_id"].isin(known.index)), "log_likelihood", "correct", n)
    rows = []
    for k in n:
        hit = laws.best_of_n_hit(best, k)
        rows.append(
            {"panel": "theory", "n": int(k), "law_hit": hit.mean(), "law_low": (right * hit).mean(),
             "law_high": (right * hit + 1 - hit).mean(), "limit": right.mean(), "coverage": (1 / best).mean(),
             "greedy_accuracy": known["greedy_correct"].astype(float).mean(), "certified": len(known) / len(argmax)}
            | _estimate("accuracy", measured[k], ends=PROPORTION, seed=seed)
        )  # fmt: skip
    return pd.DataFrame(rows)


def findings(pool: Pool, greedy: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Each finding of the paper as an estimate with its interval and a verdict: held, contrary, or not shown."""
    last = int(pool.sizes.min())
    some = min(16, last // 2)
    accuracy = curve(pool, "log_likelihood", "correct", np.unique([1, some, last]))
    likelihood = curve(pool, "log_likelihood", "log_likelihood", [1, last])
    base = greedy["correct"].astype(float)[accuracy.index]
    rows = [
        _finding("log-likelihood rises with N", likelihood[last] - likelihood[1], seed, unit="nats"),
        _finding("best-of-N is likelier than greedy", likelihood[last] - greedy["log_likelihood"], seed, unit="nats"),
        _finding("best-of-N is more accurate than one sample", accuracy[last] - accuracy[1], seed),
        _finding("best-of-N is more accurate than greedy", accuracy[last] - base, seed),
        # The claim is that little is left, so it needs an interval below what matters.
        _finding(f"accuracy has saturated by N = {some}", NEGLIGIBLE - (accuracy[last] - accuracy[some]), seed)
        | _estimate("value", accuracy[last] - accuracy[some], seed=seed),
    ]
    within = auc_within(pool)
    test = dominance(pool, within=True, seed=seed)
    verdict = (
        "not shown" if test is None else "held" if test.holds else "contrary" if within.high < 0.5 else "not shown"
    )
    rows.append(
        {"finding": "likelihoods of correct responses dominate", "verdict": verdict, "unit": "AUC"}
        | within.columns("value")
    )
    return pd.DataFrame(rows).assign(panel="finding")


def _finding(name: str, per_prompt: pd.Series, seed: int, *, unit: str = "points") -> dict:
    """The claim is that the mean over prompts is positive."""
    found = _estimate("value", per_prompt, seed=seed)
    verdict = "held" if found["value_low"] > 0 else "contrary" if found["value_high"] < 0 else "not shown"
    return {"finding": name, "verdict": verdict, "unit": unit} | found


def _estimate(name: str, per_prompt, *, ends: tuple[float, float] = ANY, seed: int) -> dict:
    return mean_over_prompts(np.asarray(per_prompt, dtype=float), ends=ends).columns(name)


if __name__ == "__main__":
    record.main("paper", __doc__, compute, Config(), {"n_prompts": 8, "n_samples": 8, "budget": 100})
