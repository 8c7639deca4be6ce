"""Can this language model improve itself by sharpening? Coverage, exact laws, bounds and measurement."""

from sharptheory import bon_aware, bounds, checks, coverage, divergences, families, laws, learners, simulate
from sharptheory.alignment import alignment_levels, auc, auc_pooled, auc_within, dominance, length_confound
from sharptheory.estimators import (
    Estimate,
    HitRates,
    argmax_hit_rates,
    best_of_n_curve,
    best_of_n_weights,
    bootstrap,
    bootstrap_mean,
    c_cov_bar_interval,
    coverage_certificate,
    curve,
    pass_at_n,
)
from sharptheory.oracle import CountingOracle, Oracle, Response, TableOracle
from sharptheory.policies import AutoregressivePolicy, LinearSoftmaxPolicy, TabularPolicy
from sharptheory.pool import PoolWriter, greedy_responses, read_pool, samples, validate_pool
from sharptheory.prediction import predict_best_of_n
from sharptheory.report import Diagnosis, diagnose, write_report

__all__ = [
    "AutoregressivePolicy",
    "CountingOracle",
    "Diagnosis",
    "Estimate",
    "HitRates",
    "LinearSoftmaxPolicy",
    "Oracle",
    "PoolWriter",
    "Response",
    "TableOracle",
    "TabularPolicy",
    "alignment_levels",
    "argmax_hit_rates",
    "auc",
    "auc_pooled",
    "auc_within",
    "best_of_n_curve",
    "best_of_n_weights",
    "bon_aware",
    "bootstrap",
    "bootstrap_mean",
    "bounds",
    "c_cov_bar_interval",
    "checks",
    "coverage",
    "coverage_certificate",
    "curve",
    "diagnose",
    "divergences",
    "dominance",
    "families",
    "greedy_responses",
    "laws",
    "learners",
    "length_confound",
    "pass_at_n",
    "predict_best_of_n",
    "read_pool",
    "samples",
    "simulate",
    "validate_pool",
    "write_report",
]
