"""What a pool proves about the likeliest response, and the exact law of finding it against measurement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import signal, stats

from sharptheory.errors import UserError, expect_numbers
from sharptheory.measure.best_of_n import best_of_n_weights, checked_n, doubling_grid
from sharptheory.measure.bootstrap import CONFIDENCE, Estimate, mean_over_prompts
from sharptheory.measure.pool import Pool, as_pool, rectangles
from sharptheory.measure.responses import (
    LIKELIHOOD_NOISE,
    Distinct,
    distinct,
    response_keys,
    unidentified,
)
from sharptheory.theory.laws import best_of_n_hit


def coverage_certificate(pool: Pool | pd.DataFrame, *, noise: float = 0.0) -> pd.DataFrame:
    """What a pool proves about ``p*(x) = max_y π(y|x)``, prompt by prompt, with no statistics.

    With ``p̂`` the largest sampled probability and ``S`` the total probability of the *distinct* sampled finished
    responses, ``p̂ ≤ p* ≤ max(p̂, 1 - S)``; the argmax is certified when ``1 - S ≤ p̂``.

    Likelihoods of a real engine carry an error. Let each score be within τ nats of the truth, and h, l be the largest and
    smallest score of a response: ``e^{h-τ} ≤ π(y|x) ≤ u(y)`` with ``u(y) = min(e^{l+τ}, 1 - e^{-τ}(S - e^h))``, as the other
    responses have at least ``e^{-τ}(S - e^h)``; likewise an unseen one has at most ``1 - e^{-τ} S``. So
    ``e^{-τ} p̂ ≤ p* ≤ max(max_y u(y), 1 - e^{-τ} S)``, and the argmax is certified when neither an unseen response nor
    another sampled one may have more than ``e^{-τ} p̂``.

    A pool shows τ by the scores of repeated sequences of tokens: τ is the largest distance of two scores of one response
    in the whole pool, or `noise` if that is more. It is enough as soon as the truth lies between two scores of a response
    that err like the others. Up to `LIKELIHOOD_NOISE` it counts as 0, as rounding does everywhere.

    Distinct means distinct token ids, or distinct text without them. Of a pool with neither, responses whose likelihoods
    are within `LIKELIHOOD_NOISE` count as one: merging different ones only loosens the upper bound (but equal ones scored
    further apart, in half precision, would count twice; `noise` says how far). What needs to know which are equal,
    `log_q`, is NaN.

    Args:
        noise: by how much each log-likelihood may be wrong, nats, where more is known of the engine than the pool shows.

    Returns:
        One row per prompt, indexed by prompt_id: `log_p_low`, `log_p_high` (nats; ``-inf, 0`` without any finished
        response), `certified`, `log_q` (measured mass of the likeliest sampled responses, tied within
        `LIKELIHOOD_NOISE`; NaN if responses have neither text nor token ids), `n_samples`.

    Raises:
        UserError: a noise that is no number from 0, or distinct responses of a prompt have a total probability above 1:
            these are not log-likelihoods of whole responses sampled at temperature 1 (per-token averages?), and no
            coverage coefficient follows from them.

    Source: [S5], proved in docs/theory.md.

    ```python
    >>> pool = pd.DataFrame({"prompt_id": [0, 0, 0], "response": ["a", "b", "a"], "log_likelihood": np.log([0.6, 0.3, 0.6])})
    >>> coverage_certificate(pool)[["log_p_low", "certified"]].round(3).values.tolist()
    [[-0.511, True]]

    ```
    """
    pool = as_pool(pool)
    expect_numbers("[0, inf)", noise=noise)
    found, known = distinct(pool, noise=noise), unidentified(pool) is None
    error = found.error(noise)
    best, seen = found.largest(found.highest), np.exp(-error) * found.mass
    unseen = np.maximum(1 - seen, 0.0)
    low = np.minimum(best - error, 0.0)
    at_most = _at_most(found, error, known=known)
    with np.errstate(divide="ignore"):
        high = np.clip(np.maximum(found.largest(at_most), np.log(unseen)), low, 0.0)
    rival = found.largest(np.where(found.is_likeliest, -np.inf, at_most))
    tied = found.highest >= best[found.prompt] - LIKELIHOOD_NOISE
    with np.errstate(divide="ignore"):
        log_q = best + np.log(found.total(np.where(tied, np.exp(found.highest - best[found.prompt]), 0.0)))
    return pd.DataFrame(
        {
            "log_p_low": low,
            "log_p_high": high,
            "certified": (unseen <= np.exp(low)) & (rival <= low),
            "log_q": np.minimum(log_q, 0.0) if known else np.nan,
            "n_samples": found.sizes,
        },
        index=found.prompt_ids,
    )


def _at_most(found: Distinct, error: float, *, known: bool) -> np.ndarray:
    """``log u(y)`` of each distinct response; of responses that cannot be recognised the largest score is all there is."""
    mass = np.exp(found.highest)
    others = np.exp(-error) * (found.mass[found.prompt] - mass)
    with np.errstate(divide="ignore"):
        room = np.log(np.maximum(1 - others, 0.0))
    own = (found.lowest if known else found.highest) + error
    return np.maximum(np.minimum(own, room), found.highest - error)


@dataclass(frozen=True)
class CoverageBound:
    """What a pool says of ``C̄_cov = E_x[1/p*(x)]``: a bound on these prompts, and estimates for all prompts.

    Attributes:
        low, high: identification bound, the means over these prompts of ``1/max(p̂, 1-S)`` and of ``1/p̂``, with room for
            the error of the likelihoods (`coverage_certificate`). The
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


