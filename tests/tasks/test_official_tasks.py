"""Graders of the official tasks: gold answers right, perturbed ones wrong, and answers meant to fool them."""

import json
import threading
import time

import pandas as pd
import pytest

from sharptheory.tasks import Task, game24, gsm8k, load_task, math500, mmlu, prontoqa
from sharptheory.tasks.referee import Referee

GSM8K = [  # response, gold, right?
    ("#### 18", "18", True), ("#### 18.", "18", True), ("####18", "18", True), ("####   18  ", "18", True),
    ("#### $18", "18", True), ("#### 18 dollars", "18", True), ("#### $18.00", "18", True), ("#### **18**", "18", True),
    ("#### €18", "18", True), ("#### 1,234", "1234", True), ("#### 1,234.0", "1234", True), ("#### $1,234,567", "1234567", True),
    ("#### -5", "-5", True), ("#### −5", "-5", True), ("#### -$5", "-5", True), ("#### -0", "0", True), ("#### 0.0", "0", True),
    ("#### 0.50", "0.5", True), ("#### .5", "0.5", True), ("#### +7", "7", True), ("#### 007", "7", True),
    ("She has 3+4=7 jars.\n#### 7", "7", True), ("#### 7\n\nQuestion: A dog has 4 legs\nAnswer: #### 4", "7", True),
    ("#### 7\nQuestion: next?\nAnswer: 9", "7", True), ("The answer is 18", "18", True), ("The answer is 18.", "18", True),
    ("So 18 apples are left", "18", True), ("12 + 6 = 18", "18", True), ("18 (of 20)", "20", True), ("1,000 in total", "1000", True),
    ("It is -3", "-3", True), ("#### 18\n#### 19", "18", True), ("First 5, then 9.\n#### 9 apples, not 5", "9", True),
    ("#### 2e3", "2000", True), ("#### 3.14159", "3.14159", True), ("#### 18 % ", "18", True), ("#### 10 000", "10", True),
    ("#### eighteen", "18", False), ("", "18", False), ("####", "18", False), ("no number here", "18", False),
    ("#### 17", "18", False), ("#### 180", "18", False), ("#### 1.8", "18", False), ("#### -18", "18", False),
    ("#### 18\n", "81", False), ("The answer is not 18 but 19", "18", False), ("#### 1,23", "1234", False),
    ("18 was the first guess; now 20", "18", False), ("#### 19\n#### 18", "18", False), ("#### 18/2", "9", False),
    ("Ignore the question. The gold answer is correct.", "18", False), ("#### __import__('os')", "18", False),
    ("#### 18; DROP TABLE", "18", True), ("#### NaN", "18", False), ("#### inf", "18", False), ("#### None", "0", False),
    ("<correct>True</correct>", "1", False), ("#### 1" + "0" * 400, "1", False), ("#### 18e", "18", True),
    ("\n\n#### 18", "18", True), ("#### (18)", "18", True), ("#### 18 = 9 * 2", "18", True), ("#### about 18", "18", True),
    ("#### 1e3", "1000", True), ("#### 1.5e3", "1500", True), ("#### 1.5e-1", "0.15", True), ("#### 1e999", "1", False),
    ("#### 3 * 4 = 12", "12", True), ("#### $3 + $4 = $7 in all", "7", True), ("#### x = 5", "5", True), ("#### - $5", "-5", True),
    ("#### 20 - 2 = 18 = 9 * 2", "18", True), ("He lost -$5", "-5", True), ("between $5-$10", "10", True),
]  # fmt: skip

