"""The `sharptheory` command."""

from __future__ import annotations

import json
import math
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sharptheory.findings import findings, headline
from sharptheory.policies import TabularPolicy
from sharptheory.pool import read_pool
from sharptheory.provenance import provenance
from sharptheory.report import Diagnosis, write_report
from sharptheory.report import diagnose as diagnose_pool

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Can this language model improve itself by sharpening? Coverage, exact laws, bounds and measurement.",
)
console = Console()


# Options that every command on a model shares.
MODEL = typer.Option(help="Model folder, shipped model (arithmetic-1m) or hub name.")
TASKS = "arithmetic, multihop, gsm8k, game24, math500, mmlu, prontoqa, or a .jsonl file of prompt and answer"
TASK = typer.Option(help=f"{TASKS}. How hard: arithmetic:max_terms=8,operators=+-*.")
Prompts = Annotated[int, typer.Option(min=1, help="Number of prompts.")]
Extract = Annotated[str, typer.Option(help="How a .jsonl task reads answers: last-number, exact or regex:PATTERN.")]
Data = Annotated[
    Path | None, typer.Option(help="Official file of gsm8k, game24, math500, mmlu or prontoqa, or its folder.")
]
Shots = Annotated[int | None, typer.Option(min=0, help="Worked examples before each question; default the task's.")]
MaxNewTokens = Annotated[int | None, typer.Option(min=1, help="Response budget; default the task's own.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …; default CUDA if there is one.")]
Dtype = Annotated[
    str | None, typer.Option(help="float32, bfloat16 …; default float32 on the CPU, the checkpoint's own on CUDA.")
]
Chat = Annotated[bool | None, typer.Option("--chat/--no-chat", help="Use the chat template; default iff there is one.")]
Force = Annotated[bool, typer.Option("--force", help="Discard a different run held in --out.")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let a model folder run its own Python code.")
]


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
        str, typer.Option(help="Self-rewards to measure while sampling: self_certainty,negative_entropy.")
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
        from sharptheory.llm.loading import convert_pickle as convert
        from sharptheory.llm.loading import fingerprint, load_model, quiet_transformers
        from sharptheory.llm.oracle import HuggingFaceOracle
        from sharptheory.llm.sampling import sample_pool
        from sharptheory.llm.tasks import load_task

        quiet_transformers()
        problems = load_task(task, prompts, seed=seed, extract=extract, data=data, shots=shots)
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
            statistics=[name.strip() for name in rewards.split(",") if name.strip()],
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


