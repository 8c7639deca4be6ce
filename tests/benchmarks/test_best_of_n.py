"""Best-of-N curves, all subsets at once, against resampling with the same standard error."""

import time

import numpy as np
import pytest

from sharptheory.measure.best_of_n import best_of_n_curve

pytestmark = pytest.mark.benchmark

PROMPTS, SAMPLES = 1_000, 1_000
EXCESS = 1.05**2 - 1  # resampling may add 5 % to the standard error


def clock(call, repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def resample(rewards: np.ndarray, values: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """One draw of N responses per prompt, and the value of the best of them."""
    drawn = rng.integers(rewards.shape[1], size=(len(rewards), n))
    best = np.take_along_axis(rewards, drawn, axis=1).argmax(axis=1)
    return np.take_along_axis(values, np.take_along_axis(drawn, best[:, None], axis=1), axis=1)


def prefixes(rewards: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A cleverer resampler: one random order per prompt serves every N by its prefixes."""
    order = rng.permuted(np.broadcast_to(np.arange(rewards.shape[1]), rewards.shape), axis=1)
    shuffled = np.take_along_axis(rewards, order, axis=1)
    record = shuffled == np.maximum.accumulate(shuffled, axis=1)
    last = np.maximum.accumulate(np.where(record, np.arange(rewards.shape[1]), 0), axis=1)
    return np.take_along_axis(np.take_along_axis(values, order, axis=1), last, axis=1)


def test_all_n_at_once(report):
    """All prompts have one law, so the variance of the exact curve over prompts is its sampling variance ``V(N)``.

    A mean of R resamples adds ``v(1-v)/R``; equal standard error (to 5 %) takes ``R = v(1-v) / (EXCESS · V(N))``.
    """
    rng = np.random.default_rng(0)
    values = (rng.random((PROMPTS, SAMPLES)) < 0.3).astype(float)
    rewards = rng.normal(size=values.shape) + 0.7 * values
    n = np.arange(1, SAMPLES + 1)
    exact = best_of_n_curve(rewards, values, n)
    ours = clock(lambda: best_of_n_curve(rewards, values, n))
    mean = exact.mean(axis=0)
    resamples = np.maximum(mean * (1 - mean) / (EXCESS * exact.var(axis=0)), 1.0)
    grid = np.array([1, 10, 100, 300, 1000])
    each = np.interp(n, grid, [clock(lambda k=k: resample(rewards, values, k, rng)) for k in grid])
    plain = float(np.sum(each * resamples))
    clever = clock(lambda: prefixes(rewards, values, rng)) * float(resamples.max())
    detail = (
        f"1,000 prompts × 1,000 samples, N = 1..1000: {ours:.2f} s; resampling with {resamples.min():,.0f} to "
        f"{resamples.max():,.0f} resamples: {plain:,.0f} s for each N afresh, {clever:,.0f} s sharing random orders"
    )
    report("best-of-N curves", min(plain, clever) / ours, 100, detail)
