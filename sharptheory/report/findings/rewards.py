"""Is another reward, or a vote, better than the one that the report is about?"""

from __future__ import annotations

from sharptheory.measure.rewards import REWARDS
from sharptheory.report.findings.premises import no_verdict, unanimous
from sharptheory.report.findings.words import TOGETHER, by, listed, named, percent, points, span
from sharptheory.report.schema import RewardCurve, Summary


def sentences(summary: Summary) -> list[str | None]:
    n = summary.sampling.n_samples if summary.reward is None else summary.best_of_n[-1].n
    if n == 1 or len(summary.rewards) < (1 if summary.reward is None else 2):
        return []
    final = {named(reward): reward.curve[-1].accuracy for reward in summary.rewards}
    first = f"At N = {n}: " + ", ".join(f"{name} {percent(accuracy.value)}" for name, accuracy in final.items()) + "."
    if reason := unanimous(summary) or no_verdict(summary):
        return [first, reason]
    others = [reward for reward in summary.rewards if reward.over_reward is not None]
    return [
        first,
        *(_against(others, direction, by(summary)) for direction in (1, -1, 0)),
        f"Differences are {TOGETHER}." if others else None,
        _know(summary),
    ]


def _know(summary: Summary) -> str | None:
    """What the rewards that are none of this package's know inside a prompt."""
    known = [reward for reward in summary.rewards if reward.name not in REWARDS and reward.auc is not None]
    each = [f"{span(reward.auc, null=0.5)} for {named(reward)}" for reward in known if reward.auc.value is not None]
    return f"Inside a prompt the AUC is {listed(each)}." if each else None


def _against(rewards: list[RewardCurve], direction: int, reward: str) -> str | None:
    chosen = [other for other in rewards if other.over_reward.direction() == direction]
    if not chosen:
        return None
    verdict = {1: "Better than", -1: "Worse than", 0: "Not distinguishable from"}[direction]
    differences = listed(f"{named(other)} by {points(other.over_reward)}" for other in chosen)
    if direction == 0:
        differences = differences.replace(" by ", " ")
    return f"{verdict} {reward}: {differences}."
