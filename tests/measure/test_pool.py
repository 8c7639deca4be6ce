"""The pool: what it accepts, what it refuses and in which words, and that greedy responses are no samples."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharptheory.errors import UserError
from sharptheory.measure.best_of_n import curve
from sharptheory.measure.pool import Pool, rectangles, token_codes
from tests.measure.conftest import assert_same_pool, small_pool


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log_likelihood": [-1, np.nan, -1, -1]}, "row 1, column 'log_likelihood': found nan"),
        ({"log_likelihood": [-1, -1, np.inf, -1]}, "row 2, column 'log_likelihood': found inf"),
        ({"log_likelihood": [-1, -1, -1, 0.5]}, "row 3, column 'log_likelihood': found .*0.5.*≤ 0"),
        ({"log_likelihood": [-np.inf, -1, -1, -1]}, "row 0, column 'log_likelihood': .*finite"),
        (
            {"log_likelihood": [-1, -1e308, -1, -1]},
            "row 1, column 'log_likelihood': found -1e.308; expected a finite number, at least -1e.15",
        ),
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


def test_a_missing_prompt_id_is_named():
    with pytest.raises(UserError, match="column 'prompt_id' is missing; found sample_id, log_likelihood, correct"):
        Pool.from_frame(small_pool().drop(columns="prompt_id"))


def test_log_likelihoods_may_be_unknown_of_all_samples_and_not_of_some():
    assert "log_likelihood" not in Pool.from_frame(small_pool().drop(columns="log_likelihood"))
    assert "log_likelihood" not in Pool.from_frame(small_pool(log_likelihood=[None] * 4))
    with pytest.raises(UserError, match="row 1, column 'log_likelihood': found nan"):
        Pool.from_frame(small_pool(log_likelihood=[-1.0, None, -3.0, -0.5]))


def test_notes_of_a_reader_stay_with_the_pool():
    pool = Pool.from_frame(small_pool())
    pool = Pool(pool.samples, pool.greedy, ("a note",))
    assert pool.assign(x=1).notes == pool.take([True, False, True, True]).notes == ("a note",)


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


def test_ids_of_any_exact_kind_are_kept():
    for ids in (["01", "1", "1e1", "10"], [2**62, 2**62 + 1, -1, 0], pd.Categorical(["b", "a", "b", "c"])):
        pool = Pool.from_frame(small_pool(prompt_id=ids).drop(columns="sample_id"))
        assert pool["prompt_id"].tolist() == sorted(ids) and len(pool.sizes) == len(set(ids))


def test_answers_are_text_in_their_shortest_spelling():
    pool = Pool.from_frame(small_pool(answer=pd.Series([5, "5", None, 2.5], dtype=object)))
    assert pool["answer"].tolist() == ["5", "5", None, "2.5"]


def test_one_token_sequence_has_one_likelihood():
    tokens = [[1, 2], [1, 2], np.array([1, 2]), (1, 2)]
    pool = Pool.from_frame(small_pool(tokens=tokens, log_likelihood=[-1.0, -1.3, -9.0, -9.9]))
    assert len(pool.samples) == 4  # prompts apart, and the noise of half precision
    with pytest.raises(
        UserError, match=r"row 1, column 'log_likelihood': found -3\.0; expected within 1 of another row"
    ):
        Pool.from_frame(small_pool(tokens=tokens, log_likelihood=[-1.0, -3.0, -9.0, -9.0]))


def test_token_codes_are_equal_where_the_tokens_are():
    tokens = pd.Series([[1, 2], np.array([1, 2], dtype=np.int8), (1, 2), [2, 1], [1], [], [258]])
    assert token_codes(tokens).tolist() == [0, 0, 0, 1, 2, 3, 4]


def test_a_pool_made_by_hand_holds_no_greedy_rows():
    frame = small_pool(source=["greedy", "model", "model", "model"])
    with pytest.raises(UserError, match=r"not apart from greedy rows; Pool\.from_frame"):
        Pool(frame, frame.iloc[:0])
    with pytest.raises(UserError, match=r"not apart from greedy rows; Pool\.from_frame"):
        Pool(small_pool(), frame.iloc[:0])


def test_a_greedy_response_may_share_the_number_of_a_sample():
    greedy = small_pool(source="greedy").iloc[[0, 2]]
    pool = Pool.from_frame(pd.concat([small_pool(source="model"), greedy]))
    assert len(pool.samples) == 4 and pool.greedy["prompt_id"].tolist() == [0, 1]
    assert_same_pool(Pool.from_frame(pool.frame()), pool)
    with pytest.raises(UserError, match="row 6, column 'source': found 'greedy'; expected one greedy response per"):
        Pool.from_frame(pd.concat([small_pool(source="model"), greedy, greedy.assign(sample_id=9)]))


def test_a_column_twice_is_refused():
    frame = small_pool()
    with pytest.raises(UserError, match="column 'correct' appears twice"):
        Pool.from_frame(pd.concat([frame, frame[["correct"]]], axis=1))


HOSTILE = [None, True, np.nan, np.inf, -np.inf, 10**400, -(10**400), 10**5000, "", "x", "1", "NA", "\ud800", b"x", [1], {"a": 1},
           (1,), {1}, 1.5, -1.5, 1e30, Decimal("1e999"), Decimal("NaN"), complex(1, 2), np.array([1, 2]), pd.NA,
           pd.NaT, pd.Timestamp("2020"), np.datetime64("2020"), [[[]]], [-1], [1.5], object(), np.int8(3)]  # fmt: skip
COLUMNS = ["prompt_id", "sample_id", "log_likelihood", "correct", "finished", "length", "tokens", "prompt", "response",
           "answer", "unreadable", "source"]  # fmt: skip


@settings(max_examples=150)
@given(st.sampled_from(COLUMNS), st.lists(st.sampled_from([..., ..., *HOSTILE]), min_size=4, max_size=4))
def test_anything_in_any_column_is_a_pool_or_an_error_that_names_the_column(column, values):
    good = {"tokens": [[1], [2], [3], [4]], "length": [1, 2, 3, 4], "finished": [True] * 4, **small_pool()}
    values_given = pd.Series([None] * 4, dtype=object)
    for i, value in enumerate(values):
        values_given.iat[i] = good.get(column, ["a", "b", "c", "d"])[i] if value is ... else value
    frame = small_pool(**{column: values_given})
    try:
        pool = Pool.from_frame(frame)
    except UserError as error:
        clash = {"prompt_id": "sample_id", "tokens": "log_likelihood"}.get(column)
        assert f"column {column!r}" in str(error) or f"column {clash!r}" in str(error)
    else:
        assert_same_pool(Pool.from_frame(pool.frame()), pool)


@pytest.mark.parametrize("kind", ["datetime64[ns]", "timedelta64[ns]", "complex128", "bool", "period[D]"])
@pytest.mark.parametrize("column", ["prompt_id", "log_likelihood", "sample_id", "length"])
def test_columns_that_are_no_numbers_are_refused(kind, column):
    values = pd.Series([0, 1, 2, 3])
    values = pd.Series(pd.period_range("2020", periods=4, freq="D")) if kind == "period[D]" else values.astype(kind)
    with pytest.raises(UserError, match=f"row 0, column {column!r}"):
        Pool.from_frame(small_pool(**{column: values}))


def test_graded_prompts_are_those_known_throughout():
    pool = Pool.from_frame(small_pool(correct=[True, None, False, True]))
    assert pool.graded()["prompt_id"].tolist() == [1, 1] and len(pool.graded("log_likelihood").samples) == 4
    with pytest.raises(UserError, match="column 'correct' is known for no prompt throughout"):
        Pool.from_frame(small_pool(correct=[True, None, False, None])).graded()


def test_rectangles_cover_every_row_once():
    pool = small_pool(prompt_id=["a", "b", "b", "a"], sample_id=[0, 0, 1, 1])
    pool = pd.concat([pool, pd.DataFrame({"prompt_id": ["c"], "sample_id": [0], "log_likelihood": [-9.0]})])
    pieces = list(rectangles(Pool.from_frame(pool), "log_likelihood"))
    assert [ids.tolist() for ids, _ in pieces] == [["c"], ["a", "b"]]
    np.testing.assert_array_equal(pieces[1][1], [[-1.0, -0.5], [-2.0, -3.0]])


def test_a_pool_says_in_a_line_what_it_is():
    rows = pd.DataFrame({"prompt_id": [0, 0, 1, 0], "log_likelihood": -1.0, "correct": [True, None, None, None],
                         "source": ["model"] * 3 + ["greedy"]})  # fmt: skip
    assert repr(Pool.from_frame(rows)) == str(Pool.from_frame(rows)) == (
        "Pool(2 prompts × 1 to 2 samples, 1 greedy response, 33% graded; "
        "prompt_id, log_likelihood, correct, source, sample_id, finished)"
    )  # fmt: skip
    one = pd.DataFrame({"prompt_id": [0], "log_likelihood": -1.0})
    assert repr(Pool.from_frame(one)).startswith("Pool(1 prompt × 1 sample, no greedy responses, not graded; prompt_id")
    assert repr(Pool.from_frame(one).take([False])).startswith(
        "Pool(no prompts × no samples, no greedy responses, not graded"
    )


@pytest.mark.parametrize("rows", [[0, 1, 0, 1], [True], [[True] * 4], [True, None, True, True, False]])
def test_samples_are_taken_by_a_mask(rows):
    with pytest.raises(UserError, match="expected true or false for each of 4 samples"):
        Pool.from_frame(small_pool()).take(rows)


def test_rectangles_of_prompts_in_any_order():
    """A column of another pool's ids may shuffle the prompts: each keeps its own rows."""
    pool = Pool.from_frame(small_pool()).assign(prompt_id=["b", "a", "b", "a"], further=[1, 2, 3, 4])
    [(ids, values)] = rectangles(pool, "further")
    assert dict(zip(ids, values.tolist())) == {"b": [1, 3], "a": [2, 4]}


