"""The report is one self-contained file that says what the findings say; smaller input gives a smaller honest report."""

import base64
from html import unescape

import pytest

from sharptheory.report.findings import findings, headline
from sharptheory.report.html import FIGURES, figures, write_report
from sharptheory.report.schema import Summary
from sharptheory.report.summary import diagnose
from tests.report.pools import hand_pool, table_pool

GRADED = {"accuracy", "alignment_levels", "rewards"}


@pytest.fixture(scope="module")
def diagnosis():
    return diagnose(
        table_pool(aligned=0.8, n_prompts=12, m=16).assign(length=5), provenance={"model": "<script>", "seed": 0}
    )


def test_report_is_complete_and_self_contained(tmp_path, diagnosis):
    html = write_report(diagnosis, tmp_path, title="<my model>").read_text()
    assert "&lt;my model&gt;" in html and "<my model>" not in html and "<script" not in html
    assert "http" not in html and "src=" not in html.replace('src="data:image/png;base64,', "")
    text = unescape(html)
    for paragraph in findings(diagnosis.summary).values():
        assert paragraph in text
    for name, value in headline(diagnosis.summary):
        assert f"<td>{name}</td><td>{value}</td>" in text
    images = [filename for _, filename in FIGURES.values() if filename is not None]
    assert html.count("data:image/png;base64,") == len(images)
    for filename in images:
        assert base64.b64encode((tmp_path / filename).read_bytes()).decode() in html


def test_the_summary_beside_it_is_the_diagnosis(tmp_path, diagnosis):
    write_report(diagnosis, tmp_path, title="t")
    assert Summary.from_json((tmp_path / "summary.json").read_text()) == diagnosis.summary


@pytest.mark.parametrize(
    ("pool", "absent"),
    [
        (lambda: table_pool(aligned=1.0, n_prompts=6, m=8).drop(columns="correct"), GRADED),
        (lambda: hand_pool()[["prompt_id", "log_likelihood", "correct"]], {"rewards", "theory"}),
        (lambda: hand_pool().assign(log_likelihood=-0.1), {"coverage", "theory"}),
        (lambda: table_pool(aligned=1.0, n_prompts=1, m=8), set()),
        (lambda: table_pool(aligned=1.0, n_prompts=6, m=1).assign(finished=False), {"theory"}),
    ],
)
def test_only_supported_figures_are_made_and_those_of_an_earlier_report_removed(tmp_path, pool, absent):
    for _, filename in FIGURES.values():
        if filename is not None:
            (tmp_path / filename).write_text("an earlier report's")
    diagnosis = diagnose(pool())
    html = write_report(diagnosis, tmp_path, title="t").read_text()
    made = {key for key, (_, filename) in FIGURES.items() if filename is not None and (tmp_path / filename).exists()}
    assert made == set(figures(diagnosis)) and not made & absent
    assert html.count("data:image/png;base64,") == len(made)
