"""How much is computed at once: a budget of tokens that shrinks when memory runs out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

from sharptheory.errors import UserError

T = TypeVar("T")
#: What the libraries say, some of them in a plain RuntimeError, when memory runs out.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "ALLOC_FAILED")


class TokenBudget:
    """How many tokens are held in memory at once.

    Args:
        tokens: to begin with; fewer, once memory has run out.
    """

    def __init__(self, tokens: int):
        self.tokens = tokens

    def rows(self, width: int) -> int:
        """Rows of `width` tokens that fit, one at least."""
        return max(1, self.tokens // width)

    def attempt(self, rows: int, width: int, work: Callable[..., T], *args) -> T | None:
        """``work(*args)``, which holds `rows` rows of `width` tokens; None if memory ran out, and fewer rows fit now.

        Raises:
            UserError: memory ran out with a single row.
        """
        try:
            return work(*args)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if rows == 1:
                raise UserError("one response at a time does not fit in memory; lower --max-new-tokens") from error
        # Here, not in the handler: there the error still holds the frames of the failure, and they its tensors.
        self.tokens = width * (rows // 2)
        warnings.warn(f"out of memory: at most {self.tokens} tokens at once from now on", stacklevel=2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None


def _is_out_of_memory(error: BaseException) -> bool:
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(words in str(error) for words in OUT_OF_MEMORY)
