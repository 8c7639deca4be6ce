"""From a pool to a summary, and to a self-contained HTML report."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sharptheory.measure.alignment import alignment_levels, auc_pooled, auc_within, dominance, length_confound
from sharptheory.measure.best_of_n import curve, doubling_grid
from sharptheory.measure.bootstrap import Estimate, bootstrap_mean
from sharptheory.measure.certificate import (
    CoverageBound,
    HitRates,
    argmax_hit_rates,
    c_cov_bar_bound,
    coverage_certificate,
)
from sharptheory.measure.pool import Pool, as_pool
from sharptheory.measure.prediction import calibration, predicted_curve
from sharptheory.measure.selection import accuracy_curves
from sharptheory.theory.tables import sharpening_cost

REWARD = "log_likelihood"


@dataclass(frozen=True)
class Diagnosis:
    """All that a report is drawn from.

    Attributes:
        pool: samples and greedy responses.
        summary: JSON-ready numbers, the content of ``summary.json``.
        certificate: per-prompt bounds on ``p*`` (`coverage_certificate`).
        hit_rates: theory against measurement, None where no prompt is certified.
    """

    pool: Pool
    summary: dict
    certificate: pd.DataFrame
    hit_rates: HitRates | None


def diagnose(pool: Pool | pd.DataFrame, *, provenance: dict | None = None, seed: int = 0) -> Diagnosis:
    """Estimate everything a pool supports: best-of-N, pass@N, coverage, AUC, theory against measurement.

    Args:
        pool: see `sharptheory.measure.pool`; accuracy needs its `correct` column.
        provenance: recorded in the summary as it is.
        seed: of the bootstrap.
    """
    pool = as_pool(pool)
    drawn, greedy, per_prompt = pool.samples, pool.greedy, pool.sizes
    n = curve_grid(int(per_prompt.min()))
    certificate = coverage_certificate(pool)
    ends = c_cov_bar_bound(certificate, seed=seed)
    summary = {
        "n_prompts": len(per_prompt),
        "n_samples": int(per_prompt.min()),
        "n_samples_max": int(per_prompt.max()),
        "n_responses": len(drawn),
        "greedy_accuracy": None,
        "sampled_accuracy": None,
        "sampled_log_likelihood": _number(drawn.groupby("prompt_id")[REWARD].mean().mean()),
        "greedy_log_likelihood": _number(greedy[REWARD].mean()) if len(greedy) else None,
        "best_of_n": _curve_rows(pool, REWARD, n, seed),
        "pass_at_n": None,
        "gain_over_sampling": None,
        "gain_over_greedy": None,
        "coverage": {
            "certified_fraction": float(certificate["certified"].mean()),
            "c_cov_bar_low": _number(ends.low),
            "c_cov_bar_high": _number(ends.high),
            "c_cov_bar_at_least": _number(ends.at_least),
            "c_cov_bar_low_estimate": _interval(ends.low_estimate),
            "c_cov_bar_high_estimate": _interval(ends.high_estimate),
            "log_c_cov_bar_high": _number(_log_mean_exp(-certificate["log_p_low"].to_numpy())),
            "median_log_p_low": _number(certificate["log_p_low"].median()),
            "undersampled_fraction": float(np.mean(certificate["log_p_low"] < -np.log(certificate["n_samples"]))),
        },
        "rewards": {},
        "prediction": None,
        "auc_pooled": None,
        "auc_within": None,
        "alignment": {},
        "dominance": {"pooled": None, "within": None},
        "length_confound": None,
        "unreadable": {},
        "unfinished_fraction": _number(1 - drawn["finished"].mean()) if drawn["finished"].notna().any() else None,
        "length": None,
        "hit_rates": None,
        "cost": _cost(certificate, ends, drawn),
    }
    if "length" in drawn:
        lengths = curve(pool, REWARD, "length", n).mean()
        summary["length"] = {"sampled": _number(lengths.iloc[0]), "best_of_n": _number(lengths.iloc[-1])}
    if "correct" in drawn:
        summary |= _correctness(pool, n, seed)
    rates = argmax_hit_rates(pool)
    if rates is not None:
        summary["hit_rates"] = {
            "n": rates.n.tolist(),
            "predicted": rates.law(rates.n).tolist(),
            "measured": rates.measured.value.tolist(),
            "low": _list(rates.measured.low),
            "high": _list(rates.measured.high),
            "n_prompts": len(rates.mass),
            "n_samples": rates.n_samples,
            "disagreements": rates.disagreements(),
        }
    summary["provenance"] = provenance or {}
    return Diagnosis(pool, summary, certificate, rates)


def _correctness(pool: Pool, n: np.ndarray, seed: int) -> dict:
    """The part of the summary that needs to know which responses are right, on the prompts where that is known."""
    known, greedy = pool.graded(), pool.greedy
    accuracy = curve(known, REWARD, "correct", n)
    one, best = accuracy[n[0]], accuracy[n[-1]]
    within = auc_within(known, seed=seed)
    result = {
        "n_graded_prompts": len(accuracy),
        "sampled_accuracy": _number(one.mean()),
        "sampled_accuracy_ci": _interval(bootstrap_mean(one, proportion=True, seed=seed)),
        "pass_at_n": _curve_rows(known, "correct", n, seed),
        "rewards": _reward_curves(known, doubling_grid(int(n[-1])), seed),
        "gain_over_sampling": _interval(bootstrap_mean(best - one, seed=seed)),
        "auc_pooled": _interval(auc_pooled(known, seed=seed)),
        "auc_within": _interval(within) | {"n_prompts": within.n_prompts},
        "alignment": {name: _interval(level) for name, level in alignment_levels(known, seed=seed).items()},
        "dominance": {
            name: None
            if (test := dominance(known, within=within, seed=seed)) is None
            else vars(test) | {"holds": test.holds}
            for name, within in (("pooled", False), ("within", True))
        },
    }
    if "unreadable" in known:
        result["unreadable"] = (known["unreadable"].value_counts() / len(known.samples)).to_dict()
    if "length" in known and known["length"].notna().all() and (found := length_confound(known, seed=seed)) is not None:
        result["length_confound"] = {
            name: _interval(value) if isinstance(value, Estimate) else value for name, value in vars(found).items()
        }
    if n[-1] >= 8:
        result["prediction"] = _prediction(known, int(n[-1]), seed)
    if len(greedy) and "correct" in greedy and greedy["correct"].notna().any():
        right = greedy.set_index("prompt_id")["correct"].dropna().astype(float)
        right = right[right.index.intersection(best.index)]
        result["greedy_accuracy"] = _number(right.mean())
        result["greedy_accuracy_ci"] = _interval(bootstrap_mean(right, proportion=True, seed=seed))
        result["gain_over_greedy"] = _interval(bootstrap_mean(best[right.index] - right, seed=seed))
    return result


def _prediction(known: Pool, m: int, seed: int) -> dict:
    """Best-of-N at up to eight times the pool, and how well the same method does from a quarter of it."""
    n = m * 2 ** np.arange(4)
    estimate = predicted_curve(known, n, seed=seed)
    rows = [
        dict(n=int(k), accuracy=_number(value), low=_number(low), high=_number(high))
        for k, value, low, high in zip(n, estimate.value, estimate.low, estimate.high)
    ]
    checks = calibration(known, seed=seed).astype(object)
    return {"best_of_n": rows, "calibration": checks.where(checks.notna(), None).to_dict("records")}


def _cost(certificate: pd.DataFrame, ends: CoverageBound, drawn: pd.DataFrame) -> list[dict]:
    """The bounds' price of sharpening at both ends of the certified coverage, per unit of ``log(|Π|/ρ)``."""
    length = float(drawn["length"].mean()) if "length" in drawn else None
    with np.errstate(over="ignore"):
        worst = [np.exp(-certificate[column].min()) for column in ("log_p_high", "log_p_low")]
    sides = [
        sharpening_cost(max(float(coverage), 1.0), largest_inverse=float(largest), tokens_per_response=length)
        for coverage, largest in zip((ends.low, ends.high), worst)
    ]
    return [
        {"method": low["method"], "source": low["source"]}
        | {f"{key}_{side}": None if row[key] is None else _number(row[key])
           for key in ("prompts", "responses", "queries", "tokens") for side, row in (("low", low), ("high", high))}
        for low, high in zip(*sides)
    ]  # fmt: skip


