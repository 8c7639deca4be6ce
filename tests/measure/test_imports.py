"""Pools from files: what a file says is what the pool holds, or an error names file, line and column."""

import csv
import json
import time
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from sharptheory.errors import UserError
from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from sharptheory.measure.selection import majority_curve
from sharptheory.testing import pools
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


HEADER = "prompt_id,log_likelihood"
ROW = '{"prompt_id": 0, "log_likelihood": -1'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "a.jsonl is empty"),
        ("a.jsonl", ROW + '}\n\n{"prompt_id": 1}', "a.jsonl:2 is empty"),
        ("a.jsonl", '{"prompt_id": 0}\n{oops}', "a.jsonl:2 is not valid JSON"),
        ("a.jsonl", "[1]", "a.jsonl:1 holds a list"),
        (
            "a.jsonl",
            ROW + '}\n{"prompt_id": 1, "log_likelihood": 2}',
            "a.jsonl: line 2, column 'log_likelihood': found 2",
        ),
        ("a.jsonl", ROW + '}\n{"prompt_id": 1}', "line 2, column 'log_likelihood': found nan"),
        (
            "a.jsonl",
            ROW + '}\n{"prompt_id": 1, "log_likelihood": false}',
            "line 2, column 'log_likelihood': found False",
        ),
        ("a.jsonl", '{"prompt_id": 1, "log_likelihood": false}', "line 1, column 'log_likelihood': found False"),
        ("a.jsonl", '{"prompt_id": [0], "log_likelihood": -1}', r"line 1, column 'prompt_id': found \[0\]"),
        ("a.jsonl", '{"prompt_id": {"a": 1}, "log_likelihood": -1}', "line 1, column 'prompt_id': found {'a'"),
        ("a.jsonl", '{"prompt_id": NaN, "log_likelihood": -1}', "a.jsonl:1: found NaN, which is not JSON"),
        (
            "a.jsonl",
            ROW + '}\n{"prompt_id": "0", "log_likelihood": -1}',
            "line 1, column 'prompt_id': found 0; .* one kind",
        ),
        ("a.jsonl", ROW + ', "answer": [1]}', r"line 1, column 'answer': found \[1\]"),
        ("a.jsonl", ROW + ', "unreadable": ["x"]}', "line 1, column 'unreadable'"),
        ("a.jsonl", ROW + ', "length": "x"}', "line 1, column 'length': found 'x'; expected a whole number"),
        ("a.jsonl", ROW + ', "length": 1e30}', r"line 1, column 'length': found 1e\+30"),
        ("a.jsonl", ROW + f', "length": {10**400}}}', "a.jsonl:1: found a number of 401 digits"),
        ("a.jsonl", ROW + f', "length": {"1" * 5000}}}', "a.jsonl:1: found a number of 5000 digits"),
        ("a.jsonl", ROW + f', "x": {"[" * 100_000}{"]" * 100_000}}}', "a.jsonl:1 is nested too deeply"),
        ("a.jsonl", ROW + r', "response": "\ud800"}', "a.jsonl:1, field 'response': found half of a surrogate pair"),
        ("a.jsonl", ROW + ', "tokens": ["a"]}', "line 1, column 'tokens'"),
        ("a.jsonl", ROW + ', "tokens": [-1]}', r"line 1, column 'tokens': found \[-1\]"),
        ("a.jsonl", ROW + ', "tokens": 3}', "line 1, column 'tokens': found 3"),
        ("a.jsonl", ROW.encode("utf-16"), "a.jsonl:1: found UTF-16; expected text in UTF-8"),
        (
            "a.jsonl",
            f'{ROW}}}\n{ROW}, "response": "é"}}'.encode("latin-1"),
            "a.jsonl:2: found the byte 0xe9; expected text in UTF-8",
        ),
        (
            "a.csv",
            f"{HEADER}\n0,-1\n0,-1e308\n",
            r"a.csv: line 3, column 'log_likelihood': found -1e\+308; expected a finite number",
        ),
        ("a.csv", f"{HEADER}\n0,-1\n1,\n", "a.csv: line 3, column 'log_likelihood': found nan"),
        ("a.csv", f'{HEADER},response\n0,-1,"a\nb\nc"\n\n0,x,d\n', "a.csv: line 6, column 'log_likelihood': found 'x'"),
        ("a.csv", f"{HEADER}\n0,-1\n0,-1,3\n", "a.csv:3 has 3 fields; expected 2"),
        ("a.csv", f"{HEADER}\n0\n", "a.csv:2 has 1 fields; expected 2"),
        ("a.csv", f"{HEADER},prompt_id\n0,-1,3\n", "column 'prompt_id' appears twice"),
        ("a.csv", f'{HEADER},response\n0,-1,"a\n', "a.csv:2 is not CSV .unexpected end"),
        ("a.csv", f"{HEADER}\n", "a.csv: the pool has no rows"),
        (
            "a.csv",
            f"{'1' * 100_000}\n",
            r"column 'prompt_id' is missing; found 1{500,700} \[…\] 1+; say .* prompt_id=NAME$",
        ),
        ("a.csv", "prompt_id;log_likelihood\n0;-1\n", "column 'prompt_id' is missing; found prompt_id;log_likelihood"),
        ("a.csv", "", "a.csv is empty"),
        ("a.csv", f"{HEADER}\n0,-1\n".encode("utf-16"), "a.csv:1: found UTF-16"),
        ("a.csv", f"{HEADER},response\n0,-1,é\n".encode("latin-1"), "a.csv:2: found the byte 0xe9"),
        ("a.parquet", "not parquet", "not a readable parquet"),
        ("a.txt", "x", "unknown suffix '.txt'"),
    ],
)
def test_bad_files_are_refused_by_file_and_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as caught:
        read_pool(tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prompt_id": [], "log_likelihood": []}, "no rows"),
        ({}, "column 'prompt_id' is missing; found none"),
        ({"prompt_id": [{"a": 1}], "log_likelihood": [-1.0]}, "row 0, column 'prompt_id'"),
        ({"prompt_id": pa.array([0], pa.timestamp("ns")), "log_likelihood": [-1.0]}, "row 0, column 'prompt_id'"),
        ({"prompt_id": [0], "log_likelihood": pa.array([-5], pa.timestamp("ns"))}, "row 0, column 'log_likelihood'"),
        ({"prompt_id": [b"a"], "log_likelihood": [-1.0]}, "row 0, column 'prompt_id'"),
        ({"prompt_id": [0], "log_likelihood": [-1.0], "tokens": [[1, None]]}, "row 0, column 'tokens'"),
        ({"prompt_id": [0], "log_likelihood": [-1.0], "answer": [["a"]]}, "row 0, column 'answer'"),
    ],
)
def test_bad_parquet_is_refused_by_file_row_and_column(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=f"a.parquet: .*{message}"):
        read_pool(tmp_path / "a.parquet")


