"""Mutation testing, room by room: of a seeded sample of small faults, how many do the room's own tests notice?

    python -m tests.mutants theory                   # 300 faults, one of the rooms below
    python -m tests.mutants measure report --sample 500 --seed 1

Works on a copy of the tree in out/mutants, with mutmut. Writes the scores into docs/testing.json and the survivors of each
room into out/mutants/ROOM.txt, each with its change, so that one can tell a gap from an equivalent.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Room → (files to change, tests that are nearest to them).
ROOMS = {
    "theory": ("sharptheory/theory", "tests/theory tests/checks"),
    "checks": ("sharptheory/checks", "tests/checks tests/theory"),
    "decoding": ("sharptheory/decoding", "tests/decoding"),
    "learners": ("sharptheory/learners", "tests/learners"),
    "measure": ("sharptheory/measure", "tests/measure"),
    "report": ("sharptheory/report", "tests/report"),
    "tasks": ("sharptheory/tasks", "tests/tasks"),
    "training": ("sharptheory/llm/training", "tests/llm/training"),
}
SCORES = ROOT / "docs/testing.json"


def copy(folder: Path) -> None:
    """The tracked files, with llm/ where an installed package has it."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split():
        if (ROOT / name).is_file() and name.split("/")[0] in (
            "sharptheory",
            "llm",
            "tests",
            "experiments",
            "docs",
            "README.md",
        ):
            place = folder / (f"sharptheory/{name}" if name.startswith("llm/") else name)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place)
    # What tests look for in the checkout; mutmut would follow the link and make a second copy.
    (folder / "mutants").mkdir()
    (folder / "mutants/llm").symlink_to("sharptheory/llm")


def mutmut(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "mutmut", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout


def outcomes(folder: Path) -> dict[str, int | None]:
    """Exit code of the tests under each fault; None where they have not run."""
    found = {}
    for meta in (folder / "mutants").rglob("*.meta"):
        found |= json.loads(meta.read_text())["exit_code_by_key"]
    return found


def run(room: str, sample: int, seed: int, children: int) -> dict:
    source, tests = ROOMS[room]
    folder = ROOT / "out/mutants" / room
    copy(folder)
    lists = {"source_paths": [source], "also_copy": ["sharptheory", "tests", "experiments", "docs", "README.md"],
             "pytest_add_cli_args_test_selection": tests.split(),
             "pytest_add_cli_args": ["-p", "no:cacheprovider", "-m", "not slow and not benchmark", "-x"]}  # fmt: skip
    lines = [f"{key} =\n" + "".join(f"    {value}\n" for value in values) for key, values in lists.items()]
    (folder / "setup.cfg").write_text("[mutmut]\n" + "".join(lines))
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\nmarkers =\n    slow\n    benchmark\n")
    mutmut(folder, "run", "none")  # writes the faults, runs none
    names = sorted(outcomes(folder))
    if not names:
        raise SystemExit(f"{room}: no faults were made; does {tests} pass there? See {folder}")
    chosen = random.Random(seed).sample(names, min(sample, len(names)))
    said = mutmut(folder, "run", "--max-children", str(children), *chosen)
    codes = {name: code for name, code in outcomes(folder).items() if name in set(chosen)}
    if all(code is None for code in codes.values()):
        raise SystemExit(f"{said[-2000:]}\n{room}: the tests fail without any fault; no score")
    survived = [name for name, code in codes.items() if code in (0, 5, 33, None)]  # passed, or no test reaches it
    listing = "\n".join(f"{name} (exit {codes[name]})\n{mutmut(folder, 'show', name)}" for name in survived)
    (ROOT / f"out/mutants/{room}.txt").write_text(listing)
    killed = len(codes) - len(survived)
    return {
        "faults": len(names),
        "sample": len(chosen),
        "killed": killed,
        "score": round(killed / len(chosen), 3),
        "seed": seed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", nargs="+", choices=ROOMS)
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--children", type=int, default=2, help="processes at a time")
    arguments = parser.parse_args()
    for room in arguments.rooms:
        found = run(room, arguments.sample, arguments.seed, arguments.children)
        print(
            f"{room}: {found['killed']} of {found['sample']} killed ({found['score']:.0%}); survivors in out/mutants/{room}.txt"
        )
        scores = json.loads(SCORES.read_text()) if SCORES.is_file() else {}
        SCORES.write_text(json.dumps(scores | {room: found}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
