"""Logs that lm_eval, inspect_ai and the client of OpenAI's interface write now, of the shipped model on arithmetic.

Long: ``pip install 'sharptheory[bench]' inspect_ai openai``, then ``pytest -m slow tests/measure/test_foreign_logs.py``.
"""

import importlib.util

import numpy as np
import pytest

from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from sharptheory.report.summary import diagnose
from sharptheory.tasks import arithmetic
from tests.measure.foreign import MAX_TOKENS, run_client, run_inspect, run_lm_eval, server

N_PROMPTS, N_SAMPLES = 30, 16
TASK = arithmetic.load(N_PROMPTS)


def needs(*packages: str):
    """A long test, left out where a tool is not installed."""
    lacking = [name for name in packages if importlib.util.find_spec(name) is None]
    skip = pytest.mark.skipif(bool(lacking), reason=f"pip install {' '.join(lacking)}")
    return lambda test: pytest.mark.slow(skip(test))


@pytest.fixture(scope="module")
def oracle():
    """The shipped model as this package asks it."""
    from sharptheory.llm.engines.hf import HuggingFaceOracle
    from sharptheory.llm.engines.loading import load_model

    return HuggingFaceOracle(*load_model("arithmetic-1m"), max_new_tokens=MAX_TOKENS)


@pytest.fixture(scope="module")
def ours(oracle, tmp_path_factory) -> Pool:
    from sharptheory.llm.sampling import sample_pool

    return sample_pool(oracle, TASK, N_SAMPLES, tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def url():
    with server() as address:
        yield address


def graded(pool: Pool) -> np.ndarray:
    """Grades by this package of the same responses, which those of the log must be."""
    right = dict(zip(TASK.prompts, TASK.answers))
    grades = [TASK.grade(response, right[prompt])[1] for response, prompt in zip(pool["response"], pool["prompt"])]
    assert pool["correct"].tolist() == grades
    return np.array(grades).reshape(N_PROMPTS, N_SAMPLES)


def assert_same_law(pool: Pool, ours: Pool) -> None:
    """Accuracy of one sample and pass@N of two sets of samples of the same prompts, within four standard errors."""
    log, own = (diagnose(each).summary for each in (pool, ours))
    rates = graded(pool), graded(ours)
    variance = sum(each.mean(axis=1) * (1 - each.mean(axis=1)) for each in rates) / (N_SAMPLES - 1)
    assert abs(log.sampling.accuracy.value - own.sampling.accuracy.value) < 4 * np.sqrt(variance.sum()) / N_PROMPTS
    half = N_SAMPLES // 2 - 1
    assert log.pass_at_n[half].n == own.pass_at_n[half].n == N_SAMPLES // 2
    assert log.pass_at_n[half].accuracy.value == pytest.approx(own.pass_at_n[half].accuracy.value, abs=0.2)
    assert log.sampling.n_prompts == N_PROMPTS and log.sampling.n_samples == N_SAMPLES


def likelihoods_agree(pool: Pool, oracle, prompts) -> bool:
    """Whether logged sums are what this package's oracle gives the same responses, the end of sequence included."""
    end = oracle.tokenizer.eos_token_id
    tokens = [[*oracle.tokenizer(text, add_special_tokens=False)["input_ids"], end] for text in pool["response"]]
    scores = oracle.evaluate(list(prompts), [[each] for each in tokens])
    return np.allclose(np.concatenate(scores), pool["log_likelihood"], atol=1e-3)


@needs("lm_eval")
def test_lm_eval_samples_the_same_law(tmp_path, ours):
    pool = read_pool(run_lm_eval(tmp_path, "repeated", n_prompts=N_PROMPTS, repeats=N_SAMPLES))
    assert_same_law(pool, ours)
    assert "log_likelihood" not in pool


@needs("lm_eval")
def test_lm_eval_decodes_as_greedily_as_we_do(tmp_path, oracle):
    pool = read_pool(run_lm_eval(tmp_path, "filtered", n_prompts=N_PROMPTS))
    greedy = [oracle.tokenizer.decode(row.tokens, skip_special_tokens=True) for row in oracle.greedy(TASK.prompts)]
    assert pool["response"].tolist() == greedy


@needs("inspect_ai", "openai")
def test_inspect_logs_the_same_law_and_the_same_likelihoods(tmp_path, ours, oracle, url):
    pool = read_pool(run_inspect(tmp_path, "eval", n_prompts=N_PROMPTS, epochs=N_SAMPLES, url=url))
    assert likelihoods_agree(pool, oracle, pool["prompt"])
    assert_same_law(pool, ours)
    log, own = (diagnose(each).summary for each in (pool, ours))
    assert log.alignment.within.value == pytest.approx(own.alignment.within.value, abs=0.1)
    assert log.best_of_n[-1].log_likelihood.value == pytest.approx(own.best_of_n[-1].log_likelihood.value, abs=0.5)
    assert log.hit_rates is not None and not log.hit_rates.refuted


@needs("inspect_ai")
def test_inspects_own_provider_logs_no_usable_likelihoods(tmp_path):
    pool = read_pool(run_inspect(tmp_path, "json", n_prompts=4, epochs=2))
    assert "log_likelihood" not in pool and "are not those of the response (8 of 8 samples)" in " ".join(pool.notes)


@needs("openai")
def test_completions_have_the_same_likelihoods(tmp_path, oracle, url):
    for path in run_client(tmp_path, n_prompts=8, n=8, url=url):
        pool = read_pool(path)
        assert likelihoods_agree(pool, oracle, np.repeat(TASK.prompts[:8], 8))
        assert diagnose(pool).summary.coverage is not None
