"""One plot per function: takes numbers and an axis, returns the axis. Theory is a line, measurement points or bands."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator, PercentFormatter

from sharptheory.measure.certificate import HitRates
from sharptheory.measure.self_consistency import PluralityRates
from sharptheory.report.findings.words import by, count, nats
from sharptheory.report.schema import FEWEST_PROMPTS, Accuracy, BestOfN, Interval, RewardAccuracy, Summary
from sharptheory.runs import write

STYLE = Path(__file__).with_name("sharptheory.mplstyle")
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY = "#666666"


#: Most ticks of an axis of N whose labels do not touch at column width.
N_TICKS = 11


def log_n_axis(ax: Axes, largest: float) -> None:
    """Puts N on a logarithmic axis from 1 to `largest`, ticks at powers of two, evenly left out where there are many."""
    powers = int(np.log2(max(largest, 1))) + 1
    ticks = 2 ** np.arange(0, powers, -(-powers // N_TICKS))
    ax.set_xscale("log", base=2)
    ax.set_xticks(ticks, [f"{n:,}" for n in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(0.93, largest * 1.08)
    ax.set_xlabel("N, responses per prompt")


def _label_last(ax: Axes, largest: int) -> None:
    """Labels the last N, in place of powers of two whose labels it would touch."""
    ticks = [*(int(tick) for tick in ax.get_xticks() if tick <= largest / 1.4), largest]
    ax.set_xticks(ticks, [f"{n:,}" for n in ticks])


def _tokens_axis(ax: Axes) -> None:
    """Puts forward tokens on a logarithmic axis, ticks at 1, 2 and 5 times powers of ten, few enough to be read."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,), numticks=12))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: f"{tokens:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("forward tokens per prompt")


def _legend_below(ax: Axes, *, ncols: int = 2, bands: str | None = None, few: bool = False) -> None:
    """The legend under the axis, where it hides no curve; its title says what the bands are, or why there are none."""
    title = f"no bands: fewer than {FEWEST_PROMPTS} prompts" if few else bands
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=ncols, title=title, title_fontsize="small")


def _curve(ax: Axes, n: Sequence[int], values: Sequence[float], *, color: str, label: str, ls: str = "-") -> None:
    ax.plot(n, values, color=color, ls=ls, label=label, marker="o" if len(n) == 1 else None)


def _band(ax: Axes, n: Sequence[int], values: Sequence[float], intervals: Sequence[Interval], *, color: str) -> None:
    """Intervals as a band around values: theirs, or those of their differences from a line that is drawn too.

    The band of a difference misses that line where the difference is not 0. None is drawn of `FEWEST_PROMPTS` or fewer.
    """
    if not any(interval.few for interval in intervals):
        low, high = np.array([(e.low - e.value, e.high - e.value) for e in intervals], dtype=float).T
        ax.fill_between(n, values + low, values + high, color=color, alpha=0.18, lw=0)


def _values(curve: Sequence[Accuracy | BestOfN | RewardAccuracy]) -> tuple[np.ndarray, np.ndarray]:
    """N and accuracy of each point."""
    n, values = zip(*((point.n, point.accuracy.value) for point in curve))
    return np.array(n), np.array(values)


def _accuracy_axis(ax: Axes, largest: int) -> None:
    log_n_axis(ax, largest)
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_ylabel("accuracy")


