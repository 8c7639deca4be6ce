"""[S8]: what a pool proves about the power law holds on every enumerated table, and is exact when the pool has seen all."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from sharptheory.errors import UserError
from sharptheory.measure.certificate import coverage_certificate
from sharptheory.measure.pool import Pool
from sharptheory.measure.power_bounds import matched_power, power_certificate, power_mean_bounds
from sharptheory.theory import divergences, laws
from tests.conftest import pool_from_table

POWERS = st.floats(1.001, 60)
tables = st.lists(st.floats(1e-9, 1), min_size=1, max_size=9).map(lambda row: np.array(row) / np.sum(row))


def seen(probs: np.ndarray, which, correct=None) -> pd.DataFrame:
    """A pool of one prompt in which the given responses were sampled, once each."""
    which = np.asarray(which)
    frame = pd.DataFrame({"prompt_id": 0, "response": [f"r{y}" for y in which], "log_likelihood": np.log(probs[which])})
    return frame if correct is None else frame.assign(correct=np.asarray(correct, dtype=bool)[which])


def truth(probs: np.ndarray, alpha: float) -> dict[str, float]:
    log_p = np.log(probs)
    law = laws.power(log_p, alpha)
    return {
        "log_z": logsumexp(alpha * log_p),
        "renyi": float(divergences.renyi_entropy(log_p, alpha)),
        "mean": float(np.exp(law) @ log_p),
        "kl": float(divergences.kl(law, log_p)),
    }


@settings(max_examples=100)
@given(tables, POWERS, st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_the_truth_is_always_inside(probs, alpha, m, seed):
    rng = np.random.default_rng(seed)
    correct = rng.random(len(probs)) < 0.5
    pool = pool_from_table(probs[None], m, rng, correct[None])
    row = power_certificate(pool, alpha).iloc[0]
    for name, value in truth(probs, alpha).items():
        slack = 1e-9 * max(1.0, alpha, abs(value))
        assert row[f"{name}_low"] - slack <= value <= row[f"{name}_high"] + slack, name
    exact = float(np.exp(laws.power(np.log(probs), alpha)) @ correct)
    bounds = power_mean_bounds(pool, alpha).iloc[0]
    assert bounds["low"] - 1e-9 <= exact <= bounds["high"] + 1e-9


@settings(max_examples=60)
@given(tables, POWERS)
def test_a_pool_that_has_seen_everything_leaves_nothing_open(probs, alpha):
    row = power_certificate(seen(probs, range(len(probs))), alpha).iloc[0]
    for name, value in truth(probs, alpha).items():
        # 1 - S is only known to rounding: 1e-16 of unseen mass may weigh much next to a tiny A.
        if alpha < 3:
            assert row[f"{name}_low"] == pytest.approx(value, abs=1e-6) == row[f"{name}_high"], name


@settings(max_examples=40)
@given(tables, st.floats(1.01, 30), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_matched_power_is_inside(probs, alpha, m, seed):
    pool = pool_from_table(probs[None], m, np.random.default_rng(seed))
    moment = truth(probs, alpha)["mean"]
    if np.ptp(probs) < 1e-6:  # a uniform law has one moment at every power
        return
    low, high = matched_power(pool, moment)
    [row] = matched_power(pool, pd.Series([moment])).itertuples()
    assert (row.alpha_low, row.alpha_high) == (low, high)
    # The moment itself is known to rounding, and near the argmax law says little of α.
    gap = np.sort(np.log(probs))[-1] - moment
    if gap > 1e-6:
        assert low <= alpha + 1e-4 * alpha and high >= alpha - 1e-4 * alpha


def test_bounds_close_as_mass_is_seen():
    probs = np.array([0.4, 0.3, 0.2, 0.06, 0.04])
    widths = []
    for count in (1, 2, 3, 4, 5):
        row = power_certificate(seen(probs, range(count)), 2.0).iloc[0]
        widths.append([row[f"{name}_high"] - row[f"{name}_low"] for name in ("log_z", "renyi", "mean", "kl")])
    assert (np.diff(widths, axis=0) < 0).all() and np.max(widths[-1]) < 1e-9
    low, high = matched_power(seen(probs, range(4)), truth(probs, 2.5)["mean"])
    assert 2.4 < low < 2.5 < high < 2.6
    assert matched_power(seen(probs, range(5)), truth(probs, 2.5)["mean"]) == pytest.approx((2.5, 2.5), abs=1e-9)


def test_by_hand():
    """.6 and .3 seen, .1 not: A = .45, U² = .01."""
    [row] = power_certificate(seen(np.array([0.6, 0.3, 0.1]), [0, 1]), 2.0).itertuples()
    assert np.exp([row.log_z_low, row.log_z_high]) == pytest.approx([0.45, 0.46])
    assert (row.renyi_low, row.renyi_high) == pytest.approx((-np.log(0.46), -np.log(0.45)))
    mean = (0.36 * np.log(0.6) + 0.09 * np.log(0.3)) / 0.45
    assert row.mean_high == pytest.approx(mean)
    # The worst that .1 can be is one response: the smaller ones weigh less.
    assert row.mean_low == pytest.approx(truth(np.array([0.6, 0.3, 0.1]), 2.0)["mean"])
    # Closer than with the plain bound of the unseen sum, U h = U² log(1/U).
    assert row.mean_low > mean - 0.01 * np.log(10) / 0.45
    assert row.kl_high == pytest.approx(mean - np.log(0.45))
    assert row.kl_low == pytest.approx(row.mean_low - np.log(0.46))


def test_the_worst_unseen_law_attains_the_lower_mean():
    """The bound is sharp: pieces of the size that maximises what a unit of mass can add."""
    alpha, seen_mass = 1.5, np.array([0.5, 0.2])
    bound = power_certificate(seen(seen_mass, [0, 1]), alpha)["mean_low"].iloc[0]
    pieces = round(0.3 / np.exp(bound - 1 / (alpha - 1)))
    probs = np.append(seen_mass, np.full(pieces, 0.3 / pieces))
    assert truth(probs, alpha)["mean"] == pytest.approx(bound, abs=1e-3)


@settings(max_examples=60)
@given(tables, st.floats(1.05, 8), st.floats(0.001, 0.3), st.integers(0, 2**32 - 1))
def test_scores_that_scatter_widen_the_bounds_enough(probs, alpha, noise, seed):
    """Every score is off by up to τ either way; that τ shows as the scatter of a response scored twice."""
    rng = np.random.default_rng(seed)
    correct = rng.random(len(probs)) < 0.5
    drawn = np.unique(rng.choice(len(probs), size=6, p=probs))
    errors = rng.uniform(-noise, 0.0, size=len(drawn))
    scores = np.minimum(np.log(probs[drawn]) + errors, 0.0)
    extra = drawn[:1]
    frame = pd.DataFrame({"prompt_id": 0, "tokens": [[int(y)] for y in np.append(drawn, extra)],
                          "log_likelihood": np.append(scores, scores[0] - noise),
                          "correct": correct[np.append(drawn, extra)]})  # fmt: skip
    row = power_certificate(frame, alpha).iloc[0]
    for name, value in truth(probs, alpha).items():
        assert row[f"{name}_low"] - 1e-8 <= value <= row[f"{name}_high"] + 1e-8, name
    exact = float(np.exp(laws.power(np.log(probs), alpha)) @ correct)
    bounds = power_mean_bounds(frame, alpha).iloc[0]
    assert bounds["low"] - 1e-9 <= exact <= bounds["high"] + 1e-9


def test_bounds_of_a_near_certain_mean_allow_for_scores_that_scatter():
    """The right response looks e^40 times heavier than the wrong one, and errors of .3 either way are worth e^48."""
    scores = np.add([0.3, 0.0, -0.3, 0.3], np.log([0.45, 0.45, 0.5, 0.05]))
    pool = pd.DataFrame(
        {"prompt_id": 0, "tokens": [[1], [1], [2], [3]], "log_likelihood": scores, "correct": [1, 1, 0, 0]}
    )
    [bound] = power_mean_bounds(pool, 80.0).itertuples()
    exact = 1 / (1 + (0.5 / 0.45) ** 80)
    assert 0 < bound.low < exact < bound.high
    gap, slack = 80 * (scores[0] - scores[2]), 160 * (scores[0] - scores[1])
    assert bound.low == pytest.approx(1 / (1 + np.exp(slack - gap)), rel=1e-6) and bound.high == pytest.approx(1.0)
    mirrored = power_mean_bounds(pool.assign(correct=1 - pool["correct"]), 80.0).iloc[0]
    assert mirrored["low"] == pytest.approx(1 - bound.high, abs=1e-12) and mirrored["high"] == pytest.approx(
        1 - bound.low
    )


def test_a_scatter_seen_on_one_prompt_is_allowed_for_on_all():
    """As in the certificate of coverage: an engine whose scores scatter does so everywhere."""
    pool = pd.DataFrame({"prompt_id": [0, 0, 1], "tokens": [[1], [1], [2]], "log_likelihood": [-1.0, -1.2, -1.0]})
    table, certified = power_certificate(pool, 2.0), coverage_certificate(pool)
    np.testing.assert_allclose(table["log_z_low"], [-2.4, -2.4])
    np.testing.assert_allclose(certified["log_p_low"], [-1.2, -1.2])


def test_prompts_need_not_be_in_the_order_of_their_ids():
    """The right answer of one prompt is the likely one, of the other the unlikely one."""
    probs, names = np.array([0.6, 0.4]), np.array(["z", "z", "a", "a"])
    frame = pd.concat([seen(probs, [0, 1], right).assign(prompt_id=x) for x, right in enumerate(([1, 0], [0, 1]))])
    pool = Pool.from_frame(frame)
    renamed = power_mean_bounds(pool.assign(prompt_id=names), 3.0)
    assert renamed.index.tolist() == ["z", "a"]
    np.testing.assert_array_equal(renamed, power_mean_bounds(pool, 3.0))


def test_prompts_do_not_touch_one_another():
    probs = np.array([[0.5, 0.3, 0.2], [0.9, 0.05, 0.05], [0.4, 0.35, 0.25]])
    rng = np.random.default_rng(0)
    pool = pool_from_table(probs, 5, rng)
    together = power_certificate(pool, 3.0)
    for x in range(3):
        alone = power_certificate(pool[pool["prompt_id"] == x], 3.0)
        np.testing.assert_allclose(together.loc[x], alone.iloc[0], atol=1e-12)
    moments = pd.Series({x: truth(probs[x], 2.0)["mean"] for x in range(3)})
    np.testing.assert_allclose(
        matched_power(pool, moments).loc[1], matched_power(pool[pool["prompt_id"] == 1], moments[1])
    )


def test_a_shared_power_matches_the_mean_moment():
    probs = np.array([[0.5, 0.3, 0.2], [0.9, 0.06, 0.04]])
    pool = pd.concat([seen(row, range(3)).assign(prompt_id=x) for x, row in enumerate(probs)])
    moment = np.mean([truth(row, 3.0)["mean"] for row in probs])
    assert matched_power(pool, moment) == pytest.approx((3.0, 3.0), abs=1e-6)


def test_what_cannot_be_known_is_infinite():
    cut = pd.DataFrame(
        {"prompt_id": [0, 1], "response": ["a", "b"], "log_likelihood": np.log(0.5), "finished": [False, True]}
    )
    row = power_certificate(cut, 2.0).loc[0]
    assert (row["log_z_low"], row["log_z_high"]) == (-np.inf, 0) and (row["renyi_low"], row["renyi_high"]) == (
        0,
        np.inf,
    )
    assert (row["mean_low"], row["mean_high"]) == (-np.inf, 0) and (row["kl_low"], row["kl_high"]) == (0, np.inf)
    assert power_mean_bounds(cut.assign(correct=True), 2.0).loc[0].tolist() == [0, 1]
    sure = seen(np.array([1.0]), [0])
    assert power_certificate(sure, 2.0).iloc[0].tolist() == [0] * 8
    probs = np.array([0.7, 0.3])
    assert matched_power(seen(probs, [0, 1]), np.log(0.7))[1] == np.inf  # the argmax law
    flat = matched_power(seen(probs, [0, 1]), probs @ np.log(probs) - 0.05)
    assert flat[0] == -np.inf and flat[1] < 1.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda pool: power_certificate(pool, 1.0), r"alpha=1.0; expected a number in \(1, inf\)"),
        (lambda pool: power_certificate(pool, np.inf), r"alpha=inf; expected a number in \(1, inf\)"),
        (lambda pool: power_certificate(pool.drop(columns="response"), 2.0), "'response' or 'tokens' is missing"),
        (lambda pool: power_certificate(pool.assign(log_likelihood=-0.1), 2.0), "total probability of 1.81 > 1"),
        (
            lambda pool: power_mean_bounds(pool, 2.0, "length", ends=(0, 4)),
            r"'length' has values from 3 to 5; expected \(0, 4\)",
        ),
        (lambda pool: power_mean_bounds(pool, 2.0, ends=(0, np.inf)), "expected two finite numbers"),
        (lambda pool: matched_power(pool, 0.1), "moment=0.1; expected numbers of at most 0"),
        (lambda pool: matched_power(pool, pd.Series({5: -1.0})), "moment has no value for prompt 0"),
        (lambda pool: matched_power(pool, "much"), "moment='much'; expected numbers"),
    ],
)
def test_what_has_no_bounds_is_refused(call, message):
    pool = seen(np.array([0.6, 0.3]), [0, 1], [True, False]).assign(length=[3, 5])
    with pytest.raises(UserError, match=message):
        call(pool)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0, np.inf])
def test_renyi_entropy_of_tables(alpha):
    p = np.array([0.5, 0.25, 0.25])
    exact = {0.0: np.log(3), 1.0: 1.5 * np.log(2), np.inf: np.log(2)}.get(
        alpha, np.log((p**alpha).sum()) / (1 - alpha) if alpha not in (1, np.inf) else 0
    )
    with np.errstate(divide="ignore"):
        found = divergences.renyi_entropy(np.log([[0.5, 0.25, 0.25, 0.0]]), alpha)
    assert found == pytest.approx([exact])
    nearby = divergences.renyi_entropy(np.log(p), min(alpha + 1e-7, 1e9))
    assert nearby == pytest.approx(exact, abs=1e-6) and (divergences.renyi_entropy(np.zeros(1), alpha) == 0)
