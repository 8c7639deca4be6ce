"""The answer policy of a pool: its estimates on tables where everything is known."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharptheory.errors import UserError
from sharptheory.measure.answers import answer_masses, answer_policy
from sharptheory.measure.pool import Pool
from sharptheory.measure.rewards import REWARDS

#: Probabilities of six responses, and their answers; the last has none.
PROBS, ANSWERS = np.array([0.3, 0.25, 0.2, 0.1, 0.1, 0.05]), ["a", "b", "a", "c", "b", None]


def answered(drawn, probs=PROBS, answers=ANSWERS, **columns) -> pd.DataFrame:
    """A pool of one prompt with these responses."""
    return pd.DataFrame({"prompt_id": 0, "tokens": [(int(y),) for y in drawn], "answer": [answers[y] for y in drawn],
                         "log_likelihood": np.log(probs)[list(drawn)], **columns})  # fmt: skip


def test_estimates_by_hand():
    pool = answered([0, 0, 1, 5]).assign(finished=[True, True, True, True])
    table = answer_policy(pool).frame()
    assert table.index.tolist() == [(0, "a"), (0, "b")] and table["votes"].tolist() == [2, 1]
    np.testing.assert_allclose(table["share"], [0.5, 0.25])
    np.testing.assert_allclose(table["seen"], [0.3, 0.25])
    np.testing.assert_allclose(table["mass"], [0.3 / (1 - 0.7**4), 0.25 / (1 - 0.75**4)])
    policy = answer_policy(pool)
    np.testing.assert_allclose([policy.total[0], policy.none[0]], [0.6, 0.05 / (1 - 0.95**4)])


def test_estimates_have_no_bias():
    """Over all 6^3 pools of three samples: shares and Horvitz-Thompson masses, and that of the class none."""
    expected = {name: np.zeros(3) for name in ("share", "mass", "seen")}
    none = 0.0
    for drawn in itertools.product(range(6), repeat=3):
        policy = answer_policy(answered(drawn))
        chance = PROBS[list(drawn)].prod()
        table = policy.frame().droplevel(0).reindex(["a", "b", "c"]).fillna(0.0)
        for name, total in expected.items():
            total += chance * table[name].to_numpy()
        none += chance * policy.none[0]
    truth = [0.5, 0.35, 0.1]
    np.testing.assert_allclose(expected["share"], truth)
    np.testing.assert_allclose(expected["mass"], truth)
    assert none == pytest.approx(0.05) and (expected["seen"] < truth).all()


def test_horvitz_thompson_has_no_error_once_everything_was_seen():
    drawn = np.random.default_rng(0).choice(6, size=400, p=PROBS)
    table = answer_policy(answered(drawn)).frame().droplevel(0).loc[["a", "b", "c"]]
    np.testing.assert_allclose(table["mass"], [0.5, 0.35, 0.1], rtol=1e-6)
    np.testing.assert_allclose(table["seen"], [0.5, 0.35, 0.1])
    assert np.abs(table["share"] - [0.5, 0.35, 0.1]).max() > 0.01


def test_responses_of_no_mass_count_as_votes():
    """Long responses: each distinct one stands for 1/M of the mass, as in a count."""
    pool = pd.DataFrame(
        {"prompt_id": 0, "response": list("abcd"), "answer": ["x", "x", "y", None], "log_likelihood": -900.0}
    )
    table = answer_policy(pool).frame()
    np.testing.assert_allclose(table["mass"], table["share"])
    assert (table["seen"] == 0).all()


def test_counts_suffice_where_likelihoods_are_unknown():
    """Without the column, with gaps, or where equal responses cannot be recognised: votes, and no masses."""
    pool = answered([0, 0, 1, 5])
    poor = Pool.from_frame(pool)
    without = Pool(poor.samples.drop(columns="log_likelihood"), poor.greedy)
    gaps = poor.assign(log_likelihood=poor["log_likelihood"].where(poor["sample_id"] > 0))
    for poor in (pool.drop(columns="tokens"), without, gaps):
        policy = answer_policy(poor)
        assert policy.votes.tolist() == [2, 1] and policy.mass is policy.seen is policy.none is policy.total is None
        assert policy.frame().columns.tolist() == ["votes", "share"]


@pytest.mark.parametrize("finished", [False, None])
def test_who_votes(finished):
    """The cut off and those without an answer do not; unknown counts as finished. The class none has the rest."""
    pool = answered([0, 1, 5, 1]).assign(finished=[True, finished, True, True])
    policy = answer_policy(pool)
    assert policy.votes.tolist() == ([1, 1] if finished is False else [1, 2])
    assert policy.of_sample.tolist() == [0, -1 if finished is False else 1, -1, 1]
    seen = answer_policy(pool.iloc[:3])
    if finished is False:
        assert seen.none[0] == pytest.approx(0.05 / (1 - 0.95**3) + 1 / 3) and seen.total[0] == pytest.approx(0.35)


def test_prompts_are_apart_and_in_order():
    pool = pd.concat([answered([1, 1, 3]).assign(prompt_id="q"), answered([5, 5]).assign(prompt_id="p"),
                      answered([1]).assign(prompt_id="r")])  # fmt: skip
    policy = answer_policy(pool)
    assert policy.prompt_ids.tolist() == ["p", "q", "r"] and policy.samples.tolist() == [2, 3, 1]
    assert policy.frame()["votes"].to_dict() == {("q", "b"): 2, ("q", "c"): 1, ("r", "b"): 1}
    best, first, second = policy.two_largest(policy.votes)
    assert best.tolist() == [-1, 0, 2] and first.tolist() == [0, 2, 1] and second.tolist() == [0, 1, 0]


def test_correctness_of_an_answer_is_that_of_its_samples():
    policy = answer_policy(answered([0, 2, 1, 5], correct=[True, False, True, False]))
    assert policy.correct.tolist() == [0.5, 1.0]
    assert np.isnan(answer_policy(answered([0, 2])).correct).all()


def test_answer_mass_is_a_reward():
    pool = answered([0, 1, 5, 0])
    np.testing.assert_allclose(REWARDS["answer_seen_mass"](pool), [0.3, 0.25, 0.0, 0.3])
    mass = 0.3 / (1 - 0.7**4), 0.25 / (1 - 0.75**4)
    np.testing.assert_allclose(REWARDS["answer_mass"](pool), [mass[0], mass[1], 0.0, mass[0]])
    with pytest.raises(UserError, match="told apart only by their text"):
        answer_masses(pool.drop(columns="tokens"))
    with pytest.raises(UserError, match="needs column 'answer', which is missing"):
        REWARDS["answer_mass"](pool.drop(columns="answer"))


def test_masses_that_are_none_are_refused():
    with pytest.raises(UserError, match=r"total probability of 1\.2 > 1"):
        answer_policy(answered([0, 1], probs=np.full(6, 0.6)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 4))
def test_seen_mass_is_a_lower_bound_and_all_add_up(seed, m, n_prompts):
    rng = np.random.default_rng(seed)
    pools, truth = [], {}
    for x in range(n_prompts):
        probs, answers = rng.dirichlet(np.full(6, 0.5)) + 1e-12, list(rng.choice(["u", "v", "w", None], 6))
        pools.append(answered(rng.choice(6, size=m, p=probs / probs.sum()), probs, answers).assign(prompt_id=x))
        truth |= {(x, a): sum(p for p, b in zip(probs, answers) if b == a) for a in "uvw"}
    policy = answer_policy(pd.concat(pools))
    for key, row in policy.frame().iterrows():
        assert row["seen"] <= truth[key] + 1e-9 <= row["seen"] + 1 - policy.total[key[0]] + 2e-9
        assert row["seen"] <= row["mass"] + 1e-12
    votes = np.bincount(policy.prompt, policy.votes, minlength=n_prompts)
    assert (votes <= m).all() and policy.of_sample.shape == (m * n_prompts,)
