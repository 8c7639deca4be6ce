"""From the numbers of a diagnosis to sentences: what they mean, good news or bad."""

from __future__ import annotations

import math

UNFINISHED_WARNING = 0.05


def percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"


def span(estimate: dict, *, scale: float = 1.0, digits: int = 2, sign: bool = False) -> str:
    """``0.80 [0.77, 0.83]``."""
    form = f"{{:{'+' if sign else ''}.{digits}f}}"
    value = form.format(scale * estimate["value"])
    if estimate["low"] is None:
        return f"{value} [no interval: one prompt]"
    return f"{value} [{form.format(scale * estimate['low'])}, {form.format(scale * estimate['high'])}]"


def coverage_interval(coverage: dict) -> tuple[str, str]:
    """Both ends of the certified interval for the coverage coefficient, readable where they overflow."""
    low, high, log_high = (coverage[key] for key in ("c_cov_bar_low", "c_cov_bar_high", "log_c_cov_bar_high"))
    if high is None or high >= 1e6:
        upper = "∞ (a prompt without a finished response)" if log_high is None else f"10^{log_high / math.log(10):.1f}"
    else:
        upper = f"{high:,.1f}"
    return f"{low:,.1f}", upper


def findings(summary: dict) -> dict[str, str]:
    """What the numbers of this run mean, one paragraph per figure, good news or bad."""
    said = {
        "accuracy": _accuracy_finding(summary),
        "rewards": _rewards_finding(summary),
        "likelihood": _likelihood_finding(summary),
        "alignment": _alignment_finding(summary),
        "alignment_levels": _levels_finding(summary),
        "coverage": _coverage_finding(summary),
        "theory": _theory_finding(summary),
        "cost": _cost_finding(summary),
    }
    return {figure: text for figure, text in said.items() if text}


def _accuracy_finding(summary: dict) -> str | None:
    if summary["pass_at_n"] is None:
        return None
    last, best = summary["best_of_n"][-1], max(summary["best_of_n"], key=lambda row: row["accuracy"])
    gain, n = summary["gain_over_sampling"], last["n"]
    said = [
        f"One sample is right on {percent(summary['sampled_accuracy'])} of prompts; the most likely of {n} on "
        f"{percent(last['accuracy'])} [{percent(last['low'])}, {percent(last['high'])}]."
    ]
    if n == 1:
        said = [
            f"One sample is right on {percent(summary['sampled_accuracy'])} of prompts; best-of-N needs more samples."
        ]
    elif gain["low"] is None:
        said.append("With a single prompt there is no interval, so no conclusion.")
    elif gain["low"] > 0:
        said.append(f"Sharpening pays: {span(gain, scale=100, digits=1, sign=True)} points over sampling.")
    elif gain["high"] < 0:
        said.append(
            f"Bad news: sharpening hurts by {span(gain, scale=100, digits=1, sign=True)} points; this model's "
            "likelihood prefers wrong responses here, and training on its own best-of-N would make it worse."
        )
    else:
        said.append(f"The gain, {span(gain, scale=100, digits=1, sign=True)} points, is not distinguishable from none.")
    if (over := summary["gain_over_greedy"]) is not None and n > 1:
        verdict = (
            "no interval"
            if over["low"] is None
            else (
                "better than" if over["low"] > 0 else "worse than" if over["high"] < 0 else "not distinguishable from"
            )
        )
        said.append(
            f"Best-of-{n} is {verdict} greedy decoding ({percent(summary['greedy_accuracy'])}): "
            f"{span(over, scale=100, digits=1, sign=True)} points."
        )
    if best["accuracy"] - last["accuracy"] > 0.02:
        said.append(
            f"Accuracy peaks at N = {best['n']} ({percent(best['accuracy'])}) and falls after it: do not take N larger."
        )
    if (prediction := summary["prediction"]) is not None:
        further, checks = prediction["best_of_n"][-1], prediction["calibration"]
        agree = sum(check["agrees"] for check in checks)
        said.append(
            f"With N = {further['n']:,} expect {percent(further['accuracy'])} [{percent(further['low'])}, "
            f"{percent(further['high'])}]; predicting in the same way from a quarter of these samples agrees with the rest "
            f"at {agree} of {len(checks)} values of N."
        )
    left = summary["pass_at_n"][-1]["accuracy"] - last["accuracy"]
    if left > 0.02:
        said.append(
            f"Another {100 * left:.1f} points have a correct response among the {n} that likelihood does not pick."
        )
    if (lost := sum(summary["unreadable"].values())) > 0.01:
        reasons = ", ".join(f"{reason} {percent(share)}" for reason, share in summary["unreadable"].items())
        said.append(
            f"{percent(lost)} of the responses have no answer that could be read and count as wrong ({reasons})."
        )
    if summary["sampled_accuracy"] in (0.0, 1.0):
        kind = "correct" if summary["sampled_accuracy"] else "incorrect"
        said.append(f"Every response is {kind}, so there is nothing for any selection to improve.")
    return " ".join(said)


