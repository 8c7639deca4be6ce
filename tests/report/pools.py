"""Pools of which everything is known: one computed by hand, one from a table."""

import numpy as np
import pandas as pd

from sharptheory.measure.pool import Pool
from tests.conftest import pool_from_table

#: Probabilities of the two responses that each prompt of `hand_pool` has.
LIKELY, UNLIKELY = 0.3, 0.1


def hand_pool(
    *, likely_right: int = 7, greedy_right: int = 2, n_prompts: int = 8, unlikely_right: int = 0
) -> pd.DataFrame:
    """Two samples per prompt, one of each response; the first prompts have their likely (unlikely) response right.

    Accuracy of one sample ``(likely_right + unlikely_right)/2n``, of the best of two ``likely_right/n``, any of two
    ``max(…)/n``. ``p* ∈ [.3, .6]``: the likely response has .3, and .6 is what the two leave over.
    """
    rows = [
        dict(prompt_id=i, log_likelihood=np.log(p), correct=i < right, source=source, response=response, length=length)
        for i in range(n_prompts)
        for p, right, source, response, length in (
            (UNLIKELY, unlikely_right, "model", "b", 4),
            (LIKELY, likely_right, "model", "a", 2),
            (UNLIKELY, greedy_right, "greedy", "b", 4),
        )
    ]
    return pd.DataFrame(rows)


def table_pool(*, aligned: float, n_prompts: int = 40, m: int = 32, seed: int = 0) -> pd.DataFrame:
    """Samples of random tables whose likeliest response is the correct one on a share `aligned` of the prompts."""
    rng = np.random.default_rng(seed)
    probs = np.sort(rng.dirichlet(np.full(6, 0.6), size=n_prompts), axis=1)[:, ::-1]
    right = np.where(rng.random(n_prompts) < aligned, 0, 4)
    return Pool.from_frame(pool_from_table(probs, m, rng, correct=np.arange(6) == right[:, None])).samples
