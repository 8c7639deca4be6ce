"""Inverse forms meet their bounds, rates scale as printed, arguments are checked; the bounds themselves: tests/theory."""

import inspect
import math
import re

import numpy as np
import pytest

from sharptheory.errors import UserError
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


def test_documented_numbers():
    assert pytest.approx(0.0858, abs=5e-5) == bounds.KAPPA
    cost = bounds.sft_cost(coverage=4.0, log_class=2.0, **PAC)
    assert cost.n_prompts == np.ceil(4 * (2 - np.log(0.05)) / (bounds.KAPPA * 0.2 * 0.1))
    assert cost.n_responses == np.ceil(80 * np.log(10)) and cost.queries == cost.n_prompts * cost.n_responses
    assert bounds.best_of_n_needed(0.25, 0.01) == pytest.approx(np.log(100) / 0.25)
    assert bounds.adaptive_stopping(0.1, 2, 3.0) == pytest.approx(35)
    assert bounds.linear_pairs(5).queries == 10
    assert bounds.tilt_for_sharpness(5.0, 3, 0.1) == bounds.tilt_for_sharpness(1.0, 3, 0.1)
    assert bounds.tilt_for_sharpness_exact(9.0, 1, 0.5) == np.inf


def test_a_cost_is_at_least_one_pair():
    """A class of one policy needs no data, but (n, 2) with n = 0 is no cost of an algorithm that samples."""
    cost = bounds.dpo_cost(eps=1.0, delta=1.0, rho=1.0, log_class=0.0, c_max=1.0, min_max_prob=1.0, c_cov_bar=1.0)
    assert cost.n_prompts == 1 and cost.queries == 2


def spanned_by(pairs: np.ndarray, d: int) -> int:
    """How many of the pairs of features ``0, e_1, …, e_d`` it takes to span ``R^d``: until they connect all of them."""
    parent = list(range(d + 1))

    def root(i: int) -> int:
        return i if parent[i] == i else root(parent[i])

    parts = d + 1
    for n, (i, j) in enumerate(pairs, start=1):
        if root(i) != root(j):
            parent[root(i)] = root(j)
            parts -= 1
        if parts == 1:
            return n
    return len(pairs) + 1


@pytest.mark.parametrize(("d", "chance"), [(1, 0.5), (10, 0.02)])
def test_d_sampled_pairs_need_not_span(d, chance):
    """[S3] with atoms: features 0, e_1, …, e_d, uniform. The number of pairs is at least `linear_pairs`, rarely equal."""
    rng = np.random.default_rng(0)
    needed = np.array([spanned_by(rng.integers(d + 1, size=(400, 2)), d) for _ in range(2_000)])
    assert needed.min() >= bounds.linear_pairs(d).n_prompts
    assert abs((needed == d).mean() - chance) < 4 * np.sqrt(chance * (1 - chance) / 2_000)


def test_a_dominant_response_makes_spanning_slow():
    """One response of eleven has mass .9: a median of 140 pairs in ten dimensions."""
    rng, probs = np.random.default_rng(0), np.array([0.9] + [0.01] * 10)
    needed = [spanned_by(rng.choice(11, size=(2_000, 2), p=probs), 10) for _ in range(400)]
    assert 120 < np.median(needed) < 160


def test_extremes():
    assert bounds.best_of_n_kl(1.0) == 0 and bounds.best_of_n_concentrability(1e12) == pytest.approx(5e11)
    assert bounds.best_of_n_needed(1e-300, 1e-300) == pytest.approx(-np.log(1e-300) * 1e300)
    assert bounds.adaptive_stopping(1e-300, 1, 5.0) == pytest.approx(6e300)
    tiny = bounds.sft_cost(eps=1e-12, delta=1e-12, rho=1e-12, coverage=1.0, log_class=0.0)
    assert np.isfinite(tiny.queries)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("eps", "delta"), [(1e-300, 1e-300), (1e-300, 0.1), (0.1, 1e-300)])
