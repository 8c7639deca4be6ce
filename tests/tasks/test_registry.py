"""Tasks by name: which problems a seed gives, halves that share none, and tasks of a user's own."""

import json
import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharptheory.errors import UserError
from sharptheory.tasks import TASKS, Task, choose, load_task, names, split_task, user
from sharptheory.tasks.generated import is_test_prompt
from sharptheory.tasks.multihop import NAMES, THINGS

DISTINCT = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=20)


@pytest.fixture
def problems(tmp_path):
    """A function that writes a file of problems: prompt i has the answer i."""

    def write(n: int) -> str:
        path = tmp_path / "mine.jsonl"
        path.write_text("".join(json.dumps({"prompt": f"p{i}", "answer": i}) + "\n" for i in range(n)))
        return str(path)

    return write


@pytest.mark.parametrize("name", ["gsm8k", "math500", "game24"])
def test_seed_decides_which_official_problems(shared, name):
    def loaded(n: int, seed: int) -> list[str]:
        return load_task(name, n, seed=seed, data=shared / "data" / name).prompts

    assert loaded(40, 0) == loaded(40, 0) == loaded(400, 0)[:40]
    assert len(set(loaded(40, 0)) & set(loaded(40, 1))) < 20
    whole = loaded(10_000, 0)
    assert set(whole) == set(loaded(10_000, 1)) and whole != loaded(10_000, 1)


def test_seed_decides_which_problems_of_a_file(problems):
    path = problems(50)
    first = load_task(path, 10, seed=3)
    assert first.prompts == load_task(path, 50, seed=3).prompts[:10] != load_task(path, 10, seed=4).prompts
    assert [f"p{answer}" for answer in first.answers] == first.prompts
    assert len(load_task(path, 1_000).prompts) == 50  # all there are


def test_every_problem_is_as_likely():
    task = Task("t", [str(i) for i in range(5)], [None] * 5, extract=str)
    counts = np.bincount([int(p) for seed in range(2_000) for p in choose(task, 2, seed=seed).prompts])
    assert np.all(np.abs(counts - 800) < 5 * np.sqrt(800 * 0.6))


def test_both_halves_of_mmlu_mix_the_subjects(tmp_path):
    for subject in ("biology", "physics", "chemistry"):
        rows = "".join(f"{subject} {i}?,a,b,c,d,A\n" for i in range(40))
        (tmp_path / f"college_{subject}_test.csv").write_text(rows)
    (tmp_path / "college_physics_dev.csv").write_text("dev?,a,b,c,d,A\n")  # not of the test set
    learnt, held_out = split_task("mmlu", 60, 40, data=tmp_path, shots=0)
    for half in (learnt, held_out):
        subjects = [re.search(r"Question: (\w+)", prompt)[1] for prompt in half.prompts]
        assert all(subjects.count(s) > len(subjects) / 6 for s in ("biology", "physics", "chemistry"))
    assert held_out.prompts == load_task("mmlu", 40, data=tmp_path, shots=0).prompts
    assert not any("dev" in prompt for prompt in load_task("mmlu", 1_000, data=tmp_path).prompts)


@settings(max_examples=50)
@given(prompts=DISTINCT, n_train=st.integers(1, 12), n_test=st.integers(1, 12), seed=st.integers(0, 9))
def test_nothing_is_learnt_from_that_is_measured_on(tmp_path_factory, prompts, n_train, n_test, seed):
    """Also where a file repeats a prompt."""
    path = tmp_path_factory.mktemp("split") / "t.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    try:
        learnt, held_out = split_task(str(path), n_train, n_test, seed=seed)
    except UserError as error:
        assert "none is left to learn from" in str(error)
        return
    assert not set(learnt.prompts) & set(held_out.prompts)
    assert len(held_out.prompts) == n_test and len(learnt.prompts) <= n_train
    assert {*learnt.prompts, *held_out.prompts} <= set(prompts)


@pytest.mark.parametrize("name", ["arithmetic", "multihop"])
def test_halves_of_a_generated_task_are_disjoint_whatever_the_seed(name):
    assert not set(split_task(name, 300, 30, seed=0)[0].prompts) & set(split_task(name, 30, 300, seed=1)[1].prompts)


