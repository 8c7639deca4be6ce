"""Pools written as they are sampled: resumed, refused, killed."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from sharptheory.llm.engines.hf import HuggingFaceOracle
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


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_killed_run_resumes_to_the_same_pool(tmp_path, pieces):
    """SIGKILL in the middle of a real run of the command; the resumed pool is the uninterrupted one."""
    command = [
        sys.executable, "-c", "from sharptheory.cli import main; main()", "diagnose", "--model", "arithmetic-1m",
        "--task", "arithmetic", "--prompts", "24", "--samples", "8", "--batch-tokens", "900",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run([*command, "--out", str(whole)], check=True, env=environment, capture_output=True)
    process = subprocess.Popen([*command, "--out", str(cut)], env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(cut.glob("pool.parts/*.parquet"))) < pieces and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (cut / "pool.parquet").exists(), "the run ended before it was killed"
    subprocess.run([*command, "--out", str(cut), "--resume"], check=True, env=environment, capture_output=True)
    pd.testing.assert_frame_equal(pd.read_parquet(cut / "pool.parquet"), pd.read_parquet(whole / "pool.parquet"))
