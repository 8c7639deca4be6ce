"""Prediction of best-of-N beyond the pool: right where the law is known, calibrated where it is not."""

import itertools

import numpy as np
import pandas as pd
import pytest

from sharptheory.errors import UserError
from sharptheory.measure.prediction import (
    calibration,
    predict_best_of_n,
    predict_power,
    predicted_curve,
)
from sharptheory.measure.responses import inclusion_weights
from sharptheory.measure.rewards import REWARDS
from sharptheory.theory import laws


def sampled(policies: np.ndarray, correct: np.ndarray, m: int, seed: int) -> pd.DataFrame:
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
    """Three responses, all of them sampled: the prediction is the law itself at every N, 10^12 included."""
    policies, correct = np.array([[0.5, 0.3, 0.2]]), np.array([[False, True, False]])
    pool = sampled(policies, correct, 60, 0)
    n = np.array([1, 2, 7.5, 100, 1e12])
    predicted = predict_best_of_n(pool, n).to_numpy()[0]
    np.testing.assert_allclose(predicted, [exact(policies, correct, k)[0] for k in n], atol=1e-6)


def enumerated(probs, m, function):
    """Mean of a function of the sampled responses over all samples of size m."""
    samples = itertools.product(range(len(probs)), repeat=m)
    return sum(np.prod(np.array(probs)[list(ys)]) * function(np.array(ys)) for ys in samples)


def pool_of(probs, correct, ys) -> pd.DataFrame:
    probs, correct = np.array(probs), np.array(correct, dtype=bool)
    columns = {"prompt_id": 0, "tokens": [[int(y)] for y in ys], "log_likelihood": np.log(probs[ys])}
    return pd.DataFrame(columns | {"correct": correct[ys]})


@pytest.mark.parametrize(
    ("probs", "m"), [((0.6, 0.4), 2), ((0.501, 0.499), 2), ((0.4, 0.35, 0.25), 4), ((0.9, 1e-9), 3)]
)
def test_horvitz_thompson_masses_are_unbiased(probs, m):
    """The mass of each response, by enumeration of all samples: before they are normalised."""
    weights = inclusion_weights(np.array(probs), m)
    seen = -np.expm1(m * np.log1p(-np.array(probs)))
    np.testing.assert_allclose(weights * seen, probs, rtol=1e-9)
    if sum(probs) == 1:
        masses = [enumerated(probs, m, lambda ys, y=y: weights[y] * (y in ys)) for y in range(len(probs))]
        np.testing.assert_allclose(masses, probs)


def test_predictions_are_consistent_not_unbiased():
    """Two responses, M = 2: .384 for a mass of .4. A prediction of one half at M = 4 tends to the law as M grows."""
    predict = lambda probs, correct, n: lambda ys: predict_best_of_n(pool_of(probs, correct, ys), [n]).iloc[0, 0]  # noqa: E731
    assert enumerated((0.6, 0.4), 2, predict((0.6, 0.4), (0, 1), 1)) == pytest.approx(0.384, abs=1e-3)
    probs, correct = (0.4, 0.35, 0.25), (1, 0, 0)
    small = enumerated(probs, 4, predict(probs, correct, 16))
    assert small == pytest.approx(0.828, abs=1e-3) and exact(np.array([probs]), np.array([correct]), 16)[0] > 0.999
    rng = np.random.default_rng(0)
    large = [predict(probs, correct, 16)(rng.choice(3, size=40, p=probs)) for _ in range(50)]
    assert np.mean(large) > 0.999


def test_mass_of_what_was_never_sampled_is_no_bound():
    """(.501, .499), M = 2: what is better than both samples has the mass .1248 on average, not at most (1-p̂)^M/(M+1)."""
    probs = np.array([0.501, 0.499])
    better = enumerated(probs, 2, lambda ys: probs[probs > probs[ys].max()].sum())
    rule = enumerated(probs, 2, lambda ys: (1 - probs[ys].max()) ** 2 / 3)
    assert better == pytest.approx(0.1248, abs=1e-4) and rule == pytest.approx(0.0832, abs=2e-4)


def test_what_was_never_sampled_has_its_share():
    """Four unlikely responses, by hand: a fifth of the mass is better than all, worth the mean of the top three."""
    probs, correct, n = np.array([4e-3, 3e-3, 2e-3, 1e-3]), np.array([1, 0, 1, 1]), np.array([1, 3, 1_000])
    predicted = predict_best_of_n(pool_of(probs, correct, np.arange(4)), n).to_numpy()[0]
    unseen = (1 - 4e-3) ** 4 / 5
    mass = probs / (1 - (1 - probs) ** 4)
    cdf = np.cumsum((1 - unseen) * (mass / mass.sum())[::-1])[:, None] ** n
    chosen = np.diff(np.concatenate([np.zeros((1, 3)), cdf, np.ones((1, 3))]), axis=0)
    np.testing.assert_allclose(predicted, np.array([1, 1, 0, 1, 2 / 3]) @ chosen, rtol=1e-12)
    assert predicted[-1] == pytest.approx(2 / 3)  # a thousand samples find something better


