"""The few numbers to see first."""

from __future__ import annotations

from sharptheory.report.findings.words import coverage_range, percent, share, span
from sharptheory.report.schema import Coverage, Summary


def headline(summary: Summary) -> list[tuple[str, str]]:
    """The few numbers to see first, as (name, value) pairs."""
    sampling, last = summary.sampling, summary.best_of_n[-1]
    each, most = sampling.n_samples, sampling.n_samples_max
    several = f"{each:,}" if each == most else f"{each:,} to {most:,}, {sampling.n_responses:,} in all"
    rows = [("prompts × samples", f"{sampling.n_prompts:,} × {several}")]
    if summary.graded:
        rows += [("one sample", share(sampling.accuracy))]
        if summary.greedy is not None and summary.greedy.accuracy is not None:
            rows += [("greedy decoding", share(summary.greedy.accuracy))]
        rows += [
            (f"best of {last.n} by log-likelihood", share(last.accuracy)),
            (f"any of {last.n} (pass@{last.n})", share(summary.pass_at_n[-1].accuracy)),
        ]
        aucs = {"within prompts": summary.alignment.within, "pooled": summary.alignment.pooled}
        rows += [
            (f"AUC of likelihood, {name}", span(auc, null=0.5)) for name, auc in aucs.items() if auc.value is not None
        ]
    rows += _coverage_rows(summary.coverage)
    return [*rows, ("unfinished responses", "unknown" if sampling.unfinished is None else percent(sampling.unfinished))]


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
