"""Every registered statement on random, adversarial and searched instances; every erratum on its counterexample."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, target

from sharptheory.checks import REGISTRY, ratio, run
from sharptheory.checks.instances import Instance, neighbour
from sharptheory.testing import assert_holds, instances
from sharptheory.theory.policies import TabularPolicy

STATEMENTS = [name for name, check in REGISTRY.items() if not check.must_fail]
ERRATA = [name for name, check in REGISTRY.items() if check.must_fail]
COMMON = dict(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", STATEMENTS)
def test_statement_holds_on_random_instances_and_under_search(name):
    [result] = run(250, seed=0, search=100, names=[name])
    assert result.instances > 0 and result.verdict == "holds", (
        f"{result.tightest:.12g} at {result.where}: {result.instance}"
    )


@pytest.mark.parametrize("name", STATEMENTS)
@settings(max_examples=60, derandomize=True, **COMMON)
@given(instance=instances())
def test_statement_holds_on_adversarial_instances(name, instance):
    value = assert_holds(name, instance)
    if value is not None and np.isfinite(value):
        target(value, label=name)


@pytest.mark.parametrize("name", ERRATA)
def test_erratum_fails_on_its_counterexample(name):
    assert ratio(REGISTRY[name], None) > 1.01


def test_printed_lemma_4_1_prime_has_the_documented_numbers():
    quantity, bound = REGISTRY["lemma_4_1_prime_as_printed"].evaluate(None)
    assert quantity == pytest.approx(9.998, abs=5e-4) and bound == pytest.approx(2.02, abs=5e-3)


def test_the_search_tightens_and_the_seed_decides():
    random, searched = (next(run(100, seed=3, search=s, names=["sft_bad_prompts"])) for s in (0, 300))
    assert searched.tightest > random.tightest
    assert next(run(100, seed=3, search=0, names=["sft_bad_prompts"])).tightest == random.tightest
    assert next(run(100, seed=4, search=0, names=["sft_bad_prompts"])).tightest != random.tightest


def test_a_broken_statement_is_reported_broken(monkeypatch):
    """The registry can fail: a bound ten times too small is found out."""
    from dataclasses import replace

    check = REGISTRY["best_of_n_kl"]
    false = replace(check, evaluate=lambda i: (check.evaluate(i)[0], check.evaluate(i)[1] / 10))
    monkeypatch.setitem(REGISTRY, "best_of_n_kl", false)
    [result] = run(200, names=["best_of_n_kl"])
    assert result.verdict == "BROKEN" and not result.as_expected


def test_a_given_policy_stays_as_it_is():
    policy = TabularPolicy.from_probs([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], mu=[0.25, 0.75])
    [result] = run(20, policy=policy, search=30, names=["adaptive_stopping"])
    np.testing.assert_allclose(result.instance.policy.probs, policy.probs)
    np.testing.assert_allclose(result.instance.policy.mu, policy.mu)


@pytest.mark.slow
@pytest.mark.parametrize("name", STATEMENTS)
def test_statement_holds_on_ten_thousand_instances(name):
    [result] = run(12_000 if name != "hellinger_price" else 60_000, seed=7, search=3_000, names=[name])
    assert result.verdict == "holds" and result.instances >= 5_000, f"{result.tightest:.12g} at {result.where}"


@pytest.mark.slow
@pytest.mark.parametrize("name", STATEMENTS)
@settings(max_examples=2_000, **COMMON)
@given(instance=instances())
def test_statement_holds_on_many_adversarial_instances(name, instance):
    value = assert_holds(name, instance)
    if value is not None and np.isfinite(value):
        target(value, label=name)


def test_the_search_never_leaves_the_policies():
    """Copying an impossible response over the last possible one would leave a row without mass."""
    rng = np.random.default_rng(0)
    instance = Instance(
        np.array([[0.0, -np.inf]]), np.array([[0.0, -np.inf]]), np.zeros((1, 2)), np.zeros(1), np.full(5, 0.5)
    )
    for _ in range(500):
        moved = neighbour(instance, rng)
        assert np.isfinite(moved.logits).any() and np.isfinite(moved.other).any()
