"""Scoring given responses: each prompt encoded once, against `lm_eval`, which repeats it for every response."""

import os
import time

import numpy as np
import pytest
import torch

from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.engines.loading import load_model
from sharptheory.tasks import load_task

pytestmark = pytest.mark.benchmark
N_PROMPTS, N_RESPONSES = 16, 32


@pytest.mark.parametrize(("shots", "required"), [(0, 1.2), (4, 2)])
def test_log_likelihood_scoring(report, shots, required, monkeypatch):
    monkeypatch.setitem(os.environ, "HF_DATASETS_OFFLINE", "1")
    instance = pytest.importorskip("lm_eval.api.instance", reason="pip install 'sharptheory[bench]'")
    huggingface = pytest.importorskip("lm_eval.models.huggingface")
    torch.set_num_threads(2)
    model, tokenizer = load_model("multihop-1m", device="cpu")
    task = load_task("multihop", N_PROMPTS + shots)
    # Worked examples before the question, as a few-shot prompt has; what matters here is only its length.
    head = "".join(task.prompts[N_PROMPTS : N_PROMPTS + shots])[: 100 * shots]
    prompts = [head + prompt for prompt in task.prompts[:N_PROMPTS]]
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=64)
    # They score text, we token ids: only responses that survive being written out and read again can be compared.
    special = set(tokenizer.all_special_ids)
    sampled = [[r.tokens[:-1] for r in row] for row in oracle.sample(prompts, N_RESPONSES + 8)]
    drawn = [[t for t in row if len(t) > 1 and not special & set(t)][:N_RESPONSES] for row in sampled]
    assert all(len(row) == N_RESPONSES for row in drawn)
    theirs = huggingface.HFLM(pretrained=model, tokenizer=tokenizer, batch_size=N_RESPONSES, device="cpu")
    requests = [
        instance.Instance("loglikelihood", {}, (prompt, oracle.decode(tokens)), i)
        for i, (prompt, row) in enumerate(zip(prompts, drawn))
        for tokens in row
    ]
    seconds, values = {"ours": [], "theirs": []}, {}
    for _ in range(5):
        for name, score in (
            ("ours", lambda: np.concatenate(oracle.evaluate(prompts, drawn))),
            ("theirs", lambda: np.array([value for value, _ in theirs.loglikelihood(requests, disable_tqdm=True)])),
        ):
            start = time.perf_counter()
            values[name] = score()
            seconds[name].append(time.perf_counter() - start)
    np.testing.assert_allclose(values["ours"], values["theirs"], atol=1e-4)
    ratio = np.median(seconds["theirs"]) / np.median(seconds["ours"])
    length = np.mean([len(ids) for ids in oracle.encode(prompts)])
    detail = f"{N_PROMPTS} prompts of {length:.0f} tokens × {N_RESPONSES} responses, against `lm_eval`'s `HFLM.loglikelihood`"
    report(f"scoring, {'long' if shots else 'short'} prompts", ratio, required, detail)
