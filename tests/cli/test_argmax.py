"""`sharptheory argmax` on the shipped model, run as a user runs it."""

import json

import numpy as np
import pandas as pd

from tests.cli.test_diagnose import run

ARGUMENTS = ("argmax", "--model", "arithmetic-1m", "--task", "arithmetic", "--prompts", 6, "--budget", 1500)


def test_argmax_certifies_resumes_and_refuses(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    code, printed, error = run(monkeypatch, capsys, *ARGUMENTS, "--out", out)
    assert code == 0 and "argmax certified on" in printed, error
    summary, table = json.loads((out / "argmax.json").read_text()), pd.read_parquet(out / "argmax.parquet")
    assert summary["n_prompts"] == 6 and summary["n_certified"] == table["certified"].sum() > 0
    known = table[table["complete"]]
    assert summary["c_cov_bar"] == np.exp(-table.loc[table["certified"], "log_p"]).mean()
    assert summary["c_cov_bar_at_least"] == np.exp(-table["log_upper"]).mean() and "on all of them" in printed
    assert (known["log_q"] >= known["log_p"] - 1e-9).all() and (
        known["log_runner_up"].dropna() < known["log_p"].max()
    ).all()
    # A run cut off in the middle of a line goes on and ends the same.
    lines = (out / "argmax.jsonl").read_text().splitlines(keepends=True)
    (out / "argmax.jsonl").write_text("".join(lines[:4]) + lines[4][:20])
    code, *_ = run(monkeypatch, capsys, *ARGUMENTS, "--out", out)
    assert code == 0 and (out / "argmax.jsonl").read_text().splitlines(keepends=True) == lines
    # A line of another type is named.
    row = json.loads(lines[2])
    (out / "argmax.jsonl").write_text("".join([*lines[:2], json.dumps(row | {"certified": 7}) + "\n", *lines[3:]]))
    code, _, error = run(monkeypatch, capsys, *ARGUMENTS, "--out", out)
    assert code == 2 and "argmax.jsonl:3 is damaged; delete the line" in error and error.count("\n") == 1
    code, _, error = run(monkeypatch, capsys, *ARGUMENTS, "--seed", 1, "--out", out)
    assert code == 2 and "holds a different run: seed is 0 there and 1 here" in error
    code, *_ = run(monkeypatch, capsys, *ARGUMENTS, "--seed", 1, "--out", out, "--force")
    assert code == 0 and (out / "argmax.jsonl").read_text().splitlines(keepends=True) != lines
    code, _, error = run(monkeypatch, capsys, *ARGUMENTS, "--gamma", 1, "--out", tmp_path / "other")
    assert code == 2 and "--gamma 1: expected a number in [0, 1)" in error


def test_argmax_of_a_public_model_brackets(shared, tmp_path, monkeypatch, capsys):
    """Stories do not end within 12 tokens: nothing is certified, and the bounds say so."""
    (tmp_path / "stories.jsonl").write_text('{"prompt": "Once upon a time"}\n')
    code, printed, error = run(
        monkeypatch, capsys, "argmax", "--model", shared / "models/tinystories-260k", "--task", tmp_path / "stories.jsonl",
        "--budget", 60, "--max-new-tokens", 12, "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0 and "0 of 1 prompt " in printed, error