def test_costs_beyond_what_a_float_holds_are_infinite_without_a_warning(eps, delta):
    """And none where there is nothing to learn: a class of one policy."""
    tiny = dict(eps=eps, delta=delta, rho=1e-300, log_class=2.0)
    one = dict(eps=eps, delta=delta, rho=1.0, log_class=0.0)
    for cost, coverage in ((bounds.sft_cost, "coverage"), (bounds.adaptive_cost, "c_cov_bar")):
        assert cost(**tiny, **{coverage: 1e300}).queries == np.inf
        assert (cost(**tiny, **{coverage: 1.0}).n_prompts == np.inf) is (eps * delta == 0)
        assert cost(**one, **{coverage: 1.0}).n_prompts == 1
    assert bounds.adaptive_stopping(1e-300, 1, 1e300) == np.inf and bounds.adaptive_miss(1e300, 1e300) == 0
    assert bounds.mle_hellinger(1e-300, 1e300, 0.5) == np.inf


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
        (lambda: bounds.best_of_n_density_ratio(0.5), "n=0.5"),
        (lambda: bounds.bad_prompts_from_hellinger(-0.1, 0.1), "hellinger=-0.1"),
        (lambda: bounds.adaptive_miss(1, 0.0), "threshold=0.0"),
        (lambda: bounds.adaptive_stopping(0.1, 1, -1.0), "threshold=-1.0"),
        (lambda: bounds.tilted_loss_coverage(0), "n_responses=0"),
        (lambda: bounds.reward_gap(0.0, 0.1, 1.0), "margin=0.0"),
        (lambda: bounds.reward_gap(0.5, 1.1, 1.0), "missing=1.1"),
        (lambda: bounds.greedy_succeeds(1.5), "max_prob=1.5"),
        (lambda: bounds.dpo_bad_prompts(-0.1, delta=0.1, c_max=2, min_max_prob=0.5, c_cov_bar=2), "disagreement=-0.1"),
        (lambda: bounds.dpo_cost(**PAC, log_class=1, c_max=0.5, min_max_prob=0.5, c_cov_bar=2), "c_max=0.5"),
        (lambda: bounds.dpo_cost(**PAC, log_class=1, c_max=2, min_max_prob=1.5, c_cov_bar=2), "min_max_prob=1.5"),
        (lambda: bounds.lower_bound_rate(2, 1, 0.1, p=0), "p=0"),
        (lambda: bounds.lower_bound_rate(2, 1, 1.1), "eps=1.1"),
        (lambda: bounds.adaptive_lower_bound_rate(0.5, 1, 0.1), "coverage=0.5"),
        (lambda: bounds.sft_rate(2, 1, eps=0.0, delta=0.1), "eps=0.0"),
        (lambda: bounds.sft_rate(2, 1, eps=np.nan, delta=0.1), "eps=nan"),
        (lambda: bounds.dpo_rate(2, 2, -1, margin=1, eps=0.1, delta=0.1), "log_class=-1"),
        (lambda: bounds.xpo_rate(2, 1, 4, margin=-1, eps=0.1, delta=0.1), "margin=-1"),
        (lambda: bounds.xpo_rate(2, 1, 4, margin=1, eps=0.1, delta=0.1, r_max=0), "r_max=0"),
        (lambda: bounds.linear_sec_rate(0, 5), "dimension=0"),
        (lambda: bounds.linear_sec_rate(3, 0), "rounds=0"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


#: Every argument of a guarantee: a possible value, and impossible ones.
ARGUMENTS = {
    **dict.fromkeys(("eps", "delta", "rho", "mass", "max_prob"), (0.1, [0.0, -0.1, 1.1, np.nan])),
    **dict.fromkeys(
        ("n_prompts", "n_pairs", "n_star", "margin", "threshold", "p", "sec", "r_max"), (3.0, [0.0, -1.0, np.nan])
    ),
    **dict.fromkeys(
        (
            "coverage",
            "c_cov_bar",
            "c_max",
            "c_conc",
            "c_loss",
            "n",
            "n_maximizers",
            "n_responses",
            "dimension",
            "rounds",
        ),
        (4.0, [0.9, 0.0, -1.0, np.nan]),
    ),
    "min_max_prob": (0.2, [-0.1, 1.1, np.nan]),
    "missing": (np.array([0.2]), [np.array([1.1]), np.array([-0.1])]),
    "mu": (np.array([1.0]), []),
    **dict.fromkeys(("disagreement", "hellinger"), (0.01, [-0.1, np.nan])),
    "log_class": (2.0, [-1.0, np.inf, np.nan]),
}
#: Arguments that may be arrays; for the others an array is an error.
MAY_BE_ARRAYS = {"mass", "max_prob", "n_maximizers", "missing", "mu", "n", "threshold"}
#: (x_ is how mutation testing names its copies.)
GUARANTEES = {
    name: function
    for name, function in inspect.getmembers(bounds, inspect.isfunction)
    if function.__module__ == bounds.__name__ and not name.startswith(("_", "x_"))
}


@pytest.mark.parametrize("name", GUARANTEES)
def test_every_argument_of_a_guarantee_is_checked(name):
    parameters = inspect.signature(GUARANTEES[name]).parameters

    def call(**change):
        values = {each: change.get(each, ARGUMENTS[each][0]) for each in parameters}
        keyword = {each: values.pop(each) for each, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
        return GUARANTEES[name](*values.values(), **keyword)

    call()
    for each in parameters:
        _, impossible = ARGUMENTS[each]
        for value in [*impossible, *([] if each in MAY_BE_ARRAYS else [[0.5, 0.5]])]:
            with pytest.raises(UserError, match=re.escape(f"{each}={value}; expected")):
                call(**{each: value})
        if each != "mu":
            with pytest.raises(UserError, match=f"{each} is no table of numbers"):
                call(**{each: "a"})


def test_the_guarantees_as_printed():
    """Each at one point, written out: constants and exponents."""
    kappa, log = (1 - 1 / math.sqrt(2)) ** 2, math.log
    printed = [
        (bounds.best_of_n_density_ratio(3), 3),
        (bounds.best_of_n_kl(3), log(3) - 2 / 3),
        (bounds.best_of_n_concentrability(3), 9 / 5),
        (bounds.best_of_n_needed(0.2, 0.1), log(10) / 0.2),
        (bounds.best_of_n_needed(1.0, 0.9), 1),
        (bounds.mle_hellinger(7, 3, 0.1), 2 * (3 + log(10)) / 7),
        (bounds.bad_prompts_from_hellinger(0.3, 0.2), 0.3 / (kappa * 0.2)),
        (bounds.sft_responses(5, 0.2), math.ceil(5 * log(10))),
        (bounds.sft_responses(0.01, 1.0), 1),
        (
            bounds.sft_bad_prompts(7, 5, delta=0.2, rho=0.1, coverage=3, log_class=2),
            2 * (2 + log(10)) / (kappa * 0.2 * 7) + 3 / 5,
        ),
        (bounds.adaptive_stopping(0.2, 4, 3), (3 + 1 / 4) / 0.2),
        (bounds.adaptive_miss(2, 3), math.exp(-6)),
        (bounds.adaptive_bad_prompts(7, delta=0.2, rho=0.1, log_class=2), 2 * (2 + log(10)) / (kappa * 0.2 * 7)),
        (bounds.adaptive_queries(7, delta=0.2, c_cov_bar=3), 7 * (1 + log(10)) * 3),
        (
            bounds.adaptive_cost(eps=0.1, delta=0.2, rho=0.1, c_cov_bar=3, log_class=2).n_prompts,
            math.ceil(2 * (2 + log(10)) / (kappa * 0.2 * 0.1)),
        ),
        (bounds.tilt_for_sharpness(0.5, 3, 0.1), 0.5 / (2 * log(60))),
        (bounds.tilt_for_sharpness(2.0, 3, 0.1), 1 / (2 * log(60))),
        (bounds.tilted_loss_coverage(6), 6),
        (bounds.reward_gap(0.5, [0.1, 0.4], [0.25, 0.75]), log(1.5) * 0.325),
        (bounds.reward_gap(np.inf, [0.0, 0.0], [0.5, 0.5]), 0),
        (bounds.dpo_disagreement(7, 3, 0.1), (3 + log(10)) / 7),
        (
            bounds.dpo_bad_prompts(0.01, delta=0.2, c_max=3, min_max_prob=0.5, c_cov_bar=2),
            4 * 3 * 0.01 / 0.04 + 0.01 / 0.5,
        ),
        (
            bounds.dpo_bad_prompts(0.01, delta=0.2, c_max=3, min_max_prob=0.0, c_cov_bar=2),
            4 * 3 * 0.01 / 0.04 + 2 * math.sqrt(0.02),
        ),
        (
            bounds.dpo_cost(eps=0.1, delta=0.2, rho=0.1, c_max=3, min_max_prob=0.5, c_cov_bar=2, log_class=2).n_prompts,
            math.ceil((2 + log(10)) / (0.1 / (4 * 3 / 0.04 + 1 / 0.5))),
        ),
        (bounds.lower_bound_rate(5, 3, 0.1, p=2), 5 * 3 / (0.1**1.5 * (1 + log(5 * 0.1**-0.5)))),
        (bounds.lower_bound_rate(5, 3, 0.1), 5 * 3 / (0.1**2 * (1 + log(50)))),
        (bounds.adaptive_lower_bound_rate(5, 3, 0.1, p=2), 5 * 3 / (0.1**0.5 * (1 + log(5 * 0.1**-0.5)))),
        (bounds.sft_rate(5, 3, eps=0.1, delta=0.2, rho=0.1), 5 * (3 + log(10)) * log(5) / (0.2 * 0.01)),
        (bounds.sft_rate(5, 3, eps=0.1, delta=0.2), 5 * (3 + log(20)) * log(5) / (0.2 * 0.01)),
        (
            bounds.dpo_rate(5, 4, 3, margin=0.5, eps=0.1, delta=0.2, rho=0.1),
            5 * (log(4) + 3 + log(10)) ** 3 / (0.25 * 0.04 * 0.01),
        ),
        (
            bounds.dpo_rate(5, 4, 3, margin=0.5, eps=0.1, delta=0.2),
            5 * (log(4) + 3 + log(20)) ** 3 / (0.25 * 0.04 * 0.01),
        ),
        (
            bounds.xpo_rate(5, 3, 8, margin=0.5, eps=0.1, delta=0.2, rho=0.1, r_max=2),
            5 * (3 + log(10)) * 4 * log(40) ** 2 / (0.25 * 0.04 * 0.01),
        ),
        (
            bounds.xpo_rate(5, 3, 8, margin=0.5, eps=0.1, delta=0.2),
            5 * (3 + log(20)) * log(40) ** 2 / (0.25 * 0.04 * 0.01),
        ),
        (bounds.linear_sec_rate(3, 7), 3 * log(8)),
    ]
    for i, (computed, expected) in enumerate(printed):
        assert float(computed) == pytest.approx(expected, rel=1e-12), i
    assert bounds.linear_pairs(4) == bounds.Cost(4.0, 2.0)
    np.testing.assert_array_equal(bounds.greedy_succeeds([0.4, 0.5, 0.51]), [False, False, True])


def test_the_exact_tilt_is_the_largest_that_is_sharp_enough():
    beta = bounds.tilt_for_sharpness_exact(0.5, 3, 0.1)
    assert 1.5 ** (1 + 1 / beta) == pytest.approx(2 * 3 / 0.1)
    assert bounds.tilt_for_sharpness_exact(59.0, 3, 0.1) == np.inf
    assert bounds.tilt_for_sharpness_exact(58.0, 3, 0.1) < np.inf


def test_one_prompt_and_one_response_are_the_least():
    for cost in (
        bounds.sft_cost(eps=1.0, delta=1.0, rho=1.0, coverage=1.0, log_class=0.0),
        bounds.adaptive_cost(eps=1.0, delta=1.0, rho=1.0, c_cov_bar=1.0, log_class=0.0),
    ):
        assert cost.n_prompts == 1
    # Masses and coefficients that were added up may miss their limits by rounding.
    assert bounds.best_of_n_kl(1 - 1e-10) == pytest.approx(0, abs=1e-9)
    assert bounds.reward_gap(0.5, [1 + 1e-10], [1.0]) == pytest.approx(np.log(1.5))
