"""Hard instances of sharpening, and what they cost exactly."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from scipy.special import gammaln
from scipy.stats import binom

from sharptheory.errors import UserError
from sharptheory.theory.laws import adaptive_best_of_n, stopping_threshold
from sharptheory.theory.policies import AutoregressivePolicy, LinearSoftmaxPolicy, TabularPolicy

# The lower-bound family -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HardFamily:
    """Theorem 3.1′'s family: d rare prompts, each hiding one of M responses at twice the mass of the others.

    ``μ = (1-Δ)δ_{x_0} + (Δ/d)Σδ_{x_i}``; ``π(x_0) = δ_{y_0}``; at ``x_i`` response ``j_i`` has mass ``2/M``, the other
    ``k ∈ [M]`` have ``(1/M)(1 - 1/(M-1))``. The class is all ``(j_1..j_d) ∈ [M]^d``; γ = 1/2, and a prompt is solved
    when more than half of the mass is on its response.

    Args:
        m: number of responses M ≥ 3; mass: Δ in (0, 1]; d: number of hard prompts.

    Source: Appendix H.
    """

    m: int
    mass: float
    d: int

    def __post_init__(self):
        if self.m < 3 or self.m != int(self.m):
            raise UserError(f"m={self.m}; expected an integer ≥ 3")
        if not 0 < self.mass <= 1:
            raise UserError(f"mass={self.mass}; expected a number in (0, 1]")
        if self.d < 1:
            raise UserError(f"d={self.d}; expected at least 1")

    @property
    def coverage(self) -> float:
        """``C_cov = (1-Δ) + Δ M/2``."""
        return 1 - self.mass + self.mass * self.m / 2

    @property
    def log_class(self) -> float:
        """``log|Π| = d log M``."""
        return self.d * float(np.log(self.m))

    def policy(self, hidden: Sequence[int]) -> TabularPolicy:
        """The member with response ``hidden[i] ∈ 0..M-1`` at prompt ``x_{i+1}``; column 0 of the table is ``y_0``."""
        if len(hidden) != self.d:
            raise UserError(f"hidden has {len(hidden)} entries; expected d={self.d}")
        probs = np.zeros((self.d + 1, self.m + 1))
        probs[0, 0] = 1
        probs[1:, 1:] = (1 - 1 / (self.m - 1)) / self.m
        probs[np.arange(1, self.d + 1), 1 + np.asarray(hidden)] = 2 / self.m
        return TabularPolicy.from_probs(probs, self._mu())

    def _mu(self) -> np.ndarray:
        return np.concatenate([[1 - self.mass], np.full(self.d, self.mass / self.d)])

    def minimax_risk(self, n_prompts: float, n_responses: int) -> float:
        """Exact minimax risk ``Δ E_{K~Bin(n,Δ/d)}[err(KN)]`` with n prompts and N responses each. Source: [S4]."""
        return self.mass * _binomial_mean(
            lambda k: identification_error(self.m, k * n_responses), n_prompts, self.mass / self.d
        )

    def minimax_queries(self, eps: float) -> float:
        """Smallest m = nN with `minimax_risk` ≤ ε.

        N = 1 is best: ``Bin(nN, p)`` is less variable than ``N Bin(n, p)`` and `identification_error` is convex.
        """
        return smallest(lambda m: self.minimax_risk(m, 1), eps)

    def sft_risk(self, n_prompts: float, n_responses: float) -> float:
        """Exact risk of tabular SFT-Sharpening: right at ``x_i`` when more than half of its visits returned ``y_{j_i}``."""
        hit = -np.expm1(n_responses * np.log1p(-2 / self.m))
        return self.mass * _binomial_mean(lambda k: _outvoted(k, hit), n_prompts, self.mass / self.d)

    def sft_queries(self, eps: float, *, points: int = 25) -> float:
        """Smallest m = nN with `sft_risk` ≤ ε, over `points` values of N (a hit must be likelier than not)."""
        n_responses = np.unique(np.ceil(np.geomspace(0.36, 4.0, points) * self.m))
        return min(n * smallest(lambda k, n=n: self.sft_risk(k, n), eps) for n in n_responses)

    def adaptive_stopping(self, threshold: float) -> tuple[float, float]:
        """Probability that adaptive best-of-N returns ``y_{j_i}`` at a hard prompt, and ``E[N_μ]`` there. Source: [S1]."""
        row = self.policy([0] * self.d).log_probs[1]
        stopping = adaptive_best_of_n(row, threshold)
        return float(np.exp(stopping.law[1])), float(stopping.expected_n)

    def adaptive_queries(self, eps: float, *, threshold: float = stopping_threshold(0.5)) -> float:
        """Expected queries of adaptive SFT-Sharpening with the fewest prompts that reach risk ε, exactly."""
        hit, expected_n = self.adaptive_stopping(threshold)
        risk = lambda n: self.mass * _binomial_mean(lambda k: _outvoted(k, hit), n, self.mass / self.d)  # noqa: E731
        easy = max(np.ceil(threshold), 1.0)
        return smallest(risk, eps) * ((1 - self.mass) * easy + self.mass * expected_n)


def identification_error(m: int, t: np.ndarray) -> np.ndarray:
    """Bayes error of naming the hidden response of one hard prompt after t draws: ``(1-2/M)^t E[1 - 1/(1+U')]``.

    U' counts the other M-1 responses unseen after t uniform draws. By symmetry ``E[1/(1+U')] = P(V ≥ 1)/(M(1-1/M)^t)``
    with V the number of empty cells after t uniform throws into M, which is what is computed.

    Args:
        m: M ≥ 3; t: draws, integers, any shape.

    Returns:
        Probabilities, relative error about 1e-10 at any M and t.

    Source: [S4].
    """
    t = np.asarray(t, dtype=float)
    flat = t.ravel()
    log_cell = flat * np.log1p(-1 / m)
    expected_empty = m * np.exp(log_cell)
    known = np.empty_like(flat)  # E[1 - 1/(1+U')]
    few, many = expected_empty < 8, expected_empty >= 8
    # Few empty cells: inclusion-exclusion from its second term, whose first is the 1 that would cancel.
    k = np.arange(2, min(m, 60))
    log_choose = gammaln(m + 1) - gammaln(k + 1) - gammaln(m - k + 1)
    log_terms = log_choose + flat[few, None] * np.log1p(-k / m) - (np.log(m) + log_cell[few])[:, None]
    known[few] = (np.where(k % 2 == 0, 1.0, -1.0) * np.exp(log_terms)).sum(axis=1)
    known[many] = 1 - (1 - _all_cells_hit(m, flat[many])) / expected_empty[many]
    known[flat == 0] = 1 - 1 / m
    return (np.exp(flat * np.log1p(-2 / m)) * known).reshape(t.shape)


def _all_cells_hit(m: int, t: np.ndarray, points: int = 400) -> np.ndarray:
    """P(t uniform throws hit all of m cells) ``= t! [z^t] (e^{z/m} - 1)^m``, by Cauchy's integral through the saddle.

    Used where it is below 4e-4, so that an absolute error of 1e-12 (from ``log t!``) is enough.
    """
    result = np.zeros_like(t)
    possible = np.flatnonzero((t > m) & (m * np.exp(t * np.log1p(-1 / m)) < 40))
    for i in possible:
        # Saddle point s of m log(e^s - 1) - t log s: s / (1 - e^{-s}) = t / m, by Newton from above.
        ratio = t[i] / m
        s = ratio
        for _ in range(60):
            s -= (s / -np.expm1(-s) - ratio) / ((-np.expm1(-s) - s * np.exp(-s)) / np.expm1(-s) ** 2)
        spread = 1 / np.sqrt(t[i] * (1 - s * np.exp(-s) / -np.expm1(-s)))
        half = min(np.pi, 12 * spread)
        theta = -half + (np.arange(points) + 0.5) * 2 * half / points
        exponent = m * np.log(np.expm1(s * np.exp(1j * theta)) / np.expm1(s)) - 1j * t[i] * theta
        mean = np.exp(exponent).real.sum() * half / points / np.pi
        log_peak = gammaln(t[i] + 1) - t[i] * np.log(s * m) + m * np.log(np.expm1(s))
        result[i] = np.exp(log_peak) * mean
    if m < 60:  # the sum above needs many cells for its saddle; few cells are summed exactly
        for i in range(len(t)):
            result[i] = _all_cells_hit_exactly(m, int(t[i]))
    return result


def _all_cells_hit_exactly(m: int, t: int) -> float:
    """The same by inclusion-exclusion in integers."""
    if t < m:
        return 0.0
    ways = sum((-1) ** k * comb(m, k) * (m - k) ** t for k in range(m))
    return ways / m**t


def _outvoted(k: np.ndarray, hit: float) -> np.ndarray:
    """``P[Bin(k, hit) ≤ k/2]``: k votes do not give the response more than half; 1 without votes."""
    return binom.cdf(np.floor(k / 2), k, hit)


def _binomial_mean(f: Callable[[np.ndarray], np.ndarray], n: float, p: float) -> float:
    """``E f(K)``, ``K ~ Bin(n, p)``, over all k within 14 standard deviations (all of them where that is near 0)."""
    mean, spread = n * p, np.sqrt(n * p * (1 - p))
    low, high = max(0.0, np.floor(mean - 14 * spread - 40)), min(n, np.ceil(mean + 14 * spread + 40))
    k = np.arange(low, high + 1)
    return float(np.dot(binom.pmf(k, n, p), f(k)))


def smallest(risk: Callable[[float], float], eps: float) -> float:
    """Smallest integer n with ``risk(n) ≤ ε`` for a non-increasing risk; inf if it is beyond 1e15."""
    if not 0 < eps <= 1:
        raise UserError(f"eps={eps}; expected a number in (0, 1]")
    low, high = 0.0, 1.0
    if risk(0.0) <= eps:
        return 0.0
    while risk(high) > eps:
        low, high = high, high * 2
        if high > 1e15:
            return float("inf")
    while high - low > 1:
        middle = np.floor((low + high) / 2)
        low, high = (low, middle) if risk(middle) <= eps else (middle, high)
    return high


def hardest(eps: float, coverage: float, d: int, cost: Callable[[HardFamily], float], *, points: int = 30) -> float:
    """Largest `cost` over families ``(M, Δ)`` with ``C_cov ≤ coverage``: the hardest instance at each accuracy.

    Smaller Δ leaves room for larger M; a prompt mass Δ ≤ ε costs nothing. Searched over `points` values of Δ from ε up,
    with the largest M that each allows; a grid can only make a lower bound smaller, so it stays one.

    Args:
        eps: ε in (0, 1); coverage: C > 1; cost: e.g. ``lambda family: family.minimax_queries(eps)``.
    """
    if not 0 < eps < 1:
        raise UserError(f"eps={eps}; expected a number in (0, 1)")
    if not coverage > 1:
        raise UserError(f"coverage={coverage}; expected a number above 1: at 1 there is nothing to sharpen")
    best = 0.0
    for mass in np.unique(np.minimum(np.geomspace(1.1, 20, points) * eps, 1.0)):
        m = int(np.floor(2 + 2 * (coverage - 1) / mass))
        if m >= 3:
            best = max(best, cost(HardFamily(m, float(mass), d)))
    return best


def minimax_lower_bound(eps: float, coverage: float, d: int, **options) -> float:
    """``m(ε; C, d)``: queries that every non-adaptive algorithm needs on some policy with ``C_cov ≤ C``. Source: [S4]."""
    return hardest(eps, coverage, d, lambda family: family.minimax_queries(eps), **options)


def sft_on_hardest(eps: float, coverage: float, d: int, **options) -> float:
    """What SFT-Sharpening needs on the hardest member, with the best N for it, exactly."""
    return hardest(eps, coverage, d, lambda family: family.sft_queries(eps), **options)


def adaptive_on_hardest(eps: float, coverage: float, d: int, **options) -> float:
    """What adaptive SFT-Sharpening needs on the hardest member, exactly."""
    return hardest(eps, coverage, d, lambda family: family.adaptive_queries(eps), **options)


# Token trees ----------------------------------------------------------------------------------------------------------


def greedy_fails(mass: float) -> AutoregressivePolicy:
    """A policy with ``π(y*) = mass < 1/2`` on which token-wise greedy decoding misses ``y*``. Source: Proposition 3.1.

    The first token 0 has probability `mass` and one continuation; token 1 has the rest, spread evenly.
    """
    if not 0 < mass < 0.5:
        raise UserError(f"mass={mass}; expected a number in (0, 1/2)")
    width = max(2, int(np.floor((1 - mass) / mass)) + 1)
    first, second = np.full((1, 1, width + 1), -np.inf), np.full((1, width, width + 1), -np.inf)
    first[0, 0, :2] = np.log(mass), np.log1p(-mass)
    second[0, 0, 0] = 0.0
    second[0, 1:, :width] = -np.log(width)
    return AutoregressivePolicy((first, second))


def misspecified(n: int, strength: float | None = None, theta: np.ndarray | None = None) -> AutoregressivePolicy:
    """Two tokens from n, linear softmax in d = 2: the argmax is ``(2, 1)`` and no policy of the class sharpens to it.

    Features: ``φ_1(1) = φ_1(2) = e_1``, else ``e_2``; ``φ_2(2,1) = e_1``, ``φ_2(2,j≠1) = e_2``, 0 after another first
    token. Tokens 1, 2, … of the paper are 0, 1, … here.

    Args:
        n: vocabulary size; strength: B of the base policy ``θ_1 = θ_2 = B e_1``, default ``log n + 2``.
        theta: another member of the class, ``[2, 2]`` (θ_1, θ_2).

    Source: Proposition E.2.
    """
    if n < 3:
        raise UserError(f"n={n}; expected at least 3 tokens")
    strength = np.log(n) + 2 if strength is None else strength
    theta = np.array([[strength, 0.0], [strength, 0.0]]) if theta is None else np.asarray(theta, dtype=float)
    first, second = np.full(n, theta[0, 1]), np.zeros((n, n))
    first[:2] = theta[0, 0]
    second[1] = theta[1, 1]
    second[1, 0] = theta[1, 0]
    levels = []
    for logits in (first[None], second):
        shifted = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        levels.append(np.concatenate([shifted, np.full((len(logits), 1), -np.inf)], axis=1)[None])
    return AutoregressivePolicy(tuple(levels))


def max_cut_policy(n_vertices: int, edges: Sequence[tuple[int, int]], *, strength: float = 2.0) -> AutoregressivePolicy:
    """A policy whose sequence argmax is a maximum cut: finding it is NP-hard.

    The first tokens choose a side ``s_v`` for each vertex, uniformly. Then one bit per edge ``(u, v)``, with logit
    ``B s_u XOR s_v = B (s_u + s_v - 2 s_u s_v)`` for 1: a linear softmax policy with features cubic in the tokens. The
    likeliest bit has probability ``σ(B)`` on a cut edge and 1/2 on another, so the likeliest completion of a cut of
    size c has ``2^{-n} σ(B)^c 2^{-(|E|-c)}``, increasing in c.

    Args:
        n_vertices: n; edges: pairs of vertices; strength: B > 0. The tree has ``2^{n+|E|}`` leaves.

    Source: Proposition E.1.
    """
    if not edges or any(not (0 <= u < n_vertices and 0 <= v < n_vertices and u != v) for u, v in edges):
        raise UserError(f"edges={list(edges)}; expected pairs of different vertices in 0..{n_vertices - 1}")
    if not strength > 0:
        raise UserError(f"strength={strength}; expected a positive number")
    levels = []
    for h in range(n_vertices + len(edges)):
        logits = np.zeros((2**h, 3))
        logits[:, 2] = -np.inf
        if h >= n_vertices:
            prefixes = np.arange(2**h)
            u, v = (prefixes >> (h - 1 - vertex) & 1 for vertex in edges[h - n_vertices])
            logits[:, 1] = strength * (u + v - 2 * u * v)
        levels.append((logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))[None])
    return AutoregressivePolicy(tuple(levels))


def cut_size(sides: Sequence[int], edges: Sequence[tuple[int, int]]) -> int:
    """Number of edges between the two sides."""
    return sum(sides[u] != sides[v] for u, v in edges)


def max_cut(n_vertices: int, edges: Sequence[tuple[int, int]]) -> int:
    """Size of a maximum cut, by brute force."""
    return max(cut_size(sides, edges) for sides in itertools.product((0, 1), repeat=n_vertices))


# Separation of SFT- and RLHF-Sharpening -------------------------------------------------------------------------------


def packing_policy(dimension: int, n_points: int, *, seed: int = 0, scale: float = 1.0) -> LinearSoftmaxPolicy:
    """Example J.1: responses are a 1/4-packing of the sphere, ``φ(y) = y`` and ``θ* = scale · y*``.

    The margin is at least ``e^{scale/32} - 1`` whatever the dimension, while ``C_cov`` grows with the packing, which
    may have ``exp(Θ(d))`` points: SFT-Sharpening needs about ``C_cov`` responses, RLHF-Sharpening d pairs [S3].

    Args:
        dimension: d ≥ 2; n_points: size of the packing; response 0 is ``y*``.

    Raises:
        ValueError: no such packing was found by drawing points at random.
    """
    if dimension < 2 or n_points < 2:
        raise UserError(f"dimension={dimension}, n_points={n_points}; expected at least 2 of each")
    rng = np.random.default_rng(seed)
    points = np.empty((0, dimension))
    for _ in range(1_000):
        fresh = rng.normal(size=(n_points, dimension))
        for point in fresh / np.linalg.norm(fresh, axis=1, keepdims=True):
            # Distance ≥ 1/4 is inner product ≤ 1 - 1/32.
            if len(points) < n_points and (len(points) == 0 or (points @ point).max() <= 1 - 1 / 32):
                points = np.vstack([points, point])
        if len(points) == n_points:
            return LinearSoftmaxPolicy(points, scale * points[0])
    raise UserError(
        f"found {len(points)} of n_points={n_points} at distance 1/4 in dimension {dimension}; ask for fewer"
    )
