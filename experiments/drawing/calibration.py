"""The figure of `experiments.calibration`: how often intervals hold the truth."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from experiments.drawing import figure
from sharptheory.report.plots import BLUE, GREEN, GREY, ORANGE, PINK

MEAN, DIFFERENCE, RATIO, RESAMPLED = "mean", "mean of differences", "ratio of means", "resampled"
COLORS = {MEAN: BLUE, DIFFERENCE: GREEN, RATIO: PINK, RESAMPLED: ORANGE}
#: Every quantity that is simulated: its name, and the rule of its interval.
KINDS = {
    "accuracy": ("accuracy of one sample", MEAN),
    "greedy": ("accuracy of greedy decoding", MEAN),
    "best_of_4": ("accuracy of best-of-4", MEAN),
    "best_of_16": ("accuracy of best-of-16", MEAN),
    "pass_at_4": ("pass@4", MEAN),
    "majority": ("accuracy of the majority of 16", MEAN),
    "certified": ("share of prompts certified", MEAN),
    "auc": ("AUC within a prompt", MEAN),
    "correlation": ("correlation with length within a prompt", MEAN),
    "log_likelihood": ("log-likelihood of one sample", MEAN),
    "likelihood_gain": ("log-likelihood of best-of-16 over one sample", MEAN),
    "low": ("coverage coefficient, lower end", MEAN),
    "high": ("coverage coefficient, upper end", MEAN),
    "forecast_mean": ("forecast at 8 × 16, around its own expectation", MEAN),
    "forecast": ("forecast at 8 × 16, around the truth", MEAN),
    "gain": ("accuracy of best-of-16 over one sample", DIFFERENCE),
    "over_greedy": ("accuracy of best-of-16 over greedy decoding", DIFFERENCE),
    "over_majority": ("accuracy of the majority over best-of-16", DIFFERENCE),
    "share": ("share of the gap closed by training", RATIO),
    "auc_pooled": ("AUC over all responses", RESAMPLED),
    "prompts": ("concordance across prompts", RESAMPLED),
    "by_n": ("concordance across N", RESAMPLED),
    "at_least": ("coverage coefficient, at least (one-sided)", "distribution-free"),
}


def kind(quantity: str) -> str:
    return KINDS[quantity][1]


@figure(
    "Intervals hold what they promise, except where few prompts decide",
    "How often a 95 % interval holds the truth, over 2,000 pools of 16 samples per prompt in each of three worlds, against the "
    "number of prompts. A line for each quantity of a summary, colored by the rule of its interval; grey: the same means with "
    "resampled percentiles instead. Benign: pass rates spread around 1/2. Rare: few prompts are ever solved, and 1/p* has a heavy "
    "tail. Sure: few prompts are ever failed. Named: what is held by 70 to 92.5 % of intervals somewhere from 100 prompts on. Left "
    "out: forecasts against the truth, which are biased, and the one-sided bound.",
    data="calibration",
    width=4.6,
    height=4.2,
    panels=lambda table: (1, table["world"].nunique()),
)
def calibration(table: pd.DataFrame, *axes: Axes) -> None:
    for ax, (world, rows) in zip(axes, table.groupby("world", sort=False)):
        for quantity in KINDS:
            line = rows[rows["quantity"] == quantity].sort_values("n_prompts")
            if quantity in ("forecast", "at_least") or line.empty:
                continue
            if line["percentile"].notna().any():
                ax.plot(line["n_prompts"], line["percentile"], color=GREY, lw=0.7, alpha=0.45, zorder=1)
            ax.plot(line["n_prompts"], line["coverage"], "o-", ms=3, lw=1.2, color=COLORS[kind(quantity)])
            at = line.loc[line.loc[line["n_prompts"] >= min(100, line["n_prompts"].max()), "coverage"].idxmin()]
            if 0.7 < at["coverage"] < 0.925:
                right = at["n_prompts"] > 100
                ax.annotate(KINDS[quantity][0], (at["n_prompts"], at["coverage"]), fontsize=7, va="top",
                            ha="right" if right else "left", xytext=(-5 if right else 0, 0 if right else -4),
                            textcoords="offset points")  # fmt: skip
        ax.axhline(0.95, color="black", ls=":", lw=1)
        ax.set(xscale="log", xlabel="prompts", ylim=(0.7, 1.005), title=world)
        sizes = sorted(rows["n_prompts"].unique())
        ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
        ax.minorticks_off()
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes[0].set_ylabel("intervals that hold the truth")
    for label, color in [*COLORS.items(), ("means, resampled", GREY)]:
        axes[0].plot([], [], color=color, label=label)
    axes[0].legend(fontsize=8, loc="lower right")
