"""From the numbers of a diagnosis to sentences: what they mean, good news or bad.

A finding is a paragraph, written by `sentences` in the file of its chapter; each function there that starts with an
underscore writes one of its sentences, or none. A conclusion needs an interval that decides it (`Interval.direction`) and
responses that were not cut (`Summary.judged`).
"""

from __future__ import annotations

from sharptheory.report.findings import (
    accuracy,
    alignment,
    answers,
    cost,
    coverage,
    likelihood,
    rewards,
    samples,
    theory,
)
from sharptheory.report.findings.headline import headline
from sharptheory.report.schema import Summary

__all__ = ["findings", "headline"]


def findings(summary: Summary) -> dict[str, str]:
    """What the numbers mean: one paragraph for each figure that the summary supports, by the figure's key."""
    paragraphs = {
        "samples": samples.sentences(summary),
        "accuracy": accuracy.sentences(summary) if summary.graded else (),
        "rewards": rewards.sentences(summary),
        "likelihood": likelihood.sentences(summary) if summary.likelihoods else (),
        "alignment": alignment.sentences(summary),
        "efficiency": alignment.efficiency(summary),
        "alignment_levels": (alignment.levels(summary),),
        "coverage": coverage.sentences(summary) if summary.likelihoods and not summary.by_answers else (),
        "theory": () if summary.by_answers else theory.sentences(summary),
        "answers": answers.sentences(summary),
        "cost": () if summary.by_answers else cost.sentences(summary),
    }
    texts = {figure: " ".join(filter(None, sentences)) for figure, sentences in paragraphs.items()}
    return {figure: text for figure, text in texts.items() if text}
