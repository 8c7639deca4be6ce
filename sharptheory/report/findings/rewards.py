"""Is another self-reward, or a vote, better than log-likelihood?"""

from __future__ import annotations

from sharptheory.report.findings.words import listed, named, percent, points
from sharptheory.report.schema import RewardCurve, Summary


def sentences(summary: Summary) -> list[str | None]:
    if len(summary.rewards) < 2 or summary.best_of_n[-1].n == 1:
        return []
    final = {named(reward): reward.curve[-1] for reward in summary.rewards}
    n = summary.best_of_n[-1].n
    sentences = [
        f"At N = {n}: " + ", ".join(f"{name} {percent(at.accuracy.value)}" for name, at in final.items()) + "."
    ]
    others = [reward for reward in summary.rewards if reward.over_likelihood is not None]
    if not summary.judged:
        return [*sentences, "No verdict: too many responses were cut by the length budget."]
    if all(reward.over_likelihood.low is None for reward in others):
        return [*sentences, "With a single prompt there is no interval, so no conclusion."]
    sentences += [_against_likelihood(others, direction) for direction in (1, -1, 0)]
    return [
        *sentences,
        "Differences are in points, paired over prompts, with intervals that hold for all of them together.",
    ]


def _against_likelihood(rewards: list[RewardCurve], direction: int) -> str | None:
    chosen = [reward for reward in rewards if reward.over_likelihood.direction() == direction]
    if not chosen:
        return None
    verdict = {1: "Better than", -1: "Worse than", 0: "Not distinguishable from"}[direction]
    differences = listed(f"{named(reward)} by {points(reward.over_likelihood)}" for reward in chosen)
    if direction == 0:
        differences = differences.replace(" by ", " ")
    return f"{verdict} log-likelihood: {differences}."
