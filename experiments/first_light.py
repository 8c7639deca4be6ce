"""Draw the README's picture from a finished diagnosis.

    make run                                                   # writes out/first-light
    python -m experiments.first_light out/first-light          # draws figures/first_light.png from it

The numbers behind the picture go beside it, in figures/first_light.json (the run's summary with its provenance).
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import matplotlib.pyplot as plt

from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from sharptheory.report import plots
from sharptheory.report.html import figures
from sharptheory.report.summary import diagnose

FIGURES = Path(__file__).parents[1] / "figures"
TITLES = {
    "accuracy": "What best-of-N by likelihood gains",
    "alignment_within": "Likelier responses are more often correct",
    "theory": "The exact law against held-out samples",
}


def draw(pool: Pool) -> plt.Figure:
    """Accuracy against N, likelihood by correctness within prompts, and the exact law against measurement."""
    of_report = figures(diagnose(pool))
    figure, axes = plt.subplots(1, len(TITLES), figsize=(14, 4.2))
    for (name, title), ax in zip(TITLES.items(), axes):
        of_report[name](ax).set_title(title)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="output folder of `sharptheory diagnose`")
    run = parser.parse_args().run
    FIGURES.mkdir(exist_ok=True)
    with plt.style.context(plots.STYLE):
        draw(read_pool(run / "pool.parquet")).savefig(FIGURES / "first_light.png")
    shutil.copyfile(run / "summary.json", FIGURES / "first_light.json")
    print(FIGURES / "first_light.png")


if __name__ == "__main__":
    main()
