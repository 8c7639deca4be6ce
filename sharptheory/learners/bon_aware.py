"""Best-of-N-aware objectives on tables: train the policy for the law it will be used under.

All are functions of the logits of one prompt ``θ [Y]``, ``π = softmax(θ)``, returning ``(value, gradient)``; the
gradients are exact. With ``Q = F(r_y)`` and ``L = F(r_y⁻)`` of the verifier's value under ``π``,
``π_BoN = π (Q^N - L^N)/(Q - L)``.

Source: Chow et al., *Inference-Aware Fine-Tuning for Best-of-N Sampling*, arXiv 2412.15287.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln, log_softmax

from sharptheory.errors import UserError
from sharptheory.theory.laws import best_of_n, rank_tilt


def _levels(rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Membership ``[Y, Y]``: whether ``r(y') ≤ r(y)``, and whether ``r(y') < r(y)``."""
    rewards = np.asarray(rewards, dtype=float)
    return rewards <= rewards[:, None], rewards < rewards[:, None]


def log_best_of_n(logits: np.ndarray, rewards: np.ndarray, n: float) -> tuple[np.ndarray, np.ndarray]:
    """``log π_BoN [Y]`` and its Jacobian ``[Y, Y]`` with respect to the logits, exact with ties.

    ``log π_BoN = log π + (N-1) log Q + log((1-u^N)/(1-u))`` with ``u = L/Q``; the last term's derivative is taken in
    ``v = -log u``, where it keeps its digits for levels of hardly any mass (u near 1).
    """
    log_probs = log_softmax(np.asarray(logits, dtype=float))
    probs = np.exp(log_probs)
    at_most, below = _levels(rewards)
    q, low = np.maximum(at_most @ probs, 1e-300), below @ probs  # a level may underflow on the way of an optimiser
    gradient_q, gradient_l = probs * (at_most - q[:, None]), probs * (below - low[:, None])
    # The bottom level has u = 0 whatever the logits: no gradient.
    above_bottom = low > 0
    u = np.where(above_bottom, low / q, 0.5)
    level_share = np.minimum((at_most & ~below) @ probs / q, 1 - 1e-16)
    v = np.maximum(np.where(above_bottom, -np.log1p(-level_share), 1.0), 1e-200)  # 0 for a level without mass
    slope = np.where(above_bottom, -(_bernoulli(n * v) - _bernoulli(v)) / (v * u), 0.0)
    gradient_u = (gradient_l - u[:, None] * gradient_q) / q[:, None]
    jacobian = np.eye(len(probs)) - probs + (n - 1) * gradient_q / q[:, None] + slope[:, None] * gradient_u
    return best_of_n(log_probs, n, rewards=rewards), jacobian


def _bernoulli(x: np.ndarray) -> np.ndarray:
    """``x/(e^x - 1) - 1``, by its series where it is small."""
    x = np.asarray(x, dtype=float)
    with np.errstate(over="ignore", invalid="ignore"):
        series = x * (-1 / 2 + x * (1 / 12 + x**2 * (-1 / 720 + x**2 / 30_240)))
        return np.where(x < 0.05, series, x / np.expm1(x) - 1)


def bon_sft(logits, expert, rewards, n: float) -> tuple[float, np.ndarray]:
    """BoN-SFT: ``E_{y~expert}[log π_BoN(y)]`` for expert probabilities ``[Y]``."""
    value, jacobian = log_best_of_n(logits, rewards, n)
    expert = np.asarray(expert, dtype=float)
    return float(expert @ value), expert @ jacobian


def bon_sft_surrogate(logits, expert, rewards, n: float) -> tuple[float, np.ndarray]:
    """BoN-SFT with the variational surrogate ``π exp(λ_N Q)/Z`` in place of best-of-N; for atomless verifiers."""
    log_probs = log_softmax(np.asarray(logits, dtype=float))
    probs, expert, tilt = np.exp(log_probs), np.asarray(expert, dtype=float), rank_tilt(n)
    at_most, _ = _levels(rewards)
    q = at_most @ probs
    gradient_q = probs * (at_most - q[:, None])
    surrogate = log_softmax(log_probs + tilt * q)
    jacobian = np.eye(len(probs)) - probs + tilt * gradient_q
    return float(expert @ surrogate), (expert - np.exp(surrogate)) @ jacobian


