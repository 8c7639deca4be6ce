"""Adapters live inside the base model: one copy of the weights, a base that is not changed, a trained model that is plain."""

import copy
import warnings

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from sharptheory.errors import UserError
from sharptheory.llm.training import fit
from sharptheory.llm.training.adapters import check_rank, plain, save_trained, trainable, without_adapters
from sharptheory.llm.training.config import Config
from sharptheory.llm.training.examples import Example
from tests.llm.conftest import random_llama
from tests.llm.training.tiny import PROMPT, RESPONSES, log_law, tiny

CONFIG = Config(epochs=4, batch_size=8, learning_rate=1e-2)


def train(model, folder):
    fit.fit(model, [PROMPT], [Example(0, RESPONSES[i]) for i in (3, 3, 7, 3) * 4], folder, CONFIG)


def storages(*models) -> int:
    """Bytes of all distinct storages of parameters."""
    held = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for m in models for p in m.parameters()}
    return sum(held.values())


@pytest.mark.parametrize("rank", [None, 4])
def test_the_base_is_what_it_was(tmp_path, rank):
    base = tiny()
    base.get_input_embeddings().weight.requires_grad_(False)
    weights, before = copy.deepcopy(base.state_dict()), log_law(base)
    modules = {name: type(module) for name, module in base.named_modules()}
    gradients = [p.requires_grad for p in base.parameters()]
    for _ in range(2):  # a second training of the same base finds nothing of the first
        with warnings.catch_warnings(), trainable(base, rank) as model:
            warnings.simplefilter("error")
            train(model, tmp_path)
            assert np.abs(log_law(model) - before).max() > 0.3
            with without_adapters(model):
                np.testing.assert_array_equal(log_law(base), before)
        np.testing.assert_array_equal(log_law(base), before)
    assert {name: type(module) for name, module in base.named_modules()} == modules
    assert [p.requires_grad for p in base.parameters()] == gradients and not base.training
    for name, weight in base.state_dict().items():
        torch.testing.assert_close(weight, weights[name], rtol=0, atol=0)


def test_a_training_that_fails_leaves_the_base(tmp_path):
    base = tiny()
    before = log_law(base)
    with pytest.raises(KeyboardInterrupt), trainable(base, 4) as model:
        train(model, tmp_path)
        model.train()
        raise KeyboardInterrupt
    np.testing.assert_array_equal(log_law(base), before)


def test_adapters_are_all_that_is_added():
    base = tiny()
    one = storages(base)
    with trainable(base, 2) as model:
        added = sum(p.numel() * p.element_size() for name, p in model.named_parameters() if "lora_" in name)
        assert storages(base, model, plain(model)) == one + added < 1.5 * one
        assert {name for name, p in model.named_parameters() if p.requires_grad} == {
            name for name, _ in model.named_parameters() if "lora_" in name
        }
    with trainable(base, None) as model:
        assert storages(base, model) == 2 * one


@pytest.mark.parametrize("tied", [False, True])
def test_the_saved_model_is_the_trained_one(tmp_path, tied):
    base = tiny()
    if tied:
        base.config.tie_word_embeddings = True
        base.tie_weights()
    with trainable(base, 4) as model:
        train(model, tmp_path)
        trained = log_law(model)
        save_trained(model, tmp_path / "model")
        np.testing.assert_array_equal(log_law(model), trained)  # saving changes nothing
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saved = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert type(saved) is type(base) and not hasattr(saved, "peft_config")
    np.testing.assert_allclose(log_law(saved), trained, atol=1e-4)
    assert set(saved.state_dict()) == set(base.state_dict())


def test_a_rank_above_the_smallest_dimension_is_refused(tokenizer):
    base = tiny()
    check_rank(base, 32)
    with pytest.raises(
        UserError, match=r"lora_rank=100000 \(--lora-rank\); expected at most 32, the smallest dimension"
    ):
        check_rank(base, 100_000)
    grouped = random_llama(tokenizer)  # keys and values of two heads of eight
    with pytest.raises(UserError, match="expected at most 16"):
        check_rank(grouped, 17)
