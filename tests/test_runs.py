"""A folder holds one run, in the hands of one process, and what is on disk survives kills and full disks."""

import contextlib
import errno
import json
import multiprocessing
import os
import resource
import signal
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharptheory import runs
from sharptheory.errors import UserError
from sharptheory.runs import PART_OF, Lines, claim, digest, hold, write

FACTS = {"content": "samples", "temperature": 1.0, "seed": 0}
GROWING = {**FACTS, "n_prompts": 5, "samples": 3}
GROWS = ("n_prompts", "samples")


def content_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(folder, facts, **options):
    """Why a claim is refused; it must leave the folder as it was."""
    before = content_of(folder) if folder.is_dir() else None
    with pytest.raises(UserError) as error, claim(folder, facts, **options):
        raise AssertionError("it was not refused")
    if before is not None:
        after = content_of(folder)
        after.pop("run.lock", None)
        before.pop("run.lock", None)
        assert after == before
    return str(error.value)


# Claims ---------------------------------------------------------------------------------------------------------------


def test_a_claim_writes_down_what_makes_the_run(tmp_path):
    with claim(tmp_path / "a/b", FACTS) as run:
        assert run.folder == tmp_path / "a/b" and run.facts == FACTS and run.stages == ({},)
        assert json.loads((tmp_path / "a/b/run.json").read_text()) == {"facts": FACTS, "stages": [{}]}
    before = content_of(tmp_path)
    with claim(tmp_path / "a/b", FACTS):
        pass
    assert content_of(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": 0.5}, "holds a different run: temperature is 1.0 there and 0.5 here"),
        ({"max_new_tokens": 7}, "holds a different run: max new tokens is None there and 7 here"),
        ({"seed": None}, "seed is 0 there and None here"),
    ],
)
def test_a_different_run_is_refused_in_words(tmp_path, change, words):
    with claim(tmp_path, FACTS):
        pass
    message = refusal(tmp_path, FACTS | change)
    assert message.startswith(str(tmp_path)) and words in message
    assert "choose another --out, repeat its settings to go on with it, or discard it with --force" in message


def test_what_the_held_run_had_and_this_one_lacks_is_named(tmp_path):
    with claim(tmp_path, FACTS | {"judge": True}):
        pass
    assert "judge is True there and None here" in refusal(tmp_path, FACTS)


def test_two_digests_are_said_in_words(tmp_path):
    with claim(tmp_path, FACTS | {"model": digest("one")}):
        pass
    message = refusal(tmp_path, FACTS | {"model": digest("two")})
    assert "different run: what it has as model is not what is given here" in message and "blake2b" not in message
    assert "model is 'blake2b:" in refusal(tmp_path, FACTS | {"model": "mine"})


def test_a_digest_tells_contents_apart():
    assert digest(["a", "b"]) == digest(["a", "b"]) != digest(["ab"]) and digest("x").startswith("blake2b:")


