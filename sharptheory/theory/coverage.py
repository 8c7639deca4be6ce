"""Coverage: how much mass a policy puts on its most likely responses, and what follows from that.

Every quantity of one policy is a function of four numbers per prompt (`Coverage`), computed in one pass over the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from sharptheory.errors import UserError
from sharptheory.theory.policies import TabularPolicy

#: Log-probabilities (nats) closer than this are tied. Tight, for tables; language models need about 1e-4.
TOLERANCE = 1e-12


def check_gamma(gamma: float) -> None:
    """Raise a ValueError unless ``γ ∈ [0, 1)``."""
    if not 0 <= gamma < 1:
        raise UserError(f"gamma={gamma}; expected a number in [0, 1)")


def maximizers(log_probs: np.ndarray, gamma: float = 0.0, *, tolerance: float = TOLERANCE) -> np.ndarray:
    """The set ``y*_γ(x) = {y : π(y|x) ≥ (1-γ) max π(·|x)}`` as a boolean mask ``[..., Y]``; ties are members."""
    check_gamma(gamma)
    log_probs = np.asarray(log_probs, dtype=float)
    return log_probs >= log_probs.max(axis=-1, keepdims=True) + np.log1p(-gamma) - tolerance


@dataclass(frozen=True, eq=False)
class Coverage:
    """Per-prompt summary of a policy ``π`` at one γ; all arrays ``[X]``, logarithms in nats.

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


def coverage(policy: TabularPolicy, gamma: float = 0.0, *, tolerance: float = TOLERANCE) -> Coverage:
    """Summarise a policy in one pass over its table, a cacheful at a time (memory-mapped tables included)."""
    check_gamma(gamma)
    n_prompts = policy.shape[0]
    log_max, log_mass, runner_up = (np.empty(n_prompts) for _ in range(3))
    count = np.empty(n_prompts, dtype=np.int64)
    for rows, chunk in policy.chunks():
        top = chunk.max(axis=1)
        inside = chunk >= (top + np.log1p(-gamma) - tolerance)[:, None]
        log_max[rows] = top
        count[rows] = inside.sum(axis=1)
        # Members lie within a factor 1-γ of the maximum, so this sum neither under- nor overflows.
        log_mass[rows] = top + np.log(np.exp(chunk - top[:, None], where=inside, out=np.zeros_like(chunk)).sum(axis=1))
        runner_up[rows] = np.where(inside, -np.inf, chunk).max(axis=1)
    return Coverage(policy.mu, gamma, log_max, np.minimum(log_mass, 0.0), count, runner_up)


def coverage_coefficient(of: TabularPolicy | Coverage, gamma: float = 0.0, *, p: float = 1.0) -> float:
    """Coverage coefficient ``C_cov,γ,p = (E_x[q_γ(x)^{-p}])^{1/p}``; ``p = 1`` is ``C_cov,γ``, ``p = inf`` the worst prompt.

    Args:
        of: a policy, or its `Coverage` (which then fixes γ).

    Returns:
        A number ≥ 1; ``inf`` beyond 1e308.

    Source: (6), Definition F.1 and Appendix H.
    """
    if not p > 0:
        raise UserError(f"p={p}; expected a positive number or inf")
    summary = _summary(of, gamma)
    return _inverse_moment(summary.mu, summary.log_mass, p)


def c_cov_bar(of: TabularPolicy | Coverage) -> float:
    """``C̄_cov = E_x[1/p*(x)]``, which counts one maximiser, so ``C̄_cov ≥ C_cov``. Source: Appendix D."""
    summary = _summary(of, 0.0)
    return _inverse_moment(summary.mu, summary.log_max, 1.0)


def coverage_profile(of: TabularPolicy | Coverage, t: np.ndarray, gamma: float = 0.0) -> np.ndarray:
    """``t ↦ P_x[1/q_γ(x) > t]``: which prompts make the coefficient large; its integral over ``t ≥ 0`` is ``C_cov,γ``."""
    summary = _summary(of, gamma)
    with np.errstate(divide="ignore"):
        log_t = np.log(np.asarray(t, dtype=float))
    return (-summary.log_mass > log_t[..., None]) @ summary.mu


