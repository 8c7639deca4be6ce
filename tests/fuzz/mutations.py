"""How valid texts and files are spoilt: bits, spans, fields, lines, encodings; and values that no one expects."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.fuzz.harness import Choices

NUMBERS = (
    "0", "1", "-1", "-0", "+1", "01", "1.0", "-0.5", ".5", "5.", "1e3", "1E+3", "1e308", "1e309", "-1e309", "1e-400",
    "1e99999999", "NaN", "nan", "-NaN", "Infinity", "-Infinity", "inf", "-inf", "1_000", "1,000", "0x10", "١٢", "½", "²",
    "９", "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "18446744073709551616", "1" * 309, "9" * 400, "1" * 5_000, "0." + "0" * 400 + "1", "--1", "+-1", "1e", "1 2", "$5",
)  # fmt: skip
WORDS = (
    "", " ", "null", "None", "true", "false", "True", "NA", "greedy", "a", "é", "\x00", "\ufeff", "\u202e", "\u2028", "\x85",
    "\x1b[31m", "[/bold]", "{0}", "%s", "\\", "\\n", "\\ud800", "\\ud83d\\ude00", "\\u0000", "😀", "e\u0301", '"', '""', "'",
    '"a', "\t", "\r", "\n", "\r\n", "\n\n", ",", ";", ":", "#", "#### ", "$", "=", "/", "(", ")", "[", "]", "{", "}",
)  # fmt: skip
JSON = (
    "null", "true", "[]", "{}", "[1]", "[null]", "[-1]", "[1.5]", '["a"]', "[[1]]", "[18446744073709551616]", '{"a": 1}',
    '{"a": 1, "a": 2}', '""', '"a"', '"1"', '" 1 "', '"\\ud800"', '"\\u0000"', '["\\udc00"]', "01", ".5", "+1", "'a'",
    '{"\\ud800": 1}', '"NaN"', "1.", "1e5", "-0.0", "1e400", "/**/",
)  # fmt: skip
#: What only length or depth makes hard.
HUGE = (
    "1" * 100_000, "." * 50_000, "1e" * 30_000, "[" * 100_000, '{"a":' * 100_000, "(" * 50_000, "a" * 200_000,
    " " * 100_000, "\n" * 10_000, '"' * 50_001, "," * 50_000, "é" * 50_000, "\\" * 50_001, "-" * 50_000, "$" * 50_001,
    "\\boxed{" * 10_000, "answer is " * 10_000, "#### " * 20_000, "1," * 50_000, "1+" * 50_000, "{" * 50_000 + "}" * 50_000,
)  # fmt: skip
#: No text in UTF-8: latin-1, half a character, a surrogate, an overlong slash, a mark of UTF-16.
BYTES = (b"\xe9", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xff\xfe", b"\x00", b"\xf8\x88\x80\x80\x80", b"\x80")
ENCODINGS = ("utf-16", "utf-8-sig", "latin-1", "utf-16-le", "utf-32", "utf-7", "cp037", "shift-jis")
#: Values, words and names: what stands between the punctuation of CSV and JSON.
FIELD = re.compile(rb'"(?:[^"\\\n]|\\.)*"|[^\s,:{}\[\]"]+')


def token(choices: Choices) -> bytes:
    """A value to put somewhere; one in sixteen is huge, one in sixteen is no text."""
    kind = choices.below(16)
    if kind == 15:
        return choices.pick(HUGE).encode()
    if kind == 14:
        return choices.pick(BYTES)
    return choices.pick((NUMBERS, WORDS, JSON)[kind % 3]).encode()


def mutated(choices: Choices, seeds: Sequence[bytes], tokens: Sequence[bytes] = (), *, most: int = 3) -> bytes:
    """One of some valid texts, spoilt up to `most` times, or whole.

    Args:
        seeds: the valid texts. tokens: values of this format, that are put in half of the time.
    """
    content = choices.pick(seeds)
    for _ in range(choices.below(most + 1)):
        new = choices.pick(tokens) if tokens and choices.below(2) else token(choices)
        content = MUTATIONS[choices.below(len(MUTATIONS))](choices, content, new, seeds)
    return content


def _place(choices: Choices, content: bytes) -> int:
    return choices.below(len(content) + 1)


def _span(choices: Choices, content: bytes) -> tuple[int, int]:
    start = _place(choices, content)
    return start, min(len(content), start + choices.pick((1, 2, 4, 8, 16, 64, 256)))


def _replace_field(choices, content, new, _):
    fields = list(FIELD.finditer(content)) if len(content) < 10_000 else []
    if not fields:
        return new
    field = choices.pick(fields)
    return content[: field.start()] + new + content[field.end() :]


def _replace_by_field(choices, content, new, _):
    fields = FIELD.findall(content) if len(content) < 10_000 else []
    return _replace_field(choices, content, choices.pick(fields) if fields else new, _)


def _insert(choices, content, new, _):
    at = _place(choices, content)
    return content[:at] + new + content[at:]


def _flip(choices, content, new, _):
    spoilt = bytearray(content)
    for _ in range(choices.pick((1, 2, 8))):
        if spoilt:
            spoilt[choices.below(len(spoilt))] ^= 1 << choices.below(8)
    return bytes(spoilt)


def _delete(choices, content, new, _):
    start, end = _span(choices, content)
    return content[:start] + content[end:]


def _repeat(choices, content, new, _):
    start, end = _span(choices, content)
    times = min(choices.pick((2, 3, 10, 100, 10_000)), 200_000 // max(1, end - start))
    return content[:start] + content[start:end] * times + content[end:]


def _truncate(choices, content, new, _):
    return content[: _place(choices, content)]


def _splice(choices, content, new, seeds):
    other = choices.pick(seeds)
    return content[: _place(choices, content)] + other[_place(choices, other) :]


def _lines(choices, content, new, _):
    lines = content.split(b"\n")
    one, other = choices.below(len(lines)), choices.below(len(lines))
    match choices.below(4):
        case 0:
            lines[one], lines[other] = lines[other], lines[one]
        case 1:
            lines.insert(one, lines[other])
        case 2:
            del lines[one]
        case 3:
            lines.insert(one, new)
    return b"\n".join(lines)


def _encode(choices, content, new, _):
    return content.decode("utf-8", "replace").encode(choices.pick(ENCODINGS), "replace")


def _end_lines(choices, content, new, _):
    return content.replace(b"\n", choices.pick((b"\r\n", b"\r", b"\n\n", b"\x0b", "\u2028".encode(), b"")))


MUTATIONS = (
    _replace_field, _replace_field, _replace_field, _replace_by_field, _insert, _insert, _flip, _delete, _repeat, _truncate,
    _splice, _lines, _encode, _end_lines,
)  # fmt: skip
