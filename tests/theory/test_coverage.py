import mpmath as mp
import numpy as np
import pytest

from sharptheory.theory import coverage as cov
from sharptheory.theory.laws import argmax_law, best_of_n
from sharptheory.theory.policies import TabularPolicy


@pytest.fixture
def policy():
    return TabularPolicy.from_probs([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.25, 0.375, 0.375]], mu=[0.5, 0.25, 0.25])


def test_maximizers_include_ties_and_near_ties():
    rows = np.log([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2]])
    np.testing.assert_array_equal(cov.maximizers(rows), [[1, 0, 0], [1, 1, 0]])
    np.testing.assert_array_equal(cov.maximizers(rows, 0.4), [[1, 1, 0], [1, 1, 0]])
    near = np.log([[0.4, 0.4, 0.2]]) + np.array([1e-15, 0, 0])
    np.testing.assert_array_equal(cov.maximizers(near), [[1, 1, 0]])
    np.testing.assert_array_equal(cov.maximizers(near, tolerance=0.0), [[1, 0, 0]])
    np.testing.assert_array_equal(cov.maximizers(np.full((1, 3), -np.log(3))), [[1, 1, 1]])


def test_coverage_by_hand(policy):
    assert cov.coverage_coefficient(policy) == pytest.approx(0.5 * 2 + 0.25 / 0.8 + 0.25 / 0.75)
    assert cov.c_cov_bar(policy) == pytest.approx(0.5 * 2 + 0.25 / 0.4 + 0.25 / 0.375)
    assert cov.coverage_coefficient(policy, 0.4) == pytest.approx(0.5 / 0.8 + 0.25 / 0.8 + 0.25)
    assert cov.coverage_coefficient(policy, p=2) == pytest.approx(np.sqrt(0.5 * 4 + 0.25 / 0.64 + 0.25 / 0.5625))
    assert cov.coverage_coefficient(policy, p=np.inf) == pytest.approx(2)
    assert cov.margin(policy) == pytest.approx(0.5)
    np.testing.assert_allclose(cov.coverage_profile(policy, [0.5, 1.3, 1.9, 2.5]), [1, 0.75, 0.5, 0])
    np.testing.assert_array_equal(cov.argmax_summary(policy).n_maximizers, [1, 2, 2])


def test_a_summary_fixes_gamma(policy):
    """Another γ than the summary's is refused, not dropped."""
    summary = cov.argmax_summary(policy, 0.4)
    assert cov.coverage_coefficient(summary) == cov.coverage_coefficient(policy, 0.4)
    assert cov.coverage_coefficient(summary, 0.4, p=2) == cov.coverage_coefficient(policy, 0.4, p=2)
    assert cov.c_cov_bar(summary) == cov.c_cov_bar(policy)
    for call in (cov.coverage_coefficient, lambda s, gamma: cov.coverage_profile(s, 1.0, gamma)):
        with pytest.raises(ValueError, match=r"gamma=0.*at gamma=0\.4"):
            call(summary, 0)


def test_prompts_without_weight_do_not_count():
    policy = TabularPolicy.from_probs([[0.5, 0.3, 0.2], [1e-3, 1e-3, 0.998]], mu=[0, 1])
    assert cov.margin(policy) == pytest.approx(997)
    assert cov.coverage_coefficient(policy, p=np.inf) == pytest.approx(1 / 0.998)


def test_margin_of_a_uniform_policy_is_infinite():
    assert cov.margin(TabularPolicy.from_probs(np.full((2, 4), 0.25))) == np.inf
    assert cov.margin(TabularPolicy([[0.0]])) == np.inf


def test_tiny_masses_keep_their_digits():
    """C_cov of argmax masses down to 1e-300 (given as summaries), against mpmath."""
    for log_mass in (-690.7755278982137, -36.0, -1e-300, 0.0):
        summary = cov.ArgmaxSummary(
            np.ones(1), 0.0, np.array([log_mass]), np.array([log_mass]), np.ones(1), np.array([-np.inf])
        )
        with mp.workdps(50):
            assert cov.coverage_coefficient(summary) == pytest.approx(float(mp.exp(-mp.mpf(log_mass))), rel=1e-12)
    skewed = TabularPolicy([[0.0, -690.0, -1000.0]])
    assert cov.coverage_coefficient(skewed) == 1 and cov.margin(skewed) == pytest.approx(np.exp(690), rel=1e-12)


def test_concentrability_of_the_argmax_law_and_of_foreign_mass(policy):
    law = argmax_law(policy.log_probs)
    assert cov.concentrability(law, policy.log_probs, mu=policy.mu) == pytest.approx(cov.coverage_coefficient(policy))
    assert cov.concentrability(np.log([0.5, 0.5]), np.array([0.0, -np.inf])) == np.inf
    assert cov.concentrability(policy.log_probs, policy.log_probs, order=3.0) == pytest.approx(1)
    probs, other = np.array([0.2, 0.8]), np.array([0.5, 0.5])
    value = cov.concentrability(np.log(probs), np.log(other), order=0.5)
    assert value == pytest.approx((probs * (probs / other) ** 0.5).sum())


def test_sharpness_and_its_trade_off(policy):
    law = best_of_n(policy.log_probs, 8)
    missing = cov.missing_mass(law, policy)
    np.testing.assert_allclose(missing, [0.5**8, 0.2**8, 0.25**8])
    assert cov.is_sharpened(law, policy, eps=0.0, delta=0.01)
    assert not cov.is_sharpened(law, policy, eps=0.4, delta=1e-3)
    assert cov.is_sharpened(law, policy, eps=0.5, delta=1e-3)
    delta, eps = cov.sharpness_curve(law, policy)
    assert np.all(np.diff(eps) <= 0) and eps[0] == 1 and eps[-1] == 0
    for d, e in zip(delta, eps):
        assert cov.is_sharpened(law, policy, eps=float(e), delta=float(d))


def test_a_memory_mapped_table_is_summarised_in_chunks(tmp_path):
    rng = np.random.default_rng(0)
    table = np.log(rng.dirichlet(np.ones(300), size=700))
    np.save(tmp_path / "table.npy", table)
    mapped, held = TabularPolicy.from_file(tmp_path / "table.npy"), TabularPolicy(table)
    for field in ("log_max", "log_mass", "n_maximizers", "log_runner_up"):
        np.testing.assert_allclose(
            getattr(cov.argmax_summary(mapped, 0.3), field), getattr(cov.argmax_summary(held, 0.3), field), rtol=1e-10
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: cov.argmax_summary(p, 1.0), "gamma=1.0"),
        (lambda p: cov.argmax_summary(p, -0.1), "gamma=-0.1"),
        (lambda p: cov.maximizers(p.log_probs, np.nan), "gamma=nan"),
        (lambda p: cov.coverage_coefficient(p, p=0.0), "p=0.0"),
        (lambda p: cov.is_sharpened(p.log_probs, p, eps=2.0, delta=0.1), "eps=2.0"),
        (lambda p: cov.missing_mass(np.zeros((1, 2)), p), r"law has shape \(1, 2\); expected \(3, 3\)"),
        (lambda p: cov.margin(cov.argmax_summary(p, 0.5)), "gamma=0.5"),
        (lambda p: cov.concentrability(p.log_probs, p.log_probs[:1]), r"law has shape \(3, 3\); expected \(1, 3\)"),
        (lambda p: cov.concentrability(p.log_probs, p.log_probs, mu=[0.5, 0.5, 0.5]), "mu sums to 1.5"),
    ],
)
def test_bad_arguments_are_named(policy, call, message):
    with pytest.raises(ValueError, match=message):
        call(policy)
