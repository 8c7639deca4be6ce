"""`sharptheory check`, `curves` and `law`, run as a user runs them."""

import json

import numpy as np
import pandas as pd
import pytest

from sharptheory import checks
from tests.cli.test_diagnose import run


def test_check_runs_every_statement(tmp_path, monkeypatch, capsys):
    out = tmp_path / "check.json"
    code, printed, _ = run(monkeypatch, capsys, "check", "--instances", 15, "--search", 5, "--out", out)
    assert code == 0 and "fails, as it should" in printed and "BROKEN" not in printed
    written = json.loads(out.read_text())
    assert [row["name"] for row in written["statements"]] == list(checks.REGISTRY)
    assert written["provenance"]["seed"] == 0


def test_check_takes_a_policy_and_a_selection(tmp_path, monkeypatch, capsys):
    pd.DataFrame([[0.5, 0.3, 0.2], [0.7, 0.2, 0.1]]).rename(columns=str).to_csv(tmp_path / "table.csv", index=False)
    code, printed, _ = run(
        monkeypatch, capsys, "check", "--policy", tmp_path / "table.csv", "--only", "adaptive_miss", "--instances", 9
    )
    assert code == 0 and "1 statements, 9 instances" in printed
    code, _, error = run(monkeypatch, capsys, "check", "--only", "nothing")
    assert code == 2 and "--only nothing: no such statement" in error
    code, _, error = run(monkeypatch, capsys, "check", "--policy", tmp_path / "none.csv")
    assert code == 2 and "does not exist" in error


def test_a_broken_statement_fails_the_command(monkeypatch, capsys):
    from dataclasses import replace

    check = checks.REGISTRY["best_of_n_kl"]
    false = replace(check, evaluate=lambda i: (check.evaluate(i)[0], check.evaluate(i)[1] / 10))
    monkeypatch.setitem(checks.REGISTRY, "best_of_n_kl", false)
    code, printed, _ = run(monkeypatch, capsys, "check", "--only", "best_of_n_kl", "--instances", 100)
    assert code == 1 and "BROKEN" in printed and "broken at instance" in printed


def test_curves_writes_data_and_figures(tmp_path, monkeypatch, capsys):
    code, printed, _ = run(
        monkeypatch, capsys, "curves", "--eps", "0.01:0.1:2", "--coverage", "3,5", "--dim", "2", "--out", tmp_path
    )
    assert code == 0 and "slope" in printed
    table = pd.read_parquet(tmp_path / "curves.parquet")
    assert set(table["kind"]) == {"exact", "bound", "rate"} and len(table) == 2 * 2 * 7
    assert (tmp_path / "curves-C3-d2.png").is_file() and (tmp_path / "curves-C5-d2.png").is_file()
    for arguments, message in (
        (["--eps", "a,b"], "--eps 'a,b': expected numbers in (0, 1)"),
        (["--eps", "1.0"], "--eps 1.0: found 1; expected numbers in (0, 1)"),
        (["--delta", "0.9"], "--delta 0.9: expected a number in (0, 0.5]"),
        (["--coverage", "1"], "--coverage 1: found 1; expected numbers in (1, 1e9]"),
    ):
        code, _, error = run(monkeypatch, capsys, "curves", "--out", tmp_path, *arguments)
        assert code == 2 and message in error


def test_law_prints_and_saves(tmp_path, monkeypatch, capsys):
    out = tmp_path / "law.csv"
    code, printed, _ = run(
        monkeypatch, capsys, "law", "--probs", "0.5,0.3,0.2", "--n", "1,4", "--alpha", "2", "--out", out
    )
    assert code == 0 and "best-of-N" in printed.replace("\n", "")
    table = pd.read_csv(out).set_index(["law", "parameter"])
    assert table.loc[("best-of-N", 4.0), "argmax_mass"] == pytest.approx(1 - 0.5**4)
    np.testing.assert_allclose(table.loc[("power", 2.0), ["p0", "p1", "p2"]], np.array([25, 9, 4]) / 38)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["law"], "give either --probs or --policy"),
        (["law", "--probs", "0.5,0.3"], "sums to 0.8"),
        (["law", "--probs", "0.5,0.5", "--n", "0.5"], "--n 0.5: found 0.5; expected numbers in [1, 1e15]"),
        (["law", "--probs", "0.5,0.5", "--delta", "2"], "--delta 2: found 2; expected numbers in (0, 1]"),
        (["law", "--probs", "0.5,0.5", "--gamma", "1"], "--gamma 1: expected a number in [0, 1)"),
        (["law", "--probs", "0.5,0.5", "--out", "law.txt"], "expected .csv or .parquet"),
    ],
)
def test_user_errors_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(monkeypatch, capsys, *arguments)
    assert code == 2 and message in error and error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize("command", ["check", "curves", "law"])
def test_help_has_examples(monkeypatch, capsys, command):
    code, printed, _ = run(monkeypatch, capsys, command, "--help")
    assert code == 0 and "Examples" in printed
