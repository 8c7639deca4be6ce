"""`sharptheory train` on the shipped model, run as a user runs it, small."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.cli.test_diagnose import run

SMALL = ("train", "--model", "arithmetic-1m", "--task", "arithmetic", "--prompts", 40, "--eval-prompts", 6, "--samples", 8,
         "--eval-samples", 4, "--epochs", 2, "--batch-size", 8)  # fmt: skip


def stamps(folder) -> dict:
    """Content and time of all files, but for the lock, which every claim touches."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.lock"]
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("train") / "out"
    command = [sys.executable, "-m", "sharptheory", *map(str, SMALL), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_it_says_what_training_gained(trained):
    out, printed = trained
    assert (
        "base, mean of 8" in printed
        and "base, mean of 4 others" in printed
        and "base, best of 8" in printed
        and "round 1, epoch 2" in printed
        and "trained, greedy" in printed
    )
    table = pd.read_parquet(out / "evaluation.parquet")
    assert table[["round", "epoch"]].to_numpy().tolist() == [[0, 0], [1, 1], [1, 2]]
    for column in ("accuracy", "log_likelihood", "entropy", "distinct", "length", "argmax_mass"):
        assert (table[f"{column}_low"] <= table[column]).all() and (table[column] <= table[f"{column}_high"]).all()
    summary = json.loads((out / "summary.json").read_text())
    base = summary["baseline"]
    if gap := summary["gap_closed"]:
        said = f"has come {100 * gap['value']:.0f} % [{100 * gap['low']:.0f} %, {100 * gap['high']:.0f} %] of the way between"
    else:
        said = "too few to tell the gap" if base["best_of_n_accuracy"] > base["sampled_accuracy"] else " no gap"
    assert said in " ".join(printed.split())
    assert summary["baseline"]["best_of_n_log_likelihood"] >= summary["baseline"]["sampled_log_likelihood"]
    assert (pd.read_parquet(out / "log.parquet")["loss"] > 0).all()


def test_the_trained_model_is_an_ordinary_one(trained, tmp_path, monkeypatch, capsys):
    """It loads in plain transformers, differs from the base, and `diagnose` takes it."""
    out, _ = trained
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out / "model"), AutoTokenizer.from_pretrained(out / "model")
    assert model.num_parameters() > 900_000 and tokenizer.eos_token == "<eos>"
    code, printed, error = run(
        monkeypatch, capsys, "diagnose", "--model", out / "model", "--task", "arithmetic", "--prompts", 3, "--samples", 4,
        "--out", tmp_path / "report",
    )  # fmt: skip
    assert code == 0 and "one sample" in printed, error


def table_of(printed: str) -> str:
    """What is printed of the results: from the title of the table on, without the last line, which has a wall time."""
    return printed[printed.index("arithmetic-1m on") :].rpartition("trained model:")[0]


def test_a_finished_run_is_read_and_another_refused(trained, monkeypatch, capsys):
    out, first = trained
    before = stamps(out)
    monkeypatch.setenv("COLUMNS", "80")
    code, printed, error = run(monkeypatch, capsys, *SMALL, "--out", out)
    assert code == 0 and table_of(printed) == table_of(first), error
    assert stamps(out) == before
    code, _, error = run(monkeypatch, capsys, *SMALL, "--lr", 1e-3, "--out", out)
    assert code == 2 and "learning rate is 0.0003 there and 0.001 here" in error
    assert stamps(out) == before


def test_a_summary_that_a_kill_prevented_is_written_by_the_next_run(trained, tmp_path, monkeypatch, capsys):
    out = shutil.copytree(trained[0], tmp_path / "out")
    before = json.loads((out / "summary.json").read_text())
    (out / "summary.json").unlink()
    code, _, error = run(monkeypatch, capsys, *SMALL, "--out", out)
    again = json.loads((out / "summary.json").read_text())
    assert code == 0 and again | {"provenance": None} == before | {"provenance": None}, error


def test_pools_of_others(trained, tmp_path, monkeypatch, capsys):
    """Its own pool is taken; one with other likelihoods is refused, unless it is to be scored anew."""
    out, _ = trained
    given = (*SMALL, "--no-certify", "--pool")
    code, _, error = run(monkeypatch, capsys, *given, out / "round-1/pool.parquet", "--out", tmp_path / "own")
    assert code == 0, error
    own = pd.read_parquet(tmp_path / "own/evaluation.parquet")
    assert own["accuracy"].tolist() == pd.read_parquet(out / "evaluation.parquet")["accuracy"].tolist()
    pool = pd.read_parquet(out / "round-1/pool.parquet")
    pool.assign(log_likelihood=pool["log_likelihood"] * 1.5).to_parquet(tmp_path / "other.parquet")
    code, _, error = run(monkeypatch, capsys, *given, tmp_path / "other.parquet", "--out", tmp_path / "no")
    assert code == 2 and "its log-likelihoods are not this model's" in error
    code, _, error = run(
        monkeypatch, capsys, *given, tmp_path / "other.parquet", "--foreign", "--out", tmp_path / "yes"
    )
    assert code == 0, error
    scored = pd.read_parquet(tmp_path / "yes/evaluation.parquet")
    np.testing.assert_allclose(scored["accuracy"], own["accuracy"], atol=0.15)
    code, _, error = run(
        monkeypatch, capsys, *given, out / "round-1/pool.parquet", "--seed", 5, "--out", tmp_path / "seed"
    )
    assert code == 2 and "use the task and seed it was sampled with" in error


