"""Prediction of best-of-N beyond the pool: right where the law is known, calibrated where it is not."""

import numpy as np
import pandas as pd
import pytest

from sharptheory.measure.prediction import calibration, predict_best_of_n, predicted_curve
from sharptheory.theory import laws


def drawn(policies: np.ndarray, correct: np.ndarray, m: int, seed: int) -> pd.DataFrame:
    """m samples from each row of a table ``[X, Y]``."""
    rng, rows = np.random.default_rng(seed), []
    for x, probs in enumerate(policies):
        for j, y in enumerate(rng.choice(len(probs), size=m, p=probs)):
            rows.append((x, j, (int(y),), np.log(probs[y]), bool(correct[x, y]), True))
    return pd.DataFrame(rows, columns=["prompt_id", "sample_id", "tokens", "log_likelihood", "correct", "finished"])


def exact(policies: np.ndarray, correct: np.ndarray, n: float) -> np.ndarray:
    return (np.exp(laws.best_of_n(np.log(policies), n)) * correct).sum(axis=1)


@pytest.fixture(scope="module")
def tables():
    """200 policies over 300 responses, the likelier the more often correct."""
    rng = np.random.default_rng(0)
    policies = rng.dirichlet(np.full(300, 0.3), size=200)
    rank = policies.argsort(axis=1).argsort(axis=1) / 300
    return policies, rng.random(policies.shape) < 0.2 + 0.5 * rank


def test_everything_seen_is_the_exact_law():
    """Three responses, all of them drawn: the prediction is the law itself at every N, 10^12 included."""
    policies, correct = np.array([[0.5, 0.3, 0.2]]), np.array([[False, True, False]])
    pool = drawn(policies, correct, 60, 0)
    n = np.array([1, 2, 7.5, 100, 1e12])
    predicted = predict_best_of_n(pool, n).to_numpy()[0]
    np.testing.assert_allclose(predicted, [exact(policies, correct, k)[0] for k in n], atol=1e-6)


def test_predictions_from_32_samples_reach_n_256(tables):
    """Within three standard errors over 200 prompts of the exact law, at 8 times the pool."""
    policies, correct = tables
    pool = drawn(policies, correct, 32, 1)
    for n in (1, 8, 32, 128, 256):
        error = predict_best_of_n(pool, [n]).to_numpy()[:, 0] - exact(policies, correct, n)
        assert abs(error.mean()) < 3 * error.std() / np.sqrt(len(error)) + 0.01


@pytest.mark.slow
def test_intervals_cover(tables):
    """The 95 % interval over prompts holds the exact value in at least 85 % of 40 pools at up to 4 times the pool."""
    policies, correct = tables
    n, hits = np.array([32, 64, 128]), []
    for seed in range(40):
        chosen = np.random.default_rng(seed).choice(200, size=60, replace=False)
        estimate = predicted_curve(drawn(policies[chosen], correct[chosen], 32, seed), n, seed=seed)
        truth = np.array([exact(policies, correct, k).mean() for k in n])
        hits.append((estimate.low <= truth) & (truth <= estimate.high))
    assert np.mean(hits) > 0.85


def test_calibration_measures_on_other_samples(tables):
    policies, correct = tables
    table = calibration(drawn(policies, correct, 64, 3))
    assert table["n"].iloc[0] == 16 and table["n"].iloc[-1] == 48
    assert table["agrees"].all()
    assert ((table["low"] <= table["predicted"]) & (table["predicted"] <= table["high"])).all()


def test_a_reward_of_its_own_and_any_value(tables):
    """Selecting by a reward unrelated to correctness leaves accuracy as it is; log-likelihood may be the value."""
    policies, correct = tables
    pool = drawn(policies, correct, 32, 2)
    pool["noise"] = np.random.default_rng(0).random(len(pool))
    table = predict_best_of_n(pool, [1, 4, 16], reward="noise")
    assert abs(table[16.0].mean() - table[1.0].mean()) < 0.08
    rising = predict_best_of_n(pool, [1, 10, 100], value="log_likelihood").mean()
    assert rising.is_monotonic_increasing and rising.iloc[-1] <= 0
