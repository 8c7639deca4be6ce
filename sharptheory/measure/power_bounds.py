"""What a pool proves about the power law ``π^α/Z_α``, α > 1: two-sided, prompt by prompt, with no statistics.

With ``A = Σ π^α`` over the *distinct* sampled finished responses, S their mass and ``U = 1 - S`` that of all others, every other
response has at most U, so ``A ≤ Z_α ≤ A + U^α``. From there follow bounds on Rényi entropies, on expectations under the power
law, on its divergence from the base, and on the α at which it has a given mean log-likelihood. All are tight when the pool
holds all responses, and close as soon as it holds most of the mass; for ``α ≤ 1`` what was not sampled may count arbitrarily much.

Where the scores of one sequence of tokens scatter by τ somewhere in the pool, more than `LIKELIHOOD_NOISE`, every score of
the pool may be off by τ either way, as in `coverage_certificate`, and the bounds allow for it.

Source: [S8], proved in docs/theory.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, wrightomega

from sharptheory.errors import UserError, expect_numbers
from sharptheory.measure.pool import Pool, as_pool, shown
from sharptheory.measure.responses import distinct, unidentified

#: Powers at which the moment is compared, before the last step is refined.
POWERS = 1 + np.geomspace(1e-3, 1e3, 31)
#: Halvings of an interval.
HALVINGS = 40


@dataclass(frozen=True)
class _Seen:
    """The distinct finished responses of a pool, by prompt.

    Attributes:
        prompt_ids: in the order of the samples, ``[X]``. prompt: of each distinct response, ``[D]``.
        log_p: their log-likelihoods ``[D]``. of_sample: which of them each sample is, -1 for one that is not finished.
        log_unseen: ``log U`` ``[X]``, noise allowed for. noise: τ, nats.
    """

    prompt_ids: pd.Index
    prompt: np.ndarray
    log_p: np.ndarray
    of_sample: np.ndarray
    log_unseen: np.ndarray
    noise: float

    def log_sums(self, alpha: np.ndarray, *values: np.ndarray) -> tuple[np.ndarray, ...]:
        """``log Σ π^α v / π_1^α`` of each prompt ``[X]`` for values ``v ≥ 0`` ``[D]``, relative to its likeliest response
        π_1, and last ``log π_1^α``; -inf where nothing was seen.

        In logarithms throughout: a sum that is 1e-300 of another may be the larger one once scores are off by τ.
        """
        top = self._largest(self.log_p)
        weights = alpha[self.prompt] * (self.log_p - top[self.prompt])
        with np.errstate(divide="ignore"):
            sums = [self._log_sum(weights + np.log(value)) for value in values]
        return *sums, np.where(top == -np.inf, -np.inf, alpha * np.where(top == -np.inf, 0.0, top))

    def _largest(self, terms: np.ndarray) -> np.ndarray:
        top = np.full(len(self.prompt_ids), -np.inf)
        np.maximum.at(top, self.prompt, terms)
        return top

    def _log_sum(self, terms: np.ndarray) -> np.ndarray:
        top = self._largest(terms)
        finite = np.where(top == -np.inf, 0.0, top)
        with np.errstate(divide="ignore"):
            return finite + np.log(np.bincount(self.prompt, np.exp(terms - finite[self.prompt]), minlength=len(top)))


def power_certificate(pool: Pool | pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Certain bounds on ``Z_α`` and what follows from it, for each prompt.

    Args:
        pool: with token ids or text. alpha: the power, > 1.

    Returns:
        One row per prompt_id: `log_z_low`, `log_z_high` (``log Σ π^α``); `renyi_low`, `renyi_high` (entropy
        ``H_α = log Z_α/(1-α)``); `mean_low`, `mean_high` (``E[log π]`` under the power law); `kl_low`, `kl_high`
        (``KL(π_α‖π)``); nats. Without any finished response they are what is always true, with infinite ends.

    Raises:
        UserError: a power that is not above 1 and finite, or as in `distinct_responses`: it is not known which responses are
            equal, or likelihoods are no probabilities.

    ```python
    >>> pool = pd.DataFrame({"prompt_id": 0, "response": ["a", "b"], "log_likelihood": np.log([0.6, 0.3])})
    >>> power_certificate(pool, 2.0)[["renyi_low", "renyi_high"]].round(3).values.tolist()  # 0.45 ≤ Z_2 ≤ 0.45 + 0.1²
    [[0.777, 0.799]]

    ```
    """
    alpha = _checked(alpha)
    seen = _seen(as_pool(pool))
    powers = np.full(len(seen.prompt_ids), alpha)
    (z_low, z_high), (low, high) = _log_z(seen, powers), _surprise(seen, powers)
    with np.errstate(invalid="ignore"):
        columns = {
            "log_z_low": z_low,
            "log_z_high": z_high,
            "renyi_low": -z_high / (alpha - 1) + 0.0,
            "renyi_high": -z_low / (alpha - 1) + 0.0,
            "mean_low": -high,
            "mean_high": -low + 0.0,
            "kl_low": np.maximum(-(alpha - 1) * high - z_high, 0.0),
            "kl_high": np.maximum(-(alpha - 1) * low - z_low, 0.0),
        }
    return pd.DataFrame(columns, index=seen.prompt_ids)


