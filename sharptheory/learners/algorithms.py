"""Sharpening algorithms with finitely many samples, exactly as stated, through a sample-and-evaluate oracle only.

Each learner takes an oracle, a policy class and the prompts to draw at, and reports what it spent. Prompts are row
numbers and responses columns of the class's table; the base policy is known only through the oracle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sharptheory.errors import UserError
from sharptheory.learners.classes import Pairs
from sharptheory.oracle import CountingOracle, Oracle, Response
from sharptheory.theory.adaptive import entry_time

#: Responses held at once.
CHUNK = 1_000_000


# Learners -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Learned:
    """What a learner returns: log-probabilities ``[X, Y]`` and what they cost.

    Attributes:
        n_prompts: n; n_responses: N per prompt (the mean number for the adaptive rule); queries: m.
    """

    log_probs: np.ndarray
    n_prompts: int
    n_responses: float
    queries: int


def _counts(shape: tuple[int, int], prompts: np.ndarray, responses: np.ndarray) -> np.ndarray:
    counts = np.zeros(shape)
    np.add.at(counts, (prompts, responses), 1)
    return counts


def _best(drawn: list[Response], rng: np.random.Generator, tolerance: float) -> int:
    """The likeliest of the draws, ties broken uniformly over the draws."""
    values = np.array([response.log_likelihood for response in drawn])
    return drawn[int(rng.choice(np.flatnonzero(values >= values.max() - tolerance)))].tokens[0]


def sft_sharpening(
    oracle: Oracle, policy_class, prompts: np.ndarray, n_responses: int, *, seed: int = 0, tolerance: float = 1e-12
) -> Learned:
    """SFT-Sharpening: maximum likelihood on the best-of-N response, by likelihood, of each prompt.

    Args:
        oracle: sample-and-evaluate access to the base policy.
        policy_class: `Simplex`, `FiniteClass` or `LinearClass`.
        prompts: prompts drawn from μ, ``[n]``, repeats included.
        n_responses: N.

    Source: (1), Theorem 4.1′.
    """
    oracle, prompts = CountingOracle(oracle), np.asarray(prompts)
    rng = np.random.default_rng([seed, 1])
    chosen = np.empty(len(prompts), dtype=np.int64)
    step = max(1, CHUNK // max(n_responses, 1))
    for start in range(0, len(prompts), step):
        at = prompts[start : start + step].tolist()
        drawn = oracle.sample(at, n_responses, seed=_stream(seed, start))
        chosen[start : start + len(at)] = [_best(row, rng, tolerance) for row in drawn]
    log_probs = policy_class.fit(_counts(policy_class.shape, prompts, chosen))
    return Learned(log_probs, len(prompts), float(n_responses), oracle.queries)


def adaptive_sharpening(
    oracle: Oracle, policy_class, prompts: np.ndarray, threshold: float, *, seed: int = 0, max_draws: int = 10**7
) -> Learned:
    """Adaptive SFT-Sharpening: draw at each prompt until rule (10) stops, then maximum likelihood on the best draws.

    Args:
        threshold: ``μ_stop = ln(2/δ)``; max_draws: per prompt, after which a RuntimeError says so.

    Source: Appendix D.
    """
    if not threshold > 0:
        raise UserError(f"threshold={threshold}; expected a positive number")
    oracle, prompts = CountingOracle(oracle), np.asarray(prompts)
    rng = np.random.default_rng([seed, 1])
    chosen, spent = [], 0
    for i, x in enumerate(prompts.tolist()):
        drawn: list[Response] = []
        block, stop = max(1, int(np.ceil(threshold))), None
        while stop is None:
            if len(drawn) >= max_draws:
                raise RuntimeError(f"prompt {x}: the rule has not stopped after {len(drawn):,} draws; raise max_draws")
            drawn += oracle.sample([x], block, seed=_stream(seed, i, len(drawn)))[0]
            running = np.maximum.accumulate([response.log_likelihood for response in drawn])
            stopped = np.arange(1, len(drawn) + 1) >= entry_time(running, threshold)
            stop = int(np.argmax(stopped)) + 1 if stopped.any() else None
            block = len(drawn)
        spent += stop
        chosen.append(_best(drawn[:stop], rng, 1e-12))
    log_probs = policy_class.fit(_counts(policy_class.shape, prompts, np.array(chosen)))
    # Draws beyond the stopping time come from drawing in blocks; the rule does not look at them.
    return Learned(log_probs, len(prompts), spent / len(prompts), spent)


def draw_pairs(oracle: Oracle, prompts: np.ndarray, *, seed: int = 0) -> Pairs:
    """Two base responses for each prompt, with their likelihoods."""
    drawn = oracle.sample(np.asarray(prompts).tolist(), 2, seed=seed)
    tokens = np.array([[response.tokens[0] for response in row] for row in drawn])
    logs = np.array([[response.log_likelihood for response in row] for row in drawn])
    return Pairs(np.asarray(prompts), tokens[:, 0], tokens[:, 1], logs[:, 0], logs[:, 1])


def rlhf_sharpening(oracle: Oracle, policy_class, prompts: np.ndarray, beta: float, *, seed: int = 0) -> Learned:
    """RLHF-Sharpening by the DPO regression (8) on two base responses per prompt, self-reward ``log π_base``.

    Args:
        policy_class: `FiniteClass` or `LinearClass`; beta: ``β > 0``.

    Source: (4), (8), Theorem 4.2′.
    """
    _check_beta(beta)
    oracle = CountingOracle(oracle)
    pairs = draw_pairs(oracle, prompts, seed=seed)
    return Learned(policy_class.regress(pairs, beta), len(pairs.prompts), 2.0, oracle.queries)


def xpo_sharpening(
    oracle: Oracle,
    policy_class,
    prompts: np.ndarray,
    beta: float,
    *,
    optimism: float,
    held_out: int = 100,
    seed: int = 0,
    printed_sign: bool = False,
) -> Learned:
    """XPO-Sharpening (Algorithm 1): explore with the current policy, regress, be optimistic.

    Round t draws ``y ~ π^(t)`` and ``ỹ ~ π_base`` at prompt t; the next policy minimises
    ``α Σ log π(ỹ|x) + Σ (β log π(y)/π_base(y) - β log π(ỹ)/π_base(ỹ) - r(y) + r(ỹ))²``. Returned is the iterate of
    largest ``J_β = E_π[log π_base] - β KL(π‖π_base)``, estimated on `held_out` fresh draws from each.

    Args:
        policy_class: `FiniteClass`, or `LinearClass` with a finite ball.
        prompts: one per round, ``[T]``; optimism: α ≥ 0; printed_sign: the paper's minus before the square (an
            erratum; see docs/theory.md), for comparison.

    Source: Algorithm 1, Theorem 4.3.
    """
    _check_beta(beta)
    oracle, prompts = CountingOracle(oracle), np.asarray(prompts)
    rng, sign = np.random.default_rng([seed, 2]), -1.0 if printed_sign else 1.0
    current = policy_class.initial()
    iterates, seen = [current], []
    for t, x in enumerate(prompts.tolist()):
        probs = np.exp(current[x])
        y = int(rng.choice(len(probs), p=probs / probs.sum()))
        [[reference]] = oracle.sample([x], 1, seed=_stream(seed, t, 0))
        [[log_y]] = oracle.evaluate([x], [[(y,)]])
        seen.append((x, y, reference.tokens[0], log_y, reference.log_likelihood))
        pairs = Pairs(*(np.array(column) for column in zip(*seen)))
        current = policy_class.optimistic(pairs, beta, optimism, sign)
        if not any(np.array_equal(current, iterate) for iterate in iterates):
            iterates.append(current)
    best = max(iterates, key=lambda law: _tilted_value(oracle, law, prompts, beta, held_out, rng))
    return Learned(best, len(prompts), 2.0, oracle.queries)


def _tilted_value(oracle: Oracle, law: np.ndarray, prompts: np.ndarray, beta: float, draws: int, rng) -> float:
    """``J_β`` of a policy from its own draws: mean of ``(1+β) log π_base(y) - β log π(y)``."""
    at = rng.choice(prompts, size=draws)
    probs = np.exp(law) / np.exp(law).sum(axis=1, keepdims=True)
    responses = [int(rng.choice(law.shape[1], p=probs[x])) for x in at]
    logs = np.concatenate(oracle.evaluate(at.tolist(), [[(y,)] for y in responses]))
    return float(np.mean((1 + beta) * logs - beta * law[at, responses]))


def _check_beta(beta: float) -> None:
    if not 0 < beta < np.inf:
        raise UserError(f"beta={beta}; expected a positive number")


def _stream(*key: int) -> int:
    """A seed for an independent stream."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])
