"""Self-rewards by hand, and rewards of one's own."""

import sys

import numpy as np
import pandas as pd
import pytest

from sharptheory.errors import UserError
from sharptheory.measure.best_of_n import curve
from sharptheory.measure.rewards import REWARDS, available, column_rewards, load_reward, selecting


def test_rewards_by_hand(pool):
    np.testing.assert_allclose(REWARDS["length_normalized"](pool)[:4], [-1, -0.5, -1, -2])
    np.testing.assert_allclose(REWARDS["answer_share"](pool), [0, 1 / 3, 1 / 3, 0, 2 / 3, 2 / 3, 2 / 3, 0])


def names(rewards) -> list[str]:
    return [reward.name for reward in rewards]


def test_a_pool_supports_the_rewards_whose_columns_it_has(pool):
    always = ["log_likelihood", "self_certainty", "correctness"]
    assert names(available(pool)) == ["log_likelihood", "length_normalized", "answer_share", *always[1:]]
    recognised = available(pool.assign(response="same"))
    assert names(recognised)[2:5] == ["answer_share", "answer_mass", "answer_seen_mass"]
    assert names(available(pool.drop(columns=["length", "answer"]))) == always


def test_what_has_seen_the_answers_selects_nothing(pool):
    assert names(selecting(pool)) == ["log_likelihood", "length_normalized", "self_certainty"]


def test_every_reward_ranks_a_curve(pool):
    for reward in available(pool):
        accuracy = curve(pool, reward, "correct", [1, 4])
        np.testing.assert_allclose(accuracy[1], [0.5, 0.75])
        assert accuracy.loc[0, 4] == (0 if reward.name == "log_likelihood" else pytest.approx(1))


# Columns as rewards ---------------------------------------------------------------------------------------------------


def test_further_numbers_of_a_pool_are_rewards_unless_they_number_or_cannot_select(pool):
    further = pool.assign(
        judge=[0.1, 0.9, 0.3, 0.2, 1, 2, 3, 4.5],
        seed=[5, 2, 7, 1, 5, 2, 7, 1],
        doc_id=list(range(8)),
        tries=[0, 1, 2, 3, 0, 1, 2, 3],
        difficulty=[0.5] * 4 + [0.7] * 4,
        temperature=1.0,
        gaps=[None, *range(7)],
        nothing=np.nan,
        limit=[np.inf, *range(7)],
        score=pool["correct"].astype(float),
        text=["a"] * 8,
        flag=[True, False] * 4,
        centred=[-1.0, 2, 0, 0, 0, 0, 1, 0],
    )
    rewards, left_out = column_rewards(further)
    assert names(rewards) == ["judge", "centred"] and rewards[0](further).tolist() == further["judge"].tolist()
    assert left_out == {
        "seed": "an identifier",
        "doc_id": "an identifier",
        "tries": "a counter",
        "difficulty": "the same for all samples of a prompt",
        "temperature": "the same for all samples of a prompt",
        "gaps": "known of 87.5% of the samples",
        "nothing": "known of no sample",
        "limit": "known of 87.5% of the samples",
        "score": "the grade itself",
    }


def test_without_likelihoods_length_is_what_is_left_to_select_by(pool):
    bare = pool.drop(columns="log_likelihood")
    assert names(available(bare)) == ["answer_share", "self_certainty", "correctness"]
    (brevity,), left_out = column_rewards(bare)
    assert brevity.name == "brevity" and brevity(bare).tolist() == (-bare["length"]).tolist() and left_out == {}
    assert column_rewards(pool)[0] == []
    with pytest.raises(UserError, match="reward 'log_likelihood' needs column 'log_likelihood', which is missing"):
        curve(bare, "log_likelihood", "correct", [1])


def test_a_column_is_named_as_a_reward(pool):
    judged = pool.assign(judge=range(8))
    assert load_reward("judge", columns=list(judged))(judged).tolist() == list(range(8))
    assert load_reward("log_likelihood", columns=list(judged)) is REWARDS["log_likelihood"]
    with pytest.raises(UserError, match=r"'answer': this column says what a response is"):
        load_reward("answer", columns=list(judged))(judged)


# Rewards of one's own -------------------------------------------------------------------------------------------------

