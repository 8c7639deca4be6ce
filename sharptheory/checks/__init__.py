"""Statements of the theory as checks: a bound, the quantity it bounds, and how to draw instances. Errata included."""

from sharptheory.checks import statements
from sharptheory.checks.instances import Instance, neighbour, random_instance
from sharptheory.checks.registry import REGISTRY, SLACK, TINY, Check, Result, ratio, run, same, statement

__all__ = [
    "REGISTRY",
    "SLACK",
    "TINY",
    "Check",
    "Instance",
    "Result",
    "neighbour",
    "random_instance",
    "ratio",
    "run",
    "same",
    "statement",
    "statements",
]
