"""How likely are the responses that are selected, and are they only short?"""

from __future__ import annotations

from sharptheory.report.findings.words import by, cut_responses, nats, no_difference, percent, span
from sharptheory.report.schema import Summary

#: Responses that are shorter by this share call for a look at brevity.
BREVITY = 0.2


def sentences(summary: Summary) -> list[str | None]:
    first, last, gain = summary.best_of_n[0], summary.best_of_n[-1], summary.gain_over_sampling.log_likelihood
    if last.n == 1:
        mean = f"{first.log_likelihood.value:.2f}{nats(summary) or f' of {_column(summary)}'}"
        selected = f"One sample has {mean} on average; with one sample there is nothing to select."
        return [selected, cut_responses(summary.sampling.unfinished)]
    best = f"the best of {last.n}{'' if summary.by_likelihood else f' by {by(summary)}'}"
    selected = (
        f"The {_column(summary)} of {best} is {last.log_likelihood.value:.2f}{nats(summary)} on average, "
        f"{span(gain, sign=True)} over one sample."
    )
    return [
        selected,
        _over_greedy(summary),
        *_brevity(summary),
        _confound(summary),
        cut_responses(summary.sampling.unfinished),
    ]


def _column(summary: Summary) -> str:
    """What the column holds, or its bare name where it cannot be that."""
    return "log_likelihood" if summary.coverage_refused else "log-likelihood"


def _over_greedy(summary: Summary) -> str | None:
    gain = summary.gain_over_greedy
    if gain is None or gain.log_likelihood.value is None:
        return None
    if gain.log_likelihood.point and abs(gain.log_likelihood.value) < 1e-12:
        return "That is what greedy decoding has."
    return f"Against greedy decoding that is {span(gain.log_likelihood, sign=True)}{nats(summary)}."


def _brevity(summary: Summary) -> list[str]:
    length = summary.length
    if length is None or not length.sampled:
        return []
    if no_difference(length.over_sampling):
        return [f"Its responses are as long as those of one sample, {length.sampled:.1f} tokens on average."]
    sentences = [
        f"Its responses have {length.best_of_n:.1f} tokens against {length.sampled:.1f}, a difference of "
        f"{span(length.over_sampling, digits=1, sign=True)}."
    ]
    shorter = 1 - length.best_of_n / length.sampled
    if length.over_sampling.direction() < 0 and shorter > BREVITY:
        why = (
            "likelihood sums over tokens, so check that what it selects is not brevity; a length-normalised reward is the "
            "usual remedy."
        )
        why = why if summary.by_likelihood else "check that what it selects is not brevity."
        sentences.append(f"Short responses are selected ({100 * shorter:.0f} % shorter): {why}")
    return sentences


def _confound(summary: Summary) -> str | None:
    if summary.length is None or (confound := summary.length.confound) is None:
        return None
    parts = [f"within a prompt {_column(summary)} correlates with length by {span(confound.correlation)}"]
    if confound.correlation.value is None:
        parts = []
    if confound.auc_given_length.value is not None:
        parts += [f"among responses of one length its AUC is {span(confound.auc_given_length)}"]
    parts += [f"with length regressed out, best-of-N is right on {percent(confound.accuracy_adjusted.value)}"]
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."
