"""The settings of a training and their defaults, the one place for both; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """What to train; recorded with the run, so that a folder holds one.

    Attributes:
        method, reward: as in `training.METHODS` and `rewards.REWARDS`. n_samples: per prompt and round.
        n: of the best-of-N-aware methods. beta, delta, optimism: of `dpo`/`xpo`, `adaptive-sft`, `xpo`.
        rounds: of sampling and training. lora_rank: None trains all weights.
    """

    method: str = "sft"
    reward: str = "log_likelihood"
    n_samples: int = 50
    n: int = 8
    beta: float = 1.0
    delta: float = 0.1
    optimism: float = 0.01
    rounds: int = 1
    lora_rank: int | None = None
    epochs: int = 6
    learning_rate: float = 3e-4
    batch_size: int = 32
    max_grad_norm: float = 1.0
    weight_decay: float = 0.0
    seed: int = 0
