"""Bits that look random, of whole numbers: sums of them tell multisets and sequences apart without sorting or loops."""

from __future__ import annotations

import numpy as np


def mixed_bits(values: np.ndarray, salt: int = 0) -> np.ndarray:
    """64 bits of each whole number from 0 and a salt (splitmix64), ``[n]``."""
    bits = values.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64((salt + 1) * 0xD1B54A32D192ED03 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return bits ^ (bits >> np.uint64(31))
