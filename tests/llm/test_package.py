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
