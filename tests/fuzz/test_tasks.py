"""Tasks of files, official ones too: read with answers that grade themselves as right, or refused by name."""

import json

import pytest

from sharptheory.tasks import load_task
from sharptheory.tasks.official import few_shot
from tests.conftest import SHARED
from tests.fuzz.harness import TEXTS, read
from tests.fuzz.mutations import mutated

GSM8K = [
    {"question": "Ann has 4 boxes with 6 jars. How many?", "answer": "4*6=<<4*6=24>>24 jars.\n#### 24"},
    {"question": "How much is it?", "answer": "It costs $1,234.50.\n#### 1,234"},
    {"question": "Unknown?", "answer": None},
]
MATH500 = [
    {"prompt": "What is $1/2$?", "answer": "\\frac{1}{2}", "source": "algebra", "id": 1},
    {"prompt": "Count.", "answer": 5, "source": "", "id": 2},
]
PRONTOQA = {
    "example1": {
        "test_example": {"question": "Each wug is red.", "query": "True or false: Sam is red.", "answer": "True"}
    },
    "example2": {
        "test_example": {"question": "Toves are blue.", "query": "True or false: Sam is red.", "answer": "False"}
    },
}
MMLU = 'Which is prime?,4,6,7,8,C\n"What, then?",a,b,c,d,A\n'
GAME24 = "Rank,Puzzles,AMT (s)\n1,1 1 4 6,4.4\n2,1 1 11 11,4.41\n"
TASK = [{"prompt": "2+2=", "answer": "4"}, {"prompt": "3+4=", "answer": 7.0}, {"prompt": "Free text", "answer": None}]


def jsonl(rows: list[dict]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def beginning(path: str, lines: int) -> list[bytes]:
    """The first lines of a file of real data, where it is there."""
    file = SHARED / "data" / path
    return [b"".join(file.read_bytes().splitlines(keepends=True)[:lines])] if file.is_file() else []


def first_of_list(path: str, rows: int) -> list[bytes]:
    """The first items of a JSON list of real data, where it is there."""
    file = SHARED / "data" / path
    return [json.dumps(json.loads(file.read_text())[:rows]).encode()] if file.is_file() else []


#: Name → file, valid contents, and values of the format.
OFFICIAL = {
    "gsm8k": (
        "test.jsonl",
        [jsonl(GSM8K), jsonl(GSM8K[:1]), *beginning("gsm8k/test.jsonl", 3)],
        (b"#### ", b"#### -1", b'"#### 1e3"'),
    ),
    "math500": (
        "MATH500.json",
        [json.dumps(MATH500).encode(), json.dumps(MATH500[:1]).encode(), *first_of_list("math500/MATH500.json", 3)],
        (b'"\\\\frac12"', b'"x"'),
    ),
    "prontoqa": (
        "prontoqa.json",
        [json.dumps(PRONTOQA).encode(), json.dumps([*PRONTOQA.values()]).encode()],
        (b'"True"', b'"False"'),
    ),
    "mmlu": (
        "college_biology_test.csv",
        [MMLU.encode(), MMLU.splitlines()[0].encode()],
        (b"A", b"D", b"E", b'"a\nb"'),
    ),
    "game24": (
        "24.csv",
        [GAME24.encode(), *beginning("game24/24.csv", 4)],
        (b"Puzzles", b"1 2 3 4", b"0 0 0 0", b"1 2 3"),
    ),
}
#: What a response of the gold answer looks like.
SPOKEN = {
    "math500": "\\boxed{{{}}}",
    "prontoqa": "The answer is {}.",
    "mmlu": "The answer is ({}).",
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_files(fuzz, folder, name):
    file, seeds, tokens = OFFICIAL[name]
    path = folder / file

    def check(choices):
        choices.made = mutated(choices, seeds, tokens)
        path.write_bytes(choices.made)
        task = read(lambda: load_task(name, 1_000, data=path, seed=choices.below(3)), file)
        if task is None:
            return "refused"
        for gold in task.answers:
            if name in SPOKEN and gold is not None:
                answer, right = task.grade(SPOKEN[name].format(gold), gold)
                assert right or (name == "math500" and answer != gold.strip()), f"{gold!r} read as {answer!r}"
        if name == "gsm8k":
            check_solutions(task, choices.made)
        return "read"

    fuzz(check, TEXTS)


def check_solutions(task, content: bytes) -> None:
    """A solution of the official file, handed in as a response, is right."""
    held = [json.loads(line) for line in content.decode("utf-8-sig").rstrip().split("\n")]
    solutions = {few_shot([], row["question"], 0): row.get("answer") for row in held}
    prompts = [prompt[prompt.rindex("\n\nQuestion: ") + 2 :] for prompt in task.prompts]
    for prompt, gold in zip(prompts, task.answers):
        solution = solutions.get(prompt)
        if isinstance(solution, str) and len(set(prompts)) == len(prompts) == len(solutions):
            answer, right = task.grade(solution, gold)
            assert right, f"the solution {solution[-200:]!r} of {gold!r} is read as {answer!r}"


@pytest.mark.parametrize("extract", ["last-number", "exact", r"regex:(\d+)"])
def test_files_of_prompts(fuzz, no_packages, folder, extract):
    path, seeds = folder / "mine.jsonl", [jsonl(TASK), jsonl(TASK[:1]), jsonl(TASK[::-1])]

    def check(choices):
        choices.made = mutated(choices, seeds, (b'"answer"', b'"prompt"', b'"4"', b'"1,000"', b'" "', b'"."'))
        path.write_bytes(choices.made)
        task = read(lambda: load_task(str(path), 1_000, extract=extract, seed=choices.below(3)), path.name)
        if task is None:
            return "refused"
        for gold in task.answers:
            assert gold is None or extract.startswith("regex") or task.grade(gold, gold) == (gold, True), gold
        return "read"

    fuzz(check, TEXTS // 3)