def test_a_line_of_commas_is_refused_at_once(tmp_path):
    (tmp_path / "a.csv").write_text("\n".join(["prompt_id" + "," * 50_000, "0" + "," * 50_000]))
    start = time.process_time()
    with pytest.raises(UserError, match=r"a\.csv: column '' appears twice"):
        read_pool(tmp_path / "a.csv")
    assert time.process_time() - start < 1


def test_damaged_parquet_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    small_pool().to_parquet(path)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:4] + bytes(60) + whole[64:], b"PAR1"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.parquet is not a readable parquet file"):
            read_pool(path)


def test_parquet_types_are_read_as_what_they_mean(tmp_path):
    """Large integers beside a null, decimals, dictionaries, half floats, an index."""
    columns = {
        "prompt_id": pa.array(["b", "a"]).dictionary_encode(),
        "log_likelihood": pa.array([Decimal("-1.5"), Decimal("-2")], pa.decimal128(5, 2)),
        "answer": pa.array([2**53 + 1, None]),
        "correct": [1, None],
        "p_true": pa.array(np.float16([0.5, 0.25])),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    pool = read_pool(tmp_path / "a.parquet")
    assert pool["prompt_id"].tolist() == ["a", "b"] and pool["log_likelihood"].tolist() == [-2, -1.5]
    assert pool["answer"].tolist() == [None, "9007199254740993"] and pool["correct"].tolist() == [pd.NA, True]
    assert pool.numbers("p_true").tolist() == [0.25, 0.5]
    small_pool().set_index("prompt_id").to_parquet(tmp_path / "b.parquet")
    assert read_pool(tmp_path / "b.parquet")["prompt_id"].tolist() == [0, 0, 1, 1]


def test_a_field_of_a_csv_file_is_what_is_written(tmp_path):
    """An answer None is an answer, and ids that differ in spelling are different prompts."""
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER},answer,correct\n0,-1,None,true\n0,-2,NA,\n0,-3,nan,0\n0,-4,,false\n")
    pool = read_pool(path)
    assert pool["answer"].tolist() == ["None", "NA", "nan", None]
    assert pool["correct"].tolist() == [True, pd.NA, False, False]
    path.write_text(f"{HEADER},answer\n0,-1,007\n0,-2,7\n")
    assert read_pool(path)["answer"].tolist() == ["007", "7"]
    for ids in (
        ["01", "1"],
        ["1e1", "10"],
        ["1.00000000000000001", "1.00000000000000002"],
        ["9223372036854775808", "x"],
    ):
        path.write_text(f"{HEADER}\n{ids[0]},-1\n{ids[1]},-1\n")
        assert read_pool(path)["prompt_id"].tolist() == sorted(ids)


