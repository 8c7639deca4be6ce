"""What each method learns from a pool: weighted responses and pairs of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sharptheory.errors import UserError
from sharptheory.learners.bon_aware import max_at_k_weights, pass_at_k_weights
from sharptheory.measure import rewards
from sharptheory.measure.pool import rectangles, samples
from sharptheory.theory.laws import entry_time, stopping_threshold

#: A pool of this model scores its own rows this well, in nats per token; another model's does not.
FOREIGN = 1e-2


@dataclass(frozen=True)
class Example:
    """A response with its weight, or (with `other`) a pair with the difference that the regression (8) aims at.

    Attributes:
        prompt_id: which prompt. tokens: response, end of sequence included. weight: of ``log π(y|x)``, may be negative.
        other: second response of a pair. target: ``r(y) - r(y')`` plus β times the reference's difference of
            log-likelihoods, so that the loss is ``(β (log π(y) - log π(y')) - target)²``.
    """

    prompt_id: int
    tokens: tuple[int, ...]
    weight: float = 1.0
    other: tuple[int, ...] | None = None
    target: float = 0.0


def reward_column(pool: pd.DataFrame, reward: str) -> pd.DataFrame:
    """The samples of a pool with their `reward`; "majority" is the share of the other responses with the same answer.

    Raises:
        ValueError: unknown reward, missing column, unknown correctness, or rewards that tell no two responses apart.
    """
    drawn, name = samples(pool), "answer_share" if reward == "majority" else reward
    if name not in rewards.REWARDS:
        raise UserError(f"reward {reward!r} is unknown; expected majority or one of {', '.join(rewards.REWARDS)}")
    function, needs = rewards.REWARDS[name]
    for column in needs:
        if column not in drawn or (column != "answer" and drawn[column].isna().any()):
            raise UserError(f"reward {reward!r} needs column {column!r} of the pool, without gaps")
    drawn = drawn.assign(reward=function(drawn))
    told_apart = drawn.groupby("prompt_id")["reward"].agg(["size", "nunique"]).max()
    if told_apart["size"] > 1 and told_apart["nunique"] < 2:
        raise UserError(f"reward {reward!r} is tied on every prompt, so there is nothing to prefer; use another reward")
    return drawn


def sft_examples(drawn: pd.DataFrame, *, rng: np.random.Generator, **_) -> list[Example]:
    """SFT-Sharpening: the best response of each prompt, ties broken at random."""
    shuffled = drawn.sample(frac=1.0, random_state=rng)
    best = shuffled.loc[shuffled.groupby("prompt_id")["reward"].idxmax()].sort_values("prompt_id")
    return [Example(i, tuple(tokens)) for i, tokens in zip(best["prompt_id"], best["tokens"])]


def adaptive_examples(drawn: pd.DataFrame, *, delta: float, **_) -> list[Example]:
    """Adaptive SFT: each prompt's samples in order, until the rule (10) stops or the pool is used up."""
    threshold, chosen = stopping_threshold(delta), []
    for i, group in drawn.sort_values(["prompt_id", "sample_id"]).groupby("prompt_id"):
        values = group["log_likelihood"].to_numpy(dtype=float)
        running = np.maximum.accumulate(values)
        stopped = np.arange(1, len(values) + 1) >= entry_time(running, threshold)
        k = int(np.argmax(stopped)) if stopped.any() else len(values) - 1
        chosen.append(Example(i, tuple(group["tokens"].iloc[int(np.argmax(values[: k + 1]))])))
    return chosen


def pair_examples(drawn: pd.DataFrame, *, beta: float, **_) -> list[Example]:
    """RLHF-Sharpening: consecutive samples of a prompt as pairs; the reference is whoever drew the pool."""
    found = []
    for i, group in drawn.sort_values(["prompt_id", "sample_id"]).groupby("prompt_id"):
        rows = list(zip(group["tokens"], group["reward"], group["reference"]))
        for (y, r, base), (z, s, other) in zip(rows[::2], rows[1::2]):
            if tuple(y) != tuple(z):  # equal responses say nothing
                found.append(Example(i, tuple(y), other=tuple(z), target=r - s + beta * (base - other)))
    return found


def xpo_examples(drawn: pd.DataFrame, *, beta: float, optimism: float, **_) -> list[Example]:
    """XPO: pairs of an on-policy sample and a base one (source ``base``), and the base one with weight ``-α``.

    Minimising ``Σ (…)² + α Σ log π(ỹ|x)`` is Algorithm 1 with the sign that its proof uses. In the first round the
    policy is the base, and both of a pair are the base's.
    """
    found = []
    for i, group in drawn.sort_values(["prompt_id", "sample_id"]).groupby("prompt_id"):
        base = group[group["source"] == "base"]
        own = group[group["source"] != "base"]
        if len(base) == 0:
            own, base = group[::2], group[1::2]
        columns = ["tokens", "reward", "reference"]
        for (y, r, log_p), (z, s, other) in zip(own[columns].to_numpy(), base[columns].to_numpy()):
            if tuple(y) != tuple(z):
                found.append(Example(i, tuple(y), other=tuple(z), target=r - s + beta * (log_p - other)))
            if optimism > 0:
                found.append(Example(i, tuple(z), -optimism))
    return found


def bon_sft_examples(drawn: pd.DataFrame, *, n: int, rng: np.random.Generator, **_) -> list[Example]:
    """BoN-SFT: ``∇log π_BoN`` of each prompt's best response as weights on the pool, exact for the pool's own law.

    With L the share of samples below it, ``∇log π_BoN = s - c ∇L``, ``c = N L^{N-1}/(1-L^N) - 1/(1-L)``: being the best,
    it has ``Q = 1``, whose gradient is 0. ``c ≤ 0``: best-of-N wants mass on the worse ones, rather than on its equals.
    """
    experts = {example.prompt_id: example for example in sft_examples(drawn, rng=rng)}
    found = []
    for i, group in drawn.groupby("prompt_id"):
        below = group["reward"] < group["reward"].max()
        low = float(below.mean())
        weight = (1 / (1 - low) - n * low ** (n - 1) / (1 - low**n)) / len(group)
        found.append(experts[i])
        found += [Example(i, tuple(y), weight) for y in group.loc[below, "tokens"] if weight > 0]
    return found


def bon_rlb_examples(drawn: pd.DataFrame, *, n: int, positive: bool, **_) -> list[Example]:
    """BoN-RLB: unbiased weights for the gradient of the expected best reward of N, ``1 - p_fail^N`` for 0 and 1.

    `positive` (BoN-RLB(P)) is ``E_π[R N p^{N-1} s]`` with ``p^{N-1}`` estimated from the other samples: what a sample
    adds to the best of N-1 others. That is also how rewards other than 0 and 1 are weighted.
    """
    found = []
    for ids, reward in rectangles(drawn, "reward"):
        m = reward.shape[1]
        if n > m:
            raise UserError(f"best-of-N-aware training for N={n} needs at least as many samples per prompt, found {m}")
        binary = np.isin(reward, (0.0, 1.0)).all()
        weights = pass_at_k_weights(reward, n) if binary and not positive else max_at_k_weights(reward, n)
        tokens = dict(list(drawn.sort_values(["prompt_id", "sample_id"]).groupby("prompt_id")["tokens"]))
        for i, row in zip(ids, weights / m):
            found += [Example(i, tuple(y), float(w)) for y, w in zip(tokens[i], row) if w != 0]
    return found


#: Method → (examples from a pool, what it is).
METHODS: dict[str, tuple[Callable[..., list[Example]], str]] = {
    "sft": (sft_examples, "SFT-Sharpening: maximum likelihood on best-of-N responses"),
    "adaptive-sft": (adaptive_examples, "the same on adaptive best-of-N responses"),
    "dpo": (pair_examples, "RLHF-Sharpening: the regression (8) on pairs"),
    "xpo": (xpo_examples, "the same over rounds of fresh on-policy samples, with optimism"),
    "bon-sft": (bon_sft_examples, "likelihood of the best response under best-of-N of the policy"),
    "bon-rlb": (bon_rlb_examples, "success of best-of-N, all samples weighted"),
    "bon-rlb-p": (bon_rlb_examples, "success of best-of-N, successes only"),
}


def examples(
    method: str, pool: pd.DataFrame, *, reward: str, beta: float, delta: float, n: int, optimism: float, seed: int
) -> list[Example]:
    """What a method learns from a pool.

    Args:
        pool: with `tokens`; pairs also need `reference`, the base model's log-likelihood.
        beta: of `dpo` and `xpo`; delta: of `adaptive-sft`; n: of the `bon-*` methods; optimism: α of `xpo`.

    Raises:
        ValueError: nothing to learn from, or an argument out of range.
    """
    if method not in METHODS:
        raise UserError(f"method {method!r} is unknown; expected one of {', '.join(METHODS)}")
    if not beta > 0:
        raise UserError(
            f"beta={beta}; expected a positive number (β → 0 is the argmax law, which has no finite logits)"
        )
    drawn = reward_column(pool, reward)
    options = dict(
        beta=beta, delta=delta, n=n, optimism=optimism, positive=method == "bon-rlb-p", rng=np.random.default_rng(seed)
    )
    found = METHODS[method][0](drawn, **options)
    if not found:
        raise UserError(
            f"method {method!r} found nothing to learn in {len(drawn)} samples (all pairs equal, or no success)"
        )
    return found


def check_origin(oracle, task_prompts: Sequence[str], pool: pd.DataFrame, *, rows: int = 16) -> bool:
    """Whether a pool's log-likelihoods are those of this model, by scoring a few rows again."""
    few = samples(pool).head(rows)
    scores = oracle.evaluate([task_prompts[i] for i in few["prompt_id"]], [[tuple(tokens)] for tokens in few["tokens"]])
    error = np.abs(np.concatenate(scores) - few["log_likelihood"].to_numpy(dtype=float))
    return bool(np.all(error <= FOREIGN * few["tokens"].map(len).to_numpy()))
