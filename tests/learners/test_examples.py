"""The examples in the docstrings of learners, decoders and oracles run, and say what they say."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["oracle", "decoding.best_first", "decoding.power", "learners.algorithms"])
def test_examples_run(name):
    failed, tried = doctest.testmod(import_module(f"sharptheory.{name}"))
    assert failed == 0 and tried > 0
