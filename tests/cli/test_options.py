"""What a user types: options shared by the commands, numbers and sizes, help, and what happens before anything is loaded."""

import re
import shlex
from dataclasses import fields, replace
from pathlib import Path

import pandas as pd
import pytest
import typer

from sharptheory.cli import app, limits
from sharptheory.cli.app import COMMANDS
from sharptheory.cli.limits import check_size
from sharptheory.cli.numbers import grid, number
from sharptheory.cli.options import Options, _what_is_kept
from sharptheory.errors import UserError
from sharptheory.llm.training.config import Config
from sharptheory.tasks import load_task
from tests.cli.test_diagnose import run

PROGRAM = typer.main.get_command(app)
MODEL = ("--model", "arithmetic-1m", "--task", "arithmetic")


def help_page(monkeypatch, capsys, *command: str) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    code, printed, _ = run(monkeypatch, capsys, *command, "--help")
    assert code == 0
    return printed


# Numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "values"),
    [
        ("0.1,0.2", {}, [0.1, 0.2]),
        ("0.01:0.1:3", {}, [0.01, 0.0316227766, 0.1]),
        ("1,4,16", {"whole": True}, [1, 4, 16]),
        ("4.0", {"whole": True}, [4]),
        ("1:8:4", {"whole": True}, [1, 2, 4, 8]),
        ("1:3:9", {"whole": True}, [1, 2, 3]),
        ("0.5,0.5", {"distinct": False}, [0.5, 0.5]),
        ("none", {"optional": True}, []),
        (None, {}, []),
    ],
)
def test_a_grid_is_its_numbers(text, options, values):
    found = grid(text, "--n", "(0, 100]", **options)
    assert found == pytest.approx(values)
    assert not options.get("whole") or all(type(value) is int for value in found)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b", {}, "--n 'a,b': expected numbers in (0, 100]"),
        ("", {}, "--n '': expected numbers"),
        (",", {}, "--n ',': expected numbers"),
        ("1,", {}, "--n '1,': expected numbers"),
        ("1:2", {}, "--n '1:2': expected numbers"),
        ("0:2:3", {}, "--n '0:2:3': expected numbers"),
        ("1:2:1", {}, "--n '1:2:1': expected numbers"),
        ("1:inf:3", {}, "--n '1:inf:3': expected numbers"),
        ("none", {}, "--n 'none': expected numbers"),
        ("2,nan", {}, "--n 2,nan: found nan; expected numbers in (0, 100]"),
        ("inf", {}, "found inf"),
        ("0", {}, "found 0"),
        ("101", {}, "found 101"),
        ("2.7", {"whole": True}, "found 2.7; expected whole numbers in (0, 100] as 1,4"),
        ("2,4,2", {}, "--n 2,4,2: 2 comes twice; give each number once"),
        ("1:2:1001", {}, "--n 1:2:1001: 1,001 points; at most 1,000 fit"),
        (",".join(str(i / 20) for i in range(1, 1002)), {}, "--n: 1,001 numbers; at most 1,000 fit"),
    ],
)
def test_a_bad_grid_names_option_found_and_expected(text, options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        grid(text, "--n", "(0, 100]", **options)


@pytest.mark.parametrize(
    ("within", "inside", "outside"),
    [("(0, 1)", [1e-300, 0.5], [0.0, 1.0]), ("[0, 1]", [0.0, 1.0], [-1e-9, 1.1]), ("[0, 1)", [0.0], [1.0, float("nan")]),
     ("(0, 1]", [1.0], [0.0, -float("inf"), float("inf")])],
)  # fmt: skip
def test_a_range_has_the_ends_that_it_shows(within, inside, outside):
    assert [number(value, "--x", within) for value in inside] == inside
    for value in outside:
        with pytest.raises(UserError, match=re.escape(f"--x {value:g}: expected a number in {within}")):
            number(value, "--x", within)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compare", *MODEL, "--beams", "2,2"), "--beams 2,2: 2 comes twice"),
        (("compare", *MODEL, "--beams", "2.7"), "--beams 2.7: found 2.7; expected whole numbers in [1, 1000]"),
        (("compare", *MODEL, "--beams", "inf"), "found inf"),
        (("compare", *MODEL, "--beams", "100000"), "--beams 100000: found 100000; expected whole numbers in [1, 1000]"),
        (("compare", *MODEL, "--particles", "2.5"), "--particles 2.5: found 2.5"),
        (("compare", *MODEL, "--particles", ""), "--particles '': expected whole numbers"),
        (("compare", *MODEL, "--steps", "-1"), "--steps -1: found -1"),
        (("compare", *MODEL, "--steps", "1.5"), "--steps 1.5: found 1.5"),
        (("compare", *MODEL, "--alpha", "1e300"), "--alpha 1e300: found 1e+300; expected numbers in [1, 1000]"),
        (("compare", *MODEL, "--alpha", "0.5"), "--alpha 0.5: found 0.5; expected numbers in [1, 1000]"),
        (("law", "--probs", "0.5,0.5", "--row", "3"), "--row 3 is a prompt of --policy; --probs is one prompt"),
        (("diagnose", "--pool", "p.csv", "--task", "t", "--samples", 3), "--task, --samples with --pool: it holds samples"),
        (("diagnose", "--pool", "p.csv", "--resume"), "--resume with --pool: it holds samples"),
        (("compare", *MODEL, "--delta", "0"), "--delta 0: found 0; expected numbers in (0, 1]"),
        (("compare", *MODEL, "--budget", 10**9), "--budget 1000000000: expected a number in [1, 10000000]"),
        (("compare", *MODEL, "--rewards", "beauty"), "'beauty' is not measured while sampling; expected self_certainty"),
        (("compare", *MODEL, "--rewards", "p_true,p_true"), "name each reward once"),
        (("argmax", *MODEL, "--gamma", "nan"), "--gamma nan: expected a number in [0, 1)"),
        (("argmax", *MODEL, "--budget", 10**9), "--budget 1000000000: expected a number in [1, 10000000]"),
        (("train", *MODEL, "--max-grad-norm", "nan"), "max_grad_norm=nan (--max-grad-norm); expected a positive number"),
        (("train", *MODEL, "--max-grad-norm", "-1"), "max_grad_norm=-1.0 (--max-grad-norm); expected a positive number"),
        (("train", *MODEL, "--lr", "1e30"), "learning_rate=1e+30 (--lr); expected a positive number of at most 1"),
        (("train", *MODEL, "--weight-decay", "2"), "weight_decay=2.0 (--weight-decay); expected a number from 0 to 1"),
        (("train", *MODEL, "--method", "best"), "method 'best' (--method) is unknown"),
        (("train", *MODEL, "--reward", "beauty"), "reward 'beauty' is unknown"),
        (("train", *MODEL, "--pool", "none.parquet"), "pool file none.parquet does not exist"),
        (("diagnose", *MODEL, "--reward", "./none.py:score"), "reward file none.py does not exist"),
        (("law", "--probs", "0.5,0.5", "--n", "1:10:1000000"), "--n 1:10:1000000: 1,000,000 points; at most 1,000 fit"),
        (("law", "--probs", "0.5,0.5", "--alpha", "1e300"), "--alpha 1e300: found 1e+300"),
        (("law", "--probs", "0.5,0.5", "--beta", "0"), "--beta 0: found 0; expected numbers in (0, 1e9]"),
        (("law", "--probs", ""), "--probs '': expected numbers"),
        (("curves", "--eps", "0"), "--eps 0: found 0; expected numbers in (0, 1)"),
        (("curves", "--eps", "1e-300"), "C/ε is 1e+301 and at most 1e+07 fits; --eps 1e-06 would"),
        (("curves", "--eps", "0.1", "--coverage", "1e8"), "C/ε is 1e+09 and at most 1e+07 fits; --coverage 1e+06 would"),
        (("curves", "--coverage", "inf"), "--coverage inf: found inf; expected numbers in (1, 1e9]"),
        (("curves", "--coverage", "1e300"), "--coverage 1e300: found 1e+300"),
        (("curves", "--dim", "2.5"), "--dim 2.5: found 2.5; expected whole numbers in [1, 100000]"),
        (("curves", "--eps", "0.1:0.5:1000", "--dim", "1:100:30"), "families; at most 10,000 fit"),
        (("check", "--instances", 10**400), "expected a number in [1, 10000000]"),
        (("check", "--instances", 10**9), "--instances 1000000000: expected a number in [1, 10000000]"),
        (("check", "--search", 10**9), "--search 1000000000: expected a number in [0, 10000000]"),
    ],
)  # fmt: skip
def test_what_an_option_cannot_be_is_said_in_a_line_and_claims_nothing(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    code, printed, error = run(monkeypatch, capsys, *arguments)
    assert code == 2 and error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not printed and not list(tmp_path.iterdir())


def test_grids_that_may_be_left_out_say_so(monkeypatch, capsys):
    code, printed, _ = run(monkeypatch, capsys, "law", "--probs", "0.5,0.5", "--n", "none", "--delta", "none")
    assert code == 0 and "argmax" in printed and "best-of-N" not in printed and "adaptive" not in printed


# Sizes ----------------------------------------------------------------------------------------------------------------


def test_a_size_says_what_was_asked_what_it_takes_and_what_fits(monkeypatch):
    monkeypatch.setattr(limits, "memory", lambda: 2_048 * 64 * 1_000)
    check_size({"--prompts": 1_000, "--samples": 64})
    with pytest.raises(UserError) as refused:
        check_size({"--prompts": 1_001, "--samples": 64})
    assert str(refused.value) == (
        "--prompts 1,001 × --samples 64 takes at least 131 MB of memory, and this machine has 131 MB; --prompts 1000 would fit"
    )
    with pytest.raises(UserError, match=r"takes at least 2.05e\+.* PB|PB of memory.*none of it fits"):
        check_size({"--prompts": 10**40, "--samples": 10**39})
    monkeypatch.setattr(limits, "memory", lambda: None)
    check_size({"--prompts": 10**40})  # a system that does not tell is not second-guessed


def test_a_full_disk_is_foreseen(tmp_path, monkeypatch):
    monkeypatch.setattr(limits.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 32 * 1_000})())
    check_size({"--samples": 1_000}, out=tmp_path / "new/out")
    with pytest.raises(UserError, match=re.escape(f"32,032 bytes of disk, and {tmp_path} has free 32,000 bytes")):
        check_size({"--samples": 1_001}, out=tmp_path / "new/out")


