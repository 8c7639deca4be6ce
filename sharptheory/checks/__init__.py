"""Statements of the theory as checks: a bound, the quantity it bounds, and how to draw instances. Errata included."""

# Importing them fills the registry, in the order in which they are reported.
from sharptheory.checks import best_of_n, sft, rlhf, coverage, families, errata  # isort: skip
from sharptheory.checks.instances import Instance, neighbour, random_instance
from sharptheory.checks.registry import (
    FALSE,
    INCONSISTENT,
    REGISTRY,
    SLACK,
    TIGHT,
    TINY,
    Check,
    Result,
    ratio,
    run,
    same,
    statement,
)

__all__ = [
    "FALSE",
    "INCONSISTENT",
    "REGISTRY",
    "SLACK",
    "TIGHT",
    "TINY",
    "Check",
    "Instance",
    "Result",
    "best_of_n",
    "coverage",
    "errata",
    "families",
    "neighbour",
    "random_instance",
    "ratio",
    "rlhf",
    "run",
    "same",
    "sft",
    "statement",
]
