"""Coverage of the maximisers: how much mass a policy puts on its likeliest responses, and what follows from that.

Every quantity of one policy is a function of four numbers per prompt (`ArgmaxSummary`), computed in one pass over the
table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from sharptheory.errors import UserError, expect_numbers
from sharptheory.theory.levels import TOLERANCE, maximizers, maximizers_of_rows
from sharptheory.theory.policies import TabularPolicy, prompt_distribution
from sharptheory.theory.rows import as_floats, as_log_probs


@dataclass(frozen=True, eq=False)
class ArgmaxSummary:
    """Mass and size of ``y*_γ(x)``, prompt by prompt; all arrays ``[X]``, logarithms in nats.

    Attributes:
        mu: prompt probabilities.
        gamma: the γ of ``y*_γ``.
        log_max: ``log p*(x)``.
        log_mass: ``log q_γ(x)``, the mass of ``y*_γ(x)``.
        n_maximizers: ``|y*_γ(x)|``.
        log_runner_up: largest log-probability outside ``y*_γ(x)``; ``-inf`` if nothing is.
    """

    mu: np.ndarray
    gamma: float
    log_max: np.ndarray
    log_mass: np.ndarray
    n_maximizers: np.ndarray
    log_runner_up: np.ndarray


def argmax_summary(policy: TabularPolicy, gamma: float = 0.0, *, tolerance: float = TOLERANCE) -> ArgmaxSummary:
    """Summarise a policy in one pass over its table, a cacheful at a time (memory-mapped tables included).

    Args:
        policy: ``[X, Y]``. gamma: ``γ ∈ [0, 1)``. tolerance: of ties, nats, see `sharptheory.theory.levels`.

    Raises:
        UserError: γ is outside [0, 1).
    """
    expect_numbers("[0, 1)", gamma=gamma)
    expect_numbers("[0, inf)", tolerance=tolerance)
    n_prompts = policy.shape[0]
    log_max, log_mass, runner_up = (np.empty(n_prompts) for _ in range(3))
    count = np.empty(n_prompts, dtype=np.int64)
    for rows, chunk in policy.chunks():
        top = chunk.max(axis=1)
        inside = maximizers_of_rows(chunk, gamma, tolerance)
        log_max[rows] = top
        count[rows] = inside.sum(axis=1)
        # Members lie within a factor 1-γ of the maximum, so this sum neither under- nor overflows.
        log_mass[rows] = top + np.log(np.exp(chunk - top[:, None], where=inside, out=np.zeros_like(chunk)).sum(axis=1))
        runner_up[rows] = np.where(inside, -np.inf, chunk).max(axis=1)
    return ArgmaxSummary(policy.mu, gamma, log_max, np.minimum(log_mass, 0.0), count, runner_up)


def coverage_coefficient(of: TabularPolicy | ArgmaxSummary, gamma: float | None = None, *, p: float = 1.0) -> float:
    """Coverage coefficient ``C_cov,γ,p = (E_x[q_γ(x)^{-p}])^{1/p}``; ``p = 1`` is ``C_cov,γ``, ``p = inf`` the worst prompt.

    >>> policy = TabularPolicy.from_probs([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2]])
    >>> round(coverage_coefficient(policy), 4)  # the mean of 1/0.5 and 1/0.8
    1.625
    >>> round(coverage_coefficient(policy, 0.5), 4)  # with 0.3 counted as good as 0.5
    1.125

    Args:
        of: a policy, or its `argmax_summary`, which spares the pass over the table.
        gamma: ``γ ∈ [0, 1)``; default 0, or that of the summary.
        p: exponent, positive or inf.

    Returns:
        A number ≥ 1; ``inf`` beyond 1e308.

    Raises:
        UserError: γ or p is out of range, or γ is not that of the summary.

    Source: (6), Definition F.1 and Appendix H (arXiv 2412.01951).
    """
    expect_numbers("(0, inf]", p=p)
    summary = _summary(of, gamma)
    return _inverse_moment(summary.mu, summary.log_mass, p)


def c_cov_bar(of: TabularPolicy | ArgmaxSummary) -> float:
    """``C̄_cov = E_x[1/p*(x)]``, which counts one maximiser, so ``C̄_cov ≥ C_cov``.

    Args:
        of: a policy, or its `argmax_summary` at any γ.

    Source: Appendix D (arXiv 2412.01951).
    """
    summary = _summary(of, None)
    return _inverse_moment(summary.mu, summary.log_max, 1.0)


def coverage_profile(of: TabularPolicy | ArgmaxSummary, t: np.ndarray, gamma: float | None = None) -> np.ndarray:
    """``t ↦ P_x[1/q_γ(x) > t]``: which prompts make the coefficient large; its integral over ``t ≥ 0`` is ``C_cov,γ``.

    Args:
        of: a policy, or its `argmax_summary`. t: numbers ≥ 0, any shape. gamma: default 0, or that of the summary.

    Returns:
        Probabilities, of the shape of `t`.

    Raises:
        UserError: γ is out of range, or not that of the summary, or a t is negative.
    """
    summary, t = _summary(of, gamma), as_floats(t, "t")
    if not np.all(t >= 0):
        raise UserError(f"t={t.tolist()}; expected numbers ≥ 0")
    with np.errstate(divide="ignore"):
        log_t = np.log(t)
    return (-summary.log_mass > log_t[..., None]) @ summary.mu


def margin(of: TabularPolicy | ArgmaxSummary) -> float:
    """Largest ``γ_margin`` with ``p*(x) ≥ (1+γ_margin) π(y'|x)`` for all ``y' ∉ y*(x)`` and all x in the support of μ.

    Args:
        of: a policy, or its `argmax_summary` at γ = 0.

    Returns:
        A number > 0; ``inf`` when every response is a maximiser.

    Raises:
        UserError: the summary is at another γ.

    Source: Assumption 4.2 (arXiv 2412.01951).
    """
    summary = _summary(of, 0.0)
    gaps = (summary.log_max - summary.log_runner_up)[summary.mu > 0]
    with np.errstate(over="ignore"):
        return float(np.expm1(gaps.min()))


def concentrability(law: np.ndarray, base: np.ndarray, *, order: float = 1.0, mu: np.ndarray | None = None) -> float:
    """``C_{π/π';β} = E_π[(π/π')^β]``, averaged over prompts; order 1 is ``C_π = E_π[π/π_base]``.

    With one prompt ``log C_π`` is the order-2 Rényi divergence.

    Args:
        law, base: log-probabilities of ``π`` and ``π'`` in nats, ``[X, Y]``.
        order: the exponent β ≥ 0; at 0 the result is 1.
        mu: prompt probabilities ``[X]``; default uniform.

    Returns:
        A number; ``inf`` if ``π`` has mass where ``π'`` has none.

    Raises:
        UserError: a row is no law, the order is negative or infinite, `mu` is no distribution, or the shapes differ.

    Source: (9) (arXiv 2412.01951).
    """
    expect_numbers("[0, inf)", order=order)
    law, base = np.atleast_2d(as_log_probs(law, "law")), np.atleast_2d(as_log_probs(base, "base"))
    if law.shape != base.shape:
        raise UserError(f"law has shape {law.shape}; expected {base.shape}, as base")
    terms = np.full(law.shape, -np.inf)
    support = law > -np.inf
    with np.errstate(over="ignore"):
        ratio = 0.0 if order == 0 else order * (law[support] - base[support])
        terms[support] = law[support] + ratio
    per_prompt = logsumexp(terms, axis=1)
    weights = prompt_distribution(mu, len(law))
    with np.errstate(over="ignore"):
        return float(np.exp(logsumexp(per_prompt[weights > 0], b=weights[weights > 0])))


# Sharpness ------------------------------------------------------------------------------------------------------------


def missing_mass(
    law: np.ndarray, base: TabularPolicy, gamma: float = 0.0, *, tolerance: float = TOLERANCE
) -> np.ndarray:
    """``1 - π̂(y*_γ(x)|x)`` per prompt, accurate where it is tiny.

    Args:
        law: log-probabilities of ``π̂`` in nats, ``[X, Y]``. base: the base policy, whose maximisers are meant.
        gamma: ``γ ∈ [0, 1)``. tolerance: of ties, nats.

    Returns:
        Probabilities ``[X]``.

    Raises:
        UserError: a row of `law` is no law, its shape is not that of `base`, or γ is out of range.
    """
    law = np.atleast_2d(as_floats(law, "law"))
    if law.shape != base.shape:
        raise UserError(f"law has shape {law.shape}; expected {base.shape}, as base")
    law = as_log_probs(law, "law")
    outside = ~maximizers(base.log_probs, gamma, tolerance=tolerance)
    return np.exp(law, where=outside, out=np.zeros_like(law)).sum(axis=1)


def bad_prompts(missing: np.ndarray, delta: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """Smallest ε for which a policy is ``(ε, δ, γ)``-sharpened: ``P_x[missing mass > δ]``, for each δ.

    Args:
        missing: `missing_mass` of the policy, ``[X]``. delta: any shape. mu: prompt probabilities, ``[X]``.

    Returns:
        Probabilities, of the shape of `delta`.

    Raises:
        UserError: shapes that differ, or a δ outside [0, 1].

    Source: Definitions 3.1 and F.1 (arXiv 2412.01951).
    """
    missing, delta, mu = as_floats(missing, "missing"), as_floats(delta, "delta"), as_floats(mu, "mu")
    if missing.ndim != 1 or missing.shape != mu.shape:
        raise UserError(f"missing has shape {missing.shape}, mu {mu.shape}; expected [X] both")
    if not np.all((delta >= 0) & (delta <= 1)):
        raise UserError(f"delta={delta.tolist()}; expected numbers in [0, 1]")
    return (missing > delta[..., None]) @ mu


def is_sharpened(law: np.ndarray, base: TabularPolicy, *, eps: float, delta: float, gamma: float = 0.0) -> bool:
    """Whether ``P_x[π̂(y*_γ(x)|x) ≥ 1-δ] ≥ 1-ε``.

    Args:
        law: log-probabilities of ``π̂`` in nats, ``[X, Y]``. base: the base policy. eps, delta: in [0, 1]. gamma: in [0, 1).

    Raises:
        UserError: an argument is out of range, or a row of `law` is no law.

    Source: Definitions 3.1 and F.1 (arXiv 2412.01951).
    """
    expect_numbers("[0, 1]", eps=eps, delta=delta)
    return bool(bad_prompts(missing_mass(law, base, gamma), delta, base.mu) <= eps)


def sharpness_curve(law: np.ndarray, base: TabularPolicy, gamma: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The whole trade-off: ``(δ, ε)`` at each missing mass that occurs, δ ascending; between them ε is constant.

    Args:
        law: log-probabilities of ``π̂`` in nats, ``[X, Y]``. base: the base policy. gamma: ``γ ∈ [0, 1)``.

    Returns:
        δ and ε, ``[K]`` each.

    Raises:
        UserError: γ is out of range, or a row of `law` is no law.
    """
    missing = missing_mass(law, base, gamma)
    delta = np.unique(np.concatenate([[0.0], np.minimum(missing, 1.0)]))
    return delta, bad_prompts(missing, delta, base.mu)


def _summary(of: TabularPolicy | ArgmaxSummary, gamma: float | None) -> ArgmaxSummary:
    if not isinstance(of, ArgmaxSummary):
        return argmax_summary(of, 0.0 if gamma is None else gamma)
    if gamma is not None and gamma != of.gamma:
        raise UserError(f"gamma={gamma}, for a summary at gamma={of.gamma}; summarise the policy at the gamma you want")
    return of


def _inverse_moment(mu: np.ndarray, log_mass: np.ndarray, p: float) -> float:
    """``(E[m^{-p}])^{1/p}`` over the support of μ, in log space; as p → 0 the geometric mean of 1/m."""
    weights, log_inverse = mu[mu > 0], -log_mass[mu > 0]
    worst, mean = log_inverse.max(), weights @ log_inverse
    with np.errstate(over="ignore"):
        if p == np.inf:
            return float(np.exp(worst))
        if p * (worst - log_inverse.min()) < 1:  # around the mean, so that dividing by a small p loses nothing
            return float(np.exp(mean + np.log1p(weights @ np.expm1(p * (log_inverse - mean))) / p))
        return float(np.exp(worst + np.log(weights @ np.exp(p * (log_inverse - worst))) / p))
