import tempfile
from pathlib import Path

import pytest

from tests.fuzz import harness

RESULTS = "fuzz"


@pytest.fixture()
def fuzz(request, record_property):
    """`harness.fuzz`, whose counts are printed at the end; both outcomes must have been met, or it tests nothing."""

    def run(check, count, *, met=("read", "refused"), **options):
        outcomes, slowest = harness.fuzz(check, count, **options)
        record_property(RESULTS, (request.node.name, dict(outcomes), slowest))
        if count >= 100:
            assert all(outcomes[word] for word in met), f"outcomes {dict(outcomes)}; expected all of {met}"

    return run


@pytest.fixture()
def folder(tmp_path):
    """A folder for the file of each input: in memory where there is such a file system, a disk would take most of the time."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
    else:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
            yield Path(memory)


@pytest.fixture()
def no_packages(monkeypatch):
    """No installed package offers tasks or rewards: to look costs more than to read a file."""
    monkeypatch.setattr("sharptheory.extensions.installed", lambda group: set())


def pytest_terminal_summary(terminalreporter):
    rows = [
        (*value, report.duration)
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", [])
        if name == RESULTS and report.when == "call"
    ]
    if rows and harness.TEXTS >= 1_000:
        terminalreporter.section(f"fuzzing, seed {harness.SEED}")
        for name, outcomes, slowest, seconds in sorted(rows):
            counts = ", ".join(f"{count:,} {word}" for word, count in sorted(outcomes.items()))
            terminalreporter.line(
                f"{name}: {sum(outcomes.values()):,} inputs ({counts}) in {seconds:.0f} s, slowest {slowest:.2f} s"
            )
