"""What goes wrong is one line and exit code 2 if the user can mend it, else a traceback and where to report it."""

import errno
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from sharptheory.cli import explained
from sharptheory.cli.app import writing
from sharptheory.errors import UserError
from tests.cli.test_diagnose import run
from tests.conftest import pool_from_table

LAW = ("law", "--probs", "0.5,0.3,0.2")


def program(*arguments, before: str = "", stdout=subprocess.PIPE) -> subprocess.CompletedProcess:
    """``python -m sharptheory ARGUMENTS``, after running some code."""
    code = f"{before}; import runpy, sys; sys.argv[0] = 'sharptheory'; runpy.run_module('sharptheory', run_name='__main__')"
    command = [sys.executable, "-c", code.removeprefix("; "), *map(str, arguments)]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True)


def test_a_users_error_is_one_line():
    done = subprocess.run([sys.executable, "-m", "sharptheory", *LAW, "--n", "0"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert (
        done.stderr.startswith("error: --n 0: found 0; expected numbers in [1, 1e15]") and done.stderr.count("\n") == 1
    )


def test_a_bug_shows_its_traceback_and_where_to_report_it():
    """Also one that is a ValueError, as a user's errors are."""
    before = "import sharptheory.theory.tables as t\ndef broken(*_, **__): raise ValueError('oh')\nt.law_table = broken\npass"
    done = program(*LAW, before=before)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "bug: please report your command and the lines below to the maintainers, as CONTRIBUTING.md"
    )
    assert (
        "Traceback" in done.stderr
        and "in broken" in done.stderr
        and "http" not in done.stderr.partition("Traceback")[0]
    )


def test_a_full_disk_behind_standard_output_is_one_line():
    with open("/dev/full", "w") as full:
        done = program(*LAW, stdout=full)
    assert done.returncode == 2
    assert (
        done.stderr
        == "error: standard output: no space left on device; free some space, or write elsewhere with --out\n"
    )


def system(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


ELSEWHERE = "free some space, or write elsewhere with --out"
EXTRA = "install the extra: pip install"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("n=0"), "n=0"),
        (FileNotFoundError("model folder ./x does not exist"), "model folder ./x does not exist"),
        (system(errno.ENOSPC, "out/a"), f"out/a: no space left on device; {ELSEWHERE}"),
        (
            OSError(errno.ENOSPC, "Error writing bytes. Detail: [errno 28]", "a"),
            f"a: no space left on device; {ELSEWHERE}",
        ),
        (system(errno.EROFS, "out"), "out: read-only file system; write elsewhere with --out"),
        (system(errno.EACCES, "out"), "out: permission denied; see to its permissions, or choose another path"),
        (system(errno.ENOENT, "a"), "a: no such file or directory; see whether it is spelled as it should be"),
        (system(errno.EIO, "a.csv"), "a.csv: input/output error"),
        (MemoryError(), "memory is full; ask for fewer --prompts or --samples, or lower --batch-tokens"),
        (MemoryError("one response does not fit"), "one response does not fit"),
        (ModuleNotFoundError("no torch", name="torch"), f"no torch; {EXTRA} 'sharptheory[llm]'"),
        (ModuleNotFoundError("no peft", name="peft"), f"no peft; {EXTRA} 'sharptheory[train]'"),
        (ModuleNotFoundError("no laws", name="sharptheory.laws"), None),
        (ValueError("shapes"), None),
        (KeyError("x"), None),
        (RuntimeError("oh"), None),
    ],
)
def test_only_what_a_user_can_mend_is_explained(error, line):
    assert explained(error) == line


