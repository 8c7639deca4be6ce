"""Pools small enough to read, and what it means for two to be the same."""

import pandas as pd
import pytest

from sharptheory.measure.pool import Pool


def small_pool(**changes) -> pd.DataFrame:
    """Two prompts with two samples each."""
    columns = {
        "prompt_id": [0, 0, 1, 1],
        "sample_id": [0, 1, 0, 1],
        "log_likelihood": [-1.0, -2.0, -3.0, -0.5],
        "correct": [True, False, False, True],
    }
    return pd.DataFrame({**columns, **changes})


@pytest.fixture
def pool():
    """Answers and a further reward: likelihood is wrong on both prompts, all other rewards are right."""
    return pd.DataFrame(
        {
            "prompt_id": [0] * 4 + [1] * 4,
            "sample_id": [0, 1, 2, 3] * 2,
            "log_likelihood": [-1.0, -2, -6, -4, -3, -3, -1, -8],
            "length": [1, 4, 6, 2, 3, 1, 1, 8],
            "answer": ["5", "7", "7", None, "1", "1", "1", "2"],
            "correct": [False, True, True, False, True, True, True, False],
            "self_certainty": [1.0, 3, 2, 0.5, 1, 1, 2, 3],
        }
    )


def assert_same_pool(pool: Pool, other: Pool) -> None:
    pd.testing.assert_frame_equal(pool.samples, other.samples)
    pd.testing.assert_frame_equal(pool.greedy, other.greedy)
