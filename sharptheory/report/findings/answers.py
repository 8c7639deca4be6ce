"""What the samples say of answers, whatever the responses around them."""

from __future__ import annotations

from sharptheory.measure.self_consistency import KNOWN
from sharptheory.report.findings.premises import few
from sharptheory.report.findings.words import count, percent, span
from sharptheory.report.schema import Answers, PluralityLaw, Range, Summary


def sentences(summary: Summary) -> list[str | None]:
    answers = summary.answers
    if answers is None:
        return []
    return [
        _instead(summary),
        _silent(answers),
        _mode(summary, answers),
        _coverage(answers),
        _contradicted(summary, answers),
        _unrepeated(answers),
        _margin(answers),
        _limit(answers),
        _law(answers),
    ]


def _instead(summary: Summary) -> str | None:
    if not summary.by_answers:
        return None
    return (
        f"The most likely response is certified on only {percent(summary.coverage.certified)} of the prompts: these samples hold "
        "too little of the probability for whole responses to say anything, so coverage, the test of the exact law and the "
        "costs are left out, and answers are taken instead."
    )


def _silent(answers: Answers) -> str | None:
    if answers.voting > 0.99:
        return None
    return f"{percent(1 - answers.voting)} of the responses were cut or have no answer, and have no vote, whatever their grade."


def _mode(summary: Summary, answers: Answers) -> str:
    votes = f"on {percent(answers.shown)} of the prompts by votes (a binomial test at 5 % on each)"
    if answers.certified is None:
        return f"The most likely answer is shown {votes}; it is certified on none, {_uncertified(summary)}."
    return (
        f"The most likely answer is certified, by likelihoods alone, on {percent(answers.certified)} of the prompts, and shown "
        f"{votes}."
    )


def _uncertified(summary: Summary) -> str:
    """Why likelihoods certify no answer, and with it why there is no vote by their mass."""
    if not summary.likelihoods:
        return "for that takes likelihoods, and so does the vote by answer mass, which is left out"
    reason = summary.coverage_refused or summary.unidentified or "likelihoods are missing on some samples"
    return f"and the vote by answer mass is left out, as it cannot be known what mass answers have: {reason}"


#: A bound on a coefficient beyond this says no more than that there is none.
NO_BOUND = 1e6


def _coverage(answers: Answers) -> str:
    name = "The coverage coefficient over answers, the mean of 1/(probability of the most likely answer),"
    counted = f"is {_by_votes(answers)}"
    if answers.coefficient is not None:
        counted = f"{_between(answers.coefficient)}; it {counted}"
    at_least = f"Over all prompts of this kind it is at least {answers.at_least:,.2f} by votes, with 95 % confidence."
    return f"{name} {counted}. {at_least}"


def _between(ends: Range) -> str:
    low = "∞" if ends.low is None else f"{ends.low:,.2f}"
    if ends.high is None or ends.high > NO_BOUND:
        return f"is at least {low} on these prompts by likelihoods, which bound it by nothing from above"
    high = f"{ends.high:,.2f}"
    between = f"is {low}" if low == high else f"is between {low} and {high}"
    return f"{between} on these prompts by likelihoods"


def _by_votes(answers: Answers) -> str:
    low, high = answers.low_estimate, answers.high_estimate
    if high.value is None:
        return f"{span(low)} by votes from below"
    if high.value < low.value:
        return f"{span(high)} to {span(low)} by votes (chance has the estimate from below above that from above)"
    return f"{span(low)} by votes from below and {span(high)} from above"


def _contradicted(summary: Summary, answers: Answers) -> str | None:
    """Whole responses have no less probability than what likelihoods prove, and votes count what was cut as no answer."""
    ends = answers.coefficient
    if ends is None or ends.high is None or answers.at_least <= ends.high:
        return None
    cut = (
        " Votes count what was cut as no answer, while to likelihoods it may have any;"
        if summary.sampling.unfinished
        else ""
    )
    return (
        f"Votes and likelihoods contradict each other:{cut} the answers that likelihoods prove to be frequent are sampled less "
        "often than that, or these prompts are unlike the others."
    )


def _unrepeated(answers: Answers) -> str | None:
    if not answers.unrepeated:
        return None
    return (
        f"On {percent(answers.unrepeated)} of the prompts no answer came twice: there the most likely answer may be rarer than "
        "votes can tell."
    )


def _margin(answers: Answers) -> str | None:
    margin = answers.median_margin
    if margin is None or not margin.low:
        return None
    high = "any number of" if margin.high is None else f"{1 + margin.high:,.1f}"
    low = f"{1 + margin.low:,.1f}"
    times = low if low == high else f"{low} to {high}"
    return f"On the median prompt it is {times} times as likely as the next."


def _limit(answers: Answers) -> str | None:
    if answers.limit_low is None:
        return None
    low, high = percent(answers.limit_low.value), percent(answers.limit_high.value)
    surely = "on these prompts" if answers.limit_by == "likelihood" else "on these prompts, with 95 % confidence"
    if answers.limit_known == 1:
        return f"With ever more votes the majority vote tends to an accuracy of {low} {surely}."
    known = f"its limit is known on {percent(answers.limit_known)} of them"
    if answers.limit_by == "votes":
        known += ", where the test shows the most likely answer at 5 % for all prompts together, not for each"
    return f"With ever more votes the majority vote tends to an accuracy between {low} and {high} {surely}; {known}."


def _law(answers: Answers) -> str:
    law = answers.law
    if law is None:
        return (
            "A part of the samples says on no prompt which answer is the most likely, so the law of the majority vote cannot be "
            "compared with a measurement: take more samples."
        )
    return " ".join(filter(None, [_compared(law), _why_votes(answers)]))


def _compared(law: PluralityLaw) -> str:
    off, total = law.disagreements, len(law.curve)
    where = f"On {count(law.n_prompts, 'prompt')} where a part of the samples says which it is"
    if law.curve[0].difference.few:
        return f"{where}, the majority is compared with its exact law: {few(law.curve[0].difference)}."
    if off:
        return f"{where}, how often the majority finds it differs from its exact law at {off} of {total} values of N."
    return f"{where}, how often the majority finds it cannot be told from its exact law at any of {total} values of N."


def _why_votes(answers: Answers) -> str | None:
    if answers.law.by == "likelihood" or (answers.certified or 0.0) <= answers.shown:
        return None
    return (
        f"The law is that of votes, though likelihoods certify more prompts: half of the samples have {100 * KNOWN:.0f} % of the "
        "mass, from which likelihoods give a law, on fewer."
    )