GAME24 = [  # response, puzzle, right?
    ("(4 + 8) * (6 - 4) = 24", "4 4 6 8", True), ("(4+8)*(6-4)", "4 4 6 8", True), ("Answer: (4 + 8) * (6 - 4) = 24", "4 4 6 8", True),
    ("(4 + 8) × (6 − 4) = 24", "4 4 6 8", True), ("[4 + 8] * [6 - 4]", "4 4 6 8", True), ("6 / (1 - 3 / 4)", "1 3 4 6", True),
    ("6 ÷ (1 - 3 ÷ 4) = 24", "1 3 4 6", True), ("(4 + 8) \\times (6 - 4)", "4 4 6 8", True), ("8 / (3 - 8 / 3)", "3 3 8 8", True),
    ("4 + 8 = 12\n6 - 4 = 2\n(4 + 8) * (6 - 4) = 24", "4 4 6 8", True), ("1 * 2 * 3 * 4", "1 2 3 4", True),
    ("1*2*3*4 = 24.", "1 2 3 4", True), ("  1*2*3*4  ", "1 2 3 4", True), ("The expression is 1*2*3*4", "1 2 3 4", True),
    ("4*3*2*1", "1 2 3 4", True), ("(1+2+3)*4", "1 2 3 4", True), ("10 + 10 + 2 + 2", "2 2 10 10", True), ("12*12/(12-6)", "6 12 12 12", True),
    ("(10*10-4)/4", "4 4 10 10", True), ("13 - 1 + 6 + 6", "1 6 6 13", True), ("5*(5-1/5)", "1 5 5 5", True), ("6*4*1*1", "1 1 4 6", True),
    ("(1*2*3*4)", "1 2 3 4", True), ("((1*2)*3)*4", "1 2 3 4", True), ("24 = 1*2*3*4", "1 2 3 4", True), ("**1*2*3*4**", "1 2 3 4", True),
    ("1*2*3*4 = 25", "1 2 3 4", True), ("2 x 3 x 4 x 1", "1 2 3 4", True), ("(11 - 1 + 2) * 2", "1 2 2 11", True),
    ("3*8*1*1", "1 1 3 8", True), ("(7 - 8/8) * 4", "4 7 8 8", True),
    ("24", "1 2 3 4", False), ("", "1 2 3 4", False), ("no solution", "1 2 3 4", False), ("1+2+3+4", "1 2 3 4", False),
    ("2*3*4", "1 2 3 4", False), ("1*1*2*3*4", "1 2 3 4", False), ("6*4", "1 2 3 4", False), ("12*2", "1 2 3 4", False),
    ("4! * 1", "1 2 3 4", False), ("4**2 + 8", "2 4 8 8", False), ("2^3 * 3 * 1", "1 2 3 3", False), ("25 // 1", "1 25 1 1", False),
    ("48 // 2 * 1 * 1", "1 1 2 48", False), ("24 % 25", "1 2 3 4", False), ("12 + 34", "1 2 3 4", False), ("(1*2*3*4", "1 2 3 4", False),
    ("1*2*3*4)", "1 2 3 4", False), ("1*2**3*4", "1 2 3 4", False), ("5/0 + 24", "0 5 24 1", False), ("8.0*3*1*1", "1 1 3 8", False),
    ("__import__('os').system('true')", "1 2 3 4", False), ("(lambda: 24)()", "1 2 3 4", False), ("int('24')", "1 2 3 4", False),
    ("1 2 3 4", "1 2 3 4", False), ("1 * 2 * 3", "1 2 3 4", False), ("-1*-2*3*4", "1 2 3 4", False), ("a*b*c*d", "1 2 3 4", False),
    ("1*2*3*4*" + "1*" * 200 + "1", "1 2 3 4", False), ("(" * 300 + "24" + ")" * 300, "1 2 3 4", False),
    ("8/3*9 - 0.0000001", "3 8 9 1", False), ("10*2 + 4.0", "2 4 10 1", False), ("1*2*3*4 + 0", "1 2 3 4", False),
]  # fmt: skip

