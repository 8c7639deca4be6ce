"""Inverse forms meet their bounds, rates scale as printed, arguments are checked; the bounds themselves: tests/theory."""

import numpy as np
import pytest

from sharptheory.theory import bounds
from sharptheory.theory.laws import stopping_threshold

PAC = dict(eps=0.1, delta=0.2, rho=0.05)


@pytest.mark.parametrize("eps", [0.3, 0.1, 1e-4])
@pytest.mark.parametrize("coverage", [1.0, 10.0, 1e6])
def test_inverse_forms_meet_their_bounds(eps, coverage):
    pac = dict(delta=0.2, rho=0.05)
    cost = bounds.sft_cost(eps=eps, coverage=coverage, log_class=7.0, **pac)
    n_star = cost.n_responses / stopping_threshold(0.2)
    assert bounds.sft_bad_prompts(cost.n_prompts, n_star, coverage=coverage, log_class=7.0, **pac) <= eps * (1 + 1e-9)
    assert bounds.sft_bad_prompts(0.9 * cost.n_prompts, 0.9 * n_star, coverage=coverage, log_class=7.0, **pac) > eps
    cost = bounds.adaptive_cost(eps=eps, c_cov_bar=coverage, log_class=7.0, **pac)
    assert bounds.adaptive_bad_prompts(cost.n_prompts, log_class=7.0, **pac) <= eps
    assert cost.queries == pytest.approx(bounds.adaptive_queries(cost.n_prompts, delta=0.2, c_cov_bar=coverage))
    for min_max_prob in (0.0, 1 / coverage):
        given = dict(delta=0.2, c_max=3.0, min_max_prob=min_max_prob, c_cov_bar=coverage)
        cost = bounds.dpo_cost(eps=eps, rho=0.05, log_class=7.0, **given)
        assert bounds.dpo_bad_prompts(bounds.dpo_disagreement(cost.n_prompts, 7.0, 0.05), **given) <= eps * (1 + 1e-9)
        assert bounds.dpo_bad_prompts(bounds.dpo_disagreement(cost.n_prompts / 2, 7.0, 0.05), **given) > eps


def test_numbers_of_the_specification():
    assert pytest.approx(0.0858, abs=5e-5) == bounds.KAPPA
    cost = bounds.sft_cost(coverage=4.0, log_class=2.0, **PAC)
    assert cost.n_prompts == np.ceil(4 * (2 - np.log(0.05)) / (bounds.KAPPA * 0.2 * 0.1))
    assert cost.n_responses == np.ceil(80 * np.log(10)) and cost.queries == cost.n_prompts * cost.n_responses
    assert bounds.best_of_n_needed(0.25, 0.01) == pytest.approx(np.log(100) / 0.25)
    assert bounds.adaptive_stopping(0.1, 2, 3.0) == pytest.approx(35)
    assert bounds.linear_pairs(5).queries == 10
    assert bounds.tilt_for_sharpness(5.0, 3, 0.1) == bounds.tilt_for_sharpness(1.0, 3, 0.1)
    assert bounds.tilt_for_sharpness_exact(9.0, 1, 0.5) == np.inf


def test_extremes():
    assert bounds.best_of_n_kl(1.0) == 0 and bounds.best_of_n_concentrability(1e12) == pytest.approx(5e11)
    assert bounds.best_of_n_needed(1e-300, 1e-300) == pytest.approx(-np.log(1e-300) * 1e300)
    assert bounds.adaptive_stopping(1e-300, 1, 5.0) == pytest.approx(6e300)
    tiny = bounds.sft_cost(eps=1e-12, delta=1e-12, rho=1e-12, coverage=1.0, log_class=0.0)
    assert np.isfinite(tiny.queries)


def test_rates_have_the_printed_exponents():
    for p, slope in ((1.0, -2.0), (np.inf, -1.0)):
        # Without the logarithm in the denominator: the same C and ε^{-1/p}.
        eps = np.array([1e-4, 1e-6])
        rate = np.array([bounds.lower_bound_rate(50, 3, e, p=p) * (1 + np.log(50) - np.log(e) / p) for e in eps])
        assert np.diff(np.log(rate)) / np.diff(np.log(eps)) == pytest.approx(slope)
    assert bounds.adaptive_lower_bound_rate(50, 3, 1e-3) == pytest.approx(1e-3 * bounds.lower_bound_rate(50, 3, 1e-3))
    ratio = bounds.sft_rate(9, 2, eps=0.01, delta=0.1) / bounds.sft_rate(9, 2, eps=0.1, delta=0.1)
    assert ratio == pytest.approx(100)
    given = dict(margin=0.5, delta=0.1)
    assert bounds.dpo_rate(9, 9, 2, eps=0.01, **given) / bounds.dpo_rate(9, 9, 2, eps=0.1, **given) == pytest.approx(
        100
    )
    assert bounds.xpo_rate(5, 2, 8, eps=0.01, **given) / bounds.xpo_rate(5, 2, 8, eps=0.1, **given) == pytest.approx(
        100
    )
    assert bounds.linear_sec_rate(3, np.e - 1) == pytest.approx(3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.sft_cost(eps=0.0, delta=0.1, rho=0.1, coverage=2, log_class=1), "eps=0.0"),
        (lambda: bounds.sft_cost(eps=0.1, delta=1.1, rho=0.1, coverage=2, log_class=1), "delta=1.1"),
        (lambda: bounds.sft_cost(eps=0.1, delta=0.1, rho=-1, coverage=2, log_class=1), "rho=-1"),
        (lambda: bounds.sft_cost(eps=0.1, delta=0.1, rho=0.1, coverage=0.5, log_class=1), "coverage=0.5"),
        (lambda: bounds.adaptive_cost(eps=0.1, delta=0.1, rho=0.1, c_cov_bar=2, log_class=-1), "log_class=-1"),
        (lambda: bounds.mle_hellinger(0, 1.0, 0.1), "n_prompts=0"),
        (lambda: bounds.best_of_n_needed(0.0, 0.1), "mass=0.0"),
        (lambda: bounds.tilt_for_sharpness(0.0, 3, 0.1), "margin=0.0"),
        (lambda: bounds.tilt_for_sharpness_exact(-1.0, 3, 0.1), "margin=-1.0"),
        (lambda: bounds.linear_pairs(0), "dimension=0"),
        (lambda: bounds.best_of_n_kl(0.5), "n=0.5"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
