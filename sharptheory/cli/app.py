"""What the commands share: the app, options on models and tasks, progress, files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sharptheory.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Can this language model improve itself by sharpening? Coverage, exact laws, bounds and measurement.",
)
console = Console()


# Options that every command on a model shares.
MODEL = typer.Option(help="Model folder, shipped model (arithmetic-1m, multihop-1m) or hub name.")
TASKS = "arithmetic, multihop, gsm8k, game24, math500, mmlu, prontoqa, or a .jsonl file of prompt and answer"
TASK = typer.Option(help=f"{TASKS}. How hard: arithmetic:max_terms=8,operators=+-*.")
Prompts = Annotated[int, typer.Option(min=1, help="Number of prompts.")]
Extract = Annotated[str, typer.Option(help="How a .jsonl task reads answers: last-number, exact or regex:PATTERN.")]
Data = Annotated[
    Path | None, typer.Option(help="Official file of gsm8k, game24, math500, mmlu or prontoqa, or its folder.")
]
Shots = Annotated[int | None, typer.Option(min=0, help="Worked examples before each question; default the task's.")]
MaxNewTokens = Annotated[int | None, typer.Option(min=1, help="Response budget; default the task's own.")]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1 …, or auto to spread a model over all; default CUDA if any.")
]
Dtype = Annotated[
    str | None, typer.Option(help="float32, bfloat16 …; default float32 on the CPU, the checkpoint's own on CUDA.")
]
Chat = Annotated[bool | None, typer.Option("--chat/--no-chat", help="Use the chat template; default iff there is one.")]
Force = Annotated[bool, typer.Option("--force", help="Discard a different run held in --out.")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let a model folder run its own Python code.")
]


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def task_and_oracle(
    model: str,
    task,
    prompts: int,
    *,
    seed: int,
    extract: str,
    data: Path | None,
    shots: int | None,
    device: str | None,
    dtype: str | None,
    trust_remote_code: bool,
    max_new_tokens: int | None,
    **options,
):
    """The task (by name, or one already loaded), the model as an oracle, and what identifies both in a run."""
    from sharptheory.llm.engines.hf import HuggingFaceOracle
    from sharptheory.llm.engines.loading import fingerprint, load_model, quiet_transformers
    from sharptheory.tasks import load_task

    quiet_transformers()
    if isinstance(task, str):
        task = load_task(task, prompts, seed=seed, extract=extract, data=data, shots=shots)
    loaded, tokenizer = load_model(model, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    oracle = HuggingFaceOracle(loaded, tokenizer, max_new_tokens=max_new_tokens or task.max_new_tokens, **options)
    return task, oracle, {"model": fingerprint(model, loaded), "dtype": str(loaded.dtype), "extract": extract}


def grid(text: str | None, option: str) -> list[float]:
    """``0.1,0.2`` or ``start:stop:points`` (geometric)."""
    if not text:
        return []
    try:
        if text.count(":") == 2:
            start, stop, points = text.split(":")
            return np.geomspace(float(start), float(stop), int(points)).tolist()
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"{option} {text}: expected numbers as 0.1,0.2 or a geometric grid as 0.001:0.1:9") from error


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    console.print(f"{path}")


def stages(bar: Progress, label: str = "{stage}") -> Callable[[str, int, int], None]:
    """``told(stage, done, total)``: a line of the bar per stage, from the first time it is heard of."""
    lines: dict[str, int] = {}

    def told(stage: str, done: int, total: int) -> None:
        if stage not in lines:
            lines[stage] = bar.add_task(label.format(stage=stage, total=total), total=total)
        bar.update(lines[stage], completed=done, total=total)

    return told


def progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
