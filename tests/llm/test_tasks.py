"""The arithmetic task and tasks from files."""

import numpy as np
import pytest

from sharptheory.llm.tasks import arithmetic, load_task
from sharptheory.llm.tasks.file import extractor, last_number


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
        terms = arithmetic.sample_terms(rng)
        assert 3 <= len(terms) <= 5 and all(2 <= abs(term) <= 99 for term in terms)
        solution = arithmetic.sample_solution(terms, rng)
        steps, _, answer = solution.partition("#")
        assert int(answer) == sum(terms) == value(arithmetic.render(terms))
        assert all(value(step) == sum(terms) for step in steps.split("="))
    for _ in range(200):
        orders.add(arithmetic.sample_solution([10, 20, -5, 7], rng))
    assert len(orders) == 6  # 3! merge orders of four terms


def test_train_and_test_problems_are_disjoint():
    rng = np.random.default_rng(0)
    train = {arithmetic.render(t) + "=" for t in arithmetic.sample_problems(3_000, rng, split="train", max_value=5)}
    test = {arithmetic.render(t) + "=" for t in arithmetic.sample_problems(300, rng, split="test", max_value=5)}
    assert not train & test
    assert set(arithmetic.load(50, seed=1).prompts) <= {
        p for p in arithmetic.load(50, seed=1).prompts if arithmetic.is_test_prompt(p)
    }


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
        ("99999999999999999999", "99999999999999999999"), ("ends in 7.", "7"),
    ],
)  # fmt: skip
def test_last_number(text, answer):
    assert last_number(text) == answer


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
    assert (task.name, task.prompts, task.answers) == ("mine", ["2+2=", "3+3=", "?"], ["4", "6", None])
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
