"""Trainings killed at any moment, and while anything of them is written, end with the files of one that was not."""

import functools
import signal
import time

import numpy as np
import pytest

from tests.llm.training.killed import TRAININGS, content, ended, killed_after, start, train


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Of a kind of training: content, seconds and all changes of a folder that nothing has interrupted."""

    @functools.cache
    def of(kind):
        folder = tmp_path_factory.mktemp(kind)
        begun = time.monotonic()
        assert ended(start(folder / "out", kind, listing=folder / "changes")) == 0
        return content(folder / "out"), time.monotonic() - begun, (folder / "changes").read_text().splitlines()

    return of


def assert_ends_as(folder, kind, expected):
    assert ended(start(folder, kind)) == 0
    found = content(folder)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


def test_a_kill_while_a_checkpoint_is_written(tmp_path):
    """The second checkpoint of the first round has weights and optimizer, and lacks what is written last."""
    train(tmp_path / "whole")
    checkpoint = tmp_path / "out/round-1/checkpoints/checkpoint-2"
    killed = start(tmp_path / "out", "sft", kill_before=str(checkpoint / "trainer_state.json"))
    assert ended(killed) == -signal.SIGKILL
    assert (checkpoint / "optimizer.pt").is_file() and not (checkpoint / "trainer_state.json").exists()
    assert_ends_as(tmp_path / "out", "sft", content(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRAININGS)
def test_kills_at_random_moments(tmp_path, kind, whole):
    """Three each in two folders, by SIGKILL and SIGTERM in turn."""
    expected, seconds, _ = whole(kind)
    rng, hit = np.random.default_rng(list(TRAININGS).index(kind)), 0
    for i in range(6):
        folder = tmp_path / str(i % 2)
        hit += killed_after(
            start(folder, kind), rng.uniform(0.1, seconds), (signal.SIGKILL, signal.SIGTERM)[i // 2 % 2]
        )
    assert hit >= 2
    for i in range(2):
        assert_ends_as(tmp_path / str(i), kind, expected)


#: What is written last of each thing that a training makes, and what comes in the middle of it.
AIMS = ("evaluation.jsonl", "digests.json.partial", "trainer_state.json", "scheduler.pt", "adapter_config.json",
        "evaluation.parquet.partial", "baselines.json.partial", "model/config.json", "pool.parquet.partial")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRAININGS)
def test_kills_at_changes_of_the_folder(tmp_path, kind, whole):
    """Before six changes evenly spaced over all, and at one of each thing that is written."""
    expected, _, changes = whole(kind)
    rng = np.random.default_rng(list(TRAININGS).index(kind))
    aimed = [[k for k, path in enumerate(changes) if path.endswith(aim)] for aim in AIMS]
    at = {*np.linspace(1, len(changes) - 1, 6, dtype=int), *(rng.choice(found) for found in aimed if found)}
    assert len(at) > 10
    for k in map(int, at):
        killed = start(tmp_path / str(k), kind, kill_at=k)
        assert ended(killed) == -signal.SIGKILL, changes[k]
        assert_ends_as(tmp_path / str(k), kind, expected)


# Two processes --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_of_processes_on_one_folder_one_trains_and_the_others_stop_or_wait(tmp_path, whole):
    waits, *others = [start(tmp_path / "out", "sft", wait=i == 0) for i in range(3)]
    assert ended(waits) == 0 and sorted(map(ended, others)) in ([0, 1], [1, 1])
    assert content(tmp_path / "out") == whole("sft")[0]


@pytest.mark.slow
def test_processes_that_share_a_baseline_wait_for_one_another(tmp_path):
    """Each trains in a folder of its own; what they share is measured once."""
    names, shared = ("one", "two", "three"), tmp_path / "base"
    all_three = [start(tmp_path / name, "sft", baseline=shared) for name in names]
    assert [ended(process) for process in all_three] == [0, 0, 0]
    first, *others = (content(tmp_path / name) for name in names)
    assert all(other == first for other in others)
    alone = start(tmp_path / "alone", "sft", baseline=tmp_path / "alone-base")
    assert (
        ended(alone) == 0
        and content(tmp_path / "alone") == first
        and content(tmp_path / "alone-base") == content(shared)
    )
