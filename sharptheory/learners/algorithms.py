"""Sharpening algorithms with finitely many samples, exactly as stated, through a sample-and-evaluate oracle only.

All are called as ``(oracle, policy_class, prompts, …, *, seed)`` and return a `Learned`:

* oracle: sample-and-evaluate access to the base policy, which is known through it alone;
* policy_class: one of `classes`, on the same prompts and responses ``(X, Y)``;
* prompts: row numbers sampled from μ, ``[n]``, repeats included;
* seed: of the oracle's samples and of every choice at random.

Each raises `UserError` for prompts or responses that the class lacks, a class that cannot answer, and a parameter out
of range.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sharptheory.errors import UserError, expect_integers, expect_numbers
from sharptheory.learners.classes import Pairs
from sharptheory.oracle import CountingOracle, Oracle, Response
from sharptheory.theory.adaptive import entry_time

#: Responses held at once.
CHUNK = 1_000_000


@dataclass(frozen=True, eq=False)
class Learned:
    """What a learner returns and what it cost.

    Attributes:
        log_probs: the learned policy in nats, ``[X, Y]``.
        n_prompts: n, repeats included.
        n_responses: N per prompt (the mean number for the adaptive rule).
        queries: m, responses sampled or evaluated (Definition 3.2).
    """

    log_probs: np.ndarray
    n_prompts: int
    n_responses: float
    queries: int


# Maximum likelihood ---------------------------------------------------------------------------------------------------


def sft_sharpening(
    oracle: Oracle, policy_class, prompts: np.ndarray, n_responses: int, *, seed: int = 0, tolerance: float = 1e-12
) -> Learned:
    """SFT-Sharpening: maximum likelihood on the best-of-N response, by likelihood, of each prompt.

    Args:
        oracle, policy_class, prompts, seed: see the module.
        n_responses: N.
        tolerance: log-likelihoods closer than this, in nats, are tied; ties are broken uniformly over the samples.

    Source: (1), Theorem 4.1′.

    A hundred prompts with the best of 16 responses each put most of the mass on the likeliest:

    >>> import numpy as np
    >>> from sharptheory.learners import Simplex, sft_sharpening
    >>> from sharptheory.oracle import TableOracle
    >>> from sharptheory.theory.policies import TabularPolicy
    >>> base = TabularPolicy.from_probs([[0.4, 0.35, 0.25], [0.2, 0.5, 0.3]])
    >>> learned = sft_sharpening(TableOracle(base), Simplex(base.shape), np.array([0, 1] * 50), 16)
    >>> learned.queries, np.exp(learned.log_probs).max(axis=1)
    (1600, array([1., 1.]))
    """
    oracle, prompts = CountingOracle(oracle), _checked(policy_class, prompts, seed, "fit")
    expect_integers(1, n_responses=n_responses)
    expect_numbers("[0, inf)", tolerance=tolerance)
    rng = np.random.default_rng([seed, 1])
    chosen = []
    step = max(1, CHUNK // n_responses)
    for start in range(0, len(prompts), step):
        sampled = oracle.sample(prompts[start : start + step].tolist(), n_responses, seed=_stream(seed, start))
        chosen += [_best(row, rng, tolerance) for row in sampled]
    return Learned(_most_likely(policy_class, prompts, chosen), len(prompts), float(n_responses), oracle.queries)


def adaptive_sharpening(
    oracle: Oracle, policy_class, prompts: np.ndarray, threshold: float, *, seed: int = 0, max_samples: int = 10**7
) -> Learned:
    """Adaptive SFT-Sharpening: sample at each prompt until rule (10) stops, then maximum likelihood on the best.

    Args:
        oracle, policy_class, prompts, seed: see the module.
        threshold: ``μ_stop = ln(2/δ)``.
        max_samples: per prompt, at most.

    Raises:
        UserError: the rule has not stopped after `max_samples`.

    Source: Appendix D.
    """
    expect_numbers("(0, inf)", threshold=threshold)
    oracle, prompts = CountingOracle(oracle), _checked(policy_class, prompts, seed, "fit")
    expect_integers(1, max_samples=max_samples)
    rng = np.random.default_rng([seed, 1])
    chosen, spent = [], 0
    for i, x in enumerate(prompts.tolist()):
        seen = _until_it_stops(oracle, x, threshold, max_samples, (seed, i))
        spent += len(seen)
        chosen.append(_best(seen, rng, 1e-12))
    # What is sampled beyond the stopping time comes from sampling in blocks; the rule does not look at it.
    return Learned(_most_likely(policy_class, prompts, chosen), len(prompts), spent / len(prompts), spent)


def _until_it_stops(oracle, x: int, threshold: float, max_samples: int, key: tuple[int, int]) -> list[Response]:
    """The samples at a prompt up to the first k with ``k ≥ μ_stop / max_{j≤k} π(y_j)``."""
    seen: list[Response] = []
    block = int(np.ceil(min(threshold, max_samples)))
    while len(seen) < max_samples:
        block = min(block, max_samples - len(seen))
        seen += oracle.sample([x], block, seed=_stream(*key, len(seen)))[0]
        running = np.maximum.accumulate([response.log_likelihood for response in seen])
        stopped = np.arange(1, len(seen) + 1) >= entry_time(running, threshold)
        if stopped.any():
            return seen[: int(np.argmax(stopped)) + 1]
        block = len(seen)
    raise UserError(f"max_samples={max_samples}: the rule has not stopped at prompt {x}; expected a larger number")


def _best(responses: list[Response], rng: np.random.Generator, tolerance: float) -> int:
    """The likeliest response, ties broken uniformly over the samples."""
    values = np.array([response.log_likelihood for response in responses])
    return responses[int(rng.choice(np.flatnonzero(values >= values.max() - tolerance)))].tokens[0]


def _most_likely(policy_class, prompts: np.ndarray, responses: list[int]) -> np.ndarray:
    """Maximum likelihood on one response per prompt."""
    counts = np.zeros(policy_class.shape)
    np.add.at(counts, (prompts, _columns(policy_class, responses)), 1)
    return policy_class.fit(counts)


# Regression on pairs --------------------------------------------------------------------------------------------------


def sample_pairs(oracle: Oracle, prompts: np.ndarray, *, seed: int = 0) -> Pairs:
    """Two base responses for each of the prompts ``[n]``, with their log-likelihoods."""
    prompts = np.asarray(prompts)
    sampled = oracle.sample(prompts.tolist(), 2, seed=seed)
    tokens = np.array([[response.tokens[0] for response in row] for row in sampled])
    logs = np.array([[response.log_likelihood for response in row] for row in sampled])
    return Pairs(prompts, tokens[:, 0], tokens[:, 1], logs[:, 0], logs[:, 1])


def rlhf_sharpening(oracle: Oracle, policy_class, prompts: np.ndarray, beta: float, *, seed: int = 0) -> Learned:
    """RLHF-Sharpening by the DPO regression (8) on two base responses per prompt, self-reward ``log π_base``.

    Args:
        oracle, prompts, seed: see the module.
        policy_class: `FiniteClass` or `LinearClass`.
        beta: ``β > 0``.

    Source: (4), (8), Theorem 4.2′.
    """
    expect_numbers("(0, inf)", beta=beta)
    oracle, prompts = CountingOracle(oracle), _checked(policy_class, prompts, seed, "regress")
    pairs = sample_pairs(oracle, prompts, seed=seed)
    _columns(policy_class, [*pairs.first, *pairs.second])
    return Learned(policy_class.regress(pairs, beta), len(prompts), 2.0, oracle.queries)


# Exploration ----------------------------------------------------------------------------------------------------------


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

    Round t samples ``y ~ π^(t)`` and ``ỹ ~ π_base`` at prompt t, where ``π^(1) = π_base``; the next policy minimises
    ``α Σ log π(ỹ|x) + Σ (β log π(y)/π_base(y) - β log π(ỹ)/π_base(ỹ) - r(y) + r(ỹ))²`` over all rounds so far. Returned
    is the iterate of largest ``J_β = E_π[log π_base] - β KL(π‖π_base)``, estimated on `held_out` fresh samples from
    each; ``π^(1)`` is not among them, for its table is not the learner's to return.

    Args:
        oracle, seed: see the module.
        policy_class: `FiniteClass`, or `LinearClass` with a finite ball.
        prompts: one per round, ``[T]``.
        beta: ``β > 0``.
        optimism: ``α ≥ 0``.
        held_out: samples per iterate.
        printed_sign: the paper's minus before the square (an erratum; see docs/theory.md), for comparison.

    Source: Algorithm 1, Theorem 4.3.
    """
    expect_numbers("(0, inf)", beta=beta)
    expect_numbers("[0, inf)", optimism=optimism)
    expect_integers(1, held_out=held_out)
    oracle, prompts = CountingOracle(oracle), _checked(policy_class, prompts, seed, "optimistic")
    rng, sign = np.random.default_rng([seed, 2]), -1.0 if printed_sign else 1.0
    iterates: list[np.ndarray] = []
    current, seen = None, []
    for t, x in enumerate(prompts.tolist()):
        seen.append(_explored(oracle, current, x, rng, _stream(seed, t, 0)))
        pairs = Pairs(*(np.array(column) for column in zip(*seen)))
        _columns(policy_class, [pairs.first[-1], pairs.second[-1]])
        current = policy_class.optimistic(pairs, beta, optimism, sign)
        if not any(np.array_equal(current, iterate) for iterate in iterates):
            iterates.append(current)
    best = max(iterates, key=lambda law: _tilted_value(oracle, law, prompts, beta, held_out, rng))
    return Learned(best, len(prompts), 2.0, oracle.queries)


