"""Training: the examples each method makes, the losses against exact objectives, and the trainer around them."""

import copy
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_softmax
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from sharptheory.learners import bon_aware
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.training import examples, fit
from tests.llm.conftest import random_llama

EOS, HORIZON, PROMPT = 1, 3, [2]
OPTIONS = dict(reward="log_likelihood", beta=1.0, delta=0.1, n=2, optimism=0.0, seed=0)


def tiny(seed: int = 0) -> LlamaForCausalLM:
    """Four tokens: with responses of at most three tokens, 40 of them."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=4, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=16, initializer_range=0.5, pad_token_id=0, eos_token_id=EOS, bos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


RESPONSES = [(*y, EOS) for h in range(HORIZON) for y in itertools.product((0, 2, 3), repeat=h)]
RESPONSES += list(itertools.product((0, 2, 3), repeat=HORIZON))


def law(model) -> torch.Tensor:
    """Log-probabilities of all responses, differentiable."""
    batch = fit.collate([examples.Example(0, y) for y in RESPONSES], [PROMPT])
    return fit.log_likelihoods(model, batch["input_ids"], batch["labels"])


def pool_of(tokens: list[list[tuple]], log_likelihood, **columns) -> pd.DataFrame:
    rows = [
        {"prompt_id": x, "sample_id": j, "tokens": y, "log_likelihood": float(value), "source": "model"}
        for x, (row, values) in enumerate(zip(tokens, log_likelihood))
        for j, (y, value) in enumerate(zip(row, values))
    ]
    pool = pd.DataFrame(rows).assign(**columns)
    return pool.assign(reference=pool["log_likelihood"])


# Losses and gradients -------------------------------------------------------------------------------------------------


def test_the_law_of_the_tiny_model_is_a_law():
    assert len(RESPONSES) == 40
    assert float(law(tiny()).exp().sum().detach()) == pytest.approx(1, abs=1e-5)


def test_log_likelihoods_are_those_of_the_oracle(model, tokenizer):
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=12)
    prompts = ["1+2=", "12-34+5="]
    drawn = oracle.sample(prompts, 6)
    found = [examples.Example(i, r.tokens) for i, row in enumerate(drawn) for r in row]
    batch = fit.collate(found, oracle.encode(prompts))
    with torch.no_grad():
        values = fit.log_likelihoods(model, batch["input_ids"], batch["labels"])
    np.testing.assert_allclose(values, [r.log_likelihood for row in drawn for r in row], atol=1e-4)


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_gradients_are_those_of_the_exact_objective(kind):
    """The loss over every response (pair), weighted by its probability, has the gradient of the expectation itself."""
    base, model, beta = tiny(0), tiny(1), 0.7
    with torch.no_grad():
        reference = law(base).double()
    probs = reference.exp()
    values = law(model)
    if kind == "sft":
        exact = -(probs * values.double()).sum()
        data = [examples.Example(0, y, float(p) * len(RESPONSES)) for y, p in zip(RESPONSES, probs)]
    else:
        gap = beta * (values.double() - reference) - reference
        exact = (probs[:, None] * probs * (gap[:, None] - gap) ** 2).sum()
        data, scale = [], []
        for (i, y), (j, z) in itertools.product(enumerate(RESPONSES), repeat=2):
            target = float(reference[i] - reference[j] + beta * (reference[i] - reference[j]))
            data.append(examples.Example(0, y, other=z, target=target))
            scale.append(float(probs[i] * probs[j]))
    exact.backward()
    wanted = torch.cat([p.grad.flatten().clone() for p in model.parameters()])
    model.zero_grad()
    batch = fit.collate(data, [PROMPT])
    if kind == "sft":
        fit.loss(model, batch, beta=beta).backward()
    else:
        # The mean over pairs is linear in each pair's loss: weigh them through a hook on the squared terms.
        values = fit.log_likelihoods(model, batch["input_ids"], batch["labels"])
        first, second = values[: len(data)], values[len(data) :]
        terms = (beta * (first - second) - batch["target"]) ** 2
        np.testing.assert_allclose(terms.mean().item(), fit.loss(model, batch, beta=beta).item(), rtol=1e-5)
        (terms * torch.tensor(scale)).sum().backward()
    found = torch.cat([p.grad.flatten() for p in model.parameters()])
    np.testing.assert_allclose(found, wanted, atol=2e-4 * float(wanted.abs().max()))


def test_dpo_approaches_the_tilted_law(tmp_path):
    """RLHF-Sharpening by regression (8) on 6,000 pairs: KL(π_β ‖ π̂) below 0.05 nats, from well above it."""
    base, beta = tiny(0), 0.5
    with torch.no_grad():
        reference = law(base).double().numpy()
    rng = np.random.default_rng(0)
    probs = np.exp(reference) / np.exp(reference).sum()
    drawn = rng.choice(len(RESPONSES), size=(1, 12_000), p=probs)
    pool = pool_of([[RESPONSES[i] for i in row] for row in drawn], reference[drawn])
    data = examples.examples("dpo", pool, **{**OPTIONS, "beta": beta})
    tilted = log_softmax((1 + 1 / beta) * reference)
    model = copy.deepcopy(base)
    options = dict(beta=beta, epochs=8, learning_rate=2e-3, batch_size=64)
    fit.fit(model, [PROMPT], data, tmp_path / "dpo", **options)
    with torch.no_grad():
        learnt = law(model).double().numpy()
    kl = lambda q: float(np.exp(tilted) @ (tilted - q))  # noqa: E731
    assert kl(reference) > 0.3 and kl(learnt) < 0.05


def test_xpo_approaches_the_tilted_law(tmp_path):
    """Two rounds: the second pairs samples of the trained policy with samples of the base, with optimism."""
    base, beta, rng = tiny(0), 1.0, np.random.default_rng(1)
    with torch.no_grad():
        reference = law(base).double().numpy()
    tilted, policy, found, model = log_softmax(2 * reference), reference, [], base
    first = None
    for round_ in (1, 2):
        drawn = rng.choice(len(RESPONSES), size=(1, 6_000), p=np.exp(policy) / np.exp(policy).sum())
        pool = pool_of([[RESPONSES[i] for i in row] for row in drawn], reference[drawn])
        first = pool.assign(source="base") if first is None else first
        pool = pool if round_ == 1 else pd.concat([pool, first])
        found += examples.examples("xpo", pool, **{**OPTIONS, "optimism": 1e-4})
        model = copy.deepcopy(base)
        fit.fit(model, [PROMPT], found, tmp_path / f"{round_}", beta=beta, epochs=6, learning_rate=2e-3, batch_size=64)
        with torch.no_grad():
            policy = law(model).double().numpy()
    assert float(np.exp(tilted) @ (tilted - policy)) < 0.05


# Examples -------------------------------------------------------------------------------------------------------------

TABLE = np.log([0.4, 0.3, 0.2, 0.1])
CORRECT = np.array([0.0, 1.0, 0.0, 1.0])


def expected_weights(method: str, n: int, m: int, reward: str) -> np.ndarray:
    """Expectation over all pools of m draws of the weight that a method puts on each response of a table."""
    total, best = np.zeros(4), 1 if reward == "correctness" else 0
    for drawn in itertools.product(range(4), repeat=m):
        # A second prompt with one best response, since a pool whose rewards are all tied is refused.
        second = [1 - best] * (m - 1) + [best]
        rows = [[(y, EOS) for y in drawn], [(y, EOS) for y in second]]
        pool = pool_of(rows, [TABLE[list(drawn)], TABLE[second]])
        pool["correct"] = [bool(CORRECT[tokens[0]]) for tokens in pool["tokens"]]
        found = examples.examples(method, pool, **{**OPTIONS, "reward": reward, "n": n})
        chance = np.exp(TABLE[list(drawn)].sum())
        for example in found:
            if example.prompt_id == 0:
                total[example.tokens[0]] += chance * example.weight
    return total


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 3), (3, 3), (3, 4)])
def test_bon_rlb_weights_are_unbiased(n, m):
    """The expected weighted score is the exact gradient of 1 - p_fail^N, with all samples and with successes alone."""
    exact = bon_aware.bon_rlb(TABLE, CORRECT, n)[1]
    probs = np.exp(TABLE)
    for method in ("bon-rlb", "bon-rlb-p"):
        weights = expected_weights(method, n, m, "correctness")
        np.testing.assert_allclose(weights - probs * weights.sum(), exact, atol=1e-10, err_msg=method)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 3), (3, 3)])
def test_bon_rlb_weights_are_unbiased_for_any_reward(n, m):
    """With log-likelihoods as rewards: the gradient of their expected best of N, also where N is the whole group."""
    exact, probs = bon_aware.bon_rl(TABLE, TABLE, n)[1], np.exp(TABLE)
    for method in ("bon-rlb", "bon-rlb-p"):
        weights = expected_weights(method, n, m, "log_likelihood")
        np.testing.assert_allclose(weights - probs * weights.sum(), exact, atol=1e-10, err_msg=method)


def test_bon_sft_weights_are_the_exact_gradient():
    """On a pool that holds each response in proportion to its probability."""
    counts = [4, 3, 2, 1]
    tokens = [[(y, EOS) for y in range(4) for _ in range(counts[y])]]
    pool = pool_of(tokens, [np.repeat(TABLE, counts)])
    found = examples.examples("bon-sft", pool, **{**OPTIONS, "n": 5})
    weights = np.bincount([e.tokens[0] for e in found], [e.weight for e in found], minlength=4)
    _, jacobian = bon_aware.log_best_of_n(TABLE, TABLE, 5)
    np.testing.assert_allclose(weights - np.exp(TABLE) * weights.sum(), jacobian[0], atol=1e-10)


def test_sft_and_adaptive_choose_the_likeliest():
    rng = np.random.default_rng(0)
    drawn = rng.choice(4, size=(50, 20), p=np.exp(TABLE))
    pool = pool_of([[(y, EOS) for y in row] for row in drawn], TABLE[drawn])
    sft = examples.examples("sft", pool, **OPTIONS)
    assert [e.tokens[0] for e in sft] == [min(row) for row in drawn.tolist()]
    adaptive = examples.examples("adaptive-sft", pool, **{**OPTIONS, "delta": 0.5})
    # With μ = ln 4 the rule stops at the first draw with 1/p ≤ k/μ.
    for example, row in zip(adaptive, drawn):
        best = 1.0
        for k in range(1, len(row) + 1):
            best = TABLE[row[:k]].max()
            if np.exp(-best) <= k / np.log(4):
                break
        assert TABLE[example.tokens[0]] == best


def test_rewards_choose():
    pool = pool_of(
        [[(0, EOS), (3, EOS), (3, EOS)]], [TABLE[[0, 3, 3]]], answer=["a", "b", "b"], correct=[False, True, True]
    )
    chosen = lambda reward: examples.examples("sft", pool, **{**OPTIONS, "reward": reward})[0].tokens[0]  # noqa: E731
    assert (chosen("log_likelihood"), chosen("majority"), chosen("correctness")) == (0, 3, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "ppo"}, "method 'ppo' is unknown; expected one of sft"),
        ({"reward": "beauty"}, "reward 'beauty' is unknown"),
        ({"reward": "self_certainty"}, "needs column 'self_certainty'"),
        ({"beta": 0.0, "method": "dpo"}, "beta=0.0; expected a positive number"),
        ({"method": "bon-rlb", "n": 9}, "needs at least as many samples per prompt, found 2"),
    ],
)
def test_bad_arguments(options, message):
    pool = pool_of([[(0, EOS), (1, EOS)]], [TABLE[[0, 1]]])
    options = {"method": "sft", **OPTIONS, **options}
    with pytest.raises(ValueError, match=message):
        examples.examples(options.pop("method"), pool, **options)


def test_nothing_to_learn():
    tied = pool_of([[(0, EOS), (0, EOS)]], [TABLE[[0, 0]]])
    with pytest.raises(ValueError, match="tied on every prompt"):
        examples.examples("sft", tied, **OPTIONS)
    hopeless = pool_of([[(0, EOS), (1, EOS)]], [TABLE[[0, 1]]], correct=[False, False])
    with pytest.raises(ValueError, match="tied on every prompt"):
        examples.examples("bon-rlb", hopeless, **{**OPTIONS, "reward": "correctness"})


# The trainer ----------------------------------------------------------------------------------------------------------


class Kill(TrainerCallback):
    """Stands in for a kill after some steps."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise KeyboardInterrupt


