"""From a pool to a summary, to sentences, to a self-contained HTML report."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sharptheory import plotting, rewards
from sharptheory.estimators import (
    Estimate,
    HitRates,
    argmax_hit_rates,
    auc_pooled,
    auc_within,
    bootstrap_mean,
    c_cov_bar_interval,
    coverage_certificate,
    curve,
    doubling_grid,
)
from sharptheory.pool import greedy_responses, samples

TEMPLATE = Path(__file__).with_name("report.html")
REWARD = "log_likelihood"
UNFINISHED_WARNING = 0.05


@dataclass(frozen=True)
class Diagnosis:
    """All that a report is drawn from.

    Attributes:
        pool: the samples.
        summary: JSON-ready numbers, the content of ``summary.json``.
        certificate: per-prompt bounds on ``p*`` (`estimators.coverage_certificate`).
        hit_rates: theory against measurement, None where no prompt is certified.
    """

    pool: pd.DataFrame
    summary: dict
    certificate: pd.DataFrame
    hit_rates: HitRates | None


def diagnose(pool: pd.DataFrame, *, provenance: dict | None = None, seed: int = 0) -> Diagnosis:
    """Estimate everything a pool supports: best-of-N, pass@N, coverage, AUC, theory against measurement.

    Args:
        pool: a validated pool, see `sharptheory.pool`; accuracy needs its `correct` column.
        provenance: recorded in the summary as it is.
        seed: of the bootstrap.
    """
    drawn, greedy = samples(pool), greedy_responses(pool)
    per_prompt = drawn.groupby("prompt_id").size()
    n = curve_grid(int(per_prompt.min()))
    certificate = coverage_certificate(drawn)
    ends = c_cov_bar_interval(certificate, seed=seed)
    summary = {
        "n_prompts": len(per_prompt),
        "n_samples": int(per_prompt.min()),
        "n_samples_max": int(per_prompt.max()),
        "n_responses": len(drawn),
        "greedy_accuracy": None,
        "sampled_accuracy": None,
        "sampled_log_likelihood": _number(drawn.groupby("prompt_id")[REWARD].mean().mean()),
        "greedy_log_likelihood": _number(greedy[REWARD].mean()) if len(greedy) else None,
        "best_of_n": _curve_rows(drawn, REWARD, n, seed),
        "pass_at_n": None,
        "gain_over_sampling": None,
        "gain_over_greedy": None,
        "coverage": {
            "certified_fraction": float(certificate["certified"].mean()),
            "c_cov_bar_low": _number(ends.value[0]),
            "c_cov_bar_high": _number(ends.value[1]),
            "c_cov_bar_low_ci": _number(ends.low[0]),
            "c_cov_bar_high_ci": _number(ends.high[1]),
            "log_c_cov_bar_high": _number(_log_mean_exp(-certificate["log_p_low"].to_numpy())),
            "median_log_p_low": _number(certificate["log_p_low"].median()),
            "undersampled_fraction": float(np.mean(certificate["log_p_low"] < -np.log(certificate["n_samples"]))),
        },
        "rewards": {},
        "auc_pooled": None,
        "auc_within": None,
        "unfinished_fraction": float(1 - drawn["finished"].mean()),
        "length": None,
        "hit_rates": None,
    }
    if "length" in drawn:
        lengths = curve(drawn, REWARD, "length", n).mean()
        summary["length"] = {"sampled": _number(lengths.iloc[0]), "best_of_n": _number(lengths.iloc[-1])}
    if "correct" in drawn:
        summary |= _correctness(drawn, greedy, n, seed)
    rates = argmax_hit_rates(drawn)
    if rates is not None:
        summary["hit_rates"] = {
            "n": rates.n.tolist(),
            "predicted": rates.law(rates.n).tolist(),
            "measured": rates.measured.value.tolist(),
            "low": _list(rates.measured.low),
            "high": _list(rates.measured.high),
            "n_prompts": len(rates.mass),
            "n_samples": rates.n_samples,
            "disagreements": rates.disagreements(),
        }
    summary["provenance"] = provenance or {}
    return Diagnosis(drawn, summary, certificate, rates)


def _correctness(drawn: pd.DataFrame, greedy: pd.DataFrame, n: np.ndarray, seed: int) -> dict:
    """The part of the summary that needs to know which responses are right, on the prompts where that is known."""
    known = drawn[drawn["correct"].notna().groupby(drawn["prompt_id"]).transform("all")]
    accuracy = curve(known, REWARD, "correct", n)
    one, best = accuracy[n[0]], accuracy[n[-1]]
    within, n_mixed = auc_within(known, seed=seed)
    result = {
        "n_graded_prompts": len(accuracy),
        "sampled_accuracy": _number(one.mean()),
        "sampled_accuracy_ci": _interval(bootstrap_mean(one, proportion=True, seed=seed)),
        "pass_at_n": _curve_rows(known, "correct", n, seed),
        "rewards": _reward_curves(known, doubling_grid(int(n[-1])), seed),
        "gain_over_sampling": _interval(bootstrap_mean(best - one, seed=seed)),
        "auc_pooled": _interval(auc_pooled(known, seed=seed)),
        "auc_within": _interval(within) | {"n_prompts": n_mixed},
    }
    if len(greedy) and "correct" in greedy and greedy["correct"].notna().any():
        right = greedy.set_index("prompt_id")["correct"].dropna().astype(float)
        right = right[right.index.intersection(best.index)]
        result["greedy_accuracy"] = _number(right.mean())
        result["greedy_accuracy_ci"] = _interval(bootstrap_mean(right, proportion=True, seed=seed))
        result["gain_over_greedy"] = _interval(bootstrap_mean(best[right.index] - right, seed=seed))
    return result


def _reward_curves(known: pd.DataFrame, n: np.ndarray, seed: int) -> dict[str, list[dict]]:
    """Accuracy of best-of-N by every self-reward that the pool supports, and of the majority vote."""
    curves = {}
    for name in rewards.available(known):
        ranked = known.assign(**{"reward ": rewards.REWARDS[name][0](known)})
        curves[name] = curve(ranked, "reward ", "correct", n)
    if "answer" in known and known["answer"].notna().any():
        curves["majority"] = rewards.majority_curve(known, n)
    return {
        name: [
            dict(n=int(k), accuracy=_number(value), low=_number(low), high=_number(high))
            for k, value, low, high in zip(n, estimate.value, estimate.low, estimate.high)
        ]
        for name, table in curves.items()
        for estimate in [bootstrap_mean(table.to_numpy(dtype=float), proportion=True, seed=seed)]
    }


def _curve_rows(drawn: pd.DataFrame, reward: str, n: np.ndarray, seed: int) -> list[dict]:
    """Best-of-N by `reward`: one ``{n, accuracy, low, high, log_likelihood, …}`` per N."""
    rows = pd.DataFrame({"n": n})
    for value, names in (
        ("correct", ("accuracy", "low", "high")),
        (REWARD, ("log_likelihood", "log_likelihood_low", "log_likelihood_high")),
    ):
        if value in drawn:
            estimate = bootstrap_mean(curve(drawn, reward, value, n), proportion=value == "correct", seed=seed)
            rows[list(names)] = np.stack([estimate.value, estimate.low, estimate.high], axis=1)
        else:
            rows[list(names)] = np.nan
    return rows.astype(object).where(rows.notna(), None).to_dict("records")


def curve_grid(largest: int, points: int = 64) -> np.ndarray:
    """Every N up to `points`, then about `points` more up to `largest`, evenly on a logarithmic axis."""
    if largest <= points:
        return np.arange(1, largest + 1)
    return np.unique(
        np.concatenate([np.arange(1, points + 1), np.geomspace(points, largest, points).round().astype(int)])
    )


def _number(value: float) -> float | None:
    """A JSON number; None for NaN and infinities, which JSON does not have."""
    value = float(value)
    return value if math.isfinite(value) else None


def _list(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]


def _interval(estimate: Estimate) -> dict:
    return {"value": _number(estimate.value), "low": _number(estimate.low), "high": _number(estimate.high)}


def _log_mean_exp(values: np.ndarray) -> float:
    return float(np.logaddexp.reduce(values) - np.log(len(values)))


# Sentences ------------------------------------------------------------------------------------------------------------


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
        "coverage": _coverage_finding(summary),
        "theory": _theory_finding(summary),
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
    left = summary["pass_at_n"][-1]["accuracy"] - last["accuracy"]
    if left > 0.02:
        said.append(
            f"Another {100 * left:.1f} points have a correct response among the {n} that likelihood does not pick."
        )
    if summary["sampled_accuracy"] in (0.0, 1.0):
        kind = "correct" if summary["sampled_accuracy"] else "incorrect"
        said.append(f"Every response is {kind}, so there is nothing for any selection to improve.")
    return " ".join(said)


def _rewards_finding(summary: dict) -> str | None:
    last = {name: rows[-1] for name, rows in summary["rewards"].items() if name not in ("correctness", "answer_share")}
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
    if summary["unfinished_fraction"] > UNFINISHED_WARNING:
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
    return " ".join(said)


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


# The report -----------------------------------------------------------------------------------------------------------

FIGURES = {
    "accuracy": ("Accuracy against the number of responses", "accuracy.png"),
    "rewards": ("Which self-reward selects best?", "rewards.png"),
    "likelihood": ("Log-likelihood of the selected response", "log_likelihood.png"),
    "alignment": ("Does likelihood predict correctness?", "likelihood_pooled.png"),
    "alignment_within": ("The same within prompts", "likelihood_within.png"),
    "coverage": ("Coverage profile", "coverage_profile.png"),
    "theory": ("Theory against measurement", "theory_vs_measurement.png"),
}


def _draw(diagnosis: Diagnosis) -> dict[str, Callable[[Axes], Axes]]:
    """The figures this diagnosis supports, as functions of an axis."""
    summary, drawn = diagnosis.summary, diagnosis.pool
    best = pd.DataFrame(summary["best_of_n"])
    log_likelihood = drawn[REWARD].to_numpy()
    centred = (drawn[REWARD] - drawn.groupby("prompt_id")[REWARD].transform("mean")).to_numpy()
    correct = None
    if "correct" in drawn:
        known = drawn["correct"].notna().to_numpy()
        log_likelihood, centred = log_likelihood[known], centred[known]
        correct = drawn["correct"][known].to_numpy(dtype=bool)
    figures = {
        "likelihood": lambda ax: plotting.log_likelihood_curve(best, ax, greedy=summary["greedy_log_likelihood"]),
        "alignment": lambda ax: plotting.likelihood_histogram(
            log_likelihood, correct, ax, label="log-likelihood [nats]"
        ),
        "alignment_within": lambda ax: plotting.likelihood_histogram(
            centred, correct, ax, label="log-likelihood minus its prompt's mean [nats]"
        ),
        "coverage": lambda ax: plotting.coverage_profile(diagnosis.certificate, ax, n_samples=summary["n_samples"]),
    }
    if correct is not None:
        figures["accuracy"] = lambda ax: plotting.accuracy_curve(
            best,
            pd.DataFrame(summary["pass_at_n"]),
            ax,
            sampled=summary["sampled_accuracy"],
            greedy=summary["greedy_accuracy"],
        )
        if len(summary["rewards"]) > 2:
            figures["rewards"] = lambda ax: plotting.reward_curves(
                {name: pd.DataFrame(rows) for name, rows in summary["rewards"].items()}, ax
            )
    if diagnosis.hit_rates is not None:
        figures["theory"] = lambda ax: plotting.hit_rates(diagnosis.hit_rates, ax)
    return figures


def write_report(diagnosis: Diagnosis, folder: str | Path, *, title: str) -> Path:
    """Write ``summary.json``, one PNG per figure and a self-contained ``report.html``; returns the report's path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(diagnosis.summary, indent=1, allow_nan=False) + "\n")
    said, draw, sections = findings(diagnosis.summary), _draw(diagnosis), []
    for key, (heading, filename) in FIGURES.items():
        if key not in draw and key not in said:
            continue
        image = None
        if key in draw:
            path = plotting.save(draw[key], folder / filename, heading)
            image = base64.b64encode(path.read_bytes()).decode()
        else:
            (folder / filename).unlink(missing_ok=True)
        sections.append({"heading": heading, "image": image, "text": said.get(key, "")})
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(TEMPLATE.read_text()).render(
        title=title, sections=sections, rows=headline(diagnosis.summary), summary=diagnosis.summary
    )
    path = folder / "report.html"
    path.write_text(html)
    return path


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
        ("unfinished responses", percent(summary["unfinished_fraction"])),
    ]
    return rows
