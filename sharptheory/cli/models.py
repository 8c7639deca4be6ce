"""From the options of a command to a model that can be sampled, the cheap checks before the dear ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sharptheory.cli.app import console
from sharptheory.cli.limits import check_out, check_size
from sharptheory.cli.options import Options
from sharptheory.errors import UserError
from sharptheory.measure.rewards import REWARDS
from sharptheory.oracle import TextOracle
from sharptheory.provenance import provenance
from sharptheory.tasks import Task, load_task


@dataclass(frozen=True)
class Subject:
    """A model on its prompts.

    Attributes:
        model, task: as the options named them (the model's converted copy, if it was converted).
        oracle: the model. identity: what makes it this one, to be recorded with a run.
    """

    model: str
    task: str
    oracle: TextOracle
    identity: dict

    @property
    def name(self) -> str:
        """Of the model, for titles."""
        return Path(self.model).absolute().name

    def provenance(self, start: float, *, seed: int, **facts) -> dict:
        """Of a result that was begun at `start` by `time.perf_counter`; rounding depends on the number of threads."""
        import torch

        device, seconds = str(self.oracle.device), time.perf_counter() - start
        facts |= {"model": self.model, "task": self.task, "threads": torch.get_num_threads()}
        return provenance(seed=seed, device=device, wall_seconds=seconds, **facts)


def check_sizes(options: Options, counts: dict[str, int], task: Task | None = None) -> None:
    """Refuse an `--out` that cannot be written, and more responses than memory and disk hold.

    Args:
        counts: options that multiply the prompts.
        task: once it is read, for a file may hold fewer prompts than asked for; before that a file is not judged.
    """
    check_out(options.out)
    if task is not None or not (options.data or Path(options.task).is_file()):
        prompts = options.prompts if task is None else len(task.prompts)
        check_size({"--prompts": prompts, **counts}, out=options.out)


def read_task(options: Options, counts: dict[str, int]) -> Task:
    """The task that the options name; `counts` as in `check_sizes`, which has its say before and after."""
    check_sizes(options, counts)
    task = load_task(
        options.task,
        options.prompts,
        seed=options.seed,
        extract=options.extract,
        data=options.data,
        shots=options.shots,
    )
    check_sizes(options, counts, task)
    return task


def load(options: Options, *tasks: Task, columns: Sequence[str] = ()) -> Subject:
    """Load the model, and make sure that every prompt fits and every column can be measured; nothing is written.

    Args:
        tasks: whose prompts it will be given.
        columns: names from `MEASURED` that sampling is to add to the pool.

    Raises:
        UserError: no such model, a prompt too long for it, or a column that it cannot give.
    """
    from sharptheory.llm.engines.hf import JUDGE, HuggingFaceOracle
    from sharptheory.llm.engines.loading import convert_pickle, fingerprint, load_model, quiet_transformers

    quiet_transformers()
    model = options.model
    if options.convert_pickle and options.dry_run:
        raise UserError("--convert-pickle writes a copy of the model and --dry-run writes nothing; give one of them")
    if options.convert_pickle:
        model = str(convert_pickle(model, trust_remote_code=options.trust_remote_code))
        console.print(f"converted to {model}", soft_wrap=True)
    loaded, tokenizer = load_model(
        model, device=options.device, dtype=options.dtype, trust_remote_code=options.trust_remote_code
    )
    oracle = HuggingFaceOracle(
        loaded, tokenizer, max_new_tokens=options.max_new_tokens or tasks[0].max_new_tokens,
        batch_tokens=options.batch_tokens, chat=options.chat,
        statistics=[name for name in columns if REWARDS[name].measured == "statistic"],
    )  # fmt: skip
    prompts, asked = [prompt for task in tasks for prompt in task.prompts], []
    if any(REWARDS[name].measured == "judge" for name in columns):
        oracle.p_true(prompts[:1], [""])  # a model that cannot be asked fails here rather than after sampling
        asked = [JUDGE.format(prompt=prompt, response="") for prompt in prompts]
    if options.max_new_tokens is None and oracle.context is not None:
        oracle.max_new_tokens = _budget(
            oracle.max_new_tokens,
            oracle.context,
            longest=max(map(len, oracle.encode(prompts, room=1))),
            longest_asked=max(map(len, oracle.encode(asked, room=1)), default=0),
        )
    oracle.encode(prompts)
    identity = {"model": fingerprint(model, loaded), "dtype": str(loaded.dtype), "extract": options.extract}
    return Subject(model, options.task, oracle, identity)


def _budget(wanted: int, context: int, *, longest: int, longest_asked: int) -> int:
    """The task's response budget, or as much of it as the context leaves after the longest prompt.

    Whether a response is right is asked by a prompt that repeats it, which may take more tokens than it took to write.
    """
    budget = min(wanted, context - longest, (context - longest_asked) // 2 if longest_asked else wanted)
    if budget < 1:
        raise UserError(f"the longest prompt leaves no room for a response in the model's context of {context}")
    if budget < wanted:
        console.print(f"responses end after {budget} tokens: the model's context of {context} leaves no more")
    return budget
