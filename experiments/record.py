"""What every experiment shares: options from its config, results as parquet with provenance beside them."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path

import pandas as pd

from sharptheory.provenance import provenance

RESULTS = Path(__file__).with_name("results")


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
    out.mkdir(parents=True, exist_ok=True)
    table.to_parquet(out / f"{name}.parquet", index=False)
    record = {
        "config": asdict(config),
        "provenance": provenance(seed=getattr(config, "seed", None), wall_seconds=time.perf_counter() - start),
    }
    (out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"{out / name}.parquet: {len(table)} rows in {time.perf_counter() - start:.1f} s")
