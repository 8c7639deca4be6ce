"""Every figure shows the numbers it is given: lines, bands and points are read back from the axes."""

import dataclasses

import matplotlib.colors
import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from sharptheory.measure.bootstrap import Estimate
from sharptheory.measure.certificate import HitRates
from sharptheory.report import plots
from sharptheory.report.schema import Interval, Prediction
from sharptheory.report.summary import diagnose
from tests.report.pools import hand_pool, table_pool


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.fixture(scope="module")
def summary():
    return diagnose(table_pool(aligned=0.8, n_prompts=24, m=16)).summary


def line(ax, label: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = [each for each in ax.get_lines() if each.get_label() == label]
    return np.asarray(found.get_xdata(), dtype=float), np.asarray(found.get_ydata(), dtype=float)


def bands(ax) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """``(n, low, high)`` of each filled band."""
    found = []
    for band in ax.collections:
        x, y = band.get_paths()[0].vertices.T
        n = np.unique(x)
        found.append((n, *(np.array([pick(y[x == each]) for each in n]) for pick in (np.min, np.max))))
    return found


def assert_shows(ax, label: str, n, estimates: list[Interval], over: list[Interval] | None = None) -> None:
    """A line of estimates, and a band of their intervals; of those of their differences from another line, if given."""
    x, y = line(ax, label)
    assert x.tolist() == list(n) and y == pytest.approx([each.value for each in estimates])
    from_ = [0.0] * len(y) if over is None else y - [each.value for each in over]
    low, high = (from_ + np.array([getattr(each, end) for each in over or estimates]) for end in ("low", "high"))
    close = lambda one, other: one.shape == (len(other),) and np.allclose(one, other)  # noqa: E731
    assert any(close(band[1], low) and close(band[2], high) for band in bands(ax)), label


def test_accuracy_curve(ax, summary):
    plots.accuracy_curve(summary, ax)
    n = [point.n for point in summary.best_of_n]
    over = [point.over_sampling for point in summary.best_of_n]
    assert_shows(ax, "best of N by log-likelihood", n, [point.accuracy for point in summary.best_of_n], over)
    assert line(ax, "any of N correct (pass@N)")[1].tolist() == [point.accuracy.value for point in summary.pass_at_n]
    assert len(bands(ax)) == 1
    (_, low, high), (one,) = bands(ax)[0], set(line(ax, "one sample, temperature 1")[1])
    assert low[0] == high[0] == pytest.approx(one), "at N = 1 there is no difference"
    assert (low[-1] > one) == (summary.gain_over_sampling.accuracy.low > 0), "the band misses the line where it is one"
    assert set(line(ax, "one sample, temperature 1")[1]) == {summary.sampling.accuracy.value}
    assert not any(each.get_label() == "greedy decoding" for each in ax.get_lines())


def test_accuracy_curve_with_greedy(ax):
    plots.accuracy_curve(diagnose(hand_pool()).summary, ax)
    assert set(line(ax, "greedy decoding")[1]) == {0.25} and set(line(ax, "one sample, temperature 1")[1]) == {7 / 16}
    assert line(ax, "best of N by log-likelihood")[1] == pytest.approx([7 / 16, 7 / 8])


@pytest.mark.parametrize("agrees", [True, False])
def test_only_a_trusted_prediction_is_plotted(ax, summary, agrees):
    checks = tuple(dataclasses.replace(check, agrees=agrees) for check in summary.prediction.checks)
    plots.accuracy_curve(dataclasses.replace(summary, prediction=Prediction(summary.prediction.curve, checks)), ax)
    if agrees:
        points = summary.prediction.curve
        assert_shows(ax, "predicted beyond the pool, 95 %", [16, 32, 64, 128], [point.accuracy for point in points])
    else:
        assert "predicted beyond the pool, 95 %" not in [each.get_label() for each in ax.get_lines()]
    assert (ax.get_xlim()[1] > 100) == agrees


@pytest.mark.parametrize(
    ("largest", "labels"),
    [
        (1, ["1"]),
        (48, ["1", "2", "4", "8", "16", "32"]),
        (64, ["1", "2", "4", "8", "16", "32", "64"]),
        (1_024, ["1", "2", "4", "8", "16", "32", "64", "128", "256", "512", "1,024"]),
        (2_048, ["1", "4", "16", "64", "256", "1,024"]),
    ],
)
def test_n_has_ticks_at_powers_of_two(ax, largest, labels):
    plots.log_n_axis(ax, largest)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == labels
    assert ax.get_xticks().tolist() == [int(label.replace(",", "")) for label in labels]
    assert len(ax.get_xticks(minor=True)) == 0 and ax.get_xlim() == pytest.approx((0.93, 1.08 * largest))


def test_the_legend_hides_no_curve(summary):
    with plt.style.context(plots.STYLE):
        figure, axes = plt.subplots(3)
        for draw, ax in zip((plots.accuracy_curve, plots.reward_curves, plots.log_likelihood_curve), axes):
            draw(summary, ax)
        figure.draw_without_rendering()
        for ax in axes:
            assert ax.get_legend().get_window_extent().y1 < ax.get_window_extent().y0
        plt.close(figure)


def test_reward_curves(ax):
    summary = diagnose(hand_pool(n_prompts=24, likely_right=21)).summary
    plots.reward_curves(summary, ax)
    _, normalized = summary.rewards
    over = [point.over_reward for point in normalized.curve]
    assert_shows(ax, "length normalized", [1, 2], [point.accuracy for point in normalized.curve], over)
    assert line(ax, "log likelihood")[1] == pytest.approx([7 / 16, 7 / 8]) and len(bands(ax)) == 1
    assert line(ax, "any correct (skyline)")[1] == pytest.approx([7 / 16, 7 / 8])
    assert len(ax.get_lines()) == 3


def test_few_prompts_have_no_bands(ax):
    """Nor bars, and the legend says why."""
    for n_prompts, shown in ((19, 0), (20, 1)):
        summary = diagnose(hand_pool(n_prompts=n_prompts)).summary
        for draw, title in (
            (plots.accuracy_curve, "band of best of N: 95 %, of its difference from one sample, on the same prompts"),
            (
                plots.reward_curves,
                "bands: 95 % for all together, of the difference from log likelihood, on the same prompts",
            ),
            (
                plots.log_likelihood_curve,
                "band: 95 % over prompts; of the difference from greedy decoding see the text",
            ),
        ):
            ax.clear()
            draw(summary, ax)
            assert len(bands(ax)) == shown
            assert ax.get_legend().get_title().get_text() == (title if shown else "no bands: fewer than 20 prompts")
        ax.clear()
        levels = {"prompts": Interval(0.9, 0.8, 0.95, n_prompts)}
        assert len(plots.alignment_levels(levels, ax).get_lines()) == 2 + shown
    ax.clear()
    plots.log_likelihood_curve(dataclasses.replace(summary, greedy=None), ax)
    assert ax.get_legend().get_title().get_text() == "band: 95 % over prompts"


def test_log_likelihood_curve(ax):
    summary = diagnose(hand_pool()).summary
    plots.log_likelihood_curve(summary, ax)
    assert line(ax, "best of N by log-likelihood")[1] == pytest.approx([np.log(0.03) / 2, np.log(0.3)])
    assert line(ax, "greedy decoding")[1] == pytest.approx(np.log([0.1, 0.1]))


def test_alignment_levels(ax):
    levels = {
        "prompts": Interval(0.9, 0.8, 0.95, 20),
        "N of best-of-N": Interval(None, None, None, 0),
        "within a prompt": Interval(0.6, 0.5, 0.7, 20),
    }
    plots.alignment_levels(levels, ax)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["within a prompt", "across prompts"]
    shown = [(each.get_xdata(), each.get_ydata()) for each in ax.get_lines()[:4]]
    assert [list(np.atleast_1d(x)) for x, _ in shown] == [[0.5, 0.7], [0.6], [0.8, 0.95], [0.9]]
    assert [set(np.atleast_1d(y)) for _, y in shown] == [{0}, {0}, {1}, {1}]
    assert [each.get_color() for each in ax.get_lines()[:4]] == [plots.ORANGE, plots.ORANGE, plots.BLUE, plots.BLUE]


def test_coverage_profile(ax):
    """One prompt with ``p* ∈ [.1, .5]``, one certified at .25: the lower bound steps at 2 and 4, the upper at 4 and 10."""
    certificate = pd.DataFrame({"log_p_low": np.log([0.1, 0.25]), "log_p_high": np.log([0.5, 0.25])})
    plots.coverage_profile(certificate, ax, n_samples=16)
    for label, steps in (("lower bound, 1/max(p̂, 1-S)", (2, 4)), ("upper bound, 1/p̂", (4, 10))):
        x, y = line(ax, label)
        assert x[1:3] == pytest.approx(np.log10(steps)) and y.tolist() == [1.0, 0.5, 0.0, 0.0]
    assert line(ax, "samples per prompt, 16")[0] == pytest.approx(np.log10([16, 16]))


def test_coverage_profile_of_prompts_without_a_bound(ax):
    """A prompt with no finished response never comes down."""
    certificate = pd.DataFrame({"log_p_low": [-np.inf, np.log(0.5)], "log_p_high": [0.0, np.log(0.5)]})
    plots.coverage_profile(certificate, ax, n_samples=4)
    assert line(ax, "upper bound, 1/p̂")[1].tolist() == [1.0, 0.5, 0.5]


def test_hit_rates(ax):
    rates = HitRates(
        n=np.array([1, 2, 4]),
        mass=np.array([0.5, 0.25]),
        measured=Estimate(np.array([0.4, 0.6, 0.8]), np.array([0.3, 0.5, 0.7]), np.array([0.45, 0.7, 1.0]), 2),
        n_samples=8,
        hits=4,
        expected=3.0,
        p_value=1.0,
    )
    plots.hit_rates(rates, ax)
    n, law = line(ax, "theory: $E_x[1-(1-p^*)^N]$")
    assert law == pytest.approx((1 - 0.5**n + 1 - 0.75**n) / 2)
    points, _, (bars,) = ax.containers[0]
    assert points.get_xydata().tolist() == [[1, 0.4], [2, 0.6], [4, 0.8]]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [pytest.approx([0.3, 0.45]), pytest.approx([0.5, 0.7]), pytest.approx([0.7, 1.0])]


def test_likelihood_histogram(ax):
    values = np.concatenate([np.linspace(-3, -2, 300), np.linspace(-6, -4, 100)])
    correct = np.arange(400) < 300
    plots.likelihood_histogram(values, correct, ax, label="log-likelihood [nats]")
    assert ax.get_legend_handles_labels()[1] == ["correct (300)", "incorrect (100)"]
    for bars, (low, high) in zip(ax.containers, ((-3, -2), (-6, -4))):
        filled = [bar for bar in bars if bar.get_height() > 0]
        assert sum(bar.get_width() * bar.get_height() for bar in bars) == pytest.approx(1.0)
        assert min(bar.get_x() for bar in filled) >= low - 0.2 and max(bar.get_x() for bar in filled) <= high
    assert [each.get_xdata()[0] for each in ax.get_lines()] == pytest.approx([-2.5, -5.0], abs=0.02)


def test_sample_complexity(ax):
    table = pd.DataFrame({
        "curve": ["minimax"] * 2 + ["SFT, Theorem 4.1′"] * 2, "kind": ["exact"] * 2 + ["bound"] * 2,
        "eps": [0.1, 0.01] * 2, "queries": [10.0, 100.0, 50.0, 500.0],
    })  # fmt: skip
    plots.sample_complexity(table, ax)
    assert line(ax, "minimax")[1].tolist() == [100.0, 10.0]
    assert line(ax, "SFT, Theorem 4.1′ (bound)")[1].tolist() == [500.0, 50.0]
    assert ax.xaxis_inverted()


def test_compare(ax):
    table = pd.DataFrame({
        "method": ["sampling", "greedy"], "setting": ["N = 1", ""], "forward_tokens": [10.0, 5.0], "n_prompts": 20,
        "accuracy": [0.4, 0.6], "accuracy_over_greedy": [-0.2, np.nan], "accuracy_over_greedy_low": [-0.3, np.nan],
        "accuracy_over_greedy_high": [-0.15, np.nan],
    })  # fmt: skip
    plots.compare(table, ax, "accuracy")
    assert [each.tolist() for each in line(ax, "greedy")] == [[5.0], [0.6]]
    assert ax.get_xscale() == "log" and ax.xaxis.get_major_formatter()(2_000, None) == "2,000"
    bars = [segment for container in ax.containers for segment in container[2][0].get_segments() if len(segment)]
    assert [bar[:, 1].tolist() for bar in bars] == [pytest.approx([0.3, 0.45])]
    ax.clear()
    plots.compare(table.assign(n_prompts=19), ax, "accuracy")
    assert not any(len(segment) for container in ax.containers for segment in container[2][0].get_segments())
    ax.clear()
    earlier = table.drop(columns=[name for name in table if "over_greedy" in name])
    plots.compare(earlier.assign(accuracy_low=[0.3, 0.5], accuracy_high=[0.45, 0.8]), ax, "accuracy")
    bars = [container[2][0].get_segments()[0][:, 1].tolist() for container in ax.containers]
    assert bars == [pytest.approx([0.3, 0.45]), pytest.approx([0.5, 0.8])]


@pytest.mark.parametrize(
    ("tokens", "ticks"), [((30.0, 600.0), [50, 100, 200, 500]), ((5.0, 40_000.0), [10, 100, 1_000, 10_000])]
)
def test_forward_tokens_have_few_plain_ticks(ax, tokens, ticks):
    columns = {f"accuracy{end}": [0.5, 0.6] for end in ("", "_over_greedy", "_over_greedy_low", "_over_greedy_high")}
    plots.compare(
        pd.DataFrame({"method": "sampling", "setting": "", "n_prompts": 20, "forward_tokens": tokens, **columns}),
        ax,
        "accuracy",
    )
    low, high = ax.get_xlim()
    assert [tick for tick in ax.get_xticks() if low <= tick <= high] == ticks
    assert ax.xaxis.get_minor_formatter()(20, None) == ""


def test_the_least_likely_pool_is_drawn(ax):
    """Equal log-likelihoods of -1e12, where a billionth of a nat is lost in rounding."""
    plots.likelihood_histogram(np.full(9, -1e12), None, ax, label="x")
    (bars,) = ax.containers
    assert sum(bar.get_width() * bar.get_height() for bar in bars) == pytest.approx(1.0)


# What a figure looks like ---------------------------------------------------------------------------------------------


def lines(ax) -> dict[str, tuple]:
    """Colour, line style and marker of each labelled line."""
    shown = [each for each in ax.get_lines() if not each.get_label().startswith("_")]
    return {each.get_label(): (each.get_color(), each.get_linestyle(), each.get_marker()) for each in shown}


def axes(ax) -> tuple:
    """Both labels, the scale of x, both ranges of y, and how one half is written on it."""
    return ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale(), ax.get_ylim(), ax.yaxis.get_major_formatter()(0.5, 0)


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


N = "N, responses per prompt"


def test_looks_of_accuracy_and_rewards(ax):
    pool = table_pool(aligned=0.8, n_prompts=24, m=16)
    greedy = pool.drop_duplicates("prompt_id").assign(sample_id=-1, source="greedy")
    summary = diagnose(pd.concat([pool, greedy])).summary
    check = dataclasses.replace(summary.prediction.checks[0], agrees=True, error=0.01)
    summary = dataclasses.replace(summary, prediction=Prediction(summary.prediction.curve, (check,)))
    plots.accuracy_curve(summary, ax)
    assert lines(ax) == {
        "any of N correct (pass@N)": (plots.GREEN, "-", "None"),
        "best of N by log-likelihood": (plots.BLUE, "-", "None"),
        "greedy decoding": (plots.ORANGE, "--", "None"),
        "one sample, temperature 1": (plots.GREY, ":", "None"),
        "predicted beyond the pool, 95 %": (plots.PINK, "--", "None"),
    }
    assert legend(ax) == list(lines(ax)) and ax.get_legend()._ncols == 2
    assert axes(ax) == (N, "accuracy", "log", (0, 1.02), "50%") and ax.get_xlim()[1] == pytest.approx(128 * 1.08)
    assert [band.get_alpha() for band in ax.collections] == [0.18] * 2 and len(bands(ax)) == 2
    for band, color in zip(ax.collections, (plots.BLUE, plots.PINK)):
        assert (
            band.get_facecolor()[0][:3] == pytest.approx(matplotlib.colors.to_rgb(color)) and band.get_linewidth() == 0
        )
    ax.clear()
    with plt.style.context(plots.STYLE):
        plots.reward_curves(summary, ax)
    assert lines(ax)["log likelihood"] == ("#0072B2", "-", "None")
    assert [style[1] for style in lines(ax).values()] == ["-", *["--"] * (len(summary.rewards) - 1), ":"]
    assert lines(ax)["any correct (skyline)"][0] == plots.GREY and legend(ax) == list(lines(ax))
    assert axes(ax) == (N, "accuracy", "log", (0, 1.02), "50%") and ax.get_legend()._ncols == 3
    assert len({style[0] for style in lines(ax).values()}) == len(lines(ax))


def test_a_single_n_is_a_point(ax):
    plots.accuracy_curve(diagnose(table_pool(aligned=1.0, m=1)).summary, ax)
    assert lines(ax)["best of N by log-likelihood"][2] == "o"


def test_looks_of_log_likelihoods(ax, summary):
    with_greedy = diagnose(hand_pool()).summary
    plots.log_likelihood_curve(with_greedy, ax)
    assert lines(ax) == {
        "best of N by log-likelihood": (plots.BLUE, "-", "None"), "greedy decoding": (plots.ORANGE, "--", "None"),
    }  # fmt: skip
    assert legend(ax) == list(lines(ax)) and axes(ax)[:3] == (N, "mean log-likelihood [nats]", "log")
    assert ax.get_xlim() == pytest.approx((0.93, 2.16))
    ax.clear()
    plots.log_likelihood_curve(summary, ax)
    assert list(lines(ax)) == ["best of N by log-likelihood"]
    n = [point.n for point in summary.best_of_n]
    assert_shows(ax, "best of N by log-likelihood", n, [point.log_likelihood for point in summary.best_of_n])


def test_looks_of_histograms(ax):
    """Of 200 values the lowest two are collected at the lower edge of what is shown."""
    values = np.concatenate([[-90.0, -80.0], np.linspace(-5, -1, 198)])
    plots.likelihood_histogram(values, None, ax, label="x [nats]")
    (bars,) = ax.containers
    low = np.quantile(values, 0.01)
    assert len(bars) == 40 and bars[0].get_x() == pytest.approx(low) and bars[-1].get_x() + bars[-1].get_width() == -1
    assert bars[0].get_height() * bars[0].get_width() >= 2 / 200 and bars[0].get_alpha() == 0.7
    assert bars[0].get_facecolor()[:3] == pytest.approx(matplotlib.colors.to_rgb(plots.BLUE))
    assert legend(ax) == ["all responses (200)"] and not ax.get_lines()
    assert axes(ax)[:2] == ("x [nats]\n(dashed: medians; leftmost bar: the lowest 1 %)", "density [1/nat]")
    ax.clear()
    correct = np.arange(200) % 4 == 0
    plots.likelihood_histogram(values, correct, ax, label="x [nats]")
    for bars, median, kind, color in zip(
        ax.containers, ax.get_lines(), (correct, ~correct), (plots.BLUE, plots.ORANGE)
    ):
        shown = np.maximum(values, low)[kind]
        assert bars[0].get_facecolor() == pytest.approx((*matplotlib.colors.to_rgb(color), 0.5))
        assert [bar.get_height() for bar in bars] == pytest.approx(
            np.histogram(shown, np.linspace(low, -1, 41), density=True)[0]
        )
        assert (
            set(median.get_xdata()) == {np.median(shown)}
            and median.get_color() == color
            and median.get_linestyle() == "--"
        )
    ax.clear()
    plots.likelihood_histogram(values, np.ones(200, dtype=bool), ax, label="x")
    assert legend(ax) == ["correct (200)"]


def test_looks_of_alignment_levels(ax):
    levels = {"prompts": Interval(0.9, 0.8, 0.95, 20), "within a prompt": Interval(0.6, None, None, 1)}
    plots.alignment_levels(levels, ax)
    assert [(each.get_color(), each.get_marker()) for each in ax.get_lines()[:3]] == [
        (plots.ORANGE, "o"), (plots.BLUE, "None"), (plots.BLUE, "o"),
    ]  # fmt: skip
    assert lines(ax)["knows nothing"] == (plots.GREY, ":", "None") and set(line(ax, "knows nothing")[0]) == {0.5}
    assert ax.get_xlabel() == (
        "probability that the more accurate is the likelier\n(bars: 95 % intervals, of 20 prompts or more)"
    )
    assert ax.get_xlim() == (0, 1.02) and ax.get_ylim() == (-0.6, 1.6) and legend(ax) == ["knows nothing"]
    assert ax.get_yticks().tolist() == [0, 1]


def test_looks_of_the_coverage_profile(ax):
    certificate = pd.DataFrame({"log_p_low": np.log([0.1, 0.25]), "log_p_high": np.log([0.5, 0.25])})
    plots.coverage_profile(certificate, ax, n_samples=16)
    assert lines(ax) == {
        "lower bound, 1/max(p̂, 1-S)": (plots.GREEN, "-", "None"),
        "upper bound, 1/p̂": (plots.BLUE, "-", "None"),
        "samples per prompt, 16": (plots.GREY, ":", "None"),
    }
    assert {each.get_drawstyle() for each in ax.get_lines()[:2]} == {"steps-post"} and legend(ax) == list(lines(ax))
    right = 1.05 * np.log10(16)
    assert ax.get_xlim() == pytest.approx((0, right)) and line(ax, "upper bound, 1/p̂")[0][[0, -1]] == pytest.approx(
        [0, right]
    )
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "5", "10"]
    assert ax.get_xticks() == pytest.approx(np.log10([1, 2, 5, 10]))
    x, y = "t, inverse probability of the likeliest response", "prompts with 1/p* > t"
    assert axes(ax) == (x, y, "linear", (0, 1.02), "50%")
    ax.clear()
    plots.coverage_profile(certificate, ax, n_samples=2_000)
    assert [tick.get_text() for tick in ax.get_xticklabels()][-3:] == ["500", "1,000", "2,000"]
    ax.clear()
    plots.coverage_profile(certificate.assign(log_p_low=np.log([1e-40, 0.25])), ax, n_samples=16)
    assert ax.get_xlim()[1] == pytest.approx(42) and ax.xaxis.get_major_formatter()(40, 0) == "$10^{40}$"
    assert all(tick == round(tick) for tick in ax.get_xticks()) and len(ax.get_xticks()) <= 10
    ax.clear()
    sure = pd.DataFrame({"log_p_low": np.zeros(3), "log_p_high": np.zeros(3)})
    plots.coverage_profile(sure, ax, n_samples=1)
    assert ax.get_xlim()[1] == pytest.approx(0.315)


