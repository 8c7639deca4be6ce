"""What the samples are: what was taken for what, and what they lack."""

from __future__ import annotations

from sharptheory.report.findings.words import listed, named
from sharptheory.report.schema import Summary


def sentences(summary: Summary) -> list[str | None]:
    return [*summary.notes, _no_likelihoods(summary), _no_grades(summary), _one_sample(summary)]


def _no_likelihoods(summary: Summary) -> str | None:
    """That there are none, and what that costs."""
    if summary.likelihoods:
        return None
    ways = [named(reward) for reward in summary.rewards]
    only = f"best-of-N by {listed(ways)} only" if ways else "no best-of-N"
    lost = "nothing about coverage, the exact law, what likelihood knows, or what training would cost"
    return f"No log-likelihoods: {only}; {lost}."


def _no_grades(summary: Summary) -> str | None:
    return (
        None
        if summary.graded or summary.likelihoods
        else "No grades: nothing about accuracy, or what a reward knows of it."
    )


def _one_sample(summary: Summary) -> str | None:
    return "One sample of a prompt: there is nothing to select from." if summary.sampling.n_samples == 1 else None
