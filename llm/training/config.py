"""The settings of a training, their defaults and their limits: the one place for all three; needs no torch."""

from __future__ import annotations

import difflib
import math
from dataclasses import asdict, dataclass

from sharptheory.errors import UserError
from sharptheory.measure.rewards import REWARDS, Reward, load_reward

#: Method → what it is; `sharptheory.llm.training.examples` says what each learns from a pool.
METHODS: dict[str, str] = {
    "sft": "SFT-Sharpening: maximum likelihood on best-of-N responses",
    "adaptive-sft": "the same on adaptive best-of-N responses",
    "dpo": "RLHF-Sharpening: the regression (8) on pairs",
    "xpo": "the same over rounds of fresh on-policy samples, with optimism",
    "bon-sft": "likelihood of the best response under best-of-N of the policy",
    "bon-rlb": "expected reward of best-of-N, all samples weighted",
    "bon-rlb-p": "the same, each sample weighted by what it adds to the others",
}
PAIRS = ("dpo", "xpo")
BEST_OF_N_AWARE = ("bon-sft", "bon-rlb", "bon-rlb-p")
#: Setting → the methods that it is of; other settings are of all.
OF_METHODS = {"n": BEST_OF_N_AWARE, "beta": PAIRS, "delta": ("adaptive-sft",), "optimism": ("xpo",)}
#: What training calls the reward `answer_share`: selecting by it is learning the majority answer.
MAJORITY = "majority"

#: Setting → (what is expected, whether a value is that).
LIMITS = {
    "n_samples": ("a whole number of at least 1", lambda v: _whole(v) and v >= 1),
    "n": ("a whole number of at least 1", lambda v: _whole(v) and v >= 1),
    "beta": ("a positive number (β → 0 is the argmax law, which has no finite logits)", lambda v: _finite(v) and v > 0),
    "delta": ("a number in (0, 1]", lambda v: _finite(v) and 0 < v <= 1),
    "optimism": ("a number of at least 0", lambda v: _finite(v) and v >= 0),
    "rounds": ("a whole number of at least 1", lambda v: _whole(v) and v >= 1),
    "lora_rank": ("a whole number of at least 1, or None", lambda v: v is None or (_whole(v) and v >= 1)),
    "epochs": ("a whole number of at least 1", lambda v: _whole(v) and v >= 1),
    "learning_rate": ("a positive number of at most 1", lambda v: _finite(v) and 0 < v <= 1),
    "batch_size": ("a whole number of at least 1", lambda v: _whole(v) and v >= 1),
    "max_grad_norm": ("a positive number", lambda v: _finite(v) and v > 0),
    "weight_decay": ("a number from 0 to 1", lambda v: _finite(v) and 0 <= v <= 1),
    "seed": ("a whole number of at least 0", lambda v: _whole(v) and v >= 0),
}
#: Settings that the command line spells otherwise than ``--setting``.
SPELLED = {"n_samples": "--samples", "learning_rate": "--lr"}


@dataclass(frozen=True)
class Config:
    """What to train; recorded with the run, so that a folder holds one.

    Attributes:
        method: a key of `METHODS`.
        reward: what to prefer: a name in `sharptheory.measure.rewards.REWARDS`, ``"majority"``, or one of your own
            (``./my_reward.py:name``).
        n_samples: responses per prompt and round, the N of best-of-N.
        n: the N that the best-of-N-aware methods (`bon-…`) train for, at most `n_samples`.
        beta: β of `dpo` and `xpo`. delta: δ of `adaptive-sft`, threshold ``ln(2/δ)``. optimism: α of `xpo`.
        rounds: of sampling and training.
        lora_rank: of low-rank adapters; None trains all weights.
        epochs: passes over the examples of a round.
        learning_rate: peak of AdamW's rate, which falls linearly to 0.
        batch_size: examples per step, over all processes.
        max_grad_norm: gradients are clipped to this norm. weight_decay: of AdamW.
        seed: decides samples, order and adapters.

    Raises:
        UserError: a value out of range, or settings that do not go together; names them as argument and as option.

    ```python
    >>> Config(method="dpo", beta=0.5).learning_rate
    0.0003
    >>> Config(learning_rate=1e30)
    Traceback (most recent call last):
    ...
    sharptheory.errors.UserError: learning_rate=1e+30 (--lr); expected a positive number of at most 1

    ```
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

    def __post_init__(self):
        if self.method not in METHODS:
            near = difflib.get_close_matches(str(self.method), METHODS, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise UserError(f"method {self.method!r} (--method) is unknown{hint}; expected one of {', '.join(METHODS)}")
        for name, value in asdict(self).items():
            if name in LIMITS and not LIMITS[name][1](value):
                raise UserError(f"{name}={value} ({option(name)}); expected {LIMITS[name][0]}")
        training_reward(self.reward)
        if self.method == "adaptive-sft" and self.reward != "log_likelihood":
            raise UserError(
                f"reward {self.reward!r} (--reward) with method 'adaptive-sft' (--method): its rule stops by likelihood; "
                "expected log_likelihood"
            )
        if self.method in PAIRS and self.n_samples < 2:
            raise UserError(
                f"n_samples={self.n_samples} (--samples); method {self.method!r} learns from pairs, so at least 2"
            )
        if self.method in BEST_OF_N_AWARE and self.n > self.n_samples:
            raise UserError(f"n={self.n} (--n); expected at most n_samples={self.n_samples} (--samples)")


def option(name: str) -> str:
    """How the command line spells a setting."""
    return SPELLED.get(name, f"--{name.replace('_', '-')}")


def training_reward(name: str) -> Reward:
    """What a training prefers: as `load_reward`, and ``"majority"``, the share of the other responses with the same answer.

    Raises:
        UserError: nothing of this name.
    """
    if name == MAJORITY:
        return REWARDS["answer_share"]
    near = difflib.get_close_matches(name, [*REWARDS, MAJORITY], n=1)
    if name not in REWARDS and near == [MAJORITY]:
        raise UserError(f"reward {name!r} is unknown (did you mean {MAJORITY}?)")
    return load_reward(name)


def _whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _finite(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