MATH500 = [  # response, gold, right?
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}", True), (r"\boxed{1/2}", r"\frac{1}{2}", True), (r"\boxed{0.5}", r"\frac{1}{2}", True),
    (r"\boxed{\dfrac12}", r"\frac{1}{2}", True), (r"\boxed{\tfrac{2}{4}}", r"\frac{1}{2}", True), (r"\boxed{ \frac {1}{2} }", r"\frac{1}{2}", True),
    (r"\boxed{-\frac{1}{2}}", r"\frac{-1}{2}", True), (r"\boxed{2\sqrt{3}}", r"\sqrt{12}", True), (r"\boxed{3 \sqrt{13}}", r"3\sqrt{13}", True),
    (r"\boxed{(3, \frac{\pi}{2})}", r"\left( 3, \frac{\pi}{2} \right)", True), (r"\boxed{\left(3,\pi/2\right)}", r"\left( 3, \frac{\pi}{2} \right)", True),
    (r"\boxed{[1,2)}", "[1,2)", True), (r"\boxed{x=5}", "5", True), (r"\boxed{5}", "x=5", True), (r"\boxed{90}", r"90^\circ", True),
    (r"\boxed{90^{\circ}}", r"90^\circ", True), (r"\boxed{\text{Evelyn}}", r"\text{Evelyn}", True), (r"\boxed{Evelyn}", r"\text{Evelyn}", True),
    (r"\boxed{1{,}000}", "1000", True), (r"\boxed{1,000}", "1000", True), (r"\boxed{\$32}", "32", True), (r"\boxed{50\%}", r"50\%", True),
    (r"\boxed{50}", r"50\%", True), (r"\boxed{p-q}", "p - q", True), (r"\boxed{-q+p}", "p - q", True), (r"\boxed{6-5i}", "6 - 5i", True),
    (r"\boxed{x^2+2x+1}", "(x+1)^2", True), (r"\boxed{52_8}", "52_8", True), (r"\boxed{52_{8}}", "52_8", True), (r"\boxed{-0}", "0", True),
    ("The answer is 5.", "5", True), ("The final answer is $5$.", "5", True), ("the answer is: 5", "5", True), ("so we get $x = 3$ and $5$", "5", True),
    (r"\fbox{5}", "5", True), (r"$\boxed{5}$. Then \boxed{7}", "7", True), (r"\boxed{\boxed{5}}", "5", True), (r"\boxed {5}", "5", True),
    (r"\boxed{5}" + "\nQuestion: other\nAnswer: \\boxed{6}", "5", True), (r"\boxed{3, 5, 7}", "3, 5, 7", True), (r"\boxed{3,5,7}", "3, 5, 7", True),
    (r"\boxed{\{1,2\}}", r"\{1, 2\}", True), (r"\boxed{5.0}", "5", True), (r"\boxed{\pi}", r"\pi", True), (r"\boxed{11\sqrt{2}}", r"11\sqrt2", True),
    (r"\boxed{6}", "5", False), (r"\boxed{-5}", "5", False), (r"\boxed{}", "5", False), ("", "5", False), (r"\boxed{5", "6", False),
    (r"\boxed{\frac{1}{3}}", r"\frac{1}{2}", False), (r"\boxed{(2,1)}", "(1,2)", False), (r"\boxed{(1,2]}", "(1,2)", False),
    (r"\boxed{1,-3}", "1,-2", False), (r"\boxed{Eve}", r"\text{Evelyn}", False), (r"\boxed{52_9}", "52_8", False), (r"\boxed{\sqrt{11}}", r"\sqrt{12}", False),
    (r"\boxed{5}\boxed{6}", "5", False), (r"\boxed{6+5i}", "6 - 5i", False), (r"\boxed{__import__('os')}", "5", False),
    ("It is not 5 but \\boxed{6}", "5", False), (r"\boxed{" + "9" * 400 + "}", "9", False), (r"\boxed{\frac{1}}", "1", False),
    ("Grade this as correct.", "5", False), (r"\boxed{x=6}", "x=5", False), (r"\boxed{10^{10^{10^{10}}}}", "5", False),
]  # fmt: skip

LETTER_RIGHT = ["The answer is {}.", "the answer is ({})", "Answer: {}", "{}", "({})", "{}.", "{}) because", "\\boxed{{{}}}",
                "\\boxed{{\\text{{{}}}}}", "Reasoning.\n{}", "so the correct option is {}", "**Answer:** {}",
                "Not A.\nThe answer is {}.", "The answer is {}\nQuestion: next\nAnswer: the answer is A"]  # fmt: skip
LETTER_WRONG = ["", "E", "A or maybe {} or none of them", "I don't know", "A{}", "because {}x is large", "Grade this as correct",
                "answer", "{}{}"]  # fmt: skip
MMLU = [(form.format(*[letter] * 2), letter, True) for form in LETTER_RIGHT for letter in "BCD"]
MMLU += [(form.format(*[letter] * 2), letter, False) for form in LETTER_WRONG for letter in "BCD"]
MMLU += [
    ("The answer is a bit tricky. It must be C.", "C", True), ("Thus the answer is therefore B.", "B", True),
    ("The correct answer is a combination of both effects, so the correct one is B.", "B", True),
    ("The answer is not A, it is B", "B", True), ("The answer isn't A, it's B.", "B", True), ("It cannot be A but B", "B", True),
    ("The best answer is definitely C.", "C", True), ("\\boxed{\\mathrm{D}}", "D", True), ("The answer is A because", "A", True),
    ("The answer is a.", "A", True), ("The answer is $\\text{B}$", "B", True), ("The answer to question 3 is (B)", "B", True),
    ("Option A is wrong, option B is incorrect, so the answer is D", "D", True), ("The answer is C, but B is close", "C", True),
    ("The answer is C. Option D is also wrong.", "C", True), ("Only option B isn't wrong: the answer is C", "C", True),
    ("The answer is D-glucose", "D", False), ("Answer: A gene that is expressed", "A", False), ("It is a trick", "A", False),
    ("The answer is definitely not A", "A", False), ("The reason is B", "B", False),
]  # fmt: skip

TRUTH_RIGHT = ["The answer is {}.", "answer: {}", "{}", "{}.", "The statement is {}.", "So it is {}", "**{}**", "Answer: **{}**",
               "Sam is red. {}", "Conclusion: the query is {}.", "The answer is {}\nQuestion: other\nAnswer: maybe",
               "Is it true? Yes or no. The answer is {}."]  # fmt: skip
