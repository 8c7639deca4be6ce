"""A whole diagnosis of a pool of 10^6 rows, in every shape, against reading its numbers and sorting them once."""

import pytest

from experiments.pool_size import measure, write_pool

pytestmark = pytest.mark.benchmark

#: Prompts and samples of each, and how many times reading and one sort it may take: 20 seconds, 1.5 GB.
SHAPES = [(1_000, 1_000), (100_000, 10), (10, 100_000), (1, 1_000_000)]
SECONDS, GIGABYTES = 20, 1.5


@pytest.mark.parametrize(("prompts", "samples"), SHAPES)
def test_a_million_rows(prompts, samples, tmp_path, report):
    cost = measure(write_pool(tmp_path / "pool.parquet", prompts, samples))
    times = cost["seconds"] / cost["read_and_sort"]
    detail = (
        f"diagnose --pool, report included: {cost['seconds']:.1f} processor seconds (of {SECONDS}), {cost['gigabytes']:.2f} GB "
        f"(of {GIGABYTES}); {times:,.0f} times reading the numbers and one sort"
    )
    room = min(SECONDS / cost["seconds"], GIGABYTES / cost["gigabytes"])
    report(f"diagnosis of {prompts:,} × {samples:,} samples", room, 1.0, detail)
