"""Figures of the theory's experiments and of the comparison of decoders."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from experiments.drawing import errors, figure
from sharptheory.report import plots as plotting
from sharptheory.report.plots import BLUE, GREEN, GREY, ORANGE, PINK


def points(ax: Axes, x, rows: pd.DataFrame, column: str, **style) -> None:
    """Measured values with their intervals."""
    ax.errorbar(x, rows[column], yerr=errors(rows, column, "low", "high"), fmt="o", **style)


@figure(
    "Adaptive sampling lowers the price of sharpening from 1/ε² to 1/ε",
    "No non-adaptive algorithm can do with fewer queries than the blue line; SFT-Sharpening is within a constant of it at every "
    "accuracy, and its simulated error (points) lies on its exact curve. Adaptive sampling turns the slope -2 into -1.",
    width=9.0,
)
def minimax(table: pd.DataFrame, ax: Axes) -> None:
    plotting.sample_complexity(table[table["kind"] != "measured"], ax)
    measured = table[table["kind"] == "measured"]
    widths = [np.maximum(measured["eps"] - measured["low"], 0), np.maximum(measured["high"] - measured["eps"], 0)]
    ax.errorbar(
        measured["eps"], measured["queries"], xerr=widths, fmt="o", color=ORANGE, label="SFT-Sharpening, simulated"
    )
    for curve, color, offset in (("minimax, non-adaptive", BLUE, 0.35), ("adaptive SFT-Sharpening", GREEN, 0.35)):
        rows = table[table["curve"] == curve].sort_values("eps")
        slope = np.polyfit(np.log(rows["eps"]), np.log(rows["queries"]), 1)[0]
        middle = rows.iloc[len(rows) // 2]
        ax.annotate(
            f"slope {slope:.2f}", (middle["eps"], offset * middle["queries"]), color=color, fontsize=8, va="top"
        )
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


@figure(
    "Coverage decides how many responses are needed",
    "The error of SFT-Sharpening (points, 10,000 prompts) falls as soon as N passes the coverage of the prompts that are still "
    "bad; the guarantee (lines) has the same order in N and C_cov, at a constant that only matters for small N.",
)
def coverage_error(table: pd.DataFrame, ax: Axes) -> None:
    largest = table[table["n"] == table["n"].max()]
    for (coverage, rows), color in zip(largest.groupby("coverage"), (GREEN, BLUE, ORANGE)):
        ax.plot(rows["n_responses"], rows["bound"].clip(upper=1), color=color)
        points(ax, rows["n_responses"], rows, "error", color=color, label=f"C_cov = {coverage:.1f}")
    ax.set_xscale("log", base=2)
    ax.set_xlabel("N, responses per prompt")
    ax.set_ylabel("prompts left unsharpened")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(title="points measured, lines Theorem 4.1′", loc="upper right")


@figure(
    "The adaptive rule pays for each prompt what it needs",
    "Left: the samples that adaptive best-of-N draws follow the exact law [S1]; Lemma I.1 is nearly tight. Right: over prompts of "
    "different coverage a fixed N must serve the hardest prompt it wants, the adaptive rule pays for each its own price.",
)
def adaptive(table: pd.DataFrame, left: Axes, right: Axes) -> None:
    rows = table[table["panel"] == "samples"]
    left.plot(1 / rows["x"], rows["exact"], color=BLUE, label="exact, [S1]")
    left.plot(1 / rows["x"], rows["bound"], color=GREY, ls="--", label="Lemma I.1")
    points(left, 1 / rows["x"], rows, "measured", color=ORANGE, label="measured")
    left.set(xscale="log", yscale="log", xlabel="1/p*", ylabel="samples per prompt")
    left.set_title("Samples the adaptive rule draws")
    left.legend()
    rows = table[table["panel"] == "total"]
    right.plot(rows["x"], rows["measured"], color=ORANGE, label="fixed N")
    right.plot(rows["x"], rows["exact"], color=BLUE, label="adaptive, mean")
    right.set(xscale="log", yscale="log", xlabel="ε, fraction of prompts given up", ylabel="samples per prompt")
    right.invert_xaxis()
    right.set_title("Against a fixed N")
    right.legend()


@figure(
    "A small margin breaks RLHF-Sharpening with a fixed β, nothing else",
    "As the margin closes, RLHF-Sharpening with a fixed β stops sharpening, because its target π_β does; with β chosen from the "
    "margin the same number of pairs still suffices, within [S2] (dashed). SFT-Sharpening does not notice the margin.",
)
def margin(table: pd.DataFrame, ax: Axes) -> None:
    for (method, rows), color, shift in zip(table.groupby("method"), (BLUE, ORANGE, GREEN), (0.9, 1.0, 1.1)):
        points(ax, shift * rows["margin"], rows, "error", color=color, label=method)
        if method == "RLHF, β from the margin":
            ax.plot(rows["margin"], rows["bound"].clip(upper=1), color=color, ls="--", label="[S2], β from the margin")
    ax.set_xscale("log")
    ax.invert_xaxis()
    ax.set_xlabel("margin (harder to the right)")
    ax.set_ylabel("prompts left unsharpened")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(loc="center left")


@figure(
    "RLHF-Sharpening escapes coverage",
    "Up to a million responses, RLHF-Sharpening recovers the sharpened parameter exactly from about d pairs, while "
    "SFT-Sharpening needs as many responses per prompt as the coverage coefficient, exponential in d. XPO grows as slowly as "
    "RLHF-Sharpening; most of its cost is choosing among its iterates.",
)
def separation(table: pd.DataFrame, ax: Axes) -> None:
    ax.plot(table["d"], table["n_responses"], color=GREY, ls=":", label="|Y| = 2^d")
    ax.plot(table["d"], table["sft_responses"], color=ORANGE, label="SFT-Sharpening, C_cov ln(2/δ) for one prompt")
    ax.plot(table["d"], 2 * table["d"], color=BLUE, label="2d, [S3]")
    points(ax, table["d"], table, "dpo_queries", color=BLUE, label="RLHF-Sharpening, measured")
    ax.plot(table["d"], table["xpo_queries"], "D", color=GREEN, label="XPO, 2d rounds and the choice of an iterate")
    ax.set_yscale("log")
    ax.set_xlabel("d, dimension")
    ax.set_ylabel("queries")
    ax.legend(loc="upper left")


@figure(
    "Sharpening by training needs a class that can be sharp",
    "Best-of-N at inference time finds the most likely sequence with probability tending to one; the best policy of the class, "
    "trained on infinitely many best-of-N responses, cannot put more than one half on it (Proposition E.2).",
)
def realizability(table: pd.DataFrame, ax: Axes) -> None:
    ax.plot(table["n_responses"], table["best_of_n"], color=BLUE, marker="o", label="best-of-N at inference")
    ax.plot(table["n_responses"], table["trained"], color=ORANGE, marker="o", label="trained on best-of-N")
    ax.axhline(0.5, color=GREY, ls="--", label="limit of the class")
    ax.set_xscale("log", base=2)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("N")
    ax.set_ylabel("mass of the most likely sequence")
    ax.legend(loc="lower right")


@figure(
    "Train for the N you use",
    "Left: regularised value of policies trained for best-of-N (rows) used with best-of-N (columns), relative to the best of the "
    "column: the diagonal wins. Right: over easy and hard prompts more samples want a hotter policy; on one prompt they do not.",
)
def bon_aware(table: pd.DataFrame, left: Axes, right: Axes) -> None:
    values = table[table["panel"] == "trained"].pivot(index="trained_for", columns="n", values="value")
    loss = values - values.max()
    left.imshow(loss, cmap="Blues_r", vmin=loss.to_numpy().min() * 1.3, vmax=0)
    left.grid(False)
    left.set_xticks(range(len(values)), values.columns)
    left.set_yticks(range(len(values)), values.index)
    middle = loss.to_numpy().min() / 2
    for (i, j), value in np.ndenumerate(loss.to_numpy()):
        left.text(
            j, i, f"{value:.3f}", ha="center", va="center", fontsize=8, color="black" if value > middle else "white"
        )
    left.set(xlabel="used with N", ylabel="trained for N")
    left.set_title("Value lost by the wrong N")
    for name, color in (("many prompts", BLUE), ("one prompt", ORANGE)):
        rows = table[table["panel"] == f"T*, {name}"]
        right.plot(rows["n"], rows["value"], color=color, marker="o", label=name)
    right.set_xscale("log", base=2)
    right.set(xlabel="N", ylabel="temperature that maximises pass@N")
    right.set_title("The temperature that suits N")
    right.legend()


@figure(
    "Rounds of sharpening reach the argmax unless real data hold them back",
    "Rounds of curation follow π^(1+t) with the fixed self-reward and π^(2^t) with the live one (lines: predicted; points: "
    "iterated). Finite choice sharpens more slowly, and real data in the mixture stops it at a fixed point.",
)
def iterated(table: pd.DataFrame, ax: Axes) -> None:
    for (method, rows), color in zip(table.groupby("method", sort=False), (BLUE, ORANGE, GREEN, PINK)):
        predicted = rows["predicted"].notna().any()
        ax.plot(
            rows["round"], rows["predicted" if predicted else "argmax_mass"], color=color, ls="-" if predicted else ":"
        )
        ax.plot(rows["round"], rows["argmax_mass"], "o", color=color, label=method)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("rounds t")
    ax.set_ylabel("mass of the most likely response")
    ax.legend(loc="center right")


@figure(
    "Against a wrong reward best-of-N turns; χ²-pessimism levels off",
    "The reward likes one rare, bad response best. Best-of-N finds it as N grows and loses what it had gained; χ²-pessimism, "
    "by rejection from the same N draws, settles at a level that its β decides: more samples do not hurt it.",
)
def reward_error(table: pd.DataFrame, ax: Axes) -> None:
    for (method, rows), color in zip(table.groupby("method", sort=False), (ORANGE, BLUE, GREEN, PINK)):
        ax.plot(rows["n"], rows["true_reward"], color=color, label=method)
    ax.set_xscale("log")
    ax.set_xlabel("N, responses drawn")
    ax.set_ylabel("expected true reward")
    ax.legend(loc="lower left")


@figure(
    "No way to decode is shown to beat greedy decoding on 50 prompts; self-certainty is shown to fall below it",
    "Accuracy of the shipped models under every way to decode, against the forward tokens a prompt costs (50 test prompts; bars: "
    "of the difference from greedy decoding, the dashed line, on the same prompts, 95 % for all methods together). Dotted: what "
    "the tilted laws would give, estimated from the pool of 64 samples.",
)
def decoding(table: pd.DataFrame, left: Axes, right: Axes) -> None:
    for ax, (model, rows) in zip((left, right), table.groupby("model", sort=False)):
        plotting.compare(rows, ax, "accuracy")
        ax.set_title(f"{model}: accuracy at equal cost")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


@figure(
    "The tilted law is best in KL, the χ²-regularised law in coverage, best-of-N close to both",
    "Exact laws on one policy, p(y) proportional to 1/rank. Left: all of them move mass to the most likely response, each in its "
    "own way. Middle: the expected self-reward that a law lacks to the tilted law of the same KL, which no law can beat. Right: "
    "in concentrability, where the χ²-regularised law is the best; best-of-N is within hundredths of a nat of both.",
)
def laws(table: pd.DataFrame, left: Axes, middle: Axes, right: Axes) -> None:
    colors = dict(zip(("base", "best of 4", "best of 16", "tilted, β = 0.5", "adaptive, δ = 0.1", "argmax"),
                      (GREY, "#56B4E9", BLUE, ORANGE, GREEN, "black")))  # fmt: skip
    for name, rows in table[table["panel"] == "law"].groupby("name", sort=False):
        shown = rows[rows["p"] > 0]
        left.plot(shown["rank"], shown["p"], "o-", ms=4, color=colors[name], label=name)
    left.set(yscale="log", ylim=(1e-8, 2), xlabel="rank of the response", ylabel="probability")
    left.set_title("Six laws on one policy")
    left.legend(fontsize=8)
    curves = {"tilted": ORANGE, "best-of-N": BLUE, "adaptive best-of-N": GREEN, "χ²-regularised": PINK}
    frontier = table[table["panel"] == "frontier"]
    for ax, cost, label, best in ((middle, "kl", "KL from the base [nats]", "tilted"),
                                  (right, "concentrability", "concentrability C_π", "χ²-regularised")):  # fmt: skip
        optimal = frontier[frontier["law"] == best].sort_values(cost)
        for law, color in curves.items():
            rows = frontier[frontier["law"] == law].sort_values(cost)
            loss = rows["reward"] - np.interp(rows[cost], optimal[cost], optimal["reward"])
            ax.plot(rows[cost], loss, color=color, ls="--" if law == "adaptive best-of-N" else "-", label=law)
        ax.set(xlabel=label, ylabel="expected self-reward below the best [nats]")
        ax.set_title(f"What the {best} law has over others")
    middle.legend(fontsize=8)


@figure(
    "Greedy decoding finds the argmax where it has more than half of the mass",
    "How often token-wise greedy decoding returns the most likely response of a random token tree. Above 1/2 it always does "
    "(Proposition 3.1); below, sharpening has something to find that greedy decoding misses.",
    data="laws",
)
def greedy(table: pd.DataFrame, ax: Axes) -> None:
    rows = table[(table["panel"] == "greedy") & (table["trees"] >= 20)]
    error = 1.96 * np.sqrt(rows["found"] * (1 - rows["found"]) / rows["trees"])
    ax.errorbar(rows["p_best"], rows["found"], yerr=error, fmt="o", color=BLUE, label="measured on random trees")
    ax.axvline(0.5, color=GREY, ls="--", label="Proposition 3.1: 1 above 1/2")
    ax.set(
        xlabel="probability of the most likely response, p*",
        ylabel="greedy decoding finds it",
        ylim=(0, 1.05),
        xlim=(0, 1),
    )
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(loc="lower right")


@figure(
    "Printed bounds that a counterexample breaks",
    "Errata: statements of the paper that fail as printed, each on a counterexample that `sharptheory check` evaluates: what the "
    "statement bounds, against its bound. Statements and corrections are in docs/theory.md.",
    data="laws",
    width=8.0,
)
def errata(table: pd.DataFrame, ax: Axes) -> None:
    rows = table[table["panel"] == "erratum"].iloc[::-1]
    floor = 1e-4
    for y, row in enumerate(rows.itertuples()):
        bound = max(row.bound, floor)
        ax.plot([bound, row.quantity], [y, y], color=GREY, lw=1)
        ax.plot(
            bound,
            y,
            "|",
            ms=14,
            mew=2,
            color=BLUE,
            label="printed bound (at most 0: at the left edge)" if y == 0 else None,
        )
        ax.plot(row.quantity, y, "o", color=ORANGE, label="the quantity it should bound" if y == 0 else None)
    ax.set_yticks(range(len(rows)), rows["name"])
    ax.set(xscale="log", xlim=(floor / 1.3, 40), xlabel="value on the counterexample", ylim=(-0.6, len(rows) + 0.6))
    ax.legend(loc="upper left", fontsize=8, ncols=2)


@figure(
    "What a diagnosis costs grows no faster than its samples",
    "Processor seconds and peak memory of `sharptheory diagnose --pool`, report included, for pools of every shape, answers, "
    "lengths, text and token ids among their columns. Below 100,000 rows it is the start and the figures that cost; above, the "
    "slope on logarithmic axes stays at or below 1, whatever the shape.",
)
def pool_size(table: pd.DataFrame, left: Axes, right: Axes) -> None:
    for (shape, rows), color, marker in zip(
        table.groupby("shape", sort=False), (BLUE, ORANGE, GREEN, PINK), ("o", "s", "^", "D")
    ):
        large = rows[rows["rows"] >= 100_000]
        label = shape
        if len(large) > 1:
            slope = np.polyfit(np.log(large["rows"]), np.log(large["seconds"]), 1)[0]
            label += f": slope {slope:.2f} from 100,000"
        left.plot(rows["rows"], rows["seconds"], color=color, marker=marker, label=label)
        right.plot(rows["rows"], rows["gigabytes"], color=color, marker=marker)
    first = table[table["shape"] == table["shape"].iloc[0]]
    left.plot(first["rows"], first["read_and_sort"], color=GREY, ls="--", label="reading the numbers and one sort")
    for ax, what in ((left, "processor seconds"), (right, "peak memory [GB]")):
        ax.set(xscale="log", yscale="log", xlabel="rows of the pool", ylabel=what)
    left.legend(fontsize=8)


@figure(
    "A plan from 300 prompts has the power that it promises, one from 30 may not",
    "Pilots of 30 to 1,000 prompts plan how many prompts show a difference of 2 points with power 0.8, in three simulated "
    "worlds; shown is the power that the planned sizes truly have: mean, and the range of nine in ten plans. From 300 prompts on "
    "the mean is within about two points of what was asked; a plan from 30 prompts may have .51 or .94. Where a plan asks for "
    "fewer than 100 prompts (a difference of 5 points, not shown), skewed differences make the power up to seven points larger.",
    width=4.6,
)
def planning(table: pd.DataFrame, first: Axes, second: Axes, third: Axes) -> None:
    table = table[table["effect"] == table["effect"].min()]
    for ax, (world, rows) in zip((first, second, third), table.groupby("world", sort=False)):
        for (quantity, part), color, shift in zip(
            rows.groupby("quantity", sort=False), (BLUE, GREEN, ORANGE), (0.9, 1.0, 1.1)
        ):
            power = part.groupby("pilot_prompts")["power"]
            ends = np.abs(power.quantile([0.05, 0.95]).unstack().to_numpy().T - power.mean().to_numpy())
            ax.errorbar(shift * power.mean().index, power.mean(), yerr=ends, fmt="o", ms=4, color=color, label=quantity)
        ax.axhline(0.8, color=GREY, ls="--", lw=1)
        ax.set(xscale="log", ylim=(0.45, 1.0), xlabel="prompts of the pilot", title=world)
        sizes = sorted(rows["pilot_prompts"].unique())
        ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
        ax.minorticks_off()
    first.set_ylabel("true power of the planned size")
    third.legend(fontsize=8, loc="lower right")
