"""One way to run: a folder holds one run, one process works on it, and what is on disk survives being killed.

`claim` takes a folder for a run: it locks it against other processes, refuses another run in words, and lets a run grow
(more prompts, more samples). Whole files are replaced in one step (`write`), lines are appended so that a torn one is
dropped (`Lines`), and a full disk leaves nothing half-written that would count as done.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from sharptheory.errors import UserError

RUN_FILE = "run.json"
LOCK_FILE = "run.lock"
#: Fact of a run that is part of the one in the folder above, and is discarded with it.
PART_OF = "part_of"
DIGEST = "blake2b:"
#: What ``run.json`` holds while a run is discarded: what a kill leaves of it is no run.
DISCARDED = {"discarded": True}
TORN = RUN_FILE + ".partial"
#: Names of fields, or name → the JSON types that a field may be of.
Fields = Sequence[str] | Mapping[str, Sequence[type]]


@dataclass(frozen=True)
class Run:
    """A folder in the hands of this process.

    Attributes:
        folder: where it is. facts: what makes it this run.
        stages: how it grew, oldest first: each the values of the facts that may grow. What a stage adds to the one before
            is worked on in the batches that it has alone, so that a run killed while it grows ends as if it was not.
    """

    folder: Path
    facts: dict
    stages: tuple[dict, ...]

    def lines(self, name: str, fields: Fields = ()) -> Lines:
        """A file of JSON lines of this run, each with `fields`, opened for appending."""
        return Lines(self.folder / name, fields)


@contextmanager
def claim(
    folder: str | Path,
    facts: dict,
    *,
    grows: Sequence[str] = (),
    sized: Callable[[dict], dict] = lambda sizes: {},
    force: bool = False,
    wait: bool = False,
) -> Iterator[Run]:
    """Take `folder` for a run, alone, until the block ends.

    Args:
        facts: JSON-ready, what makes two runs different; written to ``run.json``.
        grows: the facts that may be larger than those of the run held there, which is then extended.
        sized: of such sizes, the facts that follow from them (a hash of the first prompts); what is held must have them.
        force: discard whatever run the folder holds. wait: for another process to finish with the folder.

    Raises:
        UserError: the folder belongs to something else, is in use, holds a different run (says how it differs), or its
            ``run.json`` is damaged; nothing has been changed then.
        OSError: the folder is a file or cannot be written to.
    """
    folder, facts = Path(folder), json.loads(json.dumps(facts))
    with hold(folder, wait=wait):
        held = None if force else run_record(folder)
        if (force and (folder / RUN_FILE).exists()) or held == DISCARDED:
            _discard(folder)
            held = None
        (folder / TORN).unlink(missing_ok=True)
        stages = _stages(folder, held, facts, grows, sized)
        fixed = {key: value for key, value in facts.items() if key not in grows}
        if held is None or stages != tuple(held["stages"]):
            write(folder / RUN_FILE, json.dumps({"facts": fixed, "stages": stages}, indent=1) + "\n")
        yield Run(folder, facts, stages)


@contextmanager
def hold(folder: str | Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder, made if need be, until the block ends; one process may hold it repeatedly.

    Args:
        wait: for another process to finish with it.

    Raises:
        UserError: as `claim`, before anything is written.
    """
    folder = Path(folder)
    _refuse_foreign(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.resolve() / LOCK_FILE, is_singleton=True)
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            raise UserError(
                f"{folder}: another process works on this run; wait for it with --wait, or choose another --out"
            ) from None
    try:
        yield
    finally:
        lock.release()


def _refuse_foreign(folder: Path) -> None:
    """A folder with files but no run is somebody's own: it is neither written to nor discarded."""
    if folder.is_dir() and not (folder / RUN_FILE).exists():
        others = [
            path.name for path in folder.iterdir() if path.name not in (LOCK_FILE, TORN) and not _holds_runs_only(path)
        ]
        if others:
            raise UserError(
                f"{folder} holds {min(others)!r} but no {RUN_FILE}, so it is not known to be a run; choose an empty or new "
                "folder for --out"
            )


def _holds_runs_only(path: Path) -> bool:
    """A folder in which every file belongs to a run."""
    if path.is_symlink() or not path.is_dir():
        return False
    return (path / RUN_FILE).exists() or all(_holds_runs_only(child) for child in path.iterdir())


def _is_other_run(path: Path) -> bool:
    """A folder inside the run's own that holds a run for itself, not a part of this one; one that cannot be told is."""
    try:
        held = run_record(path)
    except (UserError, OSError):
        return True
    return held is not None and PART_OF not in held.get("facts", {})


def _discard(folder: Path) -> None:
    """Remove the run, and nothing that belongs to another one below it; a kill in the middle is made up for by `claim`."""
    write(folder / RUN_FILE, json.dumps(DISCARDED))
    _empty(folder)
    (folder / RUN_FILE).unlink()


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_dir():
            if path.name not in (RUN_FILE, LOCK_FILE):
                path.unlink()
        elif not _is_other_run(path):
            _empty(path)
            for own in (RUN_FILE, LOCK_FILE):
                (path / own).unlink(missing_ok=True)
            if not any(path.iterdir()):
                path.rmdir()


