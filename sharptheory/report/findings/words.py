"""Numbers in words: what every sentence of a report is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable

from sharptheory.report.schema import UNFINISHED_WARNING, Coverage, Interval, Range, RewardCurve, Summary


def percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"


def share(estimate: Interval) -> str:
    """``61.0 % [51.0 %, 70.0 %]``."""
    if estimate.value is None or estimate.low is None:
        return percent(estimate.value)
    if estimate.point:
        return f"{percent(estimate.value)} (the same on every prompt)"
    return f"{percent(estimate.value)} [{percent(estimate.low)}, {percent(estimate.high)}]"


def span(
    estimate: Interval,
    *,
    scale: float = 1.0,
    digits: int = 2,
    sign: bool = False,
    null: float = 0.0,
    alike: str = "the same on every prompt",
    unlimited: str = "these prompts allow none",
) -> str:
    """``0.80 [0.77, 0.83]``; in words where there is no interval, or one without width.

    Args:
        null: what a verdict asks the interval to exclude: the ends are shown in the digits that tell them from it.
        unlimited: why several prompts leave no interval.
    """
    # Adding 0 turns -0.0 into 0.0.
    show = lambda number: f"{round(scale * number, digits) + 0.0:{'+' if sign else ''}.{digits}f}"  # noqa: E731
    if estimate.value is None:
        return "unknown"
    if estimate.low is None:
        return f"{show(estimate.value)} (no interval: {'one prompt' if estimate.n_prompts == 1 else unlimited})"
    told = [(estimate.low, null), (estimate.high, null)] + [(estimate.low, estimate.high)] * (not estimate.point)
    while any(show(one) == show(other) for one, other in told if scale * abs(one - other) > 1e-9):
        digits += 1
    if estimate.point:
        return f"{show(estimate.value)} ({alike})"
    return f"{show(estimate.value)} [{show(estimate.low)}, {show(estimate.high)}]"


def points(difference: Interval) -> str:
    """A difference in accuracy: ``+3.2 [+1.0, +5.4]``, in points."""
    return span(difference, scale=100, digits=1, sign=True)


def no_difference(difference: Interval) -> bool:
    """Whether two things are equal on every prompt."""
    return difference.point and abs(difference.value) <= 1e-12


def elsewhere(difference: Interval) -> str:
    """What prompts that show no difference say of others: where X show none, ``0.05^{1/X}`` of all do, at 95 %."""
    equal = 0.05 ** (1 / difference.n_prompts)
    return f", and with 95 % confidence on at least {100 * equal:.0f} % of all such prompts"


def coverage_range(coverage: Coverage) -> str:
    """``between 2.2 and 8.0``, readable where an end overflows; one number where both ends show the same."""
    low, high = coverage.coefficient.low, coverage.coefficient.high
    if high is not None and high < 1e6:
        upper = f"{high:,.1f}"
    elif coverage.log_coefficient_high is not None:
        upper = f"10^{coverage.log_coefficient_high / math.log(10):.1f}"
    else:
        upper = "∞ (a prompt without a finished response)"
    lower = "∞" if low is None else f"{low:,.1f}"
    return lower if lower == upper else f"between {lower} and {upper}"


def amount(between: Range) -> str:
    """``132 to 479``, ``12 to 69 million``, or one number where both ends show the same."""
    (low, unit), (high, last) = _scaled(between.low), _scaled(between.high)
    if (low, unit) == (high, last):
        return f"{low}{unit}"
    return f"{low}{unit if unit != last else ''} to {high}{last}"


#: What a number from each size on is counted in.
UNITS = {1.0: "", 1e6: " million", 1e9: " billion", 1e12: " trillion"}


def _scaled(value: float | None) -> tuple[str, str]:
    """A number in the two digits that a bound deserves, and its unit; exact below 10,000."""
    if value is None:
        return "∞", ""
    if value < 1e4:
        return f"{value:,.0f}", ""
    digits, exponent = f"{value:.1e}".split("e")
    if int(exponent) >= 15:
        return f"{digits} × 10^{int(exponent)}", ""
    value = float(f"{value:.1e}")
    size = max(size for size in UNITS if size <= value)
    return f"{value / size:,.0f}" if size == 1 or value >= 10 * size else f"{value / size:g}", UNITS[size]


def count(number: int, noun: str) -> str:
    """``1 prompt``, ``1,024 prompts``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(items: Iterable[str]) -> str:
    """``a, b and c``."""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


#: How several things are compared with one, everywhere.
TOGETHER = "in points, paired over prompts, with 95 % intervals that hold for all of them together"


def named(reward: RewardCurve) -> str:
    return reward.name.replace("_", " ")


def by(summary: Summary, likelihood: str = "log-likelihood") -> str:
    """The report's reward in words; log-likelihood as the sentence has it, by the column's name where it is none."""
    if summary.by_likelihood:
        return likelihood
    return summary.reward if summary.reward == "log_likelihood" else str(summary.reward).replace("_", " ")


def nats(summary: Summary) -> str:
    """The unit of log-likelihoods; none where they are refused."""
    return "" if summary.coverage_refused else " nats"


def cut_responses(unfinished: float | None, responses: str = "the responses") -> str | None:
    """A warning where more than `UNFINISHED_WARNING` of some responses were cut; None where fewer were, or it is unknown."""
    if unfinished is None or unfinished <= UNFINISHED_WARNING:
        return None
    return (
        f"Warning: {percent(unfinished)} of {responses} were cut by the length budget. A cut response scores its prefix "
        "only, which is too likely, and is usually graded wrong: sample with a larger budget of tokens."
    )
