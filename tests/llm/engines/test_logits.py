"""Tokens and statistics from logits."""

import numpy as np
import pytest
import torch

from sharptheory.llm.engines.logits import choose, negative_entropy, self_certainty


@pytest.mark.parametrize("vocabulary", [3, 128, 1_000, 32_000])
def test_choose_is_the_inverse_cdf(vocabulary):
    torch.manual_seed(0)
    logits = 3 * torch.randn(4, vocabulary)
    u = torch.tensor([0.0, 0.25, 0.5, 1 - 1e-16], dtype=torch.float64)
    token, log_prob = choose(logits, u)
    probs = logits.double().softmax(-1)
    upper = probs.cumsum(-1).gather(-1, token[:, None])[:, 0]
    lower = upper - probs.gather(-1, token[:, None])[:, 0]
    assert torch.all(lower - 1e-6 <= u) and torch.all(u <= upper + 1e-6)
    torch.testing.assert_close(
        log_prob, logits.double().log_softmax(-1).gather(-1, token[:, None])[:, 0], atol=1e-6, rtol=0
    )


def test_choose_never_returns_an_impossible_token():
    logits = torch.full((200, 300), float("-inf"))
    logits[:, [7, 260]] = 0.0
    token, _ = choose(logits, torch.linspace(0, 1 - 1e-16, 200, dtype=torch.float64))
    assert set(token.tolist()) == {7, 260}


def test_choose_reaches_the_tail_that_float32_cannot():
    """A token of probability 1e-9 at the end of the vocabulary is sampled by the last 1e-9 of the uniforms."""
    logits = torch.zeros(2, 40_000)
    logits[:, 0], logits[:, -1] = 60.0, 60.0 + np.log(1e-9)
    logits[:, 1:-1] = float("-inf")
    token, _ = choose(logits, torch.tensor([1 - 2e-9, 1 - 5e-10], dtype=torch.float64))
    assert token.tolist() == [0, 39_999]


def test_uniform_logits_have_no_certainty():
    assert float(self_certainty(torch.zeros(1, 7))) == pytest.approx(0, abs=1e-6)
    assert float(negative_entropy(torch.zeros(1, 7))) == pytest.approx(-np.log(7), abs=1e-6)
