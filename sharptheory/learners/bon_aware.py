"""Best-of-N-aware objectives on tables: train the policy for the law it will be used under.

All are functions of the logits of one prompt ``θ [Y]``, ``π = softmax(θ)``, and return ``(value, gradient [Y])``; the
gradients are exact. A logit of -inf is a response without mass, whose gradient is 0. With ``Q = F(r_y)`` and
``L = F(r_y⁻)`` of the verifier's value under ``π``, ``π_BoN = π (Q^N - L^N)/(Q - L)``; values within the tolerance of
`laws.best_of_n` are one level.

Source: Chow et al., *Inference-Aware Fine-Tuning for Best-of-N Sampling*, arXiv 2412.15287.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import exprel, gammaln, log_softmax, xlog1py, xlogy

from sharptheory.errors import UserError, expect_integers
from sharptheory.theory import laws
from sharptheory.theory.majority import log_choose

# Best-of-N ------------------------------------------------------------------------------------------------------------


def log_best_of_n(logits: np.ndarray, rewards: np.ndarray, n: float) -> tuple[np.ndarray, np.ndarray]:
    """``log π_BoN [Y]`` and its Jacobian ``[Y, Y]`` with respect to the logits, exact with ties.

    ``log π_BoN = log π + (N-1) log Q + log((1-e^{-Nv})/(1-e^{-v}))`` with ``v = log Q/L``. With the law conditioned on
    what is at most as good, ``C_≤``, strictly worse, ``C_<``, and as good, ``C_=``, whose mixture with weights ``e^{-v}``
    and ``1-e^{-v}`` is ``C_≤``: ``∇log Q = C_≤ - π`` and ``∇v = (1-e^{-v})(C_= - C_<)``. Nothing is divided by a mass.

    Args:
        logits: ``θ [Y]``; -inf allowed.
        rewards: the verifier's values, ``[Y]``.
        n: real ``N ≥ 1``.

    Raises:
        UserError: shapes that differ, NaN, or N below 1.
    """
    log_probs, rewards = _law(logits), np.asarray(rewards, dtype=float)
    ranking = laws.levels(log_probs, rewards)
    law = laws.best_of_n(ranking, n)
    log_cdf, log_ratio, log_share = (column[0] for column in (ranking.log_cdf, ranking.log_ratio, ranking.log_share))
    level, probs, v = _level_index(rewards), np.exp(log_probs), -log_ratio
    at_most = _conditioned(log_probs, log_cdf, level <= level[:, None])
    below = _conditioned(log_probs, log_cdf + log_ratio, level < level[:, None])
    within = np.where(level == level[:, None], np.exp(log_share), 0.0)
    # The last term's derivative times 1-e^{-v}; in v it keeps its digits for levels of hardly any mass (v near 0).
    slope = (_bernoulli(n * v) - _bernoulli(v)) * exprel(-v)
    worse = np.where((v < np.inf)[:, None], within - below, 0.0)  # the bottom level has v = inf: no slope
    jacobian = np.eye(len(probs)) - probs + (n - 1) * (at_most - probs) + slope[:, None] * worse
    return law, np.where((log_probs > -np.inf)[:, None], jacobian, 0.0)


def _conditioned(log_probs: np.ndarray, log_mass: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The law on the responses inside, ``[Y, Y]`` a row per response; 0 where they have no mass."""
    with np.errstate(invalid="ignore"):
        return np.exp(np.where(inside & (log_probs > -np.inf), log_probs - log_mass[:, None], -np.inf))


