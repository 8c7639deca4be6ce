"""The arithmetic task and tasks from files."""

import re
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharptheory.tasks import arithmetic, load_task, multihop
from sharptheory.tasks.answers import canonical_number, extractor, last_number
from sharptheory.tasks.generated import is_test_prompt


def value(text: str) -> int:
    """An independent reading of a signed sum."""
    total, sign, digits = 0, 1, ""
    for character in text + "+":
        if character in "+-":
            total += sign * int(digits) if digits else 0
            sign, digits = (1 if character == "+" else -1), ""
        else:
            digits += character
    return total


def test_every_step_of_a_solution_keeps_the_value():
    rng = np.random.default_rng(0)
    orders = set()
    for _ in range(300):
        expression = arithmetic.sample_expression(rng)
        terms = [term for (term,) in expression]
        assert 3 <= len(terms) <= 5 and all(2 <= abs(term) <= 99 for term in terms)
        solution = arithmetic.sample_solution(expression, rng)
        steps, _, answer = solution.partition("#")
        assert int(answer) == sum(terms) == value(arithmetic.render(expression))
        assert all(value(step) == sum(terms) for step in steps.split("="))
    for _ in range(200):
        orders.add(arithmetic.sample_solution([[10], [20], [-5], [7]], rng))
    assert len(orders) == 6  # 3! merge orders of four terms


def python_value(text: str) -> int:
    """What Python makes of an expression."""
    assert set(text) <= set("0123456789+-*")
    return eval(text)


def test_difficulty_of_arithmetic():
    """Any length, digits and operators; products are worked out before the sums they stand in."""
    task = load_task("arithmetic:min_terms=6,max_terms=9,max_value=999,operators=+-*", 300)
    counts = [len(re.findall(r"\d+", prompt)) for prompt in task.prompts]
    assert (min(counts), max(counts)) == (6, 9) and any("*" in prompt for prompt in task.prompts)
    assert all(python_value(p[:-1]) == int(a) for p, a in zip(task.prompts, task.answers))
    hard = dict(min_terms=6, max_terms=9, max_value=999, operators="+-*")
    for prompt, solution in arithmetic.training_pairs(300, np.random.default_rng(0), **hard):
        steps, _, answer = solution.partition("#")
        assert {python_value(step) for step in steps.split("=")} == {python_value(prompt[:-1])} == {int(answer)}
        assert len(solution) + 1 <= task.max_new_tokens
    assert not any("-" in p or "*" in p for p in load_task("arithmetic:operators=+", 50).prompts)
    assert all("-" not in p[1:] and "+" not in p for p in load_task("arithmetic:operators=*,max_value=9", 50).prompts)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("arithmetic:terms=3", "option 'terms' is unknown; expected min_terms, max_terms, max_value, operators"),
        ("arithmetic:max_terms=x", "max_terms='x'; expected a whole number"),
        ("arithmetic:min_terms=9", "min_terms=9, max_terms=5; expected 2 ≤ min ≤ max"),
        ("arithmetic:operators=/", "operators='/'; expected some of"),
        (
            "arithmetic:min_terms=2,max_terms=2,max_value=2,operators=+",
            "has only . test problems; ask for no more",
        ),
        ("arithmetic:max_terms=1000000", "max_terms=1000000; expected 2 ≤ min ≤ max ≤ 50"),
        ("arithmetic:min_terms=-1", "min_terms=-1, max_terms=5; expected 2 ≤ min"),
        ("arithmetic:max_value=0", "max_value=0; expected 2 to 1,000,000,000"),
        ("arithmetic:max_value=99999999999", "max_value=99999999999; expected 2 to"),
        ("arithmetic:max_value=" + "9" * 5_000, "expected a whole number"),
        ("arithmetic:max_terms=1_0", "max_terms='1_0'; expected a whole number"),
        ("arithmetic:max_terms=5,max_terms=6", "option 'max_terms' is given twice"),
        ("arithmetic:operators=++", "operators='\\+\\+'; expected some of .* each once"),
        ("arithmetic:operators=", "operators=''; expected some of"),
        ("multihop:max_value=9223372036854775807", "expected 9 to"),
        ("multihop:min_hops=0", "min_hops=0"),
        ("multihop:distractors=-1", "distractors=-1"),
        ("multihop:max_hops=1000000", "at most 12 people in all"),
        ("multihop:max_hops=11", "at most 12 people in all"),
        ("multihop:max_value=3", "max_value=3; expected 9 to"),
    ],
)
def test_bad_difficulty(spec, message):
    with pytest.raises(ValueError, match=message):
        load_task(spec, 50)


