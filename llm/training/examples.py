"""What each method learns from a pool: weighted responses and pairs of them.

All methods have one signature, ``(samples, config, rng) → examples``; `samples` are rows of a pool with `tokens`, their
`reward`, and the *base* model's `log_likelihood`, also where the policy of a later round wrote them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sharptheory.errors import UserError
from sharptheory.learners.bon_aware import max_at_k_weights
from sharptheory.llm.training.config import Config, training_reward
from sharptheory.measure.pool import Pool, as_pool, rectangles
from sharptheory.theory.laws import entry_time, stopping_threshold


@dataclass(frozen=True)
class Example:
    """A response with its weight, or (with `other`) a pair with the difference that the regression (8) aims at.

    Attributes:
        prompt_id: which prompt. tokens: response, end of sequence included. weight: of ``log π(y|x)``, may be negative.
        other: second response of a pair. target: ``r(y) - r(y') + β (log π_base(y) - log π_base(y'))``, so that the loss
            is ``(β (log π(y) - log π(y')) - target)²``.
    """

    prompt_id: int
    tokens: tuple[int, ...]
    weight: float = 1.0
    other: tuple[int, ...] | None = None
    target: float = 0.0


def examples(
    pool: Pool | pd.DataFrame, config: Config, *, rng: np.random.Generator, base: Pool | None = None
) -> list[Example]:
    """What a method learns from a pool.

    Args:
        pool: with `tokens`; its log-likelihoods are the base model's.
        config: its method, reward and what these take (β, δ, N, α) are used.
        rng: breaks ties.
        base: of `xpo` after its first round, samples of the base model to pair those of the policy with.

    Raises:
        UserError: nothing to learn from, unknown correctness or missing columns, too few samples for N.
    """
    pool = as_pool(pool)
    if base is not None:
        pool = _together(pool, base)
    samples = rewarded(pool, config)
    found = FOUND_BY[config.method](samples, config, rng)
    if not found:
        raise UserError(
            f"method {config.method!r} found nothing to learn in {len(samples)} samples (all pairs equal, or no success)"
        )
    return found


def rewarded(pool: Pool, config: Config) -> pd.DataFrame:
    """The samples of a pool with their `reward`; equal responses of a prompt share one reward and one log-likelihood.

    Sampling or scoring a response twice differs by rounding, which must not make it better than itself.

    Raises:
        UserError: a missing column, unknown correctness, or rewards that tell no two responses apart.
    """
    reward = training_reward(config.reward)
    samples = pool.samples.assign(reward=reward(pool), tokens=pool["tokens"].map(tuple))
    same = samples.groupby(["prompt_id", "tokens"], sort=False)
    samples = samples.assign(**{column: same[column].transform("max") for column in ("reward", "log_likelihood")})
    of_prompt = samples.groupby("prompt_id")["reward"]
    if of_prompt.size().max() > 1 and of_prompt.nunique().max() < 2:
        raise UserError(
            f"reward {config.reward!r} is tied on every prompt, so there is nothing to prefer; use another reward"
        )
    return samples


def _together(pool: Pool, base: Pool) -> Pool:
    """Samples of the policy and of the base model in one pool, so that one reward compares them; sources tell them apart."""
    frames = [pool.samples.assign(source="policy"), base.samples.assign(source="base")]
    samples = pd.concat(frames, ignore_index=True).sort_values("prompt_id", kind="stable", ignore_index=True)
    return Pool(samples.assign(sample_id=samples.groupby("prompt_id").cumcount()), pool.greedy)


# Maximum likelihood ---------------------------------------------------------------------------------------------------


def sft_examples(samples: pd.DataFrame, config: Config, rng: np.random.Generator) -> list[Example]:
    """SFT-Sharpening: the best response of each prompt, ties broken at random."""
    shuffled = samples.sample(frac=1.0, random_state=rng)
    best = shuffled.loc[shuffled.groupby("prompt_id")["reward"].idxmax()].sort_values("prompt_id")
    return [Example(i, y) for i, y in zip(best["prompt_id"], best["tokens"])]


def adaptive_examples(samples: pd.DataFrame, config: Config, rng: np.random.Generator) -> list[Example]:
    """Adaptive SFT: each prompt's samples in order, until the rule (10) stops or the pool is used up."""
    threshold, chosen = stopping_threshold(config.delta), []
    for i, group in samples.groupby("prompt_id"):
        values = group["log_likelihood"].to_numpy(dtype=float)
        running = np.maximum.accumulate(values)
        stopped = np.arange(1, len(values) + 1) >= entry_time(running, threshold)
        k = int(np.argmax(stopped)) if stopped.any() else len(values) - 1
        chosen.append(Example(i, group["tokens"].iloc[int(np.argmax(values[: k + 1]))]))
    return chosen


# Regression on pairs --------------------------------------------------------------------------------------------------


def _pairs(first: pd.DataFrame, second: pd.DataFrame, beta: float) -> Iterator[tuple[tuple, tuple, float]]:
    """Row by row both responses and the target of their regression."""
    columns = ["tokens", "reward", "log_likelihood"]
    for (y, r, log_p), (z, s, other) in zip(first[columns].to_numpy(), second[columns].to_numpy()):
        yield y, z, r - s + beta * (log_p - other)


def pair_examples(samples: pd.DataFrame, config: Config, rng: np.random.Generator) -> list[Example]:
    """RLHF-Sharpening: consecutive samples of a prompt as pairs; equal responses say nothing and are left out."""
    return [
        Example(i, y, other=z, target=target)
        for i, group in samples.groupby("prompt_id")
        for y, z, target in _pairs(group[::2], group[1::2], config.beta)
        if y != z
    ]


def xpo_examples(samples: pd.DataFrame, config: Config, rng: np.random.Generator) -> list[Example]:
    """XPO: pairs of a sample of the policy and one of the base (source ``base``), and the base one with weight ``-α``.

    Minimising ``Σ (…)² + α Σ log π(ỹ|x)`` is Algorithm 1 with the sign that its proof uses. In the first round the
    policy is the base, and both of a pair are the base's.
    """
    found = []
    for i, group in samples.groupby("prompt_id"):
        of_base = group["source"] == "base"
        policy, base = (group[~of_base], group[of_base]) if of_base.any() else (group[::2], group[1::2])
        for y, z, target in _pairs(policy, base, config.beta):
            if y != z:
                found.append(Example(i, y, other=z, target=target))
            if config.optimism > 0:
                found.append(Example(i, z, -config.optimism))
    return found


# Best-of-N-aware ------------------------------------------------------------------------------------------------------


def bon_sft_examples(samples: pd.DataFrame, config: Config, rng: np.random.Generator) -> list[Example]:
    """BoN-SFT: ``∇log π_BoN`` of each prompt's best response as weights on the pool, exact for the pool's own law.

    With L the share of samples below it, ``∇log π_BoN = s - c ∇L``, ``c = N L^{N-1}/(1-L^N) - 1/(1-L)``: being the best,
    it has ``Q = 1``, whose gradient is 0. ``c ≤ 0``: best-of-N wants mass on the worse ones, rather than on its equals.
    """
    n, found = config.n, []
    experts = {example.prompt_id: example for example in sft_examples(samples, config, rng)}
    for i, group in samples.groupby("prompt_id"):
        below = group["reward"] < group["reward"].max()
        low = float(below.mean())
        weight = (1 / (1 - low) - n * low ** (n - 1) / (1 - low**n)) / len(group)
        found.append(experts[i])
        found += [Example(i, y, weight) for y in group.loc[below, "tokens"] if weight > 0]
    return found


def bon_rlb_examples(samples: pd.DataFrame, config: Config, rng: np.random.Generator) -> list[Example]:
    """BoN-RLB: unbiased weights for ``∇ E[max of N rewards]``, which is ``∇ (1 - p_fail^N)`` for a reward of 0 or 1.

    The ``(P)`` variant gives a sample the weight of what it adds to the others. Both have the same expectation.
    """
    found, binary = [], samples["reward"].isin((0.0, 1.0)).all()
    for ids, reward in rectangles(Pool(samples, samples.iloc[:0]), "reward"):
        m = reward.shape[1]
        if config.n > m:
            raise UserError(
                f"best-of-N-aware training for N={config.n} needs at least as many samples per prompt, found {m}"
            )
        weights = max_at_k_weights(reward, config.n, binary=binary, positive=config.method == "bon-rlb-p") / m
        tokens = samples.loc[samples["prompt_id"].isin(ids), "tokens"].to_numpy().reshape(-1, m)
        found += [Example(i, y, float(w)) for i, row, line in zip(ids, tokens, weights) for y, w in zip(row, line) if w]
    return found


FOUND_BY: dict[str, Callable[[pd.DataFrame, Config, np.random.Generator], list[Example]]] = {
    "sft": sft_examples,
    "adaptive-sft": adaptive_examples,
    "dpo": pair_examples,
    "xpo": xpo_examples,
    "bon-sft": bon_sft_examples,
    "bon-rlb": bon_rlb_examples,
    "bon-rlb-p": bon_rlb_examples,
}
