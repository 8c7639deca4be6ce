"""The command as a user meets it."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from sharptheory.cli import main
from sharptheory.report.schema import Summary
from tests.conftest import pool_from_table


def run(monkeypatch, capsys, *arguments) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``sharptheory ARGUMENTS`` in this process."""
    monkeypatch.setattr(sys, "argv", ["sharptheory", *map(str, arguments)])
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    output = capsys.readouterr()
    return code, output.out, output.err


def read_summary(folder) -> Summary:
    return Summary.from_json((folder / "summary.json").read_text())


@pytest.fixture(scope="session")
def first_light(tmp_path_factory):
    """One real run on the shipped model, shared by the tests that read it."""
    out = tmp_path_factory.mktemp("first") / "light"
    command = "from sharptheory.cli import main; main()"
    arguments = ["diagnose", "--model", "arithmetic-1m", "--task", "arithmetic", "--prompts", "40", "--samples", "64"]
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments, "--out", str(out)], check=True, capture_output=True, text=True
    )
    return out, done.stdout


def test_the_main_job_on_the_shipped_model(first_light):
    out, printed = first_light
    summary = read_summary(out)
    assert summary.sampling.n_prompts == 40 and summary.sampling.n_samples == 64 and summary.greedy is not None
    assert summary.provenance["seed"] == 0 and "torch" in summary.provenance["versions"]
    assert "best of 64 by log-likelihood" in printed and "report:" in printed
    assert (out / "report.html").stat().st_size > 100_000 and (out / "theory_vs_measurement.png").exists()


def test_the_shipped_model_has_room_to_improve(first_light):
    summary = read_summary(first_light[0])
    assert 0.3 < summary.greedy.accuracy.value < 0.9
    assert summary.sampling.accuracy.value < summary.pass_at_n[-1].accuracy.value


def test_theory_agrees_with_measurement_on_the_shipped_model(first_light):
    """Every measured hit rate within 4 standard deviations of the exact law."""
    rates = read_summary(first_light[0]).hit_rates
    assert rates.n_prompts >= 5
    for point in rates.curve:
        half_width = (point.measured.high - point.measured.low) / 2
        assert abs(point.measured.value - point.predicted) <= half_width * 4 / 1.96 + 1e-12


def test_running_again_reuses_the_pool_and_another_seed_is_refused(first_light, monkeypatch, capsys):
    out, _ = first_light
    before = (out / "pool.parquet").stat().st_mtime_ns
    common = [
        "diagnose",
        "--model",
        "arithmetic-1m",
        "--task",
        "arithmetic",
        "--prompts",
        40,
        "--samples",
        64,
        "--out",
        out,
    ]
    assert run(monkeypatch, capsys, *common)[0] == 0
    assert (out / "pool.parquet").stat().st_mtime_ns == before
    code, _, error = run(monkeypatch, capsys, *common, "--seed", 1)
    assert code == 2 and "holds a different run" in error and error.count("\n") == 1
    code, _, error = run(monkeypatch, capsys, *common, "--seed", 1, "--resume")
    assert code == 2 and "holds a different run" in error


def test_its_pool_can_be_given_back_in_every_format(first_light, tmp_path, monkeypatch, capsys):
    out, _ = first_light
    summary = read_summary(out)
    pool = pd.read_parquet(out / "pool.parquet")
    pool.drop(columns="tokens").to_csv(tmp_path / "pool.csv", index=False)
    pool.to_json(tmp_path / "pool.jsonl", orient="records", lines=True)
    for path in (out / "pool.parquet", tmp_path / "pool.csv", tmp_path / "pool.jsonl"):
        target = tmp_path / f"from-{path.suffix[1:]}"
        assert run(monkeypatch, capsys, "diagnose", "--pool", path, "--out", target)[0] == 0
        again = read_summary(target)
        for part in (lambda s: s.best_of_n[-1], lambda s: s.pass_at_n[-1], lambda s: s.greedy):
            assert part(again).accuracy.value == pytest.approx(part(summary).accuracy.value)
        assert again.alignment.within.value == pytest.approx(summary.alignment.within.value)


def test_a_minimal_foreign_pool(tmp_path, monkeypatch, capsys):
    pool = pool_from_table(np.array([[0.7, 0.2, 0.1]] * 10), 8, np.random.default_rng(0), np.array([[1, 0, 0]] * 10))
    pool[["prompt_id", "log_likelihood", "correct"]].to_csv(tmp_path / "mine.csv", index=False)
    code, printed, _ = run(monkeypatch, capsys, "diagnose", "--pool", tmp_path / "mine.csv", "--out", tmp_path / "out")
    assert code == 0 and "best of 8" in printed
    assert read_summary(tmp_path / "out").greedy is None


