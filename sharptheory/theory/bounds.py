"""The guarantees of the sharpening paper, one theorem one function, with explicit constants.

Constants are derived in docs/theory.md; numbers of theorems are those of arXiv 2412.01951. Functions whose name ends in
`_rate` are rates: constant 1, logarithms as printed, never asserted as bounds.

Arguments that many share: ``eps, delta, rho`` (ε, δ, ρ in (0, 1]: fraction of bad prompts, missing mass, failure
probability); ``log_class``, ``log|Π|`` in nats, the logarithm of the size of the policy class; ``coverage`` and
``c_cov_bar``, the coefficients ``C_cov,γ`` and ``C̄_cov``, ≥ 1; ``n_prompts``, ``n_responses``, counts; ``margin``,
``γ_margin > 0``; ``threshold``, ``μ_stop > 0``. An impossible value raises a UserError that names it. Where a function
of numbers is written for arrays, any shapes that broadcast will do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sharptheory.errors import UserError
from sharptheory.theory.laws import stopping_threshold
from sharptheory.theory.rows import as_floats

#: Hellinger price of missing mass δ where the target misses at most δ/2: ``D_H² ≥ κδ``; the paper uses 1/12.
KAPPA = (1 - 1 / np.sqrt(2)) ** 2


@dataclass(frozen=True)
class Cost:
    """What a guarantee asks for: `n_prompts`, `n_responses` per prompt, and their product in queries."""

    n_prompts: float
    n_responses: float

    @property
    def queries(self) -> float:
        return self.n_prompts * self.n_responses


#: What each argument must be: (test, description).
_EXPECTED = {
    **dict.fromkeys(("eps", "delta", "rho", "mass", "max_prob"), (lambda v: (v > 0) & (v <= 1), "a number in (0, 1]")),
    **dict.fromkeys(
        ("n_prompts", "n_pairs", "n_star", "margin", "threshold", "p", "sec", "r_max"),
        (lambda v: v > 0, "a positive number"),
    ),
    **dict.fromkeys(
        (
            "coverage",
            "c_cov_bar",
            "c_max",
            "c_conc",
            "c_loss",
            "n",
            "n_maximizers",
            "n_responses",
            "dimension",
            "rounds",
        ),
        (lambda v: v >= 1 - 1e-9, "a number ≥ 1"),
    ),
    # Masses that were added up may pass 1 by rounding.
    **dict.fromkeys(("min_max_prob", "missing"), (lambda v: (v >= 0) & (v <= 1 + 1e-9), "a number in [0, 1]")),
    **dict.fromkeys(("disagreement", "hellinger"), (lambda v: v >= 0, "a number ≥ 0")),
    "log_class": (lambda v: (v >= 0) & (v < np.inf), "a finite log|Π| ≥ 0"),
}
#: Those that may be arrays.
_ARRAYS = {"mass", "max_prob", "n_maximizers", "missing", "n", "threshold"}


def _check(**arguments: float) -> None:
    for name, value in arguments.items():
        test, expected = _EXPECTED[name]
        numbers = as_floats(value, name)
        if not np.all(test(numbers)) or (numbers.ndim and name not in _ARRAYS):
            raise UserError(f"{name}={value}; expected {expected}")


# Best-of-N ------------------------------------------------------------------------------------------------------------


def best_of_n_density_ratio(n: float) -> float:
    """``π_BoN/π_base ≤ N`` for every reward.

    Args:
        n: N ≥ 1.

    Source: docs/theory.md, Best-of-N.
    """
    _check(n=n)
    return n


def best_of_n_kl(n: np.ndarray) -> np.ndarray:
    """``KL(π_BoN‖π_base) ≤ log N - (N-1)/N``, with equality for atomless rewards.

    Args:
        n: N ≥ 1, any shape.

    Source: docs/theory.md, Best-of-N.
    """
    _check(n=n)
    n = np.asarray(n, dtype=float)
    with np.errstate(invalid="ignore"):
        return np.where(n == np.inf, np.inf, np.log(n) - (n - 1) / n)[()]


def best_of_n_concentrability(n: np.ndarray) -> np.ndarray:
    """``C_{π_BoN} ≤ N²/(2N-1)``, with equality for atomless rewards.

    Args:
        n: N ≥ 1, any shape.

    Source: docs/theory.md, Best-of-N.
    """
    _check(n=n)
    n = np.asarray(n, dtype=float)
    return n / (2 - 1 / n)


def best_of_n_needed(mass: np.ndarray, rho: float) -> np.ndarray:
    """``N ≥ log(1/ρ)/q_γ`` samples hit ``y*_γ`` with probability ``1-ρ``.

    Args:
        mass: ``q_γ`` in (0, 1], any shape. rho: ρ in (0, 1].

    Source: Proposition C.1.
    """
    _check(mass=mass, rho=rho)
    return np.maximum(-np.log(rho) / np.asarray(mass, dtype=float), 1.0)


# SFT-Sharpening -------------------------------------------------------------------------------------------------------


@np.errstate(over="ignore")
def mle_hellinger(n_prompts: float, log_class: float, rho: float) -> float:
    """MLE over a finite realizable class: ``E_x D_H²(π̂, π) ≤ 2 log(|Π|/ρ)/n`` with probability ``1-ρ``.

    Args:
        n_prompts: n > 0. log_class: ``log|Π|``, nats. rho: ρ in (0, 1].

    Source: Lemma F.1.
    """
    _check(n_prompts=n_prompts, log_class=log_class, rho=rho)
    return 2 * (log_class - np.log(rho)) / n_prompts


def bad_prompts_from_hellinger(hellinger: float, delta: float) -> float:
    """``P_x[π̂(A|x) ≤ 1-δ] ≤ E_x D_H²(π̂, π)/(κδ)`` where the target has ``π(A|x) ≥ 1-δ/2``.

    Args:
        hellinger: ``E_x D_H²(π̂, π)``, in [0, 2].

    Source: docs/theory.md, Hellinger price.
    """
    _check(hellinger=hellinger, delta=delta)
    return hellinger / (KAPPA * delta)


def sft_responses(n_star: float, delta: float) -> float:
    """``N = ⌈N* ln(2/δ)⌉`` responses per prompt.

    Args:
        n_star: ``N* > 0``. delta: δ in (0, 1].

    Source: Theorem 4.1′.
    """
    _check(n_star=n_star, delta=delta)
    return float(max(np.ceil(n_star * stopping_threshold(delta)), 1.0))


@np.errstate(over="ignore")
def sft_bad_prompts(
    n_prompts: float, n_star: float, *, delta: float, rho: float, coverage: float, log_class: float
) -> float:
    """SFT-Sharpening: ``P_x[π̂(y*_γ|x) ≤ 1-δ] ≤ 2 log(|Π|/ρ)/(κδn) + C_cov,γ/N*`` with probability ``1-ρ``.

    Args:
        n_prompts: n; n_star: ``N*``, with `sft_responses` draws per prompt; coverage: ``C_cov,γ``.

    Source: Theorem 4.1′.
    """
    _check(n_star=n_star, coverage=coverage)
    return bad_prompts_from_hellinger(mle_hellinger(n_prompts, log_class, rho), delta) + coverage / n_star


@np.errstate(over="ignore")
def sft_cost(*, eps: float, delta: float, rho: float, coverage: float, log_class: float) -> Cost:
    """Enough for `sft_bad_prompts` ≤ ε: ``n = 4 log(|Π|/ρ)/(κδε)``, ``N* = 2 C_cov,γ/ε``.

    >>> cost = sft_cost(eps=0.1, delta=0.1, rho=0.05, coverage=2.0, log_class=np.log(10))
    >>> cost.n_prompts, cost.n_responses
    (24705.0, 120.0)

    Args:
        eps, delta, rho: at most a fraction ε of the prompts misses more than δ, with probability ``1-ρ``.
        coverage: ``C_cov,γ``. log_class: ``log|Π|``, nats.

    Returns:
        n prompts and N responses each.

    Raises:
        UserError: an argument is out of range.

    Source: Theorem 4.1′ (arXiv 2412.01951).
    """
    _check(eps=eps, delta=delta, rho=rho, coverage=coverage, log_class=log_class)
    n_prompts = max(np.ceil(4 * (log_class - np.log(rho)) / KAPPA / delta / eps), 1.0)
    return Cost(float(n_prompts), sft_responses(2 * coverage / eps, delta))


# Adaptive SFT-Sharpening ----------------------------------------------------------------------------------------------


@np.errstate(over="ignore")
def adaptive_stopping(max_prob: np.ndarray, n_maximizers: np.ndarray, threshold: float) -> np.ndarray:
    """``E[N_μ] ≤ (μ_stop + 1/|y*|)/p*``.

    Args:
        max_prob: ``p*`` in (0, 1]. n_maximizers: ``|y*| ≥ 1``. threshold: ``μ_stop > 0``. Any shapes that broadcast.

    Source: Lemma I.1.
    """
    _check(max_prob=max_prob, n_maximizers=n_maximizers, threshold=threshold)
    return (threshold + 1 / np.asarray(n_maximizers)) / np.asarray(max_prob)


@np.errstate(over="ignore")
def adaptive_miss(n_maximizers: np.ndarray, threshold: float) -> np.ndarray:
    """``P[ŷ ∉ y*] ≤ exp(-|y*| μ_stop)`` for every stopping time ``≥ N_μ``.

    Args:
        n_maximizers: ``|y*| ≥ 1``, any shape. threshold: ``μ_stop > 0``.

    Source: Lemma I.1.
    """
    _check(n_maximizers=n_maximizers, threshold=threshold)
    return np.exp(-np.asarray(n_maximizers) * threshold)


@np.errstate(over="ignore")
def adaptive_bad_prompts(n_prompts: float, *, delta: float, rho: float, log_class: float) -> float:
    """Adaptive SFT: ``P_x[π̂(y*|x) ≤ 1-δ] ≤ 2 log(|Π|/ρ)/(κδn)`` with probability ``1-ρ``.

    Args:
        n_prompts: n > 0. delta, rho: in (0, 1]. log_class: ``log|Π|``, nats.

    Source: Theorem D.1.
    """
    return bad_prompts_from_hellinger(mle_hellinger(n_prompts, log_class, rho), delta)


def adaptive_queries(n_prompts: float, *, delta: float, c_cov_bar: float) -> float:
    """``E[m] ≤ n (1 + μ_stop) C̄_cov`` with ``μ_stop = ln(2/δ)``.

    Args:
        n_prompts: n > 0. delta: δ in (0, 1]. c_cov_bar: ``C̄_cov ≥ 1``.

    Source: Theorem D.1.
    """
    _check(n_prompts=n_prompts, delta=delta, c_cov_bar=c_cov_bar)
    return n_prompts * (1 + stopping_threshold(delta)) * c_cov_bar


@np.errstate(over="ignore")
def adaptive_cost(*, eps: float, delta: float, rho: float, c_cov_bar: float, log_class: float) -> Cost:
    """Enough for `adaptive_bad_prompts` ≤ ε; `n_responses` is the bound on the mean number of samples.

    Args:
        eps, delta, rho: in (0, 1]. c_cov_bar: ``C̄_cov ≥ 1``. log_class: ``log|Π|``, nats.

    Source: Theorem D.1.
    """
    _check(eps=eps, delta=delta, rho=rho, c_cov_bar=c_cov_bar, log_class=log_class)
    n_prompts = max(np.ceil(2 * (log_class - np.log(rho)) / KAPPA / delta / eps), 1.0)
    return Cost(float(n_prompts), adaptive_queries(1, delta=delta, c_cov_bar=c_cov_bar))


# RLHF-Sharpening ------------------------------------------------------------------------------------------------------


def tilt_for_sharpness(margin: float, n_responses: float, delta: float) -> float:
    """Largest β that the theorem allows for ``π_β(y*|x) ≥ 1-δ/2``: ``γ_margin / (2 log(2|Y|/δ))``, ``γ_margin ≤ 1``.

    A margin above 1 is used as 1, where the theorem stops; `tilt_for_sharpness_exact` goes on.

    Args:
        margin: ``γ_margin > 0``. n_responses: ``|Y| ≥ 1``. delta: δ in (0, 1].

    Source: Theorem J.2.
    """
    _check(margin=margin, delta=delta, n_responses=n_responses)
    return min(margin, 1.0) / (2 * np.log(2 * n_responses / delta))


def tilt_for_sharpness_exact(margin: float, n_responses: float, delta: float) -> float:
    """Largest β with ``(1+γ_margin)^{1+1/β} ≥ 2|Y|/δ``; ``inf`` if the base policy is already that sharp.

    Args:
        margin: ``γ_margin > 0``. n_responses: ``|Y| ≥ 1``. delta: δ in (0, 1].
    """
    _check(margin=margin, delta=delta, n_responses=n_responses)
    powers = np.log(2 * n_responses / delta) / np.log1p(margin)
    return float("inf") if powers <= 1 else float(1 / (powers - 1))


def tilted_loss_coverage(n_responses: float) -> float:
    """``C_{π_base/π_β;β} ≤ |Y|``.

    Args:
        n_responses: ``|Y| ≥ 1``.

    Source: Lemma 4.1 (its other half is ``C_{π_β} ≤ C_cov``).
    """
    _check(n_responses=n_responses)
    return n_responses


def reward_gap(margin: float, missing: np.ndarray, mu: np.ndarray) -> float:
    """``J(π*) - J(π̂) ≥ log(1+γ_margin) E_x[1-π̂(y*|x)]``, ``J(π) = E_π[log π_base]``: the right-hand side.

    Args:
        missing: ``1-π̂(y*|x)``, ``[X]``. mu: prompt probabilities, ``[X]``.

    Source: docs/theory.md, Reward gap.
    """
    _check(margin=margin, missing=missing)
    missing, mu = as_floats(missing, "missing"), as_floats(mu, "mu")
    if missing.ndim != 1 or missing.shape != mu.shape:
        raise UserError(f"missing has shape {missing.shape}, mu {mu.shape}; expected [X] both")
    average = float(missing @ mu)
    return 0.0 if average == 0 else float(np.log1p(margin)) * average


def dpo_disagreement(n_pairs: float, log_class: float, rho: float) -> float:
    """``P[Δ^π̂ ≠ Δ^{π_β}] ≤ log(|Π|/ρ)/n`` with probability ``1-ρ``: the regression (8) is noise-free.

    Args:
        n_pairs: n > 0. log_class: ``log|Π|``, nats. rho: ρ in (0, 1].

    Source: [S2].
    """
    _check(n_pairs=n_pairs, log_class=log_class, rho=rho)
    return (log_class - np.log(rho)) / n_pairs


def dpo_bad_prompts(disagreement: float, *, delta: float, c_max: float, min_max_prob: float, c_cov_bar: float) -> float:
    """RLHF-Sharpening: ``P_x[π̂(y*|x) ≤ 1-δ] ≤ 4 C_∞ e/δ² + min{e/min_x p*, 2√(e C̄_cov)}``, for β as in Theorem J.2.

    Args:
        disagreement: e, `dpo_disagreement`; c_max: ``C_∞ = sup_x C_π̂(x)``; min_max_prob: ``min_x p*(x)``.

    Source: [S2], proved in docs/theory.md.
    """
    _check(disagreement=disagreement, delta=delta, c_max=c_max, min_max_prob=min_max_prob, c_cov_bar=c_cov_bar)
    average = 2 * np.sqrt(disagreement * c_cov_bar)
    pointwise = disagreement / min_max_prob if min_max_prob > 0 else np.inf
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        concentrated = np.divide(4 * c_max * disagreement, np.float64(delta) ** 2) if disagreement else 0.0
    return float(concentrated + min(pointwise, average))


def dpo_cost(
    *, eps: float, delta: float, rho: float, c_max: float, min_max_prob: float, c_cov_bar: float, log_class: float
) -> Cost:
    """Smallest number of pairs, at least 1, with `dpo_bad_prompts` ≤ ε, two responses each.

    Args:
        c_max: ``C_∞ = sup_x C_π̂(x)``. min_max_prob: ``min_x p*(x)``.

    Source: [S2], proved in docs/theory.md.
    """
    _check(eps=eps, delta=delta, rho=rho, c_cov_bar=c_cov_bar, log_class=log_class)
    _check(c_max=c_max, min_max_prob=min_max_prob)
    with np.errstate(divide="ignore", over="ignore"):
        a = np.divide(4 * c_max, np.float64(delta) ** 2)
        pointwise = eps / (a + np.divide(1.0, min_max_prob))
        # a e + 2 √(C̄ e) = ε, solved for √e without cancellation.
        average = (eps / (np.sqrt(c_cov_bar) + np.sqrt(c_cov_bar + a * eps))) ** 2
        pairs = np.ceil(np.divide(log_class - np.log(rho), max(pointwise, average)))
    return Cost(float(max(pairs, 1.0)), 2.0)


def linear_pairs(dimension: int) -> Cost:
    """Fewest pairs that can recover ``(1+1/β)θ*`` of a noise-free linear softmax policy: d, and two responses each.

    They do once the *observed* feature differences span ``R^d`` (and the class holds ``(1+1/β)θ*``): never before d
    pairs; at d sampled pairs almost surely only if the law of ``φ(y)-φ(y')`` has no atoms on hyperplanes. With atoms the
    number is random, and can be far larger: with features ``0, e_1, …, e_d``, uniform, d pairs span with probability .5
    at d = 1 and .02 at d = 10.

    Args:
        dimension: d ≥ 1.

    Source: [S3], proved in docs/theory.md.
    """
    _check(dimension=dimension)
    return Cost(float(dimension), 2.0)


def greedy_succeeds(max_prob: np.ndarray) -> np.ndarray:
    """Token-wise greedy decoding returns ``y*`` whenever ``π(y*|x) > 1/2``; tight at every smaller mass.

    Args:
        max_prob: ``π(y*|x)`` in (0, 1], any shape.

    Source: Proposition 3.1.
    """
    _check(max_prob=max_prob)
    return np.asarray(max_prob) > 0.5


# Rates ----------------------------------------------------------------------------------------------------------------


def lower_bound_rate(coverage: float, log_class: float, eps: float, *, p: float = 1.0) -> float:
    """Rate of Theorem 3.1′: ``m ≳ C log|Π| / (ε^{1+1/p} (1 + log(C ε^{-1/p})))``; ``C = C_cov,p``. A rate.

    Args:
        coverage: ``C_cov,p ≥ 1``. log_class: ``log|Π|``, nats. eps: ε in (0, 1]. p: exponent > 0, or inf.
    """
    _check(eps=eps, coverage=coverage, log_class=log_class, p=p)
    return coverage * log_class / (eps ** (1 + 1 / p) * (1 + np.log(coverage) - np.log(eps) / p))


def adaptive_lower_bound_rate(coverage: float, log_class: float, eps: float, *, p: float = 1.0) -> float:
    """Rate of Theorem D.2: ``ε^{1/p}`` in place of ``ε^{1+1/p}``. A rate.

    Args:
        coverage, log_class, eps, p: as of `lower_bound_rate`.
    """
    return eps * lower_bound_rate(coverage, log_class, eps, p=p)


def sft_rate(coverage: float, log_class: float, *, eps: float, delta: float, rho: float = 0.05) -> float:
    """Rate of Theorem 4.1′: ``m ≲ C_cov,γ log(|Π|/ρ) log(1/δ) / (δ ε²)``. A rate.

    Args:
        coverage: ``C_cov,γ ≥ 1``. log_class: ``log|Π|``, nats. eps, delta, rho: in (0, 1].
    """
    _check(coverage=coverage, log_class=log_class, eps=eps, delta=delta, rho=rho)
    return coverage * (log_class - np.log(rho)) * -np.log(delta) / (delta * eps**2)


def dpo_rate(
    c_conc: float, c_loss: float, log_class: float, *, margin: float, eps: float, delta: float, rho: float = 0.05
) -> float:
    """Rate of Theorem 4.2′: ``C_conc log³(C_loss |Π|/ρ) / (γ_margin² δ² ε²)``. A rate.

    Args:
        c_conc, c_loss: ≥ 1. log_class: ``log|Π|``, nats. margin: ``γ_margin > 0``. eps, delta, rho: in (0, 1].
    """
    _check(c_conc=c_conc, c_loss=c_loss, log_class=log_class, margin=margin, eps=eps, delta=delta, rho=rho)
    return c_conc * (np.log(c_loss) + log_class - np.log(rho)) ** 3 / (margin * delta * eps) ** 2


def xpo_rate(
    sec: float, log_class: float, n_responses: float, *, margin: float, eps: float, delta: float, rho: float = 0.05,
    r_max: float = 1.0,
) -> float:  # fmt: skip
    """Rate of Theorems 4.3 and J.2: ``SEC log(|Π|/ρ) R_max² log²(|Y|/δ) / (γ_margin² δ² ε²)``. No coverage. A rate.

    Args:
        sec: SEC > 0. log_class: ``log|Π|``, nats. n_responses: ``|Y| ≥ 1``. margin: ``γ_margin > 0``. eps, delta, rho: in
            (0, 1]. r_max: ``R_max > 0``, nats.
    """
    _check(
        sec=sec, log_class=log_class, n_responses=n_responses, margin=margin, eps=eps, delta=delta, rho=rho, r_max=r_max
    )
    return sec * (log_class - np.log(rho)) * (r_max * np.log(n_responses / delta) / (margin * delta * eps)) ** 2


def linear_sec_rate(dimension: int, rounds: float) -> float:
    """Rate of Lemma J.5: ``SEC ≲ d log(T+1)`` for linear softmax policies. A rate.

    Args:
        dimension: d ≥ 1. rounds: T ≥ 1.
    """
    _check(dimension=dimension, rounds=rounds)
    return dimension * np.log(rounds + 1)