def test_a_failure_to_write_names_the_path(tmp_path):
    """The system leaves it out when the disk is full."""
    with pytest.raises(OSError) as caught, writing(tmp_path / "x.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert explained(caught.value).startswith(f"{tmp_path / 'x.json'}: no space left on device")
    with pytest.raises(OSError) as caught, writing(tmp_path / "x.json"):
        raise OSError(errno.ENOSPC, "No space left on device", "elsewhere")
    assert caught.value.filename == "elsewhere"


def test_a_full_disk_behind_a_result_names_it(monkeypatch, capsys):
    few = ("check", "--instances", 3, "--search", 0, "--only", "best_of_n_kl")
    code, _, error = run(monkeypatch, capsys, *few, "--out", "/dev/full")
    assert (
        code == 2
        and error == "error: /dev/full: no space left on device; free some space, or write elsewhere with --out\n"
    )


@pytest.mark.parametrize("command", [("diagnose", "--model", "m", "--task", "t"), ("argmax", "--model", "m", "--task", "t"),
                                     ("compare", "--model", "m", "--task", "t"), ("train", "--model", "m", "--task", "t"),
                                     ("curves",), ("diagnose", "--pool", "pool.csv"), LAW, ("check",)])  # fmt: skip
def test_an_out_that_cannot_be_is_refused_first(tmp_path, monkeypatch, capsys, command):
    """Before the task, the model or the pool is read, or anything is computed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    suffix = ".csv" if command == LAW else ""
    cases = {
        f"file/x{suffix}": f"--out file/x{suffix} lies under the file {tmp_path / 'file'}; choose another --out",
        "x" * 300 + suffix: "file name too long; choose a shorter path",
    }
    if command in (LAW, ("check",)):
        cases["folder"] = "--out folder is a folder; give a file"
    else:
        cases["file"] = "--out file is a file; give a folder"
    for out, message in cases.items():
        code, printed, error = run(monkeypatch, capsys, *command, "--out", out)
        assert code == 2 and message in error and error.count("\n") == 1 and not printed
    monkeypatch.setattr("sharptheory.cli.limits.os.access", lambda *_: False)
    code, _, error = run(monkeypatch, capsys, *command, "--out", f"new/out{suffix}")
    assert code == 2 and f"{tmp_path} cannot be written to; choose another --out or see to its permissions" in error
    assert (tmp_path / "file").read_text() == "mine" and not (tmp_path / "new").exists()


def test_what_looks_like_markup_in_a_users_text_is_text(tmp_path, monkeypatch, capsys):
    pool = pool_from_table(np.array([[0.7, 0.2, 0.1]] * 3), 4, np.random.default_rng(0), np.array([[1, 0, 0]] * 3))
    name = "a[red]b:smile:.csv"
    pool[["prompt_id", "log_likelihood", "correct"]].to_csv(tmp_path / name, index=False)
    out = tmp_path / "x[/bold]"
    code, printed, error = run(monkeypatch, capsys, "diagnose", "--pool", tmp_path / name, "--out", out)
    assert code == 0, error
    assert f"Diagnosis of {name}" in printed and f"\nreport: {out}/report.html  (" in printed
    code, _, error = run(monkeypatch, capsys, "diagnose", "--pool", "[/bold]none.csv")
    assert code == 2 and "pool file [/bold]none.csv does not exist" in error
    code, _, error = run(monkeypatch, capsys, "law", "--probs", "[/bold]")
    assert code == 2 and "--probs '[/bold]': expected numbers" in error


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("arithmetic-2m", (), "did you mean arithmetic-1m?"),
        ("./nowhere", (), "model folder ./nowhere does not exist"),
        ("arithmetic-1m", ("--device", "foo"), "foo"),
        ("arithmetic-1m", ("--device", "meta"), "meta"),
        ("arithmetic-1m", ("--device", "cuda:99"), "cuda:99"),
        ("arithmetic-1m", ("--dtype", "float8"), "float8"),
        ("arithmetic-1m", ("--convert-pickle",), "has safetensors weights already; load it without --convert-pickle"),
    ],
)
def test_a_model_that_cannot_be_used_is_one_line(tmp_path, monkeypatch, capsys, model, options, message):
    monkeypatch.chdir(tmp_path)
    given = ("diagnose", "--model", model, "--task", "arithmetic", "--prompts", 2, "--samples", 2)
    code, printed, error = run(monkeypatch, capsys, *given, *options)
    assert code == 2 and message in error and error.startswith("error: ") and error.count("\n") == 1
    assert not printed and not list(tmp_path.iterdir())


def test_warnings_are_a_line_too(monkeypatch, capsys):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    run(monkeypatch, capsys, *LAW)
    warnings.warn("memory [/bold]\nran out", stacklevel=1)
    assert capsys.readouterr().err == "warning: memory [/bold] ran out\n"


def test_a_users_error_has_its_traceback_for_those_who_ask(monkeypatch, capsys):
    monkeypatch.setenv("SHARPTHEORY_TRACEBACK", "1")
    with pytest.raises(UserError, match="--n 0"):
        run(monkeypatch, capsys, *LAW, "--n", "0")


def test_given_samples_replace_the_report_of_a_sampled_run_by_force_only(tmp_path, monkeypatch, capsys):
    pool = pool_from_table(np.array([[0.7, 0.3]] * 3), 4, np.random.default_rng(0))
    pool.drop(columns="tokens").to_csv(tmp_path / "mine.csv", index=False)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/run.json").write_text('{"model": "m"}')
    (tmp_path / "out/pool.parquet").write_text("another run's")
    given = ("diagnose", "--pool", tmp_path / "mine.csv", "--out", tmp_path / "out")
    code, _, error = run(monkeypatch, capsys, *given)
    assert code == 2 and "holds a sampled run; choose another --out, or discard it with --force" in error
    assert not (tmp_path / "out/report.html").exists() and (tmp_path / "out/pool.parquet").exists()
    assert run(monkeypatch, capsys, *given, "--force")[0] == 0
    assert (tmp_path / "out/report.html").exists() and not (tmp_path / "out/pool.parquet").exists()
