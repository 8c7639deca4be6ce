"""Numbers, grids, names of tasks and of extractors, as typed: understood, or refused by the name of the option."""

import pytest

from sharptheory.cli.numbers import POINTS, grid, number
from sharptheory.cli.rewards import measured_columns
from sharptheory.tasks import TASKS, load_task
from sharptheory.tasks.answers import extractor
from tests.fuzz.harness import TEXTS, read
from tests.fuzz.mutations import NUMBERS, mutated, token

RANGES = ("(0, 1)", "[0, 1]", "(0, 1e9]", "[1, 1e15]", "[0, 1e300]")


def typed(choices, seeds, tokens=()) -> str:
    return mutated(choices, [seed.encode() for seed in seeds], tokens).decode(errors="surrogateescape")


def test_grids(fuzz):
    def check(choices):
        text = choices.made = typed(choices, ("1,4,16", "0.1,0.2", "0.1:0.9:5", "1:64:7", "none"), (b":", b",", b"1e9"))
        within, whole, distinct = choices.pick(RANGES), bool(choices.below(2)), bool(choices.below(2))
        values = read(
            lambda: grid(text, "--n", within, whole=whole, distinct=distinct, optional=bool(choices.below(2))),
            "--n",
            typed=True,
        )
        if values is None:
            return "refused"
        low, high = (float(end) for end in within[1:-1].split(","))
        assert len(values) <= POINTS and all(low <= value <= high for value in values)
        assert not distinct or len(set(values)) == len(values)
        assert all(type(value) is (int if whole else float) for value in values)
        return "read"

    fuzz(check, TEXTS)


def test_numbers(fuzz):
    def check(choices):
        text, within = (
            choices.pick(NUMBERS) if choices.below(4) else token(choices).decode(errors="replace"),
            choices.pick(RANGES),
        )
        choices.made = text
        try:
            value = (int if choices.below(2) else float)(text)  # as typer hands it over
        except ValueError:
            return "no number"
        return "refused" if read(lambda: number(value, "--gamma", within), "--gamma", typed=True) is None else "read"

    fuzz(check, TEXTS // 4)


DIFFICULTIES = {
    "arithmetic": ("max_terms=3", "max_terms=3,max_value=9", "operators=+-*", "max_terms=8,operators=+-*"),
    "multihop": ("max_hops=2", "min_hops=1,max_hops=3,distractors=0", "max_value=9"),
}


@pytest.mark.parametrize("name", DIFFICULTIES)
def test_difficulties(fuzz, name):
    options = [f"{option}=" for option in TASKS[name].options]

    def check(choices):
        text = choices.made = (
            f"{name}:{typed(choices, DIFFICULTIES[name], (*map(str.encode, options), b'1', b'2', b'9', b'1000000'))}"
        )
        task = read(lambda: load_task(text, choices.below(3) + 1, seed=choices.below(9)), name, *options, typed=True)
        if task is None:
            return "refused"
        assert all(
            task.grade(f" Answer #{gold}" if name == "arithmetic" else f" Answer {gold}", gold)[1]
            for gold in task.answers
        )
        return "read"

    fuzz(check, TEXTS // 4)


def test_columns_to_measure(fuzz):
    def check(choices):
        text = choices.made = typed(
            choices, ("self_certainty", "self_certainty,p_true", ""), (b"entropy", b",", b"p_true")
        )
        return (
            "refused" if read(lambda: measured_columns(text, "--rewards"), "--rewards", typed=True) is None else "read"
        )

    fuzz(check, TEXTS // 4)


PATTERNS = (
    r"(\d+)", r"answer is (\w+)", r"(?i)answer:?\s*([A-D])", r"\\boxed\{(.*?)\}", r"(a+)+$", r"(?<=x)y|z{2,3}", r"(?P<n>\d)(?P=n)",
    r"^(([A-Za-z., ])+.)+[0-9]$", r"(\w+\s*)+$", r"[[a-z]--[aeiou]]+", r"(?:(?:a|ab)(?:c|bcd)(?:d*))+", r"(?R)?x",
)  # fmt: skip
PIECES = (
    b"(", b")", b"(?:", b"(?=", b"(?<!", b"[", b"]", b"[^", b"*", b"+", b"?", b"{2,}", b"{99999}", b"{1,99999999999}", b"|",
    b"\\1", b"\\p{L}", b"\\N{DIGIT ONE}", b"(?e)", b"{e<=3}", b"(?R)", b"(?P<a>", b"(?&a)",
    b"\\K", b"\\g<1>", b"(?>", b"++", b"(?r)",
    b"\\X", b"(?b)", b"(?L)", b"(?V1)", b"[[:alpha:]]", b"\\Q", b".*", b"(.*)*", b"$", b"^", b"\\b", b"\\",
    b"(?#", b"(?i", b"(?(1)a|b)",
)  # fmt: skip
TEXT_OF_RESPONSES = (
    "The answer is 42.",
    "a" * 40 + "!",
    "Answer: C",
    "\\boxed{5}",
    "",
    "x" * 2_000,
    "word " * 400,
    "é 1\n2 ½",
)


def test_patterns(fuzz, monkeypatch):
    monkeypatch.setattr("sharptheory.tasks.answers.SECONDS", 0.02)

    def check(choices):
        spec = choices.made = "regex:" + typed(choices, PATTERNS, PIECES)
        read_answer = read(lambda: extractor(spec), "extractor", typed=True)
        if read_answer is None:
            return "refused"
        answer = read(lambda: (read_answer(choices.pick(TEXT_OF_RESPONSES)),), "extractor", typed=True)
        assert answer is None or answer[0] is None or answer[0].strip()
        return "read" if answer else "too slow"

    fuzz(check, TEXTS // 4)