def test_looks_of_hit_rates(ax):
    measured = Estimate(np.array([0.4, 0.6]), np.array([0.3, 0.5]), np.array([0.45, 0.7]), 2)
    plots.hit_rates(HitRates(np.array([1, 2]), np.array([0.5, 0.25]), measured, 4, 2, 1.5, 1.0), ax)
    n, _ = line(ax, "theory: $E_x[1-(1-p^*)^N]$")
    assert (n[0], n[-1], len(n)) == (1, pytest.approx(2), 200) and np.allclose(np.diff(np.log(n)), np.log(2) / 199)
    assert lines(ax)["theory: $E_x[1-(1-p^*)^N]$"][:2] == (plots.BLUE, "-")
    points, _, (bars,) = ax.containers[0]
    assert (points.get_color(), points.get_marker(), points.get_linestyle()) == (plots.ORANGE, "o", "None")
    assert bars.get_edgecolor()[0][:3] == pytest.approx(matplotlib.colors.to_rgb(plots.ORANGE))
    assert legend(ax) == ["theory: $E_x[1-(1-p^*)^N]$", "measured on held-out samples"]
    assert axes(ax) == (N, "best-of-N is the argmax", "log", (0, 1.02), "50%")
    ax.clear()
    one = Estimate(*np.array([[0.4], [0.3], [0.5]]), 2)
    plots.hit_rates(HitRates(np.array([1]), np.array([0.5]), one, 2, 1, 1.0, 1.0), ax)
    assert line(ax, "theory: $E_x[1-(1-p^*)^N]$")[0][-1] == pytest.approx(2)


