"""The lower-bound family of Theorem 3.1′, exactly solved: minimax risk, SFT-Sharpening, adaptive SFT-Sharpening."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sharptheory.errors import UserError, expect_integers, expect_numbers
from sharptheory.theory.laws import adaptive_best_of_n, stopping_threshold
from sharptheory.theory.occupancy import identification_error
from sharptheory.theory.policies import TabularPolicy
from sharptheory.theory.rows import expect_room
from sharptheory.theory.votes import binomial_mean, crossing, fewest_prompts, outvoted

#: Limits of M and of d, up to which numbers of queries are exact and quick.
MOST_RESPONSES, MOST_PROMPTS = 10**9, 10**15


@dataclass(frozen=True)
class HardFamily:
    """Theorem 3.1′'s family: d rare prompts, each hiding one of M responses at twice the mass of the others.

    ``μ = (1-Δ)δ_{x_0} + (Δ/d)Σδ_{x_i}``; ``π(x_0) = δ_{y_0}``; at ``x_i`` response ``j_i`` has mass ``2/M``, the other
    ``k ∈ [M]`` have ``(1/M)(1 - 1/(M-1))``. The class is all ``(j_1..j_d) ∈ [M]^d``; γ = 1/2, and a prompt is solved
    when more than half of the mass is on its response.

    Args:
        m: number of responses M, an integer from 3 to 10^9.
        mass: Δ in (0, 1].
        d: number of hard prompts, an integer from 1 to 10^15.

    Raises:
        UserError: naming the argument.

    Source: Appendix H (arXiv 2412.01951).
    """

    m: int
    mass: float
    d: int

    def __post_init__(self):
        expect_integers(3, MOST_RESPONSES, m=self.m)
        expect_numbers("(0, 1]", mass=self.mass)
        expect_integers(1, MOST_PROMPTS, d=self.d)

    @property
    def coverage(self) -> float:
        """``C_cov = (1-Δ) + Δ M/2``."""
        return 1 - self.mass + self.mass * self.m / 2

    @property
    def log_class(self) -> float:
        """``log|Π| = d log M``."""
        return self.d * float(np.log(self.m))

    def policy(self, hidden: Sequence[int]) -> TabularPolicy:
        """The member that hides ``hidden[i] ∈ 0..M-1`` at prompt ``x_{i+1}``; column 0 of the table is ``y_0``.

        Args:
            hidden: ``[d]``.

        Raises:
            UserError: `hidden` has another length or an impossible entry, or the table would be too large.
        """
        if len(hidden) != self.d:
            raise UserError(f"hidden has {len(hidden)} entries; expected d={self.d}")
        for i, response in enumerate(hidden):
            expect_integers(0, self.m - 1, **{f"hidden[{i}]": response})
        expect_room((self.d + 1) * (self.m + 1), d=self.d, m=self.m)
        probs = np.zeros((self.d + 1, self.m + 1))
        probs[0, 0] = 1
        probs[1:, 1:] = (1 - 1 / (self.m - 1)) / self.m
        probs[np.arange(1, self.d + 1), 1 + np.asarray(hidden)] = 2 / self.m
        return TabularPolicy.from_probs(probs, np.concatenate([[1 - self.mass], np.full(self.d, self.visit)]))

    @property
    def visit(self) -> float:
        """Probability ``Δ/d`` that a prompt is a given hard one."""
        return self.mass / self.d

    def minimax_risk(self, n_prompts: float, n_responses: int) -> float:
        """Exact minimax risk ``Δ E_{K~Bin(n,Δ/d)}[err(KN)]``; not increasing in n.

        Args:
            n_prompts: n, a whole number ≥ 0. n_responses: N per prompt, a whole number ≥ 1.

        Source: [S4], proved in docs/theory.md.
        """
        expect_numbers("[0, inf)", n_prompts=n_prompts)
        expect_numbers("[1, inf)", n_responses=n_responses)
        return self.mass * binomial_mean(lambda k: identification_error(self.m, k * n_responses), n_prompts, self.visit)

    def minimax_queries(self, eps: float) -> float:
        """Smallest m = nN with `minimax_risk` ≤ ε, over integers.

        N = 1 is best: ``Bin(nN, p)`` is less variable than ``N Bin(n, p)``, and `identification_error` is convex (which
        is checked up to M = 2,000, not proved).

        Args:
            eps: ε in (0, 1].
        """
        expect_numbers("(0, 1]", eps=eps)
        return crossing(lambda m: self.minimax_risk(m, 1), eps)

    def hit(self, n_responses: float) -> float:
        """Probability ``1-(1-2/M)^N`` that best-of-N at a hard prompt returns its hidden response.

        Args:
            n_responses: N ≥ 1.
        """
        expect_numbers("[1, inf]", n_responses=n_responses)
        return float(-np.expm1(n_responses * np.log1p(-2 / self.m)))

    def sft_risk(self, n_prompts: float, n_responses: float) -> float:
        """Exact risk of tabular SFT-Sharpening: right at ``x_i`` when more than half of its visits returned ``y_{j_i}``.

        Not increasing in N. In n it need not fall: an even number of votes can tie, which an odd one cannot.

        Args:
            n_prompts: n, a whole number ≥ 0. n_responses: N per prompt, ≥ 1.

        Source: docs/theory.md.
        """
        expect_numbers("[0, inf)", n_prompts=n_prompts)
        hit = self.hit(n_responses)
        return self.mass * binomial_mean(lambda k: outvoted(k, hit), n_prompts, self.visit)

    def sft_prompts(self, eps: float, n_responses: float, *, at_least: float = 0.0) -> float:
        """Smallest n with `sft_risk` ≤ ε at this N, over integers; inf if there is none.

        Args:
            eps: ε in (0, 1]. n_responses: N ≥ 1. at_least: a lower bound on the answer, where one is known.

        Source: docs/theory.md, which says where the risk falls in n.
        """
        expect_numbers("(0, 1]", eps=eps)
        return fewest_prompts(eps / self.mass, self.hit(n_responses), self.visit, at_least=at_least)

    def sft_queries(self, eps: float) -> float:
        """Smallest m = nN with `sft_risk` ≤ ε, over all pairs of integers n, N ≥ 1; inf if there is none.

        `sft_prompts` does not increase in N. So from a pair (N, n) down, no N above ``m/n`` can beat m: few are tried.

        Args:
            eps: ε in (0, 1].
        """
        return self.sft_best(eps)[0]

    def sft_best(self, eps: float) -> tuple[float, float]:
        """`sft_queries` and an N that reaches it: ``(m, N)``.

        Args:
            eps: ε in (0, 1].
        """
        expect_numbers("(0, 1]", eps=eps)
        if self.mass <= eps:
            return 0.0, 1.0
        guesses = np.unique(np.ceil(np.geomspace(1 / self.m, 4.0, 25) * self.m))
        best, n_responses = min((n * self.sft_prompts(eps, n), n) for n in guesses)
        # Even N = ∞ needs this many prompts.
        prompts = fewest_prompts(eps / self.mass, 1.0, self.visit)
        n = np.floor(best / prompts) if np.isfinite(best) else 0.0
        while n >= 1 and np.isfinite(prompts):
            prompts = self.sft_prompts(eps, n, at_least=prompts)
            if n * prompts < best:
                best, n_responses = n * prompts, n
            n = min(np.ceil(best / prompts), n) - 1
        return float(best), float(n_responses)

    def adaptive_stopping(self, threshold: float) -> tuple[float, float]:
        """Probability that adaptive best-of-N returns ``y_{j_i}`` at a hard prompt, and ``E[N_μ]`` there.

        Args:
            threshold: ``μ_stop > 0``.

        Source: [S1], proved in docs/theory.md.
        """
        # The other responses are one level set.
        masses, each = np.log([2, self.m - 2]) - np.log(self.m), np.log([2, 1 - 1 / (self.m - 1)]) - np.log(self.m)
        stopping = adaptive_best_of_n(masses, threshold, log_likelihood=each)
        return float(np.exp(stopping.law[0])), float(stopping.expected_n)

    def adaptive_queries(self, eps: float, *, threshold: float = stopping_threshold(0.5)) -> float:
        """Expected queries of adaptive SFT-Sharpening with the fewest prompts that reach risk ε, exactly.

        Args:
            eps: ε in (0, 1]. threshold: ``μ_stop > 0``.
        """
        hit, expected_n = self.adaptive_stopping(threshold)
        expect_numbers("(0, 1]", eps=eps)
        prompts = fewest_prompts(eps / self.mass, hit, self.visit)
        easy = max(np.ceil(threshold), 1.0)
        return prompts * ((1 - self.mass) * easy + self.mass * expected_n)


def hardest(eps: float, coverage: float, d: int, cost: Callable[[HardFamily], float], *, points: int = 30) -> float:
    """Largest `cost` over families ``(M, Δ)`` with ``C_cov ≤ C``: the hardest instance at each accuracy, from below.

    Smaller Δ leaves room for larger M; a prompt mass Δ ≤ ε costs nothing. Searched over `points` values of Δ from ε up,
    with the largest M that each allows. The cost of each member is exact, but Δ stays a grid, so what is returned is a
    lower bound on the largest cost.

    Args:
        eps: ε in (0, 1). coverage: bound C > 1 on the coverage coefficient. d: number of hard prompts.
        cost: e.g. ``lambda family: family.minimax_queries(eps)``. points: of the grid.

    Raises:
        UserError: naming the argument.
    """
    expect_numbers("(0, 1)", eps=eps)
    expect_numbers("(1, inf)", coverage=coverage)  # at 1 there is nothing to sharpen
    expect_integers(1, points=points)
    most = 2 + 2 * (coverage - 1) / (1.1 * eps)
    if most > MOST_RESPONSES:
        raise UserError(
            f"coverage={coverage} at eps={eps}: families of {most:.3g} responses; expected at most {MOST_RESPONSES:,}"
        )
    best = 0.0
    for mass in np.unique(np.minimum(np.geomspace(1.1, 20, points) * eps, 1.0)):
        m = int(np.floor(2 + 2 * (coverage - 1) / mass))
        if m >= 3:
            best = max(best, cost(HardFamily(m, float(mass), d)))
    return best


def minimax_lower_bound(eps: float, coverage: float, d: int, **options) -> float:
    """``m(ε; C, d)``: queries that every non-adaptive algorithm needs on some policy with ``C_cov ≤ C``.

    Args:
        eps, coverage, d, options: see `hardest`, whose grid of Δ can only make it smaller: it stays a lower bound.

    Source: [S4], proved in docs/theory.md.
    """
    return hardest(eps, coverage, d, lambda family: family.minimax_queries(eps), **options)


def sft_on_hardest(eps: float, coverage: float, d: int, **options) -> float:
    """What SFT-Sharpening needs, with the best N, on the hardest member found: a lower bound over all members.

    On each member it is the smallest m = nN of all pairs of integers.

    Args:
        eps, coverage, d, options: see `hardest`.
    """
    return hardest(eps, coverage, d, lambda family: family.sft_queries(eps), **options)


def adaptive_on_hardest(eps: float, coverage: float, d: int, **options) -> float:
    """What adaptive SFT-Sharpening needs on the hardest member found: exact there, a lower bound over all.

    Args:
        eps, coverage, d, options: see `hardest`.
    """
    return hardest(eps, coverage, d, lambda family: family.adaptive_queries(eps), **options)
