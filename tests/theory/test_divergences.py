import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings

from sharptheory.testing import policies
from sharptheory.theory import divergences as div
from sharptheory.theory.laws import best_of_n, tilted


def test_by_hand():
    p, q, r = np.log([0.5, 0.3, 0.2]), np.log([0.2, 0.3, 0.5]), np.array([1.0, 2.0, 2.0])
    a, b = np.exp(p), np.exp(q)
    assert div.kl(p, q) == pytest.approx((a * np.log(a / b)).sum())
    assert div.reverse_kl(p, q) == pytest.approx((b * np.log(b / a)).sum())
    assert div.hellinger_squared(p, q) == pytest.approx(((np.sqrt(a) - np.sqrt(b)) ** 2).sum())
    assert div.total_variation(p, q) == pytest.approx(0.3)
    assert div.renyi_2(p, q) == pytest.approx(np.log((a**2 / b).sum()))
    assert div.expected_reward(p, r) == pytest.approx(1.5)
    # r ties the last two: p wins when it draws one of them and q the first, and splits ties.
    assert div.win_rate(p, q, r) == pytest.approx(0.5 * 0.2 + 0.5 * (0.5 * 0.2 + 0.5 * 0.8))


def test_win_rate_of_best_of_n_over_its_base():
    """N/(N+1) for an atomless reward; a policy against itself wins half."""
    rng = np.random.default_rng(0)
    base, rewards = np.full(4_000, -np.log(4_000)), rng.normal(size=4_000)
    assert div.win_rate(base, base, rewards) == pytest.approx(0.5)
    assert div.win_rate(best_of_n(base, 3, rewards=rewards), base, rewards) == pytest.approx(0.75, abs=1e-3)


def test_missing_mass_and_underflow():
    with np.errstate(divide="ignore"):
        p, q = np.log([0.5, 0.5, 0.0]), np.log([1.0, 0.0, 0.0])
    assert div.kl(p, q) == np.inf and div.renyi_2(p, q) == np.inf
    assert div.kl(q, p) == pytest.approx(np.log(2)) and div.expected_reward(q, np.array([1.0, np.inf, np.nan])) == 1
    assert div.kl(np.array([0.0, -1e300]), np.array([0.0, -np.inf])) == 0


def test_kl_of_close_laws_keeps_its_digits():
    base = np.log([0.5, 0.3, 0.2])
    for beta in (1e3, 1e6, 1e9):
        law = tilted(base, beta)
        with mp.workdps(60):
            weights = [mp.mpf(float(b)) * (1 + 1 / mp.mpf(beta)) for b in base]
            total = mp.log(mp.fsum(mp.exp(w) for w in weights))
            norm = mp.log(mp.fsum(mp.exp(mp.mpf(float(b))) for b in base))
            exact = mp.fsum(mp.exp(w - total) * (w - total - mp.mpf(float(b)) + norm) for w, b in zip(weights, base))
        # The divergence is of order 1/β²; what rounding of the logs leaves of it is relative to 1/β.
        assert float(div.kl(law, base)) == pytest.approx(float(exact), rel=1e-14 * beta + 1e-9)


@given(policies(max_prompts=2))
@settings(deadline=None, derandomize=True)
def test_inequalities(policy):
    """TV² ≤ D_H² ≤ 2 TV, D_H² ≤ KL ≤ log of the concentrability, and zero from a law to itself."""
    base = policy.log_probs
    law = best_of_n(base, 3.5)
    tv, hellinger = div.total_variation(law, base), div.hellinger_squared(law, base)
    assert np.all(tv**2 <= hellinger + 1e-12) and np.all(hellinger <= 2 * tv + 1e-12)
    assert np.all(hellinger <= div.kl(law, base) + 1e-12) and np.all(
        div.kl(law, base) <= div.renyi_2(law, base) + 1e-12
    )
    for measure in (div.kl, div.hellinger_squared, div.total_variation, div.renyi_2):
        assert np.all(measure(base, base) <= 1e-12)


def test_mismatched_laws_are_refused():
    with pytest.raises(ValueError, match="expected the same responses"):
        div.kl(np.zeros((1, 2)), np.zeros((1, 3)))