def test_looks_of_sample_complexity(ax):
    curves = {"minimax, non-adaptive": "exact", "SFT-Sharpening": "exact", "adaptive SFT-Sharpening": "exact",
              "SFT-Sharpening, Theorem 4.1′": "bound", "lower bound, Theorem 3.1": "rate",
              "lower bound, Theorem D.2": "rate"}  # fmt: skip
    table = pd.DataFrame([(name, kind, eps, 1 / eps) for name, kind in curves.items() for eps in (0.01, 0.1)],
                         columns=["curve", "kind", "eps", "queries"])  # fmt: skip
    plots.sample_complexity(table, ax)
    assert lines(ax) == {
        "minimax, non-adaptive": (plots.BLUE, "-", "None"),
        "SFT-Sharpening": (plots.ORANGE, "-", "None"),
        "adaptive SFT-Sharpening": (plots.GREEN, "-", "None"),
        "SFT-Sharpening, Theorem 4.1′ (bound)": (plots.ORANGE, "--", "None"),
        "rate of Theorem 3.1, height arbitrary": (plots.GREY, ":", "None"),
        "rate of Theorem D.2, height arbitrary": (plots.PINK, ":", "None"),
    }
    assert line(ax, "SFT-Sharpening")[0].tolist() == [0.01, 0.1] and legend(ax) == list(lines(ax))
    assert ax.get_xlabel() == "ε, fraction of prompts left unsharpened\n(harder to the right)"
    assert (ax.get_ylabel(), ax.get_xscale(), ax.get_yscale()) == ("queries m", "log", "log")
    ax.figure.draw_without_rendering()
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


