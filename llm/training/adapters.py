"""The weights that training changes: low-rank adapters inside the base model, or a copy of it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from sharptheory.errors import UserError


@contextmanager
def trainable(model: PreTrainedModel, rank: int | None, *, seed: int = 0) -> Iterator[PreTrainedModel | PeftModel]:
    """A model to train beside its base: with adapters of this rank inside the base, held once, or (None) a copy.

    Afterwards the base is what it was: adapters are gone, and the same weights take gradients as before.
    """
    if rank is None:
        yield copy.deepcopy(model)
        return
    needed_grad = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    adapted = add_lora(model, rank, seed=seed)
    try:
        yield adapted
    finally:
        adapted.unload()
        if hasattr(model, "peft_config"):  # peft takes it for a sign that adapters are there still
            del model.peft_config
        for parameter, needed in needed_grad:
            parameter.requires_grad_(needed)
        model.eval()


def add_lora(model: PreTrainedModel, rank: int, *, seed: int = 0) -> PeftModel:
    """Low-rank adapters on every linear layer but the output's, inside `model` itself; they start by changing nothing."""
    check_rank(model, rank)
    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings():  # peft asks for an attribute that transformers has renamed
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, config)


def check_rank(model: PreTrainedModel, rank: int) -> None:
    """Refuse adapters that are larger than what they adapt.

    Raises:
        UserError: the rank is above the smallest dimension of an adapted matrix.
    """
    output = model.get_output_embeddings()
    layers = [m for m in model.modules() if isinstance(m, (torch.nn.Linear, Conv1D)) and m is not output]
    smallest = min(dimension for layer in layers for dimension in layer.weight.shape)
    if rank > smallest:
        raise UserError(
            f"lora_rank={rank} (--lora-rank); expected at most {smallest}, the smallest dimension of this model's matrices"
        )


def without_adapters(model: PreTrainedModel | PeftModel) -> AbstractContextManager:
    """While it lasts, a model with adapters computes what its base does; of a copy, there is nothing to switch off."""
    return model.disable_adapter() if isinstance(model, PeftModel) else nullcontext()


def plain(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The model itself, adapters inside and active: what samples and scores."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def save_trained(model: PreTrainedModel | PeftModel, folder: str | Path) -> None:
    """Save an ordinary model: adapters are added to weights on their way to disk, the model keeps its own."""
    base = plain(model)
    if base is model:
        model.save_pretrained(folder)
        return
    state = {
        name.replace(".base_layer", ""): weight for name, weight in base.state_dict().items() if "lora_" not in name
    }
    for name, layer in base.named_modules():
        if isinstance(layer, LoraLayer):
            weight = state[f"{name}.weight"]
            change = sum(layer.get_delta_weight(adapter).float() for adapter in layer.active_adapters)
            state[f"{name}.weight"] = (weight.float() + change).to(weight.dtype).cpu()
    base.save_pretrained(folder, state_dict=state)
