"""The recipe of the base models: it trains, writes a card, and what it saves can be measured."""

import json
import sys
from functools import partial

import pytest
import torch

from experiments import train_base_model as recipe
from sharptheory.llm.engines.loading import load_model


@pytest.mark.parametrize("size, dtype", [("1m", torch.float32), ("25m", torch.bfloat16)])
def test_a_trained_folder_loads_and_its_card_says_what_it_is(tmp_path, monkeypatch, size, dtype):
    monkeypatch.setattr(recipe, "accuracy", partial(recipe.accuracy, n_prompts=2))
    out = tmp_path / "arithmetic"
    monkeypatch.setattr(sys, "argv", ["train", "--size", size, "--steps", "2", "--batch-size", "4", "--out", str(out)])
    recipe.main()
    model, tokenizer = load_model(str(out))
    parameters = sum(p.numel() for p in model.parameters())
    assert model.config.hidden_size == recipe.SIZES[size][0] and len(tokenizer("1+2=")["input_ids"]) == 4
    assert json.loads((out / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    record = json.loads((out / "training.json").read_text())
    assert record["parameters"] == parameters and record["config"]["steps"] == 2
    card = (out / "README.md").read_text()
    assert f"{parameters:,}-parameter" in card and f"--size {size} --steps 2" in card
    assert max(path.stat().st_size for path in out.glob("*.safetensors")) <= 16 << 20


@pytest.mark.parametrize("size, millions", [("1m", 1), ("25m", 26), ("85m", 85)])
def test_sizes_are_what_their_names_say(size, millions):
    with torch.device("meta"):
        model = recipe.build_model(recipe.Config(size=size), recipe.build_tokenizer())
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == millions
