"""Replications of the finite-sample algorithms on tables, vectorised: how often does sharpening fail?

Only what decides success is sampled, from its exact law: the number of visits of each prompt and how many of them
returned a member of ``y*_γ``. That has the same distribution as running `learners.sft_sharpening` literally, which the
tests compare. All are called as ``(policy, …, *, delta, gamma, replications, rng)`` and return errors
``[replications]``: the fraction of bad prompts ``P_x[π̂(y*_γ|x) < 1-δ]`` of each replication.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd

from sharptheory.errors import UserError, expect_integers, expect_numbers
from sharptheory.learners.classes import FiniteClass, Pairs
from sharptheory.measure.bootstrap import PROPORTION, mean_over_prompts
from sharptheory.theory import laws
from sharptheory.theory.coverage import coverage_coefficient, maximizers, missing_mass
from sharptheory.theory.policies import TabularPolicy

#: Numbers held at once.
CHUNK = 5_000_000


def tabular_errors(
    policy: TabularPolicy,
    law: np.ndarray,
    n_prompts: int,
    *,
    delta: float,
    gamma: float = 0.0,
    replications: int = 1_000,
    rng: np.random.Generator,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Errors of tabular maximum likelihood on `n_prompts` responses; a prompt never visited keeps the uniform law.

    Args:
        policy: base policy.
        law: log-probabilities in nats of the responses trained on, ``[X, Y]``, e.g. `laws.best_of_n` (SFT-Sharpening) or
            the law of `laws.adaptive_best_of_n`.
        n_prompts: n.
        delta, gamma: of ``(ε, δ, γ)``-sharpness, in [0, 1] and [0, 1).
        replications: how many.
        rng: its state decides the result.
        progress: called with the number of replications done.

    Returns:
        ``[replications]``.

    Raises:
        UserError: an argument out of range.
    """
    expect_numbers("[0, 1]", delta=delta)
    expect_numbers("[0, 1)", gamma=gamma)
    expect_integers(1, n_prompts=n_prompts, replications=replications)
    inside = maximizers(policy.log_probs, gamma)
    hit = np.clip(1 - missing_mass(law, policy, gamma), 0.0, 1.0)
    unvisited = inside.mean(axis=1) < 1 - delta
    errors = np.empty(replications)
    step = max(1, CHUNK // policy.shape[0])
    for start in range(0, replications, step):
        stop = min(start + step, replications)
        visits = rng.multinomial(n_prompts, policy.mu, size=stop - start)
        hits = rng.binomial(visits, hit)
        # Counts are integers: compared without rounding of 1-δ by a relative 1e-12.
        bad = np.where(visits > 0, hits < (1 - delta) * visits * (1 - 1e-12), unvisited)
        errors[start:stop] = bad @ policy.mu
        if progress:
            progress(stop)
    return errors


def sft_errors(policy: TabularPolicy, n_prompts: int, n_responses: float, **options) -> np.ndarray:
    """`tabular_errors` of SFT-Sharpening with N responses per prompt, ``[replications]``.

    Args:
        policy: base policy.
        n_prompts: n.
        n_responses: real ``N ≥ 1``.
        options: of `tabular_errors`.
    """
    return tabular_errors(policy, laws.best_of_n(policy.log_probs, n_responses), n_prompts, **options)


def adaptive_errors(policy: TabularPolicy, n_prompts: int, threshold: float, **options) -> np.ndarray:
    """`tabular_errors` of adaptive SFT-Sharpening, ``[replications]``.

    Args:
        policy: base policy.
        n_prompts: n.
        threshold: ``μ_stop > 0``.
        options: of `tabular_errors`.
    """
    return tabular_errors(policy, laws.adaptive_best_of_n(policy.log_probs, threshold).law, n_prompts, **options)


def dpo_errors(
    policy: TabularPolicy,
    members: FiniteClass,
    n_pairs: int,
    beta: float,
    *,
    delta: float,
    gamma: float = 0.0,
    replications: int = 200,
    rng: np.random.Generator,
) -> np.ndarray:
    """Errors of RLHF-Sharpening over a finite class, ``[replications]``.

    Args:
        policy: base policy.
        members: the class.
        n_pairs: n.
        beta: ``β > 0``.
        delta, gamma, replications, rng: as in `tabular_errors`.

    Raises:
        UserError: an argument out of range.
    """
    expect_numbers("[0, 1]", delta=delta)
    expect_numbers("[0, 1)", gamma=gamma)
    expect_integers(1, n_pairs=n_pairs, replications=replications)
    expect_numbers("(0, inf)", beta=beta)
    if members.shape != policy.shape:
        raise UserError(f"members is a class of shape {members.shape}; expected {policy.shape}, as policy")
    bad = np.stack([missing_mass(member, policy, gamma) > delta for member in members.members]) @ policy.mu
    cdf = np.cumsum(policy.probs, axis=1)
    errors = np.empty(replications)
    for r in range(replications):
        prompts = rng.choice(policy.shape[0], size=n_pairs, p=policy.mu)
        uniforms = rng.random((2, n_pairs)) * cdf[prompts, -1]
        responses = [np.minimum((cdf[prompts] <= u[:, None]).sum(axis=1), policy.shape[1] - 1) for u in uniforms]
        logs = [policy.log_probs[prompts, y] for y in responses]
        losses = members.regression_losses(Pairs(prompts, *responses, *logs), beta)
        errors[r] = bad[int(np.argmin(losses))]
    return errors


def sweep(
    policy: TabularPolicy,
    *,
    n_prompts: Iterable[int],
    n_responses: Iterable[float] = (),
    threshold: Iterable[float] = (),
    delta: Iterable[float] = (0.1,),
    gamma: Iterable[float] = (0.0,),
    replications: int = 1_000,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Measured failure of SFT- (each N) and adaptive SFT-Sharpening (each threshold) on a grid, beside its guarantee.

    Every setting has its own stream, seeded by its position in the grid, so the table does not depend on `workers`.

    Args:
        policy: base policy.
        n_prompts: each n.
        n_responses: each N of SFT-Sharpening.
        threshold: each ``μ_stop`` of the adaptive rule.
        delta, gamma: each of ``(ε, δ, γ)``-sharpness.
        replications: per setting.
        seed: of the streams.
        workers: processes, default one per core; 1 stays in this one.
        progress: called with (settings done, settings in all).

    Returns:
        One row per setting: `method, n, n_responses` (the expected number for the adaptive rule), `delta, gamma`;
        `error` with `low, high` (95 %, over replications) of ``P_x[π̂(y*_γ|x) < 1-δ]``; `bound_term`, the part of the
        guarantee that more prompts cannot remove: ``C_cov,γ/N*`` (Theorem 4.1′), 0 for the adaptive rule (Theorem D.1).

    Raises:
        UserError: an empty grid, or an argument out of range.
    """
    expect_integers(0, seed=seed)
    if workers is not None:
        expect_integers(1, workers=workers)
    methods = [("sft", float(n)) for n in n_responses] + [("adaptive", float(t)) for t in threshold]
    settings = list(itertools.product(methods, n_prompts, delta, gamma))
    if not settings:
        raise UserError("an empty grid: give n_prompts and at least one of n_responses, threshold")
    jobs = [(policy, *setting, replications, np.random.SeedSequence([seed, i])) for i, setting in enumerate(settings)]
    rows = []
    for row in _each(_setting, jobs, workers):
        rows.append(row)
        if progress:
            progress(len(rows), len(settings))
    columns = ["method", "n", "n_responses", "delta", "gamma", "error", "low", "high", "bound_term"]
    return pd.DataFrame(rows, columns=columns)


def _each(function: Callable, jobs: list, workers: int | None) -> Iterator:
    """``map(function, jobs)``, in this process for one worker, else in several."""
    if workers == 1:
        yield from map(function, jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(function, jobs)


def _setting(job: tuple) -> tuple:
    policy, (method, size), n, delta, gamma, replications, seed = job
    if method == "sft":
        law, spent = laws.best_of_n(policy.log_probs, size), size
        bound_term = coverage_coefficient(policy, gamma) * laws.stopping_threshold(delta) / size
    else:
        stopping = laws.adaptive_best_of_n(policy.log_probs, size)
        law, spent, bound_term = stopping.law, float(stopping.expected_n @ policy.mu), 0.0
    rng = np.random.default_rng(seed)
    errors = tabular_errors(policy, law, n, delta=delta, gamma=gamma, replications=replications, rng=rng)
    estimate = mean_over_prompts(errors, ends=PROPORTION)
    return method, n, spent, delta, gamma, float(estimate.value), float(estimate.low), float(estimate.high), bound_term
