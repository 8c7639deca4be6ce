"""Sampling with log-likelihoods against the library's `generate` + `compute_transition_scores`, same run, CPU."""

import json
import statistics
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.engines.loading import load_model
from sharptheory.tasks import arithmetic

pytestmark = pytest.mark.benchmark


@torch.inference_mode()
def generate_and_score(model, prompt: list[int], n: int, *, max_new_tokens: int, **options) -> np.ndarray:
    """What a user of the library writes: N samples and the sums of their token log-probabilities."""
    out = model.generate(
        torch.tensor([prompt]),
        do_sample=True,
        top_k=0,
        top_p=1.0,
        num_return_sequences=n,
        max_new_tokens=max_new_tokens,
        output_scores=True,
        return_dict_in_generate=True,
        **options,
    )
    scores = model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
    return scores.masked_fill(~torch.isfinite(scores), 0.0).sum(1).numpy()


def speed_ratio(ours, theirs, repeats: int) -> float:
    """Median over alternating repeats of (their time / our time)."""
    ours(), theirs()
    ratios = []
    for _ in range(repeats):
        start = time.perf_counter()
        ours()
        middle = time.perf_counter()
        theirs()
        ratios.append((time.perf_counter() - middle) / (middle - start))
    return statistics.median(ratios)


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_shipped_model(report):
    model, tokenizer = load_model("arithmetic-1m", device="cpu")
    task = arithmetic.load(8)
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=task.max_new_tokens)
    encoded = oracle.encode(task.prompts)

    def theirs():
        for prompt in encoded:
            generate_and_score(model, prompt, 256, max_new_tokens=task.max_new_tokens)

    def ours():
        for prompt in task.prompts:
            oracle.sample([prompt], 256)

    ratio = speed_ratio(ours, theirs, 5)
    detail = "shipped model, 8 prompts, N = 256, against `generate` + `compute_transition_scores`"
    report("sampling speed, shipped model", ratio, 1.2, detail)


def test_a_long_prompt(report):
    """Nothing ends before 64 tokens here, so both write the same number of tokens."""
    model, tokenizer = load_model("arithmetic-1m", device="cpu")
    config = model.config.__class__.from_dict(model.config.to_dict() | {"max_position_embeddings": 512})
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    prompt = "".join(np.random.default_rng(0).choice(list("0123456789+-"), size=256))
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=64)
    oracle.stop_ids = frozenset()
    model.generation_config.eos_token_id = None
    encoded = oracle.encode([prompt])[0]
    ratio = speed_ratio(
        lambda: oracle.sample([prompt], 64), lambda: generate_and_score(model, encoded, 64, max_new_tokens=64), 9
    )
    report("sampling speed, long prompt", ratio, 1.6, "a model of that size, 256-token prompt, N = 64, 64 new tokens")


MEMORY = """
    import json, pathlib, sys, torch
    sys.path.insert(0, ".")
    from transformers import LlamaConfig, LlamaForCausalLM
    from tests.benchmarks.test_sampling import generate_and_score, memory_model
    from sharptheory.llm.engines.hf import HuggingFaceOracle
    from sharptheory.llm.engines.loading import load_model
    torch.set_num_threads(2)
    model, tokenizer = memory_model(), load_model("arithmetic-1m", device="cpu")[1]
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=64)
    oracle.stop_ids, oracle.vocabulary_size = frozenset(), 32_000
    prompt = "12+34-5="
    run = lambda n: {call}
    run(1)  # both start from warm libraries
    status = lambda key: int(pathlib.Path("/proc/self/status").read_text().split(key)[1].split()[0])
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = status("VmRSS:")
    run(64)
    print(json.dumps(status("VmHWM:") - before))
"""
OURS = "oracle.sample([prompt], n)"
THEIRS = "generate_and_score(model, oracle.encode([prompt])[0], n, max_new_tokens=64)"


def memory_model() -> LlamaForCausalLM:
    """A small model with a 32,000-word vocabulary whose responses never end by themselves."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32_000, hidden_size=128, intermediate_size=448, num_hidden_layers=4, num_attention_heads=4
    )
    model = LlamaForCausalLM(config).eval()
    model.generation_config.eos_token_id = None
    return model


def test_memory(report):
    def growth(call: str) -> int:
        code = textwrap.dedent(MEMORY).replace("{call}", call)
        return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)

    ours, theirs = growth(OURS), growth(THEIRS)
    detail = f"peak memory growth {theirs / 1024:.0f} MB against {ours / 1024:.0f} MB, vocabulary 32,000, N = 64"
    report("sampling memory", theirs / ours, 3, detail)


def test_log_likelihoods_equal_rescoring():
    """Not a ratio: sampled log-likelihoods are those of re-scoring the responses, to 1e-4 nats in float32."""
    model, tokenizer = load_model("arithmetic-1m", device="cpu")
    task = arithmetic.load(20)
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=task.max_new_tokens)
    drawn = oracle.sample(task.prompts, 64)
    again = oracle.evaluate(task.prompts, [[response.tokens for response in row] for row in drawn])
    difference = [abs(r.log_likelihood - v) for row, values in zip(drawn, again) for r, v in zip(row, values)]
    assert max(difference) < 1e-4
