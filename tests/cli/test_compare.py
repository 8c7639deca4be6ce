"""`sharptheory compare` on the shipped model and on a public one, run as a user runs it."""

import json

import numpy as np
import pandas as pd
import pytest

from sharptheory.measure.prediction import predict_power
from tests.cli.test_diagnose import run

ARGUMENTS = (
    "compare", "--model", "arithmetic-1m", "--task", "arithmetic", "--prompts", 10, "--samples", 16, "--beams", "1,4",
    "--alpha", "4", "--particles", "8", "--steps", "4", "--budget", 300,
)  # fmt: skip


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        import contextlib
        import io
        import sys

        from sharptheory.cli import main

        patch.setattr(sys, "argv", ["sharptheory", *map(str, ARGUMENTS), "--out", str(out)])
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            main()
    return out, pd.read_parquet(out / "compare.parquet")


def test_every_method_on_every_prompt(compared):
    out, table = compared
    methods = set(table["method"])
    assert methods == {
        "greedy", "sampling", "best-of-N, log likelihood", "best-of-N, length normalized", "best-of-N, self certainty",
        "majority vote", "Borda vote, self certainty",
        "adaptive best-of-N", "beam search", "power α = 4, SMC", "power α = 4, MCMC", "argmax search",
        "tilted law, from the pool",
    }  # fmt: skip
    assert (table.groupby(["method", "setting"])["prompt_id"].nunique() == 10).all()
    assert table["accuracy"].between(-1e-9, 1 + 1e-9).all()
    assert (table["log_likelihood"].dropna() <= 0).all()
    assert (out / "compare.png").stat().st_size > 20_000
    summary = json.loads((out / "compare.json").read_text())
    assert len(summary["methods"]) == len(table.drop_duplicates(["method", "setting"]))
    pool = pd.read_parquet(out / "pool.parquet")
    assert summary["unfinished"] == pytest.approx(1 - pool.loc[pool["source"] == "model", "finished"].mean())


def test_methods_agree_where_they_must(compared):
    """A beam of width 1 is greedy decoding; nothing beats the argmax; the larger N, the likelier."""
    _, table = compared
    at = lambda method, setting="": table[  # noqa: E731
        (table["method"] == method) & (table["setting"] == setting)
    ].set_index("prompt_id")["log_likelihood"]
    np.testing.assert_allclose(at("beam search", "1"), at("greedy"), atol=1e-3)
    argmax = at("argmax search", "300 prefixes")
    for (method, setting), rows in table.groupby(["method", "setting"]):
        values = rows.set_index("prompt_id")["log_likelihood"]
        assert "vote" in method or (values <= argmax + 1e-3).all(), (method, setting)
    best = [at("best-of-N, log likelihood", str(n)).mean() for n in (2, 4, 8, 16)]
    assert best == sorted(best)
    costs = table.groupby(["method", "setting"])["forward_tokens"].mean()
    assert costs["beam search", "1"] <= costs["sampling", "1"] * 1.5 < costs["best-of-N, log likelihood", "16"]


def test_an_interrupted_comparison_goes_on(compared, monkeypatch, capsys):
    out, before_table = compared
    before = (out / "compare.parquet").read_bytes()
    lines = (out / "decodings.jsonl").read_text().splitlines(keepends=True)
    (out / "decodings.jsonl").write_text(lines[0] + lines[1][:10])  # the second chunk of prompts is lost
    code, printed, error = run(monkeypatch, capsys, *ARGUMENTS, "--out", out)
    assert code == 0 and "argmax search" in printed and "the likelier is the more accurate" in printed, error
    certified = json.loads((out / "compare.json").read_text())["n_certified"]
    assert certified == before_table["certified"].eq(True).sum() > 0
    assert f"The argmax search certified its argmax on {certified} of 10 prompts." in printed
    assert (out / "decodings.jsonl").read_text().splitlines(keepends=True) == lines
    assert (out / "compare.parquet").read_bytes() == before
    code, _, error = run(monkeypatch, capsys, *ARGUMENTS, "--out", out, "--budget", 301)
    assert code == 2 and "budget is 300 there and 301 here" in error


def test_predicted_tilted_law_is_unbiased_on_a_table():
    """Against the exact power law of the table, within 4 standard errors over 200 pools."""
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(20, 0.5))
    right = rng.random(20) < 0.5
    law = probs**3 / (probs**3).sum()
    rows = [(x, (int(y),), np.log(probs[y]), bool(right[y])) for x in range(200) for y in rng.choice(20, 32, p=probs)]
    pool = pd.DataFrame(rows, columns=["prompt_id", "tokens", "log_likelihood", "correct"])
    values = predict_power(pool, 3.0)
    assert abs(values.mean() - law @ right) < 4 * values.std() / np.sqrt(200) + 1e-3


def test_a_public_model_without_gold_answers(shared, tmp_path, monkeypatch, capsys):
    """Stories that do not end: likelihood only, no argmax to show, no special case."""
    (tmp_path / "stories.jsonl").write_text('{"prompt": "Once upon a time"}\n{"prompt": "One day, Tim"}\n')
    code, printed, error = run(
        monkeypatch, capsys, "compare", "--model", shared / "models/tinystories-260k", "--task", tmp_path / "stories.jsonl",
        "--prompts", 2, "--samples", 8, "--beams", "2", "--alpha", "2", "--particles", "4", "--steps", "2",
        "--max-new-tokens", 12, "--budget", 20, "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, error
    table = pd.read_parquet(tmp_path / "out/compare.parquet")
    assert table["accuracy"].isna().all() and (table["forward_tokens"].dropna() > 0).all()
    assert {"beam search", "power α = 2, SMC", "best-of-N, log likelihood"} <= set(table["method"])
    assert json.loads((tmp_path / "out/compare.json").read_text())["unfinished"] == 1
    assert "Warning: 100.0 % of the samples were cut by the length budget." in " ".join(printed.split())
