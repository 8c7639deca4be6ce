"""Numbers in the README are those of the files that scripts wrote."""

import json
import re
from pathlib import Path

import pandas as pd

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


def test_what_training_gained_is_what_was_measured():
    rows = pd.read_parquet(ROOT / "experiments/results/sharpening.parquet")
    seeds = rows[rows["cell"].str.startswith("seed-") & (rows["epoch"] == rows["epoch"].max())].sort_values("seed")
    listed = lambda values: ", ".join(f"{100 * value:.0f}" for value in values[:-1]) + f" and {100 * values[-1]:.0f} %"  # noqa: E731
    for column in ("base_sampled_accuracy", "accuracy", "gap_closed"):
        assert listed(seeds[column].to_list()) in " ".join(README.split()), column
    assert (seeds["gap_closed"] > 1 / 3).all() and (
        seeds["log_likelihood"] > seeds["base_sampled_log_likelihood"]
    ).all()


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
