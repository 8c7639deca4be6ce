"""The few numbers to see first."""

from __future__ import annotations

from sharptheory.report.findings.words import by, coverage_range, percent, share, span
from sharptheory.report.schema import Answers, Coverage, Summary


def headline(summary: Summary) -> list[tuple[str, str]]:
    """The few numbers to see first, as (name, value) pairs."""
    sampling, last = summary.sampling, summary.best_of_n[-1]
    each, most = sampling.n_samples, sampling.n_samples_max
    several = f"{each:,}" if each == most else f"{each:,} to {most:,}, {sampling.n_responses:,} in all"
    graded = f" ({sampling.n_graded_prompts:,} graded)" if 0 < sampling.n_graded_prompts < sampling.n_prompts else ""
    rows = [("prompts × samples", f"{sampling.n_prompts:,}{graded} × {several}")]
    if summary.graded:
        rows += [("one sample", share(sampling.accuracy))]
        if summary.greedy is not None and summary.greedy.accuracy is not None:
            rows += [("greedy decoding", share(summary.greedy.accuracy))]
        if summary.reward is not None:
            rows += [(f"best of {last.n} by {by(summary)}", share(last.accuracy))]
        else:
            votes = [reward.curve[-1] for reward in summary.rewards if reward.name == "majority"]
            rows += [(f"majority of {vote.n}", share(vote.accuracy)) for vote in votes]
        any_of_n = summary.pass_at_n[-1]
        rows += [(f"any of {any_of_n.n} (pass@{any_of_n.n})", share(any_of_n.accuracy))]
        rows += _auc_rows(summary)
    if summary.by_answers:
        rows += _answer_rows(summary.answers)
    elif summary.likelihoods:
        rows += _coverage_rows(summary.coverage)
    return [*rows, ("unfinished responses", "unknown" if sampling.unfinished is None else percent(sampling.unfinished))]


def _auc_rows(summary: Summary) -> list[tuple[str, str]]:
    if (found := summary.alignment) is None:
        return []
    aucs = {"within prompts": found.within, "pooled": found.pooled}
    name = by(summary, "likelihood")
    return [(f"AUC of {name}, {where}", span(auc, null=0.5)) for where, auc in aucs.items() if auc.value is not None]


def _answer_rows(answers: Answers) -> list[tuple[str, str]]:
    """Of a pool whose responses are too rare to say anything."""
    rows = [
        ("likeliest answer certified on", percent(answers.certified)),
        ("the same by votes", percent(answers.shown)),
    ]
    if answers.limit_low is not None:
        ends = percent(answers.limit_low.value), percent(answers.limit_high.value)
        rows += [("limit of the majority vote", ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}")]
    return [*rows, ("coverage coefficient over answers", f"at least {answers.at_least:,.2f}, with 95 % confidence")]


def _coverage_rows(coverage: Coverage | None) -> list[tuple[str, str]]:
    """An identification bound and a confidence bound, each in words: neither is an interval around an estimate."""
    name = "coverage coefficient, mean of 1/p*"
    if coverage is None:
        return [(name, "none: the likelihoods are not those of samples at temperature 1")]
    known = coverage_range(coverage)
    return [
        ("argmax certified on", percent(coverage.certified)),
        (name, f"{known} on these prompts{' (what the samples leave open)' if known.startswith('between') else ''}"),
        ("the same on all such prompts", f"at least {coverage.at_least:,.1f}, with 95 % confidence"),
    ]
