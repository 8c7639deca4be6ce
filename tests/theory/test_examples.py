"""The examples in the docstrings of the theory do what they say."""

import doctest

import pytest

from sharptheory.theory import adaptive, best_of_n, bounds, coverage, majority, policies, tilts


@pytest.mark.parametrize("module", [adaptive, best_of_n, bounds, coverage, majority, policies, tilts])
def test_examples(module):
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0