def test_what_is_known_of_the_unsampled_depends_on_the_reward():
    """Another reward does not say how likely the better responses are; a value that is the reward itself is the best's."""
    probs = np.array([0.3, 0.2, 0.1, 0.05])
    pool = pool_of(probs, (1, 1, 1, 0), np.arange(4)).assign(mine=[1.0, 2.0, 3.0, 4.0])
    many = [1e9]
    assert predict_best_of_n(pool, many, reward="mine").iloc[0, 0] == pytest.approx(2 / 3)
    assert predict_best_of_n(pool, many, value="log_likelihood").iloc[0, 0] == pytest.approx(np.log(0.3))
    mass = probs / (1 - (1 - probs) ** 4)
    unseen = 1 / 5  # not (1 - .05)^4 / 5
    expected = (1 - unseen) * mass[:3].sum() / mass.sum() + unseen * 2 / 3
    assert predict_best_of_n(pool, [1], reward="mine").iloc[0, 0] == pytest.approx(expected)


def test_power_law_of_what_was_seen():
    """All of a table seen: π^α/Z; α = 1 is the policy itself."""
    probs, correct = np.array([0.5, 0.3, 0.2]), np.array([0, 1, 0])
    pool = pool_of(probs, correct, np.repeat([0, 1, 2], 40))
    for alpha in (0.5, 1.0, 2.0, 8.0):
        law = probs**alpha / (probs**alpha).sum()
        assert predict_power(pool, alpha).tolist() == pytest.approx([law @ correct], rel=1e-6)


def test_prompts_without_all_values_are_left_out():
    pool = pd.concat([pool_of((0.5, 0.5), (0, 1), np.array([0, 1, 0, 1])).assign(prompt_id=x) for x in range(3)])
    pool["correct"] = pool["correct"].astype(object)
    pool.iloc[0, pool.columns.get_loc("correct")] = None  # a sample that predicts
    pool.iloc[5, pool.columns.get_loc("correct")] = None  # a sample that is measured
    assert predict_best_of_n(pool, [2]).index.tolist() == predict_power(pool, 2.0).index.tolist() == [2]
    assert len(calibration(pool)) > 0
    with pytest.raises(UserError, match="column 'correct' is known for no prompt throughout"):
        calibration(pool.iloc[:8])


def test_a_reward_by_name_or_entry_predicts_alike(tables):
    pool = sampled(*tables, 4, 0)
    pd.testing.assert_frame_equal(
        predict_best_of_n(pool, [8], reward=REWARDS["log_likelihood"]), predict_best_of_n(pool, [8])
    )


@pytest.mark.parametrize("n", [0, 0.5, -1, np.nan])
def test_predictions_need_a_sample(n):
    pool = pool_of((0.5, 0.5), (0, 1), np.array([0, 1]))
    with pytest.raises(UserError, match=f"n={n:g}; expected a number from 1"):
        predict_best_of_n(pool, [1, n])


def test_arguments_out_of_range_are_refused():
    pool = pool_of((0.5, 0.5), (0, 1), np.array([0, 1]))
    for alpha in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(UserError, match="expected a positive finite power"):
            predict_power(pool, alpha)
    for share in (0.0, 0.6, np.nan):
        with pytest.raises(UserError, match="expected a share of the samples"):
            calibration(pool, share=share)
    with pytest.raises(UserError, match="prompt 0 has one sample"):
        calibration(pool.iloc[:1])


def test_predictions_from_32_samples_reach_n_256(tables):
    """Within three standard errors over 200 prompts of the exact law, at 8 times the pool."""
    policies, correct = tables
    pool = sampled(policies, correct, 32, 1)
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
        estimate = predicted_curve(sampled(policies[chosen], correct[chosen], 32, seed), n)
        truth = np.array([exact(policies, correct, k).mean() for k in n])
        hits.append((estimate.low <= truth) & (truth <= estimate.high))
    assert np.mean(hits) > 0.85


def test_calibration_measures_on_other_samples(tables):
    policies, correct = tables
    table = calibration(sampled(policies, correct, 64, 3))
    assert table["n"].iloc[0] == 16 and table["n"].iloc[-1] == 48
    assert table["agrees"].all()
    assert ((table["low"] <= table["predicted"]) & (table["predicted"] <= table["high"])).all()


def test_a_reward_of_its_own_and_any_value(tables):
    """Selecting by a reward unrelated to correctness leaves accuracy as it is; log-likelihood may be the value."""
    policies, correct = tables
    pool = sampled(policies, correct, 32, 2)
    pool["noise"] = np.random.default_rng(0).random(len(pool))
    table = predict_best_of_n(pool, [1, 4, 16], reward="noise")
    assert abs(table[16.0].mean() - table[1.0].mean()) < 0.08
    rising = predict_best_of_n(pool, [1, 10, 100], value="log_likelihood").mean()
    assert rising.is_monotonic_increasing and rising.iloc[-1] <= 0


def test_a_power_of_unlikely_responses_is_a_law():
    pool = pd.DataFrame(
        {"prompt_id": 0, "log_likelihood": [-1e15, -1e14], "correct": [True, False], "response": ["a", "b"]}
    )
    assert predict_power(pool, 1e300).tolist() == [0.0]
    with pytest.raises(UserError, match="column 'score' holds infinite values"):
        predict_best_of_n(pool.assign(score=[0, np.inf]), [2], value="score")


def test_what_a_response_stands_for():
    """``π/(1 - (1-π)^M)``: all of its mass if it is likely, its share of the pool if it is not."""
    np.testing.assert_allclose(
        inclusion_weights(np.array([1.0, 0.5, 1e-11, 1e-13, 0.0]), 4),
        [1, 0.5 / (1 - 0.5**4), 0.25, 0.25, 0.25],
        rtol=1e-4,
    )
