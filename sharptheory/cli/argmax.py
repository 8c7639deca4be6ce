"""The command `argmax`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sharptheory.cli.app import (
    MODEL,
    TASK,
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
    progress_bar,
    task_and_oracle,
    write_json,
)
from sharptheory.provenance import provenance


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
    from sharptheory.llm.decoding.search import search_task, summarize

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
