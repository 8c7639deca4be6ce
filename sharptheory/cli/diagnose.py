"""The command `diagnose`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.panel import Panel
from rich.table import Table

from sharptheory.cli.app import (
    MODEL,
    TASK,
    TASKS,
    Chat,
    Data,
    Device,
    Dtype,
    Extract,
    Force,
    MaxNewTokens,
    Prompts,
    Shots,
    TrustRemoteCode,
    app,
    console,
    names,
    progress_bar,
    task_and_oracle,
)
from sharptheory.errors import UserError
from sharptheory.measure.imports import read_pool
from sharptheory.provenance import provenance
from sharptheory.report.findings import findings, headline
from sharptheory.report.html import write_report
from sharptheory.report.summary import Diagnosis
from sharptheory.report.summary import diagnose as diagnose_pool


@app.command(
    epilog="Examples:  "
    "[bold]sharptheory diagnose --model arithmetic-1m --task arithmetic --out out/[/]  ·  "
    "[bold]sharptheory diagnose --model ./my-model --task my.jsonl --extract 'regex:####\\s*(.+)'[/]  ·  "
    "[bold]sharptheory diagnose --pool samples.csv[/]"
)
def diagnose(
    model: Annotated[str | None, MODEL] = None,
    task: Annotated[str | None, TASK] = None,
    pool: Annotated[
        Path | None,
        typer.Option(help="Samples made elsewhere: .parquet, .jsonl or .csv with prompt_id, log_likelihood, correct."),
    ] = None,
    prompts: Prompts = 100,
    samples: Annotated[int, typer.Option(min=1, help="Samples per prompt, at temperature 1.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Decides prompts, samples and bootstrap.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for pool.parquet, summary.json, figures and report.html.")] = Path(
        "out"
    ),
    extract: Extract = "last-number",
    max_new_tokens: MaxNewTokens = None,
    batch_tokens: Annotated[
        int, typer.Option(min=1, help="Most tokens in the cache at once; halves itself when memory runs out.")
    ] = 65_536,
    data: Data = None,
    shots: Shots = None,
    device: Device = None,
    dtype: Dtype = None,
    chat: Chat = None,
    rewards: Annotated[
        str, typer.Option(help="Self-rewards to measure while sampling: self_certainty,negative_entropy,p_true.")
    ] = "",
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the run in --out; it must be this run (also the default if it is)."),
    ] = False,
    force: Force = False,
    trust_remote_code: TrustRemoteCode = False,
    convert_pickle: Annotated[
        bool, typer.Option("--convert-pickle", help="Convert pickle weights to a safetensors copy beside the folder.")
    ] = False,
) -> None:
    """Diagnose how much a model could gain by sharpening, from its own samples or from yours."""
    if (pool is None) == (model is None):
        raise UserError("give either --model and --task, or --pool")
    if pool is None and task is None:
        raise UserError(f"--model needs --task: {TASKS}")
    if resume and force:
        raise UserError("--resume keeps the run in --out and --force discards it; give one of them")
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
        from sharptheory.llm.sampling import sample_pool

        if convert_pickle:
            from sharptheory.llm.engines.loading import convert_pickle as convert

            model = str(convert(model))
            console.print(f"converted to {model}")
        measured = names(rewards)
        problems, oracle, identity = task_and_oracle(
            model, task, prompts, seed=seed, extract=extract, data=data, shots=shots, device=device, dtype=dtype,
            chat=chat, max_new_tokens=max_new_tokens, trust_remote_code=trust_remote_code, batch_tokens=batch_tokens,
            statistics=[name for name in measured if name != "p_true"],
        )  # fmt: skip
        used, loaded = str(oracle.model.device), oracle.model
        with progress_bar() as bar:
            line = bar.add_task(f"sampling {len(problems.prompts)} prompts × {samples}", total=len(problems.prompts))
            frame = sample_pool(
                oracle,
                problems,
                samples,
                out,
                seed=seed,
                judge="p_true" in measured,
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
        raise UserError(f"{out} holds a sampled run; choose another --out, or overwrite its report with --force")


def _print_summary(diagnosis: Diagnosis, title: str) -> None:
    table = Table(title=title, show_header=False, title_justify="left", title_style="bold")
    for name, value in headline(diagnosis.summary):
        table.add_row(name, value)
    console.print(table)
    for text in findings(diagnosis.summary).values():
        console.print(Panel(text, border_style="dim"))
