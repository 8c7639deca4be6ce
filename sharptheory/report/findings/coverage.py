"""What the samples prove about the likeliest responses."""

from __future__ import annotations

from sharptheory.report.findings.words import coverage_range, percent
from sharptheory.report.schema import Coverage, Range, Summary


def sentences(summary: Summary) -> list[str | None]:
    coverage = summary.coverage
    if coverage is None:
        return [
            "These are not log-likelihoods of responses sampled at temperature 1, so coverage is left out, and with it the "
            f"test of the exact law, the prediction and the costs: {summary.coverage_refused}."
        ]
    return [
        f"The most likely response is certified, by this pool alone, on {percent(coverage.certified)} of the prompts.",
        f"The coverage coefficient, the mean of 1/p*, is {coverage_range(coverage)} on these prompts{_between(coverage)}.",
        f"Over all prompts of this kind it is at least {coverage.at_least:,.1f}, with 95 % confidence; no sample of prompts "
        "can bound it from above.",
        _entropy(coverage.renyi_2),
        _enough(summary),
    ]


def _between(coverage: Coverage) -> str:
    """What would narrow its range: more samples do not finish a response that is cut."""
    if coverage.log_coefficient_high is None:
        return "; its upper end is finite only once every prompt has a finished response, so sample with a larger budget of tokens"
    if not coverage_range(coverage).startswith("between"):
        return ""
    return "; where in between, more samples would tell"


def _enough(summary: Summary) -> str:
    """Whether the argmax may be expected among the samples."""
    few, n_prompts = summary.coverage.undersampled, summary.sampling.n_prompts
    if few:
        where = "On the prompt" if n_prompts == 1 else f"On {percent(few)} of the prompts"
        return (
            f"{where} even the likeliest response sampled has probability below one in the number of samples: too few to "
            "expect the argmax among them."
        )
    where = "On the prompt" if n_prompts == 1 else "On every prompt"
    return f"{where} these samples are enough to expect the likeliest response among them."


def _entropy(between: Range | None) -> str | None:
    """The order-2 Rényi entropy, where its ends are within a factor of two."""
    if between is None or between.high is None or between.low is None or 2 * between.low < between.high:
        return None
    return (
        f"The order-2 Rényi entropy, minus the logarithm of the probability that two samples of a prompt are equal, is between "
        f"{between.low:.2f} and {between.high:.2f} nats on average over these prompts, with certainty."
    )
