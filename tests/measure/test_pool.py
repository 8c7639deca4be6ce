"""The pool: what it accepts, what it refuses and in which words, and that greedy responses are no samples."""

import numpy as np
import pandas as pd
import pytest

from sharptheory.errors import UserError
from sharptheory.measure.pool import Pool, rectangles
from tests.measure.conftest import small_pool


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log_likelihood": [-1, np.nan, -1, -1]}, "row 1, column 'log_likelihood': found nan"),
        ({"log_likelihood": [-1, -1, np.inf, -1]}, "row 2, column 'log_likelihood': found inf"),
        ({"log_likelihood": [-1, -1, -1, 0.5]}, "row 3, column 'log_likelihood': found .*0.5.*≤ 0"),
        ({"log_likelihood": [-np.inf, -1, -1, -1]}, "row 0, column 'log_likelihood': .*finite"),
        ({"log_likelihood": ["a", "-1", "-1", "-1"]}, "row 0, column 'log_likelihood': found 'a'"),
        ({"sample_id": [0, 0, 0, 1]}, "row 1, column 'sample_id'.*no second row"),
        ({"sample_id": [0, 1.5, 0, 1]}, "row 1, column 'sample_id'.*an integer"),
        ({"prompt_id": [0, None, 1, 1]}, "row 1, column 'prompt_id'"),
        (
            {"correct": [True, "maybe", False, True]},
            "row 1, column 'correct': found 'maybe'; expected true, false or empty",
        ),
        ({"length": [1, -1, 2, 2]}, "row 1, column 'length'"),
        ({"source": "greedy"}, "every row is greedy"),
    ],
)
def test_invalid_pools_are_refused_by_row_and_column(changes, message):
    with pytest.raises(UserError, match=message):
        Pool.from_frame(small_pool(**changes))


@pytest.mark.parametrize("column", ["prompt_id", "log_likelihood"])
def test_missing_columns_are_named(column):
    with pytest.raises(UserError, match=f"column '{column}' is missing; found"):
        Pool.from_frame(small_pool().drop(columns=column))


def test_empty_pool_is_refused():
    with pytest.raises(UserError, match="no rows"):
        Pool.from_frame(small_pool().iloc[:0])


def test_defaults_are_filled_in():
    pool = Pool.from_frame(small_pool().drop(columns="sample_id"))
    assert pool["sample_id"].tolist() == [0, 1, 0, 1]
    assert pool["finished"].isna().all() and pool.finished.all() and (pool["source"] == "unknown").all()
    assert "correct" not in Pool.from_frame(small_pool(correct=None))


def test_correct_is_read_in_every_spelling():
    pool = Pool.from_frame(small_pool(correct=["TRUE", "0", None, 1.0]))
    assert pool["correct"].tolist() == [True, False, pd.NA, True]


def test_greedy_rows_are_kept_apart():
    pool = Pool.from_frame(small_pool(source=["greedy", "model", "model", "model"], sample_id=[-1, 0, 0, 1]))
    assert len(pool.greedy) == 1 and len(pool.samples) == 3


def test_rectangles_cover_every_row_once():
    pool = small_pool(prompt_id=["a", "b", "b", "a"], sample_id=[0, 0, 1, 1])
    pool = pd.concat([pool, pd.DataFrame({"prompt_id": ["c"], "sample_id": [0], "log_likelihood": [-9.0]})])
    pieces = list(rectangles(Pool.from_frame(pool), "log_likelihood"))
    assert [ids.tolist() for ids, _ in pieces] == [["c"], ["a", "b"]]
    np.testing.assert_array_equal(pieces[1][1], [[-1.0, -0.5], [-2.0, -3.0]])
