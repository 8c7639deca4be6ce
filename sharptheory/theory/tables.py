"""The tables behind `sharptheory curves` and `sharptheory law`: long data frames, ready to plot or to save."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from sharptheory.errors import UserError, expect_integers, expect_numbers
from sharptheory.theory import bounds, families, laws
from sharptheory.theory.coverage import concentrability
from sharptheory.theory.divergences import kl
from sharptheory.theory.levels import maximizers
from sharptheory.theory.rows import as_floats

#: Kind of each curve: exact on the hard family, a bound with explicit constants, or a rate (constant 1).
CURVES = {
    "minimax, non-adaptive": "exact",
    "SFT-Sharpening": "exact",
    "adaptive SFT-Sharpening": "exact",
    "SFT-Sharpening, Theorem 4.1′": "bound",
    "adaptive SFT, Theorem D.1": "bound",
    "lower bound, Theorem 3.1": "rate",
    "lower bound, Theorem D.2": "rate",
}


def sample_complexity(
    eps: Iterable[float],
    coverage: Iterable[float],
    dim: Iterable[int],
    *,
    delta: float = 0.5,
    points: int = 12,
    progress: Callable[[], None] | None = None,
) -> pd.DataFrame:
    """Queries ``m`` against accuracy ε on the hardest family of Theorem 3.1′: exact laws, bounds and rates side by side.

    The exact curves ask for an expected fraction ε of unsolved prompts, solved meaning mass > 1/2. The bounds promise
    missing mass at most δ; they hold in expectation at ε when taken at ε/2 with failure probability ρ = ε/2.

    Args:
        eps, coverage, dim: grids of ε, of C and of the number of hard prompts d.
        delta: of the bounds; at most 1/2, so that they imply what the exact curves ask for.
        points: values of Δ that the search for the hardest family tries.
        progress: called after each point of the grid.

    Returns:
        Columns `curve, kind, eps, coverage, dim, delta, queries`.

    Raises:
        UserError: δ is outside (0, 1/2], or a grid holds an impossible number.
    """
    expect_numbers("(0, 0.5]", delta=delta)  # a solved prompt has more than half of its mass right
    rows = []
    for c, d, e in itertools.product(coverage, dim, eps):
        expect_numbers("(0, 1)", eps=e)
        expect_numbers("(1, inf)", coverage=c)
        expect_integers(1, dim=d)
        # The largest class of the search: M is largest at the smallest Δ.
        log_class = d * float(np.log(2 + 2 * (c - 1) / (1.1 * e)))
        pac = dict(eps=e / 2, delta=delta, rho=e / 2, log_class=log_class)
        values = (
            families.minimax_lower_bound(e, c, d, points=points),
            families.sft_on_hardest(e, c, d, points=points),
            families.adaptive_on_hardest(e, c, d, points=points),
            bounds.sft_cost(coverage=c, **pac).queries,
            bounds.adaptive_cost(c_cov_bar=c, **pac).queries,
            bounds.lower_bound_rate(c, log_class, e),
            bounds.adaptive_lower_bound_rate(c, log_class, e),
        )
        rows += [(curve, kind, e, c, d, delta, m) for (curve, kind), m in zip(CURVES.items(), values)]
        if progress:
            progress()
    return pd.DataFrame(rows, columns=["curve", "kind", "eps", "coverage", "dim", "delta", "queries"])


def law_table(
    log_probs: np.ndarray,
    *,
    n: Iterable[float] = (),
    beta: Iterable[float] = (),
    alpha: Iterable[float] = (),
    delta: Iterable[float] = (),
    gamma: float = 0.0,
) -> pd.DataFrame:
    """Exact laws of one prompt: base, best-of-N, tilted ``π_β``, power ``π^α``, adaptive best-of-N at δ, argmax.

    Args:
        log_probs: of one prompt, ``[Y]``, nats. n, beta, alpha, delta: parameters of the laws wanted. gamma: of ``y*_γ``.

    Returns:
        One row per law: `law, parameter, argmax_mass` (mass of ``y*_γ``), `kl` (from the base, nats),
        `concentrability`, `expected_n` (samples), then one column ``p0, p1, …`` per response.

    Raises:
        UserError: `log_probs` is no row, or no law; or a parameter is out of range.
    """
    base = as_floats(log_probs, "log_probs")
    if base.ndim != 1:
        raise UserError(f"log_probs has shape {base.shape}; expected one row [Y]")
    best = maximizers(base, gamma)
    rows = [("base", np.nan, base, 1.0)]
    rows += [("best-of-N", each, laws.best_of_n(base, each), each) for each in n]
    rows += [("tilted", each, laws.tilted(base, each), np.nan) for each in beta]
    rows += [("power", each, laws.power(base, each), np.nan) for each in alpha]
    for each in delta:
        stopping = laws.adaptive_best_of_n(base, laws.stopping_threshold(each))
        rows.append(("adaptive best-of-N", each, stopping.law, float(stopping.expected_n)))
    rows.append(("argmax", gamma, laws.argmax_law(base, gamma), np.nan))
    return pd.DataFrame(
        [
            {
                "law": name,
                "parameter": parameter,
                "argmax_mass": float(np.exp(law[best]).sum()),
                "kl": float(kl(law, base)),
                "concentrability": concentrability(law, base),
                "expected_n": samples,
                **{f"p{y}": float(np.exp(value)) for y, value in enumerate(law)},
            }
            for name, parameter, law, samples in rows
        ]
    )


def sharpening_cost(
    coverage: float,
    *,
    largest_inverse: float,
    tokens_per_response: float | None = None,
    eps: float = 0.1,
    delta: float = 0.1,
    log_class: float = 1.0,
    rho: float = 1.0,
) -> list[dict]:
    """What the explicit bounds ask of SFT-, adaptive and RLHF-Sharpening, given the coverage of the base model.

    Args:
        coverage: ``C̄_cov = E_x[1/p*(x)]``, an upper bound on ``C_cov``.
        largest_inverse: ``max_x 1/p*(x)``, which bounds ``C_{π_β}`` on every prompt (Lemma 4.1) and ``1/min_x p*``.
        tokens_per_response: turns queries into forward tokens; None leaves those out.
        eps, delta: at most a fraction ε of the prompts misses more than δ.
        log_class, rho: ``log|Π|`` and the failure probability; by default costs are per unit of ``log(|Π|/ρ)``.

    Returns:
        One dict per method: `method, source, prompts, responses, queries, tokens`.

    Raises:
        UserError: an argument is out of range.
    """
    expect_numbers("(0, inf]", largest_inverse=largest_inverse)
    if tokens_per_response is not None:
        expect_numbers("[0, inf]", tokens_per_response=tokens_per_response)
    common = dict(eps=eps, delta=delta, rho=rho, log_class=log_class)
    if np.isfinite(largest_inverse) and np.isfinite(coverage):
        dpo = bounds.dpo_cost(**common, c_max=largest_inverse, min_max_prob=1 / largest_inverse, c_cov_bar=coverage)
    else:
        dpo = bounds.Cost(np.inf, 2.0)
    costs = {
        ("SFT-Sharpening", "Theorem 4.1′"): bounds.sft_cost(**common, coverage=coverage),
        ("adaptive SFT-Sharpening", "Theorem D.1"): bounds.adaptive_cost(**common, c_cov_bar=coverage),
        ("RLHF-Sharpening", "[S2], proved in docs/theory.md"): dpo,
    }
    return [
        {"method": method, "source": source, "prompts": cost.n_prompts, "responses": cost.n_responses,
         "queries": cost.queries,
         "tokens": None if tokens_per_response is None else cost.queries * tokens_per_response}
        for (method, source), cost in costs.items()
    ]  # fmt: skip
