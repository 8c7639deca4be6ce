"""What training is measured by: a policy on held-out prompts, beside what the base model gives without training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.training.pools import Evaluate, score
from sharptheory.measure.best_of_n import curve
from sharptheory.measure.bootstrap import ENDS, PROPORTION, Estimate, mean_over_prompts, ratio_of_means
from sharptheory.measure.pool import Pool
from sharptheory.oracle import Response
from sharptheory.tasks import Task

#: Missing masses δ of Definition 3.1 at which prompts count as sharpened.
DELTAS = (0.5, 0.1)
#: Means of every evaluation, of those with gold answers, and of those with certified argmaxes.
OF_SAMPLES = ("log_likelihood", "entropy", "distinct", "length", "unfinished")
OF_ANSWERS = ("accuracy", "pass_at_n", "gap_closed")
OF_ARGMAX = ("argmax_mass", *(f"sharpened_{delta:g}" for delta in DELTAS))


class Evaluation:
    """Measures a policy at temperature 1 on held-out prompts, on the axes of the paper's Figs 7-9 and Table 1.

    Args:
        evaluate: log-likelihoods under the *base* model, whatever has been trained meanwhile.
        task: held-out prompts; accuracy is over those with a gold answer.
        n: samples per prompt.
        baseline: pool of the base model on the same prompts: where the gap to its best-of-N begins and ends.
        argmax: of `search_task` on the same prompts; where certified, the mass that training puts on it is exact.
        seed: of samples.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        task: Task,
        *,
        n: int,
        baseline: Pool,
        argmax: pd.DataFrame | None = None,
        seed: int = 0,
    ):
        self.evaluate, self.task, self.n, self.seed = evaluate, task, n, seed
        self.argmax = None if argmax is None else argmax[argmax["certified"]]
        self.ends = best_of_n_ends(baseline, "correct") if "correct" in baseline else None

    def __call__(self, policy: HuggingFaceOracle) -> dict[str, float]:
        """Means over prompts with 95 % intervals (``name``, ``name_low``, ``name_high``).

        `accuracy` and `pass_at_n` of `n` samples, `log_likelihood` under the base model, `entropy` [nats], `distinct`
        (share of the samples), `length` [tokens], `unfinished` (share cut by the length budget), `argmax_mass`,
        `sharpened_δ` (share of prompts with at least 1-δ on the argmax), and `gap_closed`.
        """
        samples = policy.sample(self.task.prompts, self.n, seed=self.seed + 1)
        columns = self._of_samples(samples) | self._of_answers(policy, samples)
        if self.argmax is not None and len(self.argmax):
            columns |= self._of_argmax(policy)
        row = {}
        for name, values in columns.items():
            estimate = mean_over_prompts(values, ends=ENDS.get(name, PROPORTION))
            row |= estimate.columns(name)
        if "accuracy" in columns:
            row |= gap_closed(columns["accuracy"], *self.ends.loc[self._graded].to_numpy().T).columns("gap_closed")
        return row

    @property
    def fields(self) -> list[str]:
        """Of the rows that a call gives."""
        answers = OF_ANSWERS if self.ends is not None else ()
        argmax = OF_ARGMAX if self.argmax is not None and len(self.argmax) else ()
        return [name for mean in (*OF_SAMPLES, *answers, *argmax) for name in Estimate.unknown().columns(mean)]

    @property
    def _graded(self) -> list[int]:
        return [i for i, gold in enumerate(self.task.answers) if gold is not None]

    def _of_samples(self, samples: list[list[Response]]) -> dict[str, np.ndarray]:
        tokens = [[response.tokens for response in row] for row in samples]
        own = np.array([[response.log_likelihood for response in row] for row in samples])
        return {
            "log_likelihood": np.stack(self.evaluate(self.task.prompts, tokens)).mean(axis=1),
            "entropy": -own.mean(axis=1),
            "distinct": np.array([len(set(row)) / len(row) for row in tokens]),
            "length": np.array([np.mean([len(y) for y in row]) for row in tokens]),
            "unfinished": np.array([np.mean([not response.finished for response in row]) for row in samples]),
        }

    def _of_answers(self, policy: HuggingFaceOracle, samples: list[list[Response]]) -> dict[str, np.ndarray]:
        if self.ends is None:
            return {}
        correct = np.array(
            [
                [self.task.grade(policy.decode(response.tokens), self.task.answers[i])[1] for response in samples[i]]
                for i in self._graded
            ],
            dtype=float,
        )
        return {"accuracy": correct.mean(axis=1), "pass_at_n": correct.max(axis=1)}

    def _of_argmax(self, policy: HuggingFaceOracle) -> dict[str, np.ndarray]:
        prompts = [self.task.prompts[i] for i in self.argmax["prompt_id"]]
        scores = policy.evaluate(prompts, [[tuple(tokens)] for tokens in self.argmax["tokens"]])
        mass = np.exp(np.concatenate(scores))
        return {"argmax_mass": mass} | {f"sharpened_{delta:g}": 1.0 * (mass >= 1 - delta) for delta in DELTAS}