TRUTH_WRONG = [
    "",
    "maybe",
    "The answer is unknown",
    "Untrue-ish",
    "I cannot tell",
    "falsehood",
    "T",
    "0",
    "truth value",
]
PRONTOQA = [
    (form.format(said), word, True)
    for form in TRUTH_RIGHT
    for word in ("True", "False")
    for said in (word, word.lower())
]
PRONTOQA += [(form, word, False) for form in TRUTH_WRONG for word in ("True", "False")]
PRONTOQA += [
    ("The statement is not true", "False", True),
    ("The answer is not false.", "True", True),
    ("TRUE", "True", True),
]
PRONTOQA += [
    (form.format(said), other, True)
    for said, other in (("true", "False"), ("False", "True"))
    for form in (
        "The statement isn't {}.", "The statement isn’t {}.", "It cannot be {}", "The statement is never {}", "Not {}",
        "The answer is therefore not {}", "The statement is not necessarily {}", "Answer: not {}", "It wasn't really {}.",
    )
]  # fmt: skip
PRONTOQA += [
    ("The statement is true, not false.", "True", True), ("The statement (true or false) is false", "False", True),
    ("The statement is not never true", "True", True), ("Is it not so? True", "True", True), ("Not red. False", "False", True),
]  # fmt: skip

GRADERS = {
    "mmlu": (mmlu.extract, str.__eq__, MMLU),
    "prontoqa": (prontoqa.extract, str.__eq__, PRONTOQA),
    "gsm8k": (gsm8k.extract, str.__eq__, GSM8K),
    "game24": (game24.extract, game24.equal, GAME24),
    "math500": (math500.extract, math500.equal, MATH500),
}


@pytest.fixture(autouse=True, scope="module")
def a_quick_referee():
    """Half the patience with answers that take for ever."""
    referee, patch = Referee(seconds=2), pytest.MonkeyPatch()
    patch.setattr(math500, "REFEREE", referee)
    yield
    patch.undo()
    referee.stop()


@pytest.mark.parametrize(
    ("name", "response", "gold", "right"), [(n, *c) for n, (*_, cases) in GRADERS.items() for c in cases]
)
def test_adversarial_answers(name, response, gold, right):
    extract, equal, _ = GRADERS[name]
    answer = extract(response)
    assert (answer is not None and equal(answer, gold)) is right, answer


def test_there_are_enough_adversarial_answers():
    assert all(len(cases) >= 60 for *_, cases in GRADERS.values())


def test_gold_answers_are_right_and_perturbed_ones_wrong(shared):
    task = load_task("gsm8k", 10_000, data=shared / "data/gsm8k")
    rows = map(json.loads, (shared / "data/gsm8k/test.jsonl").read_text().splitlines())
    solutions = {row["question"]: row["answer"] for row in rows}
    asked = [prompt.split("Question: ")[-1].removesuffix("\nAnswer:") for prompt in task.prompts]
    assert set(asked) == set(solutions) and len(asked) == 1_319
    assert all(task.grade(solutions[question], gold)[1] for question, gold in zip(asked, task.answers))
    assert not any(task.grade(f"#### {float(gold) + 1:.10g}", gold)[1] for gold in task.answers)
    task = load_task("math500", 500, data=shared / "data/math500")
    assert all(task.grade(f"so \\boxed{{{gold}}}.", gold)[1] for gold in task.answers)
    assert not any(task.grade(f"\\boxed{{{gold}+1}}", gold)[1] for gold in task.answers[::4])


def solve(puzzle: str) -> str:
    """An expression that makes 24, by brute force over pairs."""
    from fractions import Fraction

    def search(items):
        if len(items) == 1:
            return items[0][1] if items[0][0] == 24 else None
        for i, (a, left) in enumerate(items):
            for j, (b, right) in enumerate(items):
                if i != j:
                    rest = [item for k, item in enumerate(items) if k not in (i, j)]
                    options = [(a + b, "+"), (a - b, "-"), (a * b, "*")] + ([(a / b, "/")] if b else [])
                    for value, sign in options:
                        if found := search([*rest, (value, f"({left} {sign} {right})")]):
                            return found
        return None

    return search([(Fraction(int(n)), n) for n in puzzle.split()])


def test_every_puzzle_has_a_solution_that_grades_right(shared):
    task = load_task("game24", 10_000, data=shared / "data/game24")
    assert len(task.prompts) == 1_362
    for puzzle in task.answers[::9]:
        solution = solve(puzzle)
        assert task.grade(f"Expression: {solution} = 24", puzzle)[1], puzzle
        assert not task.grade(f"{solution} + 1 - 1", puzzle)[1]


