"""Tables in README and docs, written from committed results and from the code between markers; the schema of summaries.

python -m experiments.tables            # part of `make figures`

A table lives between ``<!-- NAME -->`` and ``<!-- end -->``; what is between them is never written by hand. Every table is a
function of the folder of results, and returns a header and rows.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.drawing.calibration import KINDS, kind
from experiments.drawing.training import closed, final
from experiments.record import RESULTS
from sharptheory.report.findings import headline
from sharptheory.report.schema import Summary, field_list, json_schema

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/paper.md")
STATISTICS_PAGE = "docs/statistics.md"
SUMMARY_PAGE = "docs/summary.md"
TESTING_PAGE = "docs/testing.md"
SCHEMA = ROOT / "docs/summary.schema.json"
SIGNS = {"held": "held", "contrary": "did not hold", "not shown": "not shown"}
#: Header and rows.
Table = tuple[list[str], list[list[str]]]


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown, with what did not hold emphasised."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines).replace(SIGNS["contrary"], f"**{SIGNS['contrary']}**")


def first_light(_: Path) -> Table:
    summary = Summary.from_json((ROOT / "figures/first_light.json").read_text())
    return ["", ""], [[name, value] for name, value in headline(summary)]


def summary_fields(_: Path) -> str:
    return f"\n{field_list()}\n"


def findings(results: Path) -> Table:
    """Each finding of the paper in each setting: the verdict, and the estimate with its interval."""
    table = pd.read_parquet(results / "paper.parquet")
    table = table[table["panel"] == "finding"]
    header = ["finding"]
    for model, rows in table.groupby("model", sort=False):
        header += [f"{model}, {label}" for label in dict.fromkeys(rows["label"])]
    rows = []
    for finding, part in table.groupby("finding", sort=False):
        rows.append([f"{finding} [{part['unit'].iloc[0]}]", *(verdict(row) for row in part.itertuples())])
    return header, rows


def verdict(row) -> str:
    scale, form = {"points": (100, "{:+.1f}"), "nats": (1, "{:+.2f}"), "AUC": (1, "{:.2f}")}[row.unit]
    value, low, high = (form.format(scale * number) for number in (row.value, row.value_low, row.value_high))
    return f"{SIGNS[row.verdict]}: {value} [{low}, {high}]"


def table_1(results: Path) -> Table:
    """SFT-Sharpening against greedy decoding and one sample of the base model, mean ± standard deviation over seeds.

    The share of the gap is by the prompts of all seeds, with its 95 % interval.
    """
    rows = final(pd.read_parquet(results / "sharpening.parquet"))
    rows = rows[rows["cell"] == "full"]
    lines = []
    for model, part in rows.groupby("model", sort=False):
        greedy, sampled = part["base_greedy_accuracy"], part["base_sampled_accuracy"]
        likelihood = part["log_likelihood"] - part["base_greedy_log_likelihood"]
        lines.append([
            model, plus(100 * (part["accuracy"] / greedy - 1), "%"), plus(100 * (part["accuracy"] / sampled - 1), "%"),
            closed(part), plus(likelihood, "nats", digits=2),
            plus(part["log_likelihood"] - part["base_sampled_log_likelihood"], "nats", digits=2),
        ])  # fmt: skip
    header = ["model", "accuracy over greedy", "accuracy over one sample", "gap to best-of-N closed",
              "log-likelihood over greedy", "log-likelihood over one sample"]  # fmt: skip
    return header, lines


def plus(values: pd.Series, unit: str, *, digits: int = 1) -> str:
    spread = "" if len(values) < 2 else f" ± {values.std():.{digits}f}"
    return f"{values.mean():+.{digits}f}{spread} {unit}"


def trained(results: Path) -> Table:
    """What training gained, a row per model: accuracy of one sample before and after, for each seed."""
    rows = final(pd.read_parquet(results / "sharpening.parquet"))
    rows = rows[rows["cell"] == "full"].sort_values("seed")
    listed = lambda values: " / ".join(f"{100 * value:.0f}" for value in values) + " %"  # noqa: E731
    columns = ("base_sampled_accuracy", "base_greedy_accuracy", "base_best_of_n_accuracy", "accuracy")
    return (
        ["by seed", "one sample, before", "greedy", "best of 50", "one sample, trained", "gap closed, all seeds"],
        [
            [model, *(listed(part[c]) for c in columns), closed(part)]
            for model, part in rows.groupby("model", sort=False)
        ],
    )


def settings(results: Path) -> Table:
    """Every setting of the study of training: gap closed, certified mass, diversity, cost."""
    rows = final(pd.read_parquet(results / "sharpening.parquet"))
    lines = []
    for (model, setting), part in rows.groupby(["model", "cell"], sort=False):
        tokens = (part["sampling_tokens"] + part["training_tokens"]).mean()
        seconds = (part["sampling_seconds"] + part["training_seconds"]).mean()
        lines.append([
            model, f"`{setting}`", closed(part),
            f"{100 * part['accuracy'].mean():.1f} %", f"{part['log_likelihood'].mean():.2f}",
            f"{100 * part['argmax_mass'].mean():.0f} %", f"{part['entropy'].mean():.2f}", f"{tokens / 1e6:.1f}", f"{seconds:.0f}",
        ])  # fmt: skip
    header = ["model", "setting", "gap closed", "accuracy", "log π_base", "mass on argmax", "entropy", "10⁶ tokens",
              "seconds"]  # fmt: skip
    return header, lines


def speed(_: Path) -> Table:
    ratios = json.loads((ROOT / "docs/benchmarks.json").read_text())["ratios"]
    shown = {
        "sampling speed, shipped model": "sampling with log-likelihoods against `generate` + `compute_transition_scores`, time",
        "sampling speed, long prompt": "the same with a 256-token prompt, time",
        "sampling memory": "the same with a vocabulary of 32,000, memory",
        "scoring, long prompts": "scoring against `lm_eval`, time",
        "argmax search with cached prefixes": "certified argmax against computing each prefix anew, time",
        "best-of-N curves": "best-of-N curves of 1,000 × 1,000 samples against resampling to the same standard error, time",
    }
    form = lambda ratio: f"{ratio:,.3g}" if ratio < 100 else f"{ratio:,.0f}"  # noqa: E731
    return ["", "times less"], [[text, form(ratios[name]["ratio"])] for name, text in shown.items()]


def mutants(_: Path) -> Table:
    """Of the faults made in each room, how many its tests notice."""
    scores = json.loads((ROOT / "docs/testing.json").read_text())
    rows = [
        [room, f"{found['faults']:,}", f"{found['sample']:,}", f"{found['killed']:,}", f"{found['score']:.0%}"]
        for room, found in scores.items()
    ]
    return ["room", "possible faults", "tried", "noticed", "share"], rows


def calibration(results: Path) -> Table:
    """Coverage of every interval in each world, by the number of prompts; beside it, what resampling gives at 100."""
    table = pd.read_parquet(results / "calibration.parquet")
    sizes = sorted(table["n_prompts"].unique())
    at = table.set_index(["world", "quantity", "n_prompts"])
    listed = lambda values: " / ".join("–" if np.isnan(v) else f"{100 * v:.1f}" for v in values)  # noqa: E731
    worlds = list(dict.fromkeys(table["world"]))
    rows = []
    for quantity, (name, _) in KINDS.items():
        columns = [listed(at["coverage"].get((world, quantity, n), np.nan) for n in sizes) for world in worlds]
        before = listed(at["percentile"].get((world, quantity, 100), np.nan) for world in worlds)
        rows.append([name, kind(quantity), *columns, "" if set(before) <= set("– /") else before])
    numbers = " / ".join(f"{n:,}" for n in sizes)
    header = [
        "quantity",
        "interval",
        *(f"{world}: {numbers} prompts" for world in worlds),
        f"resampled, 100 prompts: {', '.join(worlds)}",
    ]
    return header, rows


TABLES = {
    "calibration": calibration,
    "mutants": mutants,
    "speed": speed,
    "first-light": first_light,
    "summary-fields": summary_fields,
    "findings": findings,
    "table-1": table_1,
    "trained": trained,
    "settings": settings,
}


def filled(text: str, results: Path = RESULTS) -> str:
    """A page with every table between its markers written anew."""

    def replaced(match: re.Match) -> str:
        made = TABLES[match[1]](results)
        return f"<!-- {match[1]} -->\n{made if isinstance(made, str) else markdown(*made)}\n<!-- end -->"

    return re.sub(rf"<!-- ({'|'.join(TABLES)}) -->\n.*?<!-- end -->", replaced, text, flags=re.S)


def main() -> None:
    for page in (*PAGES, STATISTICS_PAGE, SUMMARY_PAGE, TESTING_PAGE):
        path = ROOT / page
        path.write_text(filled(path.read_text()))
        print(path)
    SCHEMA.write_text(json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n")
    print(SCHEMA)


if __name__ == "__main__":
    main()
