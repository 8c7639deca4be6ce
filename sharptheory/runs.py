"""How a run survives being killed: a folder or a file holds one run, and goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from sharptheory.errors import UserError

RUN_FILE = "run.json"


def refuse_other_run(where: Path, held: dict, run: dict) -> None:
    """Raise a ValueError that names the first field in which the run held at `where` differs from this one."""
    for key in {**held, **run}:
        if held.get(key) != run.get(key):
            raise UserError(
                f"{where} holds a different run: {key} is {held.get(key)!r} there and {run.get(key)!r} here; "
                "choose another --out, repeat its settings to resume it, or discard it with --force"
            )


class Lines:
    """A ``.jsonl`` file that grows by one row at a time, so that a killed run goes on where it was.

    Its first line says which run it is; a different run is refused unless `force`. A half-written last line is dropped.

    Attributes:
        rows: those the file holds.
    """

    def __init__(self, path: str | Path, run: dict, *, force: bool = False):
        self.path, self.run, self.rows = Path(path), run, []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file() and not force:
            lines = self.path.read_bytes().split(b"\n")
            self.path.write_bytes(b"\n".join(lines[:-1]) + b"\n" if len(lines) > 1 else b"")
            if len(lines) > 1:
                refuse_other_run(self.path, json.loads(lines[0]), run)
                self.rows = [json.loads(line) for line in lines[1:-1]]
        self._file = self.path.open("w" if force else "a")
        if self._file.tell() == 0:
            self._file.write(json.dumps(run) + "\n")

    def write(self, *rows: dict) -> None:
        """Add rows, on disk when this returns."""
        self.rows.extend(rows)
        self._file.write("".join(json.dumps(row) + "\n" for row in rows))
        self._file.flush()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()


def claim_folder(folder: Path, run: dict, *, force: bool) -> None:
    """Make `folder` the home of `run`, or raise a ValueError if it holds a different run (unless `force`)."""
    path = folder / RUN_FILE
    pools = [old for old in (folder / "pool.parquet", folder / "pool.parts") if old.exists()]
    if force:
        for old in pools:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    elif path.is_file():
        held = json.loads(path.read_text())
        refuse_other_run(folder, held, run)
        return
    elif pools:
        raise UserError(f"{folder} holds a pool of an unknown run; choose another --out or discard it with --force")
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(run, indent=1) + "\n")
    os.replace(partial, path)