def _rewards_finding(summary: dict) -> str | None:
    last = {name: rows[-1] for name, rows in summary["rewards"].items() if name != "correctness"}
    if len(last) < 2 or next(iter(last.values()))["n"] == 1:
        return None
    best = max(last, key=lambda name: last[name]["accuracy"])
    listed = ", ".join(f"{name.replace('_', ' ')} {percent(row['accuracy'])}" for name, row in last.items())
    n = last[best]["n"]
    said = [f"At N = {n}: {listed}."]
    own = last["log_likelihood"]
    if best != "log_likelihood" and last[best]["low"] is not None and last[best]["low"] > own["high"]:
        said.append(f"On this task {best.replace('_', ' ')} is the better self-reward, beyond both intervals.")
    else:
        said.append("No other self-reward is better than log-likelihood beyond both intervals.")
    return " ".join(said)


def _likelihood_finding(summary: dict) -> str:
    first, last = summary["best_of_n"][0], summary["best_of_n"][-1]
    said = []
    if last["n"] > 1:
        said.append(
            f"The log-likelihood of the best of {last['n']} is {last['log_likelihood']:.2f} nats on average, "
            f"{last['log_likelihood'] - first['log_likelihood']:+.2f} over one sample."
        )
    else:
        said.append(
            f"One sample has {first['log_likelihood']:.2f} nats on average; with one sample there is nothing to select."
        )
    greedy = summary["greedy_log_likelihood"]
    if greedy is not None and last["n"] > 1:
        difference = last["log_likelihood"] - greedy
        how = "above" if difference > 0 else "below"
        said.append(f"That is {abs(difference):.2f} nats {how} greedy decoding.")
    if (length := summary["length"]) is not None and last["n"] > 1 and length["sampled"]:
        ratio = length["best_of_n"] / length["sampled"]
        said.append(f"Its responses have {length['best_of_n']:.1f} tokens against {length['sampled']:.1f}.")
        if ratio < 0.8:
            said.append(
                f"Short responses are winning ({1 - ratio:.0%} shorter): likelihood sums over tokens, so check that "
                "the gain is not brevity; a length-normalised reward is the usual remedy."
            )
    if (confound := summary["length_confound"]) is not None:
        given, adjusted = confound["auc_given_length"], confound["accuracy_adjusted"]
        said.append(
            f"Within a prompt log-likelihood correlates with length by {span(confound['correlation'])}"
            + (f"; among responses of one length its AUC is {span(given)}" if given["value"] is not None else "")
            + f"; with length regressed out, best-of-N is right on {percent(adjusted['value'])}."
        )
    if summary["unfinished_fraction"] is not None and summary["unfinished_fraction"] > UNFINISHED_WARNING:
        said.append(
            f"Warning: {percent(summary['unfinished_fraction'])} of the responses were cut by the length budget. A cut "
            "response scores its prefix only, which is too likely, and is usually graded wrong: raise --max-new-tokens."
        )
    return " ".join(said)


def _alignment_finding(summary: dict) -> str | None:
    within, pooled = summary["auc_within"], summary["auc_pooled"]
    if within is None:
        return None
    if within["value"] is None:
        return (
            "No prompt has both correct and incorrect responses, so likelihood cannot be compared with correctness "
            "within prompts."
        )
    said = [
        f"Within a prompt, a correct response is likelier than a wrong one with probability {span(within)} "
        f"({within['n_prompts']} prompts that have both)."
    ]
    if within["low"] is None:
        said.append("One prompt is too few for a conclusion.")
    elif within["low"] > 0.5:
        said.append("Likelihood knows which responses are right: the premise of sharpening holds here.")
    elif within["high"] < 0.5:
        said.append(
            "Likelihood is anti-aligned with correctness: the likelier a response, the more probably it is wrong."
        )
    else:
        said.append("That is not distinguishable from a coin flip: sharpening has nothing to work with.")
    said.append(f"Pooled over prompts it is {span(pooled)}, which also rewards knowing which prompts are easy.")
    if (test := summary["dominance"]["within"]) is not None:
        p_value = lambda p: "p < 0.001" if p < 0.001 else f"p = {p:.3f}"  # noqa: E731
        said.append(
            {
                True: f"The likelihoods of correct responses stochastically dominate those of wrong ones within prompts "
                f"({p_value(test['p_above'])} for, {p_value(test['p_below'])} against).",
                False: f"Stochastic dominance of correct likelihoods within prompts is not shown "
                f"({p_value(test['p_above'])} for, {p_value(test['p_below'])} against).",
            }[test["holds"]]
        )
    return " ".join(said)


