"""The report: one self-contained HTML file, its figures, and the summary as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import jinja2
import pandas as pd
from matplotlib.axes import Axes

from sharptheory.report import plots as plotting
from sharptheory.report.findings import findings, headline
from sharptheory.report.summary import REWARD, Diagnosis

TEMPLATE = Path(__file__).with_name("report.html")

FIGURES = {
    "accuracy": ("Accuracy against the number of responses", "accuracy.png"),
    "rewards": ("Which self-reward selects best?", "rewards.png"),
    "likelihood": ("Log-likelihood of the selected response", "log_likelihood.png"),
    "alignment": ("Does likelihood predict correctness?", "likelihood_pooled.png"),
    "alignment_within": ("The same within prompts", "likelihood_within.png"),
    "alignment_levels": ("Does likelihood know? At which level?", "alignment_levels.png"),
    "coverage": ("Coverage profile", "coverage_profile.png"),
    "theory": ("Theory against measurement", "theory_vs_measurement.png"),
    "cost": ("What training would cost by the bounds", None),
}


def _draw(diagnosis: Diagnosis) -> dict[str, Callable[[Axes], Axes]]:
    """The figures this diagnosis supports, as functions of an axis."""
    summary, drawn = diagnosis.summary, diagnosis.pool.samples
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
            predicted=None if summary["prediction"] is None else pd.DataFrame(summary["prediction"]["best_of_n"]),
        )
        if sum(level["value"] is not None for level in summary["alignment"].values()) > 1:
            figures["alignment_levels"] = lambda ax: plotting.alignment_levels(summary["alignment"], ax)
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
        elif filename is not None:
            (folder / filename).unlink(missing_ok=True)
        sections.append({"heading": heading, "image": image, "text": said.get(key, "")})
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(TEMPLATE.read_text()).render(
        title=title, sections=sections, rows=headline(diagnosis.summary), summary=diagnosis.summary
    )
    path = folder / "report.html"
    path.write_text(html)
    return path
