"""The command that sharpens a model by training it on its own responses."""

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
    Shots,
    TrustRemoteCode,
    app,
    console,
    progress_bar,
    stages,
    task_and_oracle,
    write_json,
)
from sharptheory.errors import UserError
from sharptheory.provenance import provenance


@app.command(
    epilog="Examples:  [bold]sharptheory train --model arithmetic-1m --task arithmetic --out out/sft[/]  ·  "
    "[bold]sharptheory train --model ./my-model --task gsm8k --data gsm8k/ --method dpo --beta 0.5 --lora-rank 16[/]  ·  "
    "[bold]accelerate launch --num_processes 2 -m sharptheory train --model … --task …[/]"
)
def train(
    model: Annotated[str, MODEL],
    task: Annotated[str, TASK],
    method: Annotated[str, typer.Option(help="sft, adaptive-sft, dpo, xpo, bon-sft, bon-rlb or bon-rlb-p.")] = "sft",
    reward: Annotated[
        str,
        typer.Option(
            help="log_likelihood, length_normalized, majority, self_certainty, negative_entropy, or correctness (control)."
        ),
    ] = "log_likelihood",
    prompts: Annotated[int, typer.Option(min=1, help="Prompts to learn from.")] = 2_000,
    eval_prompts: Annotated[int, typer.Option(min=2, help="Held-out prompts to measure on.")] = 100,
    samples: Annotated[int, typer.Option(min=2, help="Responses per prompt and round: the N of best-of-N.")] = 50,
    eval_samples: Annotated[int, typer.Option(min=1, help="Responses per held-out prompt and evaluation.")] = 16,
    n: Annotated[int, typer.Option("--n", min=1, help="N that the bon-* methods train for.")] = 8,
    beta: Annotated[float, typer.Option(help="β of dpo and xpo.")] = 1.0,
    delta: Annotated[float, typer.Option(help="δ of adaptive-sft (threshold ln(2/δ)).")] = 0.1,
    optimism: Annotated[float, typer.Option(min=0, help="α of xpo.")] = 0.01,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of sampling and training.")] = 1,
    lora_rank: Annotated[int | None, typer.Option(min=1, help="Train low-rank adapters (merged at the end).")] = None,
    full: Annotated[bool, typer.Option("--full", help="Train all weights (the default).")] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the examples of a round.")] = 6,
    learning_rate: Annotated[float, typer.Option("--lr", help="Peak learning rate; falls linearly to 0.")] = 3e-4,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples per step, over all processes.")] = 32,
    max_grad_norm: Annotated[float, typer.Option(help="Gradients are clipped to this norm.")] = 1.0,
    weight_decay: Annotated[float, typer.Option(min=0)] = 0.0,
    pool: Annotated[
        Path | None, typer.Option(help="Samples to learn from in the first round, instead of drawing them.")
    ] = None,
    foreign: Annotated[
        bool, typer.Option("--foreign", help="--pool is another model's: score it under this one, learn the likeliest.")
    ] = False,
    no_certify: Annotated[
        bool, typer.Option("--no-certify", help="Do not search the held-out prompts' argmax.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Decides prompts, samples, order and adapters.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Folder for pools, checkpoints, log, evaluation and the trained model.")
    ] = Path("out/train"),
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
    """Sharpen a model by training it on its own responses, and measure what that gained."""
    if full and lora_rank:
        raise UserError("--full trains all weights and --lora-rank a few; give one of them")
    if foreign and pool is None:
        raise UserError("--foreign says whose samples --pool holds; give --pool")
    from sharptheory.llm.training.config import Config
    from sharptheory.llm.training.sharpen import sharpen
    from sharptheory.tasks import split_task

    start = time.perf_counter()
    config = Config(
        method=method, reward=reward, n_samples=samples, n=n, beta=beta, delta=delta, optimism=optimism, rounds=rounds,
        lora_rank=lora_rank, epochs=epochs, learning_rate=learning_rate, batch_size=batch_size,
        max_grad_norm=max_grad_norm, weight_decay=weight_decay, seed=seed,
    )  # fmt: skip
    statistics = [reward] if reward in ("self_certainty", "negative_entropy") else []
    problems, held_out = split_task(task, prompts, eval_prompts, seed=seed, extract=extract, data=data, shots=shots)
    _, oracle, identity = task_and_oracle(
        model, problems, 0, seed=seed, extract=extract, data=data, shots=shots, device=device, dtype=dtype, chat=chat,
        max_new_tokens=max_new_tokens, trust_remote_code=trust_remote_code, statistics=statistics,
    )  # fmt: skip
    with progress_bar() as bar:
        table, base = sharpen(
            oracle, problems, held_out, out, config, pool=pool, foreign=foreign, n_eval=eval_samples,
            certify=not no_certify, identity=identity, force=force, progress=stages(bar),
        )  # fmt: skip
    _print(table, base, f"{Path(model).name} on {problems.name}: {method} by {reward}, N = {samples}")
    facts = provenance(
        seed=seed, device=str(oracle.model.device), wall_seconds=time.perf_counter() - start, model=model, task=task
    )
    last = table.iloc[-1].dropna().to_dict()
    write_json(
        out / "summary.json",
        {"baseline": base, "trained": last, "gap_closed": _gap(table, base), "provenance": facts},
    )
    console.print(f"trained model: [bold]{out / 'model'}[/]  ({time.perf_counter() - start:.0f} s)")


def _gap(table: pd.DataFrame, base: dict) -> float | None:
    """Share of the way from one sample of the base model to its best-of-N that one sample of the trained model has come."""
    if "accuracy" not in table or base["best_of_n_accuracy"] == base["sampled_accuracy"]:
        return None
    gained = float(table["accuracy"].iloc[-1] - base["sampled_accuracy"])
    return gained / (base["best_of_n_accuracy"] - base["sampled_accuracy"])


def _print(table: pd.DataFrame, base: dict, title: str) -> None:
    printed = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE, padding=(0, 1, 0, 0))
    shown = {"accuracy": "accuracy", "log_likelihood": "log π", "argmax_mass": "argmax", "entropy": "entropy",
             "distinct": "distinct", "length": "tokens"}  # fmt: skip
    shown = {name: label for name, label in shown.items() if name in table}
    for column in ("policy", *shown.values()):
        printed.add_column(column, justify="left" if column == "policy" else "right", no_wrap=True)

    def form(name: str, value: float) -> str:
        return f"{100 * value:.1f} %" if name in ("accuracy", "distinct", "argmax_mass") else f"{value:.2f}"

    for kind, label in (("greedy", "base, greedy"), ("best_of_n", f"base, best of {base['n']}")):
        cells = [form(name, base[f"{kind}_{name}"]) if f"{kind}_{name}" in base else "" for name in shown]
        printed.add_row(label, *cells)
    for _, row in table.iterrows():
        label = "base, one sample" if row["epoch"] == 0 else f"round {row['round']:.0f}, epoch {row['epoch']:.0f}"
        printed.add_row(label, *(form(name, row[name]) for name in shown))
    console.print(printed)
    if (gap := _gap(table, base)) is not None:
        console.print(
            "log π: under the base model; argmax: mass on the certified argmax; entropy in nats; distinct: of the samples.\n"
            f"One sample of the trained model has come {gap:.0%} of the way to best-of-{base['n']} of the base model."
        )
