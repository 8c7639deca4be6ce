"""Every figure shows the numbers it is given: lines, bands and points are read back from the axes."""

import dataclasses

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
    return diagnose(table_pool(aligned=0.8, n_prompts=20, m=16)).summary


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


def assert_shows(ax, label: str, n, estimates: list[Interval]) -> None:
    x, y = line(ax, label)
    assert x.tolist() == list(n) and y == pytest.approx([each.value for each in estimates])
    low, high = [each.low for each in estimates], [each.high for each in estimates]
    close = lambda one, other: one.shape == (len(other),) and np.allclose(one, other)  # noqa: E731
    assert any(close(band[1], low) and close(band[2], high) for band in bands(ax)), label


def test_accuracy_curve(ax, summary):
    plots.accuracy_curve(summary, ax)
    n = [point.n for point in summary.best_of_n]
    assert_shows(ax, "best of N by log-likelihood", n, [point.accuracy for point in summary.best_of_n])
    assert_shows(ax, "any of N correct (pass@N)", n, [point.accuracy for point in summary.pass_at_n])
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
        assert_shows(ax, "predicted beyond the pool", [16, 32, 64, 128], [point.accuracy for point in points])
    else:
        assert "predicted beyond the pool" not in [each.get_label() for each in ax.get_lines()]
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
    summary = diagnose(hand_pool()).summary
    plots.reward_curves(summary, ax)
    for label, reward in zip(("log likelihood", "length normalized"), summary.rewards):
        assert_shows(ax, label, [1, 2], [point.accuracy for point in reward.curve])
    assert line(ax, "any correct (skyline)")[1] == pytest.approx([7 / 16, 7 / 8])
    assert len(ax.get_lines()) == 3


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
        "method": ["sampling", "greedy"], "setting": ["N = 1", ""], "forward_tokens": [10.0, 5.0],
        "accuracy": [0.4, 0.6], "accuracy_low": [0.3, 0.5], "accuracy_high": [0.45, 0.8],
    })  # fmt: skip
    plots.compare(table, ax, "accuracy")
    assert [each.tolist() for each in line(ax, "greedy")] == [[5.0], [0.6]]
    assert ax.get_xscale() == "log" and ax.xaxis.get_major_formatter()(2_000, None) == "2,000"
    ends = [container[2][0].get_segments()[0][:, 1].tolist() for container in ax.containers]
    assert ends == [pytest.approx([0.3, 0.45]), pytest.approx([0.5, 0.8])]


@pytest.mark.parametrize(
    ("tokens", "ticks"), [((30.0, 600.0), [50, 100, 200, 500]), ((5.0, 40_000.0), [10, 100, 1_000, 10_000])]
)
def test_forward_tokens_have_few_plain_ticks(ax, tokens, ticks):
    columns = {f"accuracy{end}": [0.5, 0.6] for end in ("", "_low", "_high")}
    plots.compare(
        pd.DataFrame({"method": "sampling", "setting": "", "forward_tokens": tokens, **columns}), ax, "accuracy"
    )
    low, high = ax.get_xlim()
    assert [tick for tick in ax.get_xticks() if low <= tick <= high] == ticks
    assert ax.xaxis.get_minor_formatter()(20, None) == ""


def test_the_least_likely_pool_is_drawn(ax):
    """Equal log-likelihoods of -1e12, where a billionth of a nat is lost in rounding."""
    plots.likelihood_histogram(np.full(9, -1e12), None, ax, label="x")
    (bars,) = ax.containers
    assert sum(bar.get_width() * bar.get_height() for bar in bars) == pytest.approx(1.0)
