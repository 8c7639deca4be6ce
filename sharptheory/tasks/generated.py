"""What the generated tasks share: which half a problem belongs to, and sampling until there are enough."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

from sharptheory.errors import UserError

Problem = TypeVar("Problem")

#: Share of all problems of a generated task that belong to its test split.
TEST_SHARE = 0.1


def is_test_prompt(prompt: str) -> bool:
    """Whether a generated prompt is in the test split: a hash of its text, uniform on [0, 1), is below `TEST_SHARE`."""
    digest = hashlib.blake2b(prompt.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < TEST_SHARE * 2.0**64


def sample_split(
    n: int,
    sample: Callable[[], Problem],
    prompt: Callable[[Problem], str],
    *,
    split: str,
    distinct: bool = False,
    about: object = "the task",
) -> list[Problem]:
    """`n` problems of one split, by rejection.

    Args:
        n: how many.
        sample: samples a problem of either split.
        prompt: its text, which decides the split.
        split: ``train`` or ``test``.
        distinct: leave out a prompt that is already there.
        about: what an error says has too few problems.

    Raises:
        UserError: there are fewer; says how many were found before many tries in a row gave nothing new.
    """
    found: list[Problem] = []
    seen: set[str] = set()
    tries = 0
    while len(found) < n:
        problem = sample()
        text = prompt(problem)
        tries += 1
        if is_test_prompt(text) == (split == "test") and not (distinct and text in seen):
            found.append(problem)
            tries = 0
            if distinct:
                seen.add(text)
        # The last of K problems takes some K / TEST_SHARE tries; where that is long, we stop short of all of them.
        elif tries > min(10_000 + 50 * len(found), 500_000):
            raise UserError(f"{about} has only {len(found)} {split} problems; ask for no more, or make it harder")
    return found