@app.command(
    epilog="Examples:  [bold]sharptheory check --instances 10000[/]  ·  "
    "[bold]sharptheory check --policy table.csv --only adaptive_stopping[/]"
)
def check(
    instances: Annotated[int, typer.Option(min=1, help="Random instances per statement.")] = 1_000,
    search: Annotated[
        int, typer.Option(min=0, help="Steps of the search for a tight instance, from the best one.")
    ] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Decides instances and search.")] = 0,
    policy: Annotated[
        Path | None, typer.Option(help="Check this table: .npz, .npy, .csv or .parquet, one row per prompt.")
    ] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Rows of --policy are weights.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Check only this statement; repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the table as .json, with provenance.")] = None,
) -> None:
    """Attack every statement of the theory: random instances, then a search for the tightest one."""
    from sharptheory import checks

    names = list(checks.REGISTRY) if only is None else only
    for name in names:
        if name not in checks.REGISTRY:
            raise ValueError(f"--only {name}: no such statement; expected one of {', '.join(checks.REGISTRY)}")
    table = None if policy is None else TabularPolicy.from_file(policy, normalize=normalize)
    start, results = time.perf_counter(), []
    with _progress() as bar:
        line = bar.add_task(f"checking {len(names)} statements", total=len(names))
        for result in checks.run(instances, seed=seed, policy=table, search=search, names=names):
            results.append(result)
            bar.advance(line)
    title = f"{len(names)} statements, {instances:,} instances each, seed {seed}"
    printed = Table(title=title, title_justify="left", show_lines=True)
    printed.add_column("statement", ratio=1)
    for column, justify in (("instances", "right"), ("tightest", "right"), ("verdict, where", "left")):
        printed.add_column(column, justify=justify)
    for r in results:
        tightest = "identity" if r.check.identity and not r.broken else f"{r.tightest:.4g}"
        statement, verdict = escape(f"{r.check.source}: {r.check.statement}"), r.verdict
        if r.check.erratum:
            statement += f"\n[dim]{escape(r.where)}[/]"
        else:
            verdict += f"\n[dim]{r.where}[/]"
        printed.add_row(statement, f"{r.instances:,}", tightest, verdict, style="" if r.as_expected else "bold red")
    console.print(printed)
    console.print(
        "tightest: largest quantity/bound met; 1 is equality, above 1 broken. Errata must fail, on the instance shown."
    )
    for r in results:
        if not r.as_expected and r.instance is not None:
            console.print(f"[bold red]{r.check.name}[/] broken at {r.where}:")
            console.print(r.instance)
    if out is not None:
        rows = [
            {"name": r.check.name, "source": r.check.source, "statement": r.check.statement, "instances": r.instances,
             "tightest": r.tightest if math.isfinite(r.tightest) else None, "verdict": r.verdict, "where": r.where}
            for r in results
        ]  # fmt: skip
        facts = provenance(seed=seed, wall_seconds=time.perf_counter() - start, instances=instances, search=search)
        _write_json(out, {"statements": rows, "provenance": facts})
    if not all(r.as_expected for r in results):
        raise typer.Exit(1)


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
    from sharptheory.llm.loading import fingerprint, load_model, quiet_transformers
    from sharptheory.llm.oracle import HuggingFaceOracle
    from sharptheory.llm.search import search_task, summarize
    from sharptheory.llm.tasks import load_task

    quiet_transformers()
    start, problems = time.perf_counter(), load_task(task, prompts, seed=seed, extract=extract, data=data, shots=shots)
    loaded, tokenizer = load_model(model, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    oracle = HuggingFaceOracle(loaded, tokenizer, max_new_tokens=max_new_tokens or problems.max_new_tokens, chat=chat)
    identity = {"model": fingerprint(model, loaded), "dtype": str(loaded.dtype), "extract": extract}
    out.mkdir(parents=True, exist_ok=True)
    with _progress() as bar:
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
        seed=seed, device=str(loaded.device), wall_seconds=time.perf_counter() - start, model=model, task=task
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
    _write_json(out / "argmax.json", {**summary, "provenance": facts})


def _grid(text: str | None, option: str) -> list[float]:
    """``0.1,0.2`` or ``start:stop:points`` (geometric)."""
    if not text:
        return []
    try:
        if text.count(":") == 2:
            start, stop, points = text.split(":")
            return np.geomspace(float(start), float(stop), int(points)).tolist()
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{option} {text}: expected numbers as 0.1,0.2 or a geometric grid as 0.001:0.1:9") from error


@app.command(
    epilog="Examples:  [bold]sharptheory curves --out out/curves[/]  ·  "
    "[bold]sharptheory curves --eps 1e-4:0.1:13 --coverage 2,10,100 --dim 5[/]"
)
def curves(
    eps: Annotated[
        str, typer.Option(help="ε: numbers 0.1,0.01 or a geometric grid start:stop:points.")
    ] = "0.001:0.2:13",
    coverage: Annotated[str, typer.Option(help="Coverage coefficients C > 1, same notation.")] = "10",
    dim: Annotated[str, typer.Option(help="Numbers of hard prompts d, same notation.")] = "5",
    delta: Annotated[float, typer.Option(help="Missing mass δ that the bounds promise, at most 1/2.")] = 0.5,
    out: Annotated[Path, typer.Option(help="Folder for curves.parquet, curves.json and PNGs.")] = Path("out/curves"),
) -> None:
    """Minimax sample complexity of sharpening: exact curves on the hard family, bounds and rates."""
    from sharptheory import plotting
    from sharptheory.tables import sample_complexity

    start = time.perf_counter()
    grids = {"eps": _grid(eps, "--eps"), "coverage": _grid(coverage, "--coverage"), "dim": _grid(dim, "--dim")}
    grids["dim"] = [int(d) for d in grids["dim"]]
    total = math.prod(map(len, grids.values()))
    with _progress() as bar:
        line = bar.add_task(f"solving {total} families", total=total)
        table = sample_complexity(**grids, delta=delta, progress=lambda: bar.advance(line))
    out.mkdir(parents=True, exist_ok=True)
    table.to_parquet(out / "curves.parquet", index=False)
    facts = provenance(seed=None, wall_seconds=time.perf_counter() - start, **grids, delta=delta)
    _write_json(out / "curves.json", {"provenance": facts})
    for (c, d), rows in table.groupby(["coverage", "dim"]):
        path = out / f"curves-C{c:g}-d{d}.png"
        title = f"What sharpening costs: coverage coefficient ≤ {c:g}, {d} hard prompts"
        plotting.save(lambda ax, rows=rows: plotting.sample_complexity(rows, ax), path, title)
        console.print(f"{path}")
    slopes = Table(title="slope of log m in log ε, between the ends of the grid", title_justify="left")
    for column in ("curve", "kind", "C", "d", "slope"):
        slopes.add_column(column)
    for (curve, kind, c, d), rows in table.groupby(["curve", "kind", "coverage", "dim"], sort=False):
        ends = rows.sort_values("eps").iloc[[0, -1]]
        if len(rows) > 1 and (ends["queries"] > 0).all():
            slope = np.diff(np.log(ends["queries"]))[0] / np.diff(np.log(ends["eps"]))[0]
            slopes.add_row(curve, kind, f"{c:g}", f"{d}", f"{slope:.2f}")
    console.print(slopes)


@app.command(
    epilog="Examples:  [bold]sharptheory law --probs 0.5,0.3,0.2 --n 1,4,16 --beta 0.5[/]  ·  "
    "[bold]sharptheory law --policy table.csv --row 3 --alpha 1:8:4 --delta 0.1 --out law.csv[/]"
)
def law(
    probs: Annotated[str | None, typer.Option(help="One prompt's response probabilities, 0.5,0.3,0.2.")] = None,
    policy: Annotated[Path | None, typer.Option(help="Or a table: .npz, .npy, .csv, .parquet.")] = None,
    row: Annotated[int, typer.Option(min=0, help="Prompt of the table.")] = 0,
    n: Annotated[str, typer.Option(help="N of best-of-N: numbers 1,4,16 or a grid start:stop:points.")] = "1,4,16,64",
    beta: Annotated[str, typer.Option(help="β of the tilted law.")] = "",
    alpha: Annotated[str, typer.Option(help="α of the power law.")] = "",
    delta: Annotated[str, typer.Option(help="δ of adaptive best-of-N (threshold ln(2/δ)).")] = "0.1",
    gamma: Annotated[float, typer.Option(help="γ of the near-maximisers.")] = 0.0,
    normalize: Annotated[bool, typer.Option("--normalize", help="Numbers are weights.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the table as .csv or .parquet.")] = None,
) -> None:
    """Exact laws of one prompt: best-of-N, tilted, power, adaptive, argmax."""
    from sharptheory.tables import law_table

    if (probs is None) == (policy is None):
        raise ValueError("give either --probs or --policy")
    if probs is not None:
        table = TabularPolicy.from_probs(_grid(probs, "--probs"), normalize=normalize)
    else:
        table = TabularPolicy.from_file(policy, normalize=normalize)
        if row >= table.shape[0]:
            raise ValueError(f"--row {row}: {policy} has rows 0 to {table.shape[0] - 1}")
    grids = {"n": n, "beta": beta, "alpha": alpha, "delta": delta}
    grids = {name: _grid(text, f"--{name}") for name, text in grids.items()}
    result = law_table(np.asarray(table.log_probs[row if policy else 0], dtype=float), gamma=gamma, **grids)
    responses = [name for name in result if name.startswith("p") and name[1:].isdecimal()]
    shown = sorted(responses, key=lambda name: -result[name].iloc[0])[:5]
    printed = Table(
        title=f"exact laws over {len(responses)} responses, the likeliest {len(shown)} shown", title_justify="left"
    )
    for column in ("law", "π(y*)", "KL", "C_π", "draws", *shown):
        printed.add_column(column, justify="left" if column == "law" else "right", no_wrap=True)
    symbols = {"best-of-N": "N", "tilted": "β", "power": "α", "adaptive best-of-N": "δ", "argmax": "γ"}
    columns = ["argmax_mass", "kl", "concentrability", "expected_n", *shown]
    for _, r in result.iterrows():
        name = r["law"].removesuffix(" best-of-N")
        if name != "base":
            name += f", {symbols[r['law']]} = {r['parameter']:g}"
        printed.add_row(name, *("" if np.isnan(r[c]) else f"{0.0 if abs(r[c]) < 1e-15 else r[c]:.3g}" for c in columns))
    console.print(printed)
    if out is not None:
        if out.suffix not in (".csv", ".parquet"):
            raise ValueError(f"--out {out}: expected .csv or .parquet")
        out.parent.mkdir(parents=True, exist_ok=True)
        result.to_csv(out, index=False) if out.suffix == ".csv" else result.to_parquet(out, index=False)
        console.print(f"{out}")


def _write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    console.print(f"{path}")


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