def test_a_pool_that_does_not_fit_is_refused_before_the_older_run_is_discarded(trained, tmp_path, monkeypatch, capsys):
    out, _ = trained
    before = sorted(path.relative_to(out) for path in out.rglob("*"))
    pool = pd.read_parquet(out / "round-1/pool.parquet")
    pool.assign(log_likelihood=pool["log_likelihood"] * 1.5).to_parquet(tmp_path / "other.parquet")
    for given, message in (
        (tmp_path / "other.parquet", "its log-likelihoods are not this model's"),
        (
            out / "round-1/pool.parquet",
            f"lies in --out {out}, which --force discards; move it, or choose another --out",
        ),
    ):
        code, _, error = run(monkeypatch, capsys, *SMALL, "--out", out, "--force", "--pool", given)
        assert code == 2 and message in error
    assert sorted(path.relative_to(out) for path in out.rglob("*")) == before


def test_adapters_rounds_and_methods_are_options(trained, tmp_path, monkeypatch, capsys):
    out, _ = trained
    code, printed, error = run(
        monkeypatch, capsys, *SMALL, "--epochs", 1, "--method", "xpo", "--rounds", 2, "--lora-rank", 4, "--no-certify",
        "--pool", out / "round-1/pool.parquet", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0 and "round 2, epoch 1" in printed, error
    held = json.loads((tmp_path / "out/run.json").read_text())["facts"]
    assert (held["method"], held["rounds"], held["lora_rank"], held["epochs"]) == ("xpo", 2, 4, 1)
    assert (tmp_path / "out/model/config.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--beta", 0, "--method", "dpo"), "beta=0.0 (--beta); expected a positive number"),
        (("--full", "--lora-rank", 4), "give one of them"),
        (("--foreign",), "give --pool"),
        (("--reward", "beauty"), "reward 'beauty' is unknown"),
        (("--lr", 1e30), "learning_rate=1e+30 (--lr); expected a positive number of at most 1"),
        (("--lora-rank", 100_000), "lora_rank=100000 (--lora-rank); expected at most 128"),
        (
            ("--beta", 0.5),
            "--beta with --method sft: it is of dpo and xpo alone; leave it out, or choose such a method",
        ),
        (("--n", 4, "--method", "dpo"), "--n with --method dpo: it is of bon-sft and bon-rlb and bon-rlb-p alone"),
        (("--optimism", 0.1, "--method", "dpo"), "--optimism with --method dpo: it is of xpo alone"),
        (("--delta", 0.5), "--delta with --method sft: it is of adaptive-sft alone"),
        (("--method", "sftt"), "method 'sftt' (--method) is unknown (did you mean sft?)"),
    ],
)
def test_bad_options(tmp_path, monkeypatch, capsys, arguments, message):
    code, _, error = run(monkeypatch, capsys, *SMALL, "--no-certify", *arguments, "--out", tmp_path / "out")
    assert code == 2 and message in error


@pytest.mark.slow
def test_two_processes_train_as_one(trained, tmp_path):
    """`torchrun` with two CPU processes: the same losses, to 1e-3, as one process with the same global batch."""
    out, _ = trained
    two, given = tmp_path / "two", out / "round-1/pool.parquet"
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "-m",
        "sharptheory",
    ]
    command = [*launch, *map(str, SMALL), "--no-certify", "--rounds", "2", "--pool", str(given), "--out", str(two)]
    before = None
    for _ in range(2):  # the second finds a finished run
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr[-2_000:]
        assert done.stdout.count("round 2, epoch 2") == 1, "one of the processes prints"
        assert before is None or before == stamps(two)
        before = stamps(two)
    # Each process keeps the state of its random numbers in a checkpoint; one process would keep it by another name.
    for checkpoint in (two / "round-1/checkpoints").iterdir():
        assert {path.name for path in checkpoint.glob("rng_state*")} == {"rng_state_0.pth", "rng_state_1.pth"}
    table = pd.read_parquet(two / "evaluation.parquet")
    assert table[["round", "epoch"]].to_numpy().tolist() == [[0, 0], [1, 1], [1, 2], [2, 1], [2, 2]]
    log = pd.read_parquet(two / "log.parquet")
    losses = log.loc[log["round"] == 1, "loss"].to_numpy()
    np.testing.assert_allclose(losses, pd.read_parquet(out / "log.parquet")["loss"].to_numpy(), rtol=1e-3)