def best_of_n_ends(pool: Pool, column: str) -> pd.DataFrame:
    """Mean of a column over one sample and over the likeliest of all, per prompt where it is known."""
    ends = curve(pool, "log_likelihood", column, [1, int(pool.sizes.min())])
    return pd.DataFrame({"sampled": ends.iloc[:, 0], "best_of_n": ends.iloc[:, -1]})


def gap_closed(trained: np.ndarray, sampled: np.ndarray, best_of_n: np.ndarray) -> Estimate:
    """Share of the way from one sample of the base model to its best-of-N that one sample of a trained model has come.

    ``(E[trained] - E[sampled]) / (E[best_of_n] - E[sampled])`` over prompts, with the interval of `ratio_of_means`: it
    knows that the three share prompts and that the gap is an estimate too. Several seeds are pooled by handing over the
    prompts of all.

    Args:
        trained, sampled, best_of_n: accuracies of the same prompts ``[X]``.

    Returns:
        NaN without a gap; NaN limits where the interval of the gap itself includes 0, so that there is no share to speak of.
    """
    gain, gap = np.asarray(trained) - sampled, np.asarray(best_of_n) - sampled
    if len(gap) == 0 or gap.mean() <= 0:
        return Estimate(np.asarray(np.nan), np.asarray(np.nan), np.asarray(np.nan), len(gap))
    return ratio_of_means(gain, gap)


def baselines(
    pool: Pool, argmax: pd.DataFrame | None = None, *, log_likelihood: str = "log_likelihood"
) -> dict[str, float]:
    """How a model decodes, by its pool: one sample, greedy decoding, best-of-N by its own likelihood.

    Args:
        pool: of a model on held-out prompts, greedy responses included.
        argmax: of `search_task`: adds the certified argmax's mean probability, and the share of prompts that have one.
        log_likelihood: column that is reported as such; of a trained model, that under its base.

    Returns:
        ``sampled_…``, ``greedy_…`` and ``best_of_n_…`` of `accuracy`, over the prompts with a gold answer, and of
        `log_likelihood`; `n`, the number of samples per prompt, and `unfinished`, the share of them cut by the length budget.
    """
    values = {"n": int(pool.sizes.min()), "unfinished": float(1 - pool.finished.mean())}
    names = {log_likelihood: "log_likelihood"} | ({"correct": "accuracy"} if "correct" in pool else {})
    for column, name in names.items():
        for kind, mean in best_of_n_ends(pool, column).mean().items():
            values[f"{kind}_{name}"] = float(mean)
        values[f"greedy_{name}"] = float(pool.greedy[column].dropna().astype(float).mean())
    if argmax is not None and argmax["certified"].any():
        known = argmax[argmax["certified"]]
        values["argmax_mass"] = float(np.exp(known["log_p"].astype(float)).mean())
        values["certified"] = float(argmax["certified"].mean())
    return values


def trained_decoding(pool: Pool, evaluate: Evaluate, task: Task) -> dict[str, float]:
    """What a trained model gives by greedy decoding and by best-of-N of its own, likelihoods under the base model.

    Args:
        pool: of the trained model. evaluate: log-likelihoods under the base. task: whose prompts the pool answers.
    """
    frames = (rows.assign(base_log_likelihood=score(rows, evaluate, task)) for rows in (pool.samples, pool.greedy))
    values = baselines(Pool(*frames), log_likelihood="base_log_likelihood")
    return {name: value for name, value in values.items() if name.startswith(("greedy", "best_of_n"))}
