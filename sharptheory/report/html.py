"""The report: one self-contained HTML file, its figures, and the summary as JSON."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import jinja2
import pandas as pd
from matplotlib.axes import Axes

from sharptheory.report import plots
from sharptheory.report.findings import findings, headline
from sharptheory.report.findings.alignment import efficiency_table
from sharptheory.report.findings.words import by, count, nats
from sharptheory.report.schema import Summary
from sharptheory.report.summary import REWARD, Diagnosis
from sharptheory.runs import write

TEMPLATE = Path(__file__).with_name("report.html")

FIGURES = {
    "samples": ("The samples", None),
    "accuracy": ("Accuracy against the number of responses", "accuracy.png"),
    "rewards": ("Does another self-reward select better?", "rewards.png"),
    "likelihood": ("Log-likelihood of the selected response", "log_likelihood.png"),
    "alignment": ("Does likelihood predict correctness?", "likelihood_pooled.png"),
    "alignment_within": ("The same within prompts", "likelihood_within.png"),
    "efficiency": ("What each reward is worth", None),
    "alignment_levels": ("Does likelihood know? It depends on what is compared", "alignment_levels.png"),
    "coverage": ("Coverage profile", "coverage_profile.png"),
    "theory": ("Theory against measurement", "theory_vs_measurement.png"),
    "answers": ("Answers, whatever the responses around them", "answers.png"),
    "cost": ("What training would cost by the bounds", None),
}


#: What sharpening asks, and what another selection does.
SHARPENING = "Can this model improve itself by sharpening, that is by preferring its own likeliest responses?"
SELECTING = "Does selecting by {} find better responses than one sample?"
NOTHING = "How often is a sample right, and how often one of several?"


def question(summary: Summary) -> str:
    """What the report answers."""
    if summary.by_likelihood:
        return SHARPENING
    return NOTHING if summary.reward is None else SELECTING.format(by(summary))


#: Headings of a pool of which nothing is graded.
UNGRADED = {"alignment": "Log-likelihoods of the samples", "alignment_within": "The same within prompts"}


def heading(key: str, summary: Summary) -> str:
    """The heading of a figure, which asks only what the pool can answer."""
    if summary.graded and not summary.by_likelihood:
        other = {
            "alignment": f"Does {by(summary)} predict correctness?",
            "rewards": "Does another reward select better?",
        }
        other |= {} if summary.reward else {"rewards": "What could select?"}
        return other.get(key, FIGURES[key][0])
    return FIGURES[key][0] if summary.graded else UNGRADED.get(key, FIGURES[key][0])


def write_report(diagnosis: Diagnosis, folder: str | Path, *, title: str) -> Path:
    """Writes ``summary.json``, one PNG per figure and a self-contained ``report.html``; returns the report's path.

    Args:
        diagnosis: of `diagnose`. folder: made if missing; what an earlier report left in it is replaced or removed.
        title: shown on top.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "summary.json", diagnosis.summary.to_json())
    images = _save_figures(diagnosis, folder)
    texts, tables = findings(diagnosis.summary), {"efficiency": efficiency_table(diagnosis.summary)}
    sections = [
        {
            "heading": heading(key, diagnosis.summary),
            "text": texts.get(key),
            "image": images.get(key),
            "table": tables.get(key),
        }
        for key in FIGURES
        if key in texts or key in images
    ]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        question=question(diagnosis.summary),
        unit=nats(diagnosis.summary),
        rows=headline(diagnosis.summary),
        sections=sections,
        provenance=diagnosis.summary.provenance,
    )
    path = folder / "report.html"
    write(path, html)
    return path


def _save_figures(diagnosis: Diagnosis, folder: Path) -> dict[str, str]:
    """Saves the figures that the diagnosis supports, removes the others; returns each as base64, by key."""
    draw, images = figures(diagnosis), {}
    for key, (_, filename) in FIGURES.items():
        if key in draw:
            path = plots.save(draw[key], folder / filename, heading(key, diagnosis.summary))
            images[key] = base64.b64encode(path.read_bytes()).decode()
        elif filename is not None:
            (folder / filename).unlink(missing_ok=True)
    return images


def figures(diagnosis: Diagnosis) -> dict[str, Callable[[Axes], Axes]]:
    """The figures that a diagnosis supports, as functions of an axis."""
    summary, certificate, rates = diagnosis.summary, diagnosis.certificate, diagnosis.hit_rates
    draw = {}
    if summary.likelihoods:
        draw["likelihood"] = lambda ax: plots.log_likelihood_curve(summary, ax)
        draw |= _histograms(diagnosis) if summary.reward == REWARD else {}
    if summary.graded:
        draw["accuracy"] = lambda ax: plots.accuracy_curve(summary, ax)
        levels = {} if summary.alignment is None else summary.alignment.levels
        if sum(level.value is not None for level in levels.values()) > 1:
            draw["alignment_levels"] = lambda ax: plots.alignment_levels(levels, ax)
        if len(summary.rewards) > (0 if summary.reward is None else 1):
            draw["rewards"] = lambda ax: plots.reward_curves(summary, ax)
    if diagnosis.plurality is not None:
        draw["answers"] = lambda ax: plots.plurality_rates(diagnosis.plurality, ax)
    if summary.by_answers:
        return draw
    if certificate is not None:
        n = summary.sampling.n_samples
        draw["coverage"] = lambda ax: plots.coverage_profile(certificate, ax, n_samples=n)
    if rates is not None:
        draw["theory"] = lambda ax: plots.hit_rates(rates, ax)
    return draw


def _histograms(diagnosis: Diagnosis) -> dict[str, Callable[[Axes], Axes]]:
    """Log-likelihoods of graded samples by correctness, or of all where none is graded; as they are and centred.

    Those centred are of the prompts with correct and incorrect responses, as the AUC within prompts is.
    """
    samples, graded, unit = diagnosis.pool.samples, diagnosis.summary.graded, nats(diagnosis.summary).strip()
    by_prompt = samples.groupby("prompt_id")
    centred = samples[REWARD] - by_prompt[REWARD].transform("mean")
    shown = {"alignment": (samples[REWARD], ""), "alignment_within": (centred, " minus its prompt's mean")}
    if graded:
        known = samples["correct"].notna()
        throughout = known.groupby(samples["prompt_id"]).transform("all")
        mixed = throughout & (by_prompt["correct"].transform("nunique") == 2)
        where = f" minus its prompt's mean, {count(samples['prompt_id'][mixed].nunique(), 'prompt')} with both"
        shown = {"alignment": (samples[REWARD][known], "")}
        shown |= {"alignment_within": (centred[mixed], where)} if mixed.any() else {}

    def draw(values: pd.Series, label: str) -> Callable[[Axes], Axes]:
        correct = samples["correct"][values.index].to_numpy(dtype=bool) if graded else None
        name = f"{by(diagnosis.summary)}{label}{f' [{unit}]' if unit else ''}"
        return lambda ax: plots.likelihood_histogram(values.to_numpy(), correct, ax, label=name, unit=unit)

    return {key: draw(*each) for key, each in shown.items()}