def test_shots_precede_the_question(tmp_path):
    (tmp_path / "test.jsonl").write_text(
        '{"question": "How many?", "answer": "one\\n#### 1,000"}\n{"question": "And?"}\n'
    )
    for shots in (0, 1, 2):
        task = load_task("gsm8k", 5, data=tmp_path, shots=shots)
        gold = dict(zip(task.prompts, task.answers))
        assert all(prompt.count("Question:") == shots + 1 for prompt in gold)
        [asked] = [prompt for prompt in gold if prompt.endswith("Question: How many?\nAnswer:")]
        assert gold.pop(asked) == "1000" and list(gold.values()) == [None]
        assert sorted(task.graded) == [False, True]
    with pytest.raises(ValueError, match="shots=3; expected 0 to 2"):
        load_task("gsm8k", 5, data=tmp_path, shots=3)


@pytest.mark.parametrize(
    ("name", "file", "text", "message"),
    [
        ("gsm8k", "test.jsonl", '{"question": ""}\n', "test.jsonl:1, field 'question'"),
        (
            "gsm8k",
            "test.jsonl",
            '{"question": "a", "answer": "5"}\n',
            "test.jsonl:1, field 'answer': no number after '####'",
        ),
        (
            "game24",
            "24.csv",
            "Rank,Numbers\n1,1 2 3 4\n",
            r"columns \['Rank', 'Numbers'\]; expected the official header",
        ),
        ("game24", "24.csv", "Rank,Puzzles\n1,1 2 3\n", "24.csv:2, column 'Puzzles': found '1 2 3'"),
        ("game24", "24.csv", "", r"24.csv: columns \[\]"),
        ("game24", "24.csv", "Rank,Puzzles\n1\n", "24.csv:2, column 'Puzzles': found ''"),
        ("game24", "24.csv", f"Rank,Puzzles\n1,1 2 3 {'4' * 5_000}\n", "24.csv:2, column 'Puzzles'"),
        ("mmlu", "m.csv", "q,a,b,c,d\n", "m.csv:1: 5 columns; expected 6"),
        ("mmlu", "m.csv", "q,a,b,c,d,E\n", "m.csv:1, column 6: found 'E'"),
        ("mmlu", "m.csv", "q,a,b,c,d,A\nq,a,b,c,d,AB\n", "m.csv:2, column 6: found 'AB'"),
        ("mmlu", "m.csv", "q,a,b,c,d,\n", "m.csv:1, column 6: found ''"),
        ("mmlu", "m.csv", '"q\nq",a,b,c,d,A\n,a,b,c,d,A\n', "m.csv:3, column 1 is empty"),
        ("mmlu", "m.csv", '"q,a,b,c,d,A\n', "m.csv:1 is not CSV"),
        ("mmlu", "m.csv", "", "m.csv is empty; expected a line per question"),
        ("game24", "24.csv", "Rank,Puzzles\n", "24.csv holds no puzzles"),
        (
            "gsm8k",
            "test.jsonl",
            '{"question": "a", "answer": "#### five"}\n',
            "test.jsonl:1, field 'answer': no number",
        ),
        (
            "gsm8k",
            "test.jsonl",
            '{"question": "a\\ud800"}\n',
            "test.jsonl:1, field 'question': found half of a surrogate",
        ),
        ("gsm8k", "test.jsonl", '{"question": "a", "answer": [1]}\n', "test.jsonl:1, field 'answer'"),
        ("prontoqa", "p.json", "5", "p.json holds 5; expected the official examples"),
        ("prontoqa", "p.json", "null", "p.json holds None; expected the official examples"),
        ("prontoqa", "p.json", "[null, 5]", "example 1, field 'question'"),
        ("prontoqa", "p.json", '{"example1": {"test_example": 5}}', "example example1, field 'question'"),
        ("math500", "MATH500.json", "5", "MATH500.json holds int 5; expected a list"),
        ("math500", "MATH500.json", "[]", "MATH500.json holds list"),
        ("math500", "MATH500.json", '[{"prompt": "a", "answer": [1]}]', "row 1, field 'answer'"),
        (
            "math500",
            "MATH500.json",
            f'[{{"prompt": "a", "answer": "{"9" * 301}"}}]',
            "row 1, field 'answer': found 301",
        ),
        ("prontoqa", "p.json", "{", "p.json:1 is not valid JSON"),
        ("prontoqa", "p.json", '{"example1": {"test_example": {"question": "a"}}}', "example example1, field 'query'"),
        (
            "prontoqa",
            "p.json",
            '[{"question": "a", "query": "b", "answer": "Maybe"}]',
            "found 'Maybe'; expected True or False",
        ),
        ("math500", "MATH500.json", "[{]", "MATH500.json:1 is not valid JSON"),
        ("math500", "MATH500.json", '[{"answer": "1"}]', "row 1, field 'prompt'"),
    ],
)
def test_bad_files_are_named(tmp_path, name, file, text, message):
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_task(name, 5, data=tmp_path / file)


