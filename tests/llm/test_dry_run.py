"""What a dry run says is what the run then takes: tokens and disk closely, time within the noise of a machine."""

import json
import time

import numpy as np
import pytest

from sharptheory.llm import dry_run
from sharptheory.llm.decoding.search import search_task
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.engines.loading import load_model
from sharptheory.llm.sampling import sample_pool
from sharptheory.llm.training.config import METHODS, Config
from sharptheory.tasks import arithmetic
from tests.cli.test_diagnose import run

MODEL = ("--model", "arithmetic-1m", "--task", "arithmetic:max_terms=3,max_value=20")
SMALL = {
    "diagnose": ("--prompts", 12, "--samples", 4),
    "argmax": ("--prompts", 3, "--budget", 60),
    "compare": (
        "--prompts",
        3,
        "--samples",
        4,
        "--beams",
        2,
        "--alpha",
        2,
        "--particles",
        4,
        "--steps",
        2,
        "--budget",
        60,
    ),
    "train": (
        "--prompts",
        12,
        "--eval-prompts",
        3,
        "--samples",
        4,
        "--eval-samples",
        2,
        "--epochs",
        1,
        "--batch-size",
        4,
    ),
}
STAGES = {
    "diagnose": ["sampling", "report"],
    "argmax": ["argmax search"],
    "compare": ["sampling", "decoding", "report"],
    "train": ["certifying", "baseline", "sampling", "training", "measuring", "trained model"],
}


@pytest.fixture(scope="module")
def oracle():
    model, tokenizer = load_model("arithmetic-1m", device="cpu")
    return HuggingFaceOracle(model, tokenizer, max_new_tokens=48, batch_tokens=4_000)


@pytest.mark.parametrize("command", SMALL)
def test_a_dry_run_says_what_each_stage_takes_and_writes_nothing(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dry_run, "SECONDS", 0.2)
    monkeypatch.chdir(tmp_path)
    code, printed, error = run(
        monkeypatch, capsys, command, *MODEL, *SMALL[command], "--dry-run", "--out", tmp_path / "out"
    )
    assert code == 0, error
    assert "what the whole run would take" in " ".join(printed.split()) and "Nothing was written." in printed
    lines = printed.splitlines()
    begun = next(k for k, line in enumerate(lines) if line.startswith("─"))
    names = [line[:14].strip() for line in lines[begun + 1 :][: len(STAGES[command])]]
    assert names == STAGES[command] and ("in all" in printed) is (len(names) > 1)
    assert "memory: about " in printed and not list(tmp_path.iterdir())


def test_what_sampling_is_said_to_take_it_takes(oracle, tmp_path):
    """Within 15 % in tokens, a factor of 2 on disk, and 5 in time, for a machine that runs other tests beside it."""
    task = arithmetic.load(24)
    stage, _ = dry_run.sampling(oracle, task, 16, seconds=60.0)
    began = time.perf_counter()
    pool = sample_pool(oracle, task, 16, tmp_path / "out", seed=5)
    spent = time.perf_counter() - began
    tokens = sum(rows["length"].sum() for rows in (pool.samples, pool.greedy)) + sum(
        map(len, oracle.encode(task.prompts))
    )
    size = (tmp_path / "out/pool.parquet").stat().st_size
    print(
        f"tokens {stage.tokens:.0f} of {tokens}; seconds {stage.seconds:.2f} of {spent:.2f}; bytes {stage.disk:.0f} of {size}"
    )
    assert stage.tokens == pytest.approx(tokens, rel=0.15) and not stage.at_most
    assert 1 / 2 < stage.disk / size < 2 and 1 / 5 < stage.seconds / spent < 5


def test_a_search_that_certifies_at_once_costs_what_the_run_costs(oracle, tmp_path):
    task = arithmetic.load(4, max_terms=3, max_value=20)
    stage = dry_run.searching(oracle, task, budget=1_000, samples=4, seconds=60.0)
    table = search_task(oracle, task, tmp_path / "out", budget=1_000, samples=4, seed=0)
    assert stage.tokens == pytest.approx(table["forward_tokens"].sum(), rel=0.2) and not stage.at_most
    lines = (tmp_path / "out/argmax.jsonl").stat().st_size
    assert stage.disk == pytest.approx(2 * lines, rel=0.3)


def test_a_probe_that_is_too_short_says_at_most(oracle):
    stage, _ = dry_run.sampling(oracle, arithmetic.load(200), 64, seconds=0.0)
    assert stage.at_most
    stage = dry_run.searching(oracle, arithmetic.load(3), budget=100_000, seconds=0.0)
    few = dry_run.searching(oracle, arithmetic.load(3), budget=50, seconds=0.0)
    assert stage.tokens >= few.tokens


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_training_can_be_tried_and_leaves_the_weights(oracle, method):
    task = arithmetic.load(6)
    before = {name: values.clone() for name, values in oracle.model.named_parameters()}
    _, rows = dry_run.sampling(oracle, task, 8, seconds=0.0)
    config = Config(method=method, n_samples=8, n=4, epochs=2, batch_size=4)
    stage, memory = dry_run.training(oracle, task, rows, config, steps=1)
    assert stage.tokens > 0 and stage.seconds > 0 and memory > 4 * dry_run.weights(oracle)
    assert all(
        (before[name] == values).all() and values.grad is None for name, values in oracle.model.named_parameters()
    )


def test_memory_grows_with_the_batch(oracle):
    task = arithmetic.load(20)
    few, many = dry_run.memory(oracle, task, 1), dry_run.memory(oracle, task, 256)
    assert dry_run.weights(oracle) < few < many < dry_run.memory(oracle, task, 256, searching=True)


def test_memory_is_that_of_the_whole_process_on_a_cpu(oracle):
    """An interpreter with torch alone holds hundreds of MB, a model of a million parameters four."""
    held, weights = dry_run.resident(), dry_run.weights(oracle)
    assert held > 200e6 and dry_run.beside(oracle) == pytest.approx(held - weights, rel=0.05)
    assert dry_run.memory(oracle, arithmetic.load(4), 1) > dry_run.beside(oracle) + weights


def test_disk_counts_the_report_and_its_figures(tmp_path, monkeypatch, capsys):
    """Within a quarter of what a run of few prompts keeps, which the figures are nearly all of."""
    given = ("diagnose", *MODEL, "--prompts", 20, "--samples", 8, "--out", tmp_path / "out")
    assert run(monkeypatch, capsys, *given)[0] == 0
    kept = sum(file.stat().st_size for file in (tmp_path / "out").iterdir() if file.name != "pool.parquet")
    assert dry_run.report(dry_run.REPORT).disk == pytest.approx(kept, rel=0.25)


def test_stages_add_up():
    stage = dry_run.Stage("a", 2.0, 3.0, 4.0)
    assert stage.times(2) == dry_run.Stage("a", 4.0, 6.0, 8.0)
    both = dry_run.total([stage, dry_run.Stage("b", 1.0, 1.0, 1.0, at_most=True)])
    assert both == dry_run.Stage("in all", 3.0, 4.0, 5.0, at_most=True)
    assert np.isfinite(json.loads(json.dumps(both.seconds)))
