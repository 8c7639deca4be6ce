"""Self-rewards by hand, and rewards of one's own."""

import numpy as np
import pytest

from sharptheory.measure.best_of_n import curve
from sharptheory.measure.rewards import REWARDS, available, selecting


def test_rewards_by_hand(pool):
    np.testing.assert_allclose(REWARDS["length_normalized"](pool)[:4], [-1, -0.5, -1, -2])
    np.testing.assert_allclose(REWARDS["answer_share"](pool), [0, 1 / 3, 1 / 3, 0, 2 / 3, 2 / 3, 2 / 3, 0])


def names(rewards) -> list[str]:
    return [reward.name for reward in rewards]


def test_a_pool_supports_the_rewards_whose_columns_it_has(pool):
    always = ["log_likelihood", "self_certainty", "correctness"]
    assert names(available(pool)) == ["log_likelihood", "length_normalized", "answer_share", *always[1:]]
    assert names(available(pool.drop(columns=["length", "answer"]))) == always


def test_what_has_seen_the_answers_selects_nothing(pool):
    assert names(selecting(pool)) == ["log_likelihood", "length_normalized", "self_certainty"]


def test_every_reward_ranks_a_curve(pool):
    for reward in available(pool):
        accuracy = curve(pool, reward, "correct", [1, 4])
        np.testing.assert_allclose(accuracy[1], [0.5, 0.75])
        assert accuracy.loc[0, 4] == (0 if reward.name == "log_likelihood" else pytest.approx(1))
