"""Tables in README and docs, written from committed results and from the code between markers; the schema of summaries.

python -m experiments.tables            # part of `make figures`

A table lives between ``<!-- NAME -->`` and ``<!-- end -->``; what is between them is never written by hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd

from experiments.drawing.training import final
from experiments.record import RESULTS
from sharptheory.report.findings import headline
from sharptheory.report.schema import Summary, field_list, json_schema

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/paper.md")
SUMMARY_PAGE = "docs/summary.md"
SCHEMA = ROOT / "docs/summary.schema.json"
SIGNS = {"held": "held", "contrary": "**did not hold**", "not shown": "not shown"}


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def first_light(_: Path) -> str:
    summary = Summary.from_json((ROOT / "figures/first_light.json").read_text())
    return markdown(["", ""], [[name, value] for name, value in headline(summary)])


def summary_fields(_: Path) -> str:
    return f"\n{field_list()}\n"


def findings(results: Path) -> str:
    """Each finding of the paper in each setting: the verdict, and the estimate with its interval."""
    table = pd.read_parquet(results / "paper.parquet")
    table = table[table["panel"] == "finding"]
    header = ["finding"]
    for model, rows in table.groupby("model", sort=False):
        header += [f"{model}, {label}" for label in dict.fromkeys(rows["label"])]
    rows = []
    for finding, part in table.groupby("finding", sort=False):
        rows.append([f"{finding} [{part['unit'].iloc[0]}]", *(verdict(row) for row in part.itertuples())])
    return markdown(header, rows)


def verdict(row) -> str:
    scale, form = {"points": (100, "{:+.1f}"), "nats": (1, "{:+.2f}"), "AUC": (1, "{:.2f}")}[row.unit]
    value, low, high = (form.format(scale * number) for number in (row.value, row.value_low, row.value_high))
    return f"{SIGNS[row.verdict]}: {value} [{low}, {high}]"


def table_1(results: Path) -> str:
    """SFT-Sharpening against greedy decoding and one sample of the base model, mean ± standard deviation over seeds."""
    rows = final(pd.read_parquet(results / "sharpening.parquet"))
    rows = rows[rows["cell"] == "full"]
    lines = []
    for model, part in rows.groupby("model", sort=False):
        greedy, sampled = part["base_greedy_accuracy"], part["base_sampled_accuracy"]
        likelihood = part["log_likelihood"] - part["base_greedy_log_likelihood"]
        lines.append([
            model, plus(100 * (part["accuracy"] / greedy - 1), "%"), plus(100 * (part["accuracy"] / sampled - 1), "%"),
            plus(100 * part["gap_closed"], "%"), plus(likelihood, "nats", digits=2),
            plus(part["log_likelihood"] - part["base_sampled_log_likelihood"], "nats", digits=2),
        ])  # fmt: skip
    return markdown(
        ["model", "accuracy over greedy", "accuracy over one sample", "gap to best-of-N closed", "log-likelihood over greedy",
         "log-likelihood over one sample"],
        lines,
    )  # fmt: skip


def plus(values: pd.Series, unit: str, *, digits: int = 1) -> str:
    spread = "" if len(values) < 2 else f" ± {values.std():.{digits}f}"
    return f"{values.mean():+.{digits}f}{spread} {unit}"


def trained(results: Path) -> str:
    """What training gained, a row per model: accuracy of one sample before and after, for each seed."""
    rows = final(pd.read_parquet(results / "sharpening.parquet"))
    rows = rows[rows["cell"] == "full"].sort_values("seed")
    listed = lambda values: " / ".join(f"{100 * value:.0f}" for value in values) + " %"  # noqa: E731
    return markdown(
        ["by seed", "one sample, before", "greedy", "best of 50", "one sample, trained", "gap closed"],
        [
            [model, *(listed(part[c]) for c in ("base_sampled_accuracy", "base_greedy_accuracy", "base_best_of_n_accuracy",
                                                "accuracy", "gap_closed"))]
            for model, part in rows.groupby("model", sort=False)
        ],
    )  # fmt: skip


def cells(results: Path) -> str:
    """Every cell of the study of training: gap closed, certified mass, diversity, cost."""
    rows = final(pd.read_parquet(results / "sharpening.parquet"))
    lines = []
    for (model, cell), part in rows.groupby(["model", "cell"], sort=False):
        tokens = (part["sampling_tokens"] + part["training_tokens"]).mean()
        seconds = (part["sampling_seconds"] + part["training_seconds"]).mean()
        lines.append([
            model, f"`{cell}`", " / ".join(f"{100 * value:.0f}" for value in part["gap_closed"]) + " %",
            f"{100 * part['accuracy'].mean():.1f} %", f"{part['log_likelihood'].mean():.2f}",
            f"{100 * part['argmax_mass'].mean():.0f} %", f"{part['entropy'].mean():.2f}", f"{tokens / 1e6:.1f}", f"{seconds:.0f}",
        ])  # fmt: skip
    return markdown(
        [
            "model",
            "cell",
            "gap closed, by seed",
            "accuracy",
            "log π_base",
            "mass on argmax",
            "entropy",
            "10⁶ tokens",
            "seconds",
        ],
        lines,
    )


def speed(_: Path) -> str:
    ratios = json.loads((ROOT / "docs/benchmarks.json").read_text())["ratios"]
    shown = {
        "sampling speed, shipped model": "sampling with log-likelihoods against `generate` + `compute_transition_scores`, time",
        "sampling speed, long prompt": "the same with a 256-token prompt, time",
        "sampling memory": "the same with a vocabulary of 32,000, memory",
        "scoring, long prompts": "scoring against `lm_eval`, time",
        "argmax search with cached prefixes": "certified argmax against computing each prefix anew, time",
        "best-of-N curves": "best-of-N curves of 1,000 × 1,000 samples against resampling to the same standard error, time",
    }
    return markdown(
        ["", "times less"],
        [
            [text, f"{ratios[name]['ratio']:,.3g}" if ratios[name]["ratio"] < 100 else f"{ratios[name]['ratio']:,.0f}"]
            for name, text in shown.items()
        ],
    )


TABLES = {
    "speed": speed,
    "first-light": first_light,
    "summary-fields": summary_fields,
    "findings": findings,
    "table-1": table_1,
    "trained": trained,
    "cells": cells,
}


def filled(text: str, results: Path = RESULTS) -> str:
    """A page with every table between its markers written anew."""

    def replaced(match: re.Match) -> str:
        return f"<!-- {match[1]} -->\n{TABLES[match[1]](results)}\n<!-- end -->"

    return re.sub(rf"<!-- ({'|'.join(TABLES)}) -->\n.*?<!-- end -->", replaced, text, flags=re.S)


def main() -> None:
    for page in (*PAGES, SUMMARY_PAGE):
        path = ROOT / page
        path.write_text(filled(path.read_text()))
        print(path)
    SCHEMA.write_text(json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n")
    print(SCHEMA)


if __name__ == "__main__":
    main()
