"""What holds for every public function that takes a pool: it cannot count a greedy row as a sample.

The functions are found by their parameter `pool`, so that a new one is held to the same.
"""

import dataclasses
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

import sharptheory
from sharptheory import measure
from sharptheory.errors import UserError
from sharptheory.measure.best_of_n import best_of_n_curve, best_of_n_weights
from sharptheory.measure.bootstrap import Estimate
from sharptheory.measure.certificate import HitRates
from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from sharptheory.measure.rewards import REWARDS
from sharptheory.measure.selection import majority_accuracy


def public_functions() -> dict[str, object]:
    """By name, every function of the room and of the public namespace that takes a pool."""
    modules = [
        importlib.import_module(f"{measure.__name__}.{each.name}") for each in pkgutil.iter_modules(measure.__path__)
    ]
    candidates = {f"{m.__name__}.{name}": value for m in modules for name, value in vars(m).items()
                  if getattr(value, "__module__", None) == m.__name__ and not name.startswith("_")
                  and "__" not in name}  # what mutation testing adds  # fmt: skip
    candidates |= {name: getattr(sharptheory, name) for name in sharptheory.__all__}
    return {
        name.rpartition(".")[2]: value
        for name, value in candidates.items()
        if inspect.isfunction(value) and "pool" in inspect.signature(value).parameters
    }


FUNCTIONS = public_functions() | {f"Reward {name}": reward for name, reward in REWARDS.items()}
FUNCTIONS["plan"] = functools.partial(FUNCTIONS["plan"], effect=0.1)

#: A value for every parameter that has no default: a new parameter needs one here.
ARGUMENTS = {"n": [1, 2, 4], "reward": "log_likelihood", "value": "correct", "within": True, "alpha": 2.0, "moment": -1.0,
             "by": "votes", "columns": ("log_likelihood", "length")}  # fmt: skip


def _rows(pool: Pool) -> pd.DataFrame:
    """The samples; a file gives token ids as arrays, a frame as lists."""
    table = pool.samples
    return table.assign(tokens=table["tokens"].map(list)) if "tokens" in table else table


#: The few that say something of the greedy responses as such; the rest of what they return must not change.
ABOUT_SAMPLES = {
    "as_pool": _rows,
    "alignment_levels": lambda levels: {name: level for name, level in levels.items() if name != "decoding methods"},
    "diagnose": lambda diagnosis: [diagnosis.certificate, diagnosis.hit_rates, _rows(diagnosis.pool)],
}


