"""Does likelihood know which responses are right?"""

from __future__ import annotations

from sharptheory.report.findings.words import count, listed, points, span
from sharptheory.report.schema import Dominance, Interval, Summary


def sentences(summary: Summary) -> list[str | None]:
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


def efficiency(summary: Summary) -> list[str | None]:
    rows = {} if summary.alignment is None else {row.name: row for row in summary.alignment.efficiency}
    if not rows:
        return []
    own, most = rows["log_likelihood"], rows["correctness"]
    return [
        "A reward is worth its correlation with correctness within a prompt, whatever its scale: 1 for correctness itself, 0 "
        "for a reward that says nothing.",
        f"Best-of-2 by log-likelihood gains {points(own.best_of_two)} points over one sample, which is what its AUC means; "
        f"selecting by correctness would gain {points(most.best_of_two)}.",
        None
        if own.slope.value is None
        else f"To first order a tilt by log-likelihood gains {points(own.slope)} points of accuracy per √(2 nat) of "
        f"divergence from the model, and one by correctness {points(most.slope)}.",
    ]


def efficiency_table(summary: Summary) -> tuple[tuple[str, ...], list[tuple[str, ...]]] | None:
    """Header and rows; correctness, the most that a reward can be worth, comes last."""
    if summary.alignment is None or not summary.alignment.efficiency:
        return None
    rows = sorted(summary.alignment.efficiency, key=lambda row: row.name == "correctness")
    header = ("reward", "correlation within prompts", "best-of-2 gains [points]", "gain per √(2 nat) [points]")
    return header, [
        (
            row.name.replace("_", " "),
            "1 by definition" if row.name == "correctness" else span(row.correlation),
            points(row.best_of_two),
            points(row.slope),
        )
        for row in rows
    ]


def levels(summary: Summary) -> str | None:
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
