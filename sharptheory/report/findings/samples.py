"""What the samples are: what was taken for what, and what they lack."""

from __future__ import annotations

from sharptheory.report.findings.words import count, listed, named
from sharptheory.report.schema import Summary


def sentences(summary: Summary) -> list[str | None]:
    return [
        *summary.notes,
        _no_likelihoods(summary),
        _no_grades(summary),
        _half_graded(summary),
        _lacking(summary),
        _one_sample(summary),
    ]


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


def _half_graded(summary: Summary) -> str | None:
    """Prompts that every number about accuracy leaves out."""
    sampling = summary.sampling
    left_out = sampling.n_prompts - sampling.n_graded_prompts
    if not summary.graded or not left_out:
        return None
    return (
        f"{count(left_out, 'prompt')} of {sampling.n_prompts:,} {'has' if left_out == 1 else 'have'} samples without a grade "
        f"and {'is' if left_out == 1 else 'are'} left out of everything about accuracy, which is of the other "
        f"{sampling.n_graded_prompts:,}."
    )


def _one_sample(summary: Summary) -> str | None:
    return "One sample of a prompt: there is nothing to select from." if summary.sampling.n_samples == 1 else None


def _lacking(summary: Summary) -> str | None:
    """What else there is no column for, and what that costs."""
    costs = {
        "answers (the majority vote and the chapter on answers)": summary.answers is None,
        "text or token ids (hit rates and the prediction beyond the pool)": summary.likelihoods
        and summary.unidentified,
        "lengths (what length does)": summary.likelihoods and summary.length is None,
    }
    missing = [f"no {what}" for what, lacks in costs.items() if lacks]
    return f"The samples have {listed(missing)}." if missing else None
