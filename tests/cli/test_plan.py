"""`sharptheory plan`, run as a user runs it."""

import json

import numpy as np
import pandas as pd
import pytest

from sharptheory.cli.plan import difference
from sharptheory.errors import UserError
from sharptheory.measure.planning import plan
from tests.cli.test_diagnose import run


@pytest.fixture(scope="module")
def pilot(tmp_path_factory):
    rng = np.random.default_rng(0)
    correct = rng.random(80 * 8) < np.repeat(rng.random(80), 8)
    frame = pd.DataFrame({"prompt_id": np.repeat(np.arange(80), 8), "log_likelihood": -3 - rng.random(640) + correct,
                          "correct": correct, "length": 12, "score": rng.random(640)})  # fmt: skip
    path = tmp_path_factory.mktemp("pilot") / "pilot.parquet"
    frame.to_parquet(path)
    return path


@pytest.mark.parametrize(("text", "value"), [("2pt", 0.02), ("2%", 0.02), ("0.02", 0.02), ("5pts", 0.05), ("1", 1.0)])
def test_an_effect_is_points_or_a_share(text, value):
    assert difference(text, "--effect") == pytest.approx(value)


@pytest.mark.parametrize("text", ["two", "", "0", "-1pt", "101pt", "2", "nan", "inf%"])
def test_other_effects_are_refused(text):
    with pytest.raises(UserError, match=r"--effect .*: expected a difference in accuracy"):
        difference(text, "--effect")


def test_what_is_printed_is_the_plan(pilot, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "plan.json"
    code, printed, _ = run(monkeypatch, capsys, "plan", "--pool", pilot, "--effect", "2pt", "--out", out)
    printed = " ".join(printed.split())
    expected = plan(pd.read_parquet(pilot), 0.02)
    best = expected.best
    assert code == 0
    written = json.loads(out.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert written["plan"]["best"]["prompts"] == best.prompts and len(written["plan"]["splits"]) == len(expected.splits)
    assert written["provenance"]["seed"] == 0 and written["provenance"]["pool"] == str(pilot)
    assert "Planned for the accuracy of best-of-4 by log_likelihood minus that of one sample." in printed
    assert (
        f"{best.prompts:,} prompts with {best.samples} samples each show a difference of 2 points with probability 0.8"
        in printed
    )
    assert (
        f"The pilot has 80 prompts: what it says of how prompts differ leaves a power of {best.power_low:.2f} to"
        in printed
    )
    assert "Cost, in tokens: 0 per prompt and 12 per sample." in printed
    for split in expected.splits:
        assert f"{split.prompts_low:,} to {split.prompts_high:,}" in printed
    assert "(best)" in printed and "all that the pilot has: more might be better still" in printed


def test_a_budget_prints_the_effect_that_it_shows(pilot, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    given = ("--budget", "30000", "--n", "1", "--cost-per-prompt", "9", "--cost-per-sample", "1", "--power", "0.9")
    code, printed, _ = run(monkeypatch, capsys, "plan", "--pool", pilot, *given)
    printed = " ".join(printed.split())
    best = plan(pd.read_parquet(pilot), budget=30_000, n=1, cost_per_prompt=9, cost_per_sample=1, power=0.9).best
    assert code == 0 and f"{100 * best.effect:.2f}pt" in printed and "what the budget shows" in printed
    assert f"{100 * best.effect_low:.2f} to {100 * best.effect_high:.2f}pt" in printed
    assert f"{best.prompts:,} prompts" in printed and "points from a known number with probability 0.9" in printed
    assert "one sample each is always best" not in printed
    code, printed, _ = run(monkeypatch, capsys, "plan", "--pool", pilot, "--effect", "3%", "--n", "1")
    printed = " ".join(printed.split())
    assert (
        "Where a prompt costs nothing, one sample each is always best." in printed and "with 1 sample each" in printed
    )


def test_options_reach_the_plan(pilot, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    given = ("--effect", "4pt", "--n", "2", "--against", "constant", "--reward", "score", "--samples", "4",
             "--confidence", "0.9", "--seed", "3")  # fmt: skip
    code, printed, _ = run(monkeypatch, capsys, "plan", "--pool", pilot, *given)
    printed = " ".join(printed.split())
    options = dict(n=2, against="constant", reward="score", samples=4, confidence=0.9, seed=3)
    best = plan(pd.read_parquet(pilot), 0.04, **options).best
    assert code == 0 and "Planned for the accuracy of best-of-2 by score" in printed
    assert f"{best.prompts:,} prompts with 4 samples each" in printed and "at a confidence of 0.9" in printed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "give either --effect or --budget"),
        (("--effect", "2pt", "--budget", "5"), "give either --effect or --budget"),
        (("--effect", "2"), "--effect 2: expected a difference in accuracy above 0pt and up to 100pt"),
        (("--effect", "2pt", "--power", "1"), "--power 1: expected a number in (0.025, 1)"),
        (("--effect", "2pt", "--confidence", "95"), "--confidence 95: expected a number in (0, 1)"),
        (("--budget", "-5"), "--budget -5: expected a number in (0, 1e18]"),
        (("--effect", "2pt", "--cost-per-prompt", "1"), "give both --cost-per-prompt and --cost-per-sample"),
        (("--effect", "2pt", "--against", "greedy"), "no graded greedy response"),
        (("--effect", "2pt", "--reward", "nonsense"), "reward 'nonsense' is none of"),
        (("--effect", "2pt", "--out", "."), "is a folder; give a file"),
    ],
)
def test_what_cannot_be_planned_is_one_line(pilot, monkeypatch, capsys, given, message):
    code, _, error = run(monkeypatch, capsys, "plan", "--pool", pilot, *given)
    assert code == 2 and message in error


def test_a_pilot_that_is_not_graded_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "pilot.csv").write_text("prompt_id,log_likelihood\n0,-1\n1,-2\n")
    code, _, error = run(monkeypatch, capsys, "plan", "--pool", tmp_path / "pilot.csv", "--effect", "2pt")
    assert code == 2 and "column 'correct' is missing" in error