def count(sentences: list[str], name: str) -> int:
    """An independent reading of a multi-hop problem: how many `name` has."""
    [told] = [s for s in sentences if s.startswith(f"{name} has")]
    if found := re.fullmatch(r"\w+ has (\d+) \w+", told):
        return int(found[1])
    if found := re.fullmatch(r"\w+ has (\d+) (more|fewer) \w+ than (\w+)", told):
        return count(sentences, found[3]) + int(found[1]) * (1 if found[2] == "more" else -1)
    if found := re.fullmatch(r"\w+ has twice as many \w+ as (\w+)", told):
        return 2 * count(sentences, found[1])
    found = re.fullmatch(r"\w+ has as many \w+ as (\w+) and (\w+) together", told)
    return count(sentences, found[1]) + count(sentences, found[2])


def test_multihop_answers_and_steps():
    hard = dict(min_hops=2, max_hops=6, distractors=3)
    task = load_task("multihop:" + ",".join(f"{k}={v}" for k, v in hard.items()), 200)
    for prompt, answer in zip(task.prompts, task.answers):
        *sentences, question = re.split(r"\. ", prompt)
        assert count(sentences, re.search(r"does (\w+) have", question)[1]) == int(answer)
    for prompt, solution in multihop.training_pairs(300, np.random.default_rng(0), **hard):
        *sentences, question = re.split(r"\. ", prompt)
        *steps, last = solution.strip().split(". ")
        for step in steps:
            name, _, work = step.partition(" ")
            assert {python_value(side) for side in work.split("=")} == {count(sentences, name)}
        assert task.extract(solution) == str(count(sentences, re.search(r"does (\w+) have", question)[1]))
        assert last.startswith("Answer")


def test_multihop_has_many_responses_and_disjoint_splits():
    rng = np.random.default_rng(0)
    train = [prompt for prompt, _ in multihop.training_pairs(2_000, rng, max_hops=2, distractors=0, max_value=9)]
    test = load_task("multihop:max_hops=2,distractors=0,max_value=9", 200)
    assert len(set(test.prompts)) == 200 and not set(train) & set(test.prompts)
    problem = multihop.sample_problems(1, rng, split="test", difficulty=multihop.Difficulty(min_hops=4))[0]
    assert len({multihop.sample_solution(problem, rng) for _ in range(100)}) > 3
    assert {multihop.sample_solution(problem, rng, canonical=1.0) for _ in range(20)} == {
        multihop.sample_solution(problem, rng, canonical=1.0)
    }


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (" Bob 7. Answer 7", "7"), (" Answer 07", "7"), (" Answer -0", "0"), (" Answer: 12.", "12"), ("Answer 3 \n", "3"),
        (" Answer 7 Answer 8", "8"), (" Answer 7 apples", None), (" Answer", None), (" Answer x", None), (" 7", None),
        ("", None), (" Answer 7+5=12", None), (" Answer ٣", None), (" answer 7", None), (" Answer 7-", None),
    ],
)  # fmt: skip
def test_multihop_answer_reading(response, answer):
    assert multihop.extract(response) == answer


def test_train_and_test_problems_are_disjoint():
    rng, easy = np.random.default_rng(0), arithmetic.Difficulty(max_value=5)
    train, test = (
        {arithmetic.render(t) + "=" for t in arithmetic.sample_problems(n, rng, split=split, difficulty=easy)}
        for split, n in (("train", 3_000), ("test", 300))
    )
    assert not train & test
    assert all(map(is_test_prompt, arithmetic.load(50, seed=1).prompts))


