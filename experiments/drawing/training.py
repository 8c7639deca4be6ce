"""Figures of the study of training (`experiments.sharpening`): methods, what limits them, theory, and cost."""

from __future__ import annotations

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from experiments.drawing import errors, figure
from sharptheory.report.plots import BLUE, GREEN, GREY, ORANGE, PINK

GAP = "gap to best-of-N closed"
COLORS = (BLUE, ORANGE, GREEN, PINK)


def final(table: pd.DataFrame) -> pd.DataFrame:
    """The trained models: the last epoch of the last round of each model, setting and seed."""
    rows = table[table["panel"] == "training"].sort_values(["round", "epoch"])
    return rows.groupby(["model", "cell", "seed"], sort=False).tail(1).sort_index()


def over_seeds(rows: pd.DataFrame, column: str, by: str = "cell") -> pd.DataFrame:
    """Mean, least and largest value over seeds."""
    return rows.groupby(by, sort=False)[column].agg(mean="mean", low="min", high="max")


def gap_closed(rows: pd.DataFrame, by: str = "cell") -> pd.DataFrame:
    """Share of the gap closed by the prompts of all seeds together, with its 95 % interval: columns mean, low and high.

    The ratio of the mean gain to the mean gap, so that a seed counts by its gap. Seeds have prompts of their own, so what
    each seed's interval leaves on either side of its share adds in quadrature. NaN limits where a seed shows no gap.
    """
    gap = rows["base_best_of_n_accuracy"] - rows["base_sampled_accuracy"]
    table = pd.DataFrame({
        by: rows[by], "gap": gap, "gain": rows["accuracy"] - rows["base_sampled_accuracy"],
        "below": (gap * (rows["gap_closed"] - rows["gap_closed_low"])) ** 2,
        "above": (gap * (rows["gap_closed_high"] - rows["gap_closed"])) ** 2,
    })  # fmt: skip
    sums = table.groupby(by, sort=False).agg(lambda column: column.sum(skipna=False))
    mean = sums["gain"] / sums["gap"]
    return pd.DataFrame({
        "mean": mean, "low": mean - sums["below"] ** 0.5 / sums["gap"], "high": mean + sums["above"] ** 0.5 / sums["gap"],
    })  # fmt: skip


def closed(rows: pd.DataFrame) -> str:
    """Share of the gap closed with its interval, by the prompts of all seeds of one setting."""
    [share] = gap_closed(rows).itertuples()
    if np.isnan(share.low):
        return "no gap shown"
    return f"{100 * share.mean:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def factor(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Settings ``name=…`` with the reference setting of each model, the one with the largest N, of the seeds that have them."""
    cell = rows["cell"]
    varied = cell.str.startswith(f"{name}=")
    reference = cell.str.startswith("N=") & (rows["responses"] == rows["responses"].max())
    return rows[varied | (reference & rows["seed"].isin(rows.loc[varied, "seed"]))]


