"""Replications of SFT-Sharpening on a large table against a per-sample Python loop on the same work."""

import resource
import time

import numpy as np
import pytest

from sharptheory.learners import Simplex, sft_sharpening, simulate
from sharptheory.oracle import TableOracle
from sharptheory.theory.coverage import missing_mass
from sharptheory.theory.policies import TabularPolicy

pytestmark = pytest.mark.benchmark


def test_replications(report):
    rng = np.random.default_rng(0)
    policy = TabularPolicy.from_probs(rng.dirichlet(np.full(1_000, 0.05), size=100))
    start = time.perf_counter()
    errors = simulate.sft_errors(policy, 1_000, 64, delta=0.2, replications=10_000, rng=rng)
    ours = time.perf_counter() - start
    oracle, start = TableOracle(policy), time.perf_counter()
    learned = sft_sharpening(oracle, Simplex(policy.shape), rng.integers(100, size=1_000), 64)
    float((missing_mass(learned.log_probs, policy) > 0.2) @ policy.mu)
    one = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    assert ours < 60 and memory < 2 and len(errors) == 10_000
    detail = (
        f"10,000 replications, 100 × 1,000 table, n = 1,000, N = 64: {ours:.1f} s; one literal run takes {one:.2f} s"
    )
    report("replications of SFT-Sharpening", 10_000 * one / ours, 50, detail)