def test_a_larger_request_begins_with_the_smaller_one():
    for name in ("arithmetic", "multihop:max_hops=2,distractors=0,max_value=9"):
        assert load_task(name, 300, seed=5).prompts[:100] == load_task(name, 100, seed=5).prompts


SUMS = [f"{first}{a}{sign}{b}=" for first in ("", "-") for sign in "+-" for a in range(2, 10) for b in range(2, 10)]
OWN = [f"{name} has 2 {thing}. How many {thing} does {name} have?" for name in NAMES for thing in THINGS]


@pytest.mark.parametrize(
    ("spec", "everything"),
    [
        ("arithmetic:min_terms=2,max_terms=2,max_value=9", SUMS),
        ("multihop:min_hops=1,max_hops=1,distractors=0,max_value=9", OWN),
    ],
)
def test_a_task_with_too_few_problems_says_how_many(spec, everything):
    with pytest.raises(UserError, match=r"has only (\d+) test problems") as caught:
        load_task(spec, 50)
    held = int(re.search(r"has only (\d+)", str(caught.value))[1])
    assert set(load_task(spec, held).prompts) == set(filter(is_test_prompt, everything))


@pytest.mark.parametrize("n", [0, -1, 2.5, 10**9])
@pytest.mark.parametrize("name", ["arithmetic", "gsm8k"])
def test_absurd_sizes_are_refused_at_once(shared, name, n):
    with pytest.raises(UserError, match=rf"prompts={n}; expected an integer from 1 to 1,000,000"):
        load_task(name, n, data=shared / "data/gsm8k" if name == "gsm8k" else None)


def test_every_task_is_one_entry():
    assert names()[: len(TASKS)] == list(TASKS) and len(TASKS) >= 7
    for name, entry in TASKS.items():
        module = sys.modules[f"sharptheory.tasks.{name}"]
        assert entry is module.ENTRY and entry.load is module.load and entry.about
        assert bool(entry.files) == entry.takes("data") != bool(entry.training_pairs)


# A user's own tasks.

MINE = '''
"""Double a number."""
from __future__ import annotations
from dataclasses import dataclass
from sharptheory.tasks import Task

@dataclass
class Problem:
    number: int

def load(n_prompts, *, seed, split, shift: int = 0, word="twice"):
    """Doubles."""
    numbers = [Problem(2 * i + (split == "test") + shift) for i in range(n_prompts)]
    return Task(
        f"double-{seed}", [f"{word} {p.number}" for p in numbers], [str(2 * p.number) for p in numbers],
        extract=lambda response: response.split()[-1] if response else None,
    )
'''


@pytest.fixture
def mine(tmp_path):
    """A function that writes a task of a user's own."""

    def write(text: str = MINE, name: str = "mine.py") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_a_task_is_a_file_of_the_user(mine):
    task = load_task(mine(), 3, seed=7)
    assert (task.name, task.prompts, task.answers) == ("double-7", ["twice 1", "twice 3", "twice 5"], ["2", "6", "10"])
    assert task.grade("it is 6", "6") == ("6", True) and task.grade("", "6") == (None, False)
    assert load_task(mine() + ":shift=10,word=double", 1).prompts == ["double 11"]
    entry = user.from_file(mine())
    assert (entry.name, entry.about, entry.options) == ("mine", "Doubles.", {"shift": 0, "word": "twice"})
    learnt, held_out = split_task(mine(), 5, 4)
    assert len(learnt.prompts) == 5 and len(held_out.prompts) == 4 and not set(learnt.prompts) & set(held_out.prompts)