def test_force_discards_the_run_and_its_parts_but_no_other_run(tmp_path):
    with claim(tmp_path, FACTS), claim(tmp_path / "round-1", FACTS | {PART_OF: "training"}):
        (tmp_path / "old.parquet").write_bytes(b"old")
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/old").write_bytes(b"old")
        (tmp_path / "round-1/old").write_bytes(b"old")
    with claim(tmp_path / "other", FACTS):
        (tmp_path / "other/precious").write_bytes(b"precious")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/run.json").write_text("[")  # whose it is cannot be told
    with claim(tmp_path, FACTS | {"seed": 1}, force=True):
        left = content_of(tmp_path)
    assert set(left) == {
        "run.json",
        "run.lock",
        "other/run.json",
        "other/run.lock",
        "other/precious",
        "broken/run.json",
    }
    assert json.loads(left["run.json"])["facts"]["seed"] == 1


def test_force_spares_runs_at_any_depth_and_does_not_follow_links(tmp_path):
    out, target = tmp_path / "out", tmp_path / "target"
    target.mkdir()
    (target / "precious").write_bytes(b"precious")
    with claim(out, FACTS):
        (out / "old").write_bytes(b"old")
        (out / "link").symlink_to(target)
        (out / "sweep").mkdir()
        (out / "sweep/old").write_bytes(b"old")
    with claim(out / "sweep/one", FACTS | {"seed": 7}):
        (out / "sweep/one/precious").write_bytes(b"precious")
        with claim(out, FACTS | {"seed": 1}, force=True):
            left = {"run.json", "run.lock", "sweep/one/run.json", "sweep/one/run.lock", "sweep/one/precious"}
            assert set(content_of(out)) == left and not (out / "link").exists()
    assert (target / "precious").exists()


def test_what_is_left_of_a_run_that_was_being_discarded_is_no_run(tmp_path):
    """Whichever command comes next, it does not go on with half of the old run."""
    with claim(tmp_path, FACTS):
        (tmp_path / "model").mkdir()
        (tmp_path / "model/weights").write_bytes(b"old")
    (tmp_path / "run.json").write_text('{"discarded": true}')
    with claim(tmp_path, FACTS):
        assert set(content_of(tmp_path)) == {"run.json", "run.lock"}


def test_a_kill_while_a_run_is_discarded_leaves_something_that_can_be_discarded(tmp_path, monkeypatch):
    with claim(tmp_path, FACTS):
        for name in ("a", "z"):
            (tmp_path / name).write_bytes(b"old")
    unlink, removed = type(tmp_path).unlink, []

    def killed(path, **options):
        if removed:
            raise KeyboardInterrupt
        removed.append(path.name)
        unlink(path, **options)

    monkeypatch.setattr(type(tmp_path), "unlink", killed)
    with pytest.raises(KeyboardInterrupt), claim(tmp_path, FACTS | {"seed": 1}, force=True):
        pass
    monkeypatch.undo()
    assert removed and removed[0] in ("a", "z")
    with claim(tmp_path, FACTS):  # not what is left of the old run, though it has the same facts
        assert set(content_of(tmp_path)) == {"run.json", "run.lock"}


def test_files_of_somebody_else_are_neither_written_to_nor_discarded(tmp_path):
    (tmp_path / "thesis.tex").write_bytes(b"precious")
    for force in (False, True):
        assert (
            "holds 'thesis.tex' but no run.json, so it is not known to be a run; choose an empty or new folder"
            in refusal(tmp_path, FACTS, force=force)
        )
    assert set(content_of(tmp_path)) == {"thesis.tex"}
    (tmp_path / "thesis.tex").rename(tmp_path / "film.partial")
    assert "holds 'film.partial' but no run" in refusal(tmp_path, FACTS)
    (tmp_path / "film.partial").unlink()
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/notes").write_text("precious")
    assert "holds 'deep' but no run" in refusal(tmp_path, FACTS, force=True)


def test_runs_below_a_folder_do_not_make_it_somebody_elses(tmp_path):
    for name in ("argmax", "sweep/one"):
        with claim(tmp_path / name, FACTS):
            pass
    with claim(tmp_path, FACTS):
        pass


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    (tmp_path / "run.json.partial").write_text("{")
    with claim(tmp_path, FACTS):
        assert set(content_of(tmp_path)) == {"run.json", "run.lock"}
    (tmp_path / "film.partial").write_text("precious")
    with claim(tmp_path, FACTS):
        assert (tmp_path / "film.partial").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"5", b'{"facts": {}}', b'{"facts": [], "stages": [{}]}', b'{"facts": {}, "stages": []}', b"\xff",
     json.dumps({"facts": FACTS, "stages": [{"n_prompts": "5", "samples": 3}]}).encode(),
     json.dumps({"facts": FACTS, "stages": [{"samples": 3}]}).encode(),
     b'{"facts": {}, "stages": 7}', b'{"facts": {}, "stages": [5]}', b'{"facts": {}, "stages": [[]]}'],
)  # fmt: skip
def test_a_damaged_record_is_named_with_its_cure(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    message = refusal(tmp_path, GROWING, grows=GROWS)
    assert message.startswith(f"{tmp_path / 'run.json'} is damaged") and "--force" in message
    with claim(tmp_path, GROWING, grows=GROWS, force=True) as run:
        assert run.stages == ({"n_prompts": 5, "samples": 3},)


# Growth ---------------------------------------------------------------------------------------------------------------


def grown(folder, **sizes):
    with claim(folder, GROWING | sizes, grows=GROWS, sized=lambda s: {"prompts": "p" * s["n_prompts"]}) as run:
        return [(stage["n_prompts"], stage["samples"], stage["prompts"]) for stage in run.stages]


def test_a_run_remembers_how_it_grew(tmp_path):
    assert grown(tmp_path) == [(5, 3, "ppppp")]
    assert grown(tmp_path, samples=4) == [(5, 3, "ppppp"), (5, 4, "ppppp")]
    assert grown(tmp_path, samples=4) == [(5, 3, "ppppp"), (5, 4, "ppppp")]
    assert grown(tmp_path, n_prompts=6, samples=8) == [(5, 3, "ppppp"), (5, 4, "ppppp"), (6, 8, "pppppp")]
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["facts"] == FACTS and [stage["samples"] for stage in record["stages"]] == [3, 4, 8]


def test_a_run_that_does_not_grow_is_a_different_one(tmp_path):
    """Its record has no numbers to compare, and is whole for all that."""
    with claim(tmp_path, {"content": "report", "n_prompts": 5}):
        pass
    message = refusal(tmp_path, GROWING, grows=GROWS)
    assert "holds a different run: content is 'report' there and 'samples' here" in message and "damaged" not in message


@pytest.mark.parametrize("less", [{"n_prompts": 4}, {"samples": 2}, {"n_prompts": 9, "samples": 2}])
def test_a_run_does_not_shrink(tmp_path, less):
    grown(tmp_path)
    key = "samples" if "samples" in less else "n_prompts"
    words = f"holds a larger run: {key.replace('_', ' ')} is {GROWING[key]} there and {less[key]} here"
    assert words in refusal(tmp_path, GROWING | less, grows=GROWS, sized=lambda s: {"prompts": "p" * s["n_prompts"]})


def test_a_larger_run_must_begin_with_the_smaller(tmp_path):
    grown(tmp_path)
    message = refusal(
        tmp_path, GROWING | {"n_prompts": 6}, grows=GROWS, sized=lambda s: {"prompts": "q" * s["n_prompts"]}
    )
    assert "holds a different run: prompts is 'ppppp' there and 'qqqqq' here" in message


# Two processes --------------------------------------------------------------------------------------------------------


def hold_until(folder, released, held):
    with claim(folder, FACTS):
        held.set()
        released.wait(30)


@pytest.fixture()
def other_process(tmp_path):
    """Holds the folder until it is told to let go."""
    context = multiprocessing.get_context("spawn")
    released, held = context.Event(), context.Event()
    process = context.Process(target=hold_until, args=(tmp_path / "run", released, held))
    process.start()
    assert held.wait(30)
    yield released
    released.set()
    process.join(30)


def test_a_second_process_says_so_and_stops_or_waits(other_process, tmp_path):
    for _ in range(2):
        words = "another process works on this run; wait for it with --wait, or choose another --out"
        assert words in refusal(tmp_path / "run", FACTS)
        assert words in refusal(tmp_path / "run", FACTS, force=True)
    started = time.monotonic()
    signal.signal(signal.SIGALRM, lambda *_: other_process.set())
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    with claim(tmp_path / "run", FACTS, wait=True):
        assert time.monotonic() - started > 0.4


def test_one_process_holds_a_folder_as_often_as_it_likes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with hold(tmp_path / "run"), claim("run", FACTS), hold("run"):
        pass
    with claim("run", FACTS):
        pass


def claim_together(folder, barrier, refused, results):
    barrier.wait(60)
    try:
        with claim(folder, FACTS) as run, run.lines("rows.jsonl") as lines:
            lines.write({"pid": os.getpid()})
            assert refused.wait(60)
    except UserError as error:
        results.put(str(error))


def test_of_several_at_once_one_runs(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, refused, results = context.Barrier(3), context.Event(), context.Queue()
    processes = [
        context.Process(target=claim_together, args=(tmp_path / "run", barrier, refused, results)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    assert all("another process works on this run" in results.get(timeout=60) for _ in range(2))
    refused.set()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len((tmp_path / "run/rows.jsonl").read_text().splitlines()) == 1


# Folders that cannot be written to ------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("text")
    for folder in (tmp_path / "file", tmp_path / "file/run"):
        with pytest.raises(OSError, match=r"/file") as error, claim(folder, FACTS):
            pass
        assert isinstance(error.value, FileExistsError | NotADirectoryError)
    assert (tmp_path / "file").read_text() == "text"


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.json'"):
        write(tmp_path / "a.json", "text")
    with Lines(tmp_path / "rows.jsonl") as lines:
        with pytest.raises(OSError, match=r"rows\.jsonl"):
            lines.write({"a": 1})
        assert lines.rows == []
    assert content_of(tmp_path) == {"rows.jsonl": b""}


# Lines ----------------------------------------------------------------------------------------------------------------


def test_lines_are_kept_and_a_torn_one_is_dropped(tmp_path):
    path, rows = tmp_path / "rows.jsonl", [{"a": 1}, {"a": "ä\u2028\x85\n"}]
    with Lines(path) as lines:
        lines.write(rows[0])
        lines.write(rows[1])
        assert lines.rows == rows
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with Lines(path) as lines:
            kept = len(lines.rows)
            assert lines.rows == rows[:kept] and kept == whole[:cut].count(b"\n")
            lines.write(*rows[kept:])
        assert path.read_bytes() == whole


@given(
    st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.lists(st.booleans())), max_size=5)
)
@settings(max_examples=50)
def test_lines_give_back_what_they_were_given(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("lines") / "rows.jsonl"
    with Lines(path) as lines:
        lines.write(*rows)
    with Lines(path) as lines:
        assert lines.rows == rows


@pytest.mark.parametrize("value", ["7", "null", '"a"', "1.5", "[]"])
def test_a_field_of_another_type_is_damage(tmp_path, value):
    """A number is not true or false, and true is no number."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": true, "n": 1, "b": null}\n{"a": ' + value + ', "n": 1}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl:2 is damaged; delete the line"):
        Lines(path, {"a": (bool,), "n": (int, float)})
    path.write_text('{"a": false, "n": true}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl:1 is damaged"):
        Lines(path, {"n": (int, float)})
    with Lines(path, {"a": (bool, type(None))}) as lines:
        assert lines.rows == [{"a": False, "n": True}]


@pytest.mark.parametrize("damaged", [b"{", b"5", b'{"b": 1}', b"\xff\xfe", b"", b"[1]"])
def test_a_damaged_line_is_named_with_its_cure(tmp_path, damaged):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + damaged + b'\n{"a": 3}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl:2 is damaged; delete the line, and what it held is done again"):
        Lines(path, ("a",))
    path.write_bytes(b'{"a": 1}\n{"a": 3}\n')
    with Lines(path, ("a",)) as lines:
        assert lines.rows == [{"a": 1}, {"a": 3}]


# A full disk, for real: the system lets no file grow beyond a limit ----------------------------------------------------


@contextlib.contextmanager
def largest_file(size):
    """Writes beyond `size` bytes fail, as they do on a full disk, and leave the part that fitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [0, 1, 10, 100, 5_000, 20_000])
def test_lines_that_do_not_fit_are_not_half_written(tmp_path, size):
    path, rows = tmp_path / "rows.jsonl", [{"a": "x" * 3_000}] * 3
    with Lines(path) as lines:
        with largest_file(size):
            for row in rows:
                with contextlib.suppress(OSError):
                    lines.write(row, row)
        kept = len(lines.rows)
        assert kept % 2 == 0 and path.read_bytes().count(b"\n") == kept
        lines.write(*rows)  # there is room again
        assert lines.rows == rows[:1] * (kept + 3)
    with Lines(path) as lines:
        assert lines.rows == rows[:1] * (kept + 3)


def test_what_was_written_before_the_disk_was_full_stays(tmp_path):
    with claim(tmp_path, FACTS) as run, run.lines("rows.jsonl", ("a",)) as lines:
        lines.write({"a": 1})
        lines.write({"a": 2}, {"a": 3})
        with largest_file(40), pytest.raises(OSError, match=r"rows\.jsonl"):
            lines.write({"a": "x" * 100})
        lines.write({"a": 4})
    assert (tmp_path / "rows.jsonl").read_text() == '{"a": 1}\n{"a": 2}\n{"a": 3}\n{"a": 4}\n'
    with pytest.raises(UserError, match=r"rows\.jsonl:1 is damaged"), claim(tmp_path, FACTS) as run:
        run.lines("rows.jsonl", ("b",))


def test_a_file_that_does_not_fit_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.json"
    write(path, "old")
    with largest_file(10):
        for content in ("x" * 100, b"x" * 100, lambda at: at.write_bytes(b"x" * 100)):
            with pytest.raises(OSError, match=r"a\.json"):
                write(path, content)
    assert content_of(tmp_path) == {"a.json": b"old"}
    write(path, lambda at: at.write_bytes(b"new"))
    assert content_of(tmp_path) == {"a.json": b"new"}


def test_a_pipe_or_a_link_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    end = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("pipe", "link"):
        write(tmp_path / name, "text")
    assert os.read(end, 10) == b"text" and (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "text"
    os.close(end)


def test_a_claim_that_does_not_fit_claims_nothing(tmp_path):
    with (
        largest_file(5),
        pytest.raises(OSError, match=r"run\.json"),
        claim(tmp_path / "run", FACTS),
    ):
        pass
    with claim(tmp_path / "run", FACTS | {"seed": 1}):
        pass


def test_an_interrupt_while_a_file_is_written_leaves_the_old_one(tmp_path):
    def interrupted(at):
        at.write_bytes(b"half")
        raise KeyboardInterrupt

    write(tmp_path / "a", "old")
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a", interrupted)
    assert content_of(tmp_path) == {"a": b"old"}