def test_a_pool_without_samples_says_so():
    empty = Pool.from_frame(small_pool()).take([False] * 4)
    with pytest.raises(UserError, match="the pool has no samples"):
        curve(empty, "log_likelihood", "correct", [1])


def test_whole_numbers_written_as_floats_are_ids():
    ids = Pool.from_frame(small_pool(prompt_id=[7.0, 7.0, 9.0, 9.0])).samples["prompt_id"]
    assert ids.tolist() == [7, 7, 9, 9] and ids.dtype == np.int64
    with pytest.raises(
        UserError, match=r"row 2, column 'prompt_id': found 9\.5; expected an integer of at most 64 bits"
    ):
        Pool.from_frame(small_pool(prompt_id=[7.0, 7.0, 9.5, 9.0]))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (
            ["a", (1,), "b", "b"],
            r"row 1, column 'prompt_id': found \(1,\); expected an integer of at most 64 bits or a string",
        ),
        (
            [1, 2**63, 3, 3],
            "row 1, column 'prompt_id': found 9223372036854775808; expected an integer of at most 64 bits",
        ),
        ([1, -(2**63) - 1, 3, 3], "row 1, column 'prompt_id': found -9223372036854775809; expected an integer"),
        (["a", "\ud800", "b", "b"], "row 1, column 'prompt_id': .*; expected text without lone surrogates"),
    ],
)
def test_ids_are_integers_or_text(ids, message):
    with pytest.raises(UserError, match=message):
        Pool.from_frame(small_pool(prompt_id=pd.Series(ids, dtype=object)))


