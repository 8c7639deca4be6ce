"""The `sharptheory` command."""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sharptheory.pool import read_pool
from sharptheory.provenance import provenance
from sharptheory.report import Diagnosis, findings, headline, write_report
from sharptheory.report import diagnose as diagnose_pool

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Can this language model improve itself by sharpening? Coverage, exact laws, bounds and measurement.",
)
console = Console()


@app.callback()
def _root() -> None:
    """Keep `diagnose` a subcommand while it is the only one."""


@app.command(
    epilog="Examples:  "
    "[bold]sharptheory diagnose --model arithmetic-1m --task arithmetic --out out/[/]  ·  "
    "[bold]sharptheory diagnose --model ./my-model --task my.jsonl --extract 'regex:####\\s*(.+)'[/]  ·  "
    "[bold]sharptheory diagnose --pool samples.csv[/]"
)
def diagnose(
    model: Annotated[str | None, typer.Option(help="Model folder, shipped model (arithmetic-1m) or hub name.")] = None,
    task: Annotated[
        str | None, typer.Option(help="Task name (arithmetic) or a .jsonl file of prompt and answer.")
    ] = None,
    pool: Annotated[
        Path | None,
        typer.Option(help="Samples made elsewhere: .parquet, .jsonl or .csv with prompt_id, log_likelihood, correct."),
    ] = None,
    prompts: Annotated[int, typer.Option(min=1, help="Number of prompts.")] = 100,
    samples: Annotated[int, typer.Option(min=1, help="Samples per prompt, at temperature 1.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Decides prompts, samples and bootstrap.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for pool.parquet, summary.json, figures and report.html.")] = Path(
        "out"
    ),
    extract: Annotated[
        str, typer.Option(help="How a .jsonl task reads answers: last-number, exact or regex:PATTERN.")
    ] = "last-number",
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Response budget; default the task's own.")] = None,
    batch_tokens: Annotated[
        int, typer.Option(min=1, help="Most tokens in the cache at once; halves itself when memory runs out.")
    ] = 65_536,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …; default CUDA if there is one.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 …; default float32 on the CPU, the checkpoint's own on CUDA.")
    ] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="Use the chat template; default iff there is one.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the run in --out; it must be this run (also the default if it is)."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Discard a different run held in --out.")] = False,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let a model folder run its own Python code.")
    ] = False,
    convert_pickle: Annotated[
        bool, typer.Option("--convert-pickle", help="Convert pickle weights to a safetensors copy beside the folder.")
    ] = False,
) -> None:
    """Diagnose how much a model could gain by sharpening, from its own samples or from yours."""
    if (pool is None) == (model is None):
        raise ValueError("give either --model and --task, or --pool")
    if pool is None and task is None:
        raise ValueError("--model needs --task: a task name (arithmetic) or a .jsonl file of prompt and answer")
    if resume and force:
        raise ValueError("--resume keeps the run in --out and --force discards it; give one of them")
    start = time.perf_counter()
    if pool is not None:
        _refuse_sampled_run(out, pool, force=force)
        frame, facts, title, used = (
            read_pool(pool),
            {"pool": str(pool)},
            f"Diagnosis of {pool.name}",
            "none (samples given)",
        )
    else:
        from sharptheory.llm.loading import convert_pickle as convert
        from sharptheory.llm.loading import fingerprint, load_model, quiet_transformers
        from sharptheory.llm.oracle import HuggingFaceOracle
        from sharptheory.llm.sampling import sample_pool
        from sharptheory.llm.tasks import load_task

        quiet_transformers()
        problems = load_task(task, prompts, seed=seed, extract=extract)
        if convert_pickle:
            model = str(convert(model))
            console.print(f"converted to {model}")
        loaded, tokenizer = load_model(model, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
        oracle = HuggingFaceOracle(
            loaded,
            tokenizer,
            max_new_tokens=max_new_tokens or problems.max_new_tokens,
            batch_tokens=batch_tokens,
            chat=chat,
        )
        used = str(loaded.device)
        identity = {"model": fingerprint(model, loaded), "dtype": str(loaded.dtype), "extract": extract}
        with _progress() as bar:
            line = bar.add_task(f"sampling {len(problems.prompts)} prompts × {samples}", total=len(problems.prompts))
            frame = sample_pool(
                oracle,
                problems,
                samples,
                out,
                seed=seed,
                identity=identity,
                force=force,
                progress=lambda done, total: bar.update(line, completed=done, total=total),
            )
        facts = {"model": model, "task": task, "dtype": str(loaded.dtype), "max_new_tokens": oracle.max_new_tokens}
        title = f"{Path(model).name} on {problems.name}"
    with console.status("estimating and drawing"):
        record = provenance(seed=seed, device=used, wall_seconds=time.perf_counter() - start, **facts)
        diagnosis = diagnose_pool(frame, provenance=record, seed=seed)
        report = write_report(diagnosis, out, title=title)
    _print_summary(diagnosis, title)
    console.print(f"\nreport: [bold]{report}[/]  ({time.perf_counter() - start:.0f} s)")


def _refuse_sampled_run(out: Path, pool: Path, *, force: bool) -> None:
    """A report on given samples must not enter the folder of a sampled run, unless it is that run's own pool."""
    held = out / "pool.parquet"
    if (out / "run.json").is_file() and not force and held.resolve() != pool.resolve():
        raise ValueError(f"{out} holds a sampled run; choose another --out, or overwrite its report with --force")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def _print_summary(diagnosis: Diagnosis, title: str) -> None:
    table = Table(title=title, show_header=False, title_justify="left", title_style="bold")
    for name, value in headline(diagnosis.summary):
        table.add_row(name, value)
    console.print(table)
    for text in findings(diagnosis.summary).values():
        console.print(Panel(text, border_style="dim"))


def main() -> None:
    """Entry point: errors that a user can mend are one line, not a traceback (SHARPTHEORY_TRACEBACK=1 shows it)."""
    warnings.showwarning = lambda message, *_, **__: console.print(f"[yellow]warning:[/] {message}")
    try:
        app()
    except (ValueError, FileNotFoundError, MemoryError, PermissionError, ModuleNotFoundError) as error:
        if os.environ.get("SHARPTHEORY_TRACEBACK"):
            raise
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name in ("torch", "transformers", "safetensors"):
            hint = "; install the extra: pip install 'sharptheory[llm]'"
        Console(stderr=True).print(f"error: {error}{hint}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
