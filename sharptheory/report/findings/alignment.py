"""Does likelihood know which responses are right?"""

from __future__ import annotations

from sharptheory.report.findings.premises import chance, few, no_verdict
from sharptheory.report.findings.words import count, listed, points, span
from sharptheory.report.schema import Dominance, Interval, Summary


def sentences(summary: Summary) -> list[str | None]:
    if summary.alignment is None:
        return [
            "None of these samples is known to be correct or not, so likelihood cannot be compared with correctness."
        ]
    within, pooled = summary.alignment.within, summary.alignment.pooled
    if within.value is None:
        return [
            "No prompt has both correct and incorrect responses, so likelihood cannot be compared with correctness within "
            "prompts."
        ]
    order = (
        f"Within a prompt, a correct response is likelier than a wrong one with probability {span(within, null=0.5)} "
        f"({count(within.n_prompts, 'prompt')} with both)"
    )
    also = f"Pooled over prompts it is {span(pooled, null=0.5)}, which also rewards knowing which prompts are easy."
    if failed := no_verdict(summary):
        return [f"{order}.", failed, also]
    return [f"{order}: {_knows(within)}", also, _dominates(summary.alignment.dominance_within)]


#: An interval inside this one around 1/2 is close enough to a coin flip to be called one.
COIN = (0.45, 0.55)


def _knows(within: Interval) -> str:
    if within.direction(0.5) > 0:
        return "likelihood knows which responses are right, and the premise of sharpening holds here."
    if within.direction(0.5) < 0:
        return "likelihood is anti-aligned with correctness; the likelier a response, the more probably it is wrong."
    if within.few:
        return f"{few(within)}."
    low, high = COIN
    if within.low >= low and within.high <= high:
        return f"all of that is between {low} and {high}, close to a coin flip, and sharpening has little to work with."
    return "it is not shown that likelihood knows which responses are right, nor that it does not."


def _dominates(test: Dominance | None) -> str | None:
    if test is None:
        return None
    evidence = f"({chance(test.p_above)} for, {chance(test.p_below)} against)"
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
        f"Best-of-2 by log-likelihood adds {points(own.best_of_two)} points to one sample, which is what its AUC means; selecting "
        f"by correctness would add {points(most.best_of_two)}.",
        None
        if own.slope.value is None
        else f"To first order a tilt by log-likelihood adds {points(own.slope)} points of accuracy per √(2 nat) of "
        f"divergence from the model, and one by correctness {points(most.slope)}.",
    ]


def efficiency_table(summary: Summary) -> tuple[tuple[str, ...], list[tuple[str, ...]]] | None:
    """Header and rows; correctness, the most that a reward can be worth, comes last."""
    if summary.alignment is None or not summary.alignment.efficiency:
        return None
    rows = sorted(summary.alignment.efficiency, key=lambda row: row.name == "correctness")
    header = ("reward", "correlation within prompts", "best-of-2 adds [points]", "a tilt adds per √(2 nat) [points]")
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
        f"{name if 'within' in name else f'across {name}'} {span(level, null=0.5, alike='whatever the prompts')}"
        for name, level in known.items()
    )
    sentence = f"The probability that the more accurate of two has the higher log-likelihood is, {each}."
    if "within a prompt" not in known:
        return sentence
    return (
        f"{sentence} Only the one within a prompt is what sharpening uses; the others can be high while it is not, and are "
        "often quoted instead."
    )
