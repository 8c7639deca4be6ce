"""Rewards and columns as options name them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sharptheory.errors import UserError
from sharptheory.measure.rewards import REWARDS, Reward, load_reward

#: Columns that a model is asked for while or after sampling.
MEASURED = tuple(reward.name for reward in REWARDS.values() if reward.measured)
#: Columns that a sampled pool always has; `correct` where the task has gold answers.
SAMPLED = ("prompt_id", "sample_id", "prompt", "response", "tokens", "log_likelihood", "length", "finished", "answer",
           "correct", "unreadable", "source")  # fmt: skip


def measured_columns(text: str, option: str) -> list[str]:
    """The columns in ``self_certainty,p_true``; an empty text names none.

    Raises:
        UserError: one that sampling cannot measure, or the same twice.
    """
    columns = [name.strip() for name in text.split(",") if name.strip()]
    for name in columns:
        if name not in MEASURED:
            raise UserError(f"{option} {text}: {name!r} is not measured while sampling; expected {', '.join(MEASURED)}")
    if len(set(columns)) < len(columns):
        raise UserError(f"{option} {text}: name each reward once")
    return columns


def renamed_columns(text: str) -> dict[str, str]:
    """Name here and name there, of each column in ``prompt_id=idx,correct=score``; an empty text names none.

    Raises:
        UserError: a part is not of that form, or one column is named twice.
    """
    columns: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, source = (each.strip() for each in part.partition("="))
        if not name or not equals or not source:
            raise UserError(f"--columns {text}: found {part!r}; expected NAME=COLUMN, as prompt_id=idx,correct=score")
        if name in columns:
            raise UserError(f"--columns {text}: {name} is named twice")
        columns[name] = source
    return columns


def load_rewards(specs: Iterable[str] | None, *, columns: Sequence[str] = ()) -> list[Reward]:
    """What ``--reward NAME`` and ``--reward ./file.py:name``, given any number of times, stand for.

    Args:
        columns: of the pool, if there is one: their names are rewards too.

    Raises:
        UserError: no such reward, or two of one name.
    """
    rewards = [load_reward(spec, columns=columns) for spec in specs or ()]
    names = [reward.name for reward in rewards]
    for name, reward in zip(names, rewards):
        if REWARDS.get(name, reward) is not reward:
            raise UserError(f"--reward {name}: a reward of this package has this name; call yours otherwise")
        if names.count(name) > 1:
            raise UserError(f"--reward: two are called {name}; rewards need different names")
    return rewards


def check_needs(rewards: Iterable[Reward], columns: Iterable[str], who: str) -> None:
    """Refuse a reward that needs a column which will not be there.

    Raises:
        UserError: names the reward and the column.
    """
    columns = list(columns)
    for reward in rewards:
        if missing := [column for column in reward.needs if column not in columns]:
            raise UserError(f"--reward {reward.name} needs column {missing[0]!r}; {who} {', '.join(columns)}")


def needed_columns(rewards: Iterable[Reward]) -> list[str]:
    """The columns that a pool gets only when sampling is asked for them."""
    return [column for column in MEASURED if any(column in reward.needs for reward in rewards)]