def power_mean_bounds(
    pool: Pool | pd.DataFrame, alpha: float, value: str = "correct", *, ends: tuple[float, float] = (0.0, 1.0)
) -> pd.DataFrame:
    """Certain bounds on the expectation of a bounded quantity under the power law ``π^α/Z_α``, for each prompt.

    What was not sampled has at most the share ``U^α/(A + U^α)``, and there the quantity may be at either end.

    Args:
        pool: prompts with a null `value` are left out. alpha: the power, > 1. value: column to average, a function of the
            response. ends: between which it lies by its nature.

    Returns:
        One row per prompt_id, `low` and `high`.

    Raises:
        UserError: as `power_certificate`, an unknown column, or a value beyond the ends.

    ```python
    >>> pool = pd.DataFrame({"prompt_id": 0, "response": ["a", "b"], "log_likelihood": np.log([0.6, 0.3]),
    ...                      "correct": [True, False]})
    >>> power_mean_bounds(pool, 2.0).round(3).values.tolist()  # 0.36 of 0.46, to 0.37 of 0.46
    [[0.783, 0.804]]

    ```
    """
    alpha, (bottom, top) = _checked(alpha), ends
    if not (np.isfinite(ends).all() and bottom < top):
        raise UserError(f"ends={ends}; expected two finite numbers, the smaller first")
    known = as_pool(pool).graded(value)
    numbers = known.numbers(value)
    if not ((numbers >= bottom) & (numbers <= top)).all():
        raise UserError(f"column {value!r} has values from {numbers.min():g} to {numbers.max():g}; expected {ends}")
    seen = _seen(known)
    powers = np.full(len(seen.prompt_ids), alpha)
    finished = seen.of_sample >= 0
    total, count = (
        np.bincount(seen.of_sample[finished], each, minlength=len(seen.log_p)) for each in (numbers[finished], None)
    )
    share = np.clip((total / count - bottom) / (top - bottom), 0.0, 1.0)
    log_up, log_down, log_a, log_top = seen.log_sums(powers, share, 1 - share, np.ones(len(share)))
    unseen = _unseen_share(seen, powers, log_a + log_top)
    # Scores that are off by τ change the ratio of two weights by at most e^{2ατ}.
    slack = 2 * powers * seen.noise
    with np.errstate(invalid="ignore"):
        odds = np.where(log_a == -np.inf, 0.0, log_up - log_down)
    low, high = (1 - unseen) * expit(odds - slack), (1 - unseen) * expit(odds + slack) + unseen
    return pd.DataFrame({"low": bottom + (top - bottom) * low, "high": bottom + (top - bottom) * high}, seen.prompt_ids)


