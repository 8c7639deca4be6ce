"""Is another self-reward, or a vote, better than log-likelihood?"""

from __future__ import annotations

from sharptheory.report.findings.premises import no_verdict, unanimous
from sharptheory.report.findings.words import TOGETHER, listed, named, percent, points
from sharptheory.report.schema import RewardCurve, Summary


def sentences(summary: Summary) -> list[str | None]:
    if len(summary.rewards) < 2 or summary.best_of_n[-1].n == 1:
        return []
    final = {named(reward): reward.curve[-1].accuracy for reward in summary.rewards}
    n = summary.best_of_n[-1].n
    first = f"At N = {n}: " + ", ".join(f"{name} {percent(accuracy.value)}" for name, accuracy in final.items()) + "."
    if reason := unanimous(summary) or no_verdict(summary):
        return [first, reason]
    others = [reward for reward in summary.rewards if reward.over_likelihood is not None]
    return [
        first,
        *(_against_likelihood(others, direction) for direction in (1, -1, 0)),
        f"Differences are {TOGETHER}.",
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