def accuracy_curve(summary: Summary, ax: Axes) -> Axes:
    """Accuracy against N: best-of-N by likelihood and its forecast beyond the pool, any-of-N, one sample, greedy.

    The band of best-of-N is that of its difference from one sample; beside a forecast, of which only the accuracy itself has
    an interval, both bands are those of the accuracy.
    """
    n, accuracy = _values(summary.best_of_n)
    _curve(ax, *_values(summary.pass_at_n), color=GREEN, label="any of N correct (pass@N)")
    if summary.reward is not None:
        _curve(ax, n, accuracy, color=BLUE, label=f"best of N by {by(summary)}")
    own = [point.accuracy if summary.forecast else point.over_sampling for point in summary.best_of_n]
    _band(ax, n, accuracy, own, color=BLUE)
    if summary.greedy is not None and summary.greedy.accuracy is not None:
        ax.axhline(summary.greedy.accuracy.value, color=ORANGE, ls="--", label="greedy decoding")
    ax.axhline(summary.sampling.accuracy.value, color=GREY, ls=":", label="one sample, temperature 1")
    if summary.forecast:
        further, predicted = _values(summary.forecast)
        _curve(ax, further, predicted, color=PINK, ls="--", label="predicted beyond the pool, 95 %")
        _band(ax, further, predicted, [point.accuracy for point in summary.forecast], color=PINK)
    _accuracy_axis(ax, max(point.n for point in summary.forecast or summary.pass_at_n))
    bands = "band of best of N: 95 %, of its difference from one sample, on the same prompts"
    if summary.forecast:
        bands = "bands: 95 %, of the accuracy itself; of its difference from one sample see the text"
    _legend_below(ax, bands=bands if summary.reward else None, few=summary.best_of_n[0].accuracy.few)
    return ax


def reward_curves(summary: Summary, ax: Axes) -> Axes:
    """Accuracy against N of best-of-N by each self-reward and of the votes over answers; any-correct is the skyline.

    Bands are those of the differences from the report's reward.
    """
    colors = itertools.cycle(plt.rcParams["axes.prop_cycle"].by_key()["color"])
    for reward, color in zip(summary.rewards, colors):
        # Rewards often agree: a line of dashes lets the one below be seen.
        style = "-" if reward.name == summary.reward else "--"
        n, accuracy = _values(reward.curve)
        _curve(ax, n, accuracy, color=color, label=reward.name.replace("_", " "), ls=style)
        if reward.over_reward is not None:
            _band(ax, n, accuracy, [point.over_reward for point in reward.curve], color=color)
    n, skyline = _values(summary.pass_at_n)
    ax.plot(n, skyline, color=GREY, ls=":", label="any correct (skyline)")
    _accuracy_axis(ax, n[-1])
    bands = f"bands: 95 % for all together, of the difference from {by(summary, 'log likelihood')}, on the same prompts"
    bands = bands if summary.reward else None
    _legend_below(ax, ncols=3, bands=bands, few=summary.pass_at_n[0].accuracy.few)
    return ax


def log_likelihood_curve(summary: Summary, ax: Axes) -> Axes:
    """Mean log-likelihood of the best-of-N response against N."""
    n, estimates = zip(*((point.n, point.log_likelihood) for point in summary.best_of_n))
    values = np.array([estimate.value for estimate in estimates])
    _curve(ax, n, values, color=BLUE, label=f"best of N by {by(summary)}")
    _band(ax, n, values, estimates, color=BLUE)
    if summary.greedy is not None:
        ax.axhline(summary.greedy.log_likelihood.value, color=ORANGE, ls="--", label="greedy decoding")
    log_n_axis(ax, n[-1])
    unit = nats(summary).strip()
    ax.set_ylabel(f"mean log-likelihood [{unit}]" if unit else "mean log_likelihood")
    bands = "band: 95 % over prompts; of the difference from greedy decoding see the text"
    _legend_below(ax, bands=bands if summary.greedy else "band: 95 % over prompts", few=estimates[0].few)
    return ax


