"""Exact laws of sharpened policies: no sampling, everything in log space. One namespace for all of them.

All have one signature, ``law(log_probs, parameter, *, rewards=None, …)``: log-probabilities ``[..., Y]`` of the base
policy in nats, every row a law (``-inf`` pads; a row that misses a sum of 1 by more than 1e-6 is refused), the
parameter that says how much to sharpen, and keyword options, among them the reward to sharpen by, default the
log-likelihood. All return log-probabilities of the same shape, `adaptive_best_of_n` together with what it costs.
"""

from sharptheory.theory.adaptive import Stopping, adaptive_best_of_n, entry_time, stopping_tail, stopping_threshold
from sharptheory.theory.best_of_n import best_of_n, best_of_n_hit, best_of_n_laws
from sharptheory.theory.curation import curated
from sharptheory.theory.levels import Levels, level_bounds, level_starts, levels
from sharptheory.theory.tilts import argmax_law, chi_squared, power, rank_tilt, rank_tilted, tilted

__all__ = [
    "Levels",
    "Stopping",
    "adaptive_best_of_n",
    "argmax_law",
    "best_of_n",
    "best_of_n_hit",
    "best_of_n_laws",
    "chi_squared",
    "curated",
    "entry_time",
    "level_bounds",
    "level_starts",
    "levels",
    "power",
    "rank_tilt",
    "rank_tilted",
    "stopping_tail",
    "stopping_threshold",
    "tilted",
]
