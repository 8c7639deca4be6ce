"""Figures of the paper's protocol (`experiments.paper`): its Figs 1-4 and 6, measurement beside theory."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from experiments.drawing import errors, figure
from sharptheory.report import plots as plotting
from sharptheory.report.plots import BLUE, GREEN, GREY, ORANGE, PINK

COLORS = (GREEN, BLUE, ORANGE, PINK, "#56B4E9", "#E69F00")


def at_largest_n(table: pd.DataFrame, reward: str = "log_likelihood") -> pd.DataFrame:
    rows = table[(table["panel"] == "curve") & (table["reward"] == reward)]
    return rows[rows["n"] == rows.groupby(["model", "label"])["n"].transform("max")]


def typical(rows: pd.DataFrame) -> pd.DataFrame:
    """Of the first two models the setting they were trained on, or the first they have."""
    chosen = rows[["model", "label"]].drop_duplicates()
    chosen = chosen.assign(first=chosen["label"] != "as trained").sort_values("first", kind="stable")
    chosen = chosen.drop_duplicates("model").head(2)
    return rows.merge(chosen[["model", "label"]])


def names(rows: pd.DataFrame) -> list[str]:
    return [f"{model}, {label}" for model, label in zip(rows["model"], rows["label"])]


def heat(ax: Axes, rows: pd.DataFrame, column: str, *, form: str, diverging: bool = True, scale: float = 1.0) -> None:
    """Models × tasks, each entry with its value and, where there is one, its interval."""
    grid = rows.pivot(index="model", columns="label", values=column)[list(dict.fromkeys(rows["label"]))]
    values = scale * grid.to_numpy(dtype=float)
    largest = np.nanmax(np.abs(values)) or 1.0
    ax.imshow(
        values,
        cmap="RdBu" if diverging else "Blues",
        vmin=-largest if diverging else 0,
        vmax=largest,
        aspect="auto",
        alpha=0.85,
    )
    ax.grid(False)
    ax.set_xticks(range(grid.shape[1]), grid.columns)
    ax.set_yticks(range(grid.shape[0]), grid.index, rotation=90, va="center")
    entries = rows.set_index(["model", "label"])
    for (i, j), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        row, text = entries.loc[(grid.index[i], grid.columns[j])], form.format(value)
        if column == "gain":
            text += f"\n{row['certified']:.0%} certified"
        elif f"{column}_low" in row:
            low, high = (form.format(scale * row[f"{column}_{side}"]) for side in ("low", "high"))
            text += "\non every prompt" if row[f"{column}_low"] == row[f"{column}_high"] else f"\n[{low}, {high}]"
        color = "white" if abs(value) > (0.75 if diverging else 0.6) * largest else "black"
        ax.text(j, i, text, ha="center", va="center", fontsize=8, color=color)


@figure(
    "Best-of-50 gains over greedy decoding, but not on problems longer than those trained on",
    "What best-of-50 by log-likelihood gains over greedy decoding, models × tasks (problems shorter than, as, and longer than "
    "those that the model was trained on; the paper's Fig. 1a, b), in points of accuracy and in nats, with 95 % intervals. Right, "
    "theory: what infinitely many samples would gain, exactly, on the prompts whose argmax is certified (their share below).",
    data="paper",
    width=4.6,
    height=3.4,
)
def paper_lift(table: pd.DataFrame, left: Axes, middle: Axes, right: Axes) -> None:
    rows = at_largest_n(table)
    heat(left, rows, "lift", form="{:+.1f}", scale=100)
    left.set_title("Accuracy over greedy [points]")
    heat(middle, rows, "log_likelihood_lift", form="{:+.2f}")
    middle.set_title("Log-likelihood over greedy [nats]")
    exact = table[table["panel"] == "theory"]
    exact = exact[exact["n"] == exact["n"].max()]
    exact = exact.assign(gain=exact["limit"] - exact["greedy_accuracy"])
    heat(right, exact, "gain", form="{:+.1f}", scale=100)
    right.set_title("Theory: N → ∞, certified [points]")


@figure(
    "What other ways to use 50 samples gain over greedy decoding",
    "The same for other ways to use 50 samples (the paper's Fig. 2): best-of-50 by length-normalised log-likelihood and majority "
    "vote, in points over greedy decoding; coverage, whether any of 50 is correct; and greedy accuracy itself.",
    data="paper",
    width=3.7,
    height=3.2,
)
def paper_rewards(table: pd.DataFrame, first: Axes, second: Axes, third: Axes, fourth: Axes) -> None:
    heat(first, at_largest_n(table, "length_normalized"), "lift", form="{:+.1f}", scale=100)
    first.set_title("Length-normalised")
    heat(second, at_largest_n(table, "majority"), "lift", form="{:+.1f}", scale=100)
    second.set_title("Majority vote")
    heat(third, at_largest_n(table, "correctness"), "accuracy", form="{:.0f}", scale=100, diverging=False)
    third.set_title("Coverage, any of 50 [%]")
    heat(fourth, at_largest_n(table), "greedy_accuracy", form="{:.0f}", scale=100, diverging=False)
    fourth.set_title("Greedy decoding [%]")


@figure(
    "Accuracy rises with N and levels off where the exact law says",
    "Best-of-N against N (the paper's Figs 3 and 4). Left and middle: lift over greedy decoding, measured (bands: 95 %). "
    "Right, theory on the certified prompts: accuracy must lie in the band that the exact law 1-(1-p*)^N leaves, and ends at "
    "the accuracy of the argmax (dashed); points are measured there.",
    data="paper",
    width=4.8,
)
def paper_curves(table: pd.DataFrame, left: Axes, middle: Axes, right: Axes) -> None:
    curves = table[(table["panel"] == "curve") & (table["reward"] == "log_likelihood")]
    for (_, rows), color in zip(curves.groupby(["model", "label"], sort=False), cycle(COLORS)):
        name = names(rows)[0]
        for ax, column, scale in ((left, "lift", 100), (middle, "log_likelihood_lift", 1)):
            ax.plot(rows["n"], scale * rows[column], "o-", ms=3, color=color, label=name)
            ax.fill_between(
                rows["n"], scale * rows[f"{column}_low"], scale * rows[f"{column}_high"], color=color, alpha=0.1, lw=0
            )
    for ax in (left, middle):
        ax.axhline(0, color=GREY, ls=":")
    middle.set_yscale("symlog", linthresh=1)
    middle.set_yticks([-5, -2, -1, -0.5, 0, 0.5, 1], ["-5", "-2", "-1", "-0.5", "0", "0.5", "1"])
    middle.minorticks_off()
    left.set(ylabel="accuracy over greedy [points]")
    middle.set(ylabel="log-likelihood over greedy [nats]")
    left.set_title("Accuracy")
    middle.set_title("Log-likelihood")
    middle.legend(fontsize=8)
    exact = typical(table[table["panel"] == "theory"])
    for (model, rows), color in zip(exact.groupby("model", sort=False), (BLUE, ORANGE)):
        right.fill_between(
            rows["n"],
            rows["law_low"],
            rows["law_high"],
            color=color,
            alpha=0.15,
            lw=0,
            label=f"{model}: allowed by the law",
        )
        right.axhline(rows["limit"].iloc[0], color=color, ls="--", label=f"{model}: exact limit")
        right.errorbar(rows["n"], rows["accuracy"], yerr=errors(rows, "accuracy", "accuracy_low", "accuracy_high"), fmt="o", ms=4,
                       color=color, label=f"{model}: measured")  # fmt: skip
    right.set(ylabel="accuracy on certified prompts", ylim=(0, 1))
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    right.set_title("Theory and measurement")
    right.legend(fontsize=8, loc="lower right")
    for ax in (left, middle, right):
        plotting.log_n_axis(ax, curves["n"].max())


@figure(
    "Correct responses are likelier, but not on problems longer than those trained on",
    "Log-likelihoods of correct and incorrect responses (the paper's Figs 1c and 6), pooled over prompts. Right: the probability "
    "that of two responses to one prompt the correct one is likelier, which is what best-of-N uses; filled where the one-sided "
    "test of stochastic dominance within prompts says that correct responses dominate.",
    data="paper",
    width=4.6,
)
def paper_likelihood(table: pd.DataFrame, left: Axes, middle: Axes, right: Axes) -> None:
    samples = typical(table[table["panel"] == "samples"])
    for ax, (model, rows) in zip((left, middle), samples.groupby("model", sort=False)):
        plotting.likelihood_histogram(
            rows["log_likelihood"].to_numpy(), rows["correct"].to_numpy(dtype=bool), ax, label="log-likelihood [nats]"
        )
        ax.set_title(model)
    tests = table[table["finding"] == "likelihoods of correct responses dominate"].iloc[::-1]
    for y, row in enumerate(tests.itertuples()):
        right.errorbar(row.value, y, xerr=[[row.value - row.value_low], [row.value_high - row.value]], fmt="o", color=BLUE,
                       mfc=BLUE if row.verdict == "held" else "white")  # fmt: skip
    right.set_yticks(range(len(tests)), names(tests))
    right.axvline(0.5, color=GREY, ls=":")
    right.set(xlabel="AUC within prompts", xlim=(0.3, 1))
    right.set_title("Does likelihood know?")


@figure(
    "Votes by answer mass beat the majority vote, most where samples are few",
    "Accuracy of the majority vote, of votes that weigh each distinct response by its probability (seen mass, or "
    "Horvitz-Thompson), and of best-of-N by log-likelihood, on the same pools; bands are 95 % intervals over 256 prompts. The "
    "mass of a response is known once it was seen, its share of the samples is not.",
)
def answer_mass(table: pd.DataFrame, left: Axes, right: Axes) -> None:
    styles = {
        "majority vote": (GREY, "-"), "answer mass, seen": (GREEN, "--"), "answer mass, Horvitz-Thompson": (ORANGE, "-"),
        "best of N by log-likelihood": (BLUE, ":"),
    }  # fmt: skip
    for ax, (model, rows) in zip((left, right), table.groupby("model", sort=False)):
        for method, (color, ls) in styles.items():
            each = rows[rows["method"] == method]
            ax.plot(each["n"], each["accuracy"], color=color, ls=ls, label=method, marker="o", ms=3)
            if method in ("majority vote", "answer mass, Horvitz-Thompson"):
                ax.fill_between(each["n"], each["accuracy_low"], each["accuracy_high"], color=color, alpha=0.15, lw=0)
        plotting.log_n_axis(ax, int(rows["n"].max()))
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        ax.set_title(model, fontsize=10)
    left.set_ylabel("accuracy")
    right.legend(loc="lower right", fontsize=8)