def test_one_epsilon_is_a_row_of_points_and_nothing_is_cut_off():
    names = {
        "adaptive SFT-Sharpening": "exact",
        "SFT-Sharpening, Theorem 4.1′": "bound",
        "lower bound, Theorem 3.1": "rate",
    }
    table = pd.DataFrame([(*each, 0.1, 100.0) for each in names.items()], columns=["curve", "kind", "eps", "queries"])
    with plt.style.context(plots.STYLE):
        figure, ax = plt.subplots()
        plots.sample_complexity(table, ax)
        figure.draw_without_rendering()
        assert {marker for _, _, marker in lines(ax).values()} == {"o"}
        label = ax.xaxis.label.get_window_extent()
        assert figure.bbox.x0 <= label.x0 and label.x1 <= figure.bbox.x1
        plt.close(figure)


def compared() -> pd.DataFrame:
    """Two settings of sampling, the others one, the tilted law without a cost; greedy last of the methods with a colour."""
    methods = ["sampling", "sampling", "best-of-N", "beam search", "argmax search", "majority vote", "power α = 2, SMC",
               "adaptive", "greedy", "tilted law, from the pool"]  # fmt: skip
    accuracy = np.linspace(0.3, 0.75, 10)
    return pd.DataFrame({
        "method": methods, "setting": ["2", "1", *[""] * 7, "α=2, β=1"], "n_prompts": 50,
        "forward_tokens": [20.0, 10.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 5.0, np.nan],
        "accuracy": accuracy, "accuracy_low": accuracy - 0.1, "accuracy_high": accuracy + 0.2,
        "log_likelihood": -1 / accuracy, "log_likelihood_low": -2 / accuracy, "log_likelihood_high": -0.5 / accuracy,
        "accuracy_over_greedy": accuracy - 0.7, "accuracy_over_greedy_low": accuracy - 0.75,
        "accuracy_over_greedy_high": accuracy - 0.6,
        **{f"log_likelihood_over_greedy{end}": np.full(10, np.nan) for end in ("", "_low", "_high")},
    })  # fmt: skip


