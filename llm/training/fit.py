"""The two losses that all methods come down to, and the trainer that descends them.

A method turns a pool into examples (`sharptheory.llm.training.examples`). SFT, adaptive SFT and the best-of-N-aware
objectives give *weighted* responses, and ascend ``Σ w log π(y|x)``; RLHF-Sharpening (DPO) and XPO give *pairs*, and
descend the regression (8). Training runs on transformers' `Trainer`, so checkpoints, several devices and processes are
its own.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from sharptheory.errors import UserError
from sharptheory.llm.training.config import Config
from sharptheory.llm.training.examples import Example


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


class _Clock(TrainerCallback):
    """Seconds in steps, without what callbacks do between them; of resumed training, those of the log it goes on with."""

    def __init__(self):
        self.seconds = 0.0

    def on_train_begin(self, args, state, control, **_):
        self.seconds = max((row.get("seconds", 0.0) for row in state.log_history), default=0.0)

    def on_step_begin(self, args, state, control, **_):
        self.started = time.perf_counter()

    def on_step_end(self, args, state, control, **_):
        self.seconds += time.perf_counter() - self.started


class SharpeningTrainer(Trainer):
    """`Trainer` with the losses above, and seconds in its log; stops at the first loss that is not a number."""

    def __init__(self, *args, beta: float, **kwargs):
        super().__init__(*args, **kwargs)
        self.beta = beta
        self.model_accepts_loss_kwargs = False
        self.clock = _Clock()
        self.add_callback(self.clock)

    def log(self, logs, *args, **kwargs):
        super().log({**logs, "seconds": self.clock.seconds}, *args, **kwargs)

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
    callbacks: Sequence[TrainerCallback] = (),
) -> pd.DataFrame:
    """Train a model in place on examples, from its last checkpoint in `folder` if there is one.

    AdamW, a rate that falls linearly to 0, gradients clipped by norm.

    Args:
        prompts: token ids per prompt number.
        config: its epochs, learning rate, batch size, clipping, weight decay, β and seed are used.
        checkpoints: how many, evenly spaced; the last two are kept.

    Returns:
        The log: step, loss, learning rate, seconds.

    Raises:
        UserError: a batch that processes cannot share, or too little disk. Diverged: a loss that is not a number.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
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
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)))
    model.eval()
    return pd.DataFrame([row for row in trainer.state.log_history if "loss" in row])


def check_disk(model: PreTrainedModel, folder: Path) -> None:
    """Refuse to train where checkpoints would not fit: two are kept while a third is written, weights and both moments each."""
    needed = 3 * 3 * 4 * sum(p.numel() for p in model.parameters() if p.requires_grad)
    if shutil.disk_usage(folder).free < needed:
        raise UserError(f"{folder} has too little free space for checkpoints: about {needed / 1e9:.1f} GB are needed")


def training_arguments(
    model: PreTrainedModel, n_examples: int, folder: Path, config: Config, checkpoints: int
) -> TrainingArguments:
    """The settings in the Trainer's own words."""
    processes = process_state().num_processes
    if config.batch_size % processes:
        raise UserError(
            f"batch_size={config.batch_size} (--batch-size) cannot be shared by {processes} processes; "
            f"expected a multiple of {processes}"
        )
    steps = math.ceil(n_examples / config.batch_size) * config.epochs
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        per_device_train_batch_size=config.batch_size // processes,
        max_grad_norm=config.max_grad_norm,
        weight_decay=config.weight_decay,
        lr_scheduler_type="linear",
        logging_steps=max(1, steps // 50),
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=max(1, steps // checkpoints),
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


def process_state():
    """Which of how many processes this is (`accelerate launch`); one of one otherwise."""
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())
