"""Does selecting by likelihood help, where does it stop helping, and how far would more samples carry it?"""

from __future__ import annotations

from sharptheory.report.findings.words import percent, points, share
from sharptheory.report.schema import UNFINISHED_LIMIT, Summary


def sentences(summary: Summary) -> list[str | None]:
    sampling, last = summary.sampling, summary.best_of_n[-1]
    one = f"One sample is right on {percent(sampling.accuracy.value)} of prompts"
    if last.n == 1:
        return [f"{one}; best-of-N needs more samples.", _same_grade(summary), _unread(summary)]
    sentences = [f"{one}; the most likely of {last.n} on {share(last.accuracy)}."]
    if same := _same_grade(summary):
        sentences += [same]
    elif not summary.judged:
        sentences += [
            f"No verdict on sharpening: {percent(sampling.unfinished)} of the responses were cut by the length budget, and "
            f"above {100 * UNFINISHED_LIMIT:.0f} % neither likelihoods nor grades are those of whole responses."
        ]
    else:
        sentences += [_verdict(summary), _against_greedy(summary), _peak(summary), _forecast(summary)]
    return [*sentences, _left(summary), _unread(summary)]


def _same_grade(summary: Summary) -> str | None:
    if summary.sampling.accuracy.value not in (0.0, 1.0):
        return None
    kind = "correct" if summary.sampling.accuracy.value else "incorrect"
    return f"Every response is {kind}, so there is nothing for any selection to improve."


def _verdict(summary: Summary) -> str:
    gain = summary.gain_over_sampling.accuracy
    if gain.low is None:
        return "With a single prompt there is no interval, so no conclusion."
    if gain.direction() > 0:
        return f"Sharpening pays: {points(gain)} points over sampling."
    if gain.direction() < 0:
        return (
            f"Bad news: sharpening hurts by {points(gain)} points; this model's likelihood prefers wrong responses here, and "
            "training on its own best-of-N would make it worse."
        )
    if gain.point and abs(gain.value) < 1e-12:
        return "On every prompt that is exactly as often as one sample: selection changes nothing."
    return f"The gain, {points(gain)} points, is not distinguishable from none."


def _against_greedy(summary: Summary) -> str | None:
    over = None if summary.gain_over_greedy is None else summary.gain_over_greedy.accuracy
    if over is None or over.low is None:
        return None
    n, greedy = summary.best_of_n[-1].n, percent(summary.greedy.accuracy.value)
    if over.point and abs(over.value) < 1e-12:
        return f"Best-of-{n} is right on the same prompts as greedy decoding ({greedy})."
    verdict = {1: "better than", -1: "worse than", 0: "not distinguishable from"}[over.direction()]
    return f"Best-of-{n} is {verdict} greedy decoding ({greedy}): {points(over)} points."


def _peak(summary: Summary) -> str | None:
    if summary.peak is None or summary.peak.over_last.direction() <= 0:
        return None
    return (
        f"Accuracy peaks at N = {summary.peak.n} ({percent(summary.peak.accuracy)}), {points(summary.peak.over_last)} points "
        f"above N = {summary.best_of_n[-1].n} on the same prompts: do not take N larger."
    )


def _forecast(summary: Summary) -> str | None:
    if summary.prediction is None:
        return None
    agree, checks = summary.prediction.agreeing, len(summary.prediction.checks)
    if not summary.forecast:
        return (
            f"No forecast for larger N: predicting in the same way from a quarter of these samples agrees with the rest at "
            f"only {agree} of {checks} values of N."
        )
    further = summary.forecast[-1]
    return (
        f"With N = {further.n:,} expect {share(further.accuracy)}; predicting in the same way from a quarter of these "
        f"samples agrees with the rest at {agree} of {checks} values of N.{_offset(summary)}"
    )


def _offset(summary: Summary) -> str:
    """Where the forecast does not begin at what was measured: by how much it is off, which a reader sees in the figure."""
    begins, measured = summary.forecast[0], summary.best_of_n[-1]
    by = begins.accuracy.value - measured.accuracy.value
    if begins.n != measured.n or abs(by) < 0.005:
        return ""
    return (
        f" At N = {begins.n:,} it says {percent(begins.accuracy.value)} where the samples themselves have "
        f"{percent(measured.accuracy.value)}: it is made from the likelihoods of few samples, and may be as far "
        f"{'below' if by < 0 else 'above'} the truth beyond."
    )


def _left(summary: Summary) -> str | None:
    last = summary.best_of_n[-1]
    left = summary.pass_at_n[-1].accuracy.value - last.accuracy.value
    if left <= 0.02:
        return None
    return f"Another {100 * left:.1f} points have a correct response among the {last.n} that likelihood does not pick."


def _unread(summary: Summary) -> str | None:
    shares = summary.sampling.unreadable
    if sum(shares.values()) <= 0.01:
        return None
    reasons = ", ".join(f"{reason} {percent(part)}" for reason, part in shares.items())
    return f"{percent(sum(shares.values()))} of the responses have no answer that could be read and count as wrong ({reasons})."
