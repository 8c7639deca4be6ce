"""Killed at any moment, a command that is given again ends with what it would have ended with.

So it does after a full disk, beside another process, and by growing. The commands are run as a user runs them, in processes
that have already imported what they need, so that the kills fall into the work; training has tests of its own in
``tests/llm/training``.
"""

import contextlib
import io
import json
import multiprocessing
import os
import re
import resource
import signal
import sys
import time

import numpy as np
import pandas as pd
import pytest

from sharptheory.runs import hold

MODEL = ("--model", "arithmetic-1m", "--task", "arithmetic")
COMMANDS = {
    "diagnose": ("diagnose", *MODEL, "--prompts", 24, "--samples", 24, "--batch-tokens", 6_000),
    "argmax": ("argmax", *MODEL, "--prompts", 12, "--budget", 200),
    "compare": ("compare", *MODEL, "--prompts", 12, "--samples", 8, "--alpha", 2, "--particles", 8, "--steps", 4,
                "--beams", 2, "--budget", 100),
}  # fmt: skip
#: What grows: the command of a smaller run of the same.
SMALLER = {
    "diagnose": ("--prompts", 10, "--samples", 8),
    "argmax": ("--prompts", 5),
    "compare": ("--prompts", 5, "--samples", 4),
}
#: Random moments of each command, SIGKILL and SIGTERM by turns.
MOMENTS = 8


def work(arguments, out, printed, largest_file):
    """One command, in a process of its own; no file of it may grow beyond so many bytes, as on a full disk."""
    import torch

    from sharptheory.cli import main

    torch.set_num_threads(1)
    sys.argv, sys.stderr = ["sharptheory", *map(str, arguments), "--out", str(out)], io.StringIO()
    if largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            main()
    finally:
        printed.send(sys.stderr.getvalue())


@pytest.fixture(scope="module")
def start():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["sharptheory.cli", "sharptheory.llm.engines.loading", "sharptheory.llm.decoding.compare"]
    )

    first = context.Process(target=time.sleep, args=(0,))  # it waits for the imports
    first.start()
    first.join()

    def started(arguments, out, *, largest_file=None):
        """The process, and where it sends what it said on standard error."""
        printed, end = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(arguments, out, end, largest_file))
        process.start()
        end.close()
        return process, printed

    return started


def outcome(process, printed):
    """Exit code, and what was said on standard error."""
    process.join(120)
    return process.exitcode, printed.recv()


@pytest.fixture(scope="module")
def finish(start):
    def finished(arguments, out):
        code, error = outcome(*start(arguments, out))
        assert code == 0, error

    return finished


@pytest.fixture(scope="module")
def whole(finish, tmp_path_factory):
    """Of a command, the folder of a run without interruption, and its seconds."""
    folder, found = tmp_path_factory.mktemp("whole"), {}

    def of(command):
        if command not in found:
            began = time.monotonic()
            finish(COMMANDS[command], folder / command)
            found[command] = folder / command, time.monotonic() - began
        return found[command]

    return of


