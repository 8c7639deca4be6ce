"""From the numbers of a diagnosis to sentences: what they mean, good news or bad.

A finding is a paragraph, and each function below that starts with an underscore writes one of its sentences, or none.
A conclusion needs an interval that decides it (`Interval.direction`) and responses that were not cut (`Summary.judged`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from sharptheory.report.schema import (
    UNFINISHED_LIMIT,
    Coverage,
    Dominance,
    HitRate,
    HitRates,
    Interval,
    Range,
    RewardCurve,
    Summary,
)

UNFINISHED_WARNING = 0.05


def findings(summary: Summary) -> dict[str, str]:
    """What the numbers mean: one paragraph for each figure that the summary supports, by the figure's key."""
    paragraphs = {
        "accuracy": _accuracy(summary) if summary.graded else (),
        "rewards": _rewards(summary),
        "likelihood": _likelihood(summary),
        "alignment": _alignment(summary),
        "alignment_levels": (_levels(summary),),
        "coverage": _coverage(summary),
        "theory": (_theory(summary),),
        "cost": _cost(summary),
    }
    texts = {figure: " ".join(filter(None, sentences)) for figure, sentences in paragraphs.items()}
    return {figure: text for figure, text in texts.items() if text}


def headline(summary: Summary) -> list[tuple[str, str]]:
    """The few numbers to see first, as (name, value) pairs."""
    sampling, last = summary.sampling, summary.best_of_n[-1]
    rows = [("prompts × samples", f"{sampling.n_prompts:,} × {sampling.n_samples:,}")]
    if summary.graded:
        rows += [("one sample", share(sampling.accuracy))]
        if summary.greedy is not None and summary.greedy.accuracy is not None:
            rows += [("greedy decoding", share(summary.greedy.accuracy))]
        rows += [
            (f"best of {last.n} by log-likelihood", share(last.accuracy)),
            (f"any of {last.n} (pass@{last.n})", share(summary.pass_at_n[-1].accuracy)),
        ]
        aucs = {"within prompts": summary.alignment.within, "pooled": summary.alignment.pooled}
        rows += [(f"AUC of likelihood, {name}", span(auc)) for name, auc in aucs.items() if auc.value is not None]
    rows += _coverage_rows(summary.coverage)
    return [*rows, ("unfinished responses", "unknown" if sampling.unfinished is None else percent(sampling.unfinished))]


def _coverage_rows(coverage: Coverage | None) -> list[tuple[str, str]]:
    """An identification bound and a confidence bound, each in words: neither is an interval around an estimate."""
    name = "coverage coefficient, mean of 1/p*"
    if coverage is None:
        return [(name, "none: the likelihoods are not those of samples at temperature 1")]
    return [
        ("argmax certified on", percent(coverage.certified)),
        (name, f"{coverage_range(coverage)} on these prompts (what the samples leave open)"),
        ("the same on all such prompts", f"at least {coverage.at_least:,.1f}, with 95 % confidence"),
    ]


# Numbers in words -----------------------------------------------------------------------------------------------------


def percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"


def share(estimate: Interval) -> str:
    """``61.0 % [51.0 %, 70.0 %]``."""
    if estimate.value is None or estimate.low is None:
        return percent(estimate.value)
    return f"{percent(estimate.value)} [{percent(estimate.low)}, {percent(estimate.high)}]"


def span(
    estimate: Interval,
    *,
    scale: float = 1.0,
    digits: int = 2,
    sign: bool = False,
    alike: str = "the same on every prompt",
) -> str:
    """``0.80 [0.77, 0.83]``; in words where there is no interval, or one without width."""
    form = f"{{:{'+' if sign else ''}.{digits}f}}"
    # Adding 0 turns -0.0 into 0.0.
    show = lambda number: form.format(round(scale * number, digits) + 0.0)  # noqa: E731
    if estimate.value is None:
        return "unknown"
    if estimate.low is None:
        return f"{show(estimate.value)} (no interval: one prompt)"
    if estimate.point:
        return f"{show(estimate.value)} ({alike})"
    return f"{show(estimate.value)} [{show(estimate.low)}, {show(estimate.high)}]"


