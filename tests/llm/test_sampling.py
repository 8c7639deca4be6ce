"""Pools written as they are sampled: resumed, refused, killed."""

import multiprocessing
import signal
import time

import pandas as pd
import pytest
import torch

from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.engines.loading import load_model
from sharptheory.llm.sampling import sample_pool
from sharptheory.tasks import arithmetic


def assert_pools_equal(pool, other):
    """The same samples, and the same greedy responses beside them."""
    pd.testing.assert_frame_equal(pool.samples, other.samples)
    pd.testing.assert_frame_equal(pool.greedy, other.greedy)


@pytest.fixture()
def oracle(model, tokenizer):
    return HuggingFaceOracle(model, tokenizer, max_new_tokens=16)


def test_pool_holds_samples_and_greedy_responses(oracle, tmp_path):
    task = arithmetic.load(5)
    seen = []
    pool = sample_pool(oracle, task, 4, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert (len(pool.samples), len(pool.greedy)) == (5 * 4, 5) and seen[0] == (0, 5) and seen[-1] == (5, 5)
    assert set(pool.samples["source"]) == {"model"} and set(pool.greedy["source"]) == {"greedy"}
    assert [row.tokens for row in oracle.greedy(task.prompts)] == list(map(tuple, pool.greedy["tokens"]))
    assert list(pool.samples.columns) == [
        "prompt_id", "sample_id", "prompt", "response", "tokens", "log_likelihood", "length", "finished", "answer",
        "correct", "unreadable", "source",
    ]  # fmt: skip
    for row in pool.frame().itertuples():
        assert row.prompt == task.prompts[row.prompt_id] and row.length == len(row.tokens)
        answer, correct = task.grade(row.response, task.answers[row.prompt_id])
        assert row.correct == correct and (row.answer == answer or (pd.isna(row.answer) and answer is None))
    assert_pools_equal(sample_pool(oracle, task, 4, tmp_path), pool)


def test_an_interrupted_run_resumes_to_the_same_pool(oracle, tmp_path):
    task = arithmetic.load(12)
    whole = sample_pool(oracle, task, 4, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop_after_half(done, total):
        if done > total / 2:
            raise Stop

    with pytest.raises(Stop):
        sample_pool(oracle, task, 4, tmp_path / "cut", progress=stop_after_half)
    first = []
    resumed = sample_pool(oracle, task, 4, tmp_path / "cut", progress=lambda done, _: first.append(done))
    assert first[0] > 6
    assert_pools_equal(resumed, whole)


def test_a_different_run_is_refused(oracle, tmp_path):
    task = arithmetic.load(3)
    first = sample_pool(oracle, task, 4, tmp_path, seed=0)
    with pytest.raises(ValueError, match=r"holds a different run: seed is 0 there and 1 here.*--force"):
        sample_pool(oracle, task, 4, tmp_path, seed=1)
    with pytest.raises(ValueError, match="samples is 4 there and 5 here"):
        sample_pool(oracle, task, 5, tmp_path)
    with pytest.raises(ValueError, match="prompts is"):
        sample_pool(oracle, arithmetic.load(3, seed=9), 4, tmp_path)
    forced = sample_pool(oracle, task, 4, tmp_path, seed=1, force=True)
    assert not forced["tokens"].equals(first["tokens"])


def test_a_foreign_pool_in_the_folder_is_refused(oracle, tmp_path):
    (tmp_path / "pool.parquet").write_bytes(b"precious")
    with pytest.raises(ValueError, match="pool of an unknown run"):
        sample_pool(oracle, arithmetic.load(2), 2, tmp_path)
    assert (tmp_path / "pool.parquet").read_bytes() == b"precious"


def sample_the_shipped_model(folder):
    """24 prompts in many pieces."""
    torch.set_num_threads(1)
    model, tokenizer = load_model("arithmetic-1m", device="cpu")
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=48, batch_tokens=900)
    return sample_pool(oracle, arithmetic.load(24), 8, folder)


def test_a_killed_run_resumes_to_the_same_pool(tmp_path):
    """SIGKILL in the middle of sampling; the resumed pool is the uninterrupted one."""
    process = multiprocessing.get_context("spawn").Process(target=sample_the_shipped_model, args=(tmp_path / "cut",))
    process.start()
    while process.is_alive() and len(list(tmp_path.glob("cut/pool.parts/*.parquet"))) < 3:
        time.sleep(0.005)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL and not (tmp_path / "cut/pool.parquet").exists(), (
        "it ended before it was killed"
    )
    assert_pools_equal(sample_the_shipped_model(tmp_path / "cut"), sample_the_shipped_model(tmp_path / "whole"))
