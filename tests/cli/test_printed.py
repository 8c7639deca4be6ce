"""What the commands print is what they computed, whole at 80 columns."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from sharptheory.cli import argmax, compare, law, train
from sharptheory.cli.app import console, progress_bar, stages
from sharptheory.llm.decoding.search import summarize
from sharptheory.measure.bootstrap import Estimate
from sharptheory.measure.pool import Pool
from sharptheory.measure.rewards import Reward
from tests.cli.test_diagnose import run
from tests.conftest import pool_from_table

OWN = """
from sharptheory.measure.rewards import Reward

def shortness(pool):
    return -pool["length"]

verdict = Reward("verdict", lambda pool: pool["judgement"], needs=("judgement",))
surely = Reward("surely", lambda pool: pool["self_certainty"], needs=("self_certainty",))
log_likelihood = Reward("log_likelihood", lambda pool: pool["log_likelihood"])
"""


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    return str(tmp_path / "own.py")


def pairs(printed: str) -> dict[str, str]:
    """The two-column table on a page."""
    return dict(re.findall(r"^│ (.+?) +│ (.+?) +│$", printed, flags=re.M))


def rows(printed: str) -> list[list[str]]:
    """The cells of a table without lines; two spaces at least tell them apart."""
    body = printed.partition("────")[2].splitlines()[1:]
    return [re.split(r" {2,}", line.strip()) for line in body if line.strip()]


def rendered(table) -> str:
    with console.capture() as page:
        console.print(table)
    assert max(map(len, page.get().splitlines())) <= 80
    return page.get()


def graded_pool(seed: int = 0) -> pd.DataFrame:
    """Two responses: the likelier is right on prompts 0 to 5, the other on prompts 6 and 7; greedy takes the likelier."""
    probs, correct = np.array([[0.8, 0.2]] * 8), np.array([[1, 0]] * 6 + [[0, 1]] * 2)
    samples = pool_from_table(probs, 6, np.random.default_rng(seed), correct)
    greedy = samples.drop_duplicates("prompt_id").assign(
        sample_id=-1, source="greedy", log_likelihood=np.log(0.8), tokens=[(0,)] * 8, correct=correct[:, 0].astype(bool)
    )
    return pd.concat([samples, greedy], ignore_index=True)


def test_diagnose_prints_what_the_pool_says(tmp_path, monkeypatch, capsys):
    frame = graded_pool()
    frame.to_parquet(tmp_path / "pool.parquet")
    code, printed, error = run(
        monkeypatch, capsys, "diagnose", "--pool", tmp_path / "pool.parquet", "--out", tmp_path / "out"
    )
    assert code == 0, error
    said = pairs(printed)
    samples = frame[frame["sample_id"] >= 0]
    assert said["prompts × samples"] == "8 × 6"
    assert said["one sample"].startswith(f"{100 * samples['correct'].mean():.1f} % [")
    assert said["greedy decoding"].startswith("75.0 %")
    any_right = samples.groupby("prompt_id")["correct"].any().mean()
    assert said["any of 6 (pass@6)"].startswith(f"{100 * any_right:.1f} %")
    assert said["best of 6 by log-likelihood"].startswith("75.0 % [")


def test_argmax_prints_what_it_writes(tmp_path, monkeypatch, capsys):
    code, printed, error = run(
        monkeypatch, capsys, "argmax", "--model", "arithmetic-1m", "--task", "arithmetic:max_terms=3,max_value=20", "--prompts",
        4, "--samples", 4, "--gamma", 0.5, "--budget", 300, "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, error
    said, table = pairs(printed), pd.read_parquet(tmp_path / "out/argmax.parquet")
    written = json.loads((tmp_path / "out/argmax.json").read_text())
    assert said == dict(argmax._lines(written))
    assert said["argmax certified on"] == f"{table['certified'].sum()} of 4 prompts"
    assert written["n_certified"] == table["certified"].sum() and written["provenance"]["model"] == "arithmetic-1m"
    assert written["provenance"]["threads"] >= 1
    assert f"\n{tmp_path}/out/argmax.json\n" in printed  # on a line of its own, however long


def test_argmax_prints_each_number_with_its_prompts(capsys):
    """Four prompts: two complete, three certified, one of those without a gold answer, the last neither."""
    table = pd.DataFrame({
        "certified": [True, True, True, False], "complete": [True, True, False, False],
        "log_p": np.log([0.5, 0.4, 0.2, 0.1]), "log_upper": np.log([0.5, 0.4, 0.2, 0.3]),
        "log_q": np.log([0.8, 0.4, np.nan, np.nan]),
        "log_runner_up": np.log([0.25, 0.1, np.nan, np.nan]), "greedy_is_argmax": [True, False, False, True],
        "correct": pd.array([True, None, True, False], dtype="boolean"),
        "greedy_correct": pd.array([True, None, False, False], dtype="boolean"), "expanded": [1, 2, 4, 1_900],
    })  # fmt: skip
    assert argmax._lines(summarize(table, 0.5)) == [
        ("argmax certified on", "3 of 4 prompts"),
        ("prefixes expanded, median / most", "3 / 1,900"),
        ("coverage coefficient E[1/p*]", "3.17, exact on 3"),
        ("the same on all of them", "at least 3.21"),
        ("with 95 % confidence on all such prompts", "at least 1.46"),
        ("C_cov at γ = 0.5", "1.88, exact on 2"),
        ("margin, smallest / median", "1 / 2, exact on 2"),
        ("greedy decoding finds the argmax on", "33.3 % of 3"),
        ("accuracy of the certified argmax", "100.0 % of 2"),
        ("accuracy of greedy decoding, on the same", "50.0 % of 2"),
        ("accuracy of greedy decoding, on all", "33.3 % of 3"),
    ]
    assert not any("C_cov" in name for name, _ in argmax._lines(summarize(table, 0.0)))  # E[1/p*] once more
    nothing = dict(argmax._lines(summarize(table.iloc[3:].assign(greedy_correct=pd.NA), 0.5)))
    assert nothing.pop("argmax certified on") == "0 of 1 prompt"
    assert nothing.pop("the same on all of them") == "at least 3.33"
    assert nothing.pop("with 95 % confidence on all such prompts") == "at least 1"
    assert nothing.pop("prefixes expanded, median / most") == "1900 / 1,900"
    assert set(nothing.values()) == {"n/a"}


def test_law_prints_what_it_writes(tmp_path, monkeypatch, capsys):
    out = tmp_path / "law.csv"
    code, printed, _ = run(
        monkeypatch, capsys, "law", "--probs", "0.1,0.4,0.1,0.2,0.1,0.1", "--n", "1,4,1e15", "--alpha", "2", "--beta", "0.5",
        "--out", out,
    )  # fmt: skip
    assert code == 0 and "…" not in printed
    title, header = printed.splitlines()[:2]
    shown = header.split()[5:]
    assert title.startswith(f"exact laws over 6 responses, the likeliest {len(shown)} shown")
    assert shown[:2] == ["p1", "p3"] and len(shown) >= 3
    table = pd.read_csv(out)
    for (_, exact), cells in zip(table.iterrows(), rows(printed.partition("\nπ(y*):")[0]), strict=True):
        values = [exact[name] for name in ("argmax_mass", "kl", "concentrability", "expected_n", *shown)]
        values = [value for value in values if not np.isnan(value)]
        assert [float(cell) for cell in cells[1:]] == pytest.approx(values, rel=6e-3, abs=1e-15)
        assert cells[0].startswith(exact["law"].removesuffix(" best-of-N"))
    assert rows(printed)[3][0] == "best-of-N, N = 1e+15"
    assert all(f"{name}: " in " ".join(printed.split()) for name in ("π(y*)", "KL", "C_π", "samples"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1 - 1.5e-5, "0.99999"), (0.9994, "0.999"), (0.9999, "0.9999"), (1.0, "1"), (1 + 3e-7, "1.0000003"), 
     (1 - 1e-12, "0.999999999999"),
     (1 - 1e-17, "1"), (1e-300, "0"), (0.123456, "0.123"), (1234.5, "1.23e+03"), (np.nan, "")],
)  # fmt: skip
def test_law_tells_what_is_nearly_sure_from_what_is(value, shown):
    assert law._number(value) == shown


@pytest.mark.parametrize("width", [80, 120, 200])
def test_law_shows_as_many_responses_as_there_is_room_for(monkeypatch, width):
    from sharptheory.theory.tables import law_table

    table = law_table(np.log([0.4, 0.2, 0.1, 0.1, 0.1, 0.1]), n=[1e15, 3.0], delta=[0.1])
    columns = len(law._table(table, width).columns) - 5
    assert columns == {80: 3, 120: 5, 200: 5}[width]


def test_compare_prints_every_setting_uncut():
    summary = pd.DataFrame({
        "method": ["greedy", "best-of-N, length normalized", "best-of-N, length normalized", "argmax search"],
        "setting": ["", "2", "1024", "1000 prefixes"],
        "forward_tokens": [25.4, 1_234.0, 98_765.4, np.nan],
        "accuracy": [0.5, 0.625, 1.0, np.nan],
        "accuracy_over_greedy": [np.nan, 0.125, 0.5, np.nan],
        "accuracy_over_greedy_low": [np.nan, -0.05, 0.5, np.nan],
        "accuracy_over_greedy_high": [np.nan, 0.3, 0.5, np.nan],
        "log_likelihood": [-10.25, -123.456, -1.0, np.nan],
        "n_prompts": [10, 10, 10, 7],
        **{name: pd.array([None] * 4, dtype="Int64") for name in ("n_certified", "n_stopped")},
    })  # fmt: skip
    page = rendered(compare._table(summary, "a title"))
    assert "…" not in page
    assert rows(page) == [
        ["greedy", "25", "50.0", "-10.25"],
        ["best-of-N,", "2", "1,234", "62.5", "+12.5 [-5.0, +30.0]", "-123.46"],
        ["length"],
        ["normalized"],
        ["1024", "98,765", "100.0", "+50.0 (same)", "-1.00"],
        ["argmax search", "1000 prefixes"],
    ]
    assert compare._partial(summary, 10) == (
        "Found a finished response on some prompts only, whose mean this is: argmax search, 1000 prefixes (7 of 10)."
    )
    assert compare._partial(summary.iloc[:3], 10) is None
    wide = summary.assign(forward_tokens=1e8, setting="a setting of many words")
    wide = rendered(compare._table(wide, "a title"))
    assert "…" not in wide and wide.count("100,000,000") == 4 and wide.count("+12.5 [-5.0, +30.0]") == 1


def test_compare_marks_what_is_not_what_it_is_called():
    """A search that is not certified, a rule that did not stop, and the interval that one prompt does not have."""
    summary = pd.DataFrame({
        "method": ["greedy", "argmax search", "adaptive best-of-N"],
        "setting": ["", "60 prefixes", "δ = 0.1"],
        "forward_tokens": 9.0, "accuracy": 1.0, "log_likelihood": -1.0,
        "accuracy_over_greedy": [np.nan, 0.0, 0.25], "accuracy_over_greedy_low": np.nan, "accuracy_over_greedy_high": np.nan,
        "n_prompts": 8,
        "n_certified": pd.array([None, 2, None], dtype="Int64"), "n_stopped": pd.array([None, None, 3], dtype="Int64"),
    })  # fmt: skip
    settings = lambda table: [compare._setting(row) for _, row in table.iterrows()]  # noqa: E731
    page = rendered(compare._table(summary, "a title"))
    assert "nan" not in page and [row[2:-1] for row in rows(page) if len(row) > 3] == [
        ["100.0"], ["9", "100.0", "+0.0"], ["9", "100.0", "+25.0"],
    ]  # fmt: skip
    assert settings(summary) == ["", "60 prefixes, certified on 2 of 8", "δ = 0.1, stopped on 3 of 8"]
    search, rule = compare._notes(summary, 64)
    assert "best finished response" in search and "within the 64 samples of the pool" in rule
    proved = summary.assign(n_certified=pd.array([None, 8, None], dtype="Int64"), n_stopped=summary["n_stopped"] + 5)
    assert compare._notes(proved, 64) == []
    assert settings(proved) == ["", "60 prefixes", "δ = 0.1"]


OVER = pd.DataFrame({
    "method": ["greedy", "sampling", "best-of-N", "beam search", "vote"], "setting": ["", "1", "8", "4", "8"],
    "n_prompts": [30, 30, 30, 30, 19],
    "accuracy_over_greedy": [np.nan, -0.2, 0.2, 0.1, 0.3],
    "accuracy_over_greedy_low": [np.nan, -0.3, 0.1, -0.1, 0.1],
    "accuracy_over_greedy_high": [np.nan, -0.1, 0.3, 0.3, 0.5],
})  # fmt: skip
TOGETHER = (
    "Over greedy: differences in accuracy, in points, paired over prompts, with 95 % intervals that hold for all of them "
    "together."
)


@pytest.mark.parametrize(
    ("table", "n_mixed", "unfinished", "said"),
    [
        (
            OVER,
            20,
            0.2,
            f"{TOGETHER} More accurate than greedy decoding: best-of-N, 8. Less accurate than greedy decoding: sampling, 1. "
            "Of the others it is not shown.",
        ),
        (
            OVER[OVER["method"] != "best-of-N"],
            20,
            0.2,
            f"{TOGETHER} Less accurate than greedy decoding: sampling, 1. Of the others it is not shown.",
        ),
        (
            OVER[OVER["method"] == "beam search"],
            20,
            0.2,
            f"{TOGETHER} That any method is more or less accurate than greedy decoding is not shown.",
        ),
        (
            OVER,
            19,
            0.25,
            f"{TOGETHER} No verdict: 25.0 % of the responses were cut by the length budget, more than 20 %, and neither "
            "likelihoods nor grades are those of whole responses (sample with a larger budget of tokens); 19 prompts have both "
            "correct and incorrect responses, and fewer than 20 decide nothing "
            "(take more prompts, or more samples of each).",
        ),
        (OVER[OVER["method"] == "greedy"], 20, 0.0, None),
    ],
)
def test_compare_says_what_is_more_accurate_than_greedy_decoding_on_the_same_prompts(table, n_mixed, unfinished, said):
    assert compare._against_greedy(table, n_mixed, unfinished) == said


@pytest.mark.parametrize(
    ("likelier", "said"),
    [
        (
            Estimate(0.8, 0.3, 0.9),
            "Of two of these methods the likelier is the more accurate with probability 0.80 [0.30, 0.90]; ",
        ),
        (Estimate(0.8, np.nan, np.nan), "the more accurate with probability 0.80; what sharpening needs"),
        (Estimate.unknown(), "These methods all tie in accuracy or in likelihood, so neither tells of the other; "),
    ],
)
def test_compare_says_whether_the_likelier_is_the_more_accurate(likelier, said):
    assert said in compare._likelier(likelier) and "nan" not in compare._likelier(likelier)
    assert compare._likelier(None) is None


def test_train_prints_and_writes_the_gap_that_was_closed(capsys):
    """From one sample at 40 % towards best-of-8 at 60 %: 55 % is three quarters of the way."""
    base = {
        "n": 8, "sampled_accuracy": 0.4, "sampled_log_likelihood": -5.0, "best_of_n_accuracy": 0.6,
        "best_of_n_log_likelihood": -2.5, "greedy_accuracy": 0.5, "greedy_log_likelihood": -3.0,
    }  # fmt: skip
    table = pd.DataFrame({
        "round": [0, 1], "epoch": [0, 2], "accuracy": [0.41, 0.55], "log_likelihood": [-5.5, -4.0],
        "argmax_mass": [0.2, 0.3], "entropy": [2.345, 1.0], "distinct": [0.9, 0.85], "length": [12.0, 11.5],
        "gap_closed": [np.nan, 0.75], "gap_closed_low": [np.nan, -0.1], "gap_closed_high": [np.nan, 1.2],
        "greedy_accuracy": [np.nan, 0.58], "greedy_log_likelihood": [np.nan, -2.0],
        "best_of_n_accuracy": [np.nan, 0.61], "best_of_n_log_likelihood": [np.nan, -1.5],
    })  # fmt: skip
    assert train._gap(table.iloc[-1]) == {"value": 0.75, "low": -0.1, "high": 1.2}
    assert train._gap(table.iloc[0]) is None and train._gap(table[["accuracy"]].iloc[-1]) is None
    train._print(table, base, "a title", eval_samples=16)
    page = capsys.readouterr().out
    assert page.splitlines()[1].split() == ["policy", "accuracy", "log", "π", "argmax", "entropy", "distinct", "tokens"]
    assert rows(page)[:8] == [
        ["base, mean of 8", "40.0 %", "-5.00"],
        ["base, greedy", "50.0 %", "-3.00"],
        ["base, best of 8", "60.0 %", "-2.50"],
        ["base, mean of 16 others", "41.0 %", "-5.50", "20.0 %", "2.35", "90.0 %", "12.00"],
        ["round 1, epoch 2", "55.0 %", "-4.00", "30.0 %", "1.00", "85.0 %", "11.50"],
        ["trained, greedy", "58.0 %", "-2.00"],
        ["trained, best of 8", "61.0 %", "-1.50"],
        ["base, mean of 8: one sample on average, of the 8 per held-out prompt that"],
    ]
    assert " ".join(page.split()).endswith(
        "that best-of-8 selects from; base, mean of 16 others: the same of samples taken as after each epoch, which it is to "
        "be compared with; log π: under the base model; argmax: mass on the certified argmax; entropy in nats; "
        "distinct: share of the samples. One sample of the trained model has come 75 % [-10 %, 120 %] of the way between one "
        "sample (40.0 %) and best-of-8 (60.0 %) of the base model."
    )


def test_train_says_what_is_known_of_the_gap(capsys):
    """A gap in the base model's own samples is not called none, whatever single evaluations show."""
    table = pd.DataFrame({"round": [0, 1], "epoch": [0, 1], "accuracy": [0.25, 0.5], "log_likelihood": [-5.0, -4.0]})
    unknown = {f"gap_closed{end}": [np.nan, np.nan] for end in ("", "_low", "_high")}
    for best, said in (
        (0.5, "too few to tell the gap between one sample (25.0 %) and best-of-4 (50.0 %) of the base model from none"),
        (0.25, "show no gap between one sample (25.0 %) and best-of-4 (25.0 %) of the base model to close."),
        (
            0.2,
            "best-of-4 of the base model (20.0 %) is below one of its samples (25.0 %): there is no gap to close. "
            "Whether that is more than chance, `sharptheory diagnose` says.",
        ),
    ):
        base = {"n": 4, "sampled_accuracy": 0.25, "best_of_n_accuracy": best}
        train._print(table.assign(**unknown), base, "a title", eval_samples=2)
        page = " ".join(capsys.readouterr().out.split())
        assert said in page and "argmax" not in page and "entropy" not in page
    train._print(table.drop(columns="accuracy"), base, "a title", eval_samples=2)
    assert "gap" not in capsys.readouterr().out


