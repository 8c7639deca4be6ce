"""What attacks the statements: every kind of policy that has ever broken one, and the same one for the same seed."""

import numpy as np
import pytest

from sharptheory.checks import Check, Result, ratio, same, statement
from sharptheory.checks.instances import Instance, neighbour, random_instance
from sharptheory.checks.registry import REGISTRY, TIGHT
from sharptheory.theory.policies import TabularPolicy

#: Sums over what two seeds give, for `test_a_seed_gives_the_same_instances_in_every_version`.
INSTANCES = [313.0, 550.0, 68.0, 302.0177403608, -18.65868145173, -77.27085756153, 4277.972064938, -124351.1872239]
NEIGHBOURS = [271745.4217009, 2277573.450555, 2355.754982267, 475.4422547022, 499.1743311006]


@pytest.fixture(scope="module")
def drawn() -> list[Instance]:
    return [random_instance(np.random.default_rng([0, i])) for i in range(1_500)]


def share(found) -> float:
    return float(np.mean(list(found)))


def gaps(instance: Instance) -> np.ndarray:
    """Differences between neighbours in order, over all prompts."""
    values = [np.sort(row[np.isfinite(row)]) for row in instance.policy.log_probs]
    return np.concatenate([np.diff(row) for row in values])


def test_instances_are_small_policies_of_every_size(drawn):
    assert {i.logits.shape[0] for i in drawn} == {1, 2, 3, 4}
    assert {i.logits.shape[1] for i in drawn} == set(range(1, 9))
    for instance in drawn:
        assert instance.logits.shape == instance.other.shape == instance.rewards.shape
        assert instance.mu_logits.shape == instance.logits.shape[:1] and instance.knobs.shape == (5,)
        assert np.exp(instance.policy.log_probs).sum(axis=1) == pytest.approx(1)
        assert np.all((instance.law == -np.inf) == (instance.logits == -np.inf))
        assert np.all((instance.knobs >= 0) & (instance.knobs <= 1))


def test_instances_hold_what_is_hard(drawn):
    """How often, roughly: exact ties, near-ties, impossible responses, masses that underflow, prompts of no weight."""
    several = [i for i in drawn if i.logits.shape[1] > 1]
    assert 0.3 < share((gaps(i) == 0).any() for i in several) < 0.7
    assert 0.02 < share(((gaps(i) > 0) & (gaps(i) < 1e-11)).any() for i in several) < 0.3
    assert 0.1 < share((i.logits == -np.inf).any() for i in several) < 0.3
    assert 0.05 < share((i.policy.probs[i.logits > -np.inf] == 0).any() for i in several) < 0.3
    assert 0.1 < share(i.policy.mu.min() < 1e-6 for i in drawn if len(i.mu_logits) > 1) < 0.5
    assert 0.2 < share((i.mu_logits == 0).all() for i in drawn) < 0.5
    assert 0.4 < share((i.rewards == np.round(i.rewards)).all() for i in drawn) < 0.7
    assert all(np.isfinite(i.logits[:, 0]).all() for i in drawn)
    # The other policy is the power 0, 1, 2 or 10 of the base, as it is or with noise.
    for alpha in (0.0, 1.0, 2.0, 10.0):
        powers = [alpha * np.where(i.logits > -np.inf, i.policy.log_probs, 0) for i in several]
        exact = [
            np.ptp((i.other - p)[np.isfinite(i.other)]) < 1e-9 for i, p in zip(several, powers) if len(i.logits) == 1
        ]
        assert 0.03 < share(exact) < 0.3
    scales = np.array([np.ptp(i.logits[np.isfinite(i.logits)]) for i in several])
    assert share(scales < 0.1) > 0.05 and share(scales > 300) > 0.1 and scales.max() < 5_000


