"""Pools from files: what a file says is what the pool holds, or an error names file, line and column."""

import json

import pytest

from sharptheory.errors import UserError
from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from tests.measure.conftest import assert_same_pool, small_pool


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_three_formats_read_alike(tmp_path, suffix):
    path, pool = tmp_path / f"pool.{suffix}", small_pool()
    if suffix == "parquet":
        pool.to_parquet(path)
    elif suffix == "csv":
        pool.to_csv(path, index=False)
    else:
        pool.to_json(path, orient="records", lines=True)
    assert_same_pool(read_pool(path), Pool.from_frame(pool))


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
    with pytest.raises(UserError, match=message):
        read_pool(tmp_path / name)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv does not exist"):
        read_pool(tmp_path / "none.csv")


def test_jsonl_numbers_survive(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"prompt_id": "q1", "log_likelihood": -1e-300, "correct": True, "judge": 0.3}) + "\n\n")
    pool = read_pool(path)
    assert pool["log_likelihood"][0] == -1e-300 and pool["judge"][0] == 0.3