def results(folder):
    """Content of every file but the lock; wall times are not a result."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.lock"]
    wall = re.compile(rb'wall_seconds(":|&#34;:)? *[\d.]+')
    return {path.relative_to(folder).as_posix(): wall.sub(b"", path.read_bytes()) for path in files}


def assert_same(folder, other):
    mine, its = results(folder), results(other)
    assert mine.keys() == its.keys()
    for name in mine:
        assert mine[name] == its[name], name


@pytest.mark.parametrize("command", COMMANDS)
def test_one_kill_in_the_middle_changes_nothing(command, start, finish, whole, tmp_path):
    process, _ = start(COMMANDS[command], tmp_path / "cut")
    wanted = {"diagnose": "pool.parts/*.parquet", "argmax": "argmax.jsonl", "compare": "decodings.jsonl"}[command]
    while process.is_alive() and not any(path.stat().st_size for path in (tmp_path / "cut").glob(wanted)):
        time.sleep(0.001)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it ended before it was killed"
    finish(COMMANDS[command], tmp_path / "cut")
    assert_same(tmp_path / "cut", whole(command)[0])


def test_what_is_interrupted_says_what_is_kept(start, finish, whole, tmp_path):
    process, printed = start((*COMMANDS["argmax"], "--force"), tmp_path / "cut")
    while process.is_alive() and not any(path.stat().st_size for path in (tmp_path / "cut").glob("argmax.jsonl")):
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGINT)
    code, error = outcome(process, printed)
    assert (code, error) == (
        130,
        f"interrupted: the run in {tmp_path / 'cut'} is kept, the same command without --force goes on\n",
    )
    finish(COMMANDS["argmax"], tmp_path / "cut")
    assert_same(tmp_path / "cut", whole("argmax")[0])


@pytest.mark.slow
@pytest.mark.parametrize("grown", [False, True], ids=["anew", "grown"])
@pytest.mark.parametrize("command", COMMANDS)
def test_kills_at_random_moments_change_nothing(command, grown, start, finish, whole, tmp_path):
    rng, (wanted, seconds), killed = np.random.default_rng(len(command) + grown), whole(command), 0
    if grown:
        wanted = tmp_path / "whole"
        finish((*COMMANDS[command], *SMALLER[command]), wanted)
        began = time.monotonic()
        finish(COMMANDS[command], wanted)
        seconds = time.monotonic() - began
    for k in range(MOMENTS):
        out = tmp_path / f"cut-{k}"
        if grown:
            finish((*COMMANDS[command], *SMALLER[command]), out)
        process, _ = start(COMMANDS[command], out)
        time.sleep(rng.uniform(0, 0.8 * seconds))
        (process.kill, process.terminate)[k % 2]()  # nothing, if it has ended
        process.join()
        killed += process.exitcode != 0
        finish(COMMANDS[command], out)
        assert_same(out, wanted)
    assert killed >= MOMENTS / 4, "nearly all ended before they were killed"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_line_and_the_run_goes_on_once_there_is_room(command, start, finish, whole, tmp_path):
    """Nothing half-written counts as done."""
    out, refused = tmp_path / "out", 0
    for largest_file in (0, 400, 4_000, 20_000):
        code, error = outcome(*start(COMMANDS[command], out, largest_file=largest_file))
        if code:
            refused += 1
            assert code == 2 and error.startswith(f"error: {out}/") and "file too large" in error, error
            assert error.count("\n") == 1
    assert refused >= 3
    finish(COMMANDS[command], out)
    assert_same(out, whole(command)[0])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_larger_run_goes_on_with_a_smaller(command, finish, whole, tmp_path):
    """The same responses as the larger run alone; log-likelihoods as far as other batches let them be."""
    finish((*COMMANDS[command], *SMALLER[command]), tmp_path / "grown")
    finish(COMMANDS[command], tmp_path / "grown")
    name = {"diagnose": "pool", "argmax": "argmax", "compare": "compare"}[command]
    grown, alone = (pd.read_parquet(folder / f"{name}.parquet") for folder in (tmp_path / "grown", whole(command)[0]))
    numbers = alone.select_dtypes("floating").columns.drop("forward_tokens", errors="ignore")
    pd.testing.assert_frame_equal(grown.drop(columns=numbers), alone.drop(columns=numbers), check_dtype=False)
    pd.testing.assert_frame_equal(grown[numbers], alone[numbers], atol=1e-4, rtol=1e-4)
    stages = json.loads((tmp_path / "grown/run.json").read_text())["stages"]
    assert len(stages) == 2 and stages[0]["n_prompts"] < stages[1]["n_prompts"]


def test_a_command_waits_for_the_one_that_works(start, whole, tmp_path):
    """Without --wait it says so and stops, and neither changes what the other makes."""
    with hold(tmp_path / "out"):
        code, error = outcome(*start(COMMANDS["argmax"], tmp_path / "out"))
        assert code == 2 and "another process works on this run" in error
        waiting, printed = start((*COMMANDS["argmax"], "--wait"), tmp_path / "out")
        time.sleep(1)
        assert waiting.is_alive() and not (tmp_path / "out/run.json").exists()
    assert outcome(waiting, printed) == (0, "")
    assert_same(tmp_path / "out", whole("argmax")[0])
