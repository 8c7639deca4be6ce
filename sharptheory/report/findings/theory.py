"""The exact law of best-of-N against samples that had no part in it."""

from __future__ import annotations

from sharptheory.report.findings.premises import chance
from sharptheory.report.findings.words import count, listed, percent
from sharptheory.report.schema import UNFINISHED_WARNING, HitRate, HitRates, Summary


def sentences(summary: Summary) -> list[str | None]:
    if summary.coverage is None:
        return []
    if summary.unidentified:
        return [f"The test of the exact law and the prediction beyond the pool are left out: {summary.unidentified}."]
    rates = summary.hit_rates
    if rates is None:
        return [
            "No prompt has its argmax certified by half of its samples, so the exact law cannot be compared with a "
            f"measurement: {_remedy(summary)}, or use a model or task with shorter responses."
        ]
    sampling = summary.sampling
    if sampling.n_samples == sampling.n_samples_max:
        held_out = f"{count(rates.n_samples // rates.n_prompts, 'sample')} each"
    else:
        held_out = f"{count(rates.n_samples, 'sample')} in all"
    return [
        f"On {count(rates.n_prompts, 'prompt')} whose argmax half of the samples certify, the other half "
        f"({held_out}) tests the law 1 - (1 - p*)^N.",
        _agrees(rates),
        _tested(rates),
    ]


def _remedy(summary: Summary) -> str:
    """Of responses that are cut none is certified, however many there are."""
    unfinished = summary.sampling.unfinished or 0.0
    if unfinished <= UNFINISHED_WARNING:
        return "take more samples"
    return f"sample with a larger budget of tokens, {percent(unfinished)} of the responses were cut"


def _agrees(rates: HitRates) -> str:
    off, total, open_ = rates.outside, len(rates.curve), sum(map(_contestable, rates.curve))
    if off:
        return (
            f"{len(off)} of {total} measured points, at N = {listed(map(str, off))}, "
            f"{'lies outside its' if len(off) == 1 else 'lie outside their'} 95 % interval; neighbours share their samples."
        )
    if open_ == 0:
        return "That says nothing: so few samples cannot disagree with it, whatever they are."
    agree = "Every measured point agrees with the exact law within its 95 % interval"
    if open_ < total:
        return f"{agree}; at {total - open_} of {total} values of N none could disagree."
    return f"{agree}."


def _tested(rates: HitRates) -> str:
    """The one test, at the N where every sample is a trial of its own."""
    worth = "more than chance explains" if rates.refuted else "as chance allows"
    return (
        f"Tested at N = 1: {rates.hits:,} of {count(rates.n_samples, 'sample')} are the argmax where the law expects "
        f"{rates.expected:,.1f}, {worth} ({chance(rates.p_value)}, two-sided and exact)."
    )


def _contestable(point: HitRate) -> bool:
    """Whether some rate, from 0 to 1, would have been outside: the interval is as wide whatever is measured, up to its cut."""
    measured = point.measured
    if measured.low <= 0 and measured.high >= 1:
        return False
    half_width = max(measured.value - measured.low, measured.high - measured.value)
    return max(point.predicted, 1 - point.predicted) > half_width + 1e-12