def test_knobs_span_the_ranges_of_the_parameters():
    ends = [
        Instance(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)), np.zeros(1), np.full(5, k)) for k in (0.0, 1.0)
    ]
    low, high = ends
    assert (low.gamma, low.delta, low.n, low.rho) == (0, 1, 1, 1)
    assert low.beta == pytest.approx(np.exp(-6)) and high.beta == pytest.approx(np.exp(6))
    assert high.gamma == pytest.approx(0.95) and high.n == pytest.approx(np.exp(28))
    assert high.delta == high.rho == pytest.approx(np.exp(-12))
    middle = Instance(low.logits, low.other, low.rewards, low.mu_logits, np.arange(1, 6) / 10)
    assert (
        middle.gamma == 0 and middle.delta == pytest.approx(np.exp(-2.4)) and middle.beta == pytest.approx(np.exp(-2.4))
    )
    assert middle.n == pytest.approx(np.exp(28 * 0.16)) and middle.rho == pytest.approx(np.exp(-6))
    assert Instance(low.logits, low.other, low.rewards, low.mu_logits, np.full(5, 0.5)).gamma == pytest.approx(0.3)


def test_a_seed_gives_the_same_instances_in_every_version():
    """A statement that is reported broken at instance 17 of a seed is broken there for whoever looks."""
    numbers = [[i.logits.shape[0], i.logits.shape[1], np.isinf(i.logits).sum(), i.knobs.sum(), i.rewards.sum(),
                i.mu_logits.sum(), i.logits[np.isfinite(i.logits)].sum(), i.other[np.isfinite(i.other)].sum()]
               for i in (random_instance(np.random.default_rng([5, k])) for k in range(120))]  # fmt: skip
    np.testing.assert_allclose(np.sum(numbers, axis=0), INSTANCES, rtol=1e-9)
    rng, instance = np.random.default_rng(3), random_instance(np.random.default_rng(1))
    moved = []
    for _ in range(150):
        instance = neighbour(instance, rng)
        moved.append([np.abs(getattr(instance, name)[np.isfinite(getattr(instance, name))]).sum()
                      for name in ("logits", "other", "rewards", "mu_logits", "knobs")])  # fmt: skip
    np.testing.assert_allclose(np.sum(moved, axis=0), NEIGHBOURS, rtol=1e-9)


def test_a_neighbour_differs_in_one_part():
    """Any part can move; what is fixed does not."""
    rng, start = np.random.default_rng(0), random_instance(np.random.default_rng(3))
    moved = {name: 0 for name in ("logits", "other", "rewards", "mu_logits", "knobs")}
    for _ in range(400):
        found = neighbour(start, rng)
        different = [name for name in moved if not np.array_equal(getattr(found, name), getattr(start, name))]
        assert len(different) <= 1
        for name in different:
            moved[name] += 1
        assert np.all((found.knobs >= 0) & (found.knobs <= 1))
    assert all(count > 10 for count in moved.values()) and moved["logits"] == max(moved.values())
    fixed = [neighbour(start, rng, fixed_policy=True) for _ in range(200)]
    assert all(np.array_equal(f.logits, start.logits) and np.array_equal(f.mu_logits, start.mu_logits) for f in fixed)
    assert any(not np.array_equal(f.other, start.other) for f in fixed)


def test_a_neighbour_makes_ties():
    rng = np.random.default_rng(0)
    start = Instance(np.array([[0.1, 0.2, 0.4]]), np.zeros((1, 3)), np.zeros((1, 3)), np.zeros(1), np.full(5, 0.5))
    tied = [len(np.unique(neighbour(start, rng).logits)) < 3 for _ in range(400)]
    assert 0.03 < np.mean(tied) < 0.3


def test_a_given_policy_is_attacked_as_it_is():
    logits = np.log([[0.5, 0.5], [0.9, 0.1]])
    instance = random_instance(np.random.default_rng(0), logits=logits, mu=np.array([0.25, 0.75]))
    np.testing.assert_array_equal(instance.logits, logits)
    np.testing.assert_allclose(instance.policy.mu, [0.25, 0.75])
    assert random_instance(np.random.default_rng(0), logits=logits, mu=np.array([0.0, 1.0])).policy.mu[0] < 1e-299


# The registry ---------------------------------------------------------------------------------------------------------


def check_of(quantity, bound) -> Check:
    return Check("it", "here", "quantity ≤ bound", lambda _: None if quantity is None else (quantity, bound))


