"""The protocol in one command: small here, with one model of the reader's own, and what it would run at full size."""

import importlib
import inspect
import json
import sys
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest

from experiments import figures, iterated, paper, reproduce, sharpening
from experiments.record import RESULTS
from sharptheory.llm.engines.loading import resolve
from sharptheory.llm.training.config import Config as Training
from sharptheory.tasks import TASKS


def test_one_command_measures_trains_and_reports(tmp_path, monkeypatch):
    small = (
        replace(paper.Config(), settings=(paper.SETTINGS[1],), n_prompts=6, n_samples=8, budget=60),
        replace(
            sharpening.Config(), problems=(sharpening.Problem("arithmetic-1m", "arithmetic", 12),),
            training=Training(n_samples=4, epochs=1), seeds=1, eval_prompts=4, eval_samples=4,
        ),
    )  # fmt: skip
    chosen = []
    monkeypatch.setattr(reproduce, "configs", lambda arguments: chosen.append(arguments) or small)
    monkeypatch.setattr(figures, "CHAPTERS", {"A chapter": ("paper_lift", "sharpening", "methods")})
    monkeypatch.setattr(sys, "argv", ["reproduce", "--quick", "--out", str(tmp_path)])
    reproduce.main()
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and page.count("(From the committed results.)") == 1
    assert "best-of-N is more accurate than greedy [points]" in page and "Table 1" in page and "**" not in page
    assert json.loads((tmp_path / "results/paper.json").read_text())["config"]["n_prompts"] == 6
    kept = lambda: {  # noqa: E731
        path: path.stat().st_mtime_ns
        for name in ("pool.parquet", "evaluation.parquet", "model.safetensors", "trainer_state.json")
        for path in tmp_path.rglob(name)
    }
    stamps, results = kept(), pd.read_parquet(tmp_path / "results/sharpening.parquet")
    reproduce.main()
    assert {path.name for path in stamps} >= {"pool.parquet", "model.safetensors"} and stamps == kept()
    again = pd.read_parquet(tmp_path / "results/sharpening.parquet")
    pd.testing.assert_frame_equal(again.drop(columns="sampling_seconds"), results.drop(columns="sampling_seconds"))


def test_an_experiment_of_the_theory_is_recomputed_with_its_own_defaults(tmp_path, monkeypatch):
    """What is on the command line is another program's, and stays as it is."""
    monkeypatch.setattr(sys, "argv", given := ["reproduce", "--full", "--seed", "7"])
    reproduce.recompute("iterated", tmp_path)
    assert sys.argv == given == ["reproduce", "--full", "--seed", "7"]
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "iterated.parquet"), pd.read_parquet(RESULTS / "iterated.parquet")
    )
    config = json.loads((tmp_path / "iterated.json").read_text())["config"]
    assert config == json.loads(json.dumps(asdict(iterated.Config())))


@pytest.mark.parametrize("name", reproduce.THEORY)
def test_every_experiment_of_the_theory_can_be_called(name):
    module = importlib.import_module(f"experiments.{name}")
    assert next(iter(inspect.signature(module.compute).parameters)) == "config" and asdict(module.Config())


def arguments(**changes) -> Namespace:
    given = dict(
        seed=0, large=False, full=False, model=None, task=None, data=None, data_root=Path("data"), train_prompts=None
    )
    return Namespace(**given | changes)


def test_every_size_names_tasks_and_models_that_exist():
    for given in (
        arguments(),
        arguments(full=True),
        arguments(large=True),
        arguments(model="mine", task="gsm8k", data="d", train_prompts=9),
    ):
        measured, trained = reproduce.configs(given)
        for setting in measured.settings:
            kind = setting.task.partition(":")[0]
            assert bool(TASKS[kind].files) == bool(setting.data)
            assert given.large or setting.model == "mine" or Path(resolve(setting.model)).is_dir()
        assert all(problem.task.partition(":")[0] in TASKS for problem in trained.problems)
        assert len(set(map(str, trained.problems))) == len(trained.problems)  # each has a folder of its own
    assert len(reproduce.configs(arguments(large=True))[0].settings) == 30
    assert reproduce.configs(arguments(model="mine", task="gsm8k", data="d"))[0].settings[-1].data == "d"


def test_a_model_needs_a_task(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["reproduce", "--model", "mine"])
    with pytest.raises(SystemExit):
        reproduce.main()
    assert "--model and --task belong together" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["reproduce", "--train-prompts", "9"])
    with pytest.raises(SystemExit):
        reproduce.main()
    assert "--train-prompts is of the model" in capsys.readouterr().err
