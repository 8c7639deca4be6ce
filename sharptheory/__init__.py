"""Can this language model improve itself by sharpening? Coverage, exact laws, bounds and measurement."""

from importlib.metadata import version as _version

from sharptheory import checks, decoding, learners
from sharptheory.errors import UserError
from sharptheory.learners import bon_aware, simulate
from sharptheory.measure import rewards
from sharptheory.measure.alignment import alignment_levels, auc_pooled, auc_within, dominance, length_confound
from sharptheory.measure.answers import answer_policy
from sharptheory.measure.best_of_n import best_of_n_curve, best_of_n_weights, curve, pass_at_n
from sharptheory.measure.bootstrap import Estimate, bootstrap, mean_over_prompts, ratio_of_means
from sharptheory.measure.certificate import (
    CoverageBound,
    HitRates,
    argmax_hit_rates,
    c_cov_bar_bound,
    coverage_certificate,
)
from sharptheory.measure.efficiency import Efficiency, reward_efficiency
from sharptheory.measure.imports import read_pool
from sharptheory.measure.planning import Plan, plan
from sharptheory.measure.pool import Pool
from sharptheory.measure.power_bounds import matched_power, power_certificate, power_mean_bounds
from sharptheory.measure.prediction import predict_best_of_n
from sharptheory.measure.rewards import Reward, load_reward
from sharptheory.measure.selection import accuracy_curves, majority_curve
from sharptheory.measure.self_consistency import (
    answer_certificate,
    answer_mass_curve,
    counted_coverage,
    limit_accuracy,
    plurality_rates,
)
from sharptheory.oracle import CountingOracle, Oracle, Response, TableOracle
from sharptheory.report.html import write_report
from sharptheory.report.schema import Summary
from sharptheory.report.summary import Diagnosis, diagnose
from sharptheory.theory import bounds, coverage, divergences, families, first_order, laws, majority
from sharptheory.theory.policies import AutoregressivePolicy, LinearSoftmaxPolicy, TabularPolicy

__version__ = _version("sharptheory")

__all__ = [
    "AutoregressivePolicy",
    "CountingOracle",
    "CoverageBound",
    "Diagnosis",
    "Efficiency",
    "Estimate",
    "HitRates",
    "LinearSoftmaxPolicy",
    "Oracle",
    "Plan",
    "Pool",
    "Response",
    "Reward",
    "Summary",
    "TableOracle",
    "TabularPolicy",
    "UserError",
    "__version__",
    "accuracy_curves",
    "alignment_levels",
    "answer_certificate",
    "answer_mass_curve",
    "answer_policy",
    "argmax_hit_rates",
    "auc_pooled",
    "auc_within",
    "best_of_n_curve",
    "best_of_n_weights",
    "bon_aware",
    "bootstrap",
    "bounds",
    "c_cov_bar_bound",
    "checks",
    "counted_coverage",
    "coverage",
    "coverage_certificate",
    "curve",
    "decoding",
    "diagnose",
    "divergences",
    "dominance",
    "families",
    "first_order",
    "laws",
    "learners",
    "length_confound",
    "limit_accuracy",
    "load_reward",
    "majority",
    "majority_curve",
    "matched_power",
    "mean_over_prompts",
    "pass_at_n",
    "plan",
    "plurality_rates",
    "power_certificate",
    "power_mean_bounds",
    "predict_best_of_n",
    "ratio_of_means",
    "read_pool",
    "reward_efficiency",
    "rewards",
    "simulate",
    "write_report",
]
