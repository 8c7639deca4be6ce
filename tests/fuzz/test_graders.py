"""Graders meet whatever a model writes: they raise nothing, say the same twice, and know their own answers again."""

import re
from fractions import Fraction

import pytest

from sharptheory.tasks import answers, arithmetic, game24, gsm8k, math500, mmlu, multihop, prontoqa
from sharptheory.tasks.referee import Referee
from sharptheory.tasks.task import Task
from tests.fuzz.harness import TABLES, TEXTS
from tests.fuzz.mutations import mutated

GRADERS = {
    "exact": Task("exact", ["p"], ["4"], answers.exact),
    "last-number": Task("last-number", ["p"], ["-1234.5"], answers.last_number),
    "regex": Task("regex", ["p"], ["C"], answers.extractor(r"regex:(?i)answer:?\s*+([A-D])")),
    "arithmetic": Task("arithmetic", ["p"], ["-17"], arithmetic.extract),
    "multihop": Task("multihop", ["p"], ["12"], multihop.extract),
    "gsm8k": Task("gsm8k", ["p"], ["19"], gsm8k.extract),
    "game24": Task("game24", ["p"], ["4 6 6 8"], game24.extract, game24.equal),
    "mmlu": Task("mmlu", ["p"], ["C"], mmlu.extract),
    "prontoqa": Task("prontoqa", ["p"], ["True"], prontoqa.extract),
}
#: Responses whose answer is the gold one.
RIGHT = {
    "exact": ("4", " 4\n"),
    "last-number": ("-1,234.50", "First 3, then -1234.5 apples.", "-1.2345e3"),
    "regex": ("Answer: C", "Answer: A. No, answer C"),
    "arithmetic": ("-25+8#-17", "#-17", "1#2#-017"),
    "multihop": (" Bob 7. Cal 7+5=12. Answer 12", "Answer: 12. "),
    "gsm8k": ("24 - 5 = 19.\n#### 19", "#### $19.00", "The answer is 19.", "**19**\nQuestion: 20?"),
    "game24": ("(8 + 4) + (6 + 6)", "Answer: 4+6+6+8 = 24", "(6-4)×6+... no\n8*6-6*4 = 24"),
    "mmlu": ("The answer is (C).", "\\boxed{C}", "C", "Not A. The answer is C: because of it."),
    "prontoqa": ("Sam is red. The answer is True.", "So the statement is not false.", "True"),
}
WRONG = {
    "regex": ("Answer: A",),
    "arithmetic": ("1+1#2",),
    "multihop": ("Bob 7. Answer 7",),
    "mmlu": ("The answer is (B).", "D", "Option A is right, so choice A"),
    "prontoqa": ("The answer is False.", "Sam is not red."),
}
TOKENS = tuple(
    text.encode()
    for text in (
        "#", "####", "#### ", "**", "$", "€", "-", "−", "+", "/", "*", "(", ")", "×", "\\times", "\\frac{1}{2}", "\\boxed{",
        "}", "{", "answer", "answer is", "is not", "true", "False", "not", "A", "(B)", "C.", ".", "\n", "\nQuestion:", "=",
        " = 24", "1", "24", "0", "1e999", ",", "1,000", "٤", "４", "²", "½", "\\cdot", "\\div", "^", "_", "\\sqrt",
        "\\text{a}", "i", "\\pi", "\\infty", "\\{", "\\}", "[0,1)", "x^2", "\\left(", "\\right)", "%", "\\%", "°",
        "^\\circ", "9^{9^{9}}", "!",
    )
)  # fmt: skip


def response(choices, seeds) -> str:
    """What a model wrote: any characters, halves of surrogate pairs too."""
    text = mutated(choices, [seed.encode() for seed in seeds], TOKENS, most=4).decode(errors="replace")
    if choices.once_in(32):
        at = choices.below(len(text) + 1)
        text = text[:at] + choices.pick("\ud800\udfff\x00\u2029\u200b\U0010ffff") + text[at:]
    return text


@pytest.mark.parametrize("name", GRADERS)
def test_graders(fuzz, name):
    task, seeds = GRADERS[name], RIGHT[name]
    [gold] = task.answers

    def check(choices):
        text = choices.made = response(choices, [*seeds, *WRONG.get(name, ())])
        answer, right = task.grade(text, gold)
        assert (answer, right) == task.grade(text, gold) and type(right) is bool
        assert right or text not in seeds
        if answer is None:
            return "no answer"
        assert answer and answer == answer.strip()
        if name in ("exact", "last-number"):
            assert task.extract(answer) == answer == task.extract(f"\n {text} \t"), "not stable"
        return "right" if right else "wrong"

    fuzz(check, TEXTS, met=("right", "no answer") if name == "exact" else ("right", "wrong", "no answer"))