def likelihood_histogram(
    log_likelihood: np.ndarray, correct: np.ndarray | None, ax: Axes, *, label: str, unit: str = "nats"
) -> Axes:
    """Density of log-likelihoods, separately for correct and incorrect responses where correctness is known.

    The lowest 1 % of the likelihoods is collected in the first bin: a few hopeless responses would stretch the axis.
    """
    low = np.quantile(log_likelihood, 0.01)
    shown = np.maximum(log_likelihood, low)
    bins = np.linspace(low, max(shown.max(), low + 1e-6 * max(-low, 1e-3)), 41)
    if correct is None:
        ax.hist(shown, bins=bins, density=True, color=BLUE, alpha=0.7, label=f"all responses ({len(shown):,})")
    else:
        for kind, color, name in ((correct, BLUE, "correct"), (~correct, ORANGE, "incorrect")):
            if kind.any():
                name = f"{name} ({kind.sum():,})"
                ax.hist(shown[kind], bins=bins, density=True, color=color, alpha=0.5, label=name)
                ax.axvline(np.median(shown[kind]), color=color, ls="--", lw=1.2)
    ax.set_xlabel(f"{label}\n(dashed: medians; leftmost bar: the lowest 1 %)")
    ax.set_ylabel(f"density [1/{unit.removesuffix('s')}]" if unit else "density")
    ax.legend(loc="upper left")
    return ax


def alignment_levels(levels: dict[str, Interval], ax: Axes) -> Axes:
    """Concordance of log-likelihood with correctness by what is compared; the one that sharpening uses stands out."""
    shown = {name: level for name, level in levels.items() if level.value is not None}
    for y, (name, level) in enumerate(reversed(shown.items())):
        color = ORANGE if name == "within a prompt" else BLUE
        if not level.few:
            ax.plot([level.low, level.high], [y, y], color=color, lw=2.5, alpha=0.5, solid_capstyle="butt")
        ax.plot(level.value, y, "o", color=color)
    ax.axvline(0.5, color=GREY, ls=":", label="knows nothing")
    ax.set_yticks(range(len(shown)), [f"across {name}" if "within" not in name else name for name in reversed(shown)])
    ax.set_ylim(-0.6, len(shown) - 0.4)
    ax.set_xlim(0, 1.02)
    ax.set_xlabel(
        f"probability that the more accurate is the likelier\n(bars: 95 % intervals, of {FEWEST_PROMPTS} prompts or more)"
    )
    ax.legend(loc="lower left")
    return ax


def coverage_profile(certificate: pd.DataFrame, ax: Axes, *, n_samples: int) -> Axes:
    """Coverage profile ``t ↦ P_x[1/p*(x) > t]``: the band between the two sides of the certificate."""
    sides = {"lower bound, 1/max(p̂, 1-S)": "log_p_high", "upper bound, 1/p̂": "log_p_low"}
    # Powers of ten, not numbers: 1/p* overflows for long responses. Prompts with no finished response have no t.
    decades = {name: -certificate[column].to_numpy(dtype=float) / np.log(10) for name, column in sides.items()}
    right = max(0.3, np.log10(n_samples), *(t[np.isfinite(t)].max(initial=0) for t in decades.values())) * 1.05
    for (name, t), color in zip(decades.items(), (GREEN, BLUE)):
        finite = np.sort(t[np.isfinite(t)])
        above = 1 - np.arange(len(finite) + 1) / len(t)
        ax.step([0, *finite, right], [*above, above[-1]], where="post", color=color, label=name)
    ax.axvline(np.log10(n_samples), color=GREY, ls=":", label=f"samples per prompt, {n_samples}")
    if right < 3.5:
        ticks = [t for k in range(4) for t in (10**k, 2 * 10**k, 5 * 10**k) if np.log10(t) <= right]
        ax.set_xticks(np.log10(ticks), [f"{t:,}" for t in ticks])
    else:
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"$10^{{{k:g}}}$"))
    ax.set_xlim(0, right)
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_xlabel("t, inverse probability of the likeliest response")
    ax.set_ylabel("prompts with 1/p* > t")
    ax.legend(loc="best")
    return ax