def c_cov_bar_bound(certificate: pd.DataFrame) -> CoverageBound:
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
        hits, expected: how many of them are the argmax, and how many the law expects.
        p_value: of the law at N = 1, where every sample is one trial: exact, two-sided (`hits_p_value`).
    """

    n: np.ndarray
    mass: np.ndarray
    measured: Estimate
    n_samples: int
    hits: int
    expected: float
    p_value: float

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
    normal quantile, cut to [0, 1]: the prompts are given, only the draws are random. The test at N = 1 is exact
    (`hits_p_value`), with room for the error that repeated responses show, and for rounding.

    Returns:
        None if no prompt is certified or a prompt has fewer than 2 samples.

    Raises:
        UserError: as `distinct_responses`; an N out of range, or no such confidence.
    """
    if not 0 < confidence < 1:
        raise UserError(f"confidence={confidence}; expected a number between 0 and 1")
    pool = as_pool(pool)
    keys = response_keys(pool)
    error = distinct(pool).error()  # also refuses likelihoods that are no probabilities: half a pool may not show it
    even = (np.arange(len(pool.samples)) - pool.starts[pool.prompt]) % 2 == 0
    certificate = coverage_certificate(pool.take(even))
    certified = certificate[certificate["certified"]]
    fresh = ~even & np.isin(pool.prompt, np.flatnonzero(pool.prompt_ids.isin(certified.index)))
    if certified.empty or not fresh.any():
        return None
    scores = pool.numbers("log_likelihood")
    best = np.full(len(pool.prompt_ids), -np.inf)
    np.maximum.at(best, pool.prompt[even & pool.finished], scores[even & pool.finished])
    top = even & pool.finished & (scores >= best[pool.prompt] - LIKELIHOOD_NOISE)
    response = pd.Series(pool.prompt * (int(keys.max()) + 1) + keys)
    held_out = pool.take(fresh).assign(hit=response[fresh].isin(response[top]).to_numpy(dtype=float))
    largest = int(held_out.sizes.min())
    n = doubling_grid(largest) if n is None else checked_n(n, largest)
    measured, mass, sizes, variance = [], [], [], np.zeros(len(n))
    for ids, hits in rectangles(held_out, "hit"):
        q, m = np.exp(certified.loc[ids, "log_q"].to_numpy()), hits.shape[1]
        mass.append(q)
        sizes.append(np.full(len(q), m))
        chance, rates = stats.binom.pmf(np.arange(m + 1), m, q[:, None]), np.empty((len(q), len(n)))
        for i, each in enumerate(n):
            # Of m responses the h likeliest are hits: the best of N is one with the weight of the h highest ranks.
            possible = np.append(0.0, np.minimum(np.cumsum(best_of_n_weights(m, each)[0, ::-1]), 1.0))
            rates[:, i] = possible[hits.sum(axis=1).astype(int)]
            variance[i] += (chance @ possible**2 - best_of_n_hit(q, each) ** 2).sum()
        measured.append(rates)
    measured, mass, sizes = map(np.concatenate, (measured, mass, sizes))
    value = measured.mean(axis=0)
    margin = stats.norm.ppf((1 + confidence) / 2) * np.sqrt(np.maximum(variance, 0)) / len(measured)
    interval = Estimate(value, np.maximum(value - margin, 0.0), np.minimum(value + margin, 1.0), len(measured))
    hits = int(held_out.numbers("hit").sum())
    p_value = hits_p_value(hits, sizes, mass, noise=max(error, LIKELIHOOD_NOISE))
    return HitRates(n, mass, interval, int(fresh.sum()), hits, float(sizes @ mass), p_value)