def _reward_curves(known: Pool, n: np.ndarray, seed: int) -> dict[str, list[dict]]:
    """Accuracy of best-of-N by every self-reward that the pool supports, and of the majority vote."""
    return {
        name: [
            dict(n=int(k), accuracy=_number(value), low=_number(low), high=_number(high))
            for k, value, low, high in zip(table.columns, estimate.value, estimate.low, estimate.high)
        ]
        for name, table in accuracy_curves(known, n, seed=seed).items()
        for estimate in [bootstrap_mean(table.to_numpy(dtype=float), proportion=True, seed=seed)]
    }


def _curve_rows(pool: Pool, reward: str, n: np.ndarray, seed: int) -> list[dict]:
    """Best-of-N by `reward`: one ``{n, accuracy, low, high, log_likelihood, …}`` per N."""
    rows = pd.DataFrame({"n": n})
    for value, names in (
        ("correct", ("accuracy", "low", "high")),
        (REWARD, ("log_likelihood", "log_likelihood_low", "log_likelihood_high")),
    ):
        if value in pool:
            estimate = bootstrap_mean(curve(pool, reward, value, n), proportion=value == "correct", seed=seed)
            rows[list(names)] = np.stack([estimate.value, estimate.low, estimate.high], axis=1)
        else:
            rows[list(names)] = np.nan
    return rows.astype(object).where(rows.notna(), None).to_dict("records")


def curve_grid(largest: int, points: int = 64) -> np.ndarray:
    """Every N up to `points`, then about `points` more up to `largest`, evenly on a logarithmic axis."""
    if largest <= points:
        return np.arange(1, largest + 1)
    return np.unique(
        np.concatenate([np.arange(1, points + 1), np.geomspace(points, largest, points).round().astype(int)])
    )


def _number(value: float) -> float | None:
    """A JSON number; None for NaN and infinities, which JSON does not have."""
    value = float(value)
    return value if math.isfinite(value) else None


def _list(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]


def _interval(estimate: Estimate) -> dict:
    return {"value": _number(estimate.value), "low": _number(estimate.low), "high": _number(estimate.high)}


def _log_mean_exp(values: np.ndarray) -> float:
    return float(np.logaddexp.reduce(values) - np.log(len(values)))