DATA = [examples.Example(0, y) for y in RESPONSES]
FIT = dict(epochs=4, batch_size=8, learning_rate=1e-3)


@pytest.mark.parametrize("lora", [None, 4])
def test_a_killed_training_goes_on_and_ends_the_same(tmp_path, lora):
    def model():
        return fit.add_lora(tiny(), lora) if lora else tiny()

    whole, killed = model(), model()
    log = fit.fit(whole, [PROMPT], DATA, tmp_path / "whole", **FIT)
    with pytest.raises(KeyboardInterrupt):
        fit.fit(killed, [PROMPT], DATA, tmp_path / "killed", callbacks=[Kill(13)], **FIT)
    again = model()
    resumed = fit.fit(again, [PROMPT], DATA, tmp_path / "killed", **FIT)
    np.testing.assert_allclose(resumed["loss"].iloc[-5:], log["loss"].iloc[-5:], rtol=1e-3)
    for p, q in zip(whole.parameters(), again.parameters()):
        torch.testing.assert_close(p, q, atol=1e-5, rtol=1e-4)


def test_a_loss_that_is_not_a_number_stops_and_says_where(tmp_path):
    with pytest.raises(fit.Diverged, match=r"the loss is nan at step 1; there is no checkpoint yet; lower --lr"):
        fit.fit(tiny(), [PROMPT], [examples.Example(0, y, np.nan) for y in RESPONSES], tmp_path, **FIT)
    poisoned = [*DATA[:-1], examples.Example(0, RESPONSES[-1], np.inf)]
    with pytest.raises(fit.Diverged, match=r"at step \d+"):
        fit.fit(tiny(), [PROMPT], poisoned, tmp_path / "later", **FIT)


def test_too_little_disk_is_said_before_training(tmp_path, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")(10, 9, 1)
    monkeypatch.setattr(fit.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ValueError, match="too little free space for checkpoints"):
        fit.fit(tiny(), [PROMPT], DATA, tmp_path, **FIT)


def test_pools_of_other_models_are_recognised(model, tokenizer):
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=8)
    other = HuggingFaceOracle(random_llama(tokenizer, seed=5), tokenizer, max_new_tokens=8)
    for source, known in ((oracle, True), (other, False)):
        drawn = source.sample(["1+2="], 8)[0]
        pool = pool_of([[r.tokens for r in drawn]], [[r.log_likelihood for r in drawn]])
        assert examples.check_origin(oracle, ["1+2="], pool) is known
