"""Where a result came from: versions, device, seed, wall time, git revision."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("sharptheory", "numpy", "scipy", "pandas", "torch", "transformers")


def git_revision() -> str | None:
    """The checkout's commit, with ``+`` if it has uncommitted changes; None outside a checkout of this project."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        run = lambda *words: subprocess.run(  # noqa: E731
            ["git", "-C", root, *words], capture_output=True, text=True, check=True
        ).stdout.strip()
        return run("rev-parse", "HEAD") + ("+" if run("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def provenance(*, seed: int | None, device: str = "cpu", wall_seconds: float | None = None, **facts) -> dict:
    """A JSON-ready record to store beside a result: what was run, on what, and with which versions.

    Args:
        seed: of all that was random; None if nothing was.
        device: that the model was on. wall_seconds: from the start of the command.
        facts: further JSON values, recorded as they are.
    """
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "seed": seed,
        "device": device,
        "wall_seconds": None if wall_seconds is None else round(wall_seconds, 2),
        "git_revision": git_revision(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": versions,
        **facts,
    }
