"""Pools written as they are sampled: resumed, refused, killed."""

import contextlib
import multiprocessing
import signal
import time

import numpy as np
import pandas as pd
import pytest
import torch

from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.engines.loading import load_model
from sharptheory.llm.sampling import sample_pool
from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from sharptheory.tasks import arithmetic


class Stop(Exception):
    """Raised by progress, in place of a kill."""


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

    def stop_after_half(done, total):
        if done > total / 2:
            raise Stop

    with pytest.raises(Stop):
        sample_pool(oracle, task, 4, tmp_path / "cut", progress=stop_after_half)
    first = []
    resumed = sample_pool(oracle, task, 4, tmp_path / "cut", progress=lambda done, _: first.append(done))
    assert first[0] > 6
    assert_pools_equal(resumed, whole)


def test_a_different_run_is_refused_in_words(oracle, tmp_path):
    task = arithmetic.load(3)
    first = sample_pool(oracle, task, 4, tmp_path, seed=0)
    with pytest.raises(ValueError, match=r"holds a different run: seed is 0 there and 1 here.*--force"):
        sample_pool(oracle, task, 4, tmp_path, seed=1)
    with pytest.raises(ValueError, match="holds a larger run: samples is 4 there and 3 here"):
        sample_pool(oracle, task, 3, tmp_path)
    with pytest.raises(ValueError, match="what it has as prompts is not what is given here"):
        sample_pool(oracle, arithmetic.load(3, seed=9), 4, tmp_path)
    longer = HuggingFaceOracle(oracle.model, oracle.tokenizer, max_new_tokens=17)
    with pytest.raises(ValueError, match="max new tokens is 16 there and 17 here"):
        sample_pool(longer, task, 4, tmp_path)
    assert_pools_equal(read_pool(tmp_path / "pool.parquet"), first)
    forced = sample_pool(oracle, task, 4, tmp_path, seed=1, force=True)
    assert not forced["tokens"].equals(first["tokens"])


def test_a_file_of_somebody_else_is_left_alone(oracle, tmp_path):
    (tmp_path / "pool.parquet").write_bytes(b"precious")
    with pytest.raises(ValueError, match=r"holds 'pool\.parquet' but no run"):
        sample_pool(oracle, arithmetic.load(2), 2, tmp_path, force=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"pool.parquet": b"precious"}


def in_all_but_noise(pool, other):
    """The same responses; log-likelihoods as far as other batches let them be."""
    for few, many in ((pool.samples, other.samples), (pool.greedy, other.greedy)):
        exact = [column for column in few if column != "log_likelihood"]
        pd.testing.assert_frame_equal(few[exact], many[exact])
        np.testing.assert_allclose(few["log_likelihood"], many["log_likelihood"], atol=1e-4)


def part(pool, prompts, samples):
    few = pool.take((pool["prompt_id"] < prompts) & (pool["sample_id"] < samples))
    return Pool(few.samples.reset_index(drop=True), pool.greedy[pool.greedy["prompt_id"] < prompts])


def test_a_run_grows_by_samples_and_by_prompts_to_the_larger_run(oracle, tmp_path):
    tasks = {n: arithmetic.load(n) for n in (5, 9)}
    whole = sample_pool(oracle, tasks[9], 7, tmp_path / "whole")
    small = sample_pool(oracle, tasks[5], 3, tmp_path / "grown")
    for prompts, samples in ((5, 7), (9, 7)):
        grown = sample_pool(oracle, tasks[prompts], samples, tmp_path / "grown")
        assert len(grown.samples) == prompts * samples and len(grown.greedy) == prompts
        assert_pools_equal(part(grown, 5, 3), small)
    in_all_but_noise(grown, whole)
    both = sample_pool(oracle, tasks[5], 3, tmp_path / "both")
    in_all_but_noise(sample_pool(oracle, tasks[9], 7, tmp_path / "both"), whole)
    assert_pools_equal(part(read_pool(tmp_path / "both/pool.parquet"), 5, 3), both)


def test_a_growth_that_is_interrupted_ends_as_one_that_is_not(oracle, tmp_path):
    few, many = arithmetic.load(6), arithmetic.load(12)
    for name in ("whole", "cut"):
        sample_pool(oracle, few, 3, tmp_path / name)
    sample_pool(oracle, many, 5, tmp_path / "whole")
    for stop in (2, 5, 8, 11):

        def stop_there(done, _, stop=stop):
            if done >= stop:
                raise Stop

        with contextlib.suppress(Stop):
            sample_pool(oracle, many, 5, tmp_path / "cut", progress=stop_there)
    sample_pool(oracle, many, 5, tmp_path / "cut")
    assert (tmp_path / "cut/pool.parquet").read_bytes() == (tmp_path / "whole/pool.parquet").read_bytes()


def test_running_out_of_memory_and_a_kill_do_not_prevent_a_resume(oracle, tmp_path, monkeypatch):
    """The batch size that was asked for identifies the run, not the one that memory left."""
    task, decode, calls = arithmetic.load(8), HuggingFaceOracle._decode, []

    def scarce(self, encoded, uniforms):
        calls.append(len(encoded) * (1 if uniforms is None else uniforms.shape[1]))
        if calls[-1] > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(self, encoded, uniforms)

    whole = sample_pool(oracle, task, 4, tmp_path / "whole")
    monkeypatch.setattr(HuggingFaceOracle, "_decode", scarce)
    small = HuggingFaceOracle(oracle.model, oracle.tokenizer, max_new_tokens=16)

    def stop_after_two(done, _):
        if done >= 2:
            raise Stop

    with pytest.raises(Stop), pytest.warns(UserWarning, match="out of memory"):
        sample_pool(small, task, 4, tmp_path / "cut", progress=stop_after_two)
    monkeypatch.undo()
    assert max(calls) > 4
    in_all_but_noise(sample_pool(oracle, task, 4, tmp_path / "cut"), whole)


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
