"""The two losses that all methods come down to, and the trainer that descends them.

A method turns a pool into examples (`sharptheory.llm.training.examples`). SFT, adaptive SFT and the best-of-N-aware
objectives give *weighted* responses, and ascend ``Σ w log π(y|x)``; RLHF-Sharpening (DPO) and XPO give *pairs*, and
descend the regression (8). Training runs on transformers' `Trainer`, so checkpoints, several devices and processes are
its own.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pandas as pd
import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint

from sharptheory.errors import UserError
from sharptheory.llm.training.config import Config
from sharptheory.llm.training.examples import Example
from sharptheory.runs import file_digest, write, writing

#: Of a training: a row for each of at most 100 intervals of its steps, and the loss is their mean.
LOG = ("step", "epoch", "loss", "grad_norm", "learning_rate")
#: In a folder, written last: digests of its files. Without it, or with others, the folder is torn or damaged.
MARK = "digests.json"
#: What torch says, in a RuntimeError, when a file cannot be written: the writer of its archives, or of streams.
TORCH_CANNOT_WRITE = ("inline_container", "iostream")
#: How long processes wait for the main one, which samples and measures alone; a launcher ends them if it fails.
PATIENCE = timedelta(days=30)


class Diverged(UserError):
    """The loss is not a number; says the step and where the last good checkpoint is."""


# Losses ---------------------------------------------------------------------------------------------------------------


def collate(batch: Sequence[Example], prompts: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """Right-padded rows of prompt + response; the second responses of pairs follow the first ones of all examples."""
    sequences = [(example, example.tokens) for example in batch]
    sequences += [(example, example.other or example.tokens) for example in batch]
    if all(example.other is None for example in batch):
        sequences = sequences[: len(batch)]
    width = max(len(prompts[example.prompt_id]) + len(tokens) for example, tokens in sequences)
    input_ids = torch.zeros((len(sequences), width), dtype=torch.long)
    labels = torch.full((len(sequences), width), -100, dtype=torch.long)
    for row, (example, tokens) in enumerate(sequences):
        prompt = prompts[example.prompt_id]
        line = torch.tensor([*prompt, *tokens])
        input_ids[row, : len(line)] = line
        labels[row, len(prompt) : len(line)] = line[len(prompt) :]
    return {
        "input_ids": input_ids,
        "labels": labels,
        "weight": torch.tensor([example.weight for example in batch], dtype=torch.float32),
        "pair": torch.tensor([example.other is not None for example in batch]),
        "target": torch.tensor([example.target for example in batch], dtype=torch.float32),
    }


def log_likelihoods(model, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """``log π(y|x)`` of each row ``[B]``, summed over its labelled tokens; padding follows, so it needs no mask."""
    logits = model(input_ids=input_ids, use_cache=False).logits[:, :-1].float()
    wanted = labels[:, 1:]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), wanted, ignore_index=-100, reduction="none")
    return -losses.sum(-1)


def loss(model, inputs: dict[str, torch.Tensor], *, beta: float) -> torch.Tensor:
    """Mean over examples of ``-w log π(y|x)``, or ``(β (log π(y) - log π(y')) - target)²`` for pairs."""
    values = log_likelihoods(model, inputs["input_ids"], inputs["labels"])
    weight, pair, target = inputs["weight"], inputs["pair"], inputs["target"]
    first = values[: len(weight)]
    if len(values) == len(weight):
        return -(weight * first).mean()
    regression = (beta * (first - values[len(weight) :]) - target) ** 2
    return torch.where(pair, regression, -weight * first).mean()


def forward_tokens(prompts: Sequence[Sequence[int]], data: Sequence[Example]) -> int:
    """Tokens that one pass over the examples puts through the model; a pair's prompt goes through twice."""
    rows = ((example.prompt_id, row) for example in data for row in (example.tokens, example.other) if row is not None)
    return sum(len(prompts[i]) + len(row) for i, row in rows)


class SharpeningTrainer(Trainer):
    """`Trainer` with the losses above; marks checkpoints as whole, and stops at the first loss that is not a number."""

    def __init__(self, *args, beta: float, **kwargs):
        super().__init__(*args, **kwargs)
        self.beta = beta
        self.model_accepts_loss_kwargs = False

    def _save_checkpoint(self, *args, **kwargs):
        folder = Path(self.args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        try:
            with saving(folder):
                super()._save_checkpoint(*args, **kwargs)
            self.accelerator.wait_for_everyone()  # each process saves a file of its own
            if self.args.should_save:
                mark(folder, files(folder))
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        value = loss(model, inputs, beta=self.beta)
        if not torch.isfinite(value):
            kept = get_last_checkpoint(self.args.output_dir)
            raise Diverged(
                f"the loss is {value.item()} at step {self.state.global_step + 1}; "
                f"{'the last good checkpoint is ' + kept if kept else 'there is no checkpoint yet'}; lower --lr"
            )
        return (value, None) if return_outputs else value


def fit(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    data: Sequence[Example],
    folder: str | Path,
    config: Config,
    *,
    checkpoints: int = 4,
    before: int | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> pd.DataFrame:
    """Train a model in place on examples, from its last whole checkpoint in `folder` if there is one.

    AdamW, a rate that falls linearly to 0, gradients clipped by norm.

    Args:
        prompts: token ids per prompt number.
        config: its epochs, learning rate, batch size, clipping, weight decay, β and seed are used.
        checkpoints: how many at least, evenly spaced; the last two are kept.
        before: go on from a checkpoint before this step, or anew: what happens there is to happen again.

    Returns:
        The log, columns `LOG`.

    Raises:
        UserError: a batch that processes cannot share, or too little disk. Diverged: a loss that is not a number.
        OSError: a checkpoint cannot be written; nothing of it is left.
    """
    folder = Path(folder)
    with process_state().main_process_first():
        checkpoint = last_checkpoint(folder, before=before)
    check_disk(model, folder)
    trainer = SharpeningTrainer(
        model,
        training_arguments(model, len(data), folder, config, checkpoints),
        data_collator=lambda batch: collate(batch, prompts),
        train_dataset=list(data),
        beta=config.beta,
        callbacks=list(callbacks),
    )
    trainer.remove_callback(PrinterCallback)
    model.train()
    trainer.train(resume_from_checkpoint=checkpoint)
    model.eval()
    # By name: what a checkpoint has kept of the log is in another order.
    return pd.DataFrame([row for row in trainer.state.log_history if "loss" in row], columns=list(LOG))


def steps_per_epoch(n_examples: int, config: Config) -> int:
    """Of all processes together."""
    return math.ceil(n_examples / config.batch_size)


# Checkpoints ----------------------------------------------------------------------------------------------------------


def last_checkpoint(folder: Path, *, before: int | None = None) -> str | None:
    """The newest whole checkpoint in a folder; torn or damaged ones, and those not before a step, are removed."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
            step = path.name.rpartition("-")[2]
            if step.isdigit() and not (is_whole(path) and (before is None or int(step) < before)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return get_last_checkpoint(str(folder))


def is_whole(folder: Path) -> bool:
    """Whether all that `mark` has recorded of a folder is there still, as it was written."""
    try:
        kept = json.loads((folder / MARK).read_text())
        return all(file_digest(folder / name) == value for name, value in kept.items())
    except (OSError, ValueError, AttributeError):
        return False


def mark(folder: Path, names: Sequence[str]) -> None:
    """Record what these files of a folder hold, once all of it is on disk whatever happens to the machine."""
    for name in names:
        with (folder / name).open("rb") as file:
            os.fsync(file.fileno())
    write(folder / MARK, json.dumps({name: file_digest(folder / name) for name in names}, indent=1) + "\n")


def files(folder: Path) -> list[str]:
    """Those in a folder and below, but for its mark."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if not name.startswith(MARK))


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """As `writing`, for what torch and safetensors write: neither raises an OSError when the disk is full."""
    with writing(path):
        try:
            yield
        except (RuntimeError, SafetensorError) as error:
            code = re.search(r"os error (\d+)", str(error))
            if code is None and not any(words in str(error) for words in TORCH_CANNOT_WRITE):
                raise
            number = int(code[1]) if code else errno.ENOSPC  # torch does not say, and it hardly is anything else
            raise OSError(number, os.strerror(number)) from error


def check_disk(model: PreTrainedModel, folder: Path) -> None:
    """Refuse to train where checkpoints would not fit: two are kept while a third is written, weights and both moments each."""
    needed = 3 * 3 * 4 * sum(p.numel() for p in model.parameters() if p.requires_grad)
    if shutil.disk_usage(folder).free < needed:
        raise UserError(f"{folder} has too little free space for checkpoints: about {needed / 1e9:.1f} GB are needed")


def training_arguments(
    model: PreTrainedModel, n_examples: int, folder: Path, config: Config, checkpoints: int
) -> TrainingArguments:
    """The settings in the Trainer's own words."""
    steps = steps_per_epoch(n_examples, config) * config.epochs
    # A checkpoint does not hold the losses since the last line of the log: none may fall between two lines.
    every = max(1, steps // 50)
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        per_device_train_batch_size=batch_per_process(config),
        max_grad_norm=config.max_grad_norm,
        weight_decay=config.weight_decay,
        lr_scheduler_type="linear",
        logging_steps=every,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=max(1, steps // checkpoints // every) * every,
        save_total_limit=2,
        remove_unused_columns=False,
        report_to=[],
        seed=config.seed,
        data_seed=config.seed,
        use_cpu=model.device.type == "cpu",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
    )


def batch_per_process(config: Config) -> int:
    """Examples of a step that each process takes.

    Raises:
        UserError: they cannot be shared evenly.
    """
    processes = process_state().num_processes
    if config.batch_size % processes:
        raise UserError(
            f"batch_size={config.batch_size} (--batch-size) cannot be shared by {processes} processes; "
            f"expected a multiple of {processes}"
        )
    return config.batch_size // processes


def process_state():
    """Which of how many processes this is (`accelerate launch`, `torchrun`); one of one otherwise."""
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