def _levels_finding(summary: dict) -> str | None:
    levels = summary["alignment"]
    if not levels:
        return None
    known = {name: level for name, level in levels.items() if level["value"] is not None}
    listed = ", ".join(f"{name} {span(level)}" for name, level in known.items())
    listed = listed.replace(", within", ", and within")
    return (
        f"The probability that the more accurate of two has the higher log-likelihood is, across {listed}. "
        "Only the last is what sharpening uses; the others can be high while it is not, and are often quoted in its place."
    )


def _cost_finding(summary: dict) -> str | None:
    if not summary["cost"]:
        return None
    said = [
        "What the explicit bounds ask for if 90 % of the prompts are to have 90 % of their mass on the argmax, per unit of "
        "log(|Π|/ρ), the size of the policy class and the failure probability, and at both ends of the coverage measured:"
    ]
    for row in summary["cost"]:
        span_of = lambda key, row=row: _range(row[f"{key}_low"], row[f"{key}_high"])  # noqa: E731
        tokens = "" if row["tokens_low"] is None else f", {span_of('tokens')} forward tokens"
        said.append(
            f"{row['method']}: {span_of('prompts')} prompts × {span_of('responses')} responses{tokens} ({row['source']})."
        )
    said.append("These are guarantees for the worst case, and practice needs far less; their ratios are what to read.")
    return " ".join(said)


def _range(low: float | None, high: float | None) -> str:
    show = lambda value: "∞" if value is None else f"{value:,.0f}" if value < 1e6 else f"{value:.1e}"  # noqa: E731
    return show(low) if low is not None and show(low) == show(high) else f"{show(low)} to {show(high)}"


def _coverage_finding(summary: dict) -> str:
    coverage, n = summary["coverage"], summary["n_samples"]
    certified = coverage["certified_fraction"]
    said = [f"The most likely response is certified, by this pool alone, on {percent(certified)} of the prompts."]
    low, high = coverage_interval(coverage)
    said.append(f"The coverage coefficient, the mean of 1/p*, lies between {low} and {high} on these prompts.")
    undersampled = coverage["undersampled_fraction"]
    if undersampled > 0.05:
        said.append(
            f"On {percent(undersampled)} of the prompts even the likeliest response seen has probability below one in "
            f"the number of samples, so {n} samples are too few to expect the argmax among them."
        )
    else:
        said.append(f"{n} samples per prompt are enough to have drawn the likeliest response on most prompts.")
    return " ".join(said)


def _theory_finding(summary: dict) -> str:
    rates = summary["hit_rates"]
    if rates is None:
        return (
            "No prompt has its argmax certified by half of its samples, so the exact law cannot be compared with a "
            "measurement: draw more samples, or use a model or task with shorter responses."
        )
    off, total = rates["disagreements"], len(rates["n"])
    if off == 0:
        verdict = "Every measured point agrees with the exact law within its 95 % interval."
    else:
        verdict = f"{off} of {total} measured points lie outside their 95 % interval (neighbours share their samples)."
    return (
        f"On {rates['n_prompts']} prompts whose argmax half of the samples certify, the other half "
        f"({rates['n_samples']:,} samples) tests the law 1 - (1 - p*)^N. {verdict}"
    )


def headline(summary: dict) -> list[tuple[str, str]]:
    """The few numbers to see first, as (name, value) pairs."""
    rows = [("prompts × samples", f"{summary['n_prompts']:,} × {summary['n_samples']:,}")]
    if summary["pass_at_n"] is not None:
        last = summary["best_of_n"][-1]
        rows += [("one sample", percent(summary["sampled_accuracy"]))]
        if summary["greedy_accuracy"] is not None:
            rows += [("greedy decoding", percent(summary["greedy_accuracy"]))]
        rows += [
            (
                f"best of {last['n']} by log-likelihood",
                f"{percent(last['accuracy'])} [{percent(last['low'])}, {percent(last['high'])}]",
            ),
            (f"any of {last['n']} (pass@{last['n']})", percent(summary["pass_at_n"][-1]["accuracy"])),
        ]
        if summary["auc_within"]["value"] is not None:
            rows += [("AUC of likelihood, within prompts", span(summary["auc_within"]))]
        if summary["auc_pooled"]["value"] is not None:
            rows += [("AUC of likelihood, pooled", span(summary["auc_pooled"]))]
    coverage = summary["coverage"]
    rows += [
        ("argmax certified on", percent(coverage["certified_fraction"])),
        ("coverage coefficient, mean of 1/p*", "[{}, {}]".format(*coverage_interval(coverage))),
        (
            "unfinished responses",
            "unknown" if summary["unfinished_fraction"] is None else percent(summary["unfinished_fraction"]),
        ),
    ]
    return rows