def _law(logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(logits, dtype=float)
    if logits.ndim != 1 or not (logits.max(initial=-np.inf) > -np.inf and logits.max() < np.inf):
        raise UserError(
            f"logits: shape {logits.shape}, largest {logits.max(initial=-np.inf)}; expected [Y], one finite"
        )
    return log_softmax(logits)


def _level_index(rewards: np.ndarray) -> np.ndarray:
    """The level of each response, from the bottom, as `laws.levels` ranks them."""
    order, index = np.argsort(rewards), np.empty(len(rewards), dtype=int)
    index[order] = np.cumsum(laws.level_starts(rewards[order][None])[0])
    return index


def _bernoulli(x: np.ndarray) -> np.ndarray:
    """``x/(e^x - 1) - 1``, by its series where it is small."""
    small = np.minimum(x, 0.05)
    series = small * (-1 / 2 + small * (1 / 12 + small**2 * (-1 / 720 + small**2 / 30_240)))
    finite = np.clip(x, 1e-300, 700)
    return np.where(x < 0.05, series, np.where(x > 700, -1.0, finite / np.expm1(finite) - 1))


# Objectives -----------------------------------------------------------------------------------------------------------


def bon_sft(logits, expert, rewards, n: float) -> tuple[float, np.ndarray]:
    """BoN-SFT: ``E_{y~expert}[log π_BoN(y)]``.

    Args:
        logits, rewards, n: as in `log_best_of_n`.
        expert: probabilities ``[Y]``; a response that it never gives may have no mass.
    """
    value, jacobian = log_best_of_n(logits, rewards, n)
    return _expected(expert, value), np.asarray(expert, dtype=float) @ jacobian


def bon_sft_surrogate(logits, expert, rewards, n: float) -> tuple[float, np.ndarray]:
    """BoN-SFT with the variational surrogate ``π exp(λ_N Q)/Z`` in place of best-of-N; for atomless verifiers.

    Args:
        logits, expert, rewards, n: as in `bon_sft`.
    """
    log_probs, rewards = _law(logits), np.asarray(rewards, dtype=float)
    probs, expert, level = np.exp(log_probs), np.asarray(expert, dtype=float), _level_index(rewards)
    surrogate = laws.rank_tilted(log_probs, n, rewards=rewards)
    at_most = level <= level[:, None]
    gradient_q = probs * (at_most - (at_most @ probs)[:, None])
    jacobian = np.eye(len(probs)) - probs + laws.rank_tilt(n) * gradient_q
    return _expected(expert, surrogate), (expert - np.exp(surrogate)) @ jacobian


def _expected(expert: np.ndarray, log_law: np.ndarray) -> float:
    """``Σ expert · log_law``, where 0 times -inf is 0."""
    expert = np.asarray(expert, dtype=float)
    if expert.shape != log_law.shape or not np.all(expert >= 0):
        raise UserError(
            f"expert: shape {expert.shape}, smallest {expert.min()}; expected probabilities {log_law.shape}"
        )
    return float(np.sum(expert * np.where(expert > 0, log_law, 0.0)))


def bon_rl(logits, environment, n: float, *, verifier=None) -> tuple[float, np.ndarray]:
    """BoN-RL: ``E_{y~π_BoN}[R(y)]``.

    Args:
        logits, n: as in `log_best_of_n`.
        environment: ``R``, any real rewards, ``[Y]``.
        verifier: values ``[Y]`` that select (BoN-RL-V); default ``R`` itself (BoN-RL-S).
    """
    environment = np.asarray(environment, dtype=float)
    value, jacobian = log_best_of_n(logits, environment if verifier is None else verifier, n)
    weights = np.exp(value) * environment
    return float(weights.sum()), weights @ jacobian


def bon_rlb(logits, correct, n: float) -> tuple[float, np.ndarray]:
    """BoN-RLB: the pass rate ``1 - p_fail^N``; ``∇ = N p_fail^{N-1} E_π[1{correct} s]``. N = 1 is REINFORCE.

    Args:
        logits, n: as in `log_best_of_n`.
        correct: 0 or 1, ``[Y]``; for other rewards the same objective is `bon_rl` without a verifier.

    Raises:
        UserError: rewards that are not 0 or 1, or N below 1.
    """
    if not 1 <= n < np.inf:
        raise UserError(f"n={n}; expected a real number ≥ 1")
    probs, correct = np.exp(_law(logits)), _binary(correct)
    passed, failed = float(probs @ correct), float(probs @ (1 - correct))
    # The smaller of the two has all its digits.
    log_failed = (lambda k: xlog1py(k, -passed)) if passed < failed else (lambda k: xlogy(k, failed))
    centred = np.where(correct == 1, failed, -passed)
    return float(-np.expm1(log_failed(n))), n * np.exp(log_failed(n - 1)) * probs * centred


def _binary(correct: np.ndarray) -> np.ndarray:
    correct = np.asarray(correct, dtype=float)
    if not np.isin(correct, (0.0, 1.0)).all():
        raise UserError(f"correct: {correct[~np.isin(correct, (0.0, 1.0))][0]}; expected 0 or 1 only")
    return correct


# Weights of samples ---------------------------------------------------------------------------------------------------


def bon_rlb_weights(p_fail: float, n: float) -> tuple[float, float]:
    """Weights of correct and of wrong responses *sampled from best-of-N*, whose weighted scores average to ``∇(1-p^N)``.

    ``g⁺ = N p^{N-1}/(1-p^N)`` and ``g⁻ = N p/(1-p)``: ``E_{π_BoN}[R g⁺ s + (1-R) g⁻ s]``, with a *plus* sign.

    Args:
        p_fail: in (0, 1).
        n: real ``N ≥ 1``.
    """
    if not 1 <= n < np.inf:
        raise UserError(f"n={n}; expected a real number ≥ 1")
    if not 0 < p_fail < 1:
        raise UserError(f"p_fail={p_fail}; expected a number in (0, 1)")
    return float(n * p_fail ** (n - 1) / -np.expm1(n * np.log(p_fail))), float(n * p_fail / (1 - p_fail))


def bon_rlb_positive_weight(p_fail: float, n: float) -> float:
    """BoN-RLB(P): weight ``N p^{N-1}(1-p)/(1-p^N)`` of correct responses sampled from best-of-N, wrong ones ignored."""
    return bon_rlb_weights(p_fail, n)[0] * (1 - p_fail)


def pass_at_k_weights(correct: np.ndarray, k: int) -> np.ndarray:
    """Unbiased weights of n i.i.d. samples for ``∇(1-p^k)``: ``mean_i w_i s_i`` has that expectation, for ``n ≥ k``.

    ``w = k`` for a correct sample, ``k ρ(n-1, c, k-1)`` for a wrong one, ``ρ(n,c,k) = 1 - C(n-c,k)/C(n,k)``.
    Plugging the group's own pass rate into `bon_rlb_weights` instead is strongly biased.

    Args:
        correct: ``[..., n]``, 0 or 1.
        k: from 1 to n.

    Returns:
        ``[..., n]``.

    Raises:
        UserError: k out of range, or rewards that are not 0 or 1.

    Source: PKPO, arXiv 2505.15201.
    """
    correct = _binary(correct)
    n = correct.shape[-1]
    expect_integers(1, n, k=k)
    c = correct.sum(axis=-1, keepdims=True)
    # C(n-1-c, k-1) / C(n-1, k-1), where that many others are wrong.
    log_none = gammaln(np.maximum(n - c, 1)) + gammaln(n - k + 1) - gammaln(np.maximum(n - c - k + 1, 1)) - gammaln(n)
    wrong = np.where(n - 1 - c >= k - 1, -np.expm1(np.minimum(log_none, 0.0)), 1.0)
    return k * np.where(correct == 1, 1.0, wrong)


def max_at_k_weights(rewards: np.ndarray, k: int, *, binary: bool = False, positive: bool = True) -> np.ndarray:
    """Weights of m i.i.d. samples whose mean weighted score is unbiased for ``∇ E[max of k rewards]``, for ``m ≥ k``.

    With ``M`` the largest reward of a random k-1 of a sample's fellows, ``w_i = k (E[max(r_i, M)] - b_i)``; the baseline
    ``b_i`` is a function of the fellows alone, so it changes no expectation: ``E[M]`` if `positive`; else their least
    reward, or 0 if rewards are 0 or 1. With those, ``w_i`` is ``k`` for a success and ``k ρ(m-1, c, k-1)`` for a
    failure, and if `positive` ``k (1 - ρ(m-1, c-1, k-1))`` for a success and 0 for a failure, of c successes in all,
    ``ρ(m, c, k) = 1 - C(m-c, k)/C(m, k)``. For k > 1 no weight is negative.

    Args:
        rewards: any real ones, ``[..., m]``. k: from 1 to m. binary: whether they are all 0 or 1.

    Returns:
        ``[..., m]``.

    Raises:
        UserError: k out of range, or a reward that is not finite.

    Source: PKPO, arXiv 2505.15201 (binary and continuous rewards); binary rewards, arXiv 2412.15287.
    """
    shape = np.shape(rewards)
    rewards = np.asarray(rewards, dtype=float).reshape(-1, shape[-1])
    m, n = shape[-1], k
    expect_integers(1, m, k=k)
    if not np.isfinite(rewards).all():
        raise UserError(f"rewards: found {rewards[~np.isfinite(rewards)][0]}; expected finite numbers")
    order = np.argsort(rewards, axis=1, kind="stable")
    ranked = np.take_along_axis(rewards, order, axis=1)
    rank, subsets = np.arange(1, m + 1), log_choose(m - 1, n - 1)
    # Chances that the fellows chosen are all of lower rank; that the largest of them is the sample of this rank, above
    # the one they are fellows of (which is not among those below it), or below it.
    lower = np.exp(log_choose(rank - 1, n - 1) - subsets)
    above = ranked * np.exp(log_choose(rank - 2, n - 2) - subsets)
    below = ranked * np.exp(log_choose(rank - 1, n - 2) - subsets)
    from_above = np.cumsum(above[:, ::-1], axis=1)[:, ::-1] - above
    from_below = np.cumsum(below, axis=1) - below
    least = np.zeros_like(ranked)
    if not binary and m > 1:
        least = np.broadcast_to(ranked[:, :1], ranked.shape).copy()
        least[:, 0] = ranked[:, 1]
    baseline = from_below + from_above if positive and n > 1 else least
    weights = np.empty_like(ranked)
    np.put_along_axis(weights, order, n * (ranked * lower + from_above - baseline), axis=1)
    # A weight of rounding size is none: a response less to train on.
    return np.where(np.abs(weights) > 1e-12 * n * np.abs(rewards).max(initial=1.0), weights, 0.0).reshape(shape)


# Training -------------------------------------------------------------------------------------------------------------


def train(objective, starts: np.ndarray, *, base: np.ndarray, kl_penalty: float) -> np.ndarray:
    """Logits that maximise ``objective(logits) - kl_penalty · KL(π‖π_base)``, the best of BFGS from each start.

    Args:
        objective: ``logits [Y] → (value, gradient [Y])``.
        starts: finite logits, ``[K, Y]`` or ``[Y]``: several, for the objectives are not concave.
        base: finite logits of the base policy, ``[Y]``.
        kl_penalty: positive, else the maximum may be at infinity.

    Returns:
        ``[Y]``.

    Raises:
        UserError: logits that are not finite, or a penalty that is not positive.
        RuntimeError: not converged; names the residual.
    """
    if not 0 < kl_penalty < np.inf:
        raise UserError(f"kl_penalty={kl_penalty}; expected a positive number")
    for name, logits in (("starts", starts), ("base", base)):
        if not np.isfinite(logits).all():
            raise UserError(f"{name}: {np.asarray(logits)[~np.isfinite(logits)][0]}; expected finite logits")
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
