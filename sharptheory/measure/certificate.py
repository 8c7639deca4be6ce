"""What a pool proves about the likeliest response, and the exact law of finding it against measurement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import logsumexp

from sharptheory.errors import UserError
from sharptheory.measure.best_of_n import best_of_n_curve, checked_n, doubling_grid
from sharptheory.measure.bootstrap import CONFIDENCE, Estimate, mean_over_prompts
from sharptheory.measure.pool import Pool, as_pool, rectangles, shown, token_codes
from sharptheory.theory.laws import best_of_n_hit

#: Two likelihoods of one sequence scored in two batch shapes differ by about this much (nats, float32).
LIKELIHOOD_NOISE = 1e-4
#: Distinct responses of one prompt whose probabilities add up to more than this are not those of one policy: float32 sums
#: over tokens err by far less, and what half precision adds is measured on repeated responses (`distinct_responses`).
TOTAL_MASS = 1.01


def coverage_certificate(pool: Pool | pd.DataFrame) -> pd.DataFrame:
    """What a pool proves about ``p*(x) = max_y π(y|x)``, prompt by prompt, with no statistics.

    With ``p̂`` the largest sampled probability and ``S`` the total probability of the *distinct* sampled finished
    responses, ``p̂ ≤ p* ≤ max(p̂, 1 - S)``; the argmax is certified when ``1 - S ≤ p̂``.

    Where the scores of one sequence of tokens scatter by τ, more than `LIKELIHOOD_NOISE`, every score of that prompt may
    be too high by τ: what is unseen has at most ``1 - S e^{-τ}``, so that ``p̂ e^{-τ} ≤ p* ≤ max(p̂, 1 - S e^{-τ})``,
    certified when ``1 - S e^{-τ} ≤ p̂ e^{-τ}``.

    Distinct means distinct token ids, or distinct text without them. Of a pool with neither, responses whose likelihoods
    are within `LIKELIHOOD_NOISE` count as one: merging different ones only loosens the upper bound (but equal ones scored
    further apart, in half precision, would count twice). What needs to know which are equal, `log_q`, is NaN.

    Returns:
        One row per prompt, indexed by prompt_id: `log_p_low`, `log_p_high` (nats; ``-inf, 0`` without any finished
        response), `certified`, `log_q` (mass of the sampled maximisers, tied within `LIKELIHOOD_NOISE`; NaN if responses
            have neither text nor token ids), `n_samples`.

    Raises:
        UserError: distinct responses of a prompt have a total probability above 1: these are not log-likelihoods of
            whole responses sampled at temperature 1 (per-token averages?), and no coverage coefficient follows from them.

    Source: [S5], proved in docs/theory.md.

    ```python
    >>> pool = pd.DataFrame({"prompt_id": [0, 0, 0], "response": ["a", "b", "a"], "log_likelihood": np.log([0.6, 0.3, 0.6])})
    >>> coverage_certificate(pool)[["log_p_low", "certified"]].round(3).values.tolist()
    [[-0.511, True]]

    ```
    """
    pool = as_pool(pool)
    counts = pool.sizes
    known = unidentified(pool) is None
    keys = response_keys(pool) if known else _clusters(pool)
    values = _distinct(pool, keys)
    table = pd.DataFrame(
        {"log_p_low": -np.inf, "log_p_high": 0.0, "certified": False, "log_q": -np.inf}, index=counts.index
    )
    if len(values):
        best, noise = values.groupby(level=0).max(), 0.0
        if _has_tokens(pool):
            noise = _scatter(pool, keys)
            noise = noise.where(noise > LIKELIHOOD_NOISE, 0.0)
        low = best - noise
        rest = -np.expm1(np.minimum(_log_sums(values) - noise, 0.0))
        with np.errstate(divide="ignore"):
            high = np.maximum(best, np.log(rest))
        edge = low - LIKELIHOOD_NOISE
        tied = values[values.to_numpy() >= edge.loc[values.index.get_level_values(0)].to_numpy()]
        found = {"log_p_low": low, "log_p_high": high, "certified": rest <= np.exp(low),
                 "log_q": np.minimum(_log_sums(tied), 0.0)}  # fmt: skip
        table = pd.DataFrame(found).reindex(counts.index).fillna(table).astype(table.dtypes)
    if not known:
        table["log_q"] = np.nan
    return table.assign(n_samples=counts)


def distinct_responses(pool: Pool | pd.DataFrame) -> pd.Series:
    """Log-likelihoods of the distinct finished responses of each prompt, indexed by ``(prompt_id, key)``.

    Raises:
        UserError: it is not known which responses are equal (`unidentified`); or those of one prompt have a total
            probability above 1, by more than the scatter of equal responses.
    """
    pool = as_pool(pool)
    return _distinct(pool, response_keys(pool))


def _distinct(pool: Pool, keys: np.ndarray) -> pd.Series:
    """`distinct_responses`, where responses of one key are one."""
    values = _scores(pool, keys).max()
    excess = _log_sums(values) - np.log(TOTAL_MASS)
    if _has_tokens(pool):
        # Likelihoods in half precision scatter; where S is near 1 responses repeat, and show by how much.
        excess -= _scatter(pool, keys)
    if (excess > 0).any():
        prompt_id = excess.idxmax()
        given = values.loc[prompt_id]
        raise UserError(
            f"prompt {shown(prompt_id)}: its {len(given)} distinct responses have a total probability of "
            f"{np.exp(logsumexp(given)):.3g} > 1, so log_likelihood is not log π(y|x) of whole responses sampled at "
            "temperature 1 (an average per token, or another temperature?); nothing about coverage follows from it"
        )
    return values


def _scatter(pool: Pool, keys: np.ndarray) -> pd.Series:
    """By how much the log-likelihoods of one response differ at most, per prompt with a finished one."""
    groups = _scores(pool, keys)
    return (groups.max() - groups.min()).groupby(level=0).max()


def _scores(pool: Pool, keys: np.ndarray):
    """Log-likelihoods of finished samples, grouped by prompt and response."""
    keyed = pool.samples[["prompt_id", "log_likelihood"]].assign(key=keys)[pool.finished]
    return keyed.groupby(["prompt_id", "key"])["log_likelihood"]


def _log_sums(values: pd.Series) -> pd.Series:
    """``log Σ exp`` of the values of each prompt, whose rows follow one another."""
    codes, prompt_ids = pd.factorize(values.index.get_level_values(0))
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    sums = np.logaddexp.reduceat(values.to_numpy(), starts) if len(values) else np.empty(0)
    return pd.Series(sums, index=pd.Index(prompt_ids, name="prompt_id"))


def _has_tokens(pool: Pool) -> bool:
    return "tokens" in pool and bool(pool["tokens"].notna().all())


def unidentified(pool: Pool | pd.DataFrame) -> str | None:
    """Why it is not known which samples are the same response; None if it is: all have token ids, or all have text."""
    pool = as_pool(pool)
    columns = [column for column in ("response", "tokens") if column in pool]
    if any(pool[column].notna().all() for column in columns):
        return None
    what = f"{columns[0]!r} is null on some samples" if columns else "'response' or 'tokens' is missing"
    return (
        f"column {what}; the pool has {pool.names}. Responses as likely as each other can be told apart only by their text "
        "or token ids"
    )


def response_keys(pool: Pool | pd.DataFrame) -> np.ndarray:
    """A label per sample that equal responses of a prompt share: token ids, else text.

    Raises:
        UserError: there is neither (`unidentified`): equal likelihoods do not make responses equal.
    """
    pool = as_pool(pool)
    if reason := unidentified(pool):
        raise UserError(reason)
    return token_codes(pool["tokens"]) if _has_tokens(pool) else pool["response"].to_numpy()


def _clusters(pool: Pool) -> np.ndarray:
    """Labels of single-linkage clusters of log-likelihoods within `LIKELIHOOD_NOISE`, per prompt."""
    codes, values = pd.factorize(pool["prompt_id"])[0], pool.numbers("log_likelihood")
    order = np.lexsort((values, codes))
    jump = np.ones(len(values), dtype=bool)
    jump[1:] = (np.diff(values[order]) > LIKELIHOOD_NOISE) | (np.diff(codes[order]) != 0)
    labels = np.empty(len(values), dtype=np.int64)
    labels[order] = np.cumsum(jump)
    return labels


@dataclass(frozen=True)
class CoverageBound:
    """What a pool says of ``C̄_cov = E_x[1/p*(x)]``: a bound on these prompts, and estimates for all prompts.

    Attributes:
        low, high: identification bound, the means over these prompts of ``1/max(p̂, 1-S)`` and of ``1/p̂``. The
            coefficient of *these prompts* lies between them with certainty; their distance is what the samples leave
            open, not chance.
        at_least: lower confidence bound on the coefficient of the population of prompts, valid for every distribution
            (`mean_at_least`). There is no such upper bound: a prompt that was not met may have any ``1/p*``.
        low_estimate, high_estimate: `low` and `high` as estimates for the population, with the interval of a mean. Where
            few prompts hold most of a mean of ``1/p*``, it misses above more often than it says (docs/statistics.md).
    """

    low: float
    high: float
    at_least: float
    low_estimate: Estimate
    high_estimate: Estimate


def c_cov_bar_bound(certificate: pd.DataFrame, *, seed: int = 0) -> CoverageBound:
    """Bounds and estimates of ``C̄_cov`` from a `coverage_certificate`; ``inf`` where an end overflows."""
    with np.errstate(over="ignore"):
        ends = [np.exp(-certificate[column].to_numpy(dtype=float)) for column in ("log_p_high", "log_p_low")]
    estimates = [
        mean_over_prompts(end, ends=(1.0, np.inf))
        if np.isfinite(end).all()
        else Estimate(*np.full(3, np.inf), len(end))
        for end in ends
    ]
    low, high = (float(estimate.value) for estimate in estimates)
    return CoverageBound(low, high, mean_at_least(ends[0]), *estimates)


def mean_at_least(values: np.ndarray, *, smallest: float = 1.0, confidence: float = CONFIDENCE) -> float:
    """Lower confidence bound on the mean of a law on ``[smallest, ∞)``, for every such law and every sample size.

    With ``ε = √(log(1/α)/(2n))`` the law's distribution function is at most ``F_n + ε`` everywhere with probability
    ``1 - α`` (Dvoretzky-Kiefer-Wolfowitz, one-sided), so the largest values are taken as `smallest`, up to a mass of ε.

    Args:
        values: a sample, ``[n]``. smallest: lower end of the support. confidence: ``1 - α``.

    Raises:
        UserError: no values, one that is NaN or below `smallest`, or a confidence outside (0, 1).

    Source: Anderson, *Confidence Limits for the Expected Value of an Arbitrary Bounded Random Variable* (1969), with
    Massart's constant (1990).
    """
    values = np.sort(np.atleast_1d(np.asarray(values, dtype=float)))
    n = len(values)
    if values.ndim != 1 or n == 0 or not values.min() >= smallest - 1e-9 * abs(smallest):
        raise UserError(
            f"values: shape {values.shape}, least {values.min(initial=np.inf):g}; expected [n] from {smallest:g}"
        )
    if not 0 < confidence < 1:
        raise UserError(f"confidence={confidence}; expected a number between 0 and 1")
    kept = np.clip(1 - np.sqrt(-np.log(1 - confidence) / (2 * n)) - np.arange(n) / n, 0.0, 1 / n)
    above = np.where(kept > 0, values - smallest, 0.0)
    return float(smallest + kept @ above)


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
        return best_of_n_hit(self.mass[:, None], checked_n(n, whole=False)).mean(axis=0)

    def disagreements(self) -> int:
        """How many of the N have the prediction outside the measured interval."""
        predicted = self.law(self.n)
        return int(np.sum((predicted < self.measured.low) | (predicted > self.measured.high)))


def argmax_hit_rates(
    pool: Pool | pd.DataFrame, n: np.ndarray | None = None, *, confidence: float = CONFIDENCE
) -> HitRates | None:
    """The exact law ``1 - (1 - q)^N`` against the rate at which fresh samples hit the certified argmax.

    Even samples of each prompt certify its argmax and give ``q``; odd samples, which had no part in that, are searched
    for it: a pool that certifies its own argmax has sampled it, so one half for both would agree by construction. The
    interval is the measured rate ± the exact standard deviation that the law gives it on these prompts, times the
    normal quantile, cut to [0, 1]: the prompts are given, only the draws are random.

    Returns:
        None if no prompt is certified or a prompt has fewer than 2 samples.

    Raises:
        UserError: as `distinct_responses`; an N out of range, or no such confidence.
    """
    if not 0 < confidence < 1:
        raise UserError(f"confidence={confidence}; expected a number between 0 and 1")
    pool = as_pool(pool)
    distinct_responses(pool)  # refuses likelihoods that are no probabilities: half a pool may not show it
    keyed = pool.assign(key=response_keys(pool))
    even = pool.samples.groupby("prompt_id").cumcount().to_numpy() % 2 == 0
    certifying, fresh = keyed.take(even), keyed.take(~even)
    certificate = coverage_certificate(certifying)
    certified = certificate[certificate["certified"]]
    if certified.empty or len(fresh.samples) == 0:
        return None
    top = certifying.samples[certifying.finished]
    low = top["prompt_id"].map(certificate["log_p_low"])
    argmax = pd.MultiIndex.from_frame(top.loc[top["log_likelihood"] >= low - LIKELIHOOD_NOISE, ["prompt_id", "key"]])
    fresh = fresh.take(fresh["prompt_id"].isin(certified.index))
    fresh = fresh.assign(hit=pd.MultiIndex.from_frame(fresh.samples[["prompt_id", "key"]]).isin(argmax).astype(float))
    largest = int(fresh.sizes.min())
    n = doubling_grid(largest) if n is None else checked_n(n, largest)
    measured, mass, variance = [], [], 0.0
    for ids, hits in rectangles(fresh, "hit"):
        q, m = np.exp(certified.loc[ids, "log_q"].to_numpy()), hits.shape[1]
        measured.append(best_of_n_curve(hits, hits, n))
        mass.append(q)
        by_hits = 1.0 * (np.arange(m)[None] < np.arange(m + 1)[:, None])  # pools with 0..m hits
        possible = best_of_n_curve(by_hits, by_hits, n)
        chance = stats.binom.pmf(np.arange(m + 1), m, q[:, None])
        variance += (chance @ possible**2 - best_of_n_hit(q[:, None], n) ** 2).sum(axis=0)
    measured, mass = np.concatenate(measured), np.concatenate(mass)
    value = measured.mean(axis=0)
    margin = stats.norm.ppf((1 + confidence) / 2) * np.sqrt(np.maximum(variance, 0)) / len(measured)
    interval = Estimate(value, np.maximum(value - margin, 0.0), np.minimum(value + margin, 1.0), len(measured))
    return HitRates(n, mass, interval, len(fresh.samples))