def test_loading_is_seeded_and_distinct():
    first = arithmetic.load(200, seed=0)
    assert first.prompts == arithmetic.load(200, seed=0).prompts != arithmetic.load(200, seed=1).prompts
    assert len(set(first.prompts)) == 200
    assert all(value(p[:-1]) == int(a) for p, a in zip(first.prompts, first.answers))


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("1+2#3", "3"), ("#-17", "-17"), ("#-0", "0"), ("#+5", "5"), ("#007", "7"), ("3#4#5", "5"), ("12", None),
        ("#", None), ("#-", None), ("#1+2", None), ("#3 ", None), ("#--3", None), ("", None), ("#3x", None),
    ],
)  # fmt: skip
def test_arithmetic_answers(response, answer):
    assert arithmetic.extract(response) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 1,234.50 dollars", "1234.5"), ("-0", "0"), ("x = -3", "-3"), ("1 2 3", "3"), ("5.0", "5"),
        ("none", None), ("so 12,34", "34"), (".5", "0.5"), ("1e3", "1000"), ("#### 72", "72"),
        ("99999999999999999999", "99999999999999999999"), ("ends in 7.", "7"), ("٣", "3"), ("1e999", None), ("1e-999", None),
        ("0e999", "0"), ("-0.0", "0"), ("9" * 5_000, "9" * 5_000), ("0" * 5_000 + "7", "7"), ("1." + "0" * 5_000, "1"),
    ],
)  # fmt: skip
def test_last_number(text, answer):
    assert last_number(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("1990-1995", "1995"), ("pages 3-5", "5"), ("pages 3--5", "5"), ("5%-10%", "10"), ("$5-$10", "10"), ("5$-10$", "10"),
        ("2024-01-15", "15"), ("GPT-4", "4"), ("f(2)-7", "7"), ("٣-٥", "5"), ("3+5", "5"),
        ("3 - -5", "-5"), ("3*-5", "-5"), ("x=-5", "-5"),
        ("He lost -$5", "-5"), ("-€1,234.5", "-1234.5"), ("from $5 to -$.5", "-0.5"), ("$5 -$", "5"),
        ("(-5)", "-5"), ("**-5**", "-5"), ("$-5", "-5"), ("at −5 °C", "-5"),
    ],
)  # fmt: skip
def test_a_sign_is_no_hyphen(text, answer):
    assert last_number(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("1,2345", "12345"), ("1,00,000", "100000"), ("1234,567", "1234567"), ("-12,345,678.5", "-12345678.5"),
        ("1,2,3", "3"), ("(-1,-2)", "-2"), ("-1,2", "2"), ("1990,1995", "1995"), ("3,14", "14"),
        ("version 1.2.3", "3"), ("v.5", "0.5"),
    ],
)  # fmt: skip
def test_commas_separate_thousands_or_a_list(text, answer):
    assert last_number(text) == answer


def test_one_number_has_one_spelling():
    """However it is written: 1e16 and its digits are one answer."""
    for spellings in (["1e16", "1" + 16 * "0", "10000000000000000.0", "+1E+16", "0.01e18"], ["1e-7", "0.0000001", ".1e-6"],
                      ["12345678901234567890.5", "1.23456789012345678905e19"], ["0", "-0", "0e9", "-.0", "0e" + 5_000 * "9"],
                      ["100", "1e2", "1e" + 5_000 * "0" + "2"]):  # fmt: skip
        [answer] = {canonical_number(spelling) for spelling in spellings}
        assert answer in ("10000000000000000", "0.0000001", "12345678901234567890.5", "0", "100")


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40))
def test_canonical_numbers_are_exact(number):
    canonical = canonical_number(str(number))
    if abs(number) > 1e-300:
        assert Decimal(canonical) == number and canonical_number(canonical) == canonical and "E" not in canonical
        assert canonical == canonical_number(f"{number:f}")


def test_extractors():
    assert extractor("exact")("  yes \n") == "yes" and extractor("exact")("  ") is None
    assert extractor(r"regex:####\s*(.+)")("a #### 1\n#### 2") == "2"
    assert extractor("regex:[A-D]")("B or C") == "C"
    with pytest.raises(ValueError, match="unknown; expected exact, last-number or regex:PATTERN"):
        extractor("number")
    with pytest.raises(ValueError, match="not a valid regular expression"):
        extractor("regex:(")


def test_file_task(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(
        '{"prompt": "2+2=", "answer": 4}\n{"prompt": "3+3=", "answer": "so it is #### 6"}\n{"prompt": "?"}\n'
    )
    task = load_task(str(path), 10)
    assert task.name == "mine" and dict(zip(task.prompts, task.answers)) == {"2+2=": "4", "3+3=": "6", "?": None}
    assert dict(zip(task.prompts, task.graded)) == {"2+2=": True, "3+3=": True, "?": False}
    assert task.grade("that is 4.0", "4") == ("4", True)
    assert task.grade("no idea", "4") == (None, False)
    assert task.grade("7", None) == ("7", None)
    assert len(load_task(str(path), 1).prompts) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prompt": "a", "answer": 1}\n{"answer": 1}', r"t\.jsonl:2, field 'prompt': found None"),
        ('{"prompt": ""}', r"t\.jsonl:1, field 'prompt': found ''"),
        ('{"prompt": "a", "answer": [1]}', r"t\.jsonl:1, field 'answer': found \[1\]"),
        ('{"prompt": "a"}\n{bad', r"t\.jsonl:2 is not valid JSON"),
        (
            '{"prompt": "a"}\n{"prompt": "a", "answer": "Paris"}',
            "t.jsonl:2, field 'answer': found 'Paris', in which last-n",
        ),
        ('{"prompt": "a", "answer": " "}', "t.jsonl:1, field 'answer': found ' '"),
        ('{"prompt": "\\ud800"}', "t.jsonl:1, field 'prompt': found half of a surrogate pair"),
        ('{"prompt": "a", "answer": NaN}', "t.jsonl:1: found NaN, which is not JSON"),
        ('{"prompt": "a", "answer": ' + "9" * 400 + "}", "t.jsonl:1: found a number of 400 digits"),
        ('{"prompt": "a", "answer": true}', "t.jsonl:1, field 'answer': found True"),
        ("", r"t\.jsonl is empty"),
    ],
)
def test_bad_task_files_name_line_and_field(tmp_path, text, message):
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_task(str(tmp_path / "t.jsonl"), 5)


