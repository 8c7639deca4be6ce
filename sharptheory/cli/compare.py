"""The command `compare`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich import box
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
    grid,
    names,
    progress_bar,
    stages,
    task_and_oracle,
    write_json,
)
from sharptheory.provenance import provenance


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
    from sharptheory.llm.decoding.compare import alignment, compare_task, summarize
    from sharptheory.report import plots as plotting

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
