"""Exact laws of sharpened policies: no sampling, everything in log space."""

from __future__ import annotations

import numpy as np


def best_of_n_hit(mass: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Probability that best-of-N by likelihood returns a maximiser, ``1 - (1 - q)^N``.

    Args:
        mass: ``q = π_base(y*_γ(x)|x)``, any shape, in [0, 1].
        n: number of draws ``N ≥ 1``, real, broadcast against `mass`.

    Returns:
        Probabilities, relative error near machine precision also where ``q`` is tiny and N huge.

    Source: section 2 and Proposition C.1 (arXiv 2412.01951).
    """
    with np.errstate(divide="ignore"):
        return -np.expm1(np.asarray(n) * np.log1p(-np.asarray(mass, dtype=float)))
