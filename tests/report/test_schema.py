"""summary.json: a file is read back as it was, its schema is the committed one, and every kind of summary keeps to it."""

import dataclasses
import json
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest

import sharptheory as st
from experiments import tables
from sharptheory.errors import UserError
from sharptheory.report.schema import (
    Check,
    HitRate,
    HitRates,
    Interval,
    Prediction,
    Summary,
    field_list,
    json_schema,
)
from sharptheory.report.summary import diagnose
from tests.conftest import pool_from_table
from tests.report.pools import hand_pool, table_pool

ROOT = Path(__file__).parents[2]


def minuscule() -> pd.DataFrame:
    """Likelihoods whose inverse overflows."""
    return table_pool(aligned=1.0, n_prompts=6, m=4).assign(log_likelihood=lambda pool: 1_000 * pool["log_likelihood"])


KINDS = {
    "graded": lambda: table_pool(aligned=0.7, n_prompts=12, m=16),
    "with greedy and lengths": hand_pool,
    "ungraded": lambda: table_pool(aligned=1.0, n_prompts=6, m=4).drop(columns="correct"),
    "minimal foreign": lambda: hand_pool()[["prompt_id", "log_likelihood", "correct"]],
    "one prompt": lambda: table_pool(aligned=1.0, n_prompts=1),
    "one sample": lambda: table_pool(aligned=1.0, m=1),
    "overflowing": minuscule,
    "nothing finished": lambda: table_pool(aligned=1.0, n_prompts=6, m=4).assign(finished=False),
    "not likelihoods of samples": lambda: hand_pool().assign(log_likelihood=-0.1),
}


@pytest.fixture(scope="module", params=KINDS)
def summary(request) -> Summary:
    return diagnose(KINDS[request.param](), provenance={"seed": 0, "nested": {"list": [1, 2.5, None]}}).summary


def test_a_summary_is_read_back_as_it_was(summary):
    assert Summary.from_json(summary.to_json()) == summary


def test_a_summary_keeps_to_the_schema(summary):
    jsonschema.validate(json.loads(summary.to_json()), json_schema(), cls=jsonschema.Draft202012Validator)


def test_the_schema_is_a_schema_and_the_committed_one():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json.loads((ROOT / "docs/summary.schema.json").read_text()) == json_schema()


