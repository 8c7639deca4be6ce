"""What a pool proves about the likeliest response, and the exact law of finding it against measurement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import logsumexp

from sharptheory.measure.best_of_n import doubling_grid, pass_at_n
from sharptheory.measure.bootstrap import LEVEL, Estimate, bootstrap_mean
from sharptheory.measure.pool import rectangles
from sharptheory.theory.laws import best_of_n_hit

#: Two likelihoods of one sequence scored in two batch shapes differ by about this much (nats, float32).
LIKELIHOOD_NOISE = 1e-4


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
