"""Best-of-N curves of a pool: exact averages over all its subsets, unbiased, for every N at once.

The functions over arrays take rectangles ``[X, M]`` (prompts × samples, see `sharptheory.measure.pool.rectangles`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sharptheory.errors import UserError, expect_integers, expect_numbers
from sharptheory.measure.pool import Pool, as_pool, rectangular
from sharptheory.measure.ranking import Ranking, rank, ranking
from sharptheory.measure.rewards import Reward
from sharptheory.theory.adaptive import entry_time
from sharptheory.theory.majority import log_choose


def checked_n(n: np.ndarray, largest: float = np.inf, *, whole: bool = True) -> np.ndarray:
    """Values of N as an array ``[K]`` of integers (of floats if they need not be `whole`): what every N here goes through.

    Args:
        n: a number or several. largest: what they may be, usually the smallest number of samples of a prompt.

    Raises:
        UserError: none, or one that is no number from 1 to `largest`.
    """
    limits = (
        f"{'an integer' if whole else 'a number'} from 1{f' to the pool size {largest:,}' if largest < np.inf else ''}"
    )
    try:
        values = np.atleast_1d(np.asarray(n, dtype=float))
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"n={n!r:.60}; expected {limits}") from None
    if values.ndim > 1 or values.size == 0:
        raise UserError(f"n has shape {values.shape}; expected a number or [K]")
    good = (values >= 1) & (values <= largest) & np.isfinite(values)
    if whole:
        good &= values == np.round(values)
    if not good.all():
        raise UserError(f"n={values[~good][0]:g}; expected {limits}")
    return values.astype(np.int64) if whole else values


def best_of_n_weights(m: int, n: np.ndarray) -> np.ndarray:
    """Probability that the j-th smallest of `m` distinct rewards is the largest of N sampled without replacement.

    ``w[N, j] = C(j-1, N-1) / C(m, N)`` for j = 1..m, by the recursion ``w[N, j-1] = w[N, j] (j-N)/(j-1)``.

    Args:
        m: pool size M of a prompt.
        n: values of N, integers in 1..m, shape ``[K]``.

    Returns:
        Weights ``[K, M]``; each row sums to 1.

    Raises:
        UserError: an N is not an integer from 1 to M.
    """
    n = checked_n(n, m)
    return _weights(n / m, n, m, 0)


def _weights(highest: np.ndarray, n: np.ndarray, high: int, low: int) -> np.ndarray:
    """`best_of_n_weights` of the ranks ``low + 1 .. high``, given those of rank `high`, ``[K]``."""
    j = np.arange(high, low + 1, -1)
    ratios = np.maximum(j - n[:, None], 0) / (j - 1)
    return np.cumprod(np.concatenate([highest[:, None], ratios], axis=1), axis=1)[:, ::-1]


#: Ranks whose weights are held at a time, and the weight below which all lower ranks together add nothing.
BLOCK, NEGLIGIBLE = 1 << 14, 1e-30


def _averages(ordered: np.ndarray, n: np.ndarray) -> np.ndarray:
    """``ordered @ best_of_n_weights(m, n).T``, a block of ranks at a time from the highest, ``[X, M] → [X, K]``."""
    high = ordered.shape[1]
    weight, total = n / high, np.zeros((len(ordered), len(n)))
    while high > 0 and (held := np.flatnonzero(weight > NEGLIGIBLE)).size:
        low = max(0, high - BLOCK)
        weights = _weights(weight[held], n[held], high, low)
        total[:, held] += ordered[:, low:high] @ weights.T
        weight = np.zeros(len(n))
        if low > 0:
            weight[held] = weights[:, 0] * np.maximum(low + 1 - n[held], 0) / low
        high = low
    return total


def best_of_n_curve(rewards: np.ndarray, values: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Expected value of the best-of-N response by reward, unbiased, for all N at once.

    Averages over all N-subsets of each prompt's pool, exactly: no resampling. A tie group is shared equally; since its
    weights sum to ``[C(c_≤, N) - C(c_<, N)] / C(M, N)``, replacing values by their tie-group mean does just that.

    Args:
        rewards: ``[X, M]``, larger is better.
        values: ``[X, M]``, what to average: correctness, log-likelihood, length, …
        n: values of N in 1..M, shape ``[K]``.

    Returns:
        ``[X, K]``, one curve per prompt.

    Raises:
        UserError: shapes differ, a reward is NaN, a value is infinite, or an N is out of range.

    ```python
    >>> best_of_n_curve([[-3.0, -1.0, -2.0]], [[0, 1, 0]], [1, 2, 3]).round(3).tolist()
    [[0.333, 0.667, 1.0]]

    ```
    """
    rewards, values = np.atleast_2d(rewards), np.atleast_2d(np.asarray(values, dtype=float))
    if rewards.shape != values.shape:
        raise UserError(f"rewards {rewards.shape} and values {values.shape} differ in shape; expected both [X, M]")
    if np.isnan(rewards).any():
        raise UserError(f"rewards{np.argwhere(np.isnan(rewards))[0].tolist()} is NaN; expected numbers")
    if np.isinf(values).any():
        raise UserError(f"values{np.argwhere(np.isinf(values))[0].tolist()} is infinite; expected numbers with a mean")
    if rewards.size == 0:
        return np.zeros((len(rewards), len(checked_n(n, values.shape[1]))))
    starts = np.arange(len(rewards) + 1) * rewards.shape[1]
    return ranked_curves(rank(rewards.ravel(), starts), values.ravel(), checked_n(n, rewards.shape[1]))