def hit_rates(rates: HitRates, ax: Axes) -> Axes:
    """Exact law of hitting the certified argmax against the rate measured on samples held out from the certificate."""
    n = np.geomspace(1, max(rates.n.max(), 2), 200)
    ax.plot(n, rates.law(n), color=BLUE, label="theory: $E_x[1-(1-p^*)^N]$")
    errors = np.abs(np.stack([rates.measured.low, rates.measured.high]) - rates.measured.value)
    ax.errorbar(rates.n, rates.measured.value, yerr=errors, color=ORANGE, fmt="o", label="measured on held-out samples")
    log_n_axis(ax, rates.n.max())
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_ylabel("best-of-N is the argmax")
    ax.legend(loc="best")
    return ax


def plurality_rates(rates: PluralityRates, ax: Axes) -> Axes:
    """Law of the plurality of N votes against the rate at which the majority of held-out samples is the likeliest answer."""
    errors = np.abs(np.stack([rates.measured.low, rates.measured.high]) - rates.measured.value)
    few = rates.measured.n_prompts < FEWEST_PROMPTS
    title = f"{'no bars: only ' if few else ''}{count(rates.measured.n_prompts, 'prompt')}"
    marker = "o" if len(rates.n) == 1 else None
    ax.plot(rates.n, rates.predicted, color=BLUE, marker=marker, label=f"theory: law of the plurality, by {rates.by}")
    bars = {} if few else {"yerr": errors}
    ax.errorbar(rates.n, rates.measured.value, **bars, color=ORANGE, fmt="o", label="measured on held-out samples")
    ax.axhline(1.0, color=GREY, ls=":", label="limit of ever more votes")
    log_n_axis(ax, rates.n.max())
    _label_last(ax, int(rates.n.max()))
    ax.set_ylim(0, 1.05)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_ylabel("majority is the likeliest answer")
    ax.legend(loc="lower right", title=title, title_fontsize="small")
    return ax


def sample_complexity(table: pd.DataFrame, ax: Axes) -> Axes:
    """Queries against ε on one family: exact curves as solid lines, bounds dashed, rates dotted: only their slope means."""
    styles = {"exact": "-", "bound": "--", "rate": ":"}
    colors = {"minimax": BLUE, "SFT": ORANGE, "adaptive": GREEN, "lower": GREY}
    for curve, rows in table.groupby("curve", sort=False):
        kind, rows = rows["kind"].iloc[0], rows.sort_values("eps")
        color = PINK if "D.2" in curve else next(c for start, c in colors.items() if curve.startswith(start))
        rate = f"rate of {curve.removeprefix('lower bound, ')}, height arbitrary"
        label = {"exact": curve, "bound": f"{curve} (bound)", "rate": rate}[kind]
        point = {"marker": "o", "mfc": "white" if kind == "bound" else None} if len(rows) == 1 else {}
        ax.plot(rows["eps"], rows["queries"], styles[kind], color=color, label=label, **point)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.invert_xaxis()
    ax.set_xlabel("ε, fraction of prompts left unsharpened\n(harder to the right)")
    ax.set_ylabel("queries m")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return ax