def test_a_given_pool_does_not_overwrite_a_sampled_run(first_light, tmp_path, monkeypatch, capsys):
    pool = pool_from_table(np.array([[0.7, 0.3]] * 3), 4, np.random.default_rng(0))
    pool.drop(columns="tokens").to_csv(tmp_path / "mine.csv", index=False)
    code, _, error = run(monkeypatch, capsys, "diagnose", "--pool", tmp_path / "mine.csv", "--out", first_light[0])
    assert code == 2 and "holds a different run: content is 'samples' there" in error


def test_a_report_on_given_samples_says_what_made_it(tmp_path, monkeypatch, capsys):
    """Its run.json and the provenance of its summary; the same again is made again, anything else is refused."""
    pool = pool_from_table(np.array([[0.7, 0.3]] * 3), 4, np.random.default_rng(0), np.array([[1, 0]] * 3))
    pool.drop(columns="tokens").to_csv(tmp_path / "mine.csv", index=False)
    given = ("diagnose", "--pool", tmp_path / "mine.csv", "--out", tmp_path / "out")
    assert run(monkeypatch, capsys, *given, "--seed", 5)[0] == 0
    made = json.loads((tmp_path / "out/run.json").read_text())["facts"]
    assert (made["pool"], made["n_prompts"], made["seed"]) == ("mine.csv", 3, 5)
    record = read_summary(tmp_path / "out").provenance
    assert {key: record[key] for key in made} == made and record["path"] == str(tmp_path / "mine.csv")
    assert record["rewards"] == []
    assert run(monkeypatch, capsys, *given, "--seed", 5)[0] == 0
    code, _, error = run(monkeypatch, capsys, *given)
    assert code == 2 and "holds a different run: seed is 5 there and 0 here" in error
    pool.iloc[:-1].drop(columns="tokens").to_csv(tmp_path / "mine.csv", index=False)
    code, _, error = run(monkeypatch, capsys, *given, "--seed", 5)
    assert code == 2 and "holds a different run: what it has as samples is not what is given here" in error
    assert run(monkeypatch, capsys, *given, "--seed", 5, "--force")[0] == 0
    assert json.loads((tmp_path / "out/run.json").read_text())["facts"]["samples"] != made["samples"]
    assert (tmp_path / "mine.csv").exists()
    code, _, error = run(monkeypatch, capsys, "diagnose", "--pool", tmp_path / "mine.csv", "--out", tmp_path, "--force")
    assert code == 2 and f"mine.csv lies in --out {tmp_path}, which --force discards" in error


def test_columns_and_a_reward_are_chosen_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "1000")
    pool = pool_from_table(np.array([[0.7, 0.3]] * 30), 8, np.random.default_rng(0), np.array([[1, 0]] * 30))
    pool = pool.drop(columns=["tokens", "log_likelihood"]).assign(judge=np.arange(240.0) % 7)
    pool.rename(columns={"prompt_id": "idx", "correct": "score"}).to_csv(tmp_path / "mine.csv.gz", index=False)
    given = ("diagnose", "--pool", tmp_path / "mine.csv.gz", "--columns", "prompt_id=idx, correct=score")
    code, printed, error = run(monkeypatch, capsys, *given, "--reward", "judge", "--out", tmp_path / "out")
    assert code == 0, error
    assert "best of 8 by judge" in printed and "No log-likelihoods: best-of-N by judge" in " ".join(printed.split())
    assert read_summary(tmp_path / "out").reward == "judge"
    made = json.loads((tmp_path / "out/run.json").read_text())["facts"]
    assert made["columns"] == {"prompt_id": "idx", "correct": "score"}
    for columns, message in (
        ("prompt_id", "--columns prompt_id: found 'prompt_id'; expected NAME=COLUMN"),
        ("a=b,a=c", "--columns a=b,a=c: a is named twice"),
        ("prompt_id=nr", "prompt_id=nr: column 'nr' is missing; found"),
    ):
        code, _, error = run(monkeypatch, capsys, *given[:3], "--columns", columns, "--out", tmp_path / "bad")
        assert code == 2 and message in error and not (tmp_path / "bad").exists()
    model = ("diagnose", "--model", "arithmetic-1m", "--task", "arithmetic", "--columns", "prompt_id=idx")
    code, _, error = run(monkeypatch, capsys, *model)
    assert code == 2 and "--columns names those of --pool" in error


