"""What a diagnosis costs: processor seconds and memory of ``sharptheory diagnose --pool`` from 10^4 to 10^7 rows, in every shape.

python -m experiments.pool_size [--quick]

Half an hour of one core; what is measured is kept in out/pool_size, and a run that was stopped goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from experiments import record

OUT = Path(__file__).parents[1] / "out" / "pool_size"
#: Prompts of a pool of so many rows, by the name of its shape.
SHAPES = {
    "10 samples a prompt": lambda rows: rows // 10,
    "1,000 prompts": lambda rows: min(1_000, rows // 10),
    "10 prompts": lambda rows: 10,
    "1 prompt": lambda rows: 1,
}
#: Exponents of the laws of responses: of probability ∝ rank^-a, from hard prompts to easy ones.
EXPONENTS = np.linspace(0.6, 2.4, 10)
RESPONSES, ANSWERS = 50_000, 40
#: Rows of one row group.
GROUP = 500_000


def write_pool(path: Path, prompts: int, samples: int, *, seed: int = 0) -> Path:
    """A pool as a model and a task would give it, text and token ids included, written piece by piece.

    Each prompt has a power law over `RESPONSES` responses; a response has one of `ANSWERS` answers or none, and the
    right answer is that of one of the prompt's three likeliest responses.

    Args:
        prompts, samples: the shape. seed: of the samples.
    """
    rng = np.random.default_rng(seed)
    log_laws = -EXPONENTS[:, None] * np.log(np.arange(1, RESPONSES + 1))
    log_laws -= np.log(np.exp(log_laws).sum(axis=1, keepdims=True))
    cumulative = np.cumsum(np.exp(log_laws), axis=1)
    writer = None
    for start in range(0, prompts * samples, GROUP):
        row = np.arange(start, min(start + GROUP, prompts * samples))
        prompt = row // samples
        law = prompt % len(EXPONENTS)
        response = np.zeros(len(row), dtype=np.int64)
        for each in np.unique(law):
            rows = law == each
            response[rows] = np.searchsorted(cumulative[each], rng.random(rows.sum()) * cumulative[each, -1])
        table = _table(prompt, row % samples, response, log_laws[law, response])
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    writer.close()
    return path


def _table(prompt: np.ndarray, sample: np.ndarray, response: np.ndarray, log_likelihood: np.ndarray) -> pa.Table:
    answer = (response * 7 + prompt) % (ANSWERS + 1)
    right = (prompt % 3 * 7 + prompt) % (ANSWERS + 1)
    length = 4 + response % 17
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    tokens = np.where(within == 0, np.repeat(response, length), (np.repeat(response, length) * 31 + within * 7) % 997)
    spelled = pc.cast(pa.array(response), pa.string())
    text = pc.binary_join_element_wise(
        "Let us think step by step, as route", spelled, "says, and the answer follows.", " "
    )
    silent = answer == ANSWERS
    return pa.table(
        {
            "prompt_id": prompt,
            "sample_id": sample,
            "prompt": pc.binary_join_element_wise("What is the answer to question", pc.cast(pa.array(prompt), pa.string()), " "),
            "response": text,
            "tokens": pa.ListArray.from_arrays(np.append(0, np.cumsum(length)).astype(np.int32), tokens.astype(np.int32)),
            "log_likelihood": log_likelihood,
            "length": length,
            "finished": np.ones(len(prompt), dtype=bool),
            "answer": pc.if_else(pa.array(silent), None, pc.cast(pa.array(answer), pa.string())),
            "correct": (answer == right) & ~silent,
            "source": pa.array(["model"]).take(pa.array(np.zeros(len(prompt), dtype=np.int64))),
        }
    )  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Rows go from `least` to `most`, a factor of ten at a time."""

    least: int = 10_000
    most: int = 10_000_000
    seed: int = 0


def compute(config: Config) -> pd.DataFrame:
    """One row for each shape and size; what a stopped run has measured of larger sizes is shown too."""
    OUT.mkdir(parents=True, exist_ok=True)
    kept, rows = OUT / "measured.jsonl", []
    known = (
        {(row["shape"], row["rows"]): row for row in map(json.loads, kept.read_text().splitlines())}
        if kept.is_file()
        else {}
    )
    size = config.least
    while size <= config.most:
        for shape, prompts in SHAPES.items():
            if (shape, size) not in known:
                file = write_pool(OUT / "pool.parquet", prompts(size), size // prompts(size), seed=config.seed)
                row = {"shape": shape, "rows": size, "prompts": prompts(size), "megabytes": file.stat().st_size / 1e6}
                known[shape, size] = row | measure(file)
                with kept.open("a") as lines:
                    lines.write(json.dumps(known[shape, size]) + "\n")
                file.unlink()
            rows.append(known[shape, size])
        size *= 10
    return pd.DataFrame(rows + [row for (_, rows_of), row in known.items() if rows_of > config.most])


def measure(file: Path) -> dict[str, float]:
    """Processor seconds and peak memory of a diagnosis of a pool, and of reading its numbers and sorting them once."""
    command = [
        sys.executable,
        "-m",
        "sharptheory",
        "diagnose",
        "--pool",
        str(file),
        "--out",
        str(file.parent / "report"),
        "--force",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} failed")
    start = time.process_time()
    numbers = pq.read_table(file, columns=["prompt_id", "log_likelihood", "length", "correct", "answer"])
    np.argsort(numbers["log_likelihood"].to_numpy())
    once = time.process_time() - start
    return {"seconds": usage.ru_utime + usage.ru_stime, "gigabytes": usage.ru_maxrss / 1e6, "read_and_sort": once}


if __name__ == "__main__":
    record.main("pool_size", __doc__, compute, Config(), quick={"most": 10_000})