def compare(summary: pd.DataFrame, ax: Axes, column: str) -> Axes:
    """Accuracy or log-likelihood of every decoding method against the forward tokens it spends per prompt.

    Bars are those of the differences from greedy decoding, a dashed line: one that misses the line is a difference. Of a
    table without these differences, as written before there were any, they are those of the means.
    """
    markers = {"greedy": "*", "sampling": "o", "beam search": "s", "argmax search": "D", "majority vote": "^"}
    known = summary[summary[column].notna()]
    without_cost = known[known["forward_tokens"].isna()]
    for _, row in without_cost.iterrows():
        ax.axhline(row[column], color=GREY, ls=":", lw=1)
        label = row["setting"].split(",")[0]
        ax.annotate(f"tilted law, {label}", (1.0, row[column]), xycoords=("axes fraction", "data"), fontsize=7, color=GREY,
                    ha="right", va="bottom", bbox={"fc": "white", "ec": "none", "alpha": 0.7, "pad": 0.5})  # fmt: skip
    known = known[known["forward_tokens"].notna()]
    colors = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    for i, method in enumerate(dict.fromkeys(summary.loc[summary["forward_tokens"].notna(), "method"])):
        rows = known[known["method"] == method].sort_values("forward_tokens")
        power = "power" in method
        # Length normalization often selects what log-likelihood does: dashes let the line below be seen.
        dashed = power or "normalized" in method
        color = colors[i % len(colors)]
        ax.plot(
            rows["forward_tokens"], rows[column].astype(float), label=_method_label(method, rows), color=color, ms=5, lw=1.5,
            ls="--" if dashed else "-", marker=markers.get(method, "v" if power else "o"),
            mfc="white" if i >= len(colors) else None,
        )  # fmt: skip
        bars = dict(fmt="none", ecolor=color, elinewidth=0.8, capsize=0, alpha=0.3)
        ax.errorbar(rows["forward_tokens"], rows[column].astype(float), yerr=_bars(rows, column), **bars)
    for value in known.loc[known["method"] == "greedy", column]:
        ax.axhline(value, color=GREY, ls="--", lw=0.8, zorder=0)
    _tokens_axis(ax)
    if len(without_cost):  # room on the right for the names of lines, where no curve runs
        low, high = ax.get_xlim()
        ax.set_xlim(low, high * (high / low) ** 0.25)
    _at_least(ax, 0.1)
    if column == "accuracy":
        low, high = ax.get_ylim()
        ax.set_ylim(max(low, -0.02), min(high, 1.02))
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_ylabel("accuracy" if column == "accuracy" else "mean log-likelihood [nats]")
    return ax


def _bars(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Lengths of the bars ``[2, …]``; none of fewer than `FEWEST_PROMPTS`."""
    over = f"{column}_over_greedy" if f"{column}_over_greedy" in rows else column
    errors = np.abs(np.stack([rows[f"{over}_{side}"] - rows[over] for side in ("low", "high")]).astype(float))
    return np.where(rows["n_prompts"] < FEWEST_PROMPTS, np.nan, errors)


def _method_label(method: str, rows: pd.DataFrame) -> str:
    """The method, and of a search on how many prompts only it was certified."""
    certified = rows["n_certified"].dropna() if "n_certified" in rows else ()
    if not len(certified) or (n_prompts := rows["n_prompts"].iloc[0]) <= certified.iloc[0]:
        return method
    return f"{method} (certified on {certified.iloc[0]} of {n_prompts})"


def _at_least(ax: Axes, span: float) -> None:
    """Widens a range of y in which nothing but rounding would be seen."""
    low, high = ax.get_ylim()
    if high - low < span:
        ax.set_ylim((low + high - span) / 2, (low + high + span) / 2)


BARS = "bars: 95 % for all together, of the difference from it on the same prompts"
NO_BARS = f"no bars: fewer than {FEWEST_PROMPTS} prompts"


def save_compare(summary: pd.DataFrame, path: Path, title: str) -> Path:
    """Both panels of `compare`, or the likelihood's alone where nothing is graded, with one legend."""
    columns = [column for column in ("accuracy", "log_likelihood") if summary[column].notna().any()]
    few = summary["n_prompts"].max() < FEWEST_PROMPTS
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, len(columns), figsize=(5.2 * len(columns), 4.4), squeeze=False)
        for ax, column in zip(axes[0], columns):
            compare(summary, ax, column)
        axes[0, 0].set_title(title)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=3, fontsize=8, title_fontsize=8,
            title=f"dashed line: greedy decoding; {NO_BARS if few else BARS}",
        )  # fmt: skip
        write(path, lambda at: figure.savefig(at, format="png", bbox_inches="tight"))
        plt.close(figure)
    return path


def save(draw: Callable[[Axes], Axes], path: Path, title: str) -> Path:
    """Draw one figure with ``draw(ax)`` in the house style and save it as PNG."""
    with plt.style.context(STYLE):
        figure, ax = plt.subplots()
        draw(ax)
        ax.set_title(title)
        write(path, lambda at: figure.savefig(at, format="png"))
        plt.close(figure)
    return path
