"""Parquet tables: numbers without text are those with it, and equal responses are known without having them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sharptheory.errors import UserError
from sharptheory.measure.certificate import argmax_hit_rates, coverage_certificate
from sharptheory.measure.formats.parquet import hashed
from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from sharptheory.measure.prediction import predict_best_of_n
from sharptheory.measure.selection import majority_curve


@pytest.fixture
def frame() -> pd.DataFrame:
    """Six prompts of 8 to 13 samples with their greedy responses, in no order."""
    rng, rows = np.random.default_rng(0), []
    for x in range(6):
        law = rng.dirichlet(np.full(5, 0.5)) * 0.999
        for j, y in enumerate(rng.choice(5, size=9 + x, p=law / law.sum())):
            rows.append((x, j - 1, f"q{x}", f"r{y}", [int(y), 7] + [0] * (y % 2), np.log(law[y]), 2 + y % 2,
                         None if y == 4 else f"{y % 3}", bool(y == 1), "greedy" if j == 0 else "model"))  # fmt: skip
    names = [
        "prompt_id",
        "sample_id",
        "prompt",
        "response",
        "tokens",
        "log_likelihood",
        "length",
        "answer",
        "correct",
        "source",
    ]
    return pd.DataFrame(rows, columns=names).sample(frac=1, random_state=0, ignore_index=True)


def assert_same_numbers(pool: Pool, other: Pool) -> None:
    for one, another in ((pool.samples, other.samples), (pool.greedy, other.greedy)):
        pd.testing.assert_frame_equal(one, another[one.columns])
    pd.testing.assert_frame_equal(coverage_certificate(pool), coverage_certificate(other))
    pd.testing.assert_frame_equal(predict_best_of_n(pool, [2, 50]), predict_best_of_n(other, [2, 50]))
    pd.testing.assert_frame_equal(majority_curve(pool, [1, 5]), majority_curve(other, [1, 5]))
    rates = argmax_hit_rates(pool), argmax_hit_rates(other)
    assert (rates[0] is None) == (rates[1] is None)


@pytest.mark.parametrize("without", ["", "tokens", "response", "both"])
def test_a_pool_read_without_its_text_has_the_same_numbers(frame, without, tmp_path):
    frame = frame.drop(columns=["tokens", "response"] if without == "both" else [without] if without else [])
    frame.to_parquet(tmp_path / "pool.parquet")
    pool, other = read_pool(tmp_path / "pool.parquet", texts=False), read_pool(tmp_path / "pool.parquet")
    assert not {"prompt", "response", "tokens"} & set(pool.samples)
    assert (pool.responses is None) == (without == "both")
    if without != "both":
        assert pool.responses.by == other.responses.by == ("response" if without == "tokens" else "tokens")
        np.testing.assert_array_equal(pool.responses.keys, other.responses.keys)
        assert_same_numbers(pool, other)


def test_a_folder_and_its_partitions_are_one_table(frame, tmp_path):
    frame.to_parquet(tmp_path / "pool.parquet")
    for name, part in (("flat", None), ("hive", ["length"])):
        frame.to_parquet(tmp_path / name, partition_cols=part) if part else (tmp_path / name).mkdir()
    for i in range(2):
        frame.iloc[i::2].to_parquet(tmp_path / "flat" / f"part-{i}.parquet")
    other = read_pool(tmp_path / "pool.parquet")
    for name in ("flat", "hive"):
        pool = read_pool(tmp_path / name, texts=False)
        assert pool.samples["length"].tolist() == other.samples["length"].tolist()
        assert_same_numbers(pool, other)
    (tmp_path / "flat" / "round-1").mkdir()  # no partition: a run of its own
    frame.to_parquet(tmp_path / "flat" / "round-1" / "pool.parquet")
    assert len(read_pool(tmp_path / "flat").samples) == len(other.samples)


def test_a_null_among_the_tokens_leaves_the_text_to_tell_responses_apart(frame, tmp_path):
    frame["tokens"] = frame["tokens"].where(frame.index != frame.index[frame["source"] == "model"][0], None)
    frame.to_parquet(tmp_path / "pool.parquet")
    pool, other = read_pool(tmp_path / "pool.parquet", texts=False), read_pool(tmp_path / "pool.parquet")
    assert pool.responses.by == "response" == other.responses.by
    np.testing.assert_array_equal(pool.responses.keys, other.responses.keys)


def test_what_is_wrong_is_said_of_the_row_it_is_in(frame, tmp_path):
    for i in range(2):
        frame.iloc[10 * i : 10 * i + 10].to_parquet(tmp_path / f"part-{i}.parquet")
    wrong = frame.iloc[10:20].assign(tokens=[[1]] * 4 + [[-1]] + [[1]] * 5)
    wrong.to_parquet(tmp_path / "part-1.parquet")
    with pytest.raises(UserError, match=r"part-1\.parquet: row 4, column 'tokens': .*expected a list of token ids"):
        read_pool(tmp_path, texts=False)
    (tmp_path / "part-1.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="is not a readable parquet file"):
        read_pool(tmp_path, texts=False)


def test_one_sequence_has_one_likelihood_also_where_it_is_not_loaded(frame, tmp_path):
    frame.assign(tokens=[[1, 2]] * len(frame)).to_parquet(tmp_path / "pool.parquet")
    with pytest.raises(UserError, match="within 1 of another row of this prompt with the same tokens"):
        read_pool(tmp_path / "pool.parquet", texts=False)


def test_hashes_tell_sequences_apart():
    tokens = [[1, 2], [2, 1], [1], [1, 2, 0], [], [0], [0, 0], [3], [1, 2], None]
    first, second, known = hashed(pa.array(tokens))
    assert len(set(zip(first[:9], second[:9]))) == 8 and (first[0], second[0]) == (first[8], second[8])
    assert known.tolist() == [True] * 9 + [False] and len(set(first[:9])) == len(set(second[:9])) == 8
    for wrong in (pa.array([[1, -1]]), pa.array([[1, None]]), pa.array([[1.5]]), pa.array([1])):
        assert hashed(wrong) is None
    sliced = pa.array([[9], [1, 2], [2, 1]])[1:]
    np.testing.assert_array_equal(hashed(sliced)[0], first[:2])


# Files of one table ---------------------------------------------------------------------------------------------------


def parts(folder, *columns: dict) -> None:
    for i, each in enumerate(columns):
        pq.write_table(pa.table(each), folder / f"part-{i}.parquet")


@pytest.mark.parametrize("texts", [True, False])
@pytest.mark.parametrize(
    ("name", "first", "second", "found"),
    [
        ("correct", [True, False], [0.9, 0.3], "found double; expected bool"),
        ("prompt_id", [1, 1], ["01", "01"], "found string; expected int64"),
        ("answer", ["1", "2"], [1, 2], "found int64; expected string"),
        ("prompt_id", [1, 1], pa.array([2**63, 1], pa.uint64()), "found uint64; expected int64"),
    ],
)
def test_files_whose_types_do_not_go_together_are_no_table(tmp_path, name, first, second, found, texts):
    base = {"prompt_id": [1, 1], "correct": [True, False]}
    parts(tmp_path, base | {name: first}, base | {name: second})
    with pytest.raises(
        UserError, match=rf"part-1\.parquet, column '{name}': {found}, as in .*part-0\.parquet: files of one table"
    ):
        read_pool(tmp_path, texts=texts)


@pytest.mark.parametrize("texts", [True, False])
def test_a_wider_type_holds_the_values_of_all_files(tmp_path, texts):
    nothing = pa.nulls(1)
    parts(
        tmp_path,
        {"prompt_id": pa.array([1], pa.int16()), "correct": nothing, "answer": nothing, "judge": [1], "tokens": [[1]]},
        {"prompt_id": [2**60], "correct": [True], "answer": ["a"], "judge": [0.5], "late": [7.0],
         "tokens": pa.array([[2]], pa.large_list(pa.int32())), "source": ["m"]},
    )  # fmt: skip
    pool = read_pool(tmp_path, texts=texts)
    assert pool["prompt_id"].tolist() == [1, 2**60] and pool["correct"].tolist() == [pd.NA, True]
    assert pool["answer"].tolist() == [None, "a"] and pool["source"].tolist() == ["unknown", "m"]
    assert pool.numbers("judge").tolist() == [1.0, 0.5]
    np.testing.assert_array_equal(pool.numbers("late"), [np.nan, 7.0])  # a column of the second file only
    assert pool.responses.by == "tokens" and len(set(pool.responses.keys)) == 2


@pytest.mark.parametrize(
    ("folders", "ids"), [(["01", "1"], ["01", "1"]), (["1", "10"], [1, 10]), (["-0", "0"], ["-0", "0"])]
)
def test_folders_that_differ_in_spelling_are_different_prompts(tmp_path, folders, ids):
    for name in folders:
        (tmp_path / f"prompt_id={name}").mkdir()
        parts(tmp_path / f"prompt_id={name}", {"correct": [True]})
    assert read_pool(tmp_path)["prompt_id"].tolist() == ids


def test_a_column_of_the_files_is_not_read_from_their_folders(tmp_path):
    for name, i in (("01", 1), ("2", 2)):
        (tmp_path / f"prompt_id={name}").mkdir()
        parts(tmp_path / f"prompt_id={name}", {"prompt_id": [i], "correct": [True]})
    assert read_pool(tmp_path)["prompt_id"].tolist() == [1, 2]


@pytest.mark.parametrize("texts", [True, False])
def test_a_prompt_id_has_one_prompt_in_all_files(tmp_path, texts):
    nothing = pa.array([None, None], pa.string())
    parts(
        tmp_path,
        {"prompt_id": [1, 2], "prompt": nothing},
        {"prompt_id": [1, 2], "prompt": ["a", "b"]},
        {"prompt_id": [2, 1], "prompt": ["b", None]},
    )
    assert read_pool(tmp_path, texts=texts).sizes.tolist() == [3, 3]
    parts(tmp_path, {"prompt_id": [1, 2], "prompt": ["c", "d"]})
    message = (
        r"part-1\.parquet: row 0, column 'prompt': found 'a' for prompt_id 1; expected 'c', as .*part-0\.parquet: row 0"
    )
    with pytest.raises(UserError, match=message):
        read_pool(tmp_path, texts=texts)


def test_hashes_of_coded_texts_are_those_of_the_texts():
    texts = pa.array(["a", None, "b", "a", ""])
    for one, other in zip(hashed(texts), hashed(texts.dictionary_encode())):
        known = hashed(texts)[2]
        np.testing.assert_array_equal(one[known], other[known])
    assert hashed(texts.dictionary_encode())[2].tolist() == [True, False, True, True, True]
    assert hashed(pa.array([None], pa.string()).dictionary_encode())[2].tolist() == [False]
