"""`sharptheory check`, `curves` and `law`, run as a user runs them."""

import json
import re

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
        (
            ["law", "--probs", "0.5,0.3"],
            "--probs sums to 0.8, off by -0.2; expected probabilities, or weights with --normalize",
        ),
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


def test_law_takes_a_row_of_a_table(tmp_path, monkeypatch, capsys):
    (tmp_path / "table.csv").write_text("a,b,c\n0.5,0.3,0.2\n0.1,0.2,0.7\n")
    given = ("law", "--policy", tmp_path / "table.csv", "--n", "2", "--out", tmp_path / "law.csv")
    for row, best in ((0, 0.5), (1, 0.7)):
        assert run(monkeypatch, capsys, *given, "--row", row)[0] == 0
        table = pd.read_csv(tmp_path / "law.csv").set_index("law")
        assert table.loc["base", "argmax_mass"] == pytest.approx(best)
        assert table.loc["best-of-N", "argmax_mass"] == pytest.approx(1 - (1 - best) ** 2)
    code, _, error = run(monkeypatch, capsys, *given, "--row", 2)
    assert code == 2 and "--row 2: " in error and "has rows 0 to 1" in error
    (tmp_path / "weights.csv").write_text("a,b,c\n5,3,2\n")
    weights = ("law", "--policy", tmp_path / "weights.csv", "--out", tmp_path / "law.csv")
    assert run(monkeypatch, capsys, *weights)[0] == 2
    assert run(monkeypatch, capsys, *weights, "--normalize")[0] == 0
    assert pd.read_csv(tmp_path / "law.csv")["p0"].iloc[0] == pytest.approx(0.5)


def test_near_maximisers_count_as_argmax(tmp_path, monkeypatch, capsys):
    out = tmp_path / "law.csv"
    code, *_ = run(
        monkeypatch,
        capsys,
        "law",
        "--probs",
        "0.5,0.3,0.2",
        "--gamma",
        0.4,
        "--n",
        "none",
        "--delta",
        "none",
        "--out",
        out,
    )
    assert code == 0
    table = pd.read_csv(out).set_index("law")
    assert table.loc["base", "argmax_mass"] == pytest.approx(0.8) and table.loc["argmax", "parameter"] == 0.4


def test_curves_prints_the_slopes_of_its_table(tmp_path, monkeypatch, capsys):
    code, printed, _ = run(
        monkeypatch, capsys, "curves", "--eps", "0.01:0.1:3", "--coverage", "3", "--dim", "2", "--out", tmp_path
    )
    assert code == 0
    slopes = {
        cells[0]: float(cells[-1])
        for line in printed.splitlines()
        if len(cells := re.split(r" {2,}", line.strip())) == 5 and cells[2] == "3"
    }
    table = pd.read_parquet(tmp_path / "curves.parquet").set_index(["curve", "eps"])["queries"]
    assert len(slopes) == 7
    for curve, slope in slopes.items():
        ends = table[curve].sort_index()
        assert slope == pytest.approx(np.log10(ends.iloc[-1] / ends.iloc[0]), abs=5.1e-3), curve
    record = json.loads((tmp_path / "curves.json").read_text())["provenance"]
    assert (
        record["coverage"] == [3.0]
        and record["dim"] == [2]
        and record["eps"] == pytest.approx([0.01, 0.0316, 0.1], rel=1e-3)
    )


def test_check_prints_what_it_writes(tmp_path, monkeypatch, capsys):
    out = tmp_path / "check.json"
    asked = ("check", "--instances", 20, "--search", 10, "--only", "best_of_n_kl", "--only", "set_margin_as_printed")
    code, printed, _ = run(monkeypatch, capsys, *asked, "--out", out)
    written = json.loads(out.read_text())
    assert code == 0 and written["provenance"]["instances"] == 20 and written["provenance"]["search"] == 10
    assert printed.startswith("checking 2 statements") and "2 statements, 20 instances each, seed 0" in printed
    holds, erratum = written["statements"]
    assert holds["verdict"] == "holds" and holds["tightest"] <= 1 < erratum["tightest"]
    for row in (holds, erratum):
        assert re.search(rf"│ +{row['tightest']:.4g} │", printed), row["name"]


def test_curves_keeps_a_figure_for_every_coverage(tmp_path, monkeypatch, capsys):
    """Also of coefficients that agree in six digits."""
    given = ("curves", "--eps", "0.1", "--coverage", "2,2.0000001", "--dim", "1", "--out", tmp_path)
    code, printed, _ = run(monkeypatch, capsys, *given)
    assert code == 0 and "queries m at ε = 0.1" in printed  # one ε has no slope
    exact = pd.read_parquet(tmp_path / "curves.parquet").query("curve == 'minimax, non-adaptive'")["queries"]
    assert re.search(rf"minimax, non-adaptive +exact +2 +1 +{exact.iloc[0]:,.4g}\b", printed)
    assert {path.name for path in tmp_path.glob("*.png")} == {"curves-C2-d1.png", "curves-C2.0000001-d1.png"}
