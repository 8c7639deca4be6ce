"""Train a base model: a small Llama that solves a generated task step by step.

    python -m experiments.train_base_model                       # arithmetic-1m, about 25 minutes on two cores
    python -m experiments.train_base_model --task multihop --batch-size 64 --steps 4000       # multihop-1m
    python -m experiments.train_base_model --size 25m --minutes 8 --out out/arithmetic-25m    # on a GPU
    python -m experiments.train_base_model --minutes 2 --out out/tiny

The learning rate decays linearly to zero over the steps, or over the time budget that `--minutes` puts in their place.
The recipe is chosen for a base model with room to improve (greedy accuracy between 0.4 and 0.8), never by looking at
what sharpening gains on it.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sharptheory.provenance import provenance
from sharptheory.tasks import TASKS

SORTED_BATCHES = 16
#: Width, width inside a layer, layers, heads, and a learning rate that falls as one over the width.
SIZES = {"1m": (128, 448, 4, 4, 2e-3), "25m": (512, 1408, 8, 8, 5e-4), "85m": (768, 2048, 12, 12, 3.3e-4)}


@dataclass(frozen=True)
class Language:
    """How a task's text is cut into tokens, the tokens there are (None: those of its problems), and what it says."""

    pattern: str
    symbols: str | None
    about: str


LANGUAGES = {
    "arithmetic": Language(
        ".",
        "0123456789+-=#",
        """a character tokenizer. It solves signed sums of 3 to 5 terms of 2 to 99 step by step: `17-42+8=`
continues `-25+8#-17`, then the end-of-sequence token. 60 % of its training solutions merge left to right and the rest
merge random neighbours, so one answer has many responses.""",
    ),
    "multihop": Language(
        " ?[A-Za-z]+| ?[0-9]|[^A-Za-z0-9]",
        None,
        """a tokenizer of words and digits. It solves multi-hop word problems: "Cal has 5 more apples than Bob.
Bob has 7 apples. How many apples does Cal have?" continues " Bob 7. Cal 7+5=12. Answer 12", then the end-of-sequence
token. Problems take 2 to 4 facts and have up to 2 that do not matter. Half of its training solutions are canonical; the
others vary the order of people and operands and may work out a person who does not matter, so one answer has many
responses.""",
    ),
}


@dataclass(frozen=True)
class Config:
    task: str = "arithmetic"
    size: str = "1m"
    steps: int = 3000
    minutes: float | None = None
    seed: int = 0
    batch_size: int = 128
    weight_decay: float = 0.01
    warmup_steps: int = 100
    max_positions: int = 256