def run_record(folder: Path) -> dict | None:
    """What ``run.json`` of a folder holds: `facts` and `stages`, or `DISCARDED`; None if there is none.

    Raises:
        UserError: it is damaged.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if held == DISCARDED:
            return held
        if all(isinstance(part, dict) for part in (held["facts"], held["stages"][-1], *held["stages"])):
            return held
    except (ValueError, LookupError, TypeError):
        pass
    raise _damaged(folder)


def _damaged(folder: Path) -> UserError:
    return UserError(
        f"{folder / RUN_FILE} is damaged, or of an earlier version, so it cannot be told which run this is; restore it, "
        "choose another --out, or discard the run with --force"
    )


def _stages(
    folder: Path, held: dict | None, facts: dict, grows: Sequence[str], sized: Callable[[dict], dict]
) -> tuple[dict, ...]:
    """How the run grew up to now, this call included."""
    sizes = {key: facts[key] for key in grows}
    wanted = sizes | sized(sizes)
    if held is None:
        return (wanted,)
    last = held["stages"][-1]
    for key in {**held["facts"], **facts}:
        if key not in grows and held["facts"].get(key) != facts.get(key):
            _refuse(folder, "a different run", key, held["facts"].get(key), facts.get(key))
    # Only now, for the stages of another run need not say these numbers.
    if not all(isinstance(stage.get(key), int) for stage in held["stages"] for key in grows):
        raise _damaged(folder)
    for key in grows:
        if sizes[key] < last[key]:
            _refuse(folder, "a larger run", key, last[key], sizes[key])
    for key, value in sized({key: last[key] for key in grows}).items():
        if last.get(key) != value:
            _refuse(folder, "a different run", key, last.get(key), value)
    return tuple(held["stages"]) if last == wanted else (*held["stages"], wanted)


def _refuse(folder: Path, what: str, key: str, there, here):
    differ = f"{words(key)} is {there!r} there and {here!r} here"
    if all(isinstance(value, str) and value.startswith(DIGEST) for value in (there, here)):
        differ = f"what it has as {words(key)} is not what is given here"
    raise UserError(
        f"{folder} holds {what}: {differ}; choose another --out, repeat its settings to go on with it, or discard it with "
        "--force"
    )


def words(key: str) -> str:
    """A setting as a reader knows it."""
    return key.replace("_", " ")


def digest(content) -> str:
    """What stands for something large among the facts of a run: a hash of it, JSON-ready."""
    return DIGEST + hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()


def file_digest(path: Path) -> str:
    """A hash of all that a file holds, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


# Files ----------------------------------------------------------------------------------------------------------------


class Lines:
    """A ``.jsonl`` file that grows by whole rows. A last line that a kill has torn is dropped when it is opened.

    Args:
        fields: that every row must have; with the types that each may be of, where they are given.

    Attributes:
        rows: those the file holds.

    Raises:
        UserError: a line is damaged; names file and line.
    """

    def __init__(self, path: str | Path, fields: Fields = ()):
        self.path, self.rows = Path(path), []
        with writing(self.path):
            self._file = self.path.open("a+b", buffering=0)  # what a full disk refused must not come later
            self._file.seek(0)
            content = self._file.read()
            self._size = content.rfind(b"\n") + 1
            if self._size < len(content):
                self._file.truncate(self._size)
        try:
            for number, line in enumerate(content[: self._size].split(b"\n")[:-1], start=1):
                self.rows.append(self._parsed(number, line, fields))
        except UserError:
            self._file.close()
            raise

    def _parsed(self, number: int, line: bytes, fields: Fields) -> dict:
        types = fields if isinstance(fields, Mapping) else {}
        try:
            row = json.loads(line)
            whole = isinstance(row, dict) and row.keys() >= set(fields)
            if whole and all(type(row[name]) in allowed for name, allowed in types.items()):
                return row
        except ValueError:
            pass
        raise UserError(
            f"{self.path}:{number} is damaged; delete the line, and what it held is done again, or discard the run with "
            "--force"
        )

    def write(self, *rows: dict) -> None:
        """Add rows, all or none, on disk when this returns."""
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        with writing(self.path):
            try:
                left = memoryview(content)
                while left:
                    left = left[self._file.write(left) :]
                os.fsync(self._file.fileno())
            except BaseException:
                self._file.truncate(self._size)
                raise
        self._size += len(content)
        self.rows.extend(rows)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()


def write(path: Path, content: str | bytes | Callable[[Path], None]) -> None:
    """Make `path` hold `content` in one step: whoever reads it, and after whatever kill, finds all of it or the old.

    Args:
        content: text, bytes, or a function that writes a file at the path it is given.

    Raises:
        OSError: it cannot be written; nothing half-written is left.
    """
    put = content if callable(content) else lambda at: at.write_bytes(_encoded(content))
    if path.is_symlink() or (path.exists() and not path.is_file()):
        with writing(path):
            return put(path)  # a device or a pipe, such as /dev/stdout, is written to and not replaced
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        try:
            put(partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _encoded(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let a failure to write name the path, which the system leaves out when the disk is full."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
