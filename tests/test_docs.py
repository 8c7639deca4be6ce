"""Every code block of README and docs runs, each page as a reader would run it from top to bottom, at a small size.

What a reader has to bring (a model, a task file, samples) is stood in for by the shipped model and by small files of the
right format under the same names, so that every block runs for whoever clones the project. Examples in docstrings run too.
"""

import doctest
import importlib
import json
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sharptheory as st
from sharptheory.cli import app
from sharptheory.llm.engines.loading import resolve

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "docs/guide.md",
    "docs/formats.md",
    "docs/paper.md",
    "docs/statistics.md",
    "docs/theory.md",
    "docs/architecture.md",
    "CONTRIBUTING.md",
)
#: Options that make a command small; the last of an option wins.
SMALL = {
    "diagnose": "--prompts 6 --samples 64 --max-new-tokens 48",
    "argmax": "--prompts 2 --budget 40 --samples 2 --max-new-tokens 24",
    "compare": "--prompts 2 --samples 8 --max-new-tokens 24",
    "train": "--prompts 6 --samples 4 --eval-prompts 2 --eval-samples 2 --epochs 1 --no-certify --max-new-tokens 24",
    "check": "--instances 20",
}


def blocks(page: str) -> list[tuple[str, str]]:
    """``(language, text)`` of the code of a page, in its order."""
    return re.findall(r"```(bash|python)\n(.*?)```", (ROOT / page).read_text(), flags=re.S)


def commands(block: str) -> list[list[str]]:
    lines = block.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line.replace(".venv/bin/", ""), comments=True))]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A working directory that has what the pages speak of."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(resolve("multihop-1m"), "my-model")
    problem = "Bob has {} apples and buys {} more. How many apples has Bob?"
    for name in ("gsm8k", "path/to/gsm8k"):
        Path(name).mkdir(parents=True)
        rows = [
            {"question": problem.format(i, i + 1), "answer": f"Bob has {2 * i + 1}.\n#### {2 * i + 1}"}
            for i in range(12)
        ]
        Path(name, "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("problems.jsonl").write_text('{"prompt": "Bob has 7 apples.", "answer": "7"}\n' * 4)
    Path("samples.csv").write_text(
        "prompt_id,log_likelihood,correct\n" + "".join(f"{i % 4},{-1 - i / 10},{i % 3 == 0}\n" for i in range(32))
    )
    st.read_pool("samples.csv").samples.to_parquet("pilot.parquet")
    Path("table.csv").write_text("0.5,0.3,0.2\n")
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_every_block_runs(page, workspace):
    namespace: dict = {}
    exec("import sharptheory as st", namespace)
    for language, block in blocks(page):
        if language == "bash":
            for words in commands(block):
                run(words)
        elif named := re.match(r"# (\w+\.py)\n", block):  # the page shows a file
            Path(named[1]).write_text(block)
        else:
            exec(block, namespace)


def run(words: list[str]) -> None:
    program, *rest = words
    if program == "sharptheory":
        options = [] if "--pool" in rest and rest[0] == "diagnose" else shlex.split(SMALL.get(rest[0], ""))
        done = CliRunner().invoke(app, [*rest, *options])
        assert done.exit_code == 0, f"{shlex.join(words)}: {done.output} {done.exception}"
    elif program == "make":
        assert all(re.search(rf"^{word}:", (ROOT / "Makefile").read_text(), flags=re.M) for word in rest[:1]), words
    elif program == "python":
        assert rest[0] == "-m" and rest[1].startswith("experiments."), words
        done = subprocess.run([sys.executable, "-m", rest[1], "--help"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    else:
        raise AssertionError(f"the pages may call sharptheory, make and experiments, not {program}")


#: The functions that most users call: each shows how in its docstring.
EXAMPLES = (
    "Pool",
    "TabularPolicy",
    "auc_within",
    "best_of_n_curve",
    "mean_over_prompts",
    "bounds.sft_cost",
    "coverage.coverage_coefficient",
    "coverage_certificate",
    "curve",
    "diagnose",
    "laws.adaptive_best_of_n",
    "laws.best_of_n",
    "laws.tilted",
    "majority.majority",
    "pass_at_n",
    "predict_best_of_n",
    "read_pool",
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_functions_of_every_day_show_an_example(name):
    *outer, last = name.split(".")
    holder = st
    for part in outer:
        holder = getattr(holder, part)
    assert ">>>" in getattr(holder, last).__doc__, f"st.{name} has no example"


#: Modules that cannot do without an example.
SHOWN = {
    *("sharptheory.files", "sharptheory.oracle", "sharptheory.learners.algorithms"),
    *("sharptheory.decoding.best_first", "sharptheory.decoding.power"),
    *(
        f"sharptheory.theory.{m}"
        for m in ["adaptive", "best_of_n", "bounds", "coverage", "majority", "policies", "tilts"]
    ),
    *(
        f"sharptheory.tasks.{m}"
        for m in ["answers", "arithmetic", "game24", "gsm8k", "math500", "mmlu", "multihop", "official"]
    ),
    *(f"sharptheory.tasks.{m}" for m in ["prontoqa", "registry", "task"]),
}


@pytest.mark.parametrize(
    "module", [m.name for m in pkgutil.walk_packages(st.__path__, "sharptheory.") if "__main__" not in m.name]
)
def test_examples_of_docstrings_run(module):
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert failed == 0 and (tried > 0 or module not in SHOWN)


def test_every_module_that_shows_examples_is_there():
    assert {m.name for m in pkgutil.walk_packages(st.__path__, "sharptheory.")} >= SHOWN
