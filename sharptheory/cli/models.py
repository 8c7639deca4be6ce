"""Commands on models and on samples made by them: diagnose, argmax, compare."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich import box
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
    grid,
    names,
    progress_bar,
    stages,
    task_and_oracle,
    write_json,
)
from sharptheory.findings import findings, headline
from sharptheory.pool import read_pool
from sharptheory.provenance import provenance
from sharptheory.report import Diagnosis, write_report
from sharptheory.report import diagnose as diagnose_pool


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
        raise ValueError("give either --model and --task, or --pool")
    if pool is None and task is None:
        raise ValueError(f"--model needs --task: {TASKS}")
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
        from sharptheory.llm.sampling import sample_pool

        if convert_pickle:
            from sharptheory.llm.loading import convert_pickle as convert

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


@app.command(
    epilog="Examples:  [bold]sharptheory argmax --model arithmetic-1m --task arithmetic[/]  ·  "
    "[bold]sharptheory argmax --model ./my-model --task my.jsonl --gamma 0.5 --budget 5000[/]"
)
def argmax(
    model: Annotated[str, MODEL],
    task: Annotated[str, TASK],
    prompts: Prompts = 100,
    gamma: Annotated[float, typer.Option(help="Also find every response with p ≥ (1-γ) p*.")] = 0.0,
    budget: Annotated[int, typer.Option(min=1, help="Most prefixes expanded per prompt.")] = 1_000,
    samples: Annotated[int, typer.Option(min=0, help="Samples that seed the search, besides greedy decoding.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Decides prompts and samples.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for argmax.jsonl, argmax.parquet and argmax.json.")] = Path(
        "out/argmax"
    ),
    extract: Extract = "last-number",
    max_new_tokens: MaxNewTokens = None,
    data: Data = None,
    shots: Shots = None,
    device: Device = None,
    dtype: Dtype = None,
    chat: Chat = None,
    force: Force = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Find the most likely response of each prompt, with a proof: then coverage and margin are exact."""
    from sharptheory.llm.search import search_task, summarize

    start = time.perf_counter()
    problems, oracle, identity = task_and_oracle(
        model, task, prompts, seed=seed, extract=extract, data=data, shots=shots, device=device, dtype=dtype, chat=chat,
        max_new_tokens=max_new_tokens, trust_remote_code=trust_remote_code,
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar() as bar:
        line = bar.add_task(f"searching {len(problems.prompts)} prompts", total=len(problems.prompts))
        table = search_task(
            oracle,
            problems,
            out / "argmax.jsonl",
            gamma=gamma,
            budget=budget,
            samples=samples,
            seed=seed,
            identity=identity,
            force=force,
            progress=lambda done, total: bar.update(line, completed=done, total=total),
        )
    table.to_parquet(out / "argmax.parquet", index=False)
    summary = summarize(table, gamma)
    facts = provenance(
        seed=seed, device=str(oracle.model.device), wall_seconds=time.perf_counter() - start, model=model, task=task
    )
    printed = Table(
        title=f"{Path(model).name} on {problems.name}", show_header=False, title_justify="left", title_style="bold"
    )
    number = lambda value: "n/a" if value is None else f"{value:,.3g}"  # noqa: E731
    share = lambda value: "n/a" if value is None else f"{100 * value:.1f} %"  # noqa: E731
    for name, value in (
        ("argmax certified on", f"{summary['n_certified']} of {summary['n_prompts']} prompts"),
        ("prefixes expanded, median / most", f"{summary['median_expanded']:.0f} / {summary['max_expanded']:,}"),
        ("coverage coefficient E[1/p*], exact on those", number(summary["c_cov_bar"])),
        (f"C_cov at γ = {gamma:g}, exact on those", number(summary["c_cov_gamma"])),
        ("margin, smallest / median", f"{number(summary['margin'])} / {number(summary['median_margin'])}"),
        ("greedy decoding finds the argmax on", share(summary["greedy_is_argmax"])),
        ("accuracy of the argmax", share(summary["argmax_accuracy"])),
        ("accuracy of greedy decoding", share(summary["greedy_accuracy"])),
    ):
        printed.add_row(name, value)
    console.print(printed)
    write_json(out / "argmax.json", {**summary, "provenance": facts})


@app.command(
    epilog="Examples:  [bold]sharptheory compare --model arithmetic-1m --task arithmetic[/]  ·  "
    "[bold]sharptheory compare --model ./my-model --task gsm8k --data gsm8k/ --alpha 4 --beams 4 --samples 32[/]"
)
def compare(
    model: Annotated[str, MODEL],
    task: Annotated[str, TASK],
    prompts: Prompts = 50,
    samples: Annotated[int, typer.Option(min=1, help="Samples per prompt that the best-of-N methods share.")] = 64,
    beams: Annotated[str, typer.Option(help="Widths of beam search: 2,4,8.")] = "2,4,8",
    alpha: Annotated[str, typer.Option(help="Powers α = 1 + 1/β of power sampling: 2,4.")] = "2,4",
    particles: Annotated[str, typer.Option(help="Particles of power sampling by SMC.")] = "8,32",
    steps: Annotated[str, typer.Option(help="Proposals of power sampling by MCMC.")] = "8,32",
    delta: Annotated[str, typer.Option(help="δ of adaptive best-of-N (threshold ln(2/δ)).")] = "0.5,0.1,0.01",
    budget: Annotated[
        int, typer.Option(min=1, help="Most prefixes that the argmax search expands per prompt.")
    ] = 1_000,
    seed: Annotated[int, typer.Option(min=0, help="Decides prompts, samples, chains and bootstrap.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Folder for pool.parquet, decodings.jsonl, compare.parquet and .png.")
    ] = Path("out/compare"),
    extract: Extract = "last-number",
    max_new_tokens: MaxNewTokens = None,
    data: Data = None,
    shots: Shots = None,
    device: Device = None,
    dtype: Dtype = None,
    chat: Chat = None,
    rewards: Annotated[
        str, typer.Option(help="Further self-rewards: self_certainty,negative_entropy,p_true.")
    ] = "self_certainty",
    force: Force = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Every way to decode side by side: accuracy and log-likelihood against the forward tokens they cost."""
    from sharptheory import plotting
    from sharptheory.llm.compare import alignment, compare_task, summarize

    start = time.perf_counter()
    problems, oracle, identity = task_and_oracle(
        model, task, prompts, seed=seed, extract=extract, data=data, shots=shots, device=device, dtype=dtype, chat=chat,
        max_new_tokens=max_new_tokens, trust_remote_code=trust_remote_code,
        statistics=[name for name in names(rewards) if name != "p_true"],
    )  # fmt: skip
    with progress_bar() as bar:
        table = compare_task(
            oracle,
            problems,
            out,
            n=samples,
            beams=[int(width) for width in grid(beams, "--beams")],
            alphas=grid(alpha, "--alpha"),
            particles=[int(k) for k in grid(particles, "--particles")],
            steps=[int(k) for k in grid(steps, "--steps")],
            deltas=grid(delta, "--delta"),
            budget=budget,
            judge="p_true" in names(rewards),
            seed=seed,
            identity=identity,
            force=force,
            progress=stages(bar, "{stage} {total} prompts"),
        )
    table.to_parquet(out / "compare.parquet", index=False)
    summary = summarize(table, seed=seed)
    title = f"{Path(model).name} on {problems.name}, {len(problems.prompts)} prompts"
    printed = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for column in ("method", "setting", "tokens", "accuracy, %", "log π"):
        printed.add_column(column, justify="left" if column in ("method", "setting") else "right", no_wrap=True)
    for method, group in summary.groupby("method", sort=False):
        for place, (_, row) in enumerate(group.iterrows()):
            value, low, high = (100 * row[column] for column in ("accuracy", "accuracy_low", "accuracy_high"))
            printed.add_row(
                "" if place else method,
                row["setting"],
                "" if pd.isna(row["forward_tokens"]) else f"{row['forward_tokens']:,.0f}",
                "" if pd.isna(value) else f"{value:.1f} [{low:.0f}, {high:.0f}]",
                "" if pd.isna(row["log_likelihood"]) else f"{row['log_likelihood']:.2f}",
            )
    console.print(printed)
    if (level := alignment(table, seed=seed)) is not None:
        console.print(
            f"Of two of these methods the likelier is the more accurate with probability {level.value:.2f} "
            f"[{level.low:.2f}, {level.high:.2f}]; what sharpening needs is that within a prompt (`diagnose`)."
        )
    path = plotting.save_compare(summary, out / "compare.png", title)
    console.print(f"{path}")
    facts = provenance(
        seed=seed, device=str(oracle.model.device), wall_seconds=time.perf_counter() - start, model=model, task=task
    )
    rows = summary.astype(object).where(summary.notna(), None).to_dict("records")
    write_json(out / "compare.json", {"methods": rows, "provenance": facts})


def _refuse_sampled_run(out: Path, pool: Path, *, force: bool) -> None:
    """A report on given samples must not enter the folder of a sampled run, unless it is that run's own pool."""
    held = out / "pool.parquet"
    if (out / "run.json").is_file() and not force and held.resolve() != pool.resolve():
        raise ValueError(f"{out} holds a sampled run; choose another --out, or overwrite its report with --force")


def _print_summary(diagnosis: Diagnosis, title: str) -> None:
    table = Table(title=title, show_header=False, title_justify="left", title_style="bold")
    for name, value in headline(diagnosis.summary):
        table.add_row(name, value)
    console.print(table)
    for text in findings(diagnosis.summary).values():
        console.print(Panel(text, border_style="dim"))
