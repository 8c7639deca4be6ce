"""The order of a pool's samples by a reward, prompt by prompt: sorted once, and used by every statistic of ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sharptheory.measure.pool import Pool, as_pool, rectangular
from sharptheory.measure.rewards import REWARDS, Reward, reward_values


@dataclass(frozen=True, eq=False)
class Ranking:
    """Samples in ascending order of a reward inside each prompt, equal ones in the order of the pool.

    Attributes:
        order: rows of the samples, prompt after prompt, ``[n]``.
        levels: positions in that order at which a new level (tied samples of one prompt) begins, ``[L]``.
        starts: positions at which a prompt begins and, last, n, ``[X+1]``.
    """

    order: np.ndarray
    levels: np.ndarray
    starts: np.ndarray

    @property
    def level_sizes(self) -> np.ndarray:
        """Samples of each level, ``[L]``."""
        return np.diff(self.levels, append=len(self.order))

    @property
    def level_starts(self) -> np.ndarray:
        """The first level of each prompt and, last, L, ``[X+1]``."""
        return np.append(np.searchsorted(self.levels, self.starts[:-1]), len(self.levels))

    def by_level(self, values: np.ndarray) -> np.ndarray:
        """Sums over the levels of values of the samples (in the pool's order), ``[L]``."""
        return np.add.reduceat(values[self.order], self.levels)

    def level_means(self, values: np.ndarray) -> np.ndarray:
        """Values of the samples in ascending order of reward, each replaced by the mean of its level, ``[n]``."""
        if len(self.levels) == len(self.order):
            return values[self.order]
        sizes = self.level_sizes
        return np.repeat(self.by_level(values) / sizes, sizes)

    def ranks(self, *, method: str) -> np.ndarray:
        """Rank of each sample inside its prompt from 1, in the pool's order: the ``"average"`` of its level or its ``"max"``.

        Returns:
            ``[n]``.
        """
        last = self.levels + self.level_sizes - np.repeat(self.starts[:-1], np.diff(self.level_starts))
        rank = last if method == "max" else last - (self.level_sizes - 1) / 2
        ranks = np.empty(len(self.order))
        ranks[self.order] = np.repeat(rank, self.level_sizes)
        return ranks


def rank(values: np.ndarray, starts: np.ndarray) -> Ranking:
    """The ranking of values ``[n]``, none NaN, of prompts that begin at `starts` ``[X+1]``."""
    order = np.empty(len(values), dtype=np.int64)
    for _, rows in rectangular(starts):
        order[rows] = rows[:, :1] + np.argsort(values[rows], axis=1, kind="stable")
    ordered = values[order]
    first = np.ones(len(values), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    first[starts[:-1]] = True
    return Ranking(order, np.flatnonzero(first), starts)


def ranking(pool: Pool | pd.DataFrame, reward: str | Reward) -> Ranking:
    """The ranking of a pool by a reward, worked out once for a pool.

    Raises:
        UserError: as `reward_values`.
    """
    pool = as_pool(pool)
    registered = isinstance(reward, Reward) and REWARDS.get(reward.name) is reward
    key = ("registered", reward.name) if registered else reward if isinstance(reward, str) else None
    ranks = pool.rankings.get(key) or rank(reward_values(pool, reward), pool.starts)
    if key is not None:
        pool.rankings[key] = ranks
    return ranks


def counts_below(values: np.ndarray, left: np.ndarray, right: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """How many of ``values[left:right]`` are smaller than `limit`, for many ranges at once.

    A wavelet matrix: bit by bit from the highest, values are parted stably by it, and every range with them; where the
    limit has the bit, those of the range without it are smaller. Time is ``O((n + Q) log(largest value))``.

    Args:
        values: integers from 0, ``[n]``. left, right: ranges of positions, ``[Q]``. limit: integers from 0, ``[Q]``.

    Returns:
        ``[Q]``.
    """
    counts = np.zeros(len(left), dtype=np.int64)
    for bit in reversed(range(int(max(values.max(initial=0), limit.max(initial=0))).bit_length())):
        one = (values >> bit & 1).astype(bool)
        zeros = np.append(0, np.cumsum(~one))
        left_zeros, right_zeros, above = zeros[left], zeros[right], (limit >> bit & 1).astype(bool)
        counts += np.where(above, right_zeros - left_zeros, 0)
        left = np.where(above, zeros[-1] + left - left_zeros, left_zeros)
        right = np.where(above, zeros[-1] + right - right_zeros, right_zeros)
        values = np.concatenate([values[~one], values[one]])
    return counts