# Rewards of one's own -------------------------------------------------------------------------------------------------


def test_a_reward_of_ones_own_reaches_the_report(own, tmp_path, monkeypatch, capsys):
    graded_pool().assign(self_certainty=1.0).to_parquet(tmp_path / "pool.parquet")
    from sharptheory.cli import diagnose

    seen, real = [], diagnose.diagnose_pool

    def watch(pool, *, reward, rewards, **facts):
        seen.extend([reward, *rewards])
        return real(pool, reward=reward, **facts)

    monkeypatch.setattr(diagnose, "diagnose_pool", watch)
    given = ("diagnose", "--pool", tmp_path / "pool.parquet", "--out", tmp_path / "out")
    code, printed, error = run(monkeypatch, capsys, *given, "--reward", f"{own}:shortness", "--reward", f"{own}:surely")
    assert code == 0, error
    written = json.loads((tmp_path / "out/summary.json").read_text())
    assert "by shortness" in printed and written["reward"] == written["rewards"][0]["name"] == "shortness"
    assert written["provenance"]["rewards"] == [f"{own}:shortness", f"{own}:surely"]
    assert [reward.name for reward in seen] == ["shortness", "surely"] and all(isinstance(r, Reward) for r in seen)
    pool = Pool.from_frame(graded_pool())
    assert seen[0](pool).tolist() == [-1.0] * 48
    for twice, message in (
        (f"{own}:shortness", "two are called shortness; rewards need different names"),
        (f"{own}:log_likelihood", "--reward log_likelihood: a reward of this package has this name"),
        (f"{own}:nothing", "has no 'nothing'; it has"),
        (
            f"{own}:verdict",
            "--reward verdict needs column 'judgement'; " + str(tmp_path / "pool.parquet") + " has prompt_id",
        ),
    ):
        code, _, error = run(monkeypatch, capsys, *given, "--reward", f"{own}:shortness", "--reward", twice)
        assert code == 2 and message in error


