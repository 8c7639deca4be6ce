"""The losses against exact objectives on a model whose responses can be listed, and the trainer around them."""

import itertools
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import TrainerCallback

from sharptheory.errors import UserError
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.training import fit
from sharptheory.llm.training.adapters import add_lora
from sharptheory.llm.training.config import Config
from sharptheory.llm.training.examples import Example
from tests.llm.training.tiny import PROMPT, RESPONSES, law, tiny

DATA = [Example(0, y) for y in RESPONSES]
CONFIG = Config(epochs=4, batch_size=8, learning_rate=1e-3)


def test_the_law_of_the_tiny_model_is_a_law():
    assert len(RESPONSES) == 40
    assert float(law(tiny()).exp().sum().detach()) == pytest.approx(1, abs=1e-5)


def test_log_likelihoods_are_those_of_the_oracle(model, tokenizer):
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=12)
    prompts = ["1+2=", "12-34+5="]
    samples = oracle.sample(prompts, 6)
    found = [Example(i, r.tokens) for i, row in enumerate(samples) for r in row]
    batch = fit.collate(found, oracle.encode(prompts))
    with torch.no_grad():
        values = fit.log_likelihoods(model, batch["input_ids"], batch["labels"])
    np.testing.assert_allclose(values, [r.log_likelihood for row in samples for r in row], atol=1e-4)


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
        data = [Example(0, y, float(p) * len(RESPONSES)) for y, p in zip(RESPONSES, probs)]
    else:
        gap = beta * (values.double() - reference) - reference
        exact = (probs[:, None] * probs * (gap[:, None] - gap) ** 2).sum()
        data, scale = [], []
        for (i, y), (j, z) in itertools.product(enumerate(RESPONSES), repeat=2):
            target = float(reference[i] - reference[j] + beta * (reference[i] - reference[j]))
            data.append(Example(0, y, other=z, target=target))
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


# The trainer ----------------------------------------------------------------------------------------------------------


class Kill(TrainerCallback):
    """Stands in for a kill after some steps."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_settings_arrive_at_the_trainer(tmp_path):
    config = Config(epochs=3, batch_size=10, learning_rate=2e-3, max_grad_norm=0.7, weight_decay=0.25, seed=5)
    given = fit.training_arguments(tiny(), 40, tmp_path, config, 4)
    assert (given.num_train_epochs, given.train_batch_size, given.learning_rate) == (3, 10, 2e-3)
    assert (given.max_grad_norm, given.weight_decay, given.seed, given.data_seed) == (0.7, 0.25, 5, 5)
    rates = fit.fit(tiny(), [PROMPT], DATA, tmp_path, config)["learning_rate"]
    np.testing.assert_allclose(rates, 2e-3 * (1 - np.arange(12) / 12), rtol=1e-6)


def test_weights_decay_alone_where_there_is_nothing_to_learn(tmp_path):
    still = [Example(0, y, 0.0) for y in RESPONSES]
    for decay in (0.0, 0.5):
        before, after = tiny(), tiny()
        fit.fit(
            after,
            [PROMPT],
            still,
            tmp_path / f"{decay}",
            Config(epochs=1, batch_size=40, learning_rate=0.1, weight_decay=decay),
        )
        for (name, p), q in zip(before.named_parameters(), after.parameters()):
            shrunk = p * (1 - 0.1 * decay) if p.dim() > 1 else p  # norms and biases do not decay
            torch.testing.assert_close(q, shrunk, msg=name)


@pytest.mark.parametrize(
    ("n_examples", "epochs", "checkpoints", "every", "saved"),
    [
        (40, 3, 4, 1, 3),  # 12 steps
        (41, 3, 4, 1, 3),  # 15 steps: the last of an epoch is of one example
        (10, 3, 4, 1, 1),  # 3 steps
        (1_000, 4, 4, 8, 96),  # 400 steps
        (1_000, 4, 2, 8, 200),
        (990, 1, 4, 1, 24),  # 99 steps
        (1_000, 1, 4, 2, 24),  # 100 steps
    ],
)
def test_checkpoints_are_evenly_spaced_and_fall_on_lines_of_the_log(
    tmp_path, n_examples, epochs, checkpoints, every, saved
):
    config = Config(epochs=epochs, batch_size=10)
    given = fit.training_arguments(tiny(), n_examples, tmp_path, config, checkpoints)
    assert (given.logging_steps, given.save_steps, given.save_total_limit) == (every, saved, 2)
    assert given.save_steps % given.logging_steps == 0 and given.save_strategy == given.logging_strategy == "steps"


@pytest.mark.parametrize(("lora", "batch_size"), [(None, 8), (4, 8), (None, 1)])
def test_a_killed_training_goes_on_and_ends_the_same(tmp_path, lora, batch_size):
    """To the last bit, between two lines of the log too: of 160 steps of one example, a line is of three."""
    config, kill = replace(CONFIG, batch_size=batch_size), {8: 13, 1: 100}[batch_size]

    def model():
        return add_lora(tiny(), lora) if lora else tiny()

    whole, killed = model(), model()
    log = fit.fit(whole, [PROMPT], DATA, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        fit.fit(killed, [PROMPT], DATA, tmp_path / "killed", config, callbacks=[Kill(kill)])
    again, steps = model(), []
    taken = Kill(0)
    taken.on_step_end = lambda args, state, control, **_: steps.append(state.global_step)
    resumed = fit.fit(again, [PROMPT], DATA, tmp_path / "killed", config, callbacks=[taken])
    assert steps[0] == {8: 11, 1: 79}[batch_size]
    pd.testing.assert_frame_equal(resumed, log, check_exact=True)
    assert list(log.columns) == list(fit.LOG)
    for p, q in zip(whole.parameters(), again.parameters()):
        torch.testing.assert_close(p, q, atol=0, rtol=0)


def test_a_loss_that_is_not_a_number_stops_and_says_where(tmp_path):
    with pytest.raises(fit.Diverged, match=r"the loss is nan at step 1; there is no checkpoint yet; lower --lr"):
        fit.fit(tiny(), [PROMPT], [Example(0, y, np.nan) for y in RESPONSES], tmp_path, CONFIG)
    poisoned = [*DATA[:-1], Example(0, RESPONSES[-1], np.inf)]
    with pytest.raises(fit.Diverged, match=r"at step \d+"):
        fit.fit(tiny(), [PROMPT], poisoned, tmp_path / "later", CONFIG)


def test_too_little_disk_is_said_before_training(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10, 9, 1)
    monkeypatch.setattr(fit.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="too little free space for checkpoints"):
        fit.fit(tiny(), [PROMPT], DATA, tmp_path, CONFIG)