@pytest.mark.parametrize(
    ("quantity", "bound", "expected"),
    [
        (1.0, 2.0, 0.5),
        ([1.0, 3.0], 2.0, 1.5),
        ([1.0, 3.0], [4.0, 2.0], 1.5),
        (0.0, 0.0, 0.0),
        (1e-13, 0.0, 1.0),  # zero but for rounding
        (1e-11, 0.0, np.inf),
        (-1.0, 2.0, 0.0),
        (-1.0, -2.0, np.inf),
        (0.0, -1e-3, np.inf),
        (5.0, np.inf, 0.0),
        (np.inf, np.inf, 0.0),
        (np.nan, 1.0, np.inf),
        (1.0, np.nan, np.inf),
        (None, None, None),
    ],
)
def test_a_ratio_above_1_is_a_broken_statement(quantity, bound, expected):
    assert ratio(check_of(quantity, bound), None) == expected


def test_two_computations_of_one_number_agree_to_a_relative_tolerance():
    difference, tolerance = same([2.0, 0.1, np.inf, 1.0], [2.2, 0.0, np.inf, np.inf], 0.5)
    np.testing.assert_allclose(difference[:3], [0.2 / 2.2, 0.1, 0.0])
    assert tolerance == 0.5 and not difference[3] <= tolerance and same(1.0, 1.0)[1] == 1e-9


def test_a_statement_is_registered_under_its_name(monkeypatch):
    monkeypatch.setattr("sharptheory.checks.registry.REGISTRY", registry := {})

    @statement("Lemma 0", "0 ≤ 1")
    def _trivial(instance):
        return 0.0, 1.0

    @statement("Lemma 1", "1 ≤ 0", must_fail=TIGHT, identity=True)
    def _untrue(instance):
        return 1.0, 0.0

    assert registry["trivial"] == Check("trivial", "Lemma 0", "0 ≤ 1", _trivial, "", False)
    assert registry["untrue"] == Check("untrue", "Lemma 1", "1 ≤ 0", _untrue, TIGHT, True)
    assert _trivial(None) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("must_fail", "instances", "tightest", "verdict", "as_expected"),
    [
        ("", 5, 0.9, "holds", True),
        ("", 5, 1 + 1e-10, "holds", True),
        ("", 5, 1 + 1e-8, "BROKEN", False),
        ("", 0, 0.0, "premise never met", True),
        (TIGHT, 1, 1.1, "fails, as it should", True),
        (TIGHT, 1, 0.9, "HOLDS, but must fail", False),
    ],
)
def test_verdicts(must_fail, instances, tightest, verdict, as_expected):
    result = Result(Check("it", "here", "", lambda _: None, must_fail), instances, tightest, "", None)
    assert (result.verdict, result.as_expected, result.broken) == (
        verdict,
        as_expected,
        tightest > 1.0000001 - 1e-7 + 1e-9,
    )


def test_a_run_reports_every_check_in_order_with_the_instance_that_is_tightest(monkeypatch):
    from sharptheory.checks import run

    results = list(run(3, search=0))
    assert [result.check.name for result in results] == list(REGISTRY)
    erratum = next(result for result in results if result.check.must_fail)
    assert erratum.instances == 1 and erratum.instance is None and erratum.where.startswith("One response at 0.1")
    # By hand: the tightest of ten, and where.
    name = "adaptive_stopping"
    values = [ratio(REGISTRY[name], random_instance(np.random.default_rng([4, i]))) for i in range(10)]
    [result] = run(10, seed=4, search=0, names=[name])
    assert result.tightest == max(values) and result.where == f"instance {int(np.argmax(values))}"
    assert result.instances == 10 and ratio(REGISTRY[name], result.instance) == result.tightest
    name = "sft_bad_prompts"
    values = [ratio(REGISTRY[name], random_instance(np.random.default_rng([4, i]))) for i in range(10)]
    [searched] = run(10, seed=4, search=200, names=[name])
    assert searched.tightest > max(values) and searched.where == f"instance {int(np.argmax(values))} + search"
    assert ratio(REGISTRY[name], searched.instance) == searched.tightest


def test_a_premise_that_is_never_met_is_said():
    from sharptheory.checks import run

    [result] = run(5, policy=TabularPolicy.from_probs([[0.5, 0.5]]), names=["tilted_is_sharp"])
    assert (result.instances, result.tightest, result.verdict, result.instance) == (0, 0.0, "premise never met", None)
    # Statements about two numbers that agree are not searched: rounding is not worth it.
    [identity] = run(5, search=50, names=["best_of_n_hit"])
    assert "search" not in identity.where
