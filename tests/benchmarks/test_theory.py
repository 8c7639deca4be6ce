"""Exact laws and coverage on large tables: time against plain passes of numpy in the same run, memory against the table."""

import json
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from sharptheory.theory import laws
from tests.benchmarks.test_best_of_n import clock

pytestmark = pytest.mark.benchmark


def test_best_of_n_law(report):
    """64 values of N on 1,000 × 10,000, sort included, against one argsort and 64 passes of exp."""
    table = np.log(np.random.default_rng(0).dirichlet(np.ones(10_000), size=1_000))
    out = np.empty_like(table)
    budget = clock(lambda: np.argsort(table, axis=1)) + 64 * clock(lambda: np.exp(table, out=out))

    def ours():
        for law in laws.best_of_n_laws(table, np.geomspace(1, 1e6, 64)):
            assert law.shape == table.shape

    seconds = clock(ours, repeats=1)
    detail = (
        f"64 values of N on 1,000 × 10,000: {seconds:.1f} s against {budget:.1f} s for one argsort and 64 passes of exp"
    )
    report("exact best-of-N law", budget / seconds, 1 / 3, detail)


COVERAGE = """
    import json, resource, time, numpy as np
    from sharptheory.theory.coverage import argmax_summary, c_cov_bar, coverage_coefficient, coverage_profile, margin
    from sharptheory.theory.policies import TabularPolicy
    rng = np.random.default_rng(0)
    table = np.empty((10_000, 10_000))
    for row in table:
        rng.standard_exponential(out=row)
        np.log(row / row.sum(), out=row)
    start = time.perf_counter(); table.max(axis=1); one_pass = time.perf_counter() - start
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    policy = TabularPolicy(table)
    built = time.perf_counter()
    summary = argmax_summary(policy, 0.1)
    coverage_coefficient(summary), coverage_coefficient(summary, p=2), coverage_profile(summary, np.geomspace(1, 1e5, 100))
    seconds = time.perf_counter() - built
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peak": after * 1024 / table.nbytes, "seconds": seconds, "check": built - start, "pass": one_pass}))
"""


def test_coverage_of_a_large_table(report):
    """The table is read once by its constructor, to be checked, and once by `argmax_summary`: two passes over memory."""
    out = subprocess.run([sys.executable, "-c", textwrap.dedent(COVERAGE)], capture_output=True, check=True)
    measured = json.loads(out.stdout)
    detail = (
        f"coverage quantities of a 10,000 × 10,000 table: peak memory {measured['peak']:.2f} times the table, read twice "
        f"({measured['check']:.1f} s to check it, {measured['seconds']:.1f} s to summarise it)"
    )
    report("memory of coverage", 2.5 / measured["peak"], 1, detail)


def test_expected_stopping(report):
    """E[N_μ] for p* = 1e-12 and 10,000 level sets: a sum over levels, not over 10^13 draws."""
    log_likelihood = np.log(1e-12) - np.linspace(0, 20, 10_000)
    masses = np.full(10_000, -np.log(10_000))
    start = time.perf_counter()
    expected = laws.adaptive_best_of_n(masses, laws.stopping_threshold(0.01), log_likelihood=log_likelihood).expected_n
    seconds = time.perf_counter() - start
    assert expected > 1e12
    detail = (
        f"E[N_μ] = {float(expected):.3g} at p* = 1e-12 over 10,000 level sets in {1000 * seconds:.0f} ms, against 1 s"
    )
    report("expected stopping time", 1 / seconds, 1, detail)


MAPPED = """
    import json, resource, sys, numpy as np
    from sharptheory.theory.coverage import coverage_coefficient
    from sharptheory.theory.laws import adaptive_best_of_n, best_of_n
    from sharptheory.theory.policies import TabularPolicy
    policy = TabularPolicy.from_file(sys.argv[1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    expected = policy.map(lambda rows: adaptive_best_of_n(rows, 3.0).expected_n)
    hit = policy.map(lambda rows: np.exp(best_of_n(rows, 1000).max(axis=1)))
    resident = int(open("/proc/self/status").read().split("RssAnon:")[1].split()[0])
    print(json.dumps({"anonymous": resident * 1024 / policy.log_probs.nbytes, "shape": list(expected.shape)}))
"""


def test_a_mapped_table(report, tmp_path):
    rng = np.random.default_rng(0)
    table = np.lib.format.open_memmap(tmp_path / "t.npy", "w+", np.float64, (10_000, 10_000))
    for row in table:
        weights = rng.standard_exponential(10_000)
        row[:] = np.log(weights / weights.sum())
    table.flush()
    code = textwrap.dedent(MAPPED)
    out = subprocess.run([sys.executable, "-c", code, str(tmp_path / "t.npy")], capture_output=True, check=True)
    measured = json.loads(out.stdout)
    assert measured["shape"] == [10_000]
    detail = f"E[N_μ] and best-of-1000 of a mapped 10,000 × 10,000 table: {measured['anonymous']:.2f} times its size in memory"
    report("memory of laws on a mapped table", 1 / measured["anonymous"], 2, detail)