def test_looks_of_compare(ax):
    with plt.style.context(plots.STYLE):
        plots.compare(compared(), ax, "accuracy")
        colors = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert len(colors) == 7
    assert lines(ax) == {
        "sampling": (colors[0], "-", "o"), "best-of-N": (colors[1], "-", "o"), "beam search": (colors[2], "-", "s"),
        "argmax search": (colors[3], "-", "D"), "majority vote": (colors[4], "-", "^"),
        "power α = 2, SMC": (colors[5], "--", "v"), "adaptive": (colors[6], "-", "o"), "greedy": (colors[0], "-", "*"),
    }  # fmt: skip
    by_label = {each.get_label(): each for each in ax.get_lines()}
    assert (
        by_label["greedy"].get_markerfacecolor() == "white" and by_label["adaptive"].get_markerfacecolor() == colors[6]
    )
    assert (by_label["greedy"].get_markersize(), by_label["greedy"].get_linewidth()) == (5, 1.5)
    assert [each.tolist() for each in line(ax, "sampling")] == [[10.0, 20.0], pytest.approx([0.35, 0.3])]
    bars = ax.containers[0][2][0]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [
        pytest.approx([0.3, 0.45]),
        pytest.approx([0.25, 0.4]),
    ]
    (greedy,) = [each for each in ax.get_lines() if each.get_linestyle() == "--" and each.get_linewidth() == 0.8]
    assert set(greedy.get_ydata()) == {compared()["accuracy"][8]} and greedy.get_color() == plots.GREY
    assert bars.get_alpha() == 0.3 and bars.get_linewidth() == 0.8 and not ax.containers[0][1]
    (tilted,) = [each for each in ax.get_lines() if each.get_linestyle() == ":"]
    assert set(tilted.get_ydata()) == {0.75} and (tilted.get_color(), tilted.get_linewidth()) == (plots.GREY, 1)
    (name,) = ax.texts
    assert (
        name.get_text() == "tilted law, α=2" and name.xy == (1.0, 0.75) and name.xycoords == ("axes fraction", "data")
    )
    assert (name.get_ha(), name.get_va(), name.get_color(), name.get_fontsize()) == ("right", "bottom", plots.GREY, 7)
    assert axes(ax)[:3] == ("forward tokens per prompt", "accuracy", "log") and axes(ax)[-1] == "50%"
    ax.clear()
    plots.compare(compared(), ax, "log_likelihood")
    assert axes(ax)[1] == "mean log-likelihood [nats]" and axes(ax)[-1] != "50%"
    assert line(ax, "greedy")[1] == pytest.approx([-1 / 0.7])


