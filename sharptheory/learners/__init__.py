"""Algorithms that see a sample-and-evaluate oracle only, and their replication by the thousand."""

from sharptheory.learners.algorithms import (
    Learned,
    adaptive_sharpening,
    rlhf_sharpening,
    sample_pairs,
    sft_sharpening,
    xpo_sharpening,
)
from sharptheory.learners.classes import FiniteClass, LinearClass, Pairs, Simplex

__all__ = [
    "FiniteClass",
    "Learned",
    "LinearClass",
    "Pairs",
    "Simplex",
    "adaptive_sharpening",
    "rlhf_sharpening",
    "sample_pairs",
    "sft_sharpening",
    "xpo_sharpening",
]