def test_the_largest_ids_are_kept():
    ids = [2**63 - 1, -(2**63), 3, 3]
    assert sorted(Pool.from_frame(small_pool(prompt_id=pd.Series(ids, dtype=object))).samples["prompt_id"]) == sorted(
        ids
    )


def test_greedy_rows_without_ids_are_number_minus_1():
    rows = small_pool(source=["model", "greedy", "model", "model"]).drop(columns="sample_id")
    pool = Pool.from_frame(rows)
    assert pool.greedy["sample_id"].tolist() == [-1] and pool.samples["sample_id"].tolist() == [0, 0, 1]


def test_tokens_that_end_in_zeros_are_others():
    """Token 0 may be any token: [5], [5, 0] and [5, 0, 0] are three responses, with likelihoods of their own."""
    tokens = [[5], [5, 0], [5, 0, 0], [5]]
    pool = Pool.from_frame(
        small_pool(prompt_id=0, sample_id=range(4), tokens=tokens, log_likelihood=[-1.0, -4, -9, -1])
    )
    assert token_codes(pool["tokens"]).tolist() == [0, 1, 2, 0]
    with pytest.raises(
        UserError, match=r"row 3, column 'log_likelihood': found -3\.0; expected within 1 of another row"
    ):
        Pool.from_frame(small_pool(prompt_id=0, sample_id=range(4), tokens=tokens, log_likelihood=[-1.0, -4, -9, -3]))


