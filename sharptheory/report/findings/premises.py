"""What a verdict rests on: which of it fails, in words that every chapter uses."""

from __future__ import annotations

from sharptheory.report.findings.words import count, percent
from sharptheory.report.schema import FEWEST_PROMPTS, UNFINISHED_LIMIT, HitRates, Interval, Summary


def no_verdict(summary: Summary) -> str | None:
    """Which premises fail, each with its remedy; None where there may be verdicts."""
    if summary.judged:
        return None
    reasons = {
        "likelihoods": _no_likelihoods,
        "unfinished": lambda: cut_short(summary.sampling.unfinished),
        "mixed prompts": lambda: too_few_mixed(summary.sampling.n_mixed_prompts),
        "law": lambda: _other_samples(summary.hit_rates),
    }
    return f"No verdict: {'; '.join(reasons[premise]() for premise in summary.unmet)}."


def _no_likelihoods() -> str:
    return (
        "what is called log_likelihood is not the log-likelihood of whole responses sampled at temperature 1, so that selecting "
        "by it is no sharpening (give log-likelihoods summed over the tokens of a response; or, where it is another score, "
        "call it so: --columns score=log_likelihood --reward score)"
    )


def cut_short(unfinished: float) -> str:
    return (
        f"{percent(unfinished)} of the responses were cut by the length budget, more than {100 * UNFINISHED_LIMIT:.0f} %, and "
        "neither likelihoods nor grades are those of whole responses (sample with a larger budget of tokens)"
    )


def too_few_mixed(n_prompts: int) -> str:
    return (
        f"{count(n_prompts, 'prompt')} {'has' if n_prompts == 1 else 'have'} both correct and incorrect responses, and fewer "
        f"than {FEWEST_PROMPTS} decide nothing (take more prompts, or more samples of each)"
    )


def _other_samples(rates: HitRates) -> str:
    return (
        f"one sample is the most likely response on {percent(rates.curve[0].measured.value)} where its likelihood says "
        f"{percent(rates.curve[0].predicted)}, which is not chance ({chance(rates.p_value)}): these samples do not follow "
        "their log-likelihoods (another temperature, top-p or prompt template?)"
    )


def unanimous(summary: Summary) -> str | None:
    """That all responses have one grade, which leaves nothing to judge."""
    if summary.sampling.accuracy is None or summary.sampling.accuracy.value not in (0.0, 1.0):
        return None
    kind = "correct" if summary.sampling.accuracy.value else "incorrect"
    return f"Every response is {kind}, so there is nothing for any selection to improve."


def few(difference: Interval) -> str:
    """Why an interval decides nothing, wherever it lies: its prompts are too few."""
    decide = "decides" if difference.n_prompts == 1 else "decide"
    return f"{count(difference.n_prompts, 'prompt')} {decide} nothing, {FEWEST_PROMPTS} are needed"


def chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
