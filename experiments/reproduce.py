"""The paper's protocol in one command: measure, train, test each finding, draw, and write one report.

    make reproduce                                                          # quick: minutes on two cores
    python -m experiments.reproduce --full                                  # every experiment anew, hours on two cores
    python -m experiments.reproduce --large --data-root ./data              # public models of the paper, on a GPU
    python -m experiments.reproduce --model ./my-model --task gsm8k --data data/gsm8k      # a model of yours beside ours
    python -m experiments.reproduce --model out/arithmetic-25m --task arithmetic --train-prompts 4000      # and sharpened

Writes report.html, figures and results to --out, and goes on where it was killed. What a run does not compute is drawn
from the committed results, and the report says so.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import jinja2
import pandas as pd

from experiments import figures, paper, sharpening, tables
from experiments.drawing import FIGURES
from experiments.record import RESULTS, save
from sharptheory.errors import UserError
from sharptheory.llm.training.config import Config as Training
from sharptheory.runs import claim, write

THEORY = ("laws", "minimax", "coverage_error", "adaptive", "margin", "separation", "realizability", "bon_aware", "iterated",
          "reward_error", "decoding")  # fmt: skip
#: Public models and tasks of the paper, with the folder of each task's official files under --data-root.
MODELS = ("microsoft/Phi-3-mini-4k-instruct", "microsoft/Phi-3-small-8k-instruct", "microsoft/Phi-3-medium-4k-instruct",
          "microsoft/Phi-3.5-mini-instruct", "meta-llama/Llama-3.2-3B-Instruct", "mistralai/Mistral-7B-Instruct-v0.3")  # fmt: skip
TASKS = ("math500", "gsm8k", "prontoqa", "mmlu", "game24")
#: Of Table 1, with the paper's training.
TRAINED = (("microsoft/Phi-3.5-mini-instruct", "math500"), ("microsoft/Phi-3.5-mini-instruct", "gsm8k"),
           ("microsoft/Phi-3.5-mini-instruct", "prontoqa"), ("mistralai/Mistral-7B-Instruct-v0.3", "math500"))  # fmt: skip
#: Figures of the training that need no study of what it depends on.
CLAIM = ("sharpening", "diversity")
PAPER_TRAINING = Training(
    n_samples=50, lora_rank=16, learning_rate=3e-4, max_grad_norm=0.1, weight_decay=0.1, epochs=30, batch_size=4
)


def configs(arguments: argparse.Namespace) -> tuple[paper.Config, sharpening.Config]:
    """What to measure and what to train."""
    measured, trained = paper.Config(seed=arguments.seed), sharpening.Config(seed=arguments.seed)
    if arguments.large:
        root = arguments.data_root
        settings = tuple(paper.Setting(model, task, task, str(root / task)) for model in MODELS for task in TASKS)
        problems = tuple(
            sharpening.Problem(model, task, 2_000, data=str(root / task), label=f"{Path(model).name}, {task}")
            for model, task in TRAINED
        )
        return replace(measured, settings=settings), replace(
            trained, problems=problems, training=PAPER_TRAINING, certify=False
        )
    if not arguments.full:
        measured = replace(measured, n_prompts=48, budget=300)
        trained = replace(
            trained, problems=(sharpening.Problem("arithmetic-1m", "arithmetic", 800),), seeds=1, eval_prompts=100,
            training=replace(sharpening.SFT, n_samples=25, epochs=6),
        )  # fmt: skip
    if arguments.model:
        own = paper.Setting(arguments.model, arguments.task, arguments.task, arguments.data)
        measured = replace(measured, settings=(*measured.settings, own))
        if arguments.train_prompts:
            own = sharpening.Problem(arguments.model, arguments.task, arguments.train_prompts, data=arguments.data)
            trained = replace(trained, problems=(*trained.problems, own))
    return measured, trained


def measure(name: str, config, results: Path, work: Path | None = None) -> None:
    """One experiment into the results of this run; those that can be resumed go on in `work`."""
    module, start = importlib.import_module(f"experiments.{name}"), time.perf_counter()
    table = module.compute(config) if work is None else module.compute(config, work / name)
    save(name, table, config, results, seconds=time.perf_counter() - start)


def recompute(name: str, results: Path) -> None:
    """An experiment of the theory with its own defaults."""
    measure(name, importlib.import_module(f"experiments.{name}").Config(), results)


TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sharpening, theory and measurement</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
  img { max-width: 100%; height: auto; } .note { color: #555; }
  table { border-collapse: collapse; margin: 1rem 0; font-size: .85rem; display: block; overflow-x: auto; }
  td, th { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #e6e6e6; text-align: left; vertical-align: top; }
  pre { white-space: pre-wrap; font-size: .8rem; }
</style></head><body>
<h1>Sharpening: theory and measurement side by side</h1>
<p class="note">The protocol of <a href="https://arxiv.org/abs/2412.01951">arXiv 2412.01951</a>, section 5: temperature 1, one pool
per setting, greedy decoding as the baseline. Intervals are 95 %, over prompts. “Not shown” means that the
interval includes no effect. {{ run }}</p>
{% for heading, header, rows in tables %}
<h2>{{ heading }}</h2>
<table><tr>{% for entry in header %}<th>{{ entry }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for entry in row %}<td>{{ entry }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% endfor %}
{% for chapter, shown in chapters %}
<h2>{{ chapter }}</h2>
{% for title, caption, image, here in shown %}
<img alt="{{ title }}" src="data:image/png;base64,{{ image }}">
<p>{{ caption }}{% if not here %} <span class="note">(From the committed results.)</span>{% endif %}</p>
{% endfor %}{% endfor %}
<details><summary>Where these numbers come from</summary><pre>{{ facts }}</pre></details>
</body></html>
"""