@pytest.mark.parametrize(
    "arguments",
    [
        ("diagnose", *MODEL, "--prompts", 10**9),
        ("diagnose", *MODEL, "--samples", 10**9),
        ("argmax", *MODEL, "--samples", 10**8),
        ("argmax", *MODEL, "--prompts", 10**9),
        ("compare", *MODEL, "--samples", 10**9),
        ("train", *MODEL, "--samples", 10**9),
        ("train", *MODEL, "--eval-prompts", 10**9),
        ("train", *MODEL, "--eval-samples", 10**9),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_read(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(limits, "memory", lambda: 16 * 10**9)
    monkeypatch.setattr("sharptheory.cli.models.load_task", None)
    monkeypatch.setattr("sharptheory.cli.train.split_task", None)
    code, _, error = run(monkeypatch, capsys, *arguments)
    asked = f"{arguments[-2]} {arguments[-1]:,}"
    assert code == 2 and asked in error and "this machine has 16 GB" in error and "would fit" in error
    assert error.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_file_is_asked_how_many_prompts_it_has(tmp_path, monkeypatch, capsys):
    """`--prompts 1000000` of a file of two means both; what counts is what is there."""
    monkeypatch.setattr(limits, "memory", lambda: 2_048 * 100)
    (tmp_path / "two.jsonl").write_text('{"prompt": "1+1=", "answer": "2"}\n' * 2)
    asked = ("argmax", "--model", "./none", "--task", tmp_path / "two.jsonl", "--samples", 2, "--prompts", 10**6)
    code, _, error = run(monkeypatch, capsys, *asked)
    assert code == 2 and "model folder ./none does not exist" in error
    (tmp_path / "many.jsonl").write_text('{"prompt": "1+1=", "answer": "2"}\n' * 101)
    code, _, error = run(monkeypatch, capsys, *asked, "--task", tmp_path / "many.jsonl")
    assert code == 2 and "--prompts 101 takes at least" in error and "--prompts 100 would fit" in error


# Help and the options that commands share -----------------------------------------------------------------------------


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_fits_80_columns_uncut(monkeypatch, capsys, command):
    page = help_page(monkeypatch, capsys, *command)
    assert max(map(len, page.splitlines())) <= 80
    assert "…" not in page and not re.search(r"\w\.\.\.", page)
    assert "Examples:\n" in page


def test_commands_are_listed_in_the_order_of_use(monkeypatch, capsys):
    page = help_page(monkeypatch, capsys)
    assert re.findall(r"^  (\w+)  +\w", page.partition("Commands:")[2].partition("Examples:")[0], flags=re.M) == list(
        COMMANDS
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_parse(monkeypatch, capsys, command):
    page = help_page(monkeypatch, capsys, command).partition("Examples:")[2].replace("\\\n", " ")
    words = [shlex.split(line) for line in page.strip().splitlines()]
    assert len(words) >= 2
    for line in words:
        line = line[line.index("sharptheory") :]
        assert line[1] == command
        PROGRAM.commands[command].make_context(command, line[2:])  # raises if an option is not one


@pytest.mark.parametrize("command", ["diagnose", "argmax", "compare", "train"])
def test_commands_on_a_model_take_every_shared_option(command):
    own = {parameter.name: parameter for parameter in PROGRAM.commands[command].params}
    different = {"model", "task", "prompts", "out"}
    for field in fields(Options):
        assert field.name in own
        if field.name not in different:
            assert own[field.name].default == field.default, field.name
    assert [parameter.required for parameter in own.values()][:2] == [command != "diagnose"] * 2
    assert list(own)[:3] == ["model", "task", "prompts"]


def test_training_has_the_defaults_of_its_settings():
    own = {parameter.name: parameter.default for parameter in PROGRAM.commands["train"].params}
    names = {"n_samples": "samples"}
    for field in fields(Config):
        assert own[names.get(field.name, field.name)] == field.default, field.name


def test_options_reach_the_command_as_typed(monkeypatch, capsys):
    """Every field that is typed arrives in `Options`, and the command's own beside it."""
    seen = {}
    monkeypatch.setattr(
        "sharptheory.cli.argmax.read_task", lambda options, counts: seen.update(vars(options)) or exit()
    )
    typed = ("argmax", "--model", "m", "--task", "t", "--prompts", 7, "--seed", 3, "--out", "o", "--force", "--extract", "exact",
             "--data", "d", "--shots", 2, "--max-new-tokens", 5, "--batch-tokens", 9, "--device", "cpu", "--dtype", "float32",
             "--no-chat", "--trust-remote-code", "--convert-pickle", "--wait")  # fmt: skip
    run(monkeypatch, capsys, *typed)
    assert seen == dict(
        model="m", task="t", prompts=7, seed=3, out=Path("o"), force=True, dry_run=False, extract="exact", data=Path("d"), shots=2,
        max_new_tokens=5, batch_tokens=9, device="cpu", dtype="float32", chat=False, trust_remote_code=True, wait=True,
        convert_pickle=True,
    )  # fmt: skip


def test_version(monkeypatch, capsys):
    import sharptheory

    code, printed, _ = run(monkeypatch, capsys, "--version")
    assert code == 0 and printed == f"sharptheory {sharptheory.__version__}\n"


# A run that cannot start ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("diagnose", *MODEL, "--rewards", "p_true"), "cannot write 'yes' and 'no'"),
        (("train", *MODEL, "--reward", "p_true", "--prompts", 2, "--eval-prompts", 2), "cannot write 'yes' and 'no'"),
        (("diagnose", *MODEL, "--max-new-tokens", 400), "max_new_tokens=400 it exceeds the model's context of 256"),
        (("diagnose", *MODEL, "--chat"), "no chat template"),
        (("argmax", *MODEL, "--max-new-tokens", 400), "context of 256"),
        (("compare", *MODEL, "--max-new-tokens", 400), "context of 256"),
        (("train", *MODEL, "--max-new-tokens", 400, "--prompts", 2, "--eval-prompts", 2), "context of 256"),
        (
            ("train", *MODEL, "--lora-rank", 300, "--prompts", 2, "--eval-prompts", 2),
            "lora_rank=300 (--lora-rank); expected at most 128",
        ),
    ],
)
def test_a_failed_start_leaves_no_folder(tmp_path, monkeypatch, capsys, arguments, message):
    code, _, error = run(monkeypatch, capsys, *arguments, "--out", tmp_path / "out")
    assert code == 2 and message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_by_default_responses_are_as_long_as_the_context_leaves(tmp_path, monkeypatch, capsys):
    """The task would allow 648 tokens, the context holds 256; asked for explicitly, more is refused."""
    hard = ("diagnose", "--model", "arithmetic-1m", "--task", "arithmetic:max_terms=8,operators=+-*", "--prompts", 2,
            "--samples", 2)  # fmt: skip
    code, printed, error = run(monkeypatch, capsys, *hard, "--out", tmp_path / "out")
    assert code == 0, error
    longest = int(pd.read_parquet(tmp_path / "out/pool.parquet")["prompt"].map(len).max()) + 1
    budget = int(re.search(r"responses end after (\d+) tokens: the model's context of 256 leaves no more", printed)[1])
    assert 256 - longest - 1 <= budget <= 256 - longest + 1
    code, _, error = run(monkeypatch, capsys, *hard, "--max-new-tokens", 648, "--out", tmp_path / "no")
    assert code == 2 and "max_new_tokens=648" in error and not (tmp_path / "no").exists()


def test_the_budget_is_the_smallest_of_what_task_and_context_allow(capsys):
    from sharptheory.cli.models import _budget

    assert _budget(96, 256, longest=160, longest_asked=0) == 96
    assert _budget(96, 256, longest=10, longest_asked=64) == 96 and not capsys.readouterr().out
    assert _budget(96, 256, longest=161, longest_asked=0) == 95
    assert capsys.readouterr().out == "responses end after 95 tokens: the model's context of 256 leaves no more\n"
    assert _budget(96, 256, longest=10, longest_asked=216) == 20  # the question repeats the response
    with pytest.raises(
        UserError, match="the longest prompt leaves no room for a response in the model's context of 256"
    ):
        _budget(96, 256, longest=10, longest_asked=255)


def test_a_model_is_asked_within_its_context(shared, tmp_path, monkeypatch, capsys):
    """Responses of any length the budget allows, and the question after them, fit where the task's budget does not."""
    (tmp_path / "stories.jsonl").write_text('{"prompt": "Once upon a time"}\n')
    code, printed, error = run(
        monkeypatch, capsys, "diagnose", "--model", shared / "models/tinystories-260k", "--task", tmp_path / "stories.jsonl",
        "--samples", 2, "--rewards", "p_true", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, error
    assert "the model's context of 512 leaves no more" in printed
    assert pd.read_parquet(tmp_path / "out/pool.parquet")["p_true"].between(0, 1).all()


@pytest.mark.parametrize(
    ("command", "target", "typed", "passed"),
    [
        ("diagnose", "sharptheory.llm.sampling.sample_pool", ("--samples", 4), {}),
        ("argmax", "sharptheory.llm.decoding.search.search_task", ("--samples", 4, "--gamma", 0.5, "--budget", 7),
         {"samples": 4, "gamma": 0.5, "budget": 7}),
        ("compare", "sharptheory.llm.decoding.compare.compare_task",
         ("--samples", 4, "--beams", "3", "--alpha", "2,3", "--particles", "5", "--steps", "none", "--delta", "0.2", "--budget", 7),
         {"n": 4, "beams": [3], "alphas": [2.0, 3.0], "particles": [5], "steps": [], "deltas": [0.2], "budget": 7}),
        ("train", "sharptheory.llm.training.sharpen.sharpen", ("--eval-prompts", 2, "--eval-samples", 3, "--no-certify"),
         {"n_eval": 3, "certify": False, "pool": None, "foreign": False}),
    ],
)  # fmt: skip
def test_what_is_typed_is_what_runs(tmp_path, monkeypatch, capsys, command, target, typed, passed):
    """The seed decides the prompts and everything after them."""
    seen = {}

    def stop(oracle, task, *arguments, **options):
        seen.update(options, oracle=oracle, prompts=task.prompts, arguments=arguments)
        raise SystemExit

    monkeypatch.setattr(target, stop)
    given = (command, *MODEL, "--prompts", 2, "--seed", 3, "--force", "--max-new-tokens", 11, *typed, "--out", tmp_path)
    run(monkeypatch, capsys, *given)
    config = next((each for each in seen["arguments"] if isinstance(each, Config)), None)
    assert (config.seed if config else seen["seed"]) == 3
    assert (
        seen["force"] is True
        and seen["oracle"].max_new_tokens == 11
        and set(seen["identity"]) == {"model", "dtype", "extract"}
    )
    assert seen["prompts"] == load_task("arithmetic", 2, seed=3, split="train" if config else "test").prompts
    assert {name: seen[name] for name in passed} == passed


def test_what_an_interrupted_command_keeps(tmp_path):
    """What has a run to go on with says so, and how to."""
    options = Options(model="m", task="t", out=tmp_path)
    assert _what_is_kept(options) == "no run was begun"
    (tmp_path / "run.json").write_text("{}")
    assert _what_is_kept(options) == f"the run in {tmp_path} is kept, the same command goes on"
    assert _what_is_kept(replace(options, model=None)) == "no run was begun"
