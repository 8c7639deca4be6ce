"""What training would cost by the explicit bounds."""

from __future__ import annotations

from sharptheory.report.findings.words import amount
from sharptheory.report.schema import Cost, Summary


def sentences(summary: Summary) -> list[str | None]:
    if not summary.cost:
        return []
    rows = [
        f"{cost.method}: {amount(cost.prompts)} prompts × {amount(cost.responses)} responses"
        f"{'' if cost.tokens is None else f', {amount(cost.tokens)} forward tokens'} ({cost.source})."
        for cost in summary.cost
    ]
    return [
        "What the explicit bounds ask for if 90 % of the prompts are to have 90 % of their mass on the argmax, per unit of "
        "log(|Π|/ρ), the size of the policy class and the failure probability, over the range that the samples leave to the "
        "coverage coefficient:",
        *rows,
        "∞ is for the prompts without a finished response, whose p* has no lower bound: sample with a larger budget of tokens."
        if any(_endless(cost) for cost in summary.cost)
        else None,
        "These are guarantees for the worst case; their ratios are what to read.",
    ]


def _endless(cost: Cost) -> bool:
    return any(between is not None and between.high is None for between in (cost.prompts, cost.responses, cost.tokens))