def test_a_vote_for_none_counts(tmp_path):
    (tmp_path / "a.csv").write_text(f"{HEADER},answer,correct\n0,-1,None,true\n0,-2,None,true\n")
    assert majority_curve(read_pool(tmp_path / "a.csv"), [1, 2]).values.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("prefix", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_marks_and_line_ends_of_other_systems(tmp_path, prefix, end):
    lines = {"a.csv": f'{HEADER},response\n0,-1,é\n0,-2,"a\nb"\n', "a.jsonl": f'{ROW}, "response": "é"}}\n'}
    for name, text in lines.items():
        (tmp_path / name).write_bytes((prefix + text.replace("\n", end)).encode())
        assert read_pool(tmp_path / name)["response"][0] == "é"


def test_ids_and_answers_of_json_lines_are_exact(tmp_path):
    rows = [f'{{"prompt_id": {2**53 + k}, "log_likelihood": -1, "answer": {2**53 + k}}}' for k in (0, 1)]
    rows.append(f'{{"prompt_id": {2**53}, "log_likelihood": -1.5, "answer": null, "response": "\\ud83d\\ude00"}}')
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    pool = read_pool(tmp_path / "a.jsonl")
    assert pool["prompt_id"].tolist() == [2**53, 2**53, 2**53 + 1]
    assert pool["answer"].tolist() == [str(2**53), None, str(2**53 + 1)] and pool["response"].tolist()[1] == "😀"


def test_long_fields_are_read(tmp_path):
    (tmp_path / "a.csv").write_text(f"{HEADER},response\n0,-1,{'x' * 200_000}\n")
    limit = csv.field_size_limit()
    assert len(read_pool(tmp_path / "a.csv")["response"][0]) == 200_000 and csv.field_size_limit() == limit


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pool=pools())
def test_files_of_all_kinds_hold_the_same_pool(tmp_path, pool):
    pool = pool.assign(answer=pool["response"])
    pool.to_csv(tmp_path / "a.csv", index=False)
    pool.to_parquet(tmp_path / "a.parquet")
    pool.to_json(tmp_path / "a.jsonl", orient="records", lines=True, double_precision=15)
    for suffix in ("csv", "parquet", "jsonl"):
        assert_same_pool(read_pool(tmp_path / f"a.{suffix}"), Pool.from_frame(pool))


def test_a_folder_is_no_pool(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(UserError, match=r"a\.csv does not exist \(it is a folder, without"):
        read_pool(tmp_path / "a.csv")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv does not exist"):
        read_pool(tmp_path / "none.csv")


def test_jsonl_numbers_survive(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"prompt_id": "q1", "log_likelihood": -1e-300, "correct": True, "judge": 0.3}) + "\n\n")
    pool = read_pool(path)
    assert pool["log_likelihood"][0] == -1e-300 and pool["judge"][0] == 0.3


@pytest.mark.parametrize(
    ("column", "fields", "line", "found"),
    [
        ("correct", ["1", "nan"], 3, "nan"),
        ("finished", ["nan", ""], 2, "nan"),
        ("log_likelihood", ["-1_5", "-2"], 2, "-1_5"),
        ("log_likelihood", ["-2", "-١٥"], 3, "-١٥"),
        ("length", ["1_0", "2_0"], 2, "1_0"),
        ("judge", ["0.5", "NaN"], 3, "NaN"),
    ],
)
def test_numbers_of_a_csv_file_are_spelled_as_numbers(tmp_path, column, fields, line, found):
    (tmp_path / "a.csv").write_text(f"prompt_id,{column}\n1,{fields[0]}\n1,{fields[1]}\n")
    with pytest.raises(
        UserError, match=f"a.csv: line {line}, column '{column}': found '{found}'; expected (a number as 15|true, )"
    ):
        read_pool(tmp_path / "a.csv")


def test_numbers_of_a_csv_file_may_be_padded_signed_or_infinite(tmp_path):
    (tmp_path / "a.csv").write_text("idx,judge,name\n01, +1e-3,1_5\n1,-inf,2_5\n1,.5,3_5\n1,,4_5\n")
    pool = read_pool(tmp_path / "a.csv", columns={"prompt_id": "idx"})
    assert pool["prompt_id"].tolist() == ["01", "1", "1", "1"] and pool["name"].tolist() == ["1_5", "2_5", "3_5", "4_5"]
    np.testing.assert_array_equal(pool.numbers("judge"), [1e-3, -np.inf, 0.5, np.nan])


@pytest.mark.parametrize("source", [None, 3, [], b"x"])
def test_what_is_no_source_is_refused(source):
    with pytest.raises(
        UserError, match=rf"^source is a {type(source).__name__}; expected a path, a data frame or an Arrow"
    ):
        read_pool(source)


@pytest.mark.parametrize("columns", ["a=b", ["a"], {"prompt_id": ["a"]}, {"prompt_id": None}, {3: "a"}])
def test_what_names_no_columns_is_refused(columns):
    with pytest.raises(UserError, match=r"^columns: found .*; expected (a dictionary, as|names of columns)"):
        read_pool(small_pool(), columns=columns)
