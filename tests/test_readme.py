"""Numbers in the README are those of the files that scripts wrote."""

import json
import re
from pathlib import Path

from sharptheory.findings import headline

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_table_is_the_summary_behind_the_picture():
    for name, value in headline(json.loads((ROOT / "figures/first_light.json").read_text())):
        assert f"| {name} | {value} |" in README


def test_benchmark_numbers_are_those_measured():
    ratios = json.loads((ROOT / "docs/benchmarks.json").read_text())["ratios"]
    for name, form in (
        ("sampling speed, shipped model", "{:.2f}×"),
        ("sampling speed, long prompt", "{:.2f}×"),
        ("sampling memory", "{:.0f}×"),
        ("best-of-N curves", "{:,.0f}×"),
    ):
        assert form.format(ratios[name]["ratio"]) in README, name
    assert all(held["ratio"] >= held["required"] for held in ratios.values())


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_model_card_agrees():
    for model, said in (("arithmetic-1m", "{:.0f} % of test problems"), ("multihop-1m", "{:.0f} % of them greedily")):
        trained = json.loads((ROOT / f"llm/models/{model}/training.json").read_text())["results"]["greedy"]
        assert 0.4 <= trained <= 0.8 and said.format(100 * trained) in " ".join(README.split())


def test_the_theory_example_runs():
    """The python block of the tour that needs no pool."""
    block = next(b for b in re.findall(r"```python\n(.*?)```", README, flags=re.S) if "TabularPolicy" in b)
    exec("import sharptheory as st\n" + block, {})
