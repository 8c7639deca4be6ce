"""Each benchmark reports one ratio measured in one run; together they write docs/benchmarks.md."""

import json
import platform
from pathlib import Path

import pytest

from sharptheory.provenance import provenance

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def report(capsys):
    """``report(what, ratio, required, detail)``: print the ratio, keep it, and fail below `required`."""

    def record(what: str, ratio: float, required: float, detail: str) -> None:
        with capsys.disabled():
            print(f"\n{what}: {ratio:.3g}x (required {required:g}x); {detail}")
        path = DOCS / "benchmarks.json"
        held = json.loads(path.read_text())["ratios"] if path.is_file() else {}
        held[what] = {"ratio": round(ratio, 4), "required": required, "detail": detail}
        facts = provenance(seed=0, processor=platform.processor() or platform.machine())
        path.write_text(json.dumps({"ratios": held, "provenance": facts}, indent=1) + "\n")
        rows = [f"| {name} | {r['ratio']:.3g}× | {r['required']:g}× | {r['detail']} |" for name, r in held.items()]
        head = "# Benchmarks\n\nWritten by `make benchmark`; every ratio is measured inside one run, on two cores.\n\n"
        table = "| what | measured | required | how |\n|---|---|---|---|\n" + "\n".join(rows)
        (DOCS / "benchmarks.md").write_text(head + table + "\n")
        assert ratio >= required, f"{what}: {ratio:.3g}x, required {required:g}x"

    return record