def test_a_folder_of_seeds_is_one_pool(tmp_path, monkeypatch, capsys):
    for seed in (0, 1):
        rows = [{"generation": f"g{seed}", "predicted_answer": str(i), "is_correct": i % 2 == 0} for i in range(4)]
        (tmp_path / f"output-rs{seed}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for i, source in enumerate((tmp_path, tmp_path / "output-rs*.jsonl")):
        code, printed, error = run(monkeypatch, capsys, "diagnose", "--pool", source, "--out", tmp_path / f"out{i}")
        assert code == 0 and "4 × 2" in printed, error


def test_the_report_on_a_runs_own_pool_leaves_the_run_as_it_is(tmp_path, monkeypatch, capsys):
    pool_from_table(np.array([[0.7, 0.3]] * 3), 4, np.random.default_rng(0)).to_parquet(tmp_path / "pool.parquet")
    (tmp_path / "run.json").write_text('{"model": "m"}')
    given = ("diagnose", "--pool", tmp_path / "pool.parquet", "--out", tmp_path)
    for options in ((), ("--force",)):
        assert run(monkeypatch, capsys, *given, *options)[0] == 0
        assert (tmp_path / "run.json").read_text() == '{"model": "m"}' and (tmp_path / "pool.parquet").exists()
    assert read_summary(tmp_path).provenance["pool"] == "pool.parquet"


def test_a_reward_that_fails_claims_no_folder(tmp_path, monkeypatch, capsys):
    right = np.array([[1, 0]] * 3)
    pool = pool_from_table(np.array([[0.7, 0.3]] * 3), 4, np.random.default_rng(0), right)
    pool.to_parquet(tmp_path / "mine.parquet")
    (tmp_path / "bad.py").write_text("def bad(samples):\n    raise KeyError('no')\n")
    given = ("diagnose", "--pool", tmp_path / "mine.parquet", "--reward", f"{tmp_path / 'bad.py'}:bad")
    code, _, error = run(monkeypatch, capsys, *given, "--out", tmp_path / "out")
    assert code == 2 and "bad.py:2" in error and not (tmp_path / "out").exists()


def test_the_first_prompts_of_given_samples(tmp_path, monkeypatch, capsys):
    """Right on the first two prompts of four, greedy right on none: three prompts have two."""
    right = np.array([[1, 1]] * 2 + [[0, 0]] * 2)
    pool = pool_from_table(np.array([[0.7, 0.3]] * 4), 4, np.random.default_rng(0), right)
    greedy = pool.drop_duplicates("prompt_id").assign(sample_id=-1, source="greedy", correct=False)
    pd.concat([pool, greedy]).to_parquet(tmp_path / "mine.parquet")
    for n, expected in ((3, 3), (100, 4)):
        out = tmp_path / f"out{n}"
        assert (
            run(monkeypatch, capsys, "diagnose", "--pool", tmp_path / "mine.parquet", "--prompts", n, "--out", out)[0]
            == 0
        )
        summary = read_summary(out)
        assert summary.sampling.n_prompts == summary.greedy.accuracy.n_prompts == expected
        assert summary.sampling.accuracy.value == pytest.approx(2 / expected)
        assert json.loads((out / "run.json").read_text())["facts"]["n_prompts"] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diagnose"], "give either --model and --task, or --pool"),
        (["diagnose", "--model", "arithmetic-1m"], "--model needs --task"),
        (
            ["diagnose", "--model", "arithmetic-1m", "--task", "nothing"],
            "'nothing' is neither a file nor one of: arithmetic",
        ),
        (["diagnose", "--model", "./nowhere", "--task", "arithmetic"], "model folder ./nowhere does not exist"),
        (["diagnose", "--pool", "nowhere.csv"], "pool file nowhere.csv does not exist"),
        (["diagnose", "--model", "arithmetic-1m", "--task", "arithmetic", "--resume", "--force"], "give one of them"),
        (["diagnose", "--model", "arithmetic-1m", "--task", "arithmetic", "--max-new-tokens", "400"], "context of 256"),
        (["diagnose", "--model", "arithmetic-1m", "--task", "arithmetic", "--chat"], "no chat template"),
    ],
)
def test_user_errors_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(monkeypatch, capsys, *arguments)
    assert code == 2 and message in error and error.startswith("error: ") and error.count("\n") == 1


def test_help_has_examples(monkeypatch, capsys):
    code, printed, _ = run(monkeypatch, capsys, "diagnose", "--help")
    assert code == 0 and "Examples" in printed and "--batch-tokens" in printed


def test_the_core_does_not_import_torch():
    code = "import sys, sharptheory.cli; assert not {'torch', 'transformers', 'sharptheory.llm.engines'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_public_model_without_a_task_answer(shared, tmp_path, monkeypatch, capsys):
    """The TinyStories model on prompts without gold answers: a likelihood-only report that warns of cut responses."""
    (tmp_path / "stories.jsonl").write_text('{"prompt": "Once upon a time"}\n{"prompt": "Lily was"}\n')
    code, printed, _ = run(
        monkeypatch, capsys, "diagnose", "--model", shared / "models/tinystories-260k",
        "--task", tmp_path / "stories.jsonl",
        "--samples", 6, "--max-new-tokens", 40, "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0 and "unfinished responses" in printed
    assert "cut by the length budget" in (tmp_path / "out/report.html").read_text()
    assert read_summary(tmp_path / "out").sampling.accuracy is None