def test_unknown_task():
    with pytest.raises(ValueError, match="'gsm9k' is neither a file nor one of: arithmetic"):
        load_task("gsm9k", 5)


def test_file_task_reads_gsm8k_style_answers(shared, tmp_path):
    """Gold answers in the distributed GSM8k file are read by the same extractor as responses."""
    rows = (shared / "data/gsm8k/test.jsonl").read_text().splitlines()[:200]
    (tmp_path / "gsm8k.jsonl").write_text("\n".join(row.replace('"question"', '"prompt"', 1) for row in rows))
    task = load_task(str(tmp_path / "gsm8k.jsonl"), 200)
    assert all(answer is not None and float(answer) == float(answer) for answer in task.answers)


def test_solutions_left_to_right_by_hand():
    """With chance 1 always the next two that are neighbours; with chance 0 any, so that there are several."""
    expression, rng = [[2], [-3, 4], [5]], np.random.default_rng(0)
    assert {arithmetic.sample_solution(expression, rng, left_to_right=1.0) for _ in range(30)} == {"2-12+5=-10+5#-5"}
    assert {arithmetic.sample_solution(expression, rng, left_to_right=0.0) for _ in range(60)} == {
        "2-12+5=-10+5#-5", "2-12+5=2-7#-5"}  # fmt: skip
    assert expression == [[2], [-3, 4], [5]]


#: Ann 5, Bob 7 (what is asked), Cal 10 (a distractor on Ann), Dan 17 (one on Bob and Cal).
FACTS = (multihop.Fact("Ann", "has", 5, (), 5), multihop.Fact("Bob", "more", 2, ("Ann",), 7),
         multihop.Fact("Cal", "twice", 0, ("Ann",), 10), multihop.Fact("Dan", "together", 0, ("Bob", "Cal"), 17))  # fmt: skip


def test_multihop_solutions_by_hand():
    problem, rng = multihop.Problem(FACTS, 2, "pens", (3, 1, 0, 2)), np.random.default_rng(0)
    assert problem.answer == 7 and problem.prompt == (
        "Dan has as many pens as Bob and Cal together. Bob has 2 more pens than Ann. Ann has 5 pens. "
        "Cal has twice as many pens as Ann. How many pens does Bob have?"
    )
    canonical = " Ann 5. Bob 5+2=7. Answer 7"
    assert {multihop.sample_solution(problem, rng, canonical=1.0) for _ in range(20)} == {canonical}
    varied = {multihop.sample_solution(problem, rng, canonical=0.0) for _ in range(2_000)}
    steps = {frozenset(re.findall(r"(\w+) [0-9+*=]+\.", solution)) for solution in varied}
    assert steps == {
        frozenset(names) for names in ({"Ann", "Bob"}, {"Ann", "Bob", "Cal"}, {"Ann", "Bob", "Cal", "Dan"})
    }
    assert {canonical, " Ann 5. Bob 2+5=7. Answer 7", " Ann 5. Cal 5*2=10. Bob 5+2=7. Dan 7+10=17. Answer 7"} <= varied


def test_training_pairs_are_of_the_training_half_and_as_hard_as_asked():
    for task, options in ((arithmetic, dict(max_terms=3)), (multihop, dict(max_hops=2, distractors=0))):
        pairs = task.training_pairs(200, np.random.default_rng(0), **options)
        assert len(pairs) == 200 and not any(is_test_prompt(prompt) for prompt, _ in pairs)
        if task is arithmetic:
            assert all(len(re.findall("[0-9]+", prompt)) == 3 for prompt, _ in pairs)
    assert all(prompt.count(". ") <= 2 for prompt, _ in pairs)


def test_a_pattern_that_does_not_compile_says_why():
    with pytest.raises(ValueError, match=r"is not a valid regular expression: (missing|unterminated|.*parenthesis)"):
        extractor("regex:(a")
