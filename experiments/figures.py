"""Draw every figure of the finite-sample experiments from committed results, with its caption beside it.

make figures            # or: python -m experiments.figures [NAME ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from experiments.record import RESULTS
from sharptheory import plotting
from sharptheory.plotting import BLUE, GREEN, GREY, ORANGE, PINK

FIGURES = Path(__file__).parents[1] / "figures"
DRAW = {}


def figure(caption: str):
    """Register a figure: ``draw(table, ax)``, one or two panels by the number of axes it takes."""

    def register(draw):
        DRAW[draw.__name__] = (draw, caption)
        return draw

    return register


def points(ax: Axes, x, rows: pd.DataFrame, column: str, **style) -> None:
    """Measured values with their intervals."""
    low, high = (np.maximum(sign * (rows[side] - rows[column]), 0) for sign, side in ((-1, "low"), (1, "high")))
    ax.errorbar(x, rows[column], yerr=[low, high], fmt="o", **style)


@figure(
    "No non-adaptive algorithm can do with fewer queries than the blue line; SFT-Sharpening is within a constant of it at every "
    "accuracy, and its simulated error (points) lies on its exact curve. Adaptive sampling turns the slope -2 into -1."
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
    ax.set_title("What sharpening costs")


@figure(
    "The error of SFT-Sharpening (points, 10,000 prompts) falls as soon as N passes the coverage of the prompts that are still "
    "bad; the guarantee (lines) has the same order in N and C_cov, at a constant that only matters for small N."
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
    ax.set_title("Coverage decides how many responses are needed")


@figure(
    "Left: the samples that adaptive best-of-N draws follow the exact law [S1]; Lemma I.1 is nearly tight. Right: over prompts of "
    "different coverage a fixed N must serve the hardest prompt it wants, the adaptive rule pays for each its own price."
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
    "As the margin closes, RLHF-Sharpening with a fixed β stops sharpening, because its target π_β does; with β chosen from the "
    "margin the same number of pairs still suffices, within [S2] (dashed). SFT-Sharpening does not notice the margin."
)
def margin(table: pd.DataFrame, ax: Axes) -> None:
    for (method, rows), color, shift in zip(table.groupby("method"), (BLUE, ORANGE, GREEN), (0.9, 1.0, 1.1)):
        points(ax, shift * rows["margin"], rows, "error", color=color, label=method)
        if method == "RLHF, β from the margin":
            ax.plot(rows["margin"], rows["bound"].clip(upper=1), color=color, ls="--")
    ax.set_xscale("log")
    ax.invert_xaxis()
    ax.set_xlabel("margin (harder to the right)")
    ax.set_ylabel("prompts left unsharpened")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(loc="center left")
    ax.set_title("Who cares about the margin")


@figure(
    "Up to a million responses, RLHF-Sharpening recovers the sharpened parameter exactly from about d pairs, while "
    "SFT-Sharpening needs as many responses per prompt as the coverage coefficient, exponential in d. XPO grows as slowly as "
    "RLHF-Sharpening; most of its cost is choosing among its iterates."
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
    ax.set_title("RLHF-Sharpening escapes coverage (Example J.1)")


@figure(
    "Best-of-N at inference time finds the most likely sequence with probability tending to one; the best policy of the class, "
    "trained on infinitely many best-of-N responses, cannot put more than one half on it (Proposition E.2)."
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
    ax.set_title("Sharpening needs a class that can be sharp")


@figure(
    "Left: regularised value of policies trained for best-of-N (rows) used with best-of-N (columns), relative to the best of the "
    "column: the diagonal wins. Right: over easy and hard prompts more samples want a hotter policy; on one prompt they do not."
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
    left.set_title("Train for the N you use")
    for name, color in (("many prompts", BLUE), ("one prompt", ORANGE)):
        rows = table[table["panel"] == f"T*, {name}"]
        right.plot(rows["n"], rows["value"], color=color, marker="o", label=name)
    right.set_xscale("log", base=2)
    right.set(xlabel="N", ylabel="temperature that maximises pass@N")
    right.set_title("Temperature and N")
    right.legend()


@figure(
    "Rounds of curation follow π^(1+t) with the fixed self-reward and π^(2^t) with the live one (lines: predicted; points: "
    "iterated). Finite choice sharpens more slowly, and real data in the mixture stops it at a fixed point."
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
    ax.set_title("Iterated sharpening")


@figure(
    "The reward likes one rare, bad response best. Best-of-N finds it as N grows and loses what it had gained; χ²-pessimism, "
    "by rejection from the same N draws, settles at a level that its β decides: more samples do not hurt it."
)
def reward_error(table: pd.DataFrame, ax: Axes) -> None:
    for (method, rows), color in zip(table.groupby("method", sort=False), (ORANGE, BLUE, GREEN, PINK)):
        ax.plot(rows["n"], rows["true_reward"], color=color, label=method)
    ax.set_xscale("log")
    ax.set_xlabel("N, responses drawn")
    ax.set_ylabel("expected true reward")
    ax.legend(loc="lower left")
    ax.set_title("More samples against a wrong reward")


@figure(
    "Accuracy of the shipped models under every way to decode, against the forward tokens a prompt costs (50 test prompts; bars: "
    "95 % intervals over prompts). Dotted: what the tilted laws would give, estimated from the pool of 64 samples."
)
def decoding(table: pd.DataFrame, left: Axes, right: Axes) -> None:
    for ax, (model, rows) in zip((left, right), table.groupby("model", sort=False)):
        plotting.compare(rows, ax, "accuracy")
        ax.set_title(f"{model}: accuracy at equal cost")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


@figure(
    "SFT-Sharpening of the shipped model, measured on held-out prompts at temperature 1. Left: how far one sample has come "
    "from the base model's accuracy (0 %) to that of its best-of-50 (100 %), a line per seed; dotted, a third. Middle: with "
    "fewer prompts, accuracy against the N behind each training response; N = 1 trains on plain samples. Right: other rewards "
    "and methods on the same prompts; correctness is the control with a verifiable reward. Intervals over prompts."
)
def sharpening(table: pd.DataFrame, left: Axes, middle: Axes, right: Axes) -> None:
    table = table.assign(seed_cell=table["cell"].str.startswith("seed-"), n_cell=table["cell"].str.match("N-"))
    for (_, rows), color in zip(table[table["seed_cell"]].groupby("seed"), (BLUE, ORANGE, GREEN)):
        scale = rows["base_best_of_n_accuracy"] - rows["base_sampled_accuracy"]
        sides = [(rows[f"accuracy_{side}"] - rows["base_sampled_accuracy"]) / scale for side in ("low", "high")]
        left.plot(rows["epoch"], rows["gap_closed"], "o-", color=color, label=f"seed {rows['seed'].iloc[0]}")
        left.fill_between(rows["epoch"], *sides, color=color, alpha=0.12, lw=0)
    left.axhline(1, color=GREY, ls="--", label="best of N, untrained")
    left.axhline(1 / 3, color=GREY, ls=":")
    left.yaxis.set_major_formatter(PercentFormatter(1.0))
    left.set(xlabel="epoch", ylabel="gap to best-of-N closed", ylim=(-0.3, 1.6))
    left.set_title("Training takes over what inference gained")
    left.legend()
    final = table[table["epoch"] == table.groupby("cell")["epoch"].transform("max")]
    rows = final[final["n_cell"]].sort_values("responses")
    middle.errorbar(
        rows["responses"], rows["accuracy"], yerr=_errors(rows), fmt="o-", color=BLUE, label="after SFT on best-of-N"
    )
    cells = final[~final["seed_cell"] & (~final["n_cell"] | (final["responses"] == rows["responses"].max()))]
    names = [
        {"dpo": f"DPO, β = {row.beta:g}", "sft": row.reward.replace("_", " ")}.get(row.method, row.method)
        for row in cells.itertuples()
    ]
    right.errorbar(cells["accuracy"], range(len(cells)), xerr=_errors(cells), fmt="o", color=BLUE)
    right.set_yticks(range(len(cells)), names)
    for ax, line in ((middle, "axhline"), (right, "axvline")):
        for column, style, label in (("sampled", ":", "base, one sample"), ("best_of_n", "--", "base, best of N")):
            getattr(ax, line)(cells[f"base_{column}_accuracy"].iloc[0], color=GREY, ls=style, label=label)
        (ax.yaxis if ax is middle else ax.xaxis).set_major_formatter(PercentFormatter(1.0))
    middle.set_xscale("log")
    middle.set_xticks(rows["responses"], [f"{n:g}" for n in rows["responses"]])
    middle.minorticks_off()
    middle.set(xlabel="N, responses per training prompt", ylabel="accuracy, one sample")
    middle.set_title("The N behind each training response")
    middle.legend()
    right.set_xlabel("accuracy, one sample")
    right.set_title("Rewards and methods")


def _errors(rows: pd.DataFrame) -> list[pd.Series]:
    return [
        (rows["accuracy"] - rows["accuracy_low"]).clip(lower=0),
        (rows["accuracy_high"] - rows["accuracy"]).clip(lower=0),
    ]


#: From what sharpening costs, over when it fails, to what it does to a model.
ORDER = ("minimax", "coverage_error", "adaptive", "margin", "separation", "realizability", "bon_aware", "iterated", "reward_error",
         "decoding", "sharpening")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"default all: {', '.join(DRAW)}")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=FIGURES)
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    for name in arguments.names or DRAW:
        draw, caption = DRAW[name]
        n_panels = draw.__code__.co_argcount - 1
        with plt.style.context(plotting.STYLE):
            fig, axes = plt.subplots(1, n_panels, figsize=(6.4 + 2.6 * (name == "minimax") + 3.4 * (n_panels - 1), 4.0))
            draw(pd.read_parquet(arguments.results / f"{name}.parquet"), *np.atleast_1d(axes))
            fig.savefig(arguments.out / f"{name}.png")
            plt.close(fig)
        (arguments.out / f"{name}.md").write_text(caption + "\n")
        print(arguments.out / f"{name}.png")
    (arguments.out / "README.md").write_text(gallery(arguments.out))


def gallery(folder: Path) -> str:
    """The figures that a folder holds, in reading order, with captions and what redraws and recomputes each."""
    parts = [
        "# Figures\n\nWritten by `make figures`, which redraws them all from `experiments/results/` in seconds; each experiment "
        "recomputes its own data.\n"
    ]
    for name in ORDER:
        if (folder / f"{name}.png").is_file():
            parts.append(
                f"## {name.replace('_', ' ')}\n\n![{name}]({name}.png)\n\n{DRAW[name][1]}\n\n"
                f"`python -m experiments.{name}` writes "
                f"[the data](../experiments/results/{name}.parquet) with [its provenance](../experiments/results/{name}.json).\n"
            )
    return "\n".join(parts)


if __name__ == "__main__":
    main()