def _explored(oracle, current: np.ndarray | None, x: int, rng: np.random.Generator, seed: int) -> tuple:
    """A row of `Pairs`: a response of the current policy (None: of the base) and one of the base, with base likelihoods."""
    if current is None:
        [[own, reference]] = oracle.sample([x], 2, seed=seed)
        return x, own.tokens[0], reference.tokens[0], own.log_likelihood, reference.log_likelihood
    probs = np.exp(current[x])
    y = int(rng.choice(len(probs), p=probs / probs.sum()))
    [[reference]] = oracle.sample([x], 1, seed=seed)
    [[log_y]] = oracle.evaluate([x], [[(y,)]])
    return x, y, reference.tokens[0], log_y, reference.log_likelihood


def _tilted_value(oracle, law: np.ndarray, prompts: np.ndarray, beta: float, n_samples: int, rng) -> float:
    """``J_β`` of a policy from its own samples: mean of ``(1+β) log π_base(y) - β log π(y)``."""
    at = rng.choice(prompts, size=n_samples)
    probs = np.exp(law) / np.exp(law).sum(axis=1, keepdims=True)
    responses = [int(rng.choice(law.shape[1], p=probs[x])) for x in at]
    logs = np.concatenate(oracle.evaluate(at.tolist(), [[(y,)] for y in responses]))
    return float(np.mean((1 + beta) * logs - beta * law[at, responses]))