def points(difference: Interval) -> str:
    """A difference in accuracy: ``+3.2 [+1.0, +5.4]``, in points."""
    return span(difference, scale=100, digits=1, sign=True)


def coverage_range(coverage: Coverage) -> str:
    """``between 2.2 and 8.0``, readable where an end overflows."""
    low, high = coverage.coefficient.low, coverage.coefficient.high
    if high is not None and high < 1e6:
        upper = f"{high:,.1f}"
    elif coverage.log_coefficient_high is not None:
        upper = f"10^{coverage.log_coefficient_high / math.log(10):.1f}"
    else:
        upper = "∞ (a prompt without a finished response)"
    return f"between {'∞' if low is None else f'{low:,.1f}'} and {upper}"


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


def named(reward: RewardCurve) -> str:
    return reward.name.replace("_", " ")


# Accuracy -------------------------------------------------------------------------------------------------------------


def _accuracy(summary: Summary) -> list[str | None]:
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


# Rewards --------------------------------------------------------------------------------------------------------------


def _rewards(summary: Summary) -> list[str | None]:
    if len(summary.rewards) < 2 or summary.best_of_n[-1].n == 1:
        return []
    final = {named(reward): reward.curve[-1] for reward in summary.rewards}
    n = summary.best_of_n[-1].n
    sentences = [
        f"At N = {n}: " + ", ".join(f"{name} {percent(at.accuracy.value)}" for name, at in final.items()) + "."
    ]
    others = [reward for reward in summary.rewards if reward.over_likelihood is not None]
    if not summary.judged:
        return [*sentences, "No verdict: too many responses were cut by the length budget."]
    if all(reward.over_likelihood.low is None for reward in others):
        return [*sentences, "With a single prompt there is no interval, so no conclusion."]
    sentences += [_against_likelihood(others, direction) for direction in (1, -1, 0)]
    return [
        *sentences,
        "Differences are in points, paired over prompts, with intervals that hold for all of them together.",
    ]


def _against_likelihood(rewards: list[RewardCurve], direction: int) -> str | None:
    chosen = [reward for reward in rewards if reward.over_likelihood.direction() == direction]
    if not chosen:
        return None
    verdict = {1: "Better than", -1: "Worse than", 0: "Not distinguishable from"}[direction]
    differences = listed(f"{named(reward)} by {points(reward.over_likelihood)}" for reward in chosen)
    if direction == 0:
        differences = differences.replace(" by ", " ")
    return f"{verdict} log-likelihood: {differences}."


# Likelihood -----------------------------------------------------------------------------------------------------------


def _likelihood(summary: Summary) -> list[str | None]:
    first, last, gain = summary.best_of_n[0], summary.best_of_n[-1], summary.gain_over_sampling.log_likelihood
    if last.n == 1:
        selected = f"One sample has {first.log_likelihood.value:.2f} nats on average; with one sample there is nothing to select."
        return [selected, cut_responses(summary.sampling.unfinished)]
    selected = (
        f"The log-likelihood of the best of {last.n} is {last.log_likelihood.value:.2f} nats on average, "
        f"{span(gain, sign=True)} over one sample."
    )
    return [
        selected,
        _over_greedy(summary),
        *_brevity(summary),
        _confound(summary),
        cut_responses(summary.sampling.unfinished),
    ]


def _over_greedy(summary: Summary) -> str | None:
    gain = summary.gain_over_greedy
    if gain is None or gain.log_likelihood.value is None:
        return None
    if gain.log_likelihood.point and abs(gain.log_likelihood.value) < 1e-12:
        return "That is what greedy decoding has."
    return f"Against greedy decoding that is {span(gain.log_likelihood, sign=True)} nats."


