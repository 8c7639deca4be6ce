"""A pool on disk, written piece by piece while it is sampled."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool


class PoolWriter:
    """Writes a pool piece by piece so that a run killed at any moment loses no finished piece and doubles none.

    Each piece becomes a file of its own, moved into place in one step; `finish` merges them into ``pool.parquet`` the
    same way.  Files left half-written by a kill have another name and are ignored and removed.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.path = self.folder / "pool.parquet"
        self.parts = self.folder / "pool.parts"
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in [*self.folder.glob("*.partial"), *self.parts.glob("*.partial")]:
            leftover.unlink()

    def done(self) -> set[int]:
        """Prompt ids of the pieces that are safely on disk."""
        return {
            int(i)
            for part in self._pieces()
            for i in pq.read_table(part, columns=["prompt_id"])[0].unique().to_pylist()
        }

    def write(self, rows: pd.DataFrame) -> None:
        """Add the rows of some prompts, all their samples and greedy responses at once."""
        self.parts.mkdir(exist_ok=True)
        _write_atomically(rows, self.parts / f"{rows['prompt_id'].min():08d}.parquet")

    def finish(self) -> Pool:
        """Merge the pieces into ``pool.parquet``, sorted, and return the pool."""
        if self._pieces() and not self.path.is_file():
            pool = Pool.from_frame(pd.concat([pd.read_parquet(part) for part in self._pieces()]))
            _write_atomically(pool.frame(), self.path)
        for part in self._pieces():
            part.unlink()
        if self.parts.is_dir():
            self.parts.rmdir()
        return read_pool(self.path)

    def _pieces(self) -> list[Path]:
        return sorted(self.parts.glob("*.parquet"))


def _write_atomically(rows: pd.DataFrame, path: Path) -> None:
    partial = path.with_suffix(".partial")
    rows.to_parquet(partial, index=False)
    os.replace(partial, path)
