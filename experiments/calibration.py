"""How often the intervals that summaries print hold what they estimate, over thousands of pools of known worlds.

python -m experiments.calibration [--quick]

A world is a population of prompts whose whole law is known, so that what an interval should hold is known as well. Pools
of 20 to 1,000 of its prompts are sampled, 16 responses each, every number of a summary is estimated from them, and its
interval either holds the truth or does not. Smaller pools are parts of larger ones. Each world is a file in out/calibration, and
an interrupted run goes on from there.

Where no formula gives the truth (a plurality of 16, rank correlations, what a pool certifies), it is the mean over all
prompts that were ever sampled, whose error is a fortieth of that of the largest pool. Intervals that are made of resamples
have few of them here, which makes each a little longer or shorter, and the coverage none.

Of a row of the results, `below` and `above` are the shares of pools whose whole interval lies there, and `percentile` is what the
expanded percentile bootstrap of the same mean would hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from experiments import record
from sharptheory.measure.alignment import concordance
from sharptheory.measure.best_of_n import best_of_n_curve
from sharptheory.measure.bootstrap import (
    DIFFERENCE,
    NEGATIVE,
    POSITIVE,
    PROPORTION,
    Estimate,
    from_replicates,
    mean_over_prompts,
    ratio_of_means,
    resampled,
    tail,
)
from sharptheory.measure.certificate import mean_at_least
from sharptheory.measure.prediction import predict_best_of_n
from sharptheory.runs import write
from sharptheory.theory import laws

WORK = Path(__file__).parents[1] / "out/calibration"
N_ANSWERS = 6
N_RESPONSES = 24
#: Levels of log-likelihood that the pooled AUC tells apart.
LEVELS = 32
#: Of the way to best-of-N that the simulated training has come, and how far beyond a pool accuracy is forecast.
SHARE, BEYOND = 0.4, 8
#: Concordance over all pairs of prompts is quadratic in them.
MOST_PAIRED = 300
#: What is estimated by a mean over prompts, between which ends, as `per_prompt` names it.
MEANS = {
    "accuracy": PROPORTION, "greedy": PROPORTION, "best_of_4": PROPORTION, "best_of_16": PROPORTION, "pass_at_4": PROPORTION,
    "majority": PROPORTION, "certified": PROPORTION, "auc": PROPORTION, "gain": DIFFERENCE, "over_greedy": DIFFERENCE,
    "over_majority": DIFFERENCE, "correlation": DIFFERENCE, "log_likelihood": NEGATIVE, "likelihood_gain": POSITIVE,
    "low": (1.0, np.inf), "high": (1.0, np.inf),
}  # fmt: skip


@dataclass(frozen=True)
class Config:
    worlds: tuple[str, ...] = ("benign", "rare", "sure")
    n_prompts: tuple[int, ...] = (20, 50, 100, 300, 1_000)
    pools: int = 2_000
    population: int = 4_000
    samples: int = 16
    resamples: int = 200
    forecast: int = 1_000
    seed: int = 0


@dataclass(frozen=True)
class World:
    """A population of K prompts with Y kinds of responses each.

    Attributes:
        log_probs: of a kind, ``[K, Y]``. variants: equally likely responses of each kind, ``[K]``.
        answers: of a kind, 0 the right one, ``[K, Y]``. lengths: ``[K, Y]``. greedy: kind of the greedy response, ``[K]``.
    """

    name: str
    log_probs: np.ndarray
    variants: np.ndarray
    answers: np.ndarray
    lengths: np.ndarray
    greedy: np.ndarray

    @property
    def log_likelihoods(self) -> np.ndarray:
        return self.log_probs - np.log(self.variants)[:, None]

    @property
    def correct(self) -> np.ndarray:
        return 1.0 * (self.answers == 0)


def world(name: str, n_prompts: int, rng: np.random.Generator) -> World:
    """`benign`: pass rates spread around 1/2, likelihoods that know what is right, every likeliest response likely.

    `rare`: few prompts are ever solved, and 1/p* has a heavy tail. `sure`: few prompts are ever failed, and most likeliest
    responses are certified.
    """
    easy, spread, low, high, tail = {
        "benign": (0.0, 1.0, 1.2, 1.2, (0.0, 0.0)),
        "rare": (-4.5, 2.0, 0.3, 2.5, (1.0, 1.3)),
        "sure": (4.5, 1.5, 2.0, 4.0, (0.0, 0.0)),
    }[name]
    shape = (n_prompts, N_RESPONSES)
    standard = rng.normal(size=shape)
    logits = standard * rng.uniform(low, high, size=(n_prompts, 1))
    right = rng.random(shape) < 1 / (1 + np.exp(-rng.normal(easy, spread, size=(n_prompts, 1)) - 0.6 * standard))
    return World(
        name,
        logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)),
        np.ceil(np.exp(rng.normal(*tail, size=n_prompts))).astype(np.int64),
        np.where(right, 0, rng.integers(1, N_ANSWERS, size=shape)),
        np.maximum(1, np.round(20 - 4 * standard + rng.normal(0, 4, size=shape))),
        np.take_along_axis(np.argsort(-logits, axis=1), 1 * (rng.random((n_prompts, 1)) < 0.2), axis=1)[:, 0],
    )


def sample(of: World, prompts: np.ndarray, m: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Kinds ``[B, m]`` of responses to `prompts` ``[B]``, and labels that equal responses of a prompt share."""
    cumulative = np.cumsum(np.exp(of.log_probs), axis=1)
    cumulative /= cumulative[:, -1:]
    starts = np.arange(len(cumulative))[:, None]
    places = np.searchsorted((cumulative + starts).ravel(), prompts[:, None] + rng.random((len(prompts), m)))
    kinds = np.clip(places - prompts[:, None] * N_RESPONSES, 0, N_RESPONSES - 1)
    variants = of.variants[prompts][:, None]
    return kinds, kinds * variants + rng.integers(0, variants, size=kinds.shape)