def test_a_users_task_without_halves_is_cut_in_two(mine):
    text = """
from sharptheory.tasks import Task, choose
def load(n_prompts, *, seed, data=None):
    lines = open(data).read().split() if data else [str(i) for i in range(9)]
    return choose(Task("t", lines, [None] * len(lines), extract=str), n_prompts, seed=seed)
"""
    learnt, held_out = split_task(mine(text), 4, 3, seed=1)
    assert len(learnt.prompts) == 4 and len({*learnt.prompts, *held_out.prompts}) == 7
    assert not held_out.graded.any()
    assert load_task(mine(text), 3, data=mine("only", "data.txt")).prompts == ["only"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", r"mine\.py defines no function load\(n_prompts, \*, seed\)"),
        ("x = ", r"mine\.py: running it failed with SyntaxError"),
        ("import nowhere_at_all", r"mine\.py:1: running it failed with ModuleNotFoundError: No module"),
        ("x = 1\n\nraise SystemExit(3)", r"mine\.py:3: running it failed with SystemExit"),
        ("def load(n_prompts): pass", r"mine\.py: load\(n_prompts\) cannot be called; expected load\(n_prompts, \*, seed\)"),
        ("def load(n_prompts, *, seed, depth): pass", "cannot be called; .* a default for whatever else it takes"),
        ("def load(): pass", "cannot be called"),
        ("def load(n_prompts, *, seed): return [1]", r"mine\.py: load returned a list; expected a sharptheory.tasks.Task"),
        ("def load(n_prompts, *, seed):\n    return 1 / 0", r"mine\.py:2: load failed with ZeroDivisionError"),
        (
            "from sharptheory.tasks import Task\ndef load(n, *, seed): return Task('t', ['a'], [], str)",
            r"mine\.py:2: load failed with UserError: task 't' has 1 prompts and 0 answers",
        ),
        (
            "from sharptheory.tasks import Task\ndef load(n, *, seed): return Task('t', ['a'] * 5, [None] * 5, str)",
            r"mine\.py: load returned 5 prompts; expected at most the 2 asked for, such as .*choose",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_users_task_names_its_file(mine, text, message):
    with pytest.raises(UserError, match=message):
        load_task(mine(text), 2)


@pytest.mark.parametrize(
    ("grader", "message"),
    [
        ("extract=lambda response: response[9]", r"mine\.py:3: extract failed with IndexError"),
        ("extract=lambda response: 7", r"mine\.py:3: extract returned a int; expected a text or None"),
        ("extract=lambda response: chr(0xd800)", r"mine\.py:3: extract returned half of a surrogate pair; expected"),
        ("extract=str, equal=lambda a, b: __import__('numpy').arange(2)", r"mine\.py: equal failed with ValueError"),
        ("extract=str, equal=lambda a, b: a / b", r"mine\.py:3: equal failed with TypeError"),
    ],
)
def test_a_users_grader_that_fails_names_its_file(mine, grader, message):
    text = f"from sharptheory.tasks import Task\ndef load(n, *, seed):\n    return Task('t', ['a'], ['b'], {grader})"
    task = load_task(mine(text), 1)
    with pytest.raises(UserError, match=message):
        task.grade("c", "b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(name="mine.py:depth=3"), "option 'depth' is unknown; expected shift, word"),
        (dict(name="mine.py:shift=x"), "shift='x'; expected a whole number"),
        (dict(name="mine.py", data="here"), "task 'mine' takes no data"),
        (dict(name="mine.py", shots=2), "task 'mine' takes no shots"),
        (dict(name="mine.py", extract="exact"), "reads answers in its own way"),
        (dict(name="yours.py"), "'yours.py' is neither a file nor one of: arithmetic"),
        (dict(name="a" * 5_000), "is neither a file nor one of: arithmetic"),
        (dict(name="\0"), "is neither a file nor one of: arithmetic"),
    ],
)
def test_arguments_of_a_users_task_are_checked(mine, monkeypatch, tmp_path, options, message):
    mine()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        load_task(n_prompts=2, **options)


def test_splits_of_a_users_task_must_share_no_prompt(mine):
    with pytest.raises(UserError, match="3 prompts are in both splits, such as 'twice 0'"):
        split_task(mine(MINE.replace('(split == "test")', "0")), 3, 3)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that announces three tasks, and leaves a file behind where it runs."""
    marker = tmp_path / "ran"
    (tmp_path / "doubling.py").write_text(f"{MINE}\nNUMBER = 5\nopen({str(marker)!r}, 'w').close()\n")
    info = tmp_path / "doubling-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: doubling\nVersion: 1.0\n")
    points = "double = doubling:load\nnumber = doubling:NUMBER\nabsent = doubling:absent\ngsm8k = doubling:load\n"
    (info / "entry_points.txt").write_text(f"[sharptheory.tasks]\n{points}")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield marker
    sys.modules.pop("doubling", None)


def test_a_task_is_an_entry_point_of_a_package(package, tmp_path):
    assert {"double", "number"} <= set(names()) and names().count("gsm8k") == 1
    (tmp_path / "test.jsonl").write_text('{"question": "1+1?", "answer": "#### 2"}\n')
    assert load_task("gsm8k", 2, data=tmp_path).answers == ["2"]  # our own
    with pytest.raises(UserError, match=r"neither a file nor one of: arithmetic.*double"):
        load_task("triple", 2)
    assert not package.exists()  # so far no code of theirs ran
    assert load_task("double:shift=2", 1, seed=3).prompts == ["twice 3"]
    entry = user.from_entry_point("double")
    assert (entry.name, entry.about, entry.options) == ("double", "Doubles.", {"shift": 0, "word": "twice"})
    failing = entry.problems(1, seed=0).extract
    with pytest.raises(UserError, match=r"task 'double' \(doubling:load\): extract failed with AttributeError"):
        failing(7)
    assert package.exists()
    with pytest.raises(UserError, match=r"task 'number' \(doubling:NUMBER\): found a int; expected a function load"):
        load_task("number", 2)
    with pytest.raises(UserError, match=r"task 'absent' \(doubling:absent\): import failed with AttributeError"):
        load_task("absent", 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(prompts=[]), "has 0 prompts and 2 answers"),
        (dict(answers=["1"]), "has 2 prompts and 1 answers; expected as many of both"),
        (dict(prompts=["a", ""]), "prompt 1: found ''; expected a non-empty text"),
        (dict(prompts=["a", 5]), "prompt 1: found 5"),
        (dict(prompts=["a", "\ud800"]), "prompt 1: found '.ud800'"),
        (dict(answers=["1", 2]), "answer 1: found 2; expected a text or None"),
        (dict(max_new_tokens=0), "max_new_tokens=0; expected an integer ≥ 1"),
        (dict(extract=None), "extract=None; expected a function"),
        (dict(max_new_tokens=True), "max_new_tokens=True; expected an integer ≥ 1"),
        (dict(prompts="a"), "prompts is a str; expected a list of texts"),
        (dict(answers=None), "answers is a NoneType; expected a list of texts"),
    ],
)
def test_a_task_is_checked(changes, message):
    with pytest.raises(UserError, match=message):
        Task(**dict(name="t", prompts=["a", "b"], answers=["1", None], extract=str) | changes)


@pytest.mark.parametrize(
    "given", [dict(n_prompts=-1), dict(n_prompts=0), dict(n_prompts=1.5), dict(seed=-1), dict(seed=0.5)]
)
def test_what_cannot_be_chosen_is_refused(given):
    task = Task("t", ["a", "b"], ["1", "2"], str)
    with pytest.raises(UserError, match="expected an integer"):
        choose(task, **(dict(n_prompts=1, seed=0) | given))


def test_halves_have_the_options_of_the_name():
    for task in split_task("arithmetic:min_terms=2,max_terms=2,max_value=9", 20, 10, seed=1):
        assert all(re.fullmatch(r"-?[0-9][+-][0-9]=", prompt) for prompt in task.prompts)


@pytest.mark.parametrize(("sizes", "what"), [((0, 5), "prompts to learn from"), ((5, 0), "prompts to measure on")])
def test_halves_of_no_prompts_are_refused(sizes, what):
    with pytest.raises(UserError, match=f"^{what}=0; expected an integer from 1"):
        split_task("arithmetic", *sizes)


def test_why_an_answer_cannot_be_read():
    task = Task("t", ["a"], ["1"], str, readable=str.isdigit)
    assert [task.unreadable(answer, finished=finished) for answer in (None, "7", "x") for finished in (True, False)] == [
        "no answer", "cut off", None, None, "answer not understood", "answer not understood"]  # fmt: skip
    assert Task("t", ["a"], ["1"], str).unreadable("x", finished=True) is None
