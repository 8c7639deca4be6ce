"""The registry of checks: statements paired with the quantity they bound, and how they are attacked.

A `Check` maps an `Instance` to ``(quantity, bound)`` and claims ``quantity ≤ bound``. The statements are in the
other modules of `sharptheory.checks`; the property tests and the command run whatever is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sharptheory.checks.instances import Instance, neighbour, random_instance
from sharptheory.theory.policies import TabularPolicy

#: Relative slack for rounding: a statement is broken only beyond it.
SLACK = 1e-9
#: Probabilities that are zero in exact arithmetic come out below this.
TINY = 1e-12

# Why a check must fail.
FALSE = "false as printed"
INCONSISTENT = "inconsistent as printed"
TIGHT = "tight: false beyond its premise"


@dataclass(frozen=True)
class Check:
    """A statement ``quantity ≤ bound``.

    Attributes:
        name: short, unique; source: its number in the paper or here; statement: in one line.
        evaluate: ``instance → (quantity, bound)``, scalars or arrays; None where a premise fails.
        must_fail: why the check must *fail*, on the counterexample that `evaluate` then carries (its docstring says
            which): `FALSE`, `INCONSISTENT` or `TIGHT`; empty for a statement that holds.
        identity: the bound is a tolerance on the difference of two computations.
    """

    name: str
    source: str
    statement: str
    evaluate: Callable[[Instance], tuple | None]
    must_fail: str = ""
    identity: bool = False


REGISTRY: dict[str, Check] = {}


def statement(source: str, text: str, *, must_fail: str = "", identity: bool = False):
    """Register the decorated function as the check of a statement, named after it.

    Args:
        source, text, must_fail, identity: see `Check`.
    """

    def register(function):
        name = function.__name__.removeprefix("_")
        REGISTRY[name] = Check(name, source, text, function, must_fail, identity)
        return function

    return register


def ratio(check: Check, instance: Instance) -> float | None:
    """Largest ``quantity / bound`` of a check on an instance; None where its premise fails. Above 1 it is broken.

    Args:
        check: of the registry. instance: None for a check that carries its counterexample.
    """
    pair = check.evaluate(instance)
    if pair is None:
        return None
    quantity, bound = np.broadcast_arrays(*(np.asarray(side, dtype=float) for side in pair))
    if np.isnan(quantity).any() or np.isnan(bound).any():
        return float("inf")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        values = quantity / bound
    values = np.where(quantity <= TINY, np.minimum(values, 1.0), values)  # 0 ≤ 0 with rounding
    values = np.where(bound < 0, np.inf, np.where((quantity <= 0) | (bound == np.inf), 0.0, values))
    return float(values.max())


def same(left: np.ndarray, right: np.ndarray, tolerance: float = 1e-9) -> tuple:
    """Two computations of one number, as (relative difference, tolerance); equal infinities agree.

    Args:
        left, right: any shape. tolerance: relative, absolute below 1.
    """
    left, right = np.asarray(left, dtype=float), np.asarray(right, dtype=float)
    with np.errstate(invalid="ignore"):
        difference = np.where(left == right, 0.0, np.abs(left - right) / np.maximum(1.0, np.abs(right)))
    return difference, tolerance


# Running --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """Outcome of one check: instances whose premise held, the tightest ratio met, and the instance that reached it."""

    check: Check
    instances: int
    tightest: float
    where: str
    instance: Instance | None

    @property
    def broken(self) -> bool:
        return self.tightest > 1 + SLACK

    @property
    def verdict(self) -> str:
        if self.check.must_fail:
            return "fails, as it should" if self.broken else "HOLDS, but must fail"
        return "BROKEN" if self.broken else "holds" if self.instances else "premise never met"

    @property
    def as_expected(self) -> bool:
        return self.broken == bool(self.check.must_fail)


def run(
    n_instances: int, *, seed: int = 0, policy: TabularPolicy | None = None, search: int = 200,
    names: list[str] | None = None,
) -> Iterator[Result]:  # fmt: skip
    """Run the registry on random instances, then climb from the tightest one of each check.

    Args:
        n_instances: random instances per check. seed: decides them and the climb. policy: a fixed base policy.
        search: steps of the climb. names: checks to run, default all.

    Returns:
        A `Result` per check, as soon as it is done.
    """
    fixed = {} if policy is None else {"logits": np.asarray(policy.log_probs), "mu": policy.mu}
    for check in REGISTRY.values() if names is None else [REGISTRY[name] for name in names]:
        if check.must_fail:
            yield Result(check, 1, ratio(check, None), " ".join(check.evaluate.__doc__.split()), None)
            continue
        best, best_instance, where, met = -np.inf, None, "", 0
        for i in range(n_instances):
            instance = random_instance(np.random.default_rng([seed, i]), **fixed)
            value = ratio(check, instance)
            if value is None:
                continue
            met += 1
            if value > best:
                best, best_instance, where = value, instance, f"instance {i}"
        rng = np.random.default_rng([seed, len(check.name)])
        for _ in range(search if best_instance is not None and not check.identity else 0):
            candidate = neighbour(best_instance, rng, fixed_policy=policy is not None)
            value = ratio(check, candidate)
            if value is not None and value > best:
                best, best_instance = value, candidate
                where = f"{where.split(' +')[0]} + search"
        yield Result(check, met, max(best, 0.0) if met else 0.0, where, best_instance)
