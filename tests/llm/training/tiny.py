"""A language model whose responses can be listed: four tokens, at most three of them, so 40 responses to a prompt."""

import itertools

import numpy as np
import pandas as pd
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.training import fit
from sharptheory.llm.training.examples import Example
from sharptheory.tasks import Task

#: The prompt begins with a token that no response has inside: without one, attention cannot count equal tokens, and laws
#: that tell "a" from "aa" are out of reach of any weights.
EOS, HORIZON, PROMPT = 1, 3, [1, 2]
RESPONSES = [(*y, EOS) for h in range(HORIZON) for y in itertools.product((0, 2, 3), repeat=h)]
RESPONSES += list(itertools.product((0, 2, 3), repeat=HORIZON))


def tiny(seed: int = 0, scale: float = 0.5) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=4, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=16, initializer_range=scale, pad_token_id=None, eos_token_id=EOS, bos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def law(model, prompt=PROMPT) -> torch.Tensor:
    """Log-probabilities of all responses, differentiable, by the whole sequences at once."""
    batch = fit.collate([Example(0, y) for y in RESPONSES], [prompt])
    return fit.log_likelihoods(model, batch["input_ids"], batch["labels"])


def log_law(model, prompt=PROMPT) -> np.ndarray:
    with torch.no_grad():
        return law(model, prompt).double().numpy()


def tiny_oracle(model, **options) -> HuggingFaceOracle:
    """Its tokens are written a, ., b, c; the dot ends a response."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0, ".": 1, "b": 2, "c": 3}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=".")
    return HuggingFaceOracle(model, fast, max_new_tokens=HORIZON, **options)


def tiny_task(prompts: list[str], answers: list[str | None]) -> Task:
    """The answer is the first letter of the response."""
    return Task("tiny", prompts, answers, lambda text: text[:1] or None, max_new_tokens=HORIZON)


def pool_of(tokens: list[list[tuple]], log_likelihood, **columns) -> pd.DataFrame:
    rows = [
        {"prompt_id": x, "sample_id": j, "tokens": y, "log_likelihood": float(value), "source": "model"}
        for x, (row, values) in enumerate(zip(tokens, log_likelihood))
        for j, (y, value) in enumerate(zip(row, values))
    ]
    return pd.DataFrame(rows).assign(**columns)


def kl(p: np.ndarray, q: np.ndarray) -> float:
    """``KL(p ‖ q)`` of log-probabilities, in nats."""
    return float(np.exp(p) @ (p - q))