def test_the_schema_refuses_what_a_summary_is_not():
    content = json.loads(diagnose(hand_pool()).summary.to_json())
    for wrong in (
        content | {"schema_version": "1"},
        content | {"sampling": content["sampling"] | {"n_prompts": 2.5}},
        content | {"rewards": None},
        content | {"unknown": 1},
        {name: part for name, part in content.items() if name != "coverage"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, json_schema())


def test_every_field_is_documented_on_its_page():
    page = (ROOT / tables.SUMMARY_PAGE).read_text()
    assert page == tables.filled(page) and field_list() in page
    assert "| `accuracy` | Interval or null | accuracy of one sample; null if nothing is graded |" in page


def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    st.write_report(diagnose(hand_pool()), "out/first-light", title="t")
    hand_pool().to_parquet("out/first-light/pool.parquet")
    code = (ROOT / tables.SUMMARY_PAGE).read_text().split("```python\n")[1].split("```")[0]
    *statements, last = code.strip().splitlines()
    names: dict = {}
    exec("\n".join(statements), names)
    assert eval(last, names) is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"schema_version": "1"}, "found schema_version '1'; expected '4'"),
        (lambda c: [c], "found schema_version None"),
        (lambda c: {k: v for k, v in c.items() if k != "peak"}, "summary: field 'peak' is missing"),
        (lambda c: c | {"extra": 1}, "summary: field 'extra' is unknown"),
        (lambda c: c | {"sampling": 3}, "summary.sampling: found 3; expected Sampling"),
        (lambda c: c | {"sampling": c["sampling"] | {"n_prompts": True}}, "n_prompts: found True; expected integer"),
        (lambda c: c | {"sampling": c["sampling"] | {"n_prompts": 1.5}}, "n_prompts: found 1.5; expected integer"),
        (lambda c: c | {"best_of_n": [{"n": 1}]}, "summary.best_of_n[0]: field 'accuracy' is missing"),
        (lambda c: c | {"provenance": None}, "summary.provenance: found None; expected object"),
    ],
)
def test_a_file_that_is_no_summary_is_refused_by_field(change, message):
    content = json.loads(diagnose(hand_pool()).summary.to_json())
    with pytest.raises(UserError) as error:
        Summary.from_json(json.dumps(change(content)))
    assert message in str(error.value)
    for text, message in (
        ("{", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        (f'{{"n": {"1" * 5_000}}}', "5000 digits"),
    ):
        with pytest.raises(UserError, match=f"summary.*{message}"):
            Summary.from_json(text)


def test_no_number_of_a_file_is_nan_or_infinite():
    def refuse(name):
        raise AssertionError(name)

    for pool in (minuscule(), KINDS["nothing finished"]()):
        summary = diagnose(pool).summary
        assert summary.coverage.coefficient.high is None
        json.loads(summary.to_json(), parse_constant=refuse)
    with pytest.raises(ValueError, match="JSON compliant"):
        dataclasses.replace(summary, provenance={"x": np.nan}).to_json()


@pytest.mark.parametrize(
    ("low", "high", "n_prompts", "null", "direction"),
    [
        (0.1, 0.2, 20, 0.0, 1),
        (-0.2, -0.1, 20, 0.0, -1),
        (-0.1, 0.1, 100, 0.0, 0),
        (0.0, 0.1, 100, 0.0, 0),
        (0.1, 0.2, 19, 0.0, 0),
        (None, None, 1, 0.0, 0),
        (0.55, 0.6, 50, 0.5, 1),
        (0.4, 0.45, 50, 0.5, -1),
        (0.4, 0.6, 50, 0.5, 0),
    ],
)
def test_an_interval_decides_only_what_it_excludes_on_enough_prompts(low, high, n_prompts, null, direction):
    assert Interval(0.0, low, high, n_prompts).direction(null) == direction


def test_a_prediction_is_trusted_if_half_of_its_checks_agree():
    summary = diagnose(table_pool(aligned=0.8, n_prompts=24, m=8)).summary
    assert summary.judged
    check = Check(1, 0.5, 0.5, 0.1, agrees=True)
    for agreeing, total, trusted in ((0, 5, False), (2, 5, False), (3, 5, True), (1, 4, False), (2, 4, True)):
        checks = tuple(dataclasses.replace(check, agrees=i < agreeing) for i in range(total))
        prediction = Prediction(summary.prediction.curve, checks)
        assert prediction.agreeing == agreeing and prediction.trusted == trusted
        assert bool(dataclasses.replace(summary, prediction=prediction).forecast) == trusted
        cut = dataclasses.replace(summary.sampling, unfinished=0.21)
        assert dataclasses.replace(summary, prediction=prediction, sampling=cut).forecast == ()


@pytest.mark.parametrize(
    ("measured", "error", "open_"),
    [
        (0.5, 0.25, True),
        (0.5, 0.26, False),
        (0.3, 0.26, True),
        (0.7, 0.35, True),
        (0.7, 0.36, False),
        (0.5, None, False),
    ],
)
def test_a_check_counts_only_if_something_could_have_contradicted_it(measured, error, open_):
    """1.96 standard errors against the farthest that a prediction could be off."""
    check = Check(1, measured, measured, error, agrees=True)
    prediction = Prediction((), (check,))
    assert check.open == open_ == prediction.trusted and prediction.agreeing == len(prediction.open_checks) == open_


def test_the_law_is_refuted_at_5_percent_and_where_its_points_say_so():
    inside, outside = HitRate(1, 0.5, Interval(0.6, 0.5, 0.7, 10)), HitRate(2, 0.71, Interval(0.6, 0.5, 0.7, 10))
    refuted = [HitRates(10, 20, (inside, outside), 12, 10.0, p).refuted for p in (0.0499, 0.05, 1.0)]
    assert refuted == [True, False, False]
    assert HitRates(10, 20, (inside, outside), 12, 10.0, 1.0).outside == [2]


def test_likelihoods_of_another_temperature_refute_the_law():
    """Likelihoods of the model, samples of its square: the likeliest response comes up too often."""
    rng = np.random.default_rng(0)
    probs = np.sort(rng.dirichlet(np.full(4, 1.0), size=60), axis=1)[:, ::-1]
    sharp = probs**2 / (probs**2).sum(axis=1, keepdims=True)
    for sampled, unmet in ((probs, ()), (sharp, ("law",))):
        pool = pool_from_table(sampled, 16, rng, correct=np.arange(4) == rng.integers(0, 4, size=60)[:, None])
        pool["log_likelihood"] = np.log(probs[pool["prompt_id"], [y for (y,) in pool["tokens"]]])
        assert diagnose(pool).summary.unmet == unmet


def test_a_whole_number_is_a_number():
    content = json.loads(diagnose(hand_pool()).summary.to_json())
    content["greedy"]["log_likelihood"]["value"] = -2
    value = Summary.from_json(json.dumps(content)).greedy.log_likelihood.value
    assert value == -2.0 and type(value) is float
    with pytest.raises(UserError, match=r"summary.greedy.log_likelihood.value: found '-2'; expected number"):
        Summary.from_json(json.dumps(content).replace('"value": -2,', '"value": "-2",'))


def test_the_file_is_text_of_a_line_for_each_value():
    text = diagnose(hand_pool(), provenance={"a": "ä"}).summary.to_json()
    first = (
        '{\n "schema_version": "4",\n "reward": "log_likelihood",\n "notes": [],\n "sampling": {\n  "n_prompts": 8,\n'
    )
    assert text.startswith(first) and text.endswith("}\n")
    with pytest.raises(UserError, match="found schema_version None; expected '4'"):
        Summary.from_json("{}")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rewards", {}, "summary.rewards: found {}; expected list of RewardCurve"),
        ("best_of_n", [3], r"summary.best_of_n\[0\]: found 3; expected BestOfN"),
        ("provenance", [], r"summary.provenance: found \[\]; expected object"),
        ("coverage_refused", 1, "summary.coverage_refused: found 1; expected string"),
        ("sampling", "x" * 99, f"summary.sampling: found '{'x' * 59}; expected Sampling"),
    ],
)
def test_a_wrong_type_is_named(field, value, message):
    content = json.loads(diagnose(hand_pool()).summary.to_json())
    with pytest.raises(UserError, match=message):
        Summary.from_json(json.dumps(content | {field: value}))


def test_an_interval_without_width_is_a_point():
    assert Interval(0.5, 0.5, 0.5 + 1e-13, 9).point and not Interval(0.5, 0.5, 0.5 + 1e-11, 9).point
    assert not Interval(0.5, None, None, 1).point and not Interval(0.5, 0.5, None, 1).point
    assert Interval(0.5, 0.4, 0.6, None).direction() == 0


@pytest.mark.parametrize(
    ("unfinished", "n_mixed", "unmet"),
    [
        (None, 20, ()),
        (0.2, 20, ()),
        (0.2001, 20, ("unfinished",)),
        (0.0, 19, ("mixed prompts",)),
        (0.3, 0, ("unfinished", "mixed prompts")),
    ],
)
def test_a_verdict_needs_whole_responses_and_prompts_that_decide(unfinished, n_mixed, unmet):
    summary = diagnose(hand_pool()).summary
    sampling = dataclasses.replace(summary.sampling, unfinished=unfinished, n_mixed_prompts=n_mixed)
    summary = dataclasses.replace(summary, sampling=sampling)
    assert summary.unmet == unmet and summary.judged == (not unmet)