def per_prompt(of: World, prompts: np.ndarray, m: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What a pool says of each of its prompts, ``[B]`` each; NaN of prompts that say nothing."""
    kinds, keys = sample(of, prompts, m, rng)
    at = lambda table: np.take_along_axis(table[prompts], kinds, axis=1)  # noqa: E731
    score, correct, answers, lengths = map(at, (of.log_likelihoods, of.correct, of.answers, of.lengths))
    n = doublings(m)
    best, likelihood = best_of_n_curve(score, correct, n), best_of_n_curve(score, score, n)
    greedy = of.correct[prompts, of.greedy[prompts]]
    counts = (answers[:, :, None] == np.arange(N_ANSWERS)).sum(axis=1)
    winners = counts == counts.max(axis=1, keepdims=True)
    majority = winners[:, 0] / winners.sum(axis=1)
    top = score.max(axis=1)
    fresh_correct = np.take_along_axis(of.correct[prompts], sample(of, prompts, m, rng)[0], axis=1)
    sharpened = np.take_along_axis(of.correct[prompts], _best_of(of, prompts, m, rng), axis=1)
    trained = np.where(rng.random(kinds.shape) < SHARE, sharpened, fresh_correct).mean(axis=1)
    values = {
        "accuracy": best[:, 0],
        "best_of_4": best[:, 2],
        "best_of_16": best[:, -1],
        "pass_at_4": best_of_n_curve(correct, correct, [4])[:, 0],
        "greedy": greedy,
        "majority": majority,
        "gain": best[:, -1] - best[:, 0],
        "over_greedy": best[:, -1] - greedy,
        "over_majority": majority - best[:, -1],
        "log_likelihood": likelihood[:, 0],
        "likelihood_gain": likelihood[:, -1] - likelihood[:, 0],
        "auc": _auc(score, correct),
        "correlation": _correlation(score, lengths),
        "trained_gain": trained - best[:, 0],
    }
    order = np.argsort(keys, axis=1)
    ranked = np.take_along_axis(keys, order, axis=1)
    fresh = np.diff(ranked, axis=1, prepend=-1) > 0
    unseen = 1 - (np.exp(np.take_along_axis(score, order, axis=1)) * fresh).sum(axis=1)
    level = np.searchsorted(_levels(of), score)
    place = level + LEVELS * np.arange(len(prompts))[:, None]
    by_level = [
        np.bincount(place.ravel(), weights.ravel(), minlength=LEVELS * len(prompts)).reshape(-1, LEVELS)
        for weights in (correct, 1 - correct)
    ]
    return values | {
        "certified": 1.0 * (unseen <= np.exp(top) + 1e-12),
        "low": 1 / np.maximum(np.exp(top), unseen),
        "high": np.exp(-top),
        "curves": np.stack([likelihood, best], axis=1),
        "levels": np.stack(by_level, axis=1),
    }


def doublings(m: int) -> np.ndarray:
    return 2 ** np.arange(int(np.log2(m)) + 1)


def _levels(of: World) -> np.ndarray:
    """Bounds between the levels of log-likelihood, ``[LEVELS - 1]``."""
    return np.quantile(of.log_likelihoods, np.linspace(0, 1, LEVELS + 1)[1:-1])


def _best_of(of: World, prompts: np.ndarray, m: int, rng: np.random.Generator) -> np.ndarray:
    """Kinds ``[B, m]`` from the law of best-of-m itself."""
    law = replace(of, log_probs=laws.best_of_n(of.log_probs, m))
    return sample(law, prompts, m, rng)[0]


def _auc(score: np.ndarray, correct: np.ndarray) -> np.ndarray:
    pairs = correct[:, :, None] * (1 - correct[:, None, :])
    agree = (np.sign(score[:, :, None] - score[:, None, :]) + 1) / 2
    number = pairs.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        return (pairs * agree).sum(axis=(1, 2)) / np.where(number > 0, number, np.nan)


def _correlation(score: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    ranks = [stats.rankdata(values, axis=1) for values in (score, lengths)]
    x, y = (r - r.mean(axis=1, keepdims=True) for r in ranks)
    norm = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.divide((x * y).sum(axis=1), norm, out=np.full(len(norm), np.nan), where=norm > 0)


def exact(of: World, m: int) -> dict[str, float]:
    """The truths that a formula gives."""
    probs, correct = np.exp(of.log_probs), of.correct
    passed = (probs * correct).sum(axis=1)
    over = lambda law, values: float((np.exp(law) * values).sum(axis=1).mean())  # noqa: E731
    by_n = [laws.best_of_n(of.log_probs, int(n)) for n in (*doublings(m), BEYOND * m)]
    accuracy, likelihood = ([over(law, values) for law in by_n] for values in (correct, of.log_likelihoods))
    pairs = probs[:, :, None] * probs[:, None, :] * correct[:, :, None] * (1 - correct[:, None, :])
    above = (np.sign(of.log_probs[:, :, None] - of.log_probs[:, None, :]) + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        within = (pairs * above).sum(axis=(1, 2)) / pairs.sum(axis=(1, 2))
    mixed = np.where(np.isnan(within), 0.0, 1 - passed**m - (1 - passed) ** m)
    greedy = correct[np.arange(len(passed)), of.greedy].mean()
    level = np.searchsorted(_levels(of), of.log_likelihoods)
    right, wrong = (np.bincount(level.ravel(), (probs * each).ravel(), LEVELS) for each in (correct, 1 - correct))
    return {
        "accuracy": accuracy[0],
        "best_of_4": accuracy[2],
        "best_of_16": accuracy[-2],
        "pass_at_4": float((1 - (1 - passed) ** 4).mean()),
        "greedy": float(greedy),
        "gain": accuracy[-2] - accuracy[0],
        "over_greedy": accuracy[-2] - float(greedy),
        "log_likelihood": likelihood[0],
        "likelihood_gain": likelihood[-2] - likelihood[0],
        "auc": float(np.nansum(within * mixed) / mixed.sum()),
        "auc_pooled": float(_auc_of_levels(np.stack([right, wrong]))),
        "by_n": float(concordance(likelihood[:-1], accuracy[:-1])),
        "share": SHARE,
        "forecast": accuracy[-1],
    }


def _auc_of_levels(counts: np.ndarray) -> np.ndarray:
    """AUC ``[...]`` of right and wrong responses by level, ``[..., 2, LEVELS]``."""
    right, wrong = counts[..., 0, :], counts[..., 1, :]
    agree = (right * (np.cumsum(wrong, axis=-1) - wrong / 2)).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return agree / (right.sum(axis=-1) * wrong.sum(axis=-1))


# What is estimated from a pool ----------------------------------------------------------------------------------------


def estimates(values: dict[str, np.ndarray], config: Config) -> Iterator[tuple[str, Estimate, Estimate | None]]:
    """Name, estimate of each pool, and of means what percentiles of resamples would give.

    Args:
        values: of `per_prompt`, ``[n_prompts, pools, …]``.
    """
    n_prompts = len(values["accuracy"])
    weights = resampled(n_prompts, resamples=config.resamples, seed=config.seed)
    for name, ends in MEANS.items():
        table, known = values[name], np.isfinite(values[name])
        with np.errstate(invalid="ignore", divide="ignore"):
            replicates = weights @ np.where(known, table, 0) / (weights @ known)
        few = Estimate(0.0, *np.quantile(replicates, [tail(n_prompts), 1 - tail(n_prompts)], axis=0))
        if known.all():
            yield name, mean_over_prompts(table, ends=ends), few
        else:
            yield name, _each(mean_over_prompts(column[kept], ends=ends) for column, kept in zip(table.T, known.T)), few
    gap = values["gain"]
    yield "share", ratio_of_means(values["trained_gain"], gap), None
    yield "at_least", _each(Estimate(0.0, mean_at_least(column), np.inf) for column in values["low"].T), None
    for name, replicated in (("auc_pooled", _pooled), ("by_n", _by_n), ("prompts", _prompts)):
        if name == "prompts" and n_prompts > MOST_PAIRED:
            continue
        every = [replicated(values, pool, weights) for pool in range(gap.shape[1])]
        yield name, _each(from_replicates(v, r, n_prompts, ends=PROPORTION) for v, r in every), None


def _each(found: Iterator[Estimate]) -> Estimate:
    return Estimate(*np.array([[e.value, e.low, e.high] for e in found], dtype=float).T)


def _pooled(values: dict[str, np.ndarray], pool: int, weights: np.ndarray) -> tuple[float, np.ndarray]:
    counts = values["levels"][:, pool]
    resampled_counts = (weights @ counts.reshape(len(counts), -1)).reshape(-1, *counts.shape[1:])
    return _auc_of_levels(counts.sum(axis=0)), _auc_of_levels(resampled_counts)


def _by_n(values: dict[str, np.ndarray], pool: int, weights: np.ndarray) -> tuple[float, np.ndarray]:
    curves = values["curves"][:, pool]
    means = np.einsum("rx,xkn->krn", weights, curves, optimize=True) / len(curves)
    return concordance(*curves.mean(axis=0)), concordance(*means)


def _prompts(values: dict[str, np.ndarray], pool: int, weights: np.ndarray) -> tuple[float, np.ndarray]:
    score, accuracy = values["log_likelihood"][:, pool], values["accuracy"][:, pool]
    above = 1.0 * (accuracy[:, None] > accuracy)
    agree = above * (np.sign(score[:, None] - score) + 1) / 2
    of_pairs = lambda pairs: ((weights @ pairs) * weights).sum(axis=1)  # noqa: E731
    with np.errstate(invalid="ignore"):
        return agree.sum() / above.sum(), of_pairs(agree) / of_pairs(above)


# Coverage -------------------------------------------------------------------------------------------------------------


def compute(config: Config, work: Path | None = None) -> pd.DataFrame:
    """A row for each world, quantity and number of prompts; worlds that are finished are read from `work`."""
    work = work or (WORK if config.pools >= 1_000 else None)
    tables = []
    for name in config.worlds:
        path = None if work is None else work / f"{name}.parquet"
        if path is None or not path.exists():
            table = coverage(name, config)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write(path, lambda at, table=table: table.to_parquet(at, index=False))
        else:
            table = pd.read_parquet(path)
        tables.append(table)
        print(f"{name}: {len(table)} rows", flush=True)
    return pd.concat(tables, ignore_index=True)


def coverage(name: str, config: Config, *, batch: int = 50) -> pd.DataFrame:
    """Coverage of every interval in one world."""
    rng = np.random.default_rng([config.seed, *name.encode()])
    of = world(name, config.population, rng)
    found, sums = [], {}
    largest = max(config.n_prompts)
    for start in range(0, config.pools, batch):
        pools = min(batch, config.pools - start)
        values = per_prompt(of, rng.integers(config.population, size=largest * pools), config.samples, rng)
        values = {key: table.reshape(largest, pools, *table.shape[1:]) for key, table in values.items()}
        for key in MEANS:
            sums.setdefault(key, []).append((np.nansum(values[key]), np.isfinite(values[key]).sum()))
        sums.setdefault("prompts", []).append(_many_pairs(values))
        for n in config.n_prompts:
            part = {key: table[:n] for key, table in values.items()}
            for quantity, estimate, other in estimates(part, config):
                limits = [estimate.low, estimate.high, *((other.low, other.high) if other else (np.nan, np.nan))]
                found.append(
                    pd.DataFrame(np.column_stack(np.broadcast_arrays(*limits, n)), columns=LIMITS).assign(q=quantity)
                )
    truths = {key: total / number for key, (total, number) in ((k, np.sum(v, axis=0)) for k, v in sums.items())}
    truths |= {"at_least": truths["low"]} | exact(of, config.samples)
    rows = pd.concat([*found, *forecasts(of, config, rng, truths)], ignore_index=True)
    return judged(rows, truths).assign(world=name, pools=config.pools)


LIMITS = ["low", "high", "other_low", "other_high", "n_prompts"]


def _many_pairs(values: dict[str, np.ndarray]) -> tuple[float, int]:
    """Pairs of prompts that agree and pairs that differ in accuracy, over prompts of different pools."""
    score, accuracy = values["log_likelihood"][::10].ravel(), values["accuracy"][::10].ravel()
    half = len(score) // 2
    above = np.sign(accuracy[:half] - accuracy[half : 2 * half])
    agree = (1 + above * np.sign(score[:half] - score[half : 2 * half])) / 2
    return float(agree[above != 0].sum()), int((above != 0).sum())


def forecasts(of: World, config: Config, rng: np.random.Generator, truths: dict) -> Iterator[pd.DataFrame]:
    """Intervals of the accuracy forecast at `BEYOND` times the samples, from pools of a bank of prompts forecast once.

    Against the truth, `forecast`, and against the forecast's own expectation, `forecast_mean`: the prediction is biased.
    """
    prompts = rng.integers(config.population, size=config.forecast)
    kinds, keys = sample(of, prompts, config.samples, rng)
    rows = prompts.repeat(config.samples)
    pool = pd.DataFrame({
        "prompt_id": np.arange(len(prompts)).repeat(config.samples), "response": [f"{key}" for key in keys.ravel()],
        "log_likelihood": of.log_likelihoods[rows, kinds.ravel()], "correct": of.correct[rows, kinds.ravel()] == 1,
    })  # fmt: skip
    bank = predict_best_of_n(pool, [BEYOND * config.samples]).to_numpy()[:, 0]
    truths["forecast_mean"] = bank.mean()
    for n in config.n_prompts:
        estimate = mean_over_prompts(bank[rng.integers(len(bank), size=(n, config.pools))], ends=PROPORTION)
        for name in ("forecast", "forecast_mean"):
            limits = np.broadcast_arrays(estimate.low, estimate.high, np.nan, np.nan, n)
            yield pd.DataFrame(np.column_stack(limits), columns=LIMITS).assign(q=name)


def judged(rows: pd.DataFrame, truths: dict[str, float]) -> pd.DataFrame:
    """The share of intervals that hold the truth; pools without an interval do not count, nor does a point."""
    truth = rows["q"].map(truths)
    rows = rows.assign(
        below=rows["high"] < truth - 1e-12, above=rows["low"] > truth + 1e-12, truth=truth, width=rows["high"] - rows["low"],
        percentile=((rows["other_low"] <= truth) & (truth <= rows["other_high"])).where(rows["other_low"].notna()),
        known=rows["low"] < rows["high"],
    )  # fmt: skip
    known = rows[rows["known"]]  # a point is no interval: the report says "the same on every prompt"
    table = known.groupby(["q", "n_prompts"], sort=False)[["truth", "below", "above", "percentile", "width"]].mean()
    table["intervals"] = rows.groupby(["q", "n_prompts"], sort=False)["known"].mean()
    table["coverage"] = 1 - table["below"] - table["above"]
    return table.reset_index(names=["quantity", "n_prompts"]).astype({"n_prompts": int})


if __name__ == "__main__":
    small = dict(n_prompts=(20, 50), pools=20, population=200, resamples=50, forecast=40)
    record.main("calibration", __doc__, compute, Config(), small)