def _brevity(summary: Summary) -> list[str]:
    length = summary.length
    if length is None or not length.sampled:
        return []
    sentences = [f"Its responses have {length.best_of_n:.1f} tokens against {length.sampled:.1f}."]
    shorter = 1 - length.best_of_n / length.sampled
    if shorter > 0.2:
        sentences.append(
            f"Short responses are winning ({100 * shorter:.0f} % shorter): likelihood sums over tokens, so check that the gain is "
            "not brevity; a length-normalised reward is the usual remedy."
        )
    return sentences


def _confound(summary: Summary) -> str | None:
    if summary.length is None or (confound := summary.length.confound) is None:
        return None
    parts = [f"within a prompt log-likelihood correlates with length by {span(confound.correlation)}"]
    if confound.correlation.value is None:
        parts = []
    if confound.auc_given_length.value is not None:
        parts += [f"among responses of one length its AUC is {span(confound.auc_given_length)}"]
    parts += [f"with length regressed out, best-of-N is right on {percent(confound.accuracy_adjusted.value)}"]
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def cut_responses(unfinished: float | None, responses: str = "the responses") -> str | None:
    """A warning where more than `UNFINISHED_WARNING` of some responses were cut; None where fewer were, or it is unknown."""
    if unfinished is None or unfinished <= UNFINISHED_WARNING:
        return None
    return (
        f"Warning: {percent(unfinished)} of {responses} were cut by the length budget. A cut response scores its prefix "
        "only, which is too likely, and is usually graded wrong: raise --max-new-tokens."
    )


# Alignment ------------------------------------------------------------------------------------------------------------


def _alignment(summary: Summary) -> list[str | None]:
    if summary.alignment is None:
        return []
    within, pooled = summary.alignment.within, summary.alignment.pooled
    if within.value is None:
        return [
            "No prompt has both correct and incorrect responses, so likelihood cannot be compared with correctness within "
            "prompts."
        ]
    return [
        f"Within a prompt, a correct response is likelier than a wrong one with probability {span(within)} "
        f"({count(within.n_prompts, 'prompt')} with both).",
        _knows(within) if summary.judged else "No verdict: too many responses were cut by the length budget.",
        f"Pooled over prompts it is {span(pooled)}, which also rewards knowing which prompts are easy.",
        _dominates(summary.alignment.dominance_within) if summary.judged else None,
    ]


def _knows(within: Interval) -> str:
    if within.direction(0.5) > 0:
        return "Likelihood knows which responses are right: the premise of sharpening holds here."
    if within.direction(0.5) < 0:
        return "Likelihood is anti-aligned with correctness: the likelier a response, the more probably it is wrong."
    if within.low is None:
        return "One prompt is too few for a conclusion."
    if within.low >= 0.45 and within.high <= 0.55:
        return "That is close to a coin flip: sharpening has little to work with."
    return "These prompts are too few to tell it from a coin flip."


def _dominates(test: Dominance | None) -> str | None:
    if test is None:
        return None
    show = lambda p: "p < 0.001" if p < 0.001 else f"p = {p:.3f}"  # noqa: E731
    evidence = f"({show(test.p_above)} for, {show(test.p_below)} against)"
    if test.holds:
        return f"The likelihoods of correct responses stochastically dominate those of wrong ones within prompts {evidence}."
    return f"Stochastic dominance of correct likelihoods within prompts is not shown {evidence}."


def _levels(summary: Summary) -> str | None:
    levels = {} if summary.alignment is None else summary.alignment.levels
    known = {name: level for name, level in levels.items() if level.value is not None}
    if not known:
        return None
    each = listed(
        f"{name if 'within' in name else f'across {name}'} {span(level, alike='whatever the prompts')}"
        for name, level in known.items()
    )
    sentence = f"The probability that the more accurate of two has the higher log-likelihood is, {each}."
    if "within a prompt" not in known:
        return sentence
    return (
        f"{sentence} Only the one within a prompt is what sharpening uses; the others can be high while it is not, and are "
        "often quoted instead."
    )


