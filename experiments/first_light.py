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
import pandas as pd

from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from sharptheory.report import plots as plotting
from sharptheory.report.summary import diagnose

FIGURES = Path(__file__).parents[1] / "figures"


def draw(pool: Pool) -> plt.Figure:
    """Accuracy against N, likelihood by correctness within prompts, and the exact law against measurement."""
    diagnosis = diagnose(pool)
    summary, drawn = diagnosis.summary, diagnosis.pool.samples
    centred = drawn["log_likelihood"] - drawn.groupby("prompt_id")["log_likelihood"].transform("mean")
    figure, (accuracy, alignment, theory) = plt.subplots(1, 3, figsize=(14, 4.2))
    plotting.accuracy_curve(
        pd.DataFrame(summary["best_of_n"]),
        pd.DataFrame(summary["pass_at_n"]),
        accuracy,
        sampled=summary["sampled_accuracy"],
        greedy=summary["greedy_accuracy"],
    ).set_title("What best-of-N by likelihood gains")
    plotting.likelihood_histogram(
        centred.to_numpy(),
        drawn["correct"].to_numpy(dtype=bool),
        alignment,
        label="log-likelihood, prompt mean removed",
    ).set_title("Likelier responses are more often correct")
    plotting.hit_rates(diagnosis.hit_rates, theory).set_title("The exact law against held-out samples")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="output folder of `sharptheory diagnose`")
    run = parser.parse_args().run
    FIGURES.mkdir(exist_ok=True)
    with plt.style.context(plotting.STYLE):
        draw(read_pool(run / "pool.parquet")).savefig(FIGURES / "first_light.png")
    shutil.copyfile(run / "summary.json", FIGURES / "first_light.json")
    print(FIGURES / "first_light.png")


if __name__ == "__main__":
    main()