def margin(of: TabularPolicy | Coverage) -> float:
    """Largest ``γ_margin`` with ``p*(x) ≥ (1+γ_margin) π(y'|x)`` for all ``y' ∉ y*(x)`` and all x in the support of μ.

    ``inf`` when every response is a maximiser.  Source: Assumption 4.2.
    """
    summary = _summary(of, 0.0)
    if summary.gamma != 0:
        raise UserError(f"coverage at gamma={summary.gamma}; the margin is about gamma=0")
    gaps = (summary.log_max - summary.log_runner_up)[summary.mu > 0]
    with np.errstate(over="ignore"):
        return float(np.expm1(gaps.min()))


def concentrability(law: np.ndarray, base: np.ndarray, *, order: float = 1.0, mu: np.ndarray | None = None) -> float:
    """``C_{π/π';β} = E_π[(π/π')^β]``, averaged over prompts; order 1 is ``C_π = E_π[π/π_base]``.

    With one prompt ``log C_π`` is the order-2 Rényi divergence.

    Args:
        law, base: log-probabilities of ``π`` and ``π'``, ``[X, Y]``.
        order: the exponent β.
        mu: prompt probabilities ``[X]``; default uniform.

    Returns:
        A number; ``inf`` if ``π`` has mass where ``π'`` has none.

    Source: (9).
    """
    law, base = np.atleast_2d(law), np.atleast_2d(base)
    terms = np.full(law.shape, -np.inf)
    support = law > -np.inf
    terms[support] = law[support] + order * (law[support] - base[support])
    per_prompt = logsumexp(terms, axis=1)
    weights = np.full(len(law), 1 / len(law)) if mu is None else np.asarray(mu, dtype=float)
    with np.errstate(over="ignore"):
        return float(np.exp(logsumexp(per_prompt[weights > 0], b=weights[weights > 0])))


# Sharpness ------------------------------------------------------------------------------------------------------------


def missing_mass(
    law: np.ndarray, base: TabularPolicy, gamma: float = 0.0, *, tolerance: float = TOLERANCE
) -> np.ndarray:
    """``1 - π̂(y*_γ(x)|x)`` per prompt ``[X]``, for `law` = log-probabilities of ``π̂``, accurate where it is tiny."""
    law = np.atleast_2d(law)
    if law.shape != base.shape:
        raise UserError(f"law has shape {law.shape}; expected {base.shape}, as base")
    outside = ~maximizers(base.log_probs, gamma, tolerance=tolerance)
    return np.exp(law, where=outside, out=np.zeros_like(law)).sum(axis=1)


def bad_prompts(missing: np.ndarray, delta: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """Smallest ε for which a policy is ``(ε, δ, γ)``-sharpened: ``P_x[missing mass > δ]``, for each δ.

    Args:
        missing: `missing_mass` of the policy, ``[X]``; delta: any shape; mu: ``[X]``.

    Source: Definitions 3.1 and F.1.
    """
    return (missing > np.asarray(delta, dtype=float)[..., None]) @ mu


def is_sharpened(law: np.ndarray, base: TabularPolicy, *, eps: float, delta: float, gamma: float = 0.0) -> bool:
    """Whether ``P_x[π̂(y*_γ(x)|x) ≥ 1-δ] ≥ 1-ε``. Source: Definitions 3.1 and F.1."""
    for name, value in (("eps", eps), ("delta", delta)):
        if not 0 <= value <= 1:
            raise UserError(f"{name}={value}; expected a number in [0, 1]")
    return bool(bad_prompts(missing_mass(law, base, gamma), delta, base.mu) <= eps)


def sharpness_curve(law: np.ndarray, base: TabularPolicy, gamma: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The whole trade-off: ``(δ, ε)`` at each missing mass that occurs, δ ascending; between them ε is constant."""
    missing = missing_mass(law, base, gamma)
    delta = np.unique(np.concatenate([[0.0], missing]))
    return delta, bad_prompts(missing, delta, base.mu)


def _summary(of: TabularPolicy | Coverage, gamma: float) -> Coverage:
    return of if isinstance(of, Coverage) else coverage(of, gamma)


def _inverse_moment(mu: np.ndarray, log_mass: np.ndarray, p: float) -> float:
    """``(E[m^{-p}])^{1/p}`` over the support of μ, in log space."""
    support = mu > 0
    with np.errstate(over="ignore"):
        if p == np.inf:
            return float(np.exp(-log_mass[support].min()))
        return float(np.exp(logsumexp(-p * log_mass[support], b=mu[support]) / p))
