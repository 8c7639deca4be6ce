"""What every command on a model takes: one dataclass, whose fields are options of the command line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated

from typer import Context, Exit, Option

from sharptheory.cli.app import say
from sharptheory.runs import RUN_FILE
from sharptheory.tasks import TASKS

TASK_NAMES = f"{', '.join(TASKS)}, a .jsonl file of prompt and answer, or ./my_task.py"
#: Fields that `--help` lists before a command's own options; the others follow them.
FIRST = ("model", "task", "prompts")
#: Exit code of what Ctrl-C has ended, as shells have it.
INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Options:
    """Of `diagnose`, `argmax`, `compare` and `train`: the one place for their types, limits, defaults and texts."""

    model: Annotated[str, Option(help="Model folder, shipped model (arithmetic-1m, multihop-1m) or hub name.")]
    task: Annotated[str, Option(help=f"{TASK_NAMES}. How hard: arithmetic:max_terms=8")]
    prompts: Annotated[int, Option(min=1, help="Number of prompts.")] = 100
    seed: Annotated[
        int, Option(min=0, max=2**31 - 1, help="Decides all that is random: prompts, samples, bootstrap.")
    ] = 0
    out: Annotated[Path, Option(help="Folder of the run: all that the command writes.")] = Path("out")
    force: Annotated[
        bool, Option("--force", help="Discard the run that --out holds, and every file beside it; begin anew.")
    ] = False
    wait: Annotated[bool, Option("--wait", help="Wait for another process that works on the run in --out.")] = False
    dry_run: Annotated[
        bool, Option("--dry-run", help="Say what the run would take, by a probe of seconds; writes nothing.")
    ] = False
    extract: Annotated[str, Option(help="How a .jsonl task reads answers: last-number, exact or regex:PATTERN.")] = (
        "last-number"
    )
    data: Annotated[
        Path | None, Option(help="Official file of gsm8k, game24, math500, mmlu or prontoqa, or its folder.")
    ] = None
    shots: Annotated[int | None, Option(min=0, help="Worked examples before each question; default the task's.")] = None
    max_new_tokens: Annotated[
        int | None,
        Option(
            min=1,
            help="Response budget; default the task's, or what the context leaves if that is less.",
        ),
    ] = None
    batch_tokens: Annotated[
        int, Option(min=1, help="Most tokens in the cache at once; halves itself when memory runs out.")
    ] = 65_536
    device: Annotated[
        str | None, Option(help="cpu, cuda, cuda:1, or auto to spread a model over all; default CUDA if any.")
    ] = None
    dtype: Annotated[
        str | None, Option(help="float32, bfloat16 or float16; default float32 on the CPU, else the checkpoint's own.")
    ] = None
    chat: Annotated[bool | None, Option("--chat/--no-chat", help="Use the chat template; default if there is one.")] = (
        None
    )
    trust_remote_code: Annotated[
        bool, Option("--trust-remote-code", help="Let a model folder run its own Python code.")
    ] = False
    convert_pickle: Annotated[
        bool, Option("--convert-pickle", help="Convert pickle weights to a safetensors copy beside the folder.")
    ] = False


def typed(context: Context) -> dict[str, str]:
    """The options that the command line gives, whatever their defaults: name of each as it is typed, by field."""
    return {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if context.get_parameter_source(parameter.name).name == "COMMANDLINE"
    }


def takes_options(**defaults) -> Callable[[Callable], Callable]:
    """Let a function of ``(options: Options, *, …)`` be a command: the fields of `Options` join its own parameters.

    Args:
        defaults: of this command, where they are not those of `Options`.
    """

    def decorate(function: Callable) -> Callable:
        hints = inspect.get_annotations(Options, eval_str=True)
        shared = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(field.name, _default(field)),
                annotation=hints[field.name],
            )
            for field in fields(Options)
        ]
        _, *own = inspect.signature(function, eval_str=True).parameters.values()

        @functools.wraps(function)
        def command(**values) -> None:
            options = Options(**{field.name: values.pop(field.name) for field in fields(Options)})
            try:
                function(options, **values)
            except KeyboardInterrupt:
                say("interrupted", _what_is_kept(options), "yellow")
                raise Exit(INTERRUPTED) from None

        first, rest = [p for p in shared if p.name in FIRST], [p for p in shared if p.name not in FIRST]
        command.__signature__ = inspect.Signature([*first, *own, *rest])
        return command

    return decorate


def _what_is_kept(options: Options) -> str:
    """Of a run that was interrupted."""
    if options.model is None or not (options.out / RUN_FILE).exists():
        return "no run was begun"
    again = "the same command without --force" if options.force else "the same command"
    return f"the run in {options.out} is kept, {again} goes on"


def _default(field):
    """What `inspect` calls the default of a dataclass' field."""
    return inspect.Parameter.empty if field.default is MISSING else field.default
