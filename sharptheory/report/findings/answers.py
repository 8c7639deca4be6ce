"""What the samples say of answers, whatever the responses around them."""

from __future__ import annotations

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
        _mode(answers),
        _coverage(answers),
        _unrepeated(answers),
        _margin(answers),
        _limit(answers),
        _law(answers.law),
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
    return f"{percent(1 - answers.voting)} of the responses were cut or have no answer, and have no vote."


def _mode(answers: Answers) -> str:
    votes = f"on {percent(answers.shown)} of the prompts by votes (a binomial test at 5 % on each)"
    if answers.certified is None:
        return f"The most likely answer is shown {votes}; it is certified on none, for that takes likelihoods."
    return (
        f"The most likely answer is certified, by likelihoods alone, on {percent(answers.certified)} of the prompts, and shown "
        f"{votes}."
    )


def _coverage(answers: Answers) -> str:
    name = "The coverage coefficient over answers, the mean of 1/(probability of the most likely answer),"
    low, high = span(answers.low_estimate), span(answers.high_estimate)
    counted = f"is {low} by votes from below"
    if answers.high_estimate.value is not None:
        counted += f" and {high} from above"
    if answers.coefficient is not None and answers.coefficient.high is not None:
        counted = f"{_between(answers.coefficient)} on these prompts by likelihoods; it {counted}"
    at_least = f"Over all prompts of this kind it is at least {answers.at_least:,.2f}, with 95 % confidence."
    return f"{name} {counted}. {at_least}"


def _between(ends: Range) -> str:
    low, high = f"{ends.low:,.2f}", f"{ends.high:,.2f}"
    return f"is {low}" if low == high else f"is between {low} and {high}"


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
    return (
        f"With ever more votes the majority vote tends to an accuracy between {low} and {high} {surely}; its limit is known on "
        f"{percent(answers.limit_known)} of them."
    )


def _law(law: PluralityLaw | None) -> str:
    if law is None:
        return (
            "A part of the samples says on no prompt which answer is the most likely, so the law of the majority vote cannot be "
            "compared with a measurement: take more samples."
        )
    off, total = law.disagreements, len(law.curve)
    where = f"On {count(law.n_prompts, 'prompt')} where a part of the samples says which it is"
    if law.curve[0].difference.few:
        return f"{where}, the majority is compared with its exact law: {few(law.curve[0].difference)}."
    if off:
        return f"{where}, how often the majority finds it differs from its exact law at {off} of {total} values of N."
    return f"{where}, how often the majority finds it cannot be told from its exact law at any of {total} values of N."
