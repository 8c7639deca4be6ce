import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_second_checkout_is_not_mixed_with_the_installed_one(tmp_path):
    for name in ("sharptheory", "llm"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("models", "__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", "import sharptheory.llm"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0 and f"pip install --editable {tmp_path}" in done.stderr


def test_waiting_threads_sleep_unless_the_user_says_otherwise():
    """Spinning ones take the cores that busy threads of the same command need, on a machine that others use too."""
    code = "import os, sys, sharptheory.cli; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    for before, said in (({}, "PASSIVE False"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE False")):
        done = subprocess.run([sys.executable, "-c", code], env={"PATH": "", **before}, capture_output=True, text=True)
        assert done.stdout.strip() == said, done.stderr
