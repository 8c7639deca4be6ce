"""A training that was stopped, damaged or finished, run again: it ends as one that was not, or says what to mend."""

import json
import resource
import shutil

import pandas as pd
import pytest

from sharptheory.errors import UserError
from sharptheory.llm.sampling import GROWS
from sharptheory.llm.training import fit, sharpen
from sharptheory.llm.training.evaluation import Evaluation
from sharptheory.llm.training.sharpen import training_seconds
from sharptheory.measure.imports import read_pool
from sharptheory.runs import Lines, claim
from tests.llm.training.killed import content, train
from tests.llm.training.tiny import tiny, tiny_oracle

#: Two rounds of three epochs of two steps, each with a checkpoint.
QUICK = dict(certify=False, decode=False)


class Killed(BaseException):
    """Nothing but a kill is this."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train(folder, **QUICK)
    return folder


@pytest.fixture(scope="module")
def whole(finished):
    return content(finished)


def stop_at_row(monkeypatch, row: int, *, after: bool):
    """Let a training be killed before or after the n-th line of ``evaluation.jsonl`` is written."""
    write = Lines.write

    def killing(self, *rows):
        last = self.path.name == "evaluation.jsonl" and len(self.rows) == row
        if last and not after:
            raise Killed
        write(self, *rows)
        if last:
            raise Killed

    monkeypatch.setattr(Lines, "write", killing)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Killed while the second epoch of the second round is measured: its last checkpoint is of step 3 of 6."""
    folder = tmp_path_factory.mktemp("stopped") / "out"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        stop_at_row(patch, 5, after=False)
        train(folder, **QUICK)
    return folder


def checkpoints(folder, round_=2) -> dict:
    return {int(path.name.rpartition("-")[2]): path for path in (folder / f"round-{round_}/checkpoints").iterdir()}


@pytest.fixture()
def folder(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "out")


def ends_as(folder, whole) -> bool:
    train(folder, **QUICK)
    found = content(folder)
    return found.keys() == whole.keys() and [name for name in found if found[name] != whole[name]] == []


# Kills ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "after"), [(0, True), (3, False), (5, True), (6, False)])
def test_each_evaluation_is_made_once_whenever_it_is_killed(tmp_path, monkeypatch, whole, row, after):
    """Before or after a row is written: of the base, the last of the first round, one of the last round, the last."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        stop_at_row(patch, row, after=after)
        train(tmp_path, **QUICK)
    measured, measure = [], Evaluation.__call__
    monkeypatch.setattr(Evaluation, "__call__", lambda *given: measured.append(1) or measure(*given))
    assert ends_as(tmp_path, whole) and len(measured) == 7 - row - after
    assert len((tmp_path / "evaluation.jsonl").read_text().splitlines()) == 7


@pytest.mark.parametrize("kind", ["sft", "adapters"])
def test_a_stop_at_any_stage(tmp_path, kind):
    """By exceptions in place of kills, one after the other in one folder; the base model is what it was."""
    train(tmp_path / "whole", kind)
    oracle = tiny_oracle(tiny())
    stages = {"certifying": 2, "baseline": 2, "sampling": 2, "training": 9, "trained model": 2}
    for stage, times in stages.items():
        seen = []

        def progress(name, *_, stage=stage, times=times, seen=seen):
            seen.append(name)
            if name == stage and seen.count(name) == times:
                raise Killed

        with pytest.raises(Killed):
            train(tmp_path / "out", kind, oracle=oracle, progress=progress)
    train(tmp_path / "out", kind, oracle=oracle)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_steps_done_again_count_once_in_the_seconds(folder):
    """What was trained after the last checkpoint, and again after the kill, costs what it cost the last time."""
    train(folder, **QUICK)
    times = pd.read_json(folder / "times.jsonl", lines=True)
    assert (times["seconds"] > 0).all() and times[["round", "step"]].drop_duplicates().shape == (12, 2)
    calls = [(1, 1, 8), (1, 2, 4), (1, 1, 1), (2, 1, 16)]
    lines = [json.dumps({"round": round_, "step": step, "seconds": seconds}) for round_, step, seconds in calls]
    (folder / "times.jsonl").write_text("\n".join(lines) + "\n")
    assert training_seconds(folder) == 4 + 1 + 16


def test_every_stage_reports_its_progress(tmp_path):
    calls = []
    train(tmp_path, progress=lambda *stage: calls.append(stage))
    order = list(dict.fromkeys(name for name, *_ in calls))
    assert order == ["certifying", "baseline", "sampling", "training", "trained model"]
    assert [(done, total) for name, done, total in calls if name == "training"] == [(k, 6) for k in range(1, 7)] * 2
    for stage, total in (("certifying", 4), ("baseline", 4), ("sampling", 6), ("trained model", 4)):
        assert [call for call in calls if call[0] == stage][-1] == (stage, total, total)


# Damage ---------------------------------------------------------------------------------------------------------------


def truncate(path, size=100):
    path.write_bytes(path.read_bytes()[:size])


def flip(path):
    """64 bytes in the middle: the size is what it was."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(255 - byte for byte in content[middle : middle + 64])
    path.write_bytes(content)