def described(measured: paper.Config, trained: sharpening.Config) -> str:
    """What this run measured and trained, in two sentences."""
    prompts = ", ".join(f"{problem} on {problem.n_prompts:,} prompts" for problem in trained.problems)
    sizes = f"{measured.n_prompts} prompts × {measured.n_samples} samples in each of {len(measured.settings)} settings"
    return (
        f"This run measured {sizes} and trained {prompts} with N = {trained.training.n_samples} and {trained.seeds} seed(s). "
        "Titles and captions speak of the committed results, which are larger."
    )


def report(out: Path, results: Path, run: str) -> Path:
    """Draw every figure, of this run where it has the data and else of the committed results, and put them on one page."""
    chapters = [
        (chapter, [_figure(name, out, results) for name in names]) for chapter, names in figures.CHAPTERS.items()
    ]
    chapters.sort(key=lambda chapter: not any(here for *_, here in chapter[1]))  # what this run measured comes first
    listed = [
        ("Which findings of the paper hold here?", *tables.findings(results)),
        ("Table 1: SFT-Sharpening, mean ± standard deviation over seeds", *tables.table_1(results)),
    ]
    facts = {path.stem: json.loads(path.read_text())["provenance"] for path in sorted(results.glob("*.json"))}
    environment = jinja2.Environment(autoescape=True)
    page = environment.from_string(TEMPLATE).render(
        run=run, tables=listed, chapters=chapters, facts=json.dumps(facts, indent=1)
    )
    write(out / "report.html", page)
    return out / "report.html"


def _figure(name: str, out: Path, results: Path) -> tuple[str, str, str, bool]:
    """Title, caption, image, and whether it shows this run."""
    figure, folder = FIGURES[name], out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    here = (results / f"{figure.data}.parquet").is_file() and (name in CLAIM or has_study(results, figure.data))
    image = figures.draw(name, results if here else RESULTS, folder).read_bytes()
    return figure.title, figure.caption, base64.b64encode(image).decode(), here


def has_study(results: Path, data: str) -> bool:
    """Whether there are more settings of the training than the claim."""
    return data != "sharpening" or pd.read_parquet(results / f"{data}.parquet")["cell"].nunique() > 1


def parsed() -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", action="store_true", help="a small version of the measurement and one training (default)"
    )
    size.add_argument("--full", action="store_true", help="every experiment with its own defaults")
    size.add_argument("--large", action="store_true", help="the paper's public models and tasks, on a GPU")
    parser.add_argument("--model", help="a model of yours to measure too: folder or hub name")
    parser.add_argument("--task", help="its task")
    parser.add_argument("--data", help="the official file of that task, or its folder")
    parser.add_argument("--train-prompts", type=int, help="also sharpen it by training on this many prompts")
    parser.add_argument(
        "--data-root", type=Path, default=Path("data"), help="of --large: folder with a folder per task"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/reproduce"))
    parser.add_argument("--force", action="store_true", help="discard whatever run --out holds, and begin anew")
    parser.add_argument("--wait", action="store_true", help="wait for another process that works on the run in --out")
    arguments = parser.parse_args()
    if (arguments.model is None) != (arguments.task is None):
        parser.error("--model and --task belong together")
    if arguments.train_prompts and not arguments.model:
        parser.error("--train-prompts is of the model that --model names")
    return arguments


def main() -> None:
    arguments, start = parsed(), time.perf_counter()
    try:
        path = reproduce(arguments)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{path}  ({time.perf_counter() - start:.0f} s)")


def reproduce(arguments: argparse.Namespace) -> Path:
    """Measure, train, draw and write the report; a run that was killed goes on."""
    size = "full" if arguments.full else "large" if arguments.large else "quick"
    results, work = arguments.out / "results", arguments.out / "work"
    measured, trained = configs(arguments)
    facts = {"content": "reproduction", "size": size, "seed": arguments.seed}
    facts |= {"paper": asdict(measured), "sharpening": asdict(trained)}
    with claim(arguments.out, facts, force=arguments.force, wait=arguments.wait):
        results.mkdir(exist_ok=True)
        measure("paper", measured, results, work)
        measure("sharpening", trained, results, work)
        for name in THEORY if arguments.full else ():
            recompute(name, results)
        return report(arguments.out, results, described(measured, trained))


if __name__ == "__main__":
    main()
