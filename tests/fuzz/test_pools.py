"""Pools of CSV, JSON lines and parquet, and summaries: read as written, or refused by name."""

import csv
import datetime
import functools
import io
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sharptheory.measure.imports import read_pool
from sharptheory.report import schema
from sharptheory.report.schema import Summary
from sharptheory.report.summary import diagnose
from tests.fuzz.harness import TABLES, TEXTS, Choices, read
from tests.fuzz.mutations import mutated, token
from tests.measure.conftest import small_pool
from tests.measure.foreign import DATA
from tests.report.pools import hand_pool, table_pool

#: Values that a column may well hold, as JSON.
LIKELY = {
    "prompt_id": ("0", "1", "2", '"a"', '"1"', "1.0", "-1", "9007199254740993"),
    "log_likelihood": ("-1", "-0.5", "0", "-1e-320", "-745.2", '"-1"', "1", "-1e308"),
    "sample_id": ("0", "1", "2", "3", "-1", "1.0", '"0"', "9007199254740993"),
    "prompt": ('"What?"', '""', "null", "5"),
    "response": ('"It is 4."', '"a,b"', '"a\\nb"', "null"),
    "tokens": ("[1, 2]", "[]", "[0]", "null", "[18446744073709551615]", '"[1]"'),
    "length": ("2", "0", "1.0", "1000000001", '"2"'),
    "finished": ("true", "false", "null", "1", '"True"'),
    "answer": ('"4"', "4", "null", '"None"', "4.0"),
    "correct": ("true", "false", "null", "0", '"FALSE"'),
    "unreadable": ("null", '"no answer"'),
    "source": ('"model"', '"greedy"', "null", '"greedy "'),
    "reward": ("0.5", "-1e308", "null", '"good"', "true"),
}
OPTIONAL = tuple(LIKELY)[2:]
TOKENS = [text.encode() for texts in LIKELY.values() for text in texts] + [name.encode() for name in LIKELY]


def rows(choices: Choices) -> tuple[list[str], list[list[str]]]:
    """Names of columns, and rows of JSON texts."""
    names = ["prompt_id", "log_likelihood", *(choices.pick(OPTIONAL) for _ in range(choices.below(5)))]
    if choices.once_in(16):
        names[choices.below(len(names))] = token(choices).decode(errors="replace")
    if not choices.once_in(16):
        names = list(dict.fromkeys(names))
    anything = choices.once_in(4)
    table = []
    for _ in range(choices.below(4) + 1):
        row = [choices.pick(LIKELY.get(name, ("1", '"x"'))) for name in names]
        if anything and choices.below(2):
            row[choices.below(len(row))] = token(choices).decode(errors="replace")
        table.append(row)
    return names, table


def as_jsonl(names: list[str], table: list[list[str]]) -> bytes:
    lines = ["{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in zip(names, row)) + "}" for row in table]
    return "\n".join(lines).encode(errors="surrogatepass")


def as_csv(names: list[str], table: list[list[str]]) -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([names, *([text.strip('"') for text in row] for row in table)])
    return file.getvalue().encode(errors="surrogatepass")


def check_pool(path, n_rows: int | None) -> str:
    """A pool of the file's rows, of which what every estimate relies on holds; or refused."""
    pool = read(lambda: read_pool(path), path.name)
    if pool is None:
        return "refused"
    everything = pool.frame()
    assert len(pool.samples) > 0 and (n_rows is None or len(everything) == n_rows)
    if "log_likelihood" in everything:
        score = everything["log_likelihood"].to_numpy(dtype=float)
        assert np.isfinite(score).all() and (score <= 0).all()
    assert everything["prompt_id"].notna().all() and everything["finished"].dtype == "boolean"
    assert (
        not pool.samples.duplicated(["prompt_id", "sample_id"]).any()
        and not pool.greedy["prompt_id"].duplicated().any()
    )
    return "read"


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_pools_of_text(fuzz, folder, suffix):
    written = {"csv": as_csv, "jsonl": as_jsonl}[suffix]
    whole = small_pool()
    seeds = [
        whole.to_csv(index=False).encode() if suffix == "csv" else whole.to_json(orient="records", lines=True).encode()
    ]

    def check(choices):
        path, (names, table) = folder / f"pool.{suffix}", rows(choices)
        content = written(names, table)
        spoilt = mutated(choices, [content, content, content, *seeds], TOKENS)
        choices.made = spoilt
        path.write_bytes(spoilt)
        plain = spoilt == content and not any("\n" in text or not text for row in table for text in row)
        return check_pool(path, len(table) if plain else None)

    fuzz(check, TEXTS, genome=64)


# Logs of other tools --------------------------------------------------------------------------------------------------