def hits_p_value(hits: int, sizes: np.ndarray, mass: np.ndarray, *, noise: float = 0.0) -> float:
    """Two-sided p-value of the number of hits ``H = Σ_x Binomial(M_x, q_x)``: twice the smaller tail, at most 1.

    The law of H is exact: that of a sum is the convolution of the laws, taken in pairs by the fast Fourier transform, so
    that a p-value is right to about 1e-14.

    Args:
        hits: how many there were. sizes: ``M_x`` trials of each prompt, ``[X]``. mass: ``q_x``, ``[X]``.
        noise: each ``log q_x`` may be wrong by as much, nats; every tail is then the largest that this allows.

    Raises:
        UserError: shapes differ, a mass that is no probability, or hits that cannot be.

    ```python
    >>> round(hits_p_value(1, [3, 2], [0.5, 0.5]), 6)  # 2 P(H ≤ 1) = 2 (1 + 5) / 32
    0.375

    ```
    """
    sizes, mass = np.atleast_1d(np.asarray(sizes, dtype=int)), np.atleast_1d(np.asarray(mass, dtype=float))
    expect_numbers("[0, inf)", noise=noise)
    if sizes.shape != mass.shape or sizes.ndim != 1 or not np.all((mass >= 0) & (mass <= 1 + 1e-9)):
        raise UserError(f"sizes {sizes.shape}, mass {mass.shape}; expected whole numbers and probabilities, both [X]")
    if not 0 <= hits <= sizes.sum():
        raise UserError(f"hits={hits}; expected a whole number from 0 to {sizes.sum()}")
    most, least = (np.minimum(mass * np.exp(sign * noise), 1.0) for sign in (1, -1))
    # A median of H is within 1 of its mean (Jogdeo and Samuels, 1968): a tail that holds the mean has half of the law.
    if hits <= sizes @ least:
        tail = _law_of_hits(sizes, least)[: hits + 1].sum()
    elif hits >= sizes @ most:
        tail = _law_of_hits(sizes, most)[hits:].sum()
    else:
        return 1.0
    return float(min(1.0, 2 * tail))


def _law_of_hits(sizes: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Probabilities of 0, 1, …, Σ sizes hits."""
    laws = []
    for size in np.unique(sizes):
        law = stats.binom.pmf(np.arange(size + 1), size, mass[sizes == size, None])
        while len(law) > 1:
            pairs = len(law) // 2 * 2
            odd = np.pad(law[pairs:], ((0, 0), (0, law.shape[1] - 1)))  # a sum with nothing
            law = np.concatenate([signal.fftconvolve(law[:pairs:2], law[1:pairs:2], axes=1), odd])
        laws.append(law[0])
    total = laws[0]
    for law in laws[1:]:
        total = signal.fftconvolve(total, law)
    return np.maximum(total[: sizes.sum() + 1], 0.0)
