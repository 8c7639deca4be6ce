"""The command `diagnose`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from rich.panel import Panel
from typer import Context, Option

from sharptheory.cli.app import app, console, examples, fact_table, progress_bar
from sharptheory.cli.dry_run import show
from sharptheory.cli.limits import check_kept, check_out
from sharptheory.cli.models import Subject, load, read_task
from sharptheory.cli.options import TASK_NAMES, Options, takes_options, typed
from sharptheory.cli.rewards import (
    MEASURED,
    SAMPLED,
    check_needs,
    load_rewards,
    measured_columns,
    needed_columns,
    renamed_columns,
)
from sharptheory.errors import UserError
from sharptheory.measure.imports import pool_files, read_pool
from sharptheory.measure.pool import Pool
from sharptheory.measure.rewards import REWARDS, Reward, score_columns
from sharptheory.provenance import provenance
from sharptheory.report.findings import findings, headline
from sharptheory.report.html import write_report
from sharptheory.report.summary import Diagnosis
from sharptheory.report.summary import diagnose as diagnose_pool
from sharptheory.runs import claim, digest, file_digest, hold
from sharptheory.tasks import Task


@app.command(
    epilog=examples(
        "sharptheory diagnose --model arithmetic-1m --task arithmetic",
        "sharptheory diagnose --model ./my-model --task my.jsonl \\",
        "  --extract 'regex:####\\s*(.+)' --out out/mine",
        "sharptheory diagnose --model ./my-model --task my.jsonl --dry-run",
        "sharptheory diagnose --pool samples.csv --reward ./my_reward.py:score",
        "sharptheory diagnose --pool samples_gsm8k.jsonl",
        "sharptheory diagnose --pool my.jsonl.zst --columns prompt_id=idx,correct=ok",
    )
)
@takes_options(model=None, task=None)
def diagnose(
    options: Options,
    *,
    context: Context,
    pool: Annotated[
        Path | None,
        Option(
            help="Samples made elsewhere: a table (.parquet, .csv, .jsonl) or a log of lm_eval, inspect_ai, an OpenAI server and "
            "others (docs/formats.md), a folder or pattern of them; --prompts takes the first of its prompts."
        ),
    ] = None,
    columns: Annotated[
        str, Option(help="What --pool calls columns: prompt_id=idx,correct=score; in a log, which metric is correct.")
    ] = "",
    samples: Annotated[int, Option(min=1, help="Samples per prompt, at temperature 1.")] = 64,
    rewards: Annotated[str, Option(help=f"Self-rewards to measure while sampling: {','.join(MEASURED)}.")] = "",
    reward: Annotated[
        list[str] | None,
        Option(
            help="What the report selects by instead of log-likelihood: a column of --pool, a reward's name or "
            "./my_reward.py:name; further ones are compared with it."
        ),
    ] = None,
    resume: Annotated[
        bool, Option("--resume", help="Continue the run in --out; it must be this run (also the default if it is).")
    ] = False,
) -> None:
    """Measure how much a model could gain by sharpening. From its own samples, or from yours.

    Writes pool.parquet, summary.json, figures and report.html to --out.
    """
    if (pool is None) == (options.model is None):
        raise UserError("give either --model and --task, or --pool")
    if pool is None and options.task is None:
        raise UserError(f"--model needs --task: {TASK_NAMES}")
    if resume and options.force:
        raise UserError("--resume keeps the run in --out and --force discards it; give one of them")
    if pool is None and columns:
        raise UserError("--columns names those of --pool; give it with one")
    start = time.perf_counter()
    measured = measured_columns(rewards, "--rewards")
    if pool is None:
        own = load_rewards(reward)
        measured = list(dict.fromkeys([*measured, *needed_columns(own)]))
        check_needs(own, [*SAMPLED, *measured], "sampling gives")
        task = read_task(options, {"--samples": samples})
        subject = load(options, task, columns=measured)
        if options.dry_run:
            return _dry_run(options, subject, task, samples, judge="p_true" in measured)
    else:
        renamed = renamed_columns(columns)
        responses, facts = _given(options, pool, typed(context), renamed, texts=any(map(_is_code, reward or ())))
        own = load_rewards(reward, columns=score_columns(responses))
        check_needs(own, list(responses.samples), f"{pool} has")
        seconds = time.perf_counter() - start
        title = f"Diagnosis of {pool.name}"
        record = provenance(device="none (samples given)", wall_seconds=seconds, **facts, path=str(pool))
        diagnosis = _diagnosed(responses, own, record | {"rewards": reward or []}, options)
    with hold(options.out, wait=options.wait):
        if pool is None:
            responses = _sampled(options, subject, task, samples, judge="p_true" in measured)
            title = f"{subject.name} on {task.name}"
            facts = {"dtype": subject.identity["dtype"], "max_new_tokens": subject.oracle.max_new_tokens}
            record = subject.provenance(start, seed=options.seed, **facts)
            diagnosis = _diagnosed(responses, own, record | {"rewards": reward or []}, options)
        elif not _is_own(pool, options.out):
            with claim(options.out, facts, force=options.force):
                pass
        report = write_report(diagnosis, options.out, title=title)
    _print_summary(diagnosis, title)
    console.print(f"\nreport: {report}  ({time.perf_counter() - start:.0f} s)", soft_wrap=True)


def _dry_run(options: Options, subject: Subject, task: Task, samples: int, *, judge: bool) -> None:
    from sharptheory.llm import dry_run

    stage, _ = dry_run.sampling(subject.oracle, task, samples, judge=judge)
    stages = [stage, dry_run.report(dry_run.REPORT)]
    show(options, f"{subject.name} on {task.name}", stages, dry_run.memory(subject.oracle, task, samples))


def _diagnosed(pool: Pool, rewards: Sequence[Reward], record: dict, options: Options) -> Diagnosis:
    with console.status("estimating"):
        first, *others = rewards or [None]
        return diagnose_pool(pool, reward=first, rewards=others, provenance=record, seed=options.seed)


def _sampled(options: Options, subject: Subject, task: Task, samples: int, *, judge: bool) -> Pool:
    """The model's own samples."""
    from sharptheory.llm.sampling import sample_pool

    with progress_bar() as bar:
        line = bar.add_task(f"sampling {len(task.prompts)} prompts × {samples}", total=len(task.prompts))
        return sample_pool(
            subject.oracle, task, samples, options.out, seed=options.seed, judge=judge, identity=subject.identity,
            force=options.force, progress=lambda done, total: bar.update(line, completed=done, total=total),
        )  # fmt: skip


