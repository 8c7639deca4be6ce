"""Does selecting by likelihood help, where does it stop helping, and how far would more samples carry it?"""

from __future__ import annotations

from sharptheory.report.findings.premises import few, no_verdict, unanimous
from sharptheory.report.findings.words import by, count, elsewhere, no_difference, percent, points, share
from sharptheory.report.schema import Summary


def sentences(summary: Summary) -> list[str | None]:
    sampling, last = summary.sampling, summary.best_of_n[-1]
    one = f"One sample is right with probability {percent(sampling.accuracy.value)}"
    if summary.reward is None:
        return [f"{one}{_open(summary)}.", _any(summary), _unread(summary)]
    if last.n == 1:
        return [f"{one}; best-of-N needs more samples.", unanimous(summary), _unread(summary)]
    best = f"the most likely of {last.n}" if summary.by_likelihood else f"the best of {last.n} by {by(summary)}"
    selected = f"{one}; {best} with {share(last.accuracy)}."
    if same := unanimous(summary):
        return [selected, same, _unread(summary)]
    if failed := no_verdict(summary):
        return [selected, _difference(summary), failed, _unread(summary)]
    verdicts = (_verdict, _against_greedy, _peak, _forecast, _missed)
    return [selected, *(verdict(summary) for verdict in verdicts), _unread(summary)]


def _open(summary: Summary) -> str:
    """What the report could be about, where that is open."""
    rewards = [reward.name for reward in summary.rewards if reward.auc is not None]
    if summary.sampling.n_samples == 1:
        return ""
    if not rewards:
        return "; there is nothing to select a response by"
    return f"; --reward makes the report about {' or '.join(rewards)}"


def _any(summary: Summary) -> str | None:
    most = summary.pass_at_n[-1]
    return f"At least one of {most.n:,} is right on {share(most.accuracy)}." if most.n > 1 else None


def _difference(summary: Summary) -> str:
    return f"The difference is {points(summary.gain_over_sampling.accuracy)} points."


def _verdict(summary: Summary) -> str:
    gain = summary.gain_over_sampling.accuracy
    what = "sharpening" if summary.by_likelihood else f"selecting by {by(summary)}"
    if gain.direction() > 0:
        return f"{what[0].upper()}{what[1:]} pays: {points(gain)} points over sampling."
    if gain.direction() < 0 and not summary.by_likelihood:
        return f"Bad news: {what} hurts by {points(gain)} points; it prefers wrong responses here."
    if gain.direction() < 0:
        return (
            f"Bad news: sharpening hurts by {points(gain)} points; this model's likelihood prefers wrong responses here, and "
            "training on its own best-of-N would make it worse."
        )
    if no_difference(gain):
        return f"On every prompt that is exactly as often as one sample: selection changes nothing{elsewhere(gain)}."
    return f"That {what} pays is not shown, nor that it does not: {points(gain)} points over sampling."


def _against_greedy(summary: Summary) -> str | None:
    over = None if summary.gain_over_greedy is None else summary.gain_over_greedy.accuracy
    if over is None or over.low is None:
        return None
    n, greedy = summary.best_of_n[-1].n, f"greedy decoding ({percent(summary.greedy.accuracy.value)})"
    if no_difference(over):
        return f"Best-of-{n} is right on the same prompts as {greedy}{elsewhere(over)}."
    if over.few:
        return f"Against {greedy} best-of-{n} has {points(over)} points: {few(over)}."
    verdict = {1: "better than", -1: "worse than", 0: "not distinguishable from"}[over.direction()]
    return f"Best-of-{n} is {verdict} {greedy}: {points(over)} points."


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
    if summary.by_answers:
        return (
            "No forecast for larger N: it would be made from the likelihoods of whole responses, of whose probability these "
            "samples hold too little."
        )
    agree, checks = summary.prediction.agreeing, summary.prediction.open_checks
    way = "predicting in the same way from a quarter of these samples"
    if not checks:
        return f"No forecast for larger N: these samples are too few to tell whether {way} agrees with the rest."
    at = f"{agree} of {count(len(checks), 'value')} of N"
    if not summary.forecast:
        return f"No forecast for larger N: {way} agrees with the rest at only {at}."
    further, margin = summary.forecast[-1], 100 * max(check.margin for check in checks)
    return (
        f"With N = {further.n:,} expect {share(further.accuracy)}; {way} agrees with the rest at {at}, where "
        f"{'up to ' if len(checks) > 1 else ''}{margin:.1f} points more or less would count as agreement.{_offset(summary)}"
    )


def _offset(summary: Summary) -> str:
    """Where the forecast does not begin at what was measured: by how much it is off, which a reader sees in the figure."""
    begins, measured = summary.forecast[0], summary.best_of_n[-1]
    off = begins.accuracy.value - measured.accuracy.value
    if begins.n != measured.n or abs(off) < 0.005:
        return ""
    return (
        f" At N = {begins.n:,} it says {percent(begins.accuracy.value)} where the samples themselves have "
        f"{percent(measured.accuracy.value)}: it is made from the likelihoods of few samples, and may be as far "
        f"{'below' if off < 0 else 'above'} the truth beyond."
    )


def _missed(summary: Summary) -> str | None:
    """What a better selection could still gain; it is never negative, so that only whether it is above 0 is open."""
    if summary.missed.direction() <= 0:
        return None
    return (
        f"On another {points(summary.missed)} points there is a correct response among the {summary.best_of_n[-1].n} that "
        f"{by(summary, 'likelihood')} does not pick."
    )


def _unread(summary: Summary) -> str | None:
    shares = summary.sampling.unreadable
    if sum(shares.values()) <= 0.01:
        return None
    reasons = ", ".join(f"{reason} {percent(part)}" for reason, part in shares.items())
    return f"{percent(sum(shares.values()))} of the responses have no answer that could be read and count as wrong ({reasons})."
