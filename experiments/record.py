"""What every experiment shares: options from its config, results as parquet with provenance beside them."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path

import pandas as pd

from sharptheory.provenance import provenance
from sharptheory.runs import write

RESULTS = Path(__file__).with_name("results")


def parallel(function: Callable, jobs: list[tuple]) -> list:
    """``function(*job)`` of each job, in order: on a GPU one at a time, otherwise as many as there are cores.

    Small models gain more from a core for each job than from all cores for one.
    """
    import torch

    workers = 1 if torch.cuda.is_available() else min(len(jobs), os.cpu_count() or 1)
    if workers == 1:
        return [function(*job) for job in jobs]
    with multiprocessing.get_context("spawn").Pool(workers, torch.set_num_threads, (1,)) as pool:
        return pool.starmap(function, jobs, chunksize=1)


def save(name: str, table: pd.DataFrame, config, out: Path, *, seconds: float) -> None:
    """Results as ``<name>.parquet``, with the config and where they come from in ``<name>.json``."""
    # Before anything is written, so that the revision is that of the code that ran.
    facts = provenance(seed=getattr(config, "seed", None), wall_seconds=seconds)
    out.mkdir(parents=True, exist_ok=True)
    write(out / f"{name}.parquet", lambda at: table.to_parquet(at, index=False))
    write(out / f"{name}.json", json.dumps({"config": asdict(config), "provenance": facts}, indent=1) + "\n")


def main(name: str, doc: str, compute: Callable, config, quick: dict) -> None:
    """Run ``compute(config) → DataFrame`` from the command line and save ``results/<name>.parquet`` and ``.json``.

    Args:
        config: a frozen dataclass with its defaults; numbers in it become options. quick: what `--quick` changes.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small version, for a check that it runs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    for field in fields(config):
        if type(getattr(config, field.name)) in (int, float):
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(getattr(config, field.name)))
    given = {key: value for key, value in vars(parser.parse_args()).items() if value is not None}
    out, chosen = given.pop("out"), replace(config, **(quick if given.pop("quick") else {}))
    config, start = replace(chosen, **given), time.perf_counter()
    table: pd.DataFrame = compute(config)
    save(name, table, config, out, seconds=time.perf_counter() - start)
    print(f"{out / name}.parquet: {len(table)} rows in {time.perf_counter() - start:.1f} s")
