"""The settings of a training: one place for defaults, and every value out of range refused by its option's name."""

import dataclasses
import subprocess
import sys

import pytest

from sharptheory.errors import UserError
from sharptheory.llm.training.config import BEST_OF_N_AWARE, LIMITS, METHODS, PAIRS, Config
from sharptheory.llm.training.examples import FOUND_BY


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 1e30}, r"learning_rate=1e\+30 \(--lr\); expected a positive number of at most 1"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"batch_size": 0}, r"batch_size=0 \(--batch-size\); expected a whole number of at least 1"),
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": 1.5}, "epochs=1.5"),
        ({"max_grad_norm": 0.0}, r"max_grad_norm=0.0 \(--max-grad-norm\)"),
        ({"max_grad_norm": float("inf")}, "max_grad_norm=inf"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1"),
        ({"weight_decay": float("nan")}, "weight_decay=nan"),
        ({"beta": 0.0}, r"beta=0.0 \(--beta\); expected a positive number"),
        ({"beta": float("inf")}, "beta=inf"),
        ({"delta": 0.0}, r"delta=0.0 \(--delta\); expected a number in \(0, 1\]"),
        ({"delta": 1.5}, "delta=1.5"),
        ({"optimism": -1.0}, "optimism=-1.0"),
        ({"rounds": 0}, "rounds=0"),
        ({"lora_rank": 0}, r"lora_rank=0 \(--lora-rank\)"),
        ({"n_samples": 0}, r"n_samples=0 \(--samples\)"),
        ({"n": 9, "n_samples": 8, "method": "bon-rlb"}, r"n=9 \(--n\); expected at most n_samples=8 \(--samples\)"),
        ({"method": "dpo", "n_samples": 1}, "learns from pairs, so at least 2"),
        ({"seed": -1}, "seed=-1"),
        ({"method": "dop"}, r"method 'dop' \(--method\) is unknown \(did you mean dpo\?\); expected one of sft, "),
        ({"reward": "majorty"}, r"reward 'majorty' is unknown \(did you mean majority\?\)"),
        ({"reward": "log_likelyhood"}, r"reward 'log_likelyhood' is unknown \(did you mean log_likelihood\?\)"),
        ({"reward": "./missing.py:f"}, "reward file missing.py does not exist"),
        ({"method": "adaptive-sft", "reward": "majority"}, "its rule stops by likelihood"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(settings, message):
    with pytest.raises(UserError, match=message):
        Config(**settings)


def test_edges_of_the_ranges_are_allowed():
    Config(
        learning_rate=1.0, batch_size=1, epochs=1, weight_decay=0.0, delta=1.0, optimism=0.0, n_samples=1, lora_rank=1
    )
    Config(n=8, n_samples=4)  # n is of the best-of-N-aware methods alone
    Config(method="bon-sft", n=8, n_samples=8)


def test_every_number_has_a_limit_and_every_method_its_examples():
    numbers = {field.name for field in dataclasses.fields(Config)} - {"method", "reward"}
    assert set(LIMITS) == numbers and list(METHODS) == list(FOUND_BY)
    assert {*PAIRS, *BEST_OF_N_AWARE} <= set(METHODS)


def test_settings_need_no_torch():
    code = "import sys, sharptheory.llm.training.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
