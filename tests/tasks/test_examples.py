"""The examples in the docstrings give what they say."""

import doctest
import importlib

import pytest

MODULES = ["files", *(f"tasks.{name}" for name in (
    "answers", "arithmetic", "game24", "gsm8k", "math500", "mmlu", "multihop", "official", "prontoqa", "registry", "task",
))]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"sharptheory.{name}")
    failed, tried = doctest.testmod(module, optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert tried and not failed
