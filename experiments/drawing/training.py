"""Figures of the study of training (`experiments.sharpening`): methods, what limits them, theory, and cost."""

from __future__ import annotations

from itertools import cycle

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from experiments.drawing import errors, figure
from sharptheory.plotting import BLUE, GREEN, GREY, ORANGE, PINK

GAP = "gap to best-of-N closed"


def final(table: pd.DataFrame) -> pd.DataFrame:
    """The trained models: the last epoch of the last round of each model, cell and seed."""
    rows = table[table["panel"] == "training"].sort_values(["round", "epoch"])
    return rows.groupby(["model", "cell", "seed"], sort=False).tail(1).sort_index()


def over_seeds(rows: pd.DataFrame, column: str, by: str = "cell") -> pd.DataFrame:
    """Mean, least and largest value over seeds; of a single seed its interval over prompts."""
    summary = rows.groupby(by, sort=False)[column].agg(mean="mean", low="min", high="max", seeds="size")
    if f"{column}_low" in rows:
        single = rows.groupby(by, sort=False)[[f"{column}_low", f"{column}_high"]].mean()[summary["seeds"] == 1]
        summary.loc[single.index, ["low", "high"]] = single.to_numpy()
    return summary


def factor(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Cells ``name=…`` with the reference cell, the one with the largest N, of the seeds that have them."""
    cell = rows["cell"]
    varied = cell.str.startswith(f"{name}=")
    reference = cell.str.startswith("N=") & (rows["responses"] == rows["responses"].max())
    return rows[varied | (reference & rows["seed"].isin(rows.loc[varied, "seed"]))]


def percent(axis) -> None:
    axis.set_major_formatter(PercentFormatter(1.0))


def spread(ax: Axes, x, summary: pd.DataFrame, **style) -> None:
    ax.errorbar(x, summary["mean"], yerr=errors(summary, "mean", "low", "high"), **{"fmt": "o-", "color": BLUE} | style)


@figure(
    "SFT-Sharpening of both shipped models with N = 50, temperature 1, on held-out prompts (a line per seed, bands: 95 % intervals "
    "over prompts). Training takes over a good part of what best-of-50 gains at inference (dashed), and the log-likelihood of "
    "the samples under the base model rises with it (right: mean over seeds; dashed: best-of-50 of the base model).",
    width=4.6,
)
def sharpening(table: pd.DataFrame, left: Axes, middle: Axes, right: Axes) -> None:
    table = table[(table["panel"] == "training") & (table["cell"] == "full")]
    for ax, color, (model, rows) in zip((left, middle), (BLUE, ORANGE), table.groupby("model", sort=False)):
        for seed, line in rows.groupby("seed"):
            ax.plot(
                line["epoch"],
                line["accuracy"],
                "o-",
                color=color,
                label="trained, a line per seed" if seed == 0 else None,
            )
            ax.fill_between(line["epoch"], line["accuracy_low"], line["accuracy_high"], color=color, alpha=0.12, lw=0)
        for kind, style, label in (("best_of_n", "--", "base, best of 50"), ("greedy", "-.", "base, greedy"),
                                   ("sampled", ":", "base, one sample")):  # fmt: skip
            ax.axhline(rows[f"base_{kind}_accuracy"].mean(), color=GREY, ls=style, label=label)
        ax.set(xlabel="epoch", ylabel="accuracy of one sample", ylim=(0.2, 0.8))
        percent(ax.yaxis)
        ax.set_title(model)
        mean = rows.groupby("epoch")[["log_likelihood", "base_best_of_n_log_likelihood"]].mean()
        right.plot(mean.index, mean["log_likelihood"], "o-", color=color, label=model)
        right.axhline(mean["base_best_of_n_log_likelihood"].iloc[0], color=color, ls="--")
    for ax in (left, middle)[table["model"].nunique() :]:
        ax.set_visible(False)
    left.legend(loc="upper left", fontsize=8)
    right.set(xlabel="epoch", ylabel="log-likelihood under the base [nats]")
    right.set_title("Samples become likelier")
    right.legend(fontsize=8)


METHOD_NAMES = {
    "adaptive-sft": "adaptive SFT", "xpo": "XPO, 2 rounds × 4, β = 1", "bon-sft": "BoN-SFT", "bon-rlb": "BoN-RLB, verified",
    "bon-rlb-p": "BoN-RLB(P), verified",
}  # fmt: skip


def cell_name(row) -> str:
    key, value = row.cell.split("=")
    if key == "N":
        return f"SFT, N = {value}"
    if key == "beta":
        return f"DPO, β = {value}"
    return METHOD_NAMES.get(
        value, f"SFT by {value.replace('_', ' ')}" + (", verified" if value == "correctness" else "")
    )


@figure(
    "One change at a time from SFT-Sharpening with N = 50 on 1,000 prompts of arithmetic-1m: mean over seeds, bars: from the "
    "worst seed to the best; of XPO and β = 2, run with one seed, 95 % intervals over prompts. Left: N = 1 trains on plain "
    "samples. Right: rewards and methods; those marked verified are the control that sees whether an answer is correct.",
    data="sharpening",
    width=5.4,
)
def methods(table: pd.DataFrame, left: Axes, right: Axes) -> None:
    rows = final(table)
    curve = over_seeds(rows[rows["cell"].str.startswith("N=")].sort_values("responses"), "gap_closed", "responses")
    spread(left, curve.index, curve)
    left.set_xscale("log")
    left.set_xticks(curve.index, [f"{n:g}" for n in curve.index])
    left.minorticks_off()
    left.axhline(0, color=GREY, ls=":")
    left.set(xlabel="N, responses per training prompt", ylabel=GAP)
    percent(left.yaxis)
    left.set_title("The N behind each training response")
    rows = pd.concat([factor(rows, name) for name in ("reward", "method", "beta")]).drop_duplicates(["cell", "seed"])
    rows = rows.assign(name=[cell_name(row) for row in rows.itertuples()])
    summary = over_seeds(rows, "gap_closed", "name").sort_values("mean")
    colors = [ORANGE if "verified" in name else BLUE for name in summary.index]
    for y, (color, (_, row)) in enumerate(zip(colors, summary.iterrows())):
        right.plot([row["low"], row["high"]], [y, y], color=color)
        right.plot(row["mean"], y, "o", color=color)
    right.set_yticks(range(len(summary)), summary.index)
    right.axvline(0, color=GREY, ls=":")
    right.set_xlabel(GAP)
    percent(right.xaxis)
    right.set_title("Rewards and methods")


@figure(
    "What limits SFT-Sharpening of arithmetic-1m with N = 50: the share of the gap to best-of-50 that one sample has closed, "
    "changing one thing at a time. Prompts: mean over seeds, bars from the worst to the best; the others: one seed, bars are 95 % "
    "intervals over prompts; adapters at a rate of 1e-3. Held-out accuracy grows with the number of training prompts more than "
    "with anything else.",
    data="sharpening",
    width=3.4,
    height=3.6,
)
def limits(table: pd.DataFrame, prompts: Axes, epochs: Axes, rate: Axes, rank: Axes) -> None:
    rows = final(table)
    whole = rows[(rows["cell"] == "full") & rows["model"].isin(rows.loc[rows["cell"].str.startswith("N="), "model"])]
    panels = (
        (prompts, pd.concat([factor(rows, "prompts"), whole]), "n_prompts", "training prompts"),
        (epochs, factor(rows, "epochs"), "epoch", "epochs"),
        (rate, factor(rows, "rate"), "learning_rate", "peak learning rate"),
    )
    for ax, cells, column, label in panels:
        summary = over_seeds(cells.sort_values(column), "gap_closed", column)
        spread(ax, summary.index, summary)
        ax.set_xscale("log")
        ax.set_xticks(summary.index, [f"{x:g}" if x < 1 else f"{x:,.0f}" for x in summary.index], rotation=30)
        ax.minorticks_off()
        ax.set_xlabel(label)
    cells = factor(rows, "rank").sort_values("lora_rank")
    summary = over_seeds(cells, "gap_closed", "lora_rank")
    summary = pd.concat([summary.drop(0), summary.loc[[0]]])
    spread(rank, range(len(summary)), summary)
    rank.set_xticks(range(len(summary)), [f"rank {r:g}" if r else "all" for r in summary.index], rotation=30)
    rank.set_xlabel("trained weights")
    ends = [ax.get_ylim() for ax in (prompts, epochs, rate, rank)]
    for ax in (prompts, epochs, rate, rank):
        ax.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
        ax.axhline(0, color=GREY, ls=":")
        percent(ax.yaxis)
    prompts.set_ylabel(GAP)
    for ax, title in ((prompts, "Prompts"), (epochs, "Epochs"), (rate, "Learning rate"), (rank, "Capacity")):
        ax.set_title(title)


@figure(
    "Left and middle: share of held-out prompts that training has sharpened (mass at least 1/2 on the certified argmax), for "
    "arithmetic-1m. The exact law of best-of-N is what infinitely many training prompts would give; Theorem 4.1′ promises the "
    "dashed line there, and nothing (0) at these n, because its log|Π| counts every setting of the weights. Right: what "
    "training costs in diversity: pass@k of the trained models starts higher and ends lower (mean over seeds).",
    data="sharpening",
    width=4.6,
)
def amortisation(table: pd.DataFrame, left: Axes, middle: Axes, right: Axes) -> None:
    rows = final(table)
    first = rows.loc[rows["cell"].str.startswith("N="), "model"].iloc[0]
    rows = rows[rows["model"] == first]
    panels = (
        (left, rows[rows["cell"].str.startswith("N=")], "responses", "N, responses per training prompt"),
              (middle, pd.concat([factor(rows, "prompts"), rows[rows["cell"] == "full"]]), "n_prompts", "n, training prompts"),
    )  # fmt: skip
    for ax, cells, column, label in panels:
        cells = cells.sort_values(column)
        mean = cells.groupby(column)[["law_sharpened_0.5", "bound_coverage_0.5", "bound_0.5", "base_sharpened"]].mean()
        ax.plot(mean.index, mean["law_sharpened_0.5"], color=BLUE, label="exact law of best-of-N (n → ∞)")
        ax.plot(mean.index, mean["bound_coverage_0.5"], color=BLUE, ls="--", label="Theorem 4.1′ (n → ∞)")
        ax.plot(mean.index, mean["bound_0.5"], color=GREEN, ls="--", label="Theorem 4.1′ at this n")
        spread(ax, mean.index, over_seeds(cells, "sharpened_0.5", column), color=ORANGE, label="trained, measured")
        ax.plot(mean.index, mean["base_sharpened"], color=GREY, ls=":", label="base model")
        ax.set_xscale("log")
        ax.set_xticks(mean.index, [f"{x:,.0f}" for x in mean.index])
        ax.minorticks_off()
        ax.set(xlabel=label, ylim=(-0.03, 1.5), yticks=[0, 0.25, 0.5, 0.75, 1])
        percent(ax.yaxis)
    left.set_ylabel("prompts with π(y*|x) ≥ 1/2")
    left.set_title("Sharpened prompts against N")
    middle.set_title("Sharpened prompts against n, N = 50")
    middle.legend(fontsize=8, loc="upper left")
    curves = table[(table["panel"] == "pass@k") & (table["kind"] == "pass")]
    for (model, part), color in zip(curves.groupby("model", sort=False), (BLUE, PINK)):
        for policy, style in (("base", ":"), ("trained", "-")):
            mean = part[part["policy"] == policy].groupby("k")[["value", "low", "high"]].mean()
            right.plot(mean.index, mean["value"], color=color, ls=style, label=f"{model}, {policy}")
            right.fill_between(mean.index, mean["low"], mean["high"], color=color, alpha=0.12, lw=0)
    right.set_xscale("log")
    right.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    right.minorticks_off()
    right.set(xlabel="k, samples at inference", ylabel="pass@k")
    percent(right.yaxis)
    right.set_title("Diversity before and after")
    right.legend(fontsize=8)


@figure(
    "What each method costs, sampling and training together, in forward tokens (a backward pass counts as two forward passes) and, "
    "in the legend, seconds on one CPU core; arithmetic-1m, mean over seeds, bars from the worst seed to the best, or 95 % "
    "intervals of a single seed. Verified methods (squares) see whether an answer is correct.",
    data="sharpening",
    width=9.0,
    height=4.6,
)
def training_cost(table: pd.DataFrame, ax: Axes) -> None:
    rows = final(table)
    first = rows.loc[rows["cell"].str.startswith("N="), "model"].iloc[0]
    rows = rows[(rows["model"] == first) & rows["cell"].str.match("N=|method|beta|reward=correct|full")]
    rows = rows.assign(
        name=["SFT, N = 50, all prompts" if row.cell == "full" else cell_name(row) for row in rows.itertuples()],
        tokens=rows["sampling_tokens"] + rows["training_tokens"],
        seconds=rows["sampling_seconds"] + rows["training_seconds"],
    )
    means = rows.groupby("name")[["gap_closed", "tokens", "seconds"]].mean().sort_values("gap_closed", ascending=False)
    colors = plt.colormaps["tab20"].colors
    for color, (name, mean) in zip(cycle(colors), means.iterrows()):
        part = rows[rows["name"] == name]
        style = dict(fmt="s" if "verified" in name else "o", color=color, label=f"{name} ({mean['seconds']:.0f} s)")
        spread(ax, [mean["tokens"]], over_seeds(part, "gap_closed"), **style)
    ax.set_xscale("log")
    ax.axhline(0, color=GREY, ls=":")
    ax.set(xlabel="forward tokens", ylabel=GAP)
    percent(ax.yaxis)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    ax.set_title("What training gains and costs")