#: Fields and values of logs.
LOGGED = [b'"resps"', b'"filtered_resps"', b'"metrics"', b'"choices"', b'"logprobs"', b'"content"', b'"logprob"', b'"scores"',
          b'"value"', b'"epoch"', b'"C"', b"[[]]", b"[[1]]", b"{}", b"NaN", b"null", b"-1e999", b'"attachment://x"', b'"n"', b'"c"',
          b"-9999.0", b'{"text": "a"}', b"1e400", b'"stop"']  # fmt: skip
LOGS = {
    "jsonl": [
        *(
            (DATA / name).read_bytes()
            for name in ("samples_repeated.jsonl", "samples_filtered.jsonl", "completions.jsonl")
        ),
        b'{"idx": 7, "score": [true, false], "pred": ["4", null], "pred_score": [[-0.1, -0.2], [-3.0]], "tokens": [[1], [2]]}',
        b'{"task_id": "x", "n": 5, "c": 2}\n{"task_id": "y", "n": 4, "c": 0}',
        b'{"problem": "p", "generation": "g", "predicted_answer": "1", "symbolic_correct": true, "judgement": "Judgement: No"}',
        b'{"custom_id": "a", "response": {"body": {"choices": [{"text": "a", "finish_reason": "stop"}]}}, "correct": true}',
    ],
    "json": [(DATA / "inspect_hf.json").read_bytes()],
    "eval": [(DATA / "inspect.eval").read_bytes()],
    "arrow": [(DATA / "dataset/data-00000-of-00001.arrow").read_bytes()],
}


@pytest.mark.parametrize("suffix", LOGS)
def test_logs(fuzz, folder, suffix):
    def check(choices):
        path = folder / f"log.{suffix}"
        spoilt = mutated(choices, LOGS[suffix], LOGGED)
        choices.made = spoilt
        path.write_bytes(spoilt)
        pool = read(lambda: read_pool(path), path.name)
        return "refused" if pool is None else "read"

    fuzz(check, TEXTS if suffix == "jsonl" else TABLES, genome=64)


# Parquet --------------------------------------------------------------------------------------------------------------

NOW = datetime.datetime(2024, 1, 1)
#: Values of every type that parquet holds; a column takes one row's worth after another.
ARRAYS = {
    "prompt_id": (pa.array([0, 0, 1, 1]), pa.array(["a", "a", "b", "b"]), pa.array(["x"] * 4).dictionary_encode()),
    "log_likelihood": (pa.array([-1.0, -2.0, -0.5, -3.0]), pa.array([-1, -2, -3, 0]), pa.array([-1.5] * 4, pa.float32())),
    "tokens": (pa.array([[1], [2, 3], [], [4]]), pa.array([[1], None, [2], [3]], pa.list_(pa.uint32()))),
    "correct": (pa.array([True, False, None, True]), pa.array([0, 1, 1, 0], pa.int8())),
    "source": (pa.array(["model", "greedy", None, "model"]), pa.array(["m"] * 4).dictionary_encode()),
}  # fmt: skip
ODD = (
    pa.nulls(4),
    pa.array([None] * 4, pa.float64()),
    pa.array([np.nan, np.inf, -np.inf, -1.0]),
    pa.array(np.float16([-1.0, -2.0, np.nan, -65504.0])),
    pa.array([2**64 - 1, 0, 1, 2], pa.uint64()),
    pa.array([-(2**63), 2**63 - 1, 2**53 + 1, None]),
    pa.array([1, 2, 3, None], pa.int8()),
    pa.array([Decimal("-1.5"), Decimal("0"), None, Decimal("-1e20")], pa.decimal128(38, 10)),
    pa.array([Decimal(10) ** 70, Decimal(1), None, Decimal(-1)], pa.decimal256(76, 0)),
    pa.array([Decimal("-1.5")] * 4, pa.decimal128(5, 2)),
    pa.array(["", "1", "é", None]),
    pa.array(["-1", "-2.5", "NaN", "1e5"], pa.large_string()),
    pa.array(["a" * 100_000, "b", "\x00", "😀"]),
    pa.array([b"a", b"\xff\xfe", b"", None]),
    pa.array([b"abcd"] * 4, pa.binary(4)),
    pa.array([True, False, True, None]),
    pa.array([0, 1, 2, None], pa.date32()),
    pa.array([0, 2**40, -1, None], pa.timestamp("us")),
    pa.array([0, 2**62, -(2**62), None], pa.timestamp("s")),
    pa.array([-1, -2, -3, None], pa.timestamp("ns", "Europe/Berlin")),
    pa.array([NOW, NOW, None, NOW]),
    pa.array([1, 2, 3, None], pa.time64("us")),
    pa.array([-1, 2, 2**40, None], pa.duration("s")),
    pa.array([[1], [], None, [2, None]]),
    pa.array([[-1], [1], [2], [3]]),
    pa.array([[2**64 - 1]] * 4, pa.list_(pa.uint64())),
    pa.array([[1.5], [np.nan], [], None]),
    pa.array([["a"], ["b"], [], None]),
    pa.array([[[1]], [[]], [], None]),
    pa.array([[1, 2]] * 4, pa.list_(pa.int32(), 2)),
    pa.array([[True], [False], [], None]),
    pa.array([{"a": 1}, {"a": None}, None, {"a": 2}]),
    pa.array([{}] * 4, pa.struct([])),
    pa.array([[("a", 1)], [], None, [("b", 2), ("b", 3)]], pa.map_(pa.string(), pa.int64())),
    pa.array([1, 1, 2, None]).dictionary_encode(),
    pa.array([-1.0, -1.0, None, -2.0]).dictionary_encode(),
    pa.DictionaryArray.from_arrays(pa.array([0, 1, 0, 1]), pa.array(["x", "x"])),
)
METADATA = ({}, {b"pandas": b"{}"}, {b"pandas": b"not json"}, {b"pandas": b'{"index_columns": [5], "columns": [3]}'})