def _is_code(reward: str) -> bool:
    """Whether a reward is the user's own code, which may read the responses themselves."""
    return reward not in REWARDS


def _given(
    options: Options, path: Path, given: dict[str, str], renamed: dict[str, str], *, texts: bool
) -> tuple[Pool, dict]:
    """Samples made elsewhere, and what makes their report this one; nothing is written yet.

    Args:
        given: the options that are `typed`. renamed: as `renamed_columns`.
        texts: whether a reward of the user's may read the responses themselves.
    """
    fitting = ("pool", "columns", "prompts", "seed", "out", "force", "wait", "reward")
    if idle := [name for field, name in given.items() if field not in fitting]:
        raise UserError(
            f"{', '.join(idle)} with --pool: it holds samples, and no model is asked; leave out what asks one"
        )
    check_out(options.out)
    if not _is_own(path, options.out):
        check_kept(path, options.out, force=options.force)
    pool = read_pool(path, columns=renamed, texts=texts)
    if "prompts" in given:
        pool = _first(pool, options.prompts)
    hashes = list(map(file_digest, pool_files(path)))
    content = digest(hashes[0] if len(hashes) == 1 else hashes)
    facts = {
        "content": "report",
        "pool": path.name,
        "samples": content,
        "n_prompts": len(pool.sizes),
        "seed": options.seed,
    }
    return pool, facts | ({"columns": renamed} if renamed else {})


def _is_own(path: Path, out: Path) -> bool:
    """Whether samples are those that were sampled into this folder, whose run they then leave as it is."""
    return (out / "pool.parquet").resolve() == path.resolve()


def _first(pool: Pool, n_prompts: int) -> Pool:
    """The first prompts of a pool, greedy responses included."""
    few = pool.sizes.index[:n_prompts]
    greedy = pool.greedy[pool.greedy["prompt_id"].isin(few)].reset_index(drop=True)
    return replace(pool.take(pool["prompt_id"].isin(few)), greedy=greedy)


def _print_summary(diagnosis: Diagnosis, title: str) -> None:
    console.print(fact_table(headline(diagnosis.summary), title))
    for text in findings(diagnosis.summary).values():
        console.print(Panel(text, border_style="dim"))