# Coverage, law, cost --------------------------------------------------------------------------------------------------


def _coverage(summary: Summary) -> list[str]:
    coverage = summary.coverage
    if coverage is None:
        return [
            "These are not log-likelihoods of responses sampled at temperature 1, so coverage is left out, and with it the "
            f"test of the exact law, the prediction and the costs: {summary.coverage_refused}."
        ]
    sentences = [
        f"The most likely response is certified, by this pool alone, on {percent(coverage.certified)} of the prompts.",
        f"The coverage coefficient, the mean of 1/p*, is {coverage_range(coverage)} on these prompts; where in "
        "between, more samples would tell.",
        f"Over all prompts of this kind it is at least {coverage.at_least:,.1f}, with 95 % confidence; no sample of prompts "
        "can bound it from above.",
    ]
    if coverage.undersampled > 0.05:
        sentences.append(
            f"On {percent(coverage.undersampled)} of the prompts even the likeliest response sampled has probability below "
            f"one in the number of samples: on those, the samples are too few to expect the argmax among them."
        )
    else:
        sentences.append("On most prompts these samples are enough to expect the likeliest response among them.")
    return sentences


def _theory(summary: Summary) -> str | None:
    if summary.coverage is None:
        return None
    if summary.unidentified:
        return f"The test of the exact law and the prediction beyond the pool are left out: {summary.unidentified}."
    rates = summary.hit_rates
    if rates is None:
        return (
            "No prompt has its argmax certified by half of its samples, so the exact law cannot be compared with a "
            "measurement: take more samples, or use a model or task with shorter responses."
        )
    sampling = summary.sampling
    if sampling.n_samples == sampling.n_samples_max:
        held_out = f"{count(rates.n_samples // rates.n_prompts, 'sample')} each"
    else:
        held_out = f"{count(rates.n_samples, 'sample')} in all"
    return (
        f"On {count(rates.n_prompts, 'prompt')} whose argmax half of the samples certify, the other half "
        f"({held_out}) tests the law 1 - (1 - p*)^N. {_agrees(rates)}"
    )


def _agrees(rates: HitRates) -> str:
    off, total, open_ = rates.disagreements, len(rates.curve), sum(map(_contestable, rates.curve))
    if off:
        return f"{off} of {total} measured points lie outside their 95 % interval (neighbours share their samples)."
    if open_ == 0:
        return "That says nothing: so few samples cannot disagree with it, whatever they are."
    agree = "Every measured point agrees with the exact law within its 95 % interval"
    if open_ < total:
        return f"{agree}; at {total - open_} of {total} values of N none could disagree."
    return f"{agree}."


def _contestable(point: HitRate) -> bool:
    """Whether some rate, from 0 to 1, would have been outside: the interval is as wide whatever is measured, up to its cut."""
    measured = point.measured
    if measured.low <= 0 and measured.high >= 1:
        return False
    half_width = max(measured.value - measured.low, measured.high - measured.value)
    return max(point.predicted, 1 - point.predicted) > half_width + 1e-12


def _cost(summary: Summary) -> list[str]:
    if not summary.cost:
        return []
    rows = [
        f"{cost.method}: {amount(cost.prompts)} prompts × {amount(cost.responses)} responses"
        f"{'' if cost.tokens is None else f', {amount(cost.tokens)} forward tokens'} ({cost.source})."
        for cost in summary.cost
    ]
    return [
        "What the explicit bounds ask for if 90 % of the prompts are to have 90 % of their mass on the argmax, per unit of "
        "log(|Π|/ρ), the size of the policy class and the failure probability, over the range that the samples leave to the "
        "coverage coefficient:",
        *rows,
        "These are guarantees for the worst case; their ratios are what to read.",
    ]