MINE = """
from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path

from sharptheory import Reward

Path(__file__).with_suffix(".ran").touch()

@dataclass
class Scale:
    by: float = 2.0

def brevity(pool):
    return -Scale().by * pool["length"]

confident = Reward("confident", lambda pool: pool["self_certainty"], needs=("self_certainty",), selects=True)
constant = 3
broken = Reward("broken", lambda pool: [1.0, 2.0])
unsure = Reward("unsure", lambda pool: pool["correct"].astype(float).where(pool["correct"]))
words = Reward("words", lambda pool: pool["answer"].fillna("none") + "!")
shuffled = Reward("shuffled", lambda pool: -pool.samples.sort_values("length")["length"])

def ragged(pool):
    return -pool["length"], 1, 1

"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "my_reward.py"
    path.write_text(MINE)
    return path


def test_a_function_in_a_file_is_a_reward(mine, pool):
    reward = load_reward(f"{mine}:brevity")
    assert reward.name == "brevity" and reward(pool).tolist() == [-2, -8, -12, -4, -6, -2, -2, -16]
    assert (
        curve(pool, reward, "correct", [4])[4].tolist()
        == curve(pool.assign(mine=-pool["length"]), "mine", "correct", [4])[4].tolist()
    )
    assert load_reward(f"{mine}:confident").needs == ("self_certainty",)


def test_values_belong_to_the_samples_that_they_are_labelled_with(mine, pool):
    assert load_reward(f"{mine}:shuffled")(pool).tolist() == (-pool["length"]).tolist()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", r"reward 'broken' returned list of shape \(2,\); expected one number for each of 8 samples"),
        ("ragged", r"reward 'ragged' returned tuple of shape \(3,\); expected one number for each of 8 samples"),
        ("unsure", "reward 'unsure' is NaN on 3 of 8 samples, first on prompt 0, sample 0"),
        ("words", "reward 'words' returned Series of shape"),
    ],
)
def test_what_is_no_reward_for_each_sample_is_refused(mine, pool, name, message):
    with pytest.raises(UserError, match=message):
        load_reward(f"{mine}:{name}")(pool)


def test_columns_that_a_reward_needs_are_named(pool):
    with pytest.raises(
        UserError, match="reward 'p_true' needs column 'p_true', which is missing; the pool has prompt_id"
    ):
        REWARDS["p_true"](pool)


def test_a_reward_column_with_gaps_is_refused(pool):
    gaps = pool.assign(mine=[None, *range(7)])
    with pytest.raises(UserError, match="reward 'mine' is NaN on 1 of 8 samples, first on prompt 0, sample 0"):
        curve(gaps, "mine", "correct", [1])
    assert available(gaps.assign(p_true=gaps["mine"])) == available(pool)


def test_an_array_is_no_reward(pool):
    """Its order would have to be that of the samples, which a data frame need not have."""
    with pytest.raises(UserError, match="reward is a Series; expected a Reward, or the name"):
        curve(pool, pool["length"], "correct", [1])


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (None, "x", r"reward file .*my_reward\.py does not exist"),
        ("x = 1\n", "y", r"reward file .*my_reward\.py has no 'y'; it has x"),
        ("x = 1\n", "x", r"reward '.*my_reward\.py:x' is a int; expected a function of a pool"),
        ("x = (\n", "x", r"my_reward\.py: running it failed with SyntaxError"),
        ("1 / 0\n", "x", r"my_reward\.py:1: running it failed with ZeroDivisionError"),
        ("import sys; sys.exit(3)\n", "x", r"my_reward\.py:1: running it failed with SystemExit"),
    ],
)
def test_files_that_hold_no_reward_are_named(tmp_path, text, name, message):
    path = tmp_path / "my_reward.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_reward(f"{path}:{name}")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that offers two rewards, one of which does not load."""
    (tmp_path / "offered_rewards.py").write_text(MINE)
    info = tmp_path / "offered-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sharptheory.rewards]\nbrevity = offered_rewards:brevity\nlost = offered_rewards:lost\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("offered_rewards", None)


def test_an_installed_package_offers_rewards(package, pool):
    assert load_reward("brevity")(pool).iloc[0] == -2
    with pytest.raises(UserError, match=r"reward 'lost' \(offered_rewards:lost\): import failed with AttributeError"):
        load_reward("lost")
    with pytest.raises(
        UserError, match=r"'brevty' is unknown \(did you mean brevity\?\); expected one of log_likelihood, .*lost"
    ):
        load_reward("brevty")


def test_only_code_that_is_named_runs(package, mine, pool):
    load_reward("log_likelihood")
    with pytest.raises(UserError):
        load_reward("my_reward")
    available(pool)
    assert not list(package.glob("*.ran")) and not mine.with_suffix(".ran").exists()
    load_reward(f"{mine}:brevity")
    assert [path.name for path in package.glob("*.ran")] == ["my_reward.ran"]


def test_what_a_users_reward_raises_names_their_file_and_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def boom(pool):\n    return 1 / 0\n")
    frame = pd.DataFrame({"prompt_id": [0, 0], "log_likelihood": [-1.0, -2.0]})
    with pytest.raises(UserError, match=r"^\.?/?mine\.py:2: boom failed with ZeroDivisionError"):
        load_reward("./mine.py:boom")(frame)