def matched_power(pool: Pool | pd.DataFrame, moment: float | pd.Series) -> pd.DataFrame | tuple[float, float]:
    """Certain bounds on the power α* at which ``E[log π]`` under ``π^α/Z_α`` is a given moment.

    For the moment of a tuned model this is the tilt that comes closest to it; above 1 the tuning sharpened.

    Args:
        pool: of the base policy. moment: nats; one per prompt, indexed by prompt_id, or one number for a shared α, whose
            mean over prompts has to match.

    Returns:
        `alpha_low` and `alpha_high`: a row per prompt_id, or two numbers. ``-inf`` where α* may be at most 1, which no pool
        can bound; ``inf`` where it may be larger than 1,001.

    Raises:
        UserError: as `power_certificate`; a moment that is positive or no number, or a prompt without one.

    ```python
    >>> pool = pd.DataFrame({"prompt_id": 0, "response": ["a", "b"], "log_likelihood": np.log([0.75, 0.25])})
    >>> low, high = matched_power(pool, 0.9 * np.log(0.75) + 0.1 * np.log(0.25))  # (0.9, 0.1) is the law at α = 2
    >>> round(low, 9), round(high, 9)
    (2.0, 2.0)

    ```
    """
    seen = _seen(as_pool(pool))
    shared = not isinstance(moment, pd.Series)
    if not shared and (missing := seen.prompt_ids.difference(moment.index)).size:
        raise UserError(f"moment has no value for prompt {shown(missing[0])}; expected one for each prompt")
    try:
        target = -np.atleast_1d(np.asarray(moment if shared else moment.reindex(seen.prompt_ids), dtype=float))
    except (TypeError, ValueError):
        raise UserError(f"moment={moment!r:.60}; expected numbers of at most 0, in nats") from None
    if target.ndim > 1 or (shared and target.size > 1) or not (np.isfinite(target) & (target >= 0)).all():
        raise UserError(f"moment={moment!r:.60}; expected numbers of at most 0, in nats")

    def bounds(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of ``E[-log π]``; one pair for all prompts if they share α."""
        low, high = _surprise(seen, np.broadcast_to(alpha, len(seen.prompt_ids)))
        return (np.atleast_1d(low.mean()), np.atleast_1d(high.mean())) if shared else (low, high)

    # The surprise falls in α: where it is proved to be above the target α* is larger, where below, smaller.
    low = _last(lambda alpha: bounds(alpha)[0] > target, POWERS, target.size)
    high = _last(lambda alpha: bounds(alpha)[1] < target, POWERS[::-1], target.size)
    low, high = np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
    if shared:
        return float(low[0]), float(high[0])
    return pd.DataFrame({"alpha_low": low, "alpha_high": high}, index=seen.prompt_ids)


def _checked(alpha: float) -> float:
    expect_numbers("(1, inf)", alpha=alpha)
    return float(alpha)


def _seen(pool: Pool) -> _Seen:
    """The distinct finished responses, with the mass that they leave and the noise of their scores."""
    if reason := unidentified(pool):
        raise UserError(reason)
    found = distinct(pool)
    noise = found.error()
    with np.errstate(divide="ignore"):
        log_unseen = np.log(np.maximum(1 - found.mass * np.exp(-noise), 0.0))
    return _Seen(found.prompt_ids, found.prompt, np.minimum(found.highest, 0.0), found.of_sample, log_unseen, noise)


def _log_z(seen: _Seen, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``A e^{-ατ} ≤ Z ≤ min(1, A e^{ατ} + U^α)``, in logarithms."""
    log_a = sum(seen.log_sums(alpha, np.ones(len(seen.log_p))))
    slack = alpha * seen.noise
    return np.minimum(log_a - slack, 0.0), np.minimum(np.logaddexp(log_a + slack, alpha * seen.log_unseen), 0.0)


def _unseen_share(seen: _Seen, alpha: np.ndarray, log_a: np.ndarray) -> np.ndarray:
    """The largest share that unseen responses can have of the power law, ``U^α/(A + U^α)``."""
    log_u = alpha * seen.log_unseen
    with np.errstate(invalid="ignore"):
        total = np.logaddexp(log_a - alpha * seen.noise, log_u)
        return np.where(log_u == -np.inf, 0.0, np.exp(log_u - total))


def _surprise(seen: _Seen, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds on ``E[-log π]`` under the power law, ``[X]`` each.

    Unseen responses have ``-log π ≥ log(1/U)``, which gives the lower one. The upper one is the λ with
    ``A (λ - m) = U g(λ)``: m the mean over seen responses, ``g(λ) = max_{t ≤ U} t^{α-1} (log(1/t) - λ)₊`` what a unit of
    unseen mass can add above λ. It is attained, by unseen responses of the best size t.
    """
    log_mean, log_a, log_top = seen.log_sums(alpha, -seen.log_p, np.ones(len(seen.log_p)))
    log_mean, log_a = (
        np.where(log_a == -np.inf, -np.inf, log_mean - np.where(log_a == -np.inf, 0.0, log_a)),
        log_a + log_top,
    )
    # Scores that are off by τ change the ratio of two weights by at most e^{2ατ}.
    slack = 2 * alpha * seen.noise
    low = np.maximum(np.exp(log_mean - slack) - seen.noise, 0.0)
    high = np.exp(np.minimum(log_mean + slack, 700.0)) + seen.noise
    share, least = _unseen_share(seen, alpha, log_a), -seen.log_unseen
    closed = least == np.inf
    least = np.where(closed, 0.0, least)
    below = np.where(closed, low, np.minimum(low, (1 - share) * low + share * least))
    over = alpha - 1
    with np.errstate(invalid="ignore"):
        # Where t = U is best, λ mixes seen and unseen; elsewhere t = e^{-λ-1/(α-1)}, and λ is Wright's omega function.
        edge = (1 - share) * high + share * least
        inner = high + wrightomega(seen.log_unseen - log_a + alpha * seen.noise - over * high - 1) / over
        above = np.where(inner + 1 / over >= least, inner, edge)
    return below, np.where(log_a == -np.inf, np.inf, np.where(closed, high, above))


def _last(proved, powers: np.ndarray, n: int) -> np.ndarray:
    """The last of the powers at which something is proved, refined towards the next one, ``[n]``; NaN if there is none.

    What is proved at one power holds whatever is or is not proved at others, so no order is assumed.
    """
    found, open_end = np.full(n, np.nan), np.full(n, powers[0])
    for power, following in zip(powers, [*powers[1:], powers[-1]]):
        holds = proved(np.full(n, power))
        found, open_end = np.where(holds, power, found), np.where(holds, following, open_end)
    start = np.where(np.isnan(found), powers[0], found)
    for _ in range(HALVINGS):
        middle = (start + open_end) / 2
        holds = proved(middle)
        start, open_end = np.where(holds, middle, start), np.where(holds, open_end, middle)
    return np.where(np.isnan(found), np.nan, start)
