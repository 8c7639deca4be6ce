"""Does likelihood know which responses are right?"""

from __future__ import annotations

from sharptheory.report.findings.premises import chance, few, no_verdict
from sharptheory.report.findings.words import by, count, listed, points, span
from sharptheory.report.schema import Dominance, Interval, Summary


def sentences(summary: Summary) -> list[str | None]:
    if summary.alignment is None:
        return [
            "None of these samples is known to be correct or not, so likelihood cannot be compared with correctness."
        ] * summary.likelihoods
    within, pooled = summary.alignment.within, summary.alignment.pooled
    if within.value is None:
        return [
            f"No prompt has both correct and incorrect responses, so {by(summary, 'likelihood')} cannot be compared with "
            "correctness within prompts."
        ]
    more = "is likelier" if summary.by_likelihood else f"has more {by(summary)}"
    order = (
        f"Within a prompt, a correct response {more} than a wrong one with probability {span(within, null=0.5)} "
        f"({count(within.n_prompts, 'prompt')} with both)"
    )
    pooled = span(pooled, null=0.5, unlimited=UNBROKEN)
    also = f"Pooled over prompts it is {pooled}, which also rewards knowing which prompts are easy."
    if failed := no_verdict(summary):
        return [f"{order}.", failed, also]
    dominance = summary.alignment.dominance_within if summary.by_likelihood else None
    return [f"{order}: {_knows(within, by(summary, 'likelihood'))}", also, _dominates(dominance)]


#: Why a concordance has no interval, though there are prompts.
UNBROKEN = "these prompts leave it the same in every resample"
#: An interval inside this one around 1/2 is close enough to a coin flip to be called one.
COIN = (0.45, 0.55)


def _knows(within: Interval, reward: str) -> str:
    if within.direction(0.5) > 0:
        premise = ", and the premise of sharpening holds here" if reward == "likelihood" else ""
        return f"{reward} knows which responses are right{premise}."
    if within.direction(0.5) < 0:
        more = "the likelier a response" if reward == "likelihood" else "the more of it a response has"
        return f"{reward} is anti-aligned with correctness; {more}, the more probably it is wrong."
    if within.few:
        return f"{few(within)}."
    low, high = COIN
    if within.low >= low and within.high <= high:
        return f"all of that is between {low} and {high}, close to a coin flip, and sharpening has little to work with."
    return f"it is not shown that {reward} knows which responses are right, nor that it does not."


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
    own, most = rows[summary.reward], rows["correctness"]
    return [
        "A reward is worth its correlation with correctness within a prompt, whatever its scale: 1 for correctness itself, 0 "
        "for a reward that says nothing.",
        f"Best-of-2 by {by(summary)} is at {points(own.best_of_two)} points over one sample, which is what its AUC means; by "
        f"correctness it would be at {points(most.best_of_two)}.",
        None
        if own.slope.value is None
        else f"To first order a tilt by {by(summary)} moves accuracy by {points(own.slope)} points per √(2 nat) of "
        f"divergence from the model, and one by correctness by {points(most.slope)}.",
    ]


def efficiency_table(summary: Summary) -> tuple[tuple[str, ...], list[tuple[str, ...]]] | None:
    """Header and rows; correctness, the most that a reward can be worth, comes last."""
    if summary.alignment is None or not summary.alignment.efficiency:
        return None
    rows = sorted(summary.alignment.efficiency, key=lambda row: row.name == "correctness")
    header = ("reward", "correlation within prompts", "best-of-2 over one sample [points]", "per √(2 nat) [points]")
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
        f"{name if 'within' in name else f'across {name}'} {span(level, null=0.5, unlimited=UNBROKEN)}"
        for name, level in known.items()
    )
    sentence = f"The probability that the more accurate of two has the higher log-likelihood is, {each}."
    if "within a prompt" not in known:
        return sentence
    return (
        f"{sentence} Only the one within a prompt is what sharpening uses; the others can be high while it is not, and are "
        "often quoted instead."
    )