def test_what_a_reward_of_ones_own_needs_is_measured_while_sampling(own, tmp_path, monkeypatch, capsys):
    from sharptheory.llm.training import sharpen

    seen = {}

    def stop(oracle, *_, **__):
        seen["statistics"] = oracle.statistics
        raise SystemExit

    model = ("--model", "arithmetic-1m", "--task", "arithmetic", "--prompts", 2, "--out", tmp_path / "out")
    monkeypatch.setattr(sharpen, "sharpen", stop)
    run(monkeypatch, capsys, "train", *model, "--eval-prompts", 2, "--reward", f"{own}:surely")
    assert seen.pop("statistics") == ("self_certainty",)
    monkeypatch.setattr("sharptheory.llm.sampling.sample_pool", stop)
    run(monkeypatch, capsys, "diagnose", *model, "--reward", f"{own}:surely", "--rewards", "negative_entropy")
    assert seen.pop("statistics") == ("negative_entropy", "self_certainty")
    run(monkeypatch, capsys, "diagnose", *model, "--reward", f"{own}:shortness")
    assert seen.pop("statistics") == ()


def test_a_reward_that_cannot_be_is_refused_before_anything_is_sampled(own, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sharptheory.cli.diagnose.read_task", None)
    model = ("--model", "arithmetic-1m", "--task", "arithmetic", "--out", tmp_path / "out")
    code, _, error = run(monkeypatch, capsys, "diagnose", *model, "--reward", f"{own}:verdict")
    assert code == 2 and "--reward verdict needs column 'judgement'; sampling gives prompt_id, sample_id" in error


# Progress -------------------------------------------------------------------------------------------------------------


def test_a_stage_has_a_line_from_the_first_time_it_is_heard_of():
    bar = progress_bar()
    callback = stages(bar, "{stage} {total} prompts")
    callback("sampling", 0, 5)
    callback("decoding", 1, 3)
    callback("sampling", 4, 6)
    assert [(line.description, line.completed, line.total) for line in bar.tasks] == [
        ("sampling 5 prompts", 4, 6), ("decoding 3 prompts", 1, 3)
    ]  # fmt: skip
