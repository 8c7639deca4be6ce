"""[S10] and [S11] on tables: slopes against finite differences of the tilt, best-of-2 against its law and the AUC."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sharptheory.errors import UserError
from sharptheory.theory import divergences, laws
from sharptheory.theory.first_order import best_of_two_gain, correlation, moments, shared_slope, slope

SEEDS = st.integers(0, 2**32 - 1)


def table(seed: int, prompts: int = 4, responses: int = 6) -> tuple[np.ndarray, ...]:
    """Log-probabilities (some zero), rewards with ties, and correctness."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(responses, 0.7), size=prompts) * (rng.random((prompts, responses)) > 0.15)
    assume((probs.sum(axis=1) > 0).all())
    with np.errstate(divide="ignore"):
        log_probs = np.log(probs / probs.sum(axis=1, keepdims=True))
    return log_probs, rng.integers(-2, 3, size=probs.shape).astype(float), rng.random(probs.shape) < 0.5


@settings(max_examples=60)
@given(SEEDS)
def test_slope_is_that_of_the_tilt_in_root_two_kl(seed):
    log_probs, rewards, correct = table(seed)
    t = 1e-5
    for given_rewards in (rewards, None):
        tilted = laws.tilted(log_probs, 1 / t, rewards=given_rewards)
        gain = ((np.exp(tilted) - np.exp(log_probs)) * correct).sum(axis=-1)
        spent = np.sqrt(2 * divergences.kl(tilted, log_probs))
        np.testing.assert_allclose(slope(log_probs, given_rewards, correct) * spent, gain, atol=1e-8)
        total = np.sqrt(2 * divergences.kl(tilted, log_probs).mean())
        assert shared_slope(log_probs, given_rewards, correct) * total == pytest.approx(gain.mean(), abs=1e-8)


@settings(max_examples=60)
@given(SEEDS)
def test_a_verifier_has_efficiency_one_and_no_reward_a_steeper_slope(seed):
    log_probs, rewards, correct = table(seed)
    spread = np.sqrt(moments(log_probs, rewards, correct)[2])
    rho = correlation(log_probs, rewards, correct)
    mixed = spread > 1e-9
    np.testing.assert_allclose(correlation(log_probs, correct, correct)[mixed], 1.0)
    np.testing.assert_allclose(correlation(log_probs, 3.0 - 2 * correct, correct)[mixed], -1.0)
    np.testing.assert_allclose(rho[mixed] * spread[mixed], slope(log_probs, rewards, correct)[mixed], atol=1e-12)
    assert (np.abs(slope(log_probs, rewards, correct)) <= spread + 1e-12).all()
    assert np.isnan(rho[~mixed]).all() or (spread[~mixed] > 0).any()


@settings(max_examples=60)
@given(SEEDS)
def test_best_of_two_gains_what_its_law_gains_and_what_the_auc_says(seed):
    log_probs, rewards, correct = table(seed)
    probs = np.exp(log_probs)
    for given_rewards, scores in ((rewards, rewards), (None, log_probs)):
        gain = best_of_two_gain(log_probs, given_rewards, correct)
        law = laws.best_of_n(log_probs, 2, rewards=given_rewards)
        np.testing.assert_allclose(gain, ((np.exp(law) - probs) * correct).sum(axis=-1), atol=1e-12)
        with np.errstate(invalid="ignore"):
            order = np.sign(np.nan_to_num(scores[:, :, None] - scores[:, None, :]))
        right, wrong = probs * correct, probs * ~correct
        # p (1-p) (2 AUC - 1) = Σ π(y) π(y') sign(r(y) - r(y')) over right y and wrong y'
        np.testing.assert_allclose(gain, np.einsum("xi,xij,xj->x", right, order, wrong), atol=1e-9)


def test_constant_rewards_gain_nothing_and_constant_values_have_no_correlation():
    log_probs = np.log([[0.3, 0.7], [0.1, 0.9]])
    assert (slope(log_probs, 0.1, [1, 0]) == 0).all() and (correlation(log_probs, 0.1, [1, 0]) == 0).all()
    assert np.isnan(correlation(log_probs, [1, 2], 1)).all() and (slope(log_probs, [1, 2], 1) == 0).all()
    assert shared_slope(log_probs, 0.1, [1, 0]) == 0 and (best_of_two_gain(log_probs, 0.1, [1, 0]) == 0).all()


def test_a_shared_tilt_is_not_the_mean_of_the_prompts():
    """By hand: two fair coins, the second with a reward of three times the range."""
    log_probs, rewards = np.log(np.full((2, 2), 0.5)), np.array([[1.0, 0.0], [3.0, 0.0]])
    assert slope(log_probs, rewards, [1, 0]) == pytest.approx([0.5, 0.5])
    assert shared_slope(log_probs, rewards, [1, 0]) == pytest.approx((1 / 4 + 3 / 4) / 2 / np.sqrt((1 / 4 + 9 / 4) / 2))
    assert shared_slope(log_probs, rewards, [1, 0], mu=[1.0, 0.0]) == pytest.approx(0.5)


def test_unlikely_responses_and_large_rewards_are_ordinary():
    log_probs = np.array([np.log1p(-1e-12), np.log(1e-12), -np.inf])
    assert slope(log_probs, [0.0, 1e12, np.nan], [0, 1, 1]) == pytest.approx(np.sqrt(1e-12))
    assert best_of_two_gain(log_probs, [0.0, 1.0, 5.0], [0, 1, 1]) == pytest.approx(1e-12, rel=1e-3)


def test_what_is_no_reward_or_value_is_refused():
    log_probs = np.log([0.5, 0.5])
    with pytest.raises(UserError, match=r"rewards\[0\] is not finite"):
        slope(log_probs, [np.inf, 0], [1, 0])
    with pytest.raises(UserError, match=r"values\[1\] is not finite"):
        best_of_two_gain(log_probs, [1, 0], [1, np.nan])
    with pytest.raises(UserError, match=r"values has shape \(3,\)"):
        slope(log_probs, [1, 0], [1, 0, 0])
    with pytest.raises(UserError, match=r"mu has shape \(2,\); expected \(1,\)"):
        shared_slope(log_probs, [1, 0], [1, 0], mu=[0.5, 0.5])
