"""Every number of a summary lies where such a number can lie, its limits included, also for the fewest prompts."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from sharptheory.report import schema
from sharptheory.report.schema import Interval, Summary
from sharptheory.report.summary import diagnose

SHARE, DIFFERENCE, LOG, POSITIVE, ANY = (0, 1), (-1, 1), (-math.inf, 0), (0, math.inf), (-math.inf, math.inf)
COUNT, INVERSE = (0, math.inf), (1, math.inf)

#: Where each number of the schema lies. A new field needs a line here.
RANGES = {
    "Sampling": {"n_prompts": COUNT, "n_samples": COUNT, "n_samples_max": COUNT, "n_responses": COUNT,
                 "n_graded_prompts": COUNT, "n_mixed_prompts": COUNT, "accuracy": SHARE, "log_likelihood": LOG, "unfinished": SHARE,
                 "unreadable": SHARE},
    "Greedy": {"accuracy": SHARE, "log_likelihood": LOG},
    "BestOfN": {"n": COUNT, "accuracy": SHARE, "over_sampling": DIFFERENCE, "log_likelihood": LOG},
    "Accuracy": {"n": COUNT, "accuracy": SHARE},
    "RewardAccuracy": {"n": COUNT, "accuracy": SHARE, "over_reward": DIFFERENCE},
    "Summary": {"missed": SHARE},
    "Peak": {"n": COUNT, "accuracy": SHARE, "over_last": DIFFERENCE},
    "Check": {"n": COUNT, "predicted": SHARE, "measured": SHARE, "error": POSITIVE},
    "Alignment": {"within": SHARE, "pooled": SHARE, "levels": SHARE},
    "RewardEfficiency": {"correlation": DIFFERENCE, "slope": DIFFERENCE, "shared_slope": DIFFERENCE,
                         "best_of_two": DIFFERENCE},
    "Dominance": {"above": SHARE, "p_above": SHARE, "below": SHARE, "p_below": SHARE, "n_prompts": COUNT},
    "Length": {"sampled": POSITIVE, "best_of_n": POSITIVE, "over_sampling": ANY},
    "RewardCurve": {"auc": SHARE},
    "LengthConfound": {"correlation": DIFFERENCE, "auc": SHARE, "auc_given_length": SHARE, "accuracy": SHARE,
                       "accuracy_adjusted": SHARE, "slope": ANY, "n_prompts": COUNT},
    "Coverage": {"certified": SHARE, "coefficient": INVERSE, "log_coefficient_high": POSITIVE, "at_least": INVERSE,
                 "low_estimate": INVERSE, "high_estimate": INVERSE, "median_log_p": LOG, "undersampled": SHARE,
                 "renyi_2": POSITIVE},
    "HitRates": {"n_prompts": COUNT, "n_samples": COUNT, "hits": COUNT, "expected": COUNT, "p_value": SHARE},
    "HitRate": {"n": COUNT, "predicted": SHARE, "measured": SHARE},
    "Answers": {"voting": SHARE, "certified": SHARE, "shown": SHARE, "coefficient": INVERSE, "at_least": INVERSE,
                "low_estimate": INVERSE, "high_estimate": INVERSE, "unrepeated": SHARE, "median_margin": POSITIVE,
                "limit_low": SHARE, "limit_high": SHARE, "limit_known": SHARE},
    "PluralityLaw": {"n_prompts": COUNT, "n_samples": COUNT},
    "PluralityRate": {"n": COUNT, "predicted": SHARE, "measured": SHARE, "difference": DIFFERENCE},
    "Cost": {"prompts": POSITIVE, "responses": POSITIVE, "queries": POSITIVE, "tokens": POSITIVE},
}  # fmt: skip
#: The two gains are of one type; only that over sampling has a sign.
GAINS = {
    "gain_over_sampling": {"accuracy": DIFFERENCE, "log_likelihood": POSITIVE},
    "gain_over_greedy": {"accuracy": DIFFERENCE, "log_likelihood": ANY},
}
WRAPPERS = (Interval, schema.Range)


def numbers(part, ranges=None, where="summary"):
    """``(where, number, low, high)`` for every number of a part, intervals with their limits."""
    ranges = RANGES.get(type(part).__name__, {}) if ranges is None else ranges
    for field in dataclasses.fields(part):
        value, name = getattr(part, field.name), f"{where}.{field.name}"
        for each in value if isinstance(value, tuple) else value.values() if isinstance(value, dict) else [value]:
            if each is None or isinstance(each, (str, bool)):
                continue
            if dataclasses.is_dataclass(each) and not isinstance(each, WRAPPERS):
                yield from numbers(each, GAINS.get(field.name), name)
            elif name != "summary.provenance":
                ends = ranges[field.name]  # a KeyError: a new number, whose range is to be declared above
                inner = (
                    (each,) if isinstance(each, (int, float)) else (each.low, getattr(each, "value", None), each.high)
                )
                known = [number for number in inner if number is not None]
                assert known == sorted(known), name
                yield from ((name, number, *ends) for number in known)


def walked(summary: Summary) -> set[str]:
    """The places of all numbers, each of which was inside its range."""
    seen = set()
    for name, number, low, high in numbers(summary):
        assert low - 1e-12 <= number <= high + 1e-12, f"{name} = {number} is not in [{low}, {high}]"
        seen.add(name)
    return seen


def pool_of_everything(n_prompts: int, m: int, rng: np.random.Generator) -> pd.DataFrame:
    """All that a report can say something about, erratic: prompts differ as much as they can."""
    rows = []
    for x in range(n_prompts):
        probs = np.sort(rng.dirichlet(np.full(5, rng.choice([0.1, 1.0]))))[::-1]
        right, length = rng.random(5) < rng.choice([0.05, 0.5, 0.95]), rng.integers(1, 40, size=5) * rng.choice([1, 50])
        chosen = np.append(rng.choice(5, size=m, p=probs), rng.integers(5))
        for j, y in enumerate(chosen):
            rows.append(dict(prompt_id=x, response="abcde"[y], log_likelihood=np.log(probs[y] + 1e-12), length=length[y],
                             correct=right[y], answer="abcde"[y], finished=True, source="greedy" if j == m else "model",
                             self_certainty=rng.random(), unreadable=None if right[y] else "no answer"))  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("n_prompts", [1, 2, 3, 4, 5, 7, 9])
def test_every_number_of_few_prompts_is_in_its_range(n_prompts):
    rng, seen = np.random.default_rng(n_prompts), set()
    for m in (2, 8, 9):
        seen |= walked(diagnose(pool_of_everything(n_prompts, m, rng)).summary)
    assert {"summary.gain_over_greedy.accuracy", "summary.prediction.curve.accuracy", "summary.coverage.high_estimate",
            "summary.length.confound.correlation", "summary.rewards.curve.over_reward", "summary.missed"} <= seen  # fmt: skip


@pytest.mark.parametrize("n_prompts", [2, 5])
def test_prompts_that_disagree_entirely_keep_their_limits_inside(n_prompts):
    """A gain of +1 on one prompt and of -1 on another: Student's limits alone would be beyond ±100 points."""
    frames = [pd.DataFrame({"prompt_id": x, "log_likelihood": [-1e-9, -30.0, -30.0], "response": ["a", "b", "b"],
                            "length": [1, 100, 100] if x % 2 else [100, 1, 1], "source": ["model", "model", "greedy"],
                            "correct": [x % 2 == 0, x % 2 == 1, x % 2 == 1]}) for x in range(n_prompts)]  # fmt: skip
    summary = diagnose(pd.concat(frames)).summary
    walked(summary)
    gain = summary.gain_over_greedy.accuracy
    assert -1 <= gain.low < 0 < gain.high <= 1 and (n_prompts == 5 or (gain.low, gain.high) == (-1, 1))
    assert summary.length.confound.correlation.high == pytest.approx(gain.high)