def test_counts_are_planned_for_one_sample_or_refused_with_the_cure(tmp_path, monkeypatch, capsys):
    (tmp_path / "counts.csv").write_text("prompt_id,n,c\n" + "".join(f"{i},8,{i % 9}\n" for i in range(30)))
    given = ("plan", "--pool", tmp_path / "counts.csv", "--effect", "3pt")
    for more in ((), ("--against", "constant")):
        code, _, error = run(monkeypatch, capsys, *given, *more)
        assert code == 2 and error.count("\n") == 1
        assert (
            "selects by --reward log_likelihood, and the pilot has no such column; give --reward NAME of another"
            in error
        )
        assert "or --n 1, which selects nothing" in error
    code, _, error = run(monkeypatch, capsys, *given, "--n", "1")
    assert code == 0, error


def test_columns_of_the_pilot_may_have_other_names(pilot, tmp_path, monkeypatch, capsys):
    table = pd.read_parquet(pilot)
    table.rename(columns={"prompt_id": "id", "correct": "ok"}).to_csv(tmp_path / "a.csv", index=False)
    given = ("--effect", "2pt", "--n", "2")
    code, printed, error = run(
        monkeypatch, capsys, "plan", "--pool", tmp_path / "a.csv", "--columns", "prompt_id=id,correct=ok", *given
    )
    assert code == 0, error
    assert printed == run(monkeypatch, capsys, "plan", "--pool", pilot, *given)[1]


def test_errors_name_options_as_they_are_typed(tmp_path, pilot, monkeypatch, capsys):
    lines = "".join(f"{i},-1,{i % 2}\n" for i in range(30))
    (tmp_path / "one.csv").write_text("prompt_id,log_likelihood,correct\n" + lines)
    given = ("plan", "--pool", tmp_path / "one.csv", "--effect", "3pt", "--n", "1")
    code, _, error = run(monkeypatch, capsys, *given)
    assert code == 2 and "or --samples 1 to plan for one sample each" in error and "samples=" not in error
    assert run(monkeypatch, capsys, *given, "--samples", "1")[0] == 0
    code, _, error = run(monkeypatch, capsys, "plan", "--pool", pilot, "--effect", "2pt", "--against", "greedy")
    assert code == 2 and "--against greedy: the pilot has no graded greedy response" in error


def test_the_range_of_the_pilot_stands_behind_what_it_is_of(pilot, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    header = lambda *more: next(  # noqa: E731
        line.split()
        for line in run(monkeypatch, capsys, "plan", "--pool", pilot, *more)[1].splitlines()
        if "power" in line
    )
    assert header("--effect", "2pt")[3:] == ["prompts", "pilot's", "range", "cost", "power"]
    assert header("--budget", "30000")[3:] == ["prompts", "cost", "effect", "pilot's", "range", "power"]


@pytest.mark.parametrize(("prompts", "warned"), [(1, None), (2, True), (19, True), (20, False)])
def test_a_small_pilot_is_a_guess_and_one_prompt_is_none(tmp_path, monkeypatch, capsys, prompts, warned):
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "few.csv").write_text("prompt_id,n,c\n" + "".join(f"{i},8,{1 + i % 7}\n" for i in range(prompts)))
    code, printed, error = run(
        monkeypatch, capsys, "plan", "--pool", tmp_path / "few.csv", "--effect", "5pt", "--n", "1"
    )
    assert code == (2 if warned is None else 0) and ("the pilot has 1 prompt that counts" in error) is (warned is None)
    assert ("From fewer than 20 prompts a plan is hardly more than a guess" in " ".join(printed.split())) is bool(
        warned
    )