def parquet(choices: Choices) -> bytes:
    """A file with columns of likely and unlikely types, some of them missing, twice, or in another order."""
    names = list(ARRAYS)[: 2 + choices.below(4)]
    columns = [choices.pick(ARRAYS[name]) for name in names]
    for _ in range(choices.below(4)):
        match choices.below(6):
            case 0 | 1 | 2:
                columns[choices.below(len(columns))] = choices.pick(ODD)
            case 3:
                names.append(choices.pick((*LIKELY, "", "__index_level_0__", "log_likelihood ", "PROMPT_ID", "é\x00")))
                columns.append(choices.pick(ODD))
            case 4 if len(names) > 1:
                at = choices.below(len(names))
                names, columns = [*names[at + 1 :], *names[:at]], [*columns[at + 1 :], *columns[:at]]
            case 5:
                names, columns = names[::-1], columns[::-1]
    table = pa.table(columns, names=names)[: 4 - choices.pick((0, 0, 1, 3, 4))]
    if choices.once_in(4):
        table = table.replace_schema_metadata(choices.pick(METADATA))
    file = io.BytesIO()
    options = dict(
        compression=choices.pick(("snappy", "none", "zstd", "gzip")),
        row_group_size=choices.pick((4, 1)),
        version=choices.pick(("2.6", "1.0")),
        use_dictionary=bool(choices.below(2)),
        store_schema=bool(choices.below(2)),
    )
    try:
        pq.write_table(table, file, **options)
    except (pa.ArrowException, TypeError):  # a type that parquet does not have
        pq.write_table(pa.table({"prompt_id": [0], "log_likelihood": [-1]}), file)
    return file.getvalue()


def spoilt_parquet(choices: Choices) -> bytes:
    """The file whole half of the time; else with wrong bytes, in the data or in the footer, or an end too early."""
    content = parquet(choices)
    match choices.below(8):
        case 0 | 1 | 2 | 3:
            return content
        case 4:
            return mutated(choices, [content])
        case 5:
            return content[: choices.below(len(content))] + choices.pick((b"", b"PAR1", content[-8:]))
        case _:  # the footer, where the lengths are
            spoilt = bytearray(content)
            footer = int.from_bytes(content[-8:-4], "little") + 8
            for _ in range(choices.below(8) + 1):
                spoilt[-1 - choices.below(min(footer, len(spoilt)))] = choices.pick(
                    (0, 1, 127, 128, 255, choices.below(256))
                )
            return bytes(spoilt)


def test_pools_of_parquet(fuzz, folder):
    def check(choices):
        path, content = folder / "pool.parquet", spoilt_parquet(choices)
        choices.made = content
        path.write_bytes(content)
        return check_pool(path, None)

    fuzz(check, TABLES, genome=64)


# Summaries ------------------------------------------------------------------------------------------------------------


def test_summaries(fuzz, monkeypatch):
    monkeypatch.setattr(schema, "_fields", functools.cache(schema._fields))  # annotations are read once, not each time
    seeds = [
        diagnose(pool).summary.to_json().encode() for pool in (hand_pool(), table_pool(aligned=0.7, n_prompts=6, m=4))
    ]

    def check(choices):
        text = mutated(choices, seeds, TOKENS).decode(errors="replace")
        choices.made = text
        summary = read(lambda: Summary.from_json(text), "summary")
        if summary is None:
            return "refused"
        assert Summary.from_json(summary.to_json()) == summary
        return "read"

    fuzz(check, TEXTS)
