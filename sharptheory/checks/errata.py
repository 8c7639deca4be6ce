"""Printed statements that do not hold as they stand, each on a counterexample on which its check must fail.

`FALSE`: the statement as printed is false. `INCONSISTENT`: it is not, but does not give what it is used for. `TIGHT`: no
erratum at all, but a true statement beyond its premise.
"""

from __future__ import annotations

import numpy as np

from sharptheory.checks.instances import Instance
from sharptheory.checks.registry import FALSE, INCONSISTENT, TIGHT, TINY, statement
from sharptheory.theory import bounds, laws
from sharptheory.theory.coverage import (
    bad_prompts,
    concentrability,
    coverage_coefficient,
    missing_mass,
)
from sharptheory.theory.families import greedy_fails
from sharptheory.theory.policies import TabularPolicy


@statement("Lemma 4.1′ as printed", "C_{π_β} ≤ (1-γ)^{-1} C_cov,γ", must_fail=FALSE)
def _lemma_4_1_prime_as_printed(_: Instance | None = None):
    """One response at 0.1, five at 0.09, fifty sharing the rest; γ = 0.1, β = 0.01: 9.998 against 2.02."""
    probs = np.array([0.1] + [0.09] * 5 + [0.45 / 50] * 50)
    # The five sit on the edge of y*_γ; rounding must not throw them out.
    policy = TabularPolicy.from_probs(probs)
    law = laws.tilted(policy.log_probs, 0.01)
    return concentrability(law, policy.log_probs), coverage_coefficient(policy, 0.1) / 0.9


@statement(
    "Algorithm 1 as printed",
    "its minimiser has the smallest squared loss (a minus sign precedes the loss)",
    must_fail=FALSE,
)
def _xpo_sign_as_printed(_: Instance | None = None):
    """Class {π_β, uniform}, base (0.7, 0.3), β = 1: the printed objective picks the uniform policy, the worse fit."""
    base = np.log([0.7, 0.3])
    members = [laws.tilted(base, 1.0), np.log([0.5, 0.5])]
    loss = [float((np.subtract(*(m - base)) - np.subtract(*base)) ** 2) for m in members]
    picked = int(np.argmin([-value for value in loss]))
    return loss[picked], min(loss) + TINY


@statement("proof of Lemma I.1 as printed", "P[N draws all miss y*] ≤ (1 - |y*|/p*)^N", must_fail=FALSE)
def _lemma_i_1_as_printed(_: Instance | None = None):
    """π = (0.6, 0.4), one draw: it misses with probability 0.4 and the printed term is 1 - 1/0.6 < 0."""
    return 0.4, 1 - 1 / 0.6


@statement(
    "Assumption J.2 as printed",
    "its margin, of the set y*_γ, is enough for the last step of Theorem 4.2′: 1-π_β(y*_γ) ≤ δ/2",
    must_fail=INCONSISTENT,
)
def _set_margin_as_printed(_: Instance | None = None):
    """π = (0.35, 0.34, 0.31), γ = 0.05: the set has 0.69 ≥ 2 · 0.31, yet π_β(y_3) stays above δ/2 = 0.005.

    It is an assumption, so it is not false; the step that uses it needs the margin response by response.
    """
    policy, delta = TabularPolicy.from_probs([0.35, 0.34, 0.31]), 0.01
    law = laws.tilted(policy.log_probs, bounds.tilt_for_sharpness(1.0, 3, delta))
    return float(missing_mass(law, policy, 0.05)[0]), delta / 2


@statement(
    "Theorem 4.1′ as printed",
    "its conclusion P_x[π̂(y*_γ) ≤ 1-2δ] ≤ ε makes π̂ (ε, δ, γ)-sharpened, as it is used",
    must_fail=INCONSISTENT,
)
def _two_delta_as_printed(_: Instance | None = None):
    """π̂(y*) = 1 - 1.5δ on every prompt: the printed conclusion holds with ε = 0, Definition F.1 fails with every ε < 1."""
    policy, delta = TabularPolicy.from_probs([0.6, 0.4]), 0.1
    law = np.log([1 - 1.5 * delta, 1.5 * delta])
    missing = missing_mass(law, policy)
    printed = float((missing >= 2 * delta) @ policy.mu)
    return float(bad_prompts(missing, delta, policy.mu)), printed


@statement("Proposition 3.1, below 1/2", "π(y*) = 0.499 ⇒ token-wise greedy decoding returns y*", must_fail=TIGHT)
def _greedy_below_half(_: Instance | None = None):
    """Tightness: first token 0 with 0.499 and one continuation, token 1 with 0.501 and two."""
    policy = greedy_fails(0.499)
    best = policy.responses[int(np.argmax(policy.table().log_probs[0]))]
    return float(policy.greedy()[0] != best), 0.0