def models(rows: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """A color for each model that was studied, its name and its rows."""
    studied = rows.loc[rows["cell"].str.startswith("N="), "model"].unique()
    return [(color, name, rows[rows["model"] == name]) for color, name in zip(COLORS, studied)]


def same_height(axes) -> None:
    low, high = zip(*(ax.get_ylim() for ax in axes))
    for ax in axes:
        ax.set_ylim(min(low), max(high))


def log_ticks(ax: Axes, ticks) -> None:
    ax.set_xscale("log")
    ax.set_xticks(ticks, [f"{x:g}" if x < 1 else f"{x:,.0f}" for x in ticks])
    ax.minorticks_off()


def percent(axis) -> None:
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def spread(ax: Axes, x, summary: pd.DataFrame, **style) -> None:
    ax.errorbar(x, summary["mean"], yerr=errors(summary, "mean", "low", "high"), **{"fmt": "o-", "color": BLUE} | style)


@figure(
    "Trained on best-of-50, one sample keeps two fifths to a half of what best-of-50 gains",
    "SFT-Sharpening of both shipped models with N = 50, temperature 1, on held-out prompts (a line per seed, bands: 95 % intervals "
    "over prompts). Training takes over a good part of what best-of-50 gains at inference (dashed; the share by the prompts of all "
    "seeds, with its 95 % interval), and the log-likelihood of "
    "the samples under the base model rises with it (right: mean over seeds; dashed: best-of-50 of the base model).",
    width=4.6,
    panels=lambda table: (1, table["model"].nunique() + 1),
)
def sharpening(table: pd.DataFrame, *axes: Axes) -> None:
    *each, right = axes
    last = final(table)
    table = table[(table["panel"] == "training") & (table["cell"] == "full")]
    for ax, color, (model, rows) in zip(each, cycle(COLORS), table.groupby("model", sort=False)):
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
        ax.set(xlabel="epoch", ylabel="accuracy of one sample")
        percent(ax.yaxis)
        ax.set_title(f"{model}: {closed(last[(last['cell'] == 'full') & (last['model'] == model)])} of the gap")
        mean = rows.groupby("epoch")[["log_likelihood", "base_best_of_n_log_likelihood"]].mean()
        right.plot(mean.index, mean["log_likelihood"], "o-", color=color, label=model)
        right.axhline(mean["base_best_of_n_log_likelihood"].iloc[0], color=color, ls="--")
    each[0].set_ylim(top=each[0].get_ylim()[1] + 0.12)  # room for the legend
    same_height(each)
    each[0].legend(loc="upper left", fontsize=8)
    right.set(xlabel="epoch", ylabel="log-likelihood under the base [nats]")
    right.set_title("Samples become likelier")
    right.legend(fontsize=8)


METHOD_NAMES = {
    "adaptive-sft": "adaptive SFT", "xpo": "XPO, 2 rounds × 4, β = 1", "bon-sft": "BoN-SFT", "bon-rlb": "BoN-RLB, verified",
    "bon-rlb-p": "BoN-RLB(P), verified",
}  # fmt: skip


def setting_name(row) -> str:
    key, value = row.cell.split("=")
    if key == "N":
        return f"SFT, N = {value}"
    if key == "beta":
        return f"DPO, β = {value}"
    if key == "spread":
        return f"SFT, N = {row.responses:g}, {value} × all prompts"
    return METHOD_NAMES.get(
        value, f"SFT by {value.replace('_', ' ')}" + (", verified" if value == "correctness" else "")
    )


@figure(
    "Five responses per prompt are enough, and likelihood teaches more than correctness",
    "One change at a time from SFT-Sharpening with N = 50 on a part of the training prompts (arithmetic-1m 1,000, multihop-1m "
    "500): share of the gap by the prompts of all seeds, with 95 % intervals. Left: N = 1 trains on plain samples. Right: "
    "rewards and methods; those marked verified (squares) are the control that sees whether an answer is correct. Most "
    "intervals of multihop-1m include 0.",
    data="sharpening",
    width=5.4,
    height=4.6,
)
def methods(table: pd.DataFrame, left: Axes, right: Axes) -> None:
    order = None
    for shift, (color, model, rows) in enumerate(models(final(table))):
        curve = gap_closed(rows[rows["cell"].str.startswith("N=")].sort_values("responses"), "responses")
        spread(left, curve.index, curve, color=color, label=model)
        log_ticks(left, curve.index)
        settings = pd.concat([factor(rows, name) for name in ("reward", "method", "beta")]).drop_duplicates(
            ["cell", "seed"]
        )
        settings = settings.assign(name=[setting_name(row) for row in settings.itertuples()])
        summary = gap_closed(settings, "name")
        if order is None:
            order = list(summary["mean"].sort_values().index)
        for name, row in summary.iterrows():
            y = order.index(name) + 0.15 - 0.3 * shift
            right.plot([row["low"], row["high"]], [y, y], color=color)
            right.plot(row["mean"], y, "s" if "verified" in name else "o", color=color)
    left.axhline(0, color=GREY, ls=":")
    left.set(xlabel="N, responses per training prompt", ylabel=GAP)
    percent(left.yaxis)
    left.set_title("The N behind each training response")
    left.legend(fontsize=8)
    right.set_yticks(range(len(order)), order)
    right.axvline(0, color=GREY, ls=":")
    right.set_xlabel(GAP)
    percent(right.xaxis)
    right.set_title("Rewards and methods")


@figure(
    "Prompts limit what training gains, up to a few thousand; not epochs, rate or capacity",
    "What limits SFT-Sharpening with N = 50: the share of the gap to best-of-50 that one sample has closed, changing one thing "
    "at a time, by the prompts of all seeds, with 95 % intervals; adapters at a rate of 1e-3. Diamond: as many sampled "
    "responses as the circle before it, of four times the prompts with a quarter of the N "
    "(one seed). Epochs, rate and capacity: "
    "arithmetic-1m, 1,000 prompts. Held-out accuracy grows with the number of training prompts more than with anything else.",
    data="sharpening",
    width=3.4,
    height=3.6,
)
def limits(table: pd.DataFrame, prompts: Axes, epochs: Axes, rate: Axes, rank: Axes) -> None:
    studied, sizes = models(final(table)), []
    for color, model, rows in studied:
        settings = pd.concat([factor(rows, "prompts"), rows[rows["cell"] == "full"]]).sort_values("n_prompts")
        summary = gap_closed(settings, "n_prompts")
        spread(prompts, summary.index, summary, color=color, label=model)
        sizes += list(summary.index)
        more = gap_closed(rows[rows["cell"].str.startswith("spread=")], "n_prompts")
        if len(more):
            spread(prompts, more.index, more, fmt="D", color=color, mfc="white", label=f"{model}, N = 12")
            sizes += list(more.index)
    log_ticks(prompts, sorted(set(sizes)))
    prompts.set(xlabel="training prompts", ylabel=GAP)
    prompts.legend(fontsize=8)
    _, _, rows = studied[0]
    for ax, name, column, label in (
        (epochs, "epochs", "epoch", "epochs"),
        (rate, "rate", "learning_rate", "peak learning rate"),
    ):
        summary = gap_closed(factor(rows, name).sort_values(column), column)
        spread(ax, summary.index, summary)
        log_ticks(ax, summary.index)
        ax.set_xlabel(label)
    summary = gap_closed(factor(rows, "rank").sort_values("lora_rank"), "lora_rank")
    summary = pd.concat([summary.drop(0), summary.loc[[0]]])
    spread(rank, range(len(summary)), summary)
    rank.set_xticks(range(len(summary)), [f"rank {r:g}" if r else "all" for r in summary.index])
    rank.set_xlabel("trained weights")
    axes = (prompts, epochs, rate, rank)
    same_height(axes)
    for ax, title in zip(axes, ("Prompts", "Epochs", "Learning rate", "Capacity")):
        ax.axhline(0, color=GREY, ls=":")
        ax.tick_params(axis="x", rotation=30)
        percent(ax.yaxis)
        ax.set_title(title)


@figure(
    "Training sharpens a part of the prompts that best-of-N would",
    "Share of held-out prompts that training has sharpened (mass at least 1/2 on the certified argmax), against N (left) and "
    "the number n of training prompts (right; N = 50). The exact law of best-of-N is what infinitely many training prompts would "
    "give; Theorem 4.1′ promises the dashed line there, and nothing (0) at these n, because its log|Π| counts every setting "
    "of the weights. Measured: mean over seeds, bars from the worst to the best.",
    data="sharpening",
    width=4.6,
    height=3.6,
    panels=lambda table: (len(models(table)), 2),
)
def amortisation(table: pd.DataFrame, *axes: Axes) -> None:
    for (_, model, rows), pair in zip(models(final(table)), zip(axes[::2], axes[1::2])):
        panels = (
            (rows[rows["cell"].str.startswith("N=")], "responses", "N, responses per training prompt"),
            (pd.concat([factor(rows, "prompts"), rows[rows["cell"] == "full"]]), "n_prompts", "n, training prompts"),
        )
        for ax, (settings, column, label) in zip(pair, panels):
            settings = settings.sort_values(column)
            mean = settings.groupby(column)[
                ["law_sharpened_0.5", "bound_coverage_0.5", "bound_0.5", "base_sharpened"]
            ].mean()
            ax.plot(mean.index, mean["law_sharpened_0.5"], color=BLUE, label="exact law of best-of-N (n → ∞)")
            ax.plot(mean.index, mean["bound_coverage_0.5"], color=BLUE, ls="--", label="Theorem 4.1′ (n → ∞)")
            ax.plot(mean.index, mean["bound_0.5"], color=GREEN, ls="--", label="Theorem 4.1′ at this n")
            spread(
                ax, mean.index, over_seeds(settings, "sharpened_0.5", column), color=ORANGE, label="trained, measured"
            )
            ax.plot(mean.index, mean["base_sharpened"], color=GREY, ls=":", label="base model")
            log_ticks(ax, mean.index)
            ax.set(xlabel=label, ylim=(-0.03, 1.05), yticks=[0, 0.25, 0.5, 0.75, 1], title=model)
            percent(ax.yaxis)
        pair[0].set_ylabel("prompts with π(y*|x) ≥ 1/2")
        pair[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


@figure(
    "Sharpening gains for few samples and loses for many",
    "What training costs in diversity: pass@k of the base models and of those trained by SFT-Sharpening on all prompts, on "
    "held-out prompts; mean over seeds, bands: mean 95 % interval over prompts. The trained models start higher and end lower.",
    data="sharpening",
    width=4.6,
    panels=lambda table: (1, table["model"].nunique()),
)
def diversity(table: pd.DataFrame, *axes: Axes) -> None:
    curves = table[(table["panel"] == "pass@k") & (table["kind"] == "pass")]
    for ax, color, (model, part) in zip(axes, cycle(COLORS), curves.groupby("model", sort=False)):
        for policy, style in (("base", ":"), ("trained", "-")):
            mean = part[part["policy"] == policy].groupby("k")[["value", "low", "high"]].mean()
            ax.plot(mean.index, mean["value"], color=color, ls=style, label=policy)
            ax.fill_between(mean.index, mean["low"], mean["high"], color=color, alpha=0.12, lw=0)
        log_ticks(ax, [k for k in (1, 2, 5, 10, 20, 50) if k <= mean.index.max()])
        ax.set(xlabel="k, samples at inference", ylabel="pass@k", title=model)
        percent(ax.yaxis)
        ax.legend(fontsize=8)
    same_height(axes)


@figure(
    "SFT on few responses per prompt gains most per token",
    "What each method gains and costs, sampling and training together, in forward tokens (a backward pass counts as two forward "
    "passes) and, in the legend, seconds on one CPU core (arithmetic-1m with 1,000 prompts / multihop-1m with 500); shares by the "
    "prompts of all seeds, with 95 % intervals (4 × all prompts: one seed). Verified methods (squares) see whether an answer is "
    "correct.",
    data="sharpening",
    width=5.6,
    height=4.6,
    panels=lambda table: (1, len(models(table))),
)
def training_cost(table: pd.DataFrame, *axes: Axes) -> None:
    rows = final(table)
    rows = rows[rows["cell"].str.match("N=|method|beta|reward=correct|full|spread")]
    rows = rows.assign(
        name=["SFT, N = 50, all prompts" if row.cell == "full" else setting_name(row) for row in rows.itertuples()],
        tokens=rows["sampling_tokens"] + rows["training_tokens"],
        seconds=rows["sampling_seconds"] + rows["training_seconds"],
    )
    seconds = rows.groupby(["name", "model"], sort=False)["seconds"].mean().unstack(sort=False)
    order = rows.groupby("name")["gap_closed"].mean().sort_values(ascending=False).index
    for ax, (_, model, part) in zip(axes, models(rows)):
        for color, name in zip(cycle(plt.colormaps["tab20"].colors), order):
            settings = part[part["name"] == name]
            if settings.empty:
                continue
            took = " / ".join(f"{value:,.0f}" for value in seconds.loc[name].dropna())
            style = dict(fmt="s" if "verified" in name else "o", color=color, label=f"{name} ({took} s)")
            spread(ax, [settings["tokens"].mean()], gap_closed(settings), **style)
        ax.set_xscale("log")
        ax.axhline(0, color=GREY, ls=":")
        ax.set(xlabel="forward tokens", title=model)
        percent(ax.yaxis)
    axes[0].set_ylabel(GAP)
    same_height(axes)
    handles = axes[0].get_legend_handles_labels()
    axes[-1].legend(*handles, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
