"""The pool's schema, its files, and writing that survives a kill."""

import json

import numpy as np
import pandas as pd
import pytest

from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import greedy_responses, rectangles, samples, validate_pool
from sharptheory.measure.storage import PoolWriter


def small_pool(**changes) -> pd.DataFrame:
    columns = {
        "prompt_id": [0, 0, 1, 1],
        "sample_id": [0, 1, 0, 1],
        "log_likelihood": [-1.0, -2.0, -3.0, -0.5],
        "correct": [True, False, False, True],
    }
    return pd.DataFrame({**columns, **changes})


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
    with pytest.raises(ValueError, match=message):
        validate_pool(small_pool(**changes))


@pytest.mark.parametrize("column", ["prompt_id", "log_likelihood"])
def test_missing_columns_are_named(column):
    with pytest.raises(ValueError, match=f"column '{column}' is missing; found"):
        validate_pool(small_pool().drop(columns=column))


def test_empty_pool_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        validate_pool(small_pool().iloc[:0])


def test_defaults_are_filled_in():
    pool = validate_pool(small_pool().drop(columns="sample_id"))
    assert pool["sample_id"].tolist() == [0, 1, 0, 1]
    assert pool["finished"].all() and (pool["source"] == "unknown").all()
    assert "correct" not in validate_pool(small_pool(correct=None))


def test_correct_is_read_in_every_spelling():
    pool = validate_pool(small_pool(correct=["TRUE", "0", None, 1.0]))
    assert pool["correct"].tolist() == [True, False, pd.NA, True]


def test_greedy_rows_are_kept_apart():
    pool = validate_pool(small_pool(source=["greedy", "model", "model", "model"], sample_id=[-1, 0, 0, 1]))
    assert len(greedy_responses(pool)) == 1 and len(samples(pool)) == 3


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_three_formats_read_alike(tmp_path, suffix):
    path, pool = tmp_path / f"pool.{suffix}", small_pool()
    if suffix == "parquet":
        pool.to_parquet(path)
    elif suffix == "csv":
        pool.to_csv(path, index=False)
    else:
        pool.to_json(path, orient="records", lines=True)
    pd.testing.assert_frame_equal(read_pool(path), validate_pool(pool))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "a.jsonl is empty"),
        ("a.jsonl", '{"prompt_id": 0, "log_likelihood": -1}\n\n{"prompt_id": 1}', "a.jsonl:2 is empty"),
        ("a.jsonl", '{"prompt_id": 0}\n{oops}', "a.jsonl:2 is not valid JSON"),
        ("a.jsonl", "[1]", "a.jsonl:1 holds a list"),
        ("a.jsonl", '{"prompt_id": 0, "log_likelihood": -1}\n{"prompt_id": 1, "log_likelihood": 2}', "line 2, column"),
        ("a.csv", "prompt_id,log_likelihood\n0,-1\n1,\n", "line 3, column 'log_likelihood'"),
        ("a.csv", "", "not a readable csv"),
        ("a.parquet", "not parquet", "not a readable parquet"),
        ("a.txt", "x", "unknown suffix '.txt'"),
    ],
)
def test_bad_files_are_refused_by_file_and_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_pool(tmp_path / name)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist"):
        read_pool(tmp_path / "none.csv")


def test_rectangles_cover_every_row_once():
    pool = small_pool(prompt_id=["a", "b", "b", "a"], sample_id=[0, 0, 1, 1])
    pool = pd.concat([pool, pd.DataFrame({"prompt_id": ["c"], "sample_id": [0], "log_likelihood": [-9.0]})])
    pieces = list(rectangles(pool, "log_likelihood"))
    assert [ids.tolist() for ids, _ in pieces] == [["c"], ["a", "b"]]
    np.testing.assert_array_equal(pieces[1][1], [[-1.0, -0.5], [-2.0, -3.0]])


def test_writer_ignores_half_written_pieces(tmp_path):
    writer = PoolWriter(tmp_path)
    writer.write(small_pool()[:2])
    (writer.parts / "00000001.partial").write_bytes(b"half")
    (tmp_path / "pool.partial").write_bytes(b"half")
    writer = PoolWriter(tmp_path)
    assert writer.done() == {0} and not list(tmp_path.rglob("*.partial"))
    writer.write(small_pool()[2:])
    pd.testing.assert_frame_equal(writer.finish(), validate_pool(small_pool()))
    assert not writer.parts.exists()
    pd.testing.assert_frame_equal(PoolWriter(tmp_path).finish(), validate_pool(small_pool()))


def test_writer_killed_between_merge_and_clean_up_loses_nothing(tmp_path):
    writer = PoolWriter(tmp_path)
    writer.write(small_pool()[:2])
    writer.write(small_pool()[2:])
    pieces = {path.name: path.read_bytes() for path in writer.parts.iterdir()}
    merged = writer.finish()
    writer.parts.mkdir()
    for name, content in pieces.items():
        (writer.parts / name).write_bytes(content)
    pd.testing.assert_frame_equal(PoolWriter(tmp_path).finish(), merged)


def test_jsonl_numbers_survive(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"prompt_id": "q1", "log_likelihood": -1e-300, "correct": True, "judge": 0.3}) + "\n\n")
    pool = read_pool(path)
    assert pool["log_likelihood"][0] == -1e-300 and pool["judge"][0] == 0.3
