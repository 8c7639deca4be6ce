"""What a reward is worth, on pools: identities with the curve and the AUC, and agreement with tables."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharptheory.errors import UserError
from sharptheory.measure.alignment import rank_sum
from sharptheory.measure.best_of_n import curve
from sharptheory.measure.efficiency import reward_efficiency
from sharptheory.theory import first_order
from tests.conftest import pool_from_table


def pool(scores, correct) -> pd.DataFrame:
    scores = np.asarray(scores, dtype=float)
    prompt = np.repeat(np.arange(len(scores)), scores.shape[1])
    return pd.DataFrame(
        {"prompt_id": prompt, "log_likelihood": -1.0, "score": scores.ravel(), "correct": np.ravel(correct)}
    )


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_the_gain_of_best_of_two_is_the_curve_and_the_auc(seed, m):
    """Exactly, ties included: c(M-c)/(M(M-1)) (2 AUC - 1), a prompt at a time."""
    rng = np.random.default_rng(seed)
    scores, correct = rng.integers(0, 4, size=(5, m)), rng.random((5, m)) < 0.5
    frame = pool(scores, correct)
    gain = float(reward_efficiency(frame, "score", resamples=2).best_of_two.value)
    by_n = curve(frame, "score", "correct", [1, 2])
    assert gain == pytest.approx(float((by_n[2] - by_n[1]).mean()), abs=1e-12)
    c = correct.sum(axis=1)
    auc = np.nan_to_num([rank_sum(s, r) for s, r in zip(scores, correct)], nan=0.5)
    assert gain == pytest.approx(np.mean(c * (m - c) / (m * (m - 1)) * (2 * auc - 1)), abs=1e-12)


def test_by_hand():
    """Ranks against correctness: (1,1,0,0) and (1,0,0,0), four samples each, scores 4, 3, 2, 1."""
    found = reward_efficiency(pool([[4, 3, 2, 1]] * 2, [[1, 1, 0, 0], [1, 0, 0, 0]]), "score")
    rho = np.array([2 / np.sqrt(5 * 1), 1.5 / np.sqrt(5 * 0.75)])
    assert found.correlation.value == pytest.approx(rho.mean())
    assert found.slope.value == pytest.approx((rho * np.sqrt([1 / 3, 1 / 4])).mean())
    assert found.shared_slope.value == pytest.approx((2 / 3 + 1.5 / 3) / 2 / np.sqrt(5 / 3))
    assert found.best_of_two.value == pytest.approx((4 / 12 + 3 / 12) / 2)


def test_a_verifier_is_worth_one_and_a_constant_nothing():
    rng = np.random.default_rng(0)
    correct = rng.random((12, 8)) < 0.5
    verifier = reward_efficiency(pool(correct * 1e-9 + 0.1, correct), "score")
    assert verifier.correlation.value == pytest.approx(1.0) and verifier.correlation.n_prompts == 12
    assert verifier.slope.value == pytest.approx(correct.std(axis=1, ddof=1).mean())
    constant = reward_efficiency(pool(np.full((12, 8), 0.1), correct), "score")
    assert [float(each.value) for each in vars(constant).values()] == [0, 0, 0, 0]
    opposite = reward_efficiency(pool(-1.0 * correct, correct), "score")
    assert opposite.correlation.value == pytest.approx(-1.0) and opposite.best_of_two.value < 0


def test_prompts_of_one_kind_have_no_correlation_but_dilute_the_gain():
    half = reward_efficiency(pool([[2, 1], [2, 1]], [[1, 0], [1, 1]]), "score")
    assert half.correlation.value == 1 and half.correlation.n_prompts == 1
    assert half.best_of_two.value == 0.25 and half.best_of_two.n_prompts == 2
    assert half.slope.value == pytest.approx(np.sqrt(0.5) / 2)
    none = reward_efficiency(pool([[2, 1]] * 3, [[1, 1]] * 3), "score")
    assert np.isnan(none.correlation.value) and none.best_of_two.value == 0 and none.slope.value == 0


def test_estimates_approach_the_table():
    """Thousands of samples of ten prompts: every estimate is near what the whole law says, and its interval holds that."""
    rng = np.random.default_rng(3)
    probs = rng.dirichlet(np.ones(5), size=10)
    correct = rng.random(probs.shape) < 0.5
    frame = pool_from_table(probs, 4_000, rng, correct)
    found, log_probs = reward_efficiency(frame), np.log(probs)
    exact = {
        "correlation": np.nanmean(first_order.correlation(log_probs, None, correct)),
        "slope": first_order.slope(log_probs, None, correct).mean(),
        "shared_slope": first_order.shared_slope(log_probs, None, correct),
        "best_of_two": first_order.best_of_two_gain(log_probs, None, correct).mean(),
    }
    for name, value in exact.items():
        estimate = getattr(found, name)
        assert estimate.value == pytest.approx(value, abs=0.02) and estimate.low <= value <= estimate.high, name


def test_the_gain_of_best_of_two_is_unbiased():
    """Over 4,000 pools of three samples."""
    rng = np.random.default_rng(0)
    probs, correct = np.array([[0.5, 0.3, 0.2]]), np.array([[True, False, True]])
    frame = pool_from_table(np.repeat(probs, 4_000, axis=0), 3, rng, np.repeat(correct, 4_000, axis=0))
    exact = float(first_order.best_of_two_gain(np.log(probs), None, correct)[0])
    found = reward_efficiency(frame, resamples=200).best_of_two
    assert abs(found.value - exact) < 4 * (found.high - found.low) / 3.92 and exact == pytest.approx(0.09)


def test_shapes_that_say_nothing():
    ragged = pd.concat([pool([[1]], [[1]]), pool([[2, 1]], [[1, 0]]).assign(prompt_id=1)])
    assert reward_efficiency(ragged, "score").best_of_two.n_prompts == 1
    single = reward_efficiency(pool([[1], [2]], [[1], [0]]), "score")
    assert all(np.isnan(each.value) for each in vars(single).values())
    infinite = reward_efficiency(pool([[np.inf, 1, 0]] * 2, [[1, 0, 0]] * 2), "score")
    assert np.isnan(infinite.correlation.value) and infinite.best_of_two.value == pytest.approx(1 / 3)
    with pytest.raises(UserError, match="column 'correct' is missing"):
        reward_efficiency(pool([[1, 2]], [[1, 0]]).drop(columns="correct"), "score")


@pytest.mark.parametrize("scale", [1e-320, 1e-170, 1e160])
def test_a_reward_is_worth_the_same_at_any_scale(scale):
    rows = pd.DataFrame({"prompt_id": np.repeat(range(12), 4), "correct": [1, 1, 0, 0] * 12, "r": [4.0, 3, 2, 1] * 12})
    one, other = (reward_efficiency(rows.assign(r=factor * rows["r"]), "r") for factor in (1.0, scale))
    for name in ("correlation", "slope", "shared_slope", "best_of_two"):
        assert getattr(other, name).value == pytest.approx(getattr(one, name).value, rel=1e-6), name