@pytest.mark.parametrize(
    "tokens", [np.array([1.5, 2.0]), np.array([1.0, 2.0]), np.array([-1, 2]), [True, 2.5], "12", 7]
)
def test_tokens_are_whole_numbers(tokens):
    with pytest.raises(UserError, match=r"row 0, column 'tokens': .*; expected a list of token ids"):
        Pool.from_frame(small_pool(tokens=pd.Series([tokens, [1], [2], [3]], dtype=object)))


def test_a_column_of_text_is_no_number():
    with pytest.raises(UserError, match=r"column 'note' holds (object|str) values; expected numbers"):
        Pool.from_frame(small_pool(note=["a", "b", "c", "d"])).numbers("note")


def test_null_integers_are_no_numbers_yet():
    pool = Pool.from_frame(small_pool(score=pd.array([1, None, 3, 4], dtype="Int64")))
    np.testing.assert_array_equal(pool.numbers("score"), [1, np.nan, 3, 4])


def test_zeros_and_ones_are_false_and_true_in_any_spelling():
    spelled = Pool.from_frame(small_pool(correct=["0.0", "1.0", " TRUE", "false"]))["correct"]
    assert spelled.tolist() == [False, True, True, False]


@pytest.mark.parametrize("ids", [[True, False] * 2, pd.to_datetime(["2020-01-01"] * 4), [2.0**53] * 4, [1j] * 4])
def test_what_is_no_id_is_refused(ids):
    with pytest.raises(
        UserError, match=r"row 0, column 'prompt_id': .*; expected an integer of at most 64 bits or a string"
    ):
        Pool.from_frame(small_pool(prompt_id=ids))


def test_sample_ids_are_integers():
    with pytest.raises(UserError, match=r"row 1, column 'sample_id': found 1\.5; expected an integer$"):
        Pool.from_frame(small_pool(sample_id=[0, 1.5, 2, 3]))


def test_a_prompt_id_has_one_prompt():
    frame = pd.DataFrame({"prompt_id": [1, 1, 2, 1], "prompt": ["a", None, "b", "c" * 100]})
    with pytest.raises(
        UserError, match=r"^row 3, column 'prompt': found 'c{59}… .* for prompt_id 1; expected 'a', as row 0"
    ):
        Pool.from_frame(frame)
    assert Pool.from_frame(frame[:3])["prompt"].tolist() == ["a", None, "b"]