def call(name: str, pool, **given):
    """The function on a pool, with an argument for each parameter that needs one."""
    function = FUNCTIONS[name]
    positional, named = [], {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "pool" or parameter.kind == parameter.VAR_KEYWORD:
            continue
        if parameter.kind == parameter.VAR_POSITIONAL:
            positional.extend(given.get(parameter.name, ARGUMENTS[parameter.name]))
        elif parameter.name in given:
            named[parameter.name] = given[parameter.name]
        elif parameter.default is parameter.empty:
            named[parameter.name] = ARGUMENTS[parameter.name]
    result = function(pool, *positional, **named)
    return ABOUT_SAMPLES.get(name, lambda result: list(result) if isinstance(result, Iterator) else result)(result)


def assert_same(result, other) -> None:
    """Two results are equal, whatever they are made of."""
    assert type(result) is type(other)
    if isinstance(result, pd.DataFrame):
        pd.testing.assert_frame_equal(result, other)
    elif isinstance(result, pd.Series):
        pd.testing.assert_series_equal(result, other)
    elif isinstance(result, dict):
        assert result.keys() == other.keys()
        for key in result:
            assert_same(result[key], other[key])
    elif isinstance(result, (list, tuple)):
        for one, another in zip(result, other, strict=True):
            assert_same(one, another)
    elif dataclasses.is_dataclass(result) and not callable(result):
        assert_same(vars(result), vars(other))
    elif isinstance(result, (np.ndarray, float, pd.Index)):
        np.testing.assert_array_equal(result, other)
    else:
        assert result == other


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Everything a pool may have, six prompts with four samples each, in no order."""
    rng, rows = np.random.default_rng(0), []
    for x in range(6):
        probs = rng.dirichlet(np.full(4, 0.5))
        for j, y in enumerate(rng.choice(4, size=4, p=probs)):
            answer = "abc"[y % 3]
            rows.append((f"q{x}", j, f"r{y}", np.log(probs[y]), 1 + y, answer, y % 2 == 0, *rng.random(3), [int(y), 9]))
    names = ["prompt_id", "sample_id", "response", "log_likelihood", "length", "answer", "correct",
             "self_certainty", "negative_entropy", "p_true", "tokens"]  # fmt: skip
    table = pd.DataFrame(rows, columns=names).assign(finished=True)
    return table.sample(frac=1, random_state=1).set_index(np.arange(len(table)) * 7 + 3)


@pytest.fixture(scope="module")
def with_greedy(frame) -> pd.DataFrame:
    """The same, and greedy rows that would change everything if they counted."""
    absurd = dict(
        source="greedy", sample_id=2, response="greedy", log_likelihood=-1e-9, length=10**6, answer="greedy",
        self_certainty=1e9, negative_entropy=1e9, p_true=1e9, tokens=[[7] * 3] * 7,
    )  # fmt: skip
    greedy = pd.DataFrame({"prompt_id": [f"q{x}" for x in range(6)] + ["nowhere"], "finished": True} | absurd)
    greedy["correct"] = np.arange(7) % 2 == 0
    columns = [*frame.columns, "source"]
    return pd.concat([greedy[columns], frame.assign(source="model")])


def test_functions_are_found():
    assert {"curve", "diagnose", "dominance", "coverage_certificate", "rectangles"} < set(FUNCTIONS)
    assert len(FUNCTIONS) > 30


@pytest.mark.parametrize("name", FUNCTIONS)
def test_greedy_rows_are_no_samples(name, frame, with_greedy):
    assert_same(call(name, with_greedy), call(name, frame.assign(source="model")))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_file_a_pool_and_a_frame_are_the_same(name, with_greedy, tmp_path):
    with_greedy.to_parquet(tmp_path / "pool.parquet")
    for pool in (read_pool(tmp_path / "pool.parquet"), Pool.from_frame(with_greedy)):
        assert_same(call(name, with_greedy), call(name, pool))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_frame_needs_no_source(name, frame):
    """Nor do its order or its index matter."""
    source = {"as_pool", "diagnose"}
    result, other = call(name, frame), call(name, frame[::-1].reset_index(drop=True))
    assert_same(result, other)
    if name not in source:
        assert_same(call(name, frame), call(name, frame.assign(source="model")))


SEEDED = [name for name, function in FUNCTIONS.items() if "seed" in inspect.signature(function).parameters]


def random_parts(result) -> list[np.ndarray]:
    """The numbers of a result, part by part: limits of each estimate, p-values, all of a table."""
    if isinstance(result, Estimate):
        return [np.append(result.low, result.high)] if result.value.ndim == 0 else [np.array([result.low, result.high])]
    if isinstance(result, dict):
        return [part for each in result.values() for part in random_parts(each)]
    if isinstance(result, pd.DataFrame):
        return [result.to_numpy(dtype=float)]
    return [np.array(vars(result)["p_above"])] if dataclasses.is_dataclass(result) and "p_above" in vars(result) else [
        part for each in vars(result).values() if isinstance(each, Estimate) for part in random_parts(each)]  # fmt: skip


@pytest.fixture(scope="module")
def erratic() -> pd.DataFrame:
    """Fifteen prompts, six samples each, greedy responses: nothing is unanimous, so every interval has a width."""
    rng = np.random.default_rng(5)
    rows = pd.DataFrame({"prompt_id": np.repeat(np.arange(15), 7), "log_likelihood": -3 - rng.exponential(size=105),
                         "length": rng.integers(20, 23, size=105), "correct": rng.random(105) < 0.5,
                         "answer": rng.choice(list("abc"), size=105), "self_certainty": rng.random(105),
                         "source": ["greedy", *["model"] * 6] * 15})  # fmt: skip
    return rows.assign(response=[f"r{i}" for i in range(105)])


# The majority vote of so small a pool is exact.
@pytest.mark.parametrize("name", sorted(set(SEEDED) - {"diagnose", "majority_curve", "plan"}))
def test_the_seed_decides_all_that_is_random(name, erratic):
    """The same seed, the same numbers; of several seeds some move what is resampled."""
    function = FUNCTIONS[name]
    needed = {parameter: ARGUMENTS[parameter] for parameter, value in inspect.signature(function).parameters.items()
              if parameter != "pool" and value.default is value.empty}  # fmt: skip
    result = lambda seed: function(erratic, **needed, seed=seed)  # noqa: E731
    if name == "accuracy_curves":  # one of the two that are sampled
        result = lambda seed: function(erratic, **needed, seed=seed)["Borda vote by self-certainty"]  # noqa: E731
    first, *others = (random_parts(result(seed)) for seed in (1, 1, 2, 3, 4, 5, 6))
    moving = []
    for part, again, *moved in zip(first, *others, strict=True):
        np.testing.assert_array_equal(part, again)
        moving.append(not all(np.array_equal(part, each) for each in moved))
    assert len(moving) > 0 and any(moving), moving


#: Every function of the room that takes values of N, on two samples of one prompt.
OF_N = {name: lambda n, name=name: call(name, TWO_SAMPLES, n=n) for name, function in FUNCTIONS.items()
        if "n" in inspect.signature(function).parameters} | {
    "best_of_n_weights": lambda n: best_of_n_weights(2, n),
    "best_of_n_curve": lambda n: best_of_n_curve([[-1.0, -2.0]], [[0, 1]], n),
    "majority_accuracy": lambda n: majority_accuracy(["a", "b"], [0, 1], n),
    "HitRates.law": HitRates(np.ones(1), np.full(1, 0.5), Estimate.unknown(), 1, 1, 0.5, 1.0).law,
}  # fmt: skip
TWO_SAMPLES = pd.DataFrame({"prompt_id": 0, "log_likelihood": np.log([0.7, 0.3] * 2), "correct": [True, False] * 2,
                            "answer": list("abab"), "response": list("abab"), "self_certainty": 1.0}).iloc[:2]  # fmt: skip
#: Those that say something of an N larger than the pool, which need not be whole.
BEYOND = {"predict_best_of_n", "predicted_curve", "HitRates.law"}


def test_functions_of_n_are_found():
    assert {"curve", "pass_at_n", "majority_curve", "borda_curve", "accuracy_curves", "argmax_hit_rates"} <= set(OF_N)


@pytest.mark.parametrize("name", OF_N)
@pytest.mark.parametrize("n", [0, -1, np.nan, np.inf, -np.inf, [1, 0], [1, np.nan], [[1]], [], "two", [[1], [1, 2]]])
def test_what_is_no_n_is_refused(name, n):
    with pytest.raises(UserError, match=r"^n(=| has shape)"):
        OF_N[name](n)


@pytest.mark.parametrize("name", sorted(set(OF_N) - BEYOND - {"plan"}))  # which takes one N, and says so
@pytest.mark.parametrize("n", [1.5, [1, 3]])
def test_n_is_a_number_of_samples_that_there_are(name, n):
    with pytest.raises(UserError, match=rf"^n={np.max(n):g}; expected an integer from 1 to the pool size"):
        OF_N[name](n)


COLUMN_ARGUMENTS = [
    (name, parameter)
    for name, function in FUNCTIONS.items()
    for parameter in inspect.signature(function).parameters
    if parameter in ("reward", "score", "value", "columns")
]


@pytest.mark.parametrize(("name", "parameter"), COLUMN_ARGUMENTS)
def test_a_wrong_column_lists_those_there_are(name, parameter, frame):
    # A report can be about a reward only.
    known = r"one of log_likelihood, .*, or \./file\.py" if name == "diagnose" else "the pool has prompt_id, sample_id"
    with pytest.raises(UserError, match=rf"'nonsense'.*{known}"):
        call(name, frame.reset_index(drop=True).drop(columns=["self_certainty", "negative_entropy", "p_true", "tokens"]),
             **{parameter: ["nonsense"] if parameter == "columns" else "nonsense"})  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_missing_is_named(name, frame):
    """On the least that a pool may be, a function works or says which column it would need."""
    try:
        call(name, frame[["prompt_id", "log_likelihood"]])
    except UserError as error:
        assert "is missing; the pool has prompt_id, log_likelihood" in str(error)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("wrong", [None, "pool.parquet", [1, 2], {"prompt_id": [0]}])
def test_what_is_no_pool_is_refused(name, wrong):
    with pytest.raises(UserError, match=f"pool is a {type(wrong).__name__}; expected what read_pool returns"):
        call(name, wrong)
