"""Estimates from a pool, unbiased where the theory allows it, each with an interval.

The functions over arrays take rectangles ``[X, M]`` (prompts × samples, see `sharptheory.pool.rectangles`).
Intervals are bootstrap intervals over prompts: prompts are the independent unit, samples of one prompt are not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import logsumexp

from sharptheory.laws import best_of_n_hit
from sharptheory.majority import log_choose
from sharptheory.pool import graded, rectangles

LEVEL = 0.95
RESAMPLES = 2_000
#: Two likelihoods of one sequence scored in two batch shapes differ by about this much (nats, float32).
LIKELIHOOD_NOISE = 1e-4


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval; scalars or arrays of one shape. NaN limits: too few prompts for any."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def columns(self, name: str) -> dict[str, float]:
        """A scalar's fields of a row: ``name``, ``name_low``, ``name_high``."""
        return {name: float(self.value), f"{name}_low": float(self.low), f"{name}_high": float(self.high)}


def bootstrap(
    data: tuple[np.ndarray, ...],
    statistic: Callable,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Percentile bootstrap over prompts.

    Args:
        data: arrays whose first axis is the prompt, resampled together.
        statistic: ``statistic(*data, axis=0)``, vectorised over further axes.

    Returns:
        The statistic on `data` with its interval; limits are NaN when there is a single prompt.
    """
    value = np.asarray(statistic(*data, axis=0), dtype=float)
    n_prompts = len(data[0])
    if n_prompts < 2:
        return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    batch = max(1, 4_000_000 // max(1, data[0].size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant data: the interval is a point, which is what it returns
        interval = stats.bootstrap(
            data,
            statistic,
            paired=True,
            axis=0,
            confidence_level=level,
            n_resamples=resamples,
            batch=batch,
            method="percentile",
            vectorized=True,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return Estimate(value, np.asarray(interval.low), np.asarray(interval.high))


def bootstrap_mean(per_prompt: np.ndarray, *, proportion: bool = False, level: float = LEVEL, **options) -> Estimate:
    """Mean over prompts ``[X, …]`` with its bootstrap interval.

    Args:
        proportion: the values lie in [0, 1]. Where all prompts have 0 (or all 1) the bootstrap returns a point; the
            exact limit ``1 - (α/2)^{1/X}`` (or its mirror) is used instead.
    """
    per_prompt = np.asarray(per_prompt, dtype=float)
    estimate = bootstrap((per_prompt,), np.mean, level=level, **options)
    if not proportion:
        return estimate
    slack = 1 - ((1 - level) / 2) ** (1 / len(per_prompt))
    high = np.where(np.all(per_prompt == 0, axis=0), slack, estimate.high)
    low = np.where(np.all(per_prompt == 1, axis=0), 1 - slack, estimate.low)
    return Estimate(estimate.value, low, high)


# Best-of-N ------------------------------------------------------------------------------------------------------------


def best_of_n_weights(m: int, n: np.ndarray) -> np.ndarray:
    """Probability that the j-th smallest of `m` distinct rewards is the largest of N drawn without replacement.

    ``w[N, j] = C(j-1, N-1) / C(m, N)`` for j = 1..m, by the recursion ``w[N, j-1] = w[N, j] (j-N)/(j-1)``.

    Args:
        m: pool size M of a prompt.
        n: values of N, integers in 1..m, shape ``[K]``.

    Returns:
        Weights ``[K, M]``; each row sums to 1.
    """
    n = np.atleast_1d(n)
    if np.any((n < 1) | (n > m) | (n != np.round(n))):
        raise ValueError(
            f"n={n[(n < 1) | (n > m) | (n != np.round(n))][0]}: expected an integer from 1 to the pool size {m}"
        )
    j = np.arange(m, 1, -1)
    ratios = np.maximum(j - n[:, None], 0) / (j - 1)
    descending = np.concatenate([n[:, None] / m, ratios], axis=1)
    return np.cumprod(descending, axis=1)[:, ::-1]


def best_of_n_curve(rewards: np.ndarray, values: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Expected value of the best-of-N response by reward, unbiased, for all N at once.

    Averages over all N-subsets of each prompt's pool, exactly: no resampling. A tie group is shared equally; since its
    weights sum to ``[C(c_≤, N) - C(c_<, N)] / C(M, N)``, replacing values by their tie-group mean does just that.

    Args:
        rewards: ``[X, M]``, larger is better.
        values: ``[X, M]``, what to average: correctness, log-likelihood, length, …
        n: values of N in 1..M, shape ``[K]``.

    Returns:
        ``[X, K]``, one curve per prompt.

    Source: theory.md section 7; ``pass@k`` (rewards = values = correctness) is the special case.
    """
    rewards, values = np.atleast_2d(rewards), np.atleast_2d(np.asarray(values, dtype=float))
    if rewards.shape != values.shape:
        raise ValueError(f"rewards {rewards.shape} and values {values.shape} differ in shape; expected both [X, M]")
    if np.isnan(rewards).any():
        raise ValueError(f"rewards{np.argwhere(np.isnan(rewards))[0].tolist()} is NaN; expected numbers")
    order = np.argsort(rewards, axis=1)
    ranked = np.take_along_axis(rewards, order, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    # A tie group starts wherever the ranked reward rises; groups never span prompts.
    starts = np.ones(ranked.shape, dtype=bool)
    starts[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    if not starts.all():
        group = np.cumsum(starts.ravel()) - 1
        means = np.bincount(group, weights=ordered.ravel()) / np.bincount(group)
        ordered = means[group].reshape(ordered.shape)
    return ordered @ best_of_n_weights(values.shape[1], n).T


def pass_at_n(correct: np.ndarray, n: np.ndarray) -> np.ndarray:
    """``pass@N = 1 - C(M-c, N)/C(M, N)`` per prompt ``[X, K]``: best-of-N with correctness itself as the reward."""
    return best_of_n_curve(correct, correct, n)


def curve(pool: pd.DataFrame, reward: str, value: str, n: np.ndarray) -> pd.DataFrame:
    """`best_of_n_curve` on two columns of a pool whose prompts may have different numbers of samples.

    Every N must be available for every prompt; prompts with a null value are left out.

    Returns:
        One row per prompt_id, one column per N.
    """
    known = graded(pool, value)
    blocks = [
        pd.DataFrame(best_of_n_curve(r, v, n), index=ids, columns=n) for ids, r, v in rectangles(known, reward, value)
    ]
    return pd.concat(blocks)


def adaptive_weights(log_likelihood: np.ndarray, threshold: float) -> tuple[np.ndarray, float]:
    """The adaptive rule (10) on one prompt's pool, averaged over all orders in which its samples might be drawn.

    Draws without replacement until ``1/max p ≤ k/μ_stop``, or until the pool is used up. With ranks r and
    ``G_k = #{p < μ/k}``, sample j is returned after k draws with probability ``C(r_j - 1, k-1)/C(M, k)`` if
    ``μ/k ≤ p_j < μ/(k-1)``, and ``C(G_{k-1}, k-1)/C(M, k-1) · 1/(M-k+1)`` if ``p_j ≥ μ/(k-1)``: [S1] without replacement.

    Args:
        log_likelihood: of the samples, ``[M]``; threshold: ``μ_stop``.

    Returns:
        Probability that each sample is the one returned ``[M]``, ties in likelihood sharing theirs equally, and the
        expected number of draws.
    """
    order = np.argsort(log_likelihood, kind="stable")
    values = np.asarray(log_likelihood, dtype=float)[order]
    m = len(values)
    k = np.arange(1, m + 1)[:, None]
    with np.errstate(divide="ignore"):
        stop, before = np.log(threshold / k), np.log(threshold / np.maximum(k - 1, 0))
    below = np.searchsorted(values, before[:, 0], side="left")[:, None]  # G_{k-1}
    running = log_choose(np.arange(m)[None], k - 1) - log_choose(m, k)
    jumping = log_choose(below, k - 1) - log_choose(m, k - 1) - np.log(m - k + 1)
    log_p = np.where(values < before, running, jumping)
    chance = np.where(values >= stop, np.exp(log_p), 0.0)
    chance[-1, -1] += max(1 - chance.sum(), 0.0)  # never stopped: all are drawn and the best is returned
    _, level = np.unique(values, return_inverse=True)
    share = np.bincount(level, chance.sum(axis=0)) / np.bincount(level)
    weights = np.empty(m)
    weights[order] = share[level]
    return weights, float(chance.sum(axis=1) @ k[:, 0])


# Coverage -------------------------------------------------------------------------------------------------------------


def coverage_certificate(samples: pd.DataFrame) -> pd.DataFrame:
    """What a pool proves about ``p*(x) = max_y π(y|x)``, prompt by prompt, with no statistics.

    With ``p̂`` the largest sampled probability and ``S`` the total probability of the *distinct* sampled finished
    responses, ``p̂ ≤ p* ≤ max(p̂, 1 - S)``; the argmax is certified when ``1 - S ≤ p̂``.

    Distinct means distinct token ids; without them distinct text, and without that likelihoods more than
    `LIKELIHOOD_NOISE` apart. Merging different responses only loosens the upper bound.

    Returns:
        One row per prompt, indexed by prompt_id: `log_p_low`, `log_p_high` (nats; ``-inf, 0`` without any finished
        response), `certified`, `log_q` (mass of the sampled maximisers, tied within `LIKELIHOOD_NOISE`), `n_samples`.

    Source: [S5].
    """
    distinct = distinct_responses(samples)
    rows = {}
    for prompt_id, group in distinct.groupby(level=0):
        values = group.to_numpy()
        low = values.max()
        rest = -np.expm1(min(logsumexp(values), 0.0))
        with np.errstate(divide="ignore"):
            high = max(low, np.log(rest))
        log_q = logsumexp(values[values >= low - LIKELIHOOD_NOISE])
        rows[prompt_id] = (low, high, bool(rest <= np.exp(low)), min(log_q, 0.0))
    counts = samples.groupby("prompt_id").size()
    nothing = (-np.inf, 0.0, False, -np.inf)
    table = pd.DataFrame(
        [rows.get(prompt_id, nothing) for prompt_id in counts.index],
        index=counts.index,
        columns=["log_p_low", "log_p_high", "certified", "log_q"],
    )
    return table.assign(n_samples=counts)


def distinct_responses(samples: pd.DataFrame) -> pd.Series:
    """Log-likelihoods of the distinct finished responses of each prompt, indexed by ``(prompt_id, key)``."""
    finished = samples[samples["finished"]]
    keyed = pd.DataFrame(
        {
            "prompt_id": finished["prompt_id"].to_numpy(),
            "key": response_keys(finished),
            "log_likelihood": finished["log_likelihood"].to_numpy(dtype=float),
        }
    )
    return keyed.groupby(["prompt_id", "key"])["log_likelihood"].max()


def response_keys(pool: pd.DataFrame) -> np.ndarray:
    """A label per row that equal responses share: token ids, else text, else close likelihoods."""
    if "tokens" in pool and pool["tokens"].notna().all():
        return np.array([hash(tuple(tokens)) for tokens in pool["tokens"]], dtype=np.int64)
    if "response" in pool and pool["response"].notna().all():
        return pool["response"].to_numpy()
    return _clusters(pool["prompt_id"].to_numpy(), pool["log_likelihood"].to_numpy(dtype=float))


def _clusters(prompts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Labels of single-linkage clusters of `values` within `LIKELIHOOD_NOISE`, per prompt."""
    codes = pd.factorize(prompts)[0]
    order = np.lexsort((values, codes))
    jump = np.ones(len(values), dtype=bool)
    jump[1:] = (np.diff(values[order]) > LIKELIHOOD_NOISE) | (np.diff(codes[order]) != 0)
    labels = np.empty(len(values), dtype=np.int64)
    labels[order] = np.cumsum(jump)
    return labels


def c_cov_bar_interval(certificate: pd.DataFrame, **options) -> Estimate:
    """Interval for ``C̄_cov = E_x[1/p*(x)]``: the means of both ends of the certificate.

    Returns:
        value ``[2]``: the certified lower and upper ends on these prompts; low, high ``[2]``: bootstrap limits of each
        (``low[0]`` and ``high[1]`` bracket the population's value). ``inf`` where an end overflows.
    """
    with np.errstate(over="ignore"):
        ends = [np.exp(-certificate[column].to_numpy(dtype=float)) for column in ("log_p_high", "log_p_low")]
    limits = [
        bootstrap_mean(end, **options) if np.isfinite(end).all() else Estimate(np.inf, np.inf, np.inf) for end in ends
    ]
    return Estimate(*(np.array([getattr(limit, side) for limit in limits]) for side in ("value", "low", "high")))


# Theory against measurement -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HitRates:
    """Predicted and measured probability that best-of-N returns the argmax, averaged over certified prompts.

    Attributes:
        n: values of N, ``[K]``.
        mass: exact argmax mass ``q`` of each certified prompt, ``[X]``.
        measured: hit rate on held-out samples with its interval, ``[K]``.
        n_samples: held-out samples behind it.
    """

    n: np.ndarray
    mass: np.ndarray
    measured: Estimate
    n_samples: int

    def law(self, n: np.ndarray) -> np.ndarray:
        """The prediction ``E_x[1 - (1-q)^N]`` at any N."""
        return best_of_n_hit(self.mass[:, None], n).mean(axis=0)

    def disagreements(self) -> int:
        """How many of the N have the prediction outside the measured interval."""
        predicted = self.law(self.n)
        return int(np.sum((predicted < self.measured.low) | (predicted > self.measured.high)))


def argmax_hit_rates(samples: pd.DataFrame, n: np.ndarray | None = None, *, level: float = LEVEL) -> HitRates | None:
    """The exact law ``1 - (1 - q)^N`` against the rate at which fresh samples hit the certified argmax.

    Even samples of each prompt certify its argmax and give ``q``; odd samples, which had no part in that, are searched
    for it: a pool that certifies its own argmax has drawn it, so one half for both would agree by construction. The
    interval is the measured rate ± the exact standard deviation that the law gives it on these prompts, times the
    normal quantile: the prompts are given, only the draws are random.

    Returns:
        None if no prompt is certified or a prompt has fewer than 2 samples.
    """
    place = samples.groupby("prompt_id").cumcount()
    certifying, fresh = samples[place % 2 == 0], samples[place % 2 == 1]
    certificate = coverage_certificate(certifying)
    certified = certificate[certificate["certified"]]
    if certified.empty or fresh.empty:
        return None
    keyed = samples.assign(key=response_keys(samples))
    top = keyed.loc[certifying.index][keyed.loc[certifying.index, "finished"]]
    low = top["prompt_id"].map(certificate["log_p_low"])
    argmax = set(map(tuple, top.loc[top["log_likelihood"] >= low - LIKELIHOOD_NOISE, ["prompt_id", "key"]].to_numpy()))
    fresh = keyed.loc[fresh.index]
    fresh = fresh[fresh["prompt_id"].isin(certified.index)]
    hit = np.fromiter((pair in argmax for pair in zip(fresh["prompt_id"], fresh["key"])), dtype=float, count=len(fresh))
    fresh = fresh.assign(hit=hit)
    smallest = int(fresh.groupby("prompt_id").size().min())
    n = doubling_grid(smallest) if n is None else np.asarray(n)
    measured, mass, variance = [], [], 0.0
    for ids, hits in rectangles(fresh, "hit"):
        q, m = np.exp(certified.loc[ids, "log_q"].to_numpy()), hits.shape[1]
        measured.append(pass_at_n(hits, n))
        mass.append(q)
        possible = pass_at_n(np.arange(m)[None] < np.arange(m + 1)[:, None], n)  # by the number of hits 0..m
        chance = stats.binom.pmf(np.arange(m + 1), m, q[:, None])
        variance += (chance @ possible**2 - best_of_n_hit(q[:, None], n) ** 2).sum(axis=0)
    measured, mass = np.concatenate(measured), np.concatenate(mass)
    value = measured.mean(axis=0)
    margin = stats.norm.ppf((1 + level) / 2) * np.sqrt(np.maximum(variance, 0)) / len(measured)
    return HitRates(n, mass, Estimate(value, value - margin, value + margin), len(fresh))


def doubling_grid(largest: int) -> np.ndarray:
    """1, 2, 4, … and `largest` itself."""
    return np.unique(np.append(2 ** np.arange(int(np.log2(largest)) + 1), largest))
