"""Files that people hand in: what is wrong with one is said with its line, and no content ends in a traceback."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharptheory import files
from sharptheory.errors import UserError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}'.encode("utf-16"), r"f\.jsonl:1: found UTF-16; expected text in UTF-8"),
        ('{"a": 1}\n{"a": "é"}'.encode("latin-1"), r"f\.jsonl:2: found the byte 0xe9; expected text in UTF-8"),
        (b"", r"f\.jsonl is empty"),
        (b'{"a": 1}\n\n{"a": 1}', r"f\.jsonl:2 is empty"),
        (b'{"a": 1}\n[1]', r"f\.jsonl:2 holds a list; expected a JSON object"),
        (b'{"a": 1}\n{"a": }', r"f\.jsonl:2 is not valid JSON"),
        (b'{"a": 1}{"a": 1}', r"f\.jsonl:1 is not valid JSON"),
        (b'{"a": NaN}', r"f\.jsonl:1: found NaN, which is not JSON"),
        (b'{"a": [-Infinity]}', r"f\.jsonl:1: found -Infinity, which is not JSON"),
        (b'{"a": 1e400}', r"f\.jsonl:1: found 1e400; expected a number below"),
        (b'{"a": ' + b"1" * 400 + b"}", r"f\.jsonl:1: found a number of 400 digits"),
        (b'{"a": ' + b"1" * 5_000 + b"}", r"f\.jsonl:1: found a number of 5000 digits"),
        (b'{"a": ' + b"[" * 100_000, r"f\.jsonl:1 is nested too deeply"),
        (b'{"a": ' + b"[" * 600 + rb'"\ud800"' + b"]" * 600 + b"}", r"f\.jsonl:1"),
        (rb'{"a": {"b": ["\uD83D"]}}', r"f\.jsonl:1, field 'a', field 'b': found half of a surrogate pair"),
        (rb'{"\ud800": 1}', r"f\.jsonl:1, field .* found half of a surrogate pair"),
    ],
)
def test_bad_lines_are_named(tmp_path, content, message):
    (tmp_path / "f.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(files.read_jsonl(tmp_path / "f.jsonl"))


def test_a_byte_order_mark_and_a_whole_pair_are_welcome(tmp_path):
    (tmp_path / "f.jsonl").write_bytes(b'\xef\xbb\xbf{"a": "\\ud83d\\ude00"}\r\n{"a": "\xe2\x80\xa8"}\r\n')
    assert [row["a"] for row in files.read_jsonl(tmp_path / "f.jsonl")] == ["😀", "\u2028"]


@pytest.mark.parametrize("path", ["nowhere.json", ".", "a" * 5_000, "\0"])
def test_what_cannot_be_opened_is_named(path):
    with pytest.raises(UserError, match="cannot be read"):
        files.read_text(path)


def test_errors_of_a_json_file_name_its_line(tmp_path):
    (tmp_path / "f.json").write_text('{\n"a": 1,\n}')
    with pytest.raises(UserError, match=r"f\.json:3 is not valid JSON .*; expected a list of two"):
        files.read_json(tmp_path / "f.json", expected="a list of two")


def test_rows_of_csv_keep_their_text_and_end_on_their_line(tmp_path):
    (tmp_path / "f.csv").write_text('None,01,"a\nb"\n\nNA,1e1,\n')
    assert list(files.read_csv(tmp_path / "f.csv")) == [(2, ["None", "01", "a\nb"]), (4, ["NA", "1e1", ""])]


@pytest.mark.parametrize("content", ['a,"b', 'a,"b"c', "a," + "b" * 200_000])
def test_bad_csv_is_named(tmp_path, content):
    (tmp_path / "f.csv").write_text(content)
    with pytest.raises(UserError, match=r"f\.csv:\d is not CSV"):
        list(files.read_csv(tmp_path / "f.csv"))


@given(JSON)
def test_whatever_is_written_is_read_back(content):
    assert files.parse_json(json.dumps(content), "f") == content


@given(st.text() | st.text(alphabet='{}[]",:0123456789eE+-.\\uNafIntrlsy ', max_size=30))
def test_any_text_is_json_or_a_clear_error(text):
    try:
        files.parse_json(text, "f.json", line=7)
    except UserError as error:
        assert str(error).startswith("f.json:")
