"""Every code block of README and docs runs, each page as a reader would run it from top to bottom, at a small size.

What a reader has to bring (a model, a task file, samples) is stood in for by shipped and shared files under the same names.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sharptheory.cli import app
from sharptheory.llm.engines.loading import resolve

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/guide.md", "docs/paper.md", "docs/theory.md", "docs/architecture.md", "CONTRIBUTING.md")
#: Options that make a command small; the last of an option wins.
SMALL = {
    "diagnose": "--prompts 6 --samples 64 --max-new-tokens 48",
    "argmax": "--prompts 2 --budget 40 --samples 2 --max-new-tokens 24",
    "compare": "--prompts 2 --samples 8 --max-new-tokens 24",
    "train": "--prompts 6 --samples 4 --eval-prompts 2 --eval-samples 2 --epochs 1 --no-certify --max-new-tokens 24",
    "check": "--instances 20",
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), flags=re.S)


def commands(page: str) -> list[list[str]]:
    lines = "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line.replace(".venv/bin/", ""), comments=True))]


@pytest.fixture
def place(tmp_path, monkeypatch, shared):
    """A working directory that has what the pages speak of."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(resolve("multihop-1m"), "my-model")
    Path("path/to").mkdir(parents=True)
    for name in ("gsm8k", "path/to/gsm8k"):
        Path(name).symlink_to(shared / "data/gsm8k")
    Path("problems.jsonl").write_text('{"prompt": "Bob has 7 apples.", "answer": "7"}\n' * 4)
    Path("samples.csv").write_text(
        "prompt_id,log_likelihood,correct\n" + "".join(f"{i % 4},{-1 - i / 10},{i % 3 == 0}\n" for i in range(32))
    )
    Path("table.csv").write_text("0.5,0.3,0.2\n")
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "bash") or blocks(page, "python")])
def test_every_block_runs(page, place):
    for words in commands(page):
        run(words)
    namespace: dict = {}
    exec("import sharptheory as st", namespace)
    for block in blocks(page, "python"):
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
