"""The law after training against the exact minimiser of its loss, on a model whose responses can be listed.

All through the trainer as it is used: AdamW, minibatches, a rate that falls linearly, clipped gradients; all weights, or
adapters of full rank.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax

from sharptheory.learners import bon_aware
from sharptheory.llm.training import fit
from sharptheory.llm.training.adapters import trainable
from sharptheory.llm.training.config import Config
from sharptheory.llm.training.examples import Example, examples
from sharptheory.measure.pool import Pool
from sharptheory.theory.laws import best_of_n
from tests.llm.training.tiny import PROMPT, RESPONSES, kl, log_law, pool_of, tiny

#: Three prompts, as token ids.
PROMPTS = [[1, 2], [1, 3], [1, 0]]


def sampled(log_probs: np.ndarray, m: int, rng: np.random.Generator, rewards: np.ndarray | None = None) -> pd.DataFrame:
    """A pool of m samples per row of a table; its log-likelihoods are `rewards` if given."""
    chosen = np.stack([rng.choice(len(row), size=m, p=np.exp(log_softmax(row))) for row in log_probs])
    values = log_probs if rewards is None else rewards
    return pool_of([[RESPONSES[y] for y in row] for row in chosen], np.take_along_axis(values, chosen, axis=1))


def minimiser(data: list[Example], prompt_id: int) -> np.ndarray:
    """The law that maximises ``Σ w log π(y)``: each response in proportion to its weight."""
    weight = {y: 0.0 for y in RESPONSES}
    for e in data:
        weight[e.tokens] += e.weight * (e.prompt_id == prompt_id)
    with np.errstate(divide="ignore"):
        return np.log(np.array(list(weight.values())) / sum(weight.values()))


def divergence(target: np.ndarray, learnt: np.ndarray) -> float:
    seen = target > -np.inf
    return kl(target[seen], learnt[seen])


@pytest.mark.parametrize(
    ("method", "rank"),
    [("sft", None), ("bon-sft", None), ("bon-rlb", None), ("bon-rlb-p", None), ("bon-sft", 32), ("bon-rlb", 32)],
)
def test_training_reaches_the_weighted_empirical_law(tmp_path, method, rank):
    """Of each prompt: within .01 nats of the exact minimiser, from at least .1 (the base model)."""
    base = tiny()
    laws = np.stack([log_law(base, prompt) for prompt in PROMPTS])
    config = Config(method=method, n=4, n_samples=24, epochs=250, learning_rate=5e-3, batch_size=72)
    data = examples(sampled(laws, 24, np.random.default_rng(1)), config, rng=np.random.default_rng(0))
    if method == "sft":  # one response per prompt: repeated as a sampler with this law would
        data = [e for e in data for _ in range(8)]
    targets = [minimiser(data, i) for i in range(len(PROMPTS))]
    with trainable(base, rank) as model:
        fit.fit(model, PROMPTS, data, tmp_path, config)
        for target, before, prompt in zip(targets, laws, PROMPTS):
            assert divergence(target, log_law(model, prompt)) < 0.01 < 0.1 < divergence(target, before)


@pytest.mark.parametrize("rank", [None, 32])
def test_sft_on_best_of_n_arrives_at_the_law_of_best_of_n(tmp_path, rank):
    """2,000 prompts that are one: samples, selection and training end at the exact law, up to the noise of 2,000 responses."""
    base, n = tiny(), 4
    exact = log_law(base)
    target = best_of_n(exact[None], n)[0]
    pool = sampled(np.tile(exact, (2_000, 1)), n, np.random.default_rng(0))
    config = Config(n_samples=n, epochs=6, learning_rate=3e-3, batch_size=64)
    data = examples(pool, config, rng=np.random.default_rng(0))
    with trainable(base, rank) as model:
        fit.fit(model, [PROMPT] * 2_000, data, tmp_path, config)
        # The empirical law is (40 - 1)/(2 · 2,000) = .01 from it.
        assert kl(target, log_law(model)) < 0.03 < 0.3 < kl(target, exact)


@pytest.mark.parametrize("rank", [None, pytest.param(32, marks=pytest.mark.slow)])
def test_dpo_arrives_at_the_tilted_law(tmp_path, rank):
    """RLHF-Sharpening by regression (8) on 6,000 pairs: KL(π_β ‖ π̂) below .05 nats, from well above it."""
    base, beta = tiny(), 0.5
    reference = log_law(base)
    pool = sampled(reference[None], 12_000, np.random.default_rng(0))
    config = Config(method="dpo", beta=beta, n_samples=12_000, epochs=4, learning_rate=2e-3, batch_size=64)
    data = examples(pool, config, rng=np.random.default_rng(0))
    tilted = log_softmax((1 + 1 / beta) * reference)
    with trainable(base, rank) as model:
        fit.fit(model, [PROMPT], data, tmp_path, config)
        assert kl(tilted, log_law(model)) < 0.05 < 0.3 < kl(tilted, reference)


@pytest.mark.slow
def test_xpo_arrives_at_the_tilted_law(tmp_path):
    """Two rounds: the second pairs samples of the trained policy with samples of the base, with optimism."""
    base, rng = tiny(), np.random.default_rng(1)
    reference = log_law(base)
    tilted, policy, data, first = log_softmax(2 * reference), reference, [], None
    config = Config(method="xpo", beta=1.0, optimism=1e-4, n_samples=6_000, epochs=5, learning_rate=2e-3, batch_size=64)
    with trainable(base, None) as model:
        for round_ in (1, 2):
            pool = Pool.from_frame(sampled(policy[None], 6_000, rng, reference[None]))
            data += examples(pool, config, rng=rng, base=first)
            first = first or pool
            fit.fit(model, [PROMPT], data, tmp_path / f"{round_}", config)
            policy = log_law(model)
    assert kl(tilted, policy) < 0.05 < 0.2 < kl(tilted, reference)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bon-rlb", "bon-rlb-p"])
def test_best_of_n_aware_training_raises_what_it_claims_to(tmp_path, method):
    """A reward that is neither 0 nor 1: over 10 rounds on fresh samples the exact ``E[max of N rewards]`` grows.

    And, trained for N = 8, to more than training for N = 1 makes of it.
    """
    base, reached = tiny(), {}
    reward = np.random.default_rng(3).normal(size=len(RESPONSES))
    best = lambda model, n: bon_aware.bon_rl(log_law(model), reward, n)[0]  # noqa: E731
    for n in (1, 8):
        config = Config(method=method, n=n, n_samples=256, epochs=1, learning_rate=1e-3, batch_size=64)
        rng = np.random.default_rng(0)
        with trainable(base, None) as model:
            for round_ in range(10):
                # Log-likelihoods, which training takes for the reward, cannot be positive.
                pool = sampled(log_law(model)[None], 256, rng, reward[None] - 10)
                fit.fit(model, [PROMPT], examples(pool, config, rng=rng), tmp_path / f"{n}-{round_}", config)
            reached[n] = {k: best(model, k) for k in (1, 8)}
    assert reached[1][1] > best(base, 1) + 0.5 and reached[8][8] > best(base, 8) + 0.2
    assert reached[8][8] > reached[1][8]