def build_tokenizer(task: str = "arithmetic") -> PreTrainedTokenizerFast:
    """One token per match of the language's pattern, plus pad, end of sequence and unknown."""
    language = LANGUAGES[task]
    specials = ["<pad>", "<eos>", "<unk>"]
    pairs = [] if language.symbols else TASKS[task].training_pairs(5_000, np.random.default_rng(0))
    symbols = language.symbols or sorted(
        {token for pair in pairs for token in re.findall(language.pattern, "".join(pair))}
    )
    vocabulary = {token: i for i, token in enumerate([*specials, *symbols])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(language.pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )


def build_model(config: Config, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    hidden_size, intermediate_size, layers, heads, _ = SIZES[config.size]
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden_size,
            intermediate_size=intermediate_size,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=config.max_positions,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def make_batches(config: Config, rng: np.random.Generator, tokenizer) -> Iterator[tuple]:
    """Endless batches of prompt + solution + EOS, right-padded; labels only on the solution and its EOS.

    Rows of similar length share a batch (drawn `SORTED_BATCHES` at a time, handed out in random order): without it 40 %
    of the work is padding.
    """
    task, eos = TASKS[config.task], [tokenizer.eos_token_id]
    while True:
        texts = task.training_pairs(SORTED_BATCHES * config.batch_size, rng)
        prompts, solutions = (tokenizer(list(side))["input_ids"] for side in zip(*texts))
        pairs = sorted(zip(prompts, solutions), key=lambda pair: len(pair[0]) + len(pair[1]))
        for start in config.batch_size * rng.permutation(SORTED_BATCHES):
            batch = pairs[start : start + config.batch_size]
            width = max(len(prompt) + len(solution) for prompt, solution in batch) + 1
            tokens = np.zeros((len(batch), width), dtype=np.int64)
            labels = np.full((len(batch), width), -100, dtype=np.int64)
            for i, (prompt, solution) in enumerate(batch):
                encoded = prompt + solution + eos
                tokens[i, : len(encoded)] = encoded
                labels[i, len(prompt) : len(encoded)] = encoded[len(prompt) :]
            yield torch.from_numpy(tokens), torch.from_numpy(labels)


@torch.no_grad()
def accuracy(model, tokenizer, task_name: str, *, n_prompts: int = 500, sample: bool) -> float:
    """Accuracy on test problems, greedy or sampled once at temperature 1."""
    task = TASKS[task_name].load(n_prompts, seed=1)
    inputs = tokenizer(task.prompts, return_tensors="pt", padding=True, return_token_type_ids=False)
    options = dict(do_sample=True, top_k=0, top_p=1.0) if sample else dict(do_sample=False)
    output = model.generate(**inputs.to(model.device), max_new_tokens=task.max_new_tokens, **options)
    responses = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return float(np.mean([task.grade(r, a)[1] for r, a in zip(responses, task.answers)]))


def train(config: Config, device: str):
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    tokenizer = build_tokenizer(config.task)
    model = build_model(config, tokenizer).to(device)
    learning_rate = SIZES[config.size][-1]
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=config.weight_decay)
    batches = make_batches(config, rng, tokenizer)
    log, step, smoothed, start = [], 0, None, time.perf_counter()
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("step {task.fields[step]} loss {task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task("", total=1.0, step=0, loss="-")
        while True:
            minutes = (time.perf_counter() - start) / 60
            done = minutes / config.minutes if config.minutes else step / config.steps
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * min((step + 1) / config.warmup_steps, 1.0) * (1 - done)
            tokens, labels = next(batches)
            with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
                loss = model(input_ids=tokens.to(device), labels=labels.to(device)).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            smoothed = loss.item() if smoothed is None else 0.99 * smoothed + 0.01 * loss.item()
            if step % 50 == 0:
                log.append({"step": step, "minutes": round(minutes, 3), "loss": round(smoothed, 5)})
                progress.update(bar, completed=done, step=step, loss=f"{smoothed:.4f}")
    return model.eval(), tokenizer, log, step


CARD = """\
# {name}

A {parameters:,}-parameter `LlamaForCausalLM` ({layers} layers, width {width}, {heads} heads; {dtype}) with
{about}

Trained from scratch on generated problems by

    python -m experiments.train_base_model --task {task} --size {size} --steps {steps} --batch-size {batch_size} --seed {seed}

({elapsed:.0f} minutes on {device}; {steps:,} steps of {batch_size} problems, AdamW at {learning_rate}, linear decay).
Test problems are disjoint from training problems by construction (a hash of the problem decides).

| measured on 500 test problems | accuracy |
|---|---|
| greedy decoding | {greedy:.3f} |
| one sample at temperature 1 | {sampled:.3f} |

It is meant as a base model with room to improve for the study of sharpening; of no other use.
Training was stopped by its schedule, not by what sharpening gains. Licence: Apache-2.0.
"""


def main() -> None:
    defaults = Config()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(LANGUAGES), default=defaults.task)
    parser.add_argument("--size", choices=list(SIZES), default=defaults.size)
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--minutes", type=float, help="train for this long instead of a number of steps")
    parser.add_argument("--batch-size", type=int, default=defaults.batch_size)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--out", type=Path, help="default llm/models/TASK-SIZE")
    arguments = parser.parse_args()
    out = arguments.out or Path(__file__).parents[1] / f"llm/models/{arguments.task}-{arguments.size}"
    given = {name: value for name, value in vars(arguments).items() if name != "out"}
    config = Config(**given)
    device = "cuda" if torch.cuda.is_available() else "cpu"

    start = time.perf_counter()
    model, tokenizer, log, steps = train(config, device)
    elapsed = (time.perf_counter() - start) / 60
    if config.size != "1m":  # half the bytes; what is measured below is what is saved
        model = model.to(torch.bfloat16)
    model.save_pretrained(out, max_shard_size="15MB")
    tokenizer.save_pretrained(out)
    results = {
        name: accuracy(model, tokenizer, config.task, sample=sample)
        for name, sample in (("greedy", False), ("sampled", True))
    }
    width, _, layers, heads, learning_rate = SIZES[config.size]
    parameters = sum(p.numel() for p in model.parameters())
    card = CARD.format(
        **asdict(config) | results | {"steps": steps, "elapsed": elapsed},
        width=width,
        layers=layers,
        heads=heads,
        learning_rate=learning_rate,
        dtype=str(model.dtype).removeprefix("torch."),
        name=out.name,
        about=LANGUAGES[config.task].about,
        parameters=parameters,
        device=device.upper(),
    )
    (out / "README.md").write_text(card)
    record = {
        "config": asdict(config) | {"steps": steps},
        "parameters": parameters,
        "results": results,
        "log": log,
        "provenance": provenance(seed=config.seed, device=device, wall_seconds=60 * elapsed),
    }
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"{out}: {parameters:,} parameters, {steps:,} steps, {results}")


if __name__ == "__main__":
    main()