def emptied(checkpoint):
    for path in checkpoint.iterdir():
        path.unlink()


DAMAGES = {
    "nothing in it": emptied,
    "no mark": lambda checkpoint: (checkpoint / fit.MARK).unlink(),
    "half a mark": lambda checkpoint: (checkpoint / fit.MARK).write_text('{"model'),
    "no state": lambda checkpoint: (checkpoint / "trainer_state.json").unlink(),
    "an empty state": lambda checkpoint: (checkpoint / "trainer_state.json").write_text(""),
    "half a model": lambda checkpoint: truncate(checkpoint / "model.safetensors"),
    "half an optimizer": lambda checkpoint: truncate(checkpoint / "optimizer.pt"),
    "other weights": lambda checkpoint: flip(checkpoint / "model.safetensors"),
    "another optimizer": lambda checkpoint: flip(checkpoint / "optimizer.pt"),
    "another state": lambda checkpoint: flip(checkpoint / "trainer_state.json"),
    "another schedule": lambda checkpoint: flip(checkpoint / "scheduler.pt"),
    "other random numbers": lambda checkpoint: flip(checkpoint / "rng_state.pth"),
    "a mark of something else": lambda checkpoint: (checkpoint / fit.MARK).write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_torn_or_damaged_checkpoint_gives_way_to_an_older_one(folder, whole, damage, monkeypatch):
    assert sorted(checkpoints(folder)) == [2, 3]
    damage(checkpoints(folder)[3])
    taken, last = [], fit.last_checkpoint
    monkeypatch.setattr(
        fit, "last_checkpoint", lambda *given, **named: taken.append(last(*given, **named)) or taken[-1]
    )
    assert ends_as(folder, whole)
    assert [path and path.rpartition("-")[2] for path in taken] == ["6", "2"]


def test_a_round_without_a_whole_checkpoint_begins_anew(folder, whole):
    for checkpoint in checkpoints(folder).values():
        truncate(checkpoint / "scheduler.pt")
    assert ends_as(folder, whole)


def test_the_rank_of_a_checkpoint_is_its_step_and_what_is_no_checkpoint_is_left(tmp_path):
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-100"):
        (tmp_path / name).mkdir()
        (tmp_path / name / fit.MARK).write_text("{}")
    (tmp_path / "checkpoint-11").write_text("a file")
    (tmp_path / "checkpoint-best").mkdir()
    assert fit.last_checkpoint(tmp_path, before=101) == str(tmp_path / "checkpoint-100")
    assert fit.last_checkpoint(tmp_path, before=100) == str(tmp_path / "checkpoint-10")
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-9", "checkpoint-10", "checkpoint-best"}
    assert fit.last_checkpoint(tmp_path, before=9) is None
    assert fit.last_checkpoint(tmp_path / "new") is None and (tmp_path / "new").is_dir()


def test_a_torn_line_of_the_evaluation_is_measured_again(folder, whole):
    lines = (folder / "evaluation.jsonl").read_bytes()
    (folder / "evaluation.jsonl").write_bytes(lines[:-40])
    assert ends_as(folder, whole)


@pytest.mark.parametrize(
    ("epoch", "line"), [(1, '{"round": 1, "epo'), (2, '{"round": 1, "epo'), (3, '{"round": 1, "epoch": 3}')]
)
def test_a_damaged_line_is_named_and_without_it_its_epoch_is_measured_again(folder, whole, epoch, line):
    """Of the first round, which has ended: also where no checkpoint from before that epoch is left."""
    path = folder / "evaluation.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:epoch], line + "\n", *lines[epoch + 1 :]]))
    with pytest.raises(UserError, match=rf"evaluation\.jsonl:{epoch + 1} is damaged; delete the line"):
        train(folder, **QUICK)
    path.write_text("".join([*lines[:epoch], *lines[epoch + 1 :]]))
    train(folder, **QUICK)
    found = content(folder)
    rows = found.pop("evaluation.jsonl").splitlines(), whole["evaluation.jsonl"].splitlines()
    assert sorted(rows[0]) == sorted(rows[1])
    assert {name for name in found if found[name] != whole[name]} == set() and found.keys() < whole.keys()


RESULT_DAMAGES = {
    "half the baselines": lambda folder: truncate(folder / "baselines.json", 20),
    "no baselines": lambda folder: (folder / "baselines.json").unlink(),
    "half an evaluation": lambda folder: truncate(folder / "evaluation.parquet", 20),
    "another log": lambda folder: flip(folder / "log.parquet"),
    "an empty model": lambda folder: emptied(folder / "model"),
    "no model": lambda folder: shutil.rmtree(folder / "model"),
    "other weights": lambda folder: flip(folder / "model/model.safetensors"),
    "no mark": lambda folder: (folder / fit.MARK).unlink(),
}


@pytest.mark.parametrize("damage", RESULT_DAMAGES.values(), ids=RESULT_DAMAGES)
def test_a_damaged_finished_training_is_finished_again_without_sampling_or_measuring(
    finished, whole, tmp_path, damage, monkeypatch
):
    folder = shutil.copytree(finished, tmp_path / "out")
    damage(folder)
    monkeypatch.setattr(Evaluation, "__call__", None)
    assert ends_as(folder, whole)


def test_what_is_put_beside_a_trained_model_is_no_damage(finished, tmp_path, monkeypatch):
    folder = shutil.copytree(finished, tmp_path / "out")
    (folder / "model/README.md").write_text("a card")
    monkeypatch.setattr(sharpen, "train", None)
    train(folder, **QUICK)
    assert (folder / "model/README.md").read_text() == "a card"


@pytest.mark.parametrize("limit", [30_000, 150_000])
def test_a_full_disk_while_a_checkpoint_is_written(tmp_path, whole, limit):
    """Weights (85 kB, by safetensors) or the optimizer (175 kB, by torch) do not fit: a clear error, and on with room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: .*checkpoint-1|No space left on device: .*checkpoint-1"):
            train(tmp_path, **QUICK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "round-1/checkpoints").iterdir()) == []
    assert ends_as(tmp_path, whole)


def test_what_is_no_failure_to_write_is_not_taken_for_one(tmp_path):
    with pytest.raises(RuntimeError, match="shapes do not match"), fit.saving(tmp_path):
        raise RuntimeError("shapes do not match")
    with pytest.raises(OSError, match=r"No space left on device: .*model"), fit.saving(tmp_path / "model"):
        raise RuntimeError("[enforce fail at inline_container.cc:858] . PytorchStreamWriter failed writing file data/0")


# Folders --------------------------------------------------------------------------------------------------------------


def test_a_finished_training_is_read_and_not_changed(tmp_path, monkeypatch):
    table, base = train(tmp_path, **QUICK)
    stamps = lambda: {  # noqa: E731
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in tmp_path.rglob("*")
        if path.is_file() and path.name != "run.lock"
    }
    before = stamps()
    monkeypatch.setattr(Evaluation, "__call__", None)
    again, same = train(tmp_path, **QUICK)
    pd.testing.assert_frame_equal(again, table)
    assert same == base and stamps() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(learning_rate=1e-3), "learning rate is 0.004 there and 0.001 here"),
        (dict(n_eval=9), "n eval is 8 there and 9 here"),
        (dict(n_baseline=9), "n baseline is 8 there and 9 here"),
        (dict(eval_every=2), "eval every is 1 there and 2 here"),
        (dict(certify=True), "certify is False there and True here"),
        (dict(decode=True), "decode is False there and True here"),
        (dict(identity={"model": "another"}), "model is None there and 'another' here"),
        (dict(oracle=tiny_oracle(tiny(), batch_tokens=64)), "batch tokens is 65536 there and 64 here"),
        (dict(foreign=True, pool="round-1/pool.parquet"), "samples to learn from"),
    ],
)
def test_another_training_is_refused_in_words(folder, change, words):
    if "pool" in change:
        change |= {"pool": folder / change["pool"]}
    before = content(folder)
    with pytest.raises(UserError, match=words):
        train(folder, **QUICK | change)
    assert content(folder) == before


def test_force_discards_all_of_a_training_and_nothing_else(folder, whole):
    with claim(folder / "report", {"content": "samples"}):
        (folder / "report/pool.parquet").write_text("another run, though in this folder")
    train(folder, learning_rate=1e-3, force=True, **QUICK)
    assert json.loads((folder / "run.json").read_text())["facts"]["learning_rate"] == 1e-3
    found = content(folder)
    assert (
        found["round-1/pool.parquet"] == whole["round-1/pool.parquet"] and found["log.parquet"] != whole["log.parquet"]
    )
    assert (folder / "report/pool.parquet").is_file()


def test_force_discards_parts_with_damaged_records_too(tmp_path):
    """As their refusal says."""
    train(tmp_path)
    whole = content(tmp_path)
    for part in ("argmax", "baseline", "round-1", "round-2", "trained"):
        (tmp_path / part / "run.json").write_text('{"facts"')
    (tmp_path / fit.MARK).unlink()
    with pytest.raises(UserError, match=r"argmax/run\.json is damaged.*discard the run with --force"):
        train(tmp_path)
    train(tmp_path, force=True)
    assert content(tmp_path) == whole


def test_force_leaves_what_belongs_to_others_in_place_of_a_part(tmp_path):
    facts = {"content": "samples", "n_prompts": 4, "samples": 8}
    with claim(tmp_path / "out/baseline", facts, grows=GROWS):
        (tmp_path / "out/baseline/pool.parquet").write_text("of a run of its own")
    with pytest.raises(UserError, match="out/baseline holds a different run"):
        train(tmp_path / "out", force=True, **QUICK)
    (tmp_path / "out/baseline/run.json").write_text('{"facts"')
    with pytest.raises(UserError, match=r"out/baseline/run\.json is damaged"):
        train(tmp_path / "other", baseline=tmp_path / "out", force=True, **QUICK)
    assert (tmp_path / "out/baseline/pool.parquet").read_text() == "of a run of its own"


def test_trainings_share_a_baseline_that_belongs_to_none(tmp_path, monkeypatch):
    shared = tmp_path / "base"
    one, _ = train(tmp_path / "one", baseline=shared, decode=False)
    stamp = (shared / "baseline/pool.parquet").stat().st_mtime_ns
    other, _ = train(tmp_path / "other", learning_rate=1e-3, baseline=shared, decode=False)
    assert (shared / "baseline/pool.parquet").stat().st_mtime_ns == stamp
    pd.testing.assert_series_equal(one.iloc[0], other.iloc[0])
    for name in ("argmax", "baseline"):
        assert "part_of" not in json.loads((shared / name / "run.json").read_text())["facts"]
        assert not (tmp_path / "one" / name).exists()
    assert json.loads((tmp_path / "one/round-1/run.json").read_text())["facts"]["part_of"] == "training"


def test_what_cannot_be_learnt_from_claims_no_folder(tmp_path, stopped):
    """Whatever can be known at once."""
    pool = read_pool(stopped / "round-1/pool.parquet")
    given = tmp_path / "given.parquet"
    pool.frame().drop(columns="correct").to_parquet(given)
    tight = tiny_oracle(tiny())
    tight.max_new_tokens = 15
    for options, words in [
        (dict(pool=tmp_path / "none.parquet"), "none.parquet does not exist"),
        (dict(pool=given, reward="correctness"), "needs column 'correct'"),
        (dict(pool=given, method="bon-rlb", n=9, n_samples=16), "needs at least as many samples per prompt, found 8"),
        (
            dict(reward="p_true"),
            "51 tokens; with 4 for its response it exceeds the model's context of 16",
        ),  # the question whether it is right
        (dict(n_eval=0), "n_eval=0; expected an integer ≥ 1"),
        (dict(n_baseline=-1), "n_baseline=-1; expected"),
        (dict(eval_every=0), "eval_every=0; expected"),
        (dict(oracle=tight), "exceeds the model's context of 16"),
        (dict(lora_rank=33), r"lora_rank=33 \(--lora-rank\); expected at most 32"),
        (
            dict(reward="self_certainty"),
            r"measured while sampling; build the oracle with statistics=\['self_certainty'\]",
        ),
    ]:
        with pytest.raises(UserError, match=words):
            train(tmp_path / "out", **QUICK | options)
        assert not (tmp_path / "out").exists(), words