def test_canonical_numbers(fuzz):
    """A number's shortest spelling is a number that has itself as its shortest spelling, and the same value."""
    seeds = ("5.0", "-0", "1e3", "1,234.50", "0.1", "-12", ".5", "+7", "123456789012345678901234567890")

    def check(choices):
        text = choices.made = response(choices, seeds)[:400]
        short = answers.canonical_number(text)
        if short is None:
            return "refused"
        assert answers.canonical_number(short) == short
        plain = text.replace(",", "").strip()
        if re.fullmatch(r"[-+]?[0-9]{1,15}(\.[0-9]{1,9})?", plain):
            assert Fraction(short) == Fraction(str(float(plain))) or Fraction(short) == Fraction(plain)
        return "read"

    fuzz(check, TEXTS)


def expression(choices, numbers: list[int]) -> tuple[str, Fraction | None]:
    """A tree of + - * / over numbers in this order, and its value; None where it divides by zero."""
    if len(numbers) == 1:
        return str(numbers[0]), Fraction(numbers[0])
    cut, operator = 1 + choices.below(len(numbers) - 1), choices.pick("+-*/")
    (left, a), (right, b) = expression(choices, numbers[:cut]), expression(choices, numbers[cut:])
    if a is None or b is None or (operator == "/" and b == 0):
        value = None
    else:
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a / (b or 1)}[operator]
    return f"({left}{operator}{right})", value


def test_game24_against_fractions(fuzz):
    """An expression is right if and only if it has the value 24 and the puzzle's numbers."""
    puzzles = ([4, 6, 6, 8], [1, 5, 5, 5], [3, 3, 8, 8], [2, 3, 4, 1], [24, 1, 1, 0], [12, 12, 1, 1])

    def check(choices):
        numbers = choices.pick(puzzles)
        order = list(numbers)
        for i in range(3):
            j = i + choices.below(4 - i)
            order[i], order[j] = order[j], order[i]
        if choices.once_in(8):
            order[choices.below(4)] = choices.below(9)
        text, value = expression(choices, order)
        choices.made = text, numbers
        right = value == 24 and sorted(order) == sorted(numbers)
        spelled = text.replace("*", choices.pick(("*", " × ", "x", "\\times "))).replace(
            "/", choices.pick(("/", " ÷ "))
        )
        answer, found = GRADERS["game24"].grade(f"So {spelled} = 24", " ".join(map(str, numbers)))
        assert found == right, f"{answer} of {numbers}"
        return "right" if right else "wrong"

    fuzz(check, TEXTS, met=("right", "wrong"))


# LaTeX ----------------------------------------------------------------------------------------------------------------

BOXED = (
    "so \\boxed{\\frac{4}{2}}.", "The answer is $x = 2$.", "$\\frac12$", "\\boxed{\\text{(A)}}", "\\boxed{(0, \\infty)}",
    "\\boxed{3\\sqrt{2}}", "\\boxed{1,234}", "\\boxed{52_8}", "\\boxed{\\{1, 2\\}}", "\\boxed{x^2+2x+1}", "\\boxed{50\\%}",
    "\\boxed{90^\\circ}", "\\boxed{\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}}", "the result is 7", "\\fbox{i}",
)  # fmt: skip


def test_math500_reads(fuzz):
    def check(choices):
        text = choices.made = response(choices, BOXED)
        answer = math500.extract(text)
        assert answer == math500.extract(text)
        if answer is None:
            return "no answer"
        assert answer and answer == answer.strip()
        short = math500.normalize(answer)
        assert not re.search(r"\s", short)
        if len(answer) <= math500.LONGEST:
            assert math500.equal(answer, answer)
        return "read"

    fuzz(check, TEXTS, met=("read", "no answer"))


def test_math500_compares(fuzz, monkeypatch):
    """By computer algebra, in a child process that has less time here than it has otherwise."""
    referee = Referee(seconds=1)
    monkeypatch.setattr(math500, "REFEREE", referee)
    math500._asked.cache_clear()
    golds = ("2", "\\frac{1}{2}", "3\\sqrt{2}", "(0, \\infty)", "x^2+2x+1", "\\text{A}", "\\{1, 2\\}", "50\\%")

    def check(choices):
        text, gold = response(choices, BOXED), choices.pick(golds)
        choices.made = text, gold
        answer = math500.extract(text)
        if answer is None:
            return "no answer"
        right, readable = math500.equal(answer, gold), math500.readable(answer)
        assert type(right) is bool and type(readable) is bool
        return "right" if right else "wrong" if readable else "not understood"

    try:
        fuzz(check, TABLES, seconds=30, met=("right", "wrong", "no answer"))
    finally:
        referee.stop()
        math500._asked.cache_clear()
