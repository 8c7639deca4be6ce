"""Whatever a model writes in a long run is graded: in time linear in its length, and without an exception."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharptheory.errors import UserError
from sharptheory.tasks import Task, arithmetic, extractor, game24, gsm8k, math500, mmlu, multihop, prontoqa
from sharptheory.tasks.answers import canonical_number

GRADERS = {
    "arithmetic": Task("arithmetic", ["?"], ["7"], arithmetic.extract),
    "multihop": Task("multihop", ["?"], ["7"], multihop.extract),
    "gsm8k": Task("gsm8k", ["?"], ["7"], gsm8k.extract),
    "math500": Task("math500", ["?"], ["7"], math500.extract, math500.equal, readable=math500.readable),
    "mmlu": Task("mmlu", ["?"], ["A"], mmlu.extract),
    "prontoqa": Task("prontoqa", ["?"], ["True"], prontoqa.extract),
    "game24": Task("game24", ["?"], ["1 2 3 4"], game24.extract, game24.equal),
    "last-number": Task("file", ["?"], ["7"], extractor("last-number")),
    "exact": Task("file", ["?"], ["7"], extractor("exact")),
    "regex": Task("file", ["?"], ["7"], extractor(r"regex:####\s*(.+)")),
}
#: What patterns look for, alone and mixed with what they skip.
UNITS = [
    " ", "\n", "\t \n", "1", "1 ", "1 )", "1,", "1,234,", "1.", "1e", ".", ". ", "-", "+-", "(", "( ", ")", "*", "1*", "#", "#### ",
    "$", "$1", "${", "{", "}", "{}", "\\", "\\{", "\\boxed{", "\\boxed{}", "\\boxed ", "\\text{ ", "answer", "answer ",
    "answer is ", "answer is\n", "the answer:", "is ", "is: ", ":", ": ", "statement is not ", "not ", "true ", "trueis ", "A",
    "A ", "A. ", "option ", "Answer", "Answer ", "Answer 1", "Answer 1 ", "\nQuestion", "\nQuestion:",
    "x", "٣", "é", "\ud800", "\0", "[",
]  # fmt: skip
STARTS = ["", "answer", "answer is", "statement is", "#### ", "\\boxed{", "1", "(1", "Answer 1", "$"]
ENDS = ["", "x", "}", "\n7", "#7"]


@pytest.mark.parametrize("name", GRADERS)
def test_grading_takes_linear_time(name):
    """Where a pattern is quadratic, one of these texts takes seconds."""
    task = GRADERS[name]
    task.grade(r"\boxed{8}", task.answers[0])  # what is loaded once is loaded
    for unit in UNITS:
        for start, end in zip(STARTS, ENDS * 2):
            text = start + unit * (15_000 // len(unit)) + end
            began = time.process_time()
            answer, right = task.grade(text, task.answers[0])
            assert right in (True, False) and (answer is None or isinstance(answer, str))
            assert time.process_time() - began < 1, (start, unit, end)


WORST = ["answer" + " " * 999_990, "\\boxed{" * 140_000, "(" * 1_000_000, "answer " * 140_000, "9" * 1_000_000,
         "#" * 1_000_000, "answer is" + " " * 999_990, "1 " * 500_000, "1e5" * 330_000, "lorem ipsum. " * 77_000]  # fmt: skip


@pytest.mark.parametrize("name", GRADERS)
def test_a_megabyte_is_graded_in_seconds(name):
    task = GRADERS[name]
    for text in WORST:
        began = time.process_time()
        task.grade(text, task.answers[0])
        assert time.process_time() - began < 5, text[:20]


@pytest.mark.parametrize("name", GRADERS)
@settings(max_examples=30, deadline=None)
@given(parts=st.lists(st.sampled_from([*UNITS, *STARTS]) | st.text(max_size=5), max_size=30))
def test_any_text_is_read(name, parts):
    answer = GRADERS[name].extract("".join(parts))
    assert answer is None or answer


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet="0123456789()+-*/ ", max_size=110) | st.text(max_size=20))
def test_any_expression_is_compared(text):
    assert game24.equal(text, "1 2 3 4") in (True, False)


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet=r"0123456789xyz+-*/^_{}()[]\,. $%", max_size=30) | st.text(max_size=20))
def test_any_latex_is_compared(text):
    assert math500.equal(text, "7") in (True, False) and math500.readable(text) in (True, False)


@pytest.mark.parametrize("digits", [4_300, 4_301, 100_000])
def test_numbers_of_any_length_are_read(digits):
    """More digits than Python turns into a number."""
    number = "9" * digits
    assert gsm8k.extract(f"#### {number}") == canonical_number(f"+{number}.0") == number
    assert GRADERS["last-number"].grade(f"it is -{number}", f"-{number}") == (f"-{number}", True)
    assert arithmetic.extract(f"#{number}") in (number, None) and multihop.extract(f"Answer {number}") is None
    assert not game24.equal(f"{number}*1", "1 2 3 4") and not math500.equal(number, "7")


@pytest.mark.parametrize("pattern", [r"^(([A-Za-z., ])+.)+[0-9]$", r"((a+)+)+$b"])
def test_a_pattern_that_takes_for_ever_is_named(pattern, monkeypatch):
    monkeypatch.setattr("sharptheory.tasks.answers.SECONDS", 0.2)
    with pytest.raises(UserError, match=r"took more than 0\.2 s on a text of 30000 characters") as caught:
        extractor(f"regex:{pattern}")("a" * 30_000)
    assert pattern in str(caught.value)


@pytest.mark.parametrize("pattern", [r"(\w+\s*)+$XX", r"([0-9+=#-]+)*x", r"^(([A-Za-z., ])+.)+[0-9]$"])
@pytest.mark.parametrize("text", ["1+2=3#" * 5_000, "some words, " * 3_000])
def test_the_time_of_a_pattern_is_limited(pattern, text, monkeypatch):
    monkeypatch.setattr("sharptheory.tasks.answers.SECONDS", 0.2)
    began = time.process_time()
    try:
        assert extractor(f"regex:{pattern}")(text) is None
    except UserError as error:
        assert pattern in str(error)
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a{99999999999}", "repeats too often; expected at most 100,000 in all"),
        ("(?:a{60000}){60000}", "repeats too often"),
        (r"\d{" + "9" * 900 + "}", "repeats too often"),
        ("(" * 1_000, "is not a valid regular expression"),
        ("é" * 1_001, "has 1,001 characters; expected at most 1,000"),
        ("[a", "is not a valid regular expression"),
        (r"(?P<n>", "is not a valid regular expression"),
    ],
)
def test_patterns_that_cannot_be_compiled_are_named(pattern, message):
    with pytest.raises(UserError, match=message) as caught:
        extractor(f"regex:{pattern}")
    assert pattern[:100] in str(caught.value) and len(str(caught.value)) < 500