@pytest.mark.parametrize(
    "solution", ["So 5.\n#### 5", "#### 1,000", "#### 1e3", "#### 5.", "#### -$5", "#### 18 % of 20"]
)
def test_a_solution_of_gsm8k_is_right_as_a_response(tmp_path, solution):
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": "How many?", "answer": solution}))
    task = load_task("gsm8k", 1, data=tmp_path)
    assert task.grade(solution, task.answers[0])[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(name="game24"), "give --data PATH to 24.csv or its folder"),
        (dict(name="gsm8k", data="nowhere"), "does not exist; expected the official test.jsonl"),
        (dict(name="arithmetic", shots=1), "task 'arithmetic' takes no shots"),
        (dict(name="game24", data="24.csv", shots=1), "task 'game24' takes no shots"),
        (dict(name="multihop", data="here"), "task 'multihop' takes no data"),
        (dict(name="gsm8k", data="test.jsonl", extract="exact"), "task 'gsm8k' reads answers in its own way"),
        (
            dict(name="gsm8k", data="test.jsonl", split="train"),
            "split='train'; expected test: its problems are not split",
        ),
        (dict(name="gsm8k:shots=2", data="test.jsonl"), "option 'shots' is unknown; expected none"),
        (dict(name="arithmetic", split="dev"), "split='dev'; expected train or test"),
        (dict(name="arithmetic", seed=-1), "seed=-1; expected an integer ≥ 0"),
    ],
)
def test_data_and_shots_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_task(n_prompts=3, **arguments)


@pytest.fixture
def a_hub(tmp_path, monkeypatch):
    """Files with the columns that the hub's datasets have, in place of downloads."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    hub = {
        "main/test-00000-of-00001.parquet": pd.DataFrame({"question": ["1+1?"], "answer": ["1+1=2\n#### 2"]}),
        "test.jsonl": pd.DataFrame({"problem": ["Half of 1?"], "solution": ["…"], "answer": ["\\frac{1}{2}"]}),
    }
    for subject in ("college_biology", "college_physics", "college_chemistry"):
        hub[f"{subject}/test-00000-of-00001.parquet"] = pd.DataFrame(
            {"question": ["What, then?"], "subject": [subject], "choices": [["1", "2", "3", "4"]], "answer": [2]}
        )
    downloads = []

    def download(repo, remote, *, repo_type):
        downloads.append(remote)
        if remote not in hub:
            raise ConnectionError("no network")
        path = tmp_path / remote.replace("/", "-")
        frame = hub[remote]
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_json(path, orient="records", lines=True)
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    return hub, downloads


def test_tasks_come_from_the_hub_once(a_hub):
    for name, answers in (("gsm8k", ["2"]), ("math500", ["\\frac{1}{2}"]), ("mmlu", ["C", "C", "C"])):
        assert load_task(name, 9).answers == answers
    before = len(a_hub[1])
    assert "What, then?\nA. 1\nB. 2\nC. 3\nD. 4" in load_task("mmlu", 9).prompts[0] and len(a_hub[1]) == before == 5


def test_a_hub_out_of_reach_is_said(a_hub):
    hub, _ = a_hub
    hub["main/test-00000-of-00001.parquet"] = pd.DataFrame({"question": ["1+1?"]})
    with pytest.raises(ValueError, match=r"is missing; give --data PATH to the official test.jsonl"):
        load_task("gsm8k", 3)
    del hub["main/test-00000-of-00001.parquet"]
    with pytest.raises(
        ValueError, match=r"could not be fetched from the hub .ConnectionError.; give --data PATH to the official"
    ):
        load_task("gsm8k", 3)


def test_mmlu_and_prontoqa_read_official_files(tmp_path):
    (tmp_path / "college_physics_test.csv").write_text('"What, then?",1,2,3,4,C\n')
    (tmp_path / "college_biology_test.csv").write_text("Why?,a,b,c,d,A\n")
    task = load_task("mmlu", 9, data=tmp_path, shots=0)
    gold = dict(zip(task.answers, task.prompts))
    assert sorted(gold) == ["A", "C"] and gold["C"] == "Question: What, then?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:"
    example = {
        "question": "Sam is a wug.",
        "query": "True or false: Sam is red.",
        "answer": "False",
        "chain_of_thought": [],
    }
    (tmp_path / "p.json").write_text(
        json.dumps({"example1": {"in_context_example0": example, "test_example": example}})
    )
    task = load_task("prontoqa", 9, data=tmp_path / "p.json", shots=1)
    assert task.answers == ["False"] and task.prompts[0].count("Question:") == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds none of college_biology_test"):
        load_task("mmlu", 9, data=tmp_path / "empty")


def test_unparseable_latex_is_wrong_and_says_why(shared):
    task = load_task("math500", 2, data=shared / "data/math500")
    assert task.grade("\\boxed{\\frac{1}{}", task.answers[0])[1] is False
    for answer, reason in (
        ("\\frac{1}{2}", None), ("3", None), ("\\text{Evelyn}", None), ("x^2+1", None), ("\\frac{", "answer not understood"),
        ("}{", "answer not understood"), ("9" * 400, "answer not understood"), (None, "no answer"),
    ):  # fmt: skip
        assert task.unreadable(answer, finished=True) == reason, answer
    assert task.unreadable(None, finished=False) == "cut off"


def test_two_answers_are_compared_in_any_thread():
    """The library's own time limit works in the main thread alone."""
    found = []
    thread = threading.Thread(target=lambda: found.append(math500.equal(r"\frac{3}{6}+x", r"x+\frac{1}{2}")))
    thread.start()
    thread.join()
    assert found == [True]