def bon_rl(logits, environment, n: float, *, verifier=None) -> tuple[float, np.ndarray]:
    """BoN-RL: ``E_{y~π_BoN}[R(y)]``, selected by a verifier (BoN-RL-V) or, by default, by ``R`` itself (BoN-RL-S)."""
    environment = np.asarray(environment, dtype=float)
    value, jacobian = log_best_of_n(logits, environment if verifier is None else verifier, n)
    weights = np.exp(value) * environment
    return float(weights.sum()), weights @ jacobian


def bon_rlb(logits, correct, n: float) -> tuple[float, np.ndarray]:
    """BoN-RLB, binary reward: ``1 - p_fail^N``; ``∇ = N p_fail^{N-1} E_π[1{correct} s]``. N = 1 is REINFORCE."""
    probs = np.exp(log_softmax(np.asarray(logits, dtype=float)))
    correct = np.asarray(correct, dtype=float)
    passed = float(probs @ correct)
    failed = max(float(probs @ (1 - correct)), 0.0)
    return float(-np.expm1(n * np.log(failed))) if failed > 0 else 1.0, n * failed ** (n - 1) * probs * (
        correct - passed
    )


def bon_rlb_weights(p_fail: float, n: float) -> tuple[float, float]:
    """Weights of correct and of wrong responses *drawn from best-of-N*, whose weighted scores average to ``∇(1-p^N)``.

    ``g⁺ = N p^{N-1}/(1-p^N)`` and ``g⁻ = N p/(1-p)``: ``E_{π_BoN}[R g⁺ s + (1-R) g⁻ s]``, with a *plus* sign.
    """
    if not 0 < p_fail < 1:
        raise UserError(f"p_fail={p_fail}; expected a number in (0, 1)")
    return float(n * p_fail ** (n - 1) / -np.expm1(n * np.log(p_fail))), float(n * p_fail / (1 - p_fail))


def bon_rlb_positive_weight(p_fail: float, n: float) -> float:
    """BoN-RLB(P): weight ``N p^{N-1}(1-p)/(1-p^N)`` of correct responses drawn from best-of-N, wrong ones ignored."""
    return bon_rlb_weights(p_fail, n)[0] * (1 - p_fail)


def pass_at_k_weights(correct: np.ndarray, k: int) -> np.ndarray:
    """Unbiased weights of n i.i.d. samples for ``∇(1-p^k)``: ``mean_i w_i s_i`` has that expectation, for ``n ≥ k``.

    ``w = k`` for a correct sample, ``k ρ(n-1, c, k-1)`` for a wrong one, ``ρ(n,c,k) = 1 - C(n-c,k)/C(n,k)``.
    Plugging the group's own pass rate into `bon_rlb_weights` instead is strongly biased.

    Args:
        correct: ``[..., n]``, 0 or 1.

    Source: PKPO, arXiv 2505.15201.
    """
    correct = np.asarray(correct, dtype=float)
    n = correct.shape[-1]
    if not 1 <= k <= n:
        raise UserError(f"k={k}; expected an integer from 1 to the number of samples {n}")
    c = correct.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        log_none = (
            gammaln(n - c) + gammaln(n - k + 1) - gammaln(np.maximum(n - c - k + 1, 1)) - gammaln(n)
        )  # C(n-1-c, k-1) / C(n-1, k-1)
    wrong = np.where(n - 1 - c >= k - 1, -np.expm1(np.minimum(log_none, 0.0)), 1.0)
    return k * np.where(correct > 0, 1.0, wrong)


def train(objective, starts: np.ndarray, *, base: np.ndarray, kl_penalty: float) -> np.ndarray:
    """Logits that maximise ``objective(logits) - kl_penalty · KL(π‖π_base)``, the best of BFGS from each start.

    Args:
        objective: ``logits → (value, gradient)``; starts: ``[K, Y]`` or ``[Y]``, for the objectives are not concave.
        base: logits of the base policy; kl_penalty: positive, else the maximum may be at infinity.

    Raises:
        RuntimeError: not converged; names the residual.
    """
    anchor = log_softmax(np.asarray(base, dtype=float))

    def loss(logits):
        value, gradient = objective(logits)
        log_probs = log_softmax(logits)
        probs, gap = np.exp(log_probs), log_probs - anchor
        divergence = float(probs @ gap)
        return -(value - kl_penalty * divergence), -(gradient - kl_penalty * probs * (gap - divergence))

    results = [
        minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 2_000})
        for start in np.atleast_2d(np.asarray(starts, dtype=float))
    ]
    best = min(results, key=lambda result: result.fun)
    residual = float(np.abs(best.jac).max())
    if residual > 1e-6:
        raise RuntimeError(f"training did not converge: gradient {residual:.3g} > 1e-6")
    return best.x
