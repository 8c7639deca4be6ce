"""A pool on disk, written piece by piece while it is sampled, and grown by sampling more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sharptheory.errors import UserError
from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from sharptheory.runs import Run, write


class PoolStore:
    """The pool of a run: ``pool.parquet``, and pieces beside it until `finish` merges them.

    Each piece is a file of its own, in place in one step, so that a kill at any moment loses no finished piece and
    doubles none.
    """

    def __init__(self, run: Run):
        self.path, self.parts = run.folder / "pool.parquet", run.folder / "pool.parts"

    def done(self) -> set[tuple[int, int]]:
        """``(prompt_id, sample_id)`` of all that is safely on disk; greedy responses have sample_id -1."""
        keys = [
            table.select(["prompt_id", "sample_id"]).to_pydict() for table in self._tables(["prompt_id", "sample_id"])
        ]
        return {pair for key in keys for pair in zip(key["prompt_id"], key["sample_id"])}

    def write(self, rows: pd.DataFrame) -> None:
        """Add rows, all at once."""
        self.parts.mkdir(exist_ok=True)
        first = rows[["prompt_id", "sample_id"]].min()
        write(
            self.parts / f"{first['prompt_id']:08d}.{first['sample_id'] + 1}.parquet",
            lambda at: rows.to_parquet(at, index=False),
        )

    def finish(self) -> Pool:
        """Merge the pieces into ``pool.parquet``, sorted, and return the pool."""
        if self._pieces():
            # A kill between the two steps leaves pieces whose rows are merged already.
            rows = pd.concat([table.to_pandas() for table in self._tables()])
            pool = Pool.from_frame(rows.drop_duplicates(["prompt_id", "sample_id"]))
            write(self.path, lambda at: pool.frame().to_parquet(at, index=False))
        if self.parts.is_dir():
            shutil.rmtree(self.parts)
        return read_pool(self.path)

    def _pieces(self) -> list[Path]:
        return sorted(self.parts.glob("*.parquet"))

    def _tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        for path in [self.path] * self.path.is_file() + self._pieces():
            try:
                yield pq.read_table(path, columns=columns)
            except (pa.ArrowException, OSError) as error:
                raise UserError(
                    f"{path} is damaged ({error}); delete it, and its responses are sampled again"
                ) from error