def test_compare_names_a_search_that_is_not_certified(ax):
    certified = pd.array([2 if method == "argmax search" else None for method in compared()["method"]], dtype="Int64")
    plots.compare(compared().assign(n_prompts=8, n_certified=certified), ax, "accuracy")
    assert {"argmax search (certified on 2 of 8)", "greedy", "beam search"} < set(lines(ax))
    ax.clear()
    plots.compare(compared().assign(n_prompts=2, n_certified=certified), ax, "accuracy")
    assert "argmax search" in lines(ax)


def test_compare_shows_no_accuracy_beyond_one_and_no_rounding(ax):
    same = {
        f"{column}{end}": value
        for column, value in (("accuracy", 1.0), ("log_likelihood", -1.0))
        for end in ("", "_low", "_high")
    }
    table = compared().assign(**same | {"log_likelihood": -1 - 1e-7 * np.arange(10)})
    plots.compare(table, ax, "accuracy")
    assert ax.get_ylim()[1] <= 1.02 and ax.get_ylim()[0] < 0.96
    ax.clear()
    plots.compare(table, ax, "log_likelihood")
    low, high = ax.get_ylim()
    assert high - low == pytest.approx(0.1) and low < -1 < high


def test_both_panels_of_compare_share_a_title_and_a_legend(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(plt, "close", kept.append)
    path = plots.save_compare(compared(), tmp_path / "compare.png", "a title")
    assert path == tmp_path / "compare.png" and path.read_bytes().startswith(b"\x89PNG")
    (figure,) = kept
    assert [ax.get_ylabel() for ax in figure.axes] == ["accuracy", "mean log-likelihood [nats]"]
    assert [ax.get_title() or ax.get_title(loc="left") for ax in figure.axes] == ["a title", ""]
    (shared,) = figure.legends
    assert [text.get_text() for text in shared.get_texts()] == list(dict.fromkeys(compared()["method"]))[:-1]
    assert figure.get_size_inches().tolist() == [10.4, 4.4] and shared._ncols == 3
    assert shared.get_title().get_text() == (
        "dashed line: greedy decoding; bars: 95 % for all together, of the difference from it on the same prompts"
    )
    whole = matplotlib.image.imread(path)
    assert whole.shape[0] > 4.4 * 160  # the legend below is on the picture too
    plots.save_compare(compared().assign(n_prompts=19), path, "a title")
    assert (
        kept.pop().legends[0].get_title().get_text() == "dashed line: greedy decoding; no bars: fewer than 20 prompts"
    )
    plots.save_compare(compared().assign(accuracy=np.nan), path, "a title")
    assert [ax.get_ylabel() for ax in kept[1].axes] == ["mean log-likelihood [nats]"]


def test_a_figure_is_saved_with_its_title(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(plt, "close", kept.append)
    path = plots.save(lambda ax: ax.plot([1, 2]), tmp_path / "x.png", "a title")
    assert path == tmp_path / "x.png" and path.read_bytes().startswith(b"\x89PNG")
    (figure,) = kept
    assert figure.axes[0].get_title(loc="left") == "a title" and figure.get_size_inches().tolist() == [6.4, 4.0]


def test_bands_beside_a_forecast_are_all_of_the_accuracy_itself(ax):
    summary = diagnose(table_pool(aligned=1.0)).summary
    assert summary.forecast
    plots.accuracy_curve(summary, ax)
    own, forecast = bands(ax)
    last, first = summary.best_of_n[-1].accuracy, summary.forecast[0].accuracy
    assert (own[1][-1], own[2][-1]) == pytest.approx((last.low, last.high))
    assert (forecast[1][0], forecast[2][0]) == pytest.approx((first.low, first.high))
    assert "of the accuracy itself" in ax.get_legend().get_title().get_text()
