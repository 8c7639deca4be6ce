"""Certified argmax search: cached prefixes against recomputing each of them."""

import time

import pytest
import torch

from sharptheory.decoding.best_first import best_first
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.engines.loading import load_model
from sharptheory.tasks import arithmetic

pytestmark = pytest.mark.benchmark


def test_cached_prefixes(report):
    torch.set_num_threads(2)
    model, tokenizer = load_model("arithmetic-1m", device="cpu")
    task = arithmetic.load(8)
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=task.max_new_tokens)
    # The same seeds for both, outside the clock: they are sampled, not searched for.
    seeds = [[(r.tokens, r.log_likelihood) for r in drawn if r.finished] for drawn in oracle.sample(task.prompts, 16)]
    seconds = {}
    for cached in (True, False):
        start = time.perf_counter()
        found = [
            best_first(
                oracle.next_token([prompt], cached=cached, remember=False),
                oracle.stop_ids,
                max_tokens=task.max_new_tokens,
                keep=2,
                seeds=known,
            )
            for prompt, known in zip(task.prompts, seeds)
        ]
        seconds[cached] = time.perf_counter() - start
    expanded = sum(result.expanded for result in found)
    detail = f"8 prompts, {expanded:,} prefixes: {seconds[True]:.1f} s against {seconds[False]:.1f} s"
    report("argmax search with cached prefixes", seconds[False] / seconds[True], 5, detail)
