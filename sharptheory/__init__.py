"""Can this language model improve itself by sharpening? Coverage, exact laws, bounds and measurement."""

from sharptheory.estimators import (
    Estimate,
    HitRates,
    argmax_hit_rates,
    auc,
    auc_pooled,
    auc_within,
    best_of_n_curve,
    best_of_n_weights,
    bootstrap,
    bootstrap_mean,
    c_cov_bar_interval,
    coverage_certificate,
    curve,
    pass_at_n,
)
from sharptheory.oracle import Oracle, Response
from sharptheory.pool import PoolWriter, greedy_responses, read_pool, samples, validate_pool
from sharptheory.report import Diagnosis, diagnose, write_report

__all__ = [
    "Diagnosis",
    "Estimate",
    "HitRates",
    "Oracle",
    "PoolWriter",
    "Response",
    "argmax_hit_rates",
    "auc",
    "auc_pooled",
    "auc_within",
    "best_of_n_curve",
    "best_of_n_weights",
    "bootstrap",
    "bootstrap_mean",
    "c_cov_bar_interval",
    "coverage_certificate",
    "curve",
    "diagnose",
    "greedy_responses",
    "pass_at_n",
    "read_pool",
    "samples",
    "validate_pool",
    "write_report",
]