def ranked_curves(ranks: Ranking, values: np.ndarray, n: np.ndarray) -> np.ndarray:
    """`best_of_n_curve` of prompts of any size, ``[X, K]``."""
    ordered = ranks.level_means(values)
    curves = np.empty((len(ranks.starts) - 1, len(n)))
    for prompts, rows in rectangular(ranks.starts):
        curves[prompts] = _averages(ordered[rows], n)
    return curves


def curve(pool: Pool | pd.DataFrame, reward: str | Reward, value: str, n: np.ndarray) -> pd.DataFrame:
    """Expected value of the best-of-N sample of each prompt, `best_of_n_curve` on a pool of any shape.

    Every N must be available for every prompt; prompts with a null value are left out.

    Args:
        reward: a self-reward (`sharptheory.measure.rewards`) or a numeric column.
        value: column to average. n: values of N, integers from 1 to the smallest number of samples, ``[K]``.

    Returns:
        One row per prompt_id, one column per N.

    Raises:
        UserError: an unknown column, one that is not numeric, no prompt with all values, or an N that some prompt has too
            few samples for.

    ```python
    >>> import pandas as pd
    >>> pool = pd.DataFrame({"prompt_id": [0, 0, 1, 1], "log_likelihood": [-1.0, -2.0, -3.0, -0.5],
    ...                      "correct": [True, False, True, False]})
    >>> curve(pool, "log_likelihood", "correct", [1, 2]).values.tolist()
    [[0.5, 1.0], [0.5, 0.0]]

    ```
    """
    pool = as_pool(pool)
    known = pool.graded(value)
    n = checked_n(n, int(known.sizes.min()))
    values = known.numbers(value)
    if np.isinf(values).any():
        raise UserError(
            f"column {value!r} is infinite on row {np.argmax(np.isinf(values))}; expected numbers with a mean"
        )
    return pd.DataFrame(ranked_curves(ranking(known, reward), values, n), index=known.prompt_ids, columns=n)


def pass_at_n(pool: Pool | pd.DataFrame, n: np.ndarray) -> pd.DataFrame:
    """``pass@N = 1 - C(M-c, N)/C(M, N)`` of each graded prompt: best-of-N with correctness itself as the reward.

    Args, Returns, Raises: as `curve`.

    ```python
    >>> import pandas as pd
    >>> pool = pd.DataFrame({"prompt_id": 3 * [0], "log_likelihood": 3 * [-1.0], "correct": [True, False, False]})
    >>> pass_at_n(pool, [1, 2, 3]).round(3).values.tolist()
    [[0.333, 0.667, 1.0]]

    ```
    """
    return curve(pool, "correct", "correct", n)


def adaptive_weights(log_likelihood: np.ndarray, threshold: float) -> tuple[np.ndarray, float]:
    """The adaptive rule (10) on one prompt's pool, averaged over all orders in which its samples might come.

    Draws without replacement until ``1/max p ≤ k/μ_stop``, or until the pool is used up. With ranks r and
    ``G_k = #{p < μ/k}``, sample j is returned after k draws with probability ``C(r_j - 1, k-1)/C(M, k)`` if
    ``μ/k ≤ p_j < μ/(k-1)``, and ``C(G_{k-1}, k-1)/C(M, k-1) · 1/(M-k+1)`` if ``p_j ≥ μ/(k-1)``: [S1] without replacement.

    Args:
        log_likelihood: of the samples, ``[M]``; threshold: ``μ_stop``, positive.

    Returns:
        Probability that each sample is the one returned ``[M]``, ties in likelihood sharing theirs equally, and the
        expected number of draws.

    Raises:
        UserError: no samples, a log-likelihood that is none, or a threshold that is not positive and finite.
    """
    expect_numbers("(0, inf)", threshold=threshold)
    if np.ndim(log_likelihood) != 1 or not np.size(log_likelihood) or not np.all(np.asarray(log_likelihood) <= 0):
        raise UserError(f"log_likelihood: shape {np.shape(log_likelihood)}; expected [M], numbers of at most 0")
    order = np.argsort(log_likelihood, kind="stable")
    values = np.asarray(log_likelihood, dtype=float)[order]
    m = len(values)
    k = np.arange(1, m + 1)[:, None]
    entry = entry_time(values, threshold)  # the likelier, the sooner
    below = np.searchsorted(-entry, -(k - 1)[:, 0], side="left")[:, None]  # G_{k-1}
    running = log_choose(np.arange(m)[None], k - 1) - log_choose(m, k)
    jumping = log_choose(below, k - 1) - log_choose(m, k - 1) - np.log(m - k + 1)
    log_p = np.where(entry > k - 1, running, jumping)
    chance = np.where(entry <= k, np.exp(log_p), 0.0)
    chance[-1, -1] += max(1 - chance.sum(), 0.0)  # never stopped: all are sampled and the best is returned
    _, level = np.unique(values, return_inverse=True)
    share = np.bincount(level, chance.sum(axis=0)) / np.bincount(level)
    weights = np.empty(m)
    weights[order] = share[level]
    return weights, float(chance.sum(axis=1) @ k[:, 0])


def doubling_grid(largest: int) -> np.ndarray:
    """1, 2, 4, … and `largest` itself, an integer from 1."""
    expect_integers(1, largest=largest)
    return np.unique(np.append(2 ** np.arange(int(np.log2(largest)) + 1), largest))