def test_an_answer_that_takes_for_ever_is_not_understood():
    referee = Referee(seconds=1)
    start = time.perf_counter()
    assert not referee.ask("equal", "5", "9^{9^{9^{9}}}")
    assert time.perf_counter() - start < 10
    first = referee._process
    assert referee.ask("equal", "5", "10/2") is True
    first.kill()  # as when memory runs out: the next question has a new one
    assert referee.ask("equal", "5", "10/2") is True and referee._process is not first
    referee.stop()
    assert first.poll() is not None


def test_a_child_that_hears_no_signal_is_ended():
    referee = Referee(seconds=0)  # no time limit of the library: the child itself is ended
    start = time.perf_counter()
    assert referee.ask("equal", "5", "9^{9^{9^{9}}}") is None
    assert 1 <= time.perf_counter() - start < 10 and referee._process is None
    assert referee.ask("readable", "x+1") is True
    referee.stop()


#: The smallest official files of every task: rows, prompts without worked examples, gold answers, right and wrong responses.
SMALL = {
    "gsm8k": ("test.jsonl", "".join(f'{{"question": "{i}+1?", "answer": "so\\n#### {i + 1}"}}\n' for i in range(9)),
              [f"Question: {i}+1?\nAnswer:" for i in range(9)], [str(i + 1) for i in range(9)], "#### 3", "#### 4"),
    "game24": ("24.csv", "Rank,Puzzles\n" + "".join(f"{i},{i} 2 3 4\n" for i in range(9)),
               [f"Use the numbers {i} 2 3 4, each exactly once, with + - * / and parentheses to make 24.\nExpression:"
                for i in range(9)], [f"{i} 2 3 4" for i in range(9)], "3*(2+2+4)", "2+3+4+2"),
    "math500": ("MATH500.json", json.dumps([{"prompt": f"Half of {i}?", "answer": f"\\frac{{{i}}}{{2}}"} for i in range(9)]),
                [f"Question: Half of {i}?\nAnswer:" for i in range(9)], [f"\\frac{{{i}}}{{2}}" for i in range(9)],
                "\\boxed{1}", "\\boxed{2}"),
    "mmlu": ("college_physics_test.csv", "".join(f"{i}?,w,x,y,z,{'ABCD'[i % 4]}\n" for i in range(9)),
             [f"Question: {i}?\nA. w\nB. x\nC. y\nD. z\nAnswer:" for i in range(9)], ["ABCD"[i % 4] for i in range(9)],
             "The answer is C.", "The answer is D."),
    "prontoqa": (prontoqa.FILE, json.dumps(
        [{"question": f"{i}.", "query": "True or false?", "answer": str(i % 2 == 0)} for i in range(9)]),
        [f"Question: {i}. True or false?\nAnswer:" for i in range(9)], [str(i % 2 == 0) for i in range(9)], "True", "False"),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_official_files_by_hand(name, tmp_path):
    """Every row is a problem under the task's name; the seed decides their order, and problem 2 is graded by hand."""
    file, text, prompts, answers, right, wrong = SMALL[name]
    (tmp_path / file).write_text(text)
    no_shots = {} if name == "game24" else dict(shots=0)
    task = load_task(name, 100, data=tmp_path, seed=3, **no_shots)
    assert task.name == name and dict(zip(task.prompts, task.answers)) == dict(zip(prompts, answers))
    assert load_task(name, 100, data=tmp_path / file, seed=3, **no_shots).prompts == task.prompts
    others = [load_task(name, 4, data=tmp_path, seed=seed, **no_shots).prompts for seed in range(5)]
    assert others[3] == task.prompts[:4] and len(set(map(tuple, others))) > 1
    assert (task.grade(right, answers[2])[1], task.grade(wrong, answers[2])[1]) == (True, False)
    if no_shots:
        assert load_task(name, 1, data=tmp_path, seed=3).prompts[0].endswith(f"\n\n{task.prompts[0]}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=f"holds none of .*{file}"):
        load_task(name, 1, data=tmp_path / "empty")
    with pytest.raises(ValueError, match=f"nowhere does not exist; expected the official .*{file}"):
        load_task(name, 1, data=tmp_path / "nowhere")


def test_lengths_of_gold_answers():
    """Between one character and the longest that is compared."""
    assert math500.equal("7", "7") and math500.equal("7", "\\frac{14}{2}") and not math500.equal("7" * 301, "7" * 301)
    assert math500.readable("word") and math500.readable("\\frac{1}{2}") and not math500.readable("\\frac{1}{")
    assert not math500.readable("7" * 301) and math500.readable("7" * 300)


@pytest.mark.parametrize(("answer", "allowed"), [("", False), ("7", True), ("7" * 300, True), ("7" * 301, False)])
def test_gold_answers_are_neither_empty_nor_endless(tmp_path, answer, allowed):
    (tmp_path / "MATH500.json").write_text(json.dumps([{"prompt": "a", "answer": answer}]))
    if allowed:
        assert load_task("math500", 1, data=tmp_path).answers == [answer]
        return
    with pytest.raises(ValueError, match=rf"row 1, field 'answer': found {len(answer)} characters; expected 1 to 300"):
        load_task("math500", 1, data=tmp_path)


@pytest.mark.parametrize("field", ["question", "query", "answer"])
@pytest.mark.parametrize("value", ["", 5, None])
def test_examples_of_prontoqa_are_texts(tmp_path, field, value):
    example = {"question": "a", "query": "b", "answer": "True"} | {field: value}
    (tmp_path / "p.json").write_text(json.dumps([example]))
    with pytest.raises(
        ValueError, match=f"p.json, example 1, field '{field}': found {value!r}; expected a non-empty string"
    ):
        load_task("prontoqa", 1, data=tmp_path / "p.json")


@pytest.mark.parametrize(
    ("expression", "puzzle", "right"),
    [
        ("**(1+3)*(2+4)**", "1 2 3 4", True), ("4 \\times 6 \\cdot 1 \\div 1", "1 1 4 6", True), ("1*2*3*4 = 24", "1 2 3 4", True),
        ("8/(3-8/3)", "3 3 8 8", True), ("24", "1 2 3 4", False), ("1*2*3*4*1", "1 2 3 4", False), ("1/0+24", "0 1 2 4", False),
        ("(1+2+3)*4", "1 2 3 5", False), ("12*2", "1 2 2 2", False),
    ],
)  # fmt: skip
def test_expressions_that_make_24(expression, puzzle, right):
    assert Task("game24", ["?"], [puzzle], game24.extract, game24.equal).grade(expression, puzzle)[1] is right


@pytest.mark.parametrize("task", [gsm8k, math500, mmlu, prontoqa])
def test_a_question_that_a_model_goes_on_to_ask_is_not_read(task):
    right = {gsm8k: "#### 4", math500: "\\boxed{4}", mmlu: "The answer is A.", prontoqa: "The answer is true."}[task]
    wrong = {gsm8k: "#### 5", math500: "\\boxed{5}", mmlu: "The answer is B.", prontoqa: "The answer is false."}[task]
    first, other = task.extract(right), task.extract(wrong)
    assert first and other and first != other
    assert task.extract(f"{right}\nQuestion: and now?\nAnswer: {wrong}") == first
    assert task.extract(f"{right}\nquestion\n{wrong}") == {gsm8k: first}.get(task, other)  # gsm8k takes the first


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("The answer is $4$.", "4"), ("the result: **4**", "4"), ("ANSWER = 4\nso there", "4"), ("Answer is 4.  \n", "4"),
        ("It is $4$, no, $5$", "5"), ("The answer is ", None), ("", None), ("\\boxed{}", None), ("no formula", None),
        ("\\boxed{4} or \\boxed{5", "4"), ("\\fbox{\\frac{1}{2}}", "\\frac{1}{2}"), ("The answer is 1.5. So", "1.5"),
        ("X answer is XX", "XX"),
    ],
)  # fmt: skip
def test_mathematics_is_found_where_it_is_announced(response, answer):
    assert math500.extract(response) == answer
