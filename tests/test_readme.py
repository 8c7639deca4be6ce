"""What the README says in its sentences; its tables are tested with the experiments, its code with the docs."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_benchmarks_hold():
    ratios = json.loads((ROOT / "docs/benchmarks.json").read_text())["ratios"]
    assert all(held["ratio"] >= held["required"] for held in ratios.values())


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", text):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), f"{page}: {target}"
        headings = (
            {
                re.sub(r"[^\w -]", "", h.lower()).strip().replace(" ", "-")
                for h in re.findall(r"^#+ (.*)", path.read_text(), re.M)
            }
            if anchor
            else ()
        )
        assert not anchor or anchor in headings, f"{page}: {target}#{anchor}"


def test_the_model_card_agrees():
    for model, said in (("arithmetic-1m", "{:.0f} % of test problems"), ("multihop-1m", "{:.0f} % of them greedily")):
        trained = json.loads((ROOT / f"llm/models/{model}/training.json").read_text())["results"]["greedy"]
        assert 0.4 <= trained <= 0.8 and said.format(100 * trained) in " ".join(README.split())
