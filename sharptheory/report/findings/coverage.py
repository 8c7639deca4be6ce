"""What the samples prove about the likeliest responses."""

from __future__ import annotations

from sharptheory.report.findings.words import coverage_range, percent
from sharptheory.report.schema import Range, Summary


def sentences(summary: Summary) -> list[str | None]:
    coverage = summary.coverage
    if coverage is None:
        return [
            "These are not log-likelihoods of responses sampled at temperature 1, so coverage is left out, and with it the "
            f"test of the exact law, the prediction and the costs: {summary.coverage_refused}."
        ]
    proved = [
        f"The most likely response is certified, by this pool alone, on {percent(coverage.certified)} of the prompts.",
        f"The coverage coefficient, the mean of 1/p*, is {coverage_range(coverage)} on these prompts; where in "
        "between, more samples would tell.",
        f"Over all prompts of this kind it is at least {coverage.at_least:,.1f}, with 95 % confidence; no sample of prompts "
        "can bound it from above.",
    ]
    if _tells(coverage.renyi_2):
        between = coverage.renyi_2
        proved.append(
            f"The order-2 Rényi entropy, minus the logarithm of the probability that two samples of a prompt are equal, is between "
            f"{between.low:.2f} and {between.high:.2f} nats on average over these prompts, with certainty."
        )
    if coverage.undersampled > 0.05:
        proved.append(
            f"On {percent(coverage.undersampled)} of the prompts even the likeliest response sampled has probability below "
            f"one in the number of samples: on those, the samples are too few to expect the argmax among them."
        )
    else:
        proved.append("On most prompts these samples are enough to expect the likeliest response among them.")
    return proved


def _tells(entropy: Range | None) -> bool:
    """Whether the ends of an entropy are within a factor of two."""
    return (
        entropy is not None and entropy.high is not None and entropy.low is not None and 2 * entropy.low >= entropy.high
    )
