"""The report is one self-contained file that says what the findings say; smaller input gives a smaller honest report."""

import base64
import dataclasses
import re
from html import unescape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from sharptheory.report.findings import findings, headline
from sharptheory.report.findings.alignment import efficiency_table
from sharptheory.report.html import FIGURES, figures, write_report
from sharptheory.report.schema import Interval, Summary
from sharptheory.report.summary import diagnose
from tests.report.pools import hand_pool, table_pool

GRADED = {"accuracy", "alignment_levels", "rewards"}


def answered(pool: pd.DataFrame) -> pd.DataFrame:
    """With answers, each of two responses."""
    return pool.assign(answer=[str(tokens[0] // 2) for tokens in pool["tokens"]])


@pytest.fixture(scope="module")
def diagnosis():
    return diagnose(
        answered(table_pool(aligned=0.8, n_prompts=12, m=16)).assign(length=5),
        provenance={"model": "<script>", "seed": 0},
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


def test_the_table_of_rewards_is_in_the_report(tmp_path, diagnosis):
    text = unescape(write_report(diagnosis, tmp_path, title="t").read_text())
    header, rows = efficiency_table(diagnosis.summary)
    assert len(rows) == 3 and text.count("<th>") == len(header)
    table = text.partition("<h2>What each reward is worth</h2>")[2].partition("</table>")[0]
    assert re.findall("<t[hd]>(.*?)</t[hd]>", table) == [*header, *(cell for row in rows for cell in row)]


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


def drawn(diagnosis, key: str, kind: str = "lines") -> list:
    """What the figure of a diagnosis has on its axis."""
    figure, ax = plt.subplots()
    assert figures(diagnosis)[key](ax) is ax
    plt.close(figure)
    return [bar for container in ax.containers for bar in container] if kind == "bars" else ax


def test_each_figure_shows_its_part_of_the_diagnosis():
    pool = hand_pool()
    diagnosis = diagnose(pool)
    labels = {
        "accuracy": "accuracy", "rewards": "accuracy", "likelihood": "mean log-likelihood [nats]", "alignment": "density [1/nat]",
        "alignment_within": "density [1/nat]", "coverage": "prompts with 1/p* > t", "alignment_levels": "",
    }  # fmt: skip
    assert set(figures(diagnosis)) == set(labels)  # no argmax is certified
    for key, label in labels.items():
        assert drawn(diagnosis, key).get_ylabel() == label
    assert [text.get_text() for text in drawn(diagnosis, "coverage").get_legend().get_texts()][
        -1
    ] == "samples per prompt, 2"
    assert drawn(diagnosis, "rewards").get_legend().get_texts()[0].get_text() == "log likelihood"
    several = diagnose(answered(table_pool(aligned=0.8, n_prompts=12, m=16)))
    assert set(figures(several)) == {key for key, (_, name) in FIGURES.items() if name is not None}
    assert drawn(several, "theory").get_ylabel() == "best-of-N is the argmax"
    assert drawn(several, "alignment_levels").get_yticklabels()[0].get_text() == "within a prompt"


@pytest.mark.parametrize("graded", [True, False])
def test_histograms_are_of_the_graded_samples_or_of_all(graded):
    """Two samples of .3 and .1 on eight prompts, the last of unknown correctness; centred they are ± log(3)/2."""
    pool = hand_pool()
    pool["correct"] = pool["correct"].astype("boolean")
    pool.loc[pool["prompt_id"] == 7, "correct"] = pd.NA
    diagnosis = diagnose(pool if graded else pool.drop(columns="correct"))
    likely, unlikely, half = np.log(0.3), np.log(0.1), np.log(3) / 2
    both = ", 7 prompts with both" if graded else ""
    for key, label, ends in (
        ("alignment", "log-likelihood [nats]", (unlikely, likely)),
        ("alignment_within", f"log-likelihood minus its prompt's mean{both} [nats]", (-half, half)),
    ):
        ax = drawn(diagnosis, key)
        assert ax.get_xlabel().startswith(f"{label}\n")
        names = ["correct (7)", "incorrect (7)"] if graded else ["all responses (16)"]
        assert [text.get_text() for text in ax.get_legend().get_texts()] == names
        bars = drawn(diagnosis, key, "bars")
        assert bars[0].get_x() == pytest.approx(ends[0]) and bars[39].get_x() + bars[39].get_width() == pytest.approx(
            ends[1]
        )
        if graded:
            assert [line.get_xdata()[0] for line in ax.get_lines()] == pytest.approx(ends[::-1])


def test_the_report_has_every_heading_paragraph_and_picture_in_order(tmp_path, diagnosis):
    path = write_report(diagnosis, tmp_path / "new" / "folder", title="t")
    assert path == tmp_path / "new/folder/report.html"
    text = unescape(path.read_text())
    known, drawn_ = findings(diagnosis.summary), figures(diagnosis)
    shown = [(key, heading) for key, (heading, _) in FIGURES.items() if key in known or key in drawn_]
    assert re.findall("<h2>(.*?)</h2>", text) == [heading for _, heading in shown]
    assert len(shown) == 11 and text.count("<img alt=") == len(drawn_) == 9
    for key, heading in shown:
        section = text.partition(f"<h2>{heading}</h2>")[2].partition("<h2>")[0]
        assert (f"<p>{known.get(key)}</p>" in section) == (key in known)
        assert (f'<img alt="{heading}" src="data:image/png;base64,' in section) == (key in drawn_)
    assert '"model": "\\u003cscript\\u003e"' in text and "\n\n\n" not in text
    again = write_report(diagnosis, str(tmp_path / "new/folder"), title="ä → ö")
    assert "<h1>ä → ö</h1>" in again.read_text(encoding="utf-8") and "<title>ä → ö</title>" in again.read_text(
        encoding="utf-8"
    )


def test_each_picture_has_its_heading_as_title(tmp_path, monkeypatch, diagnosis):
    from sharptheory.report import plots

    titles, save = {}, plots.save
    monkeypatch.setattr(
        plots, "save", lambda draw, path, title: titles.update({path.name: title}) or save(draw, path, title)
    )
    write_report(diagnosis, tmp_path, title="t")
    assert titles == {name: heading for heading, name in FIGURES.values() if name is not None}


@pytest.mark.parametrize(("known", "shown"), [(1, False), (2, True)])
def test_levels_are_drawn_where_there_are_two_to_compare(diagnosis, known, shown):
    levels = {str(i): Interval(0.5 if i < known else None, None, None, 1) for i in range(4)}
    alignment = dataclasses.replace(diagnosis.summary.alignment, levels=levels)
    summary = dataclasses.replace(diagnosis.summary, alignment=alignment)
    assert ("alignment_levels" in figures(dataclasses.replace(diagnosis, summary=summary))) == shown