# What all share -------------------------------------------------------------------------------------------------------


def _checked(policy_class, prompts: np.ndarray, seed: int, question: str) -> np.ndarray:
    """The prompts ``[n]``, rows of a class that can answer the question; the seed is one."""
    expect_integers(0, seed=seed)
    if not hasattr(policy_class, question):
        raise UserError(f"policy_class: {type(policy_class).__name__} has no {question}; expected another class")
    prompts = np.asarray(prompts)
    if prompts.ndim != 1 or len(prompts) == 0 or not np.issubdtype(prompts.dtype, np.integer):
        raise UserError(f"prompts: {prompts.dtype} of shape {prompts.shape}; expected row numbers [n], n ≥ 1")
    n_prompts = policy_class.shape[0]
    if prompts.min() < 0 or prompts.max() >= n_prompts:
        wrong = prompts[(prompts < 0) | (prompts >= n_prompts)][0]
        raise UserError(f"prompts: {wrong} is no row of the class; expected 0 to {n_prompts - 1}")
    return prompts


def _columns(policy_class, responses: Iterable[int]) -> np.ndarray:
    """The responses, columns of the class."""
    responses = np.asarray(responses, dtype=np.int64)
    if responses.max() >= policy_class.shape[1]:
        raise UserError(
            f"oracle: sampled response {responses.max()}; the class has {policy_class.shape[1]}: expected one table for both"
        )
    return responses


def _stream(*key: int) -> int:
    """A seed for an independent stream."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])
