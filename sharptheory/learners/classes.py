"""Policy classes: maximum likelihood, the regression (8) and the objective of XPO over each."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from sharptheory.errors import UserError

#: Convex solves stop at a gradient this small per observation, or raise.
GRADIENT_TOLERANCE = 1e-7


@dataclass(frozen=True, eq=False)
class Pairs:
    """Comparisons at prompts ``[n]``: responses `first`, `second` and their base log-probabilities, ``[n]`` each."""

    prompts: np.ndarray
    first: np.ndarray
    second: np.ndarray
    log_first: np.ndarray
    log_second: np.ndarray


@dataclass(frozen=True)
class Simplex:
    """All policies on ``[X, Y]``: maximum likelihood is the empirical law; a prompt never seen gets the uniform one."""

    shape: tuple[int, int]

    def fit(self, counts: np.ndarray) -> np.ndarray:
        """Maximum-likelihood log-probabilities for counts ``[X, Y]``."""
        totals = counts.sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(totals > 0, np.log(counts) - np.log(totals), -np.log(self.shape[1]))


@dataclass(frozen=True, eq=False)
class FiniteClass:
    """A list of policies ``[K, X, Y]`` (log-probabilities); minimisers are exact, ties go to the first."""

    members: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return self.members.shape[1:]

    @property
    def log_size(self) -> float:
        """``log|Π|``, members that occur twice counted twice (a valid, larger bound)."""
        return float(np.log(len(self.members)))

    def fit(self, counts: np.ndarray) -> np.ndarray:
        """The member of largest likelihood for counts ``[X, Y]``."""
        seen = counts > 0
        return self.members[int(np.argmax(self.members[:, seen] @ counts[seen]))]

    def regression_losses(self, pairs: Pairs, beta: float) -> np.ndarray:
        """Loss (8) of each member, ``[K]``: ``Σ (β log π(y)/π(y') - (1+β) log π_base(y)/π_base(y'))²``."""
        gaps = self.members[:, pairs.prompts, pairs.first] - self.members[:, pairs.prompts, pairs.second]
        with np.errstate(invalid="ignore"):
            losses = np.square(beta * gaps - (1 + beta) * (pairs.log_first - pairs.log_second)).sum(axis=1)
        return np.where(np.isnan(losses), np.inf, losses)

    def regress(self, pairs: Pairs, beta: float, *, tolerance: float = 1e-9) -> np.ndarray:
        """The member of smallest loss (8). Warns if it is not 0: then ``π_β`` is not in the class."""
        losses = self.regression_losses(pairs, beta)
        best = int(np.argmin(losses))
        if losses[best] > tolerance * max(1, len(pairs.prompts)):
            warnings.warn(
                f"unrealizable: the best of {len(losses)} members has loss {losses[best]:.3g} > 0", stacklevel=2
            )
        return self.members[best]

    def optimistic(self, pairs: Pairs, beta: float, optimism: float, sign: float) -> np.ndarray:
        """The member that minimises XPO's objective ``α Σ log π(ỹ) + sign · loss (8)``."""
        bonus = self.members[:, pairs.prompts, pairs.second].sum(axis=1)
        objective = optimism * bonus + sign * self.regression_losses(pairs, beta)
        return self.members[int(np.argmin(np.where(np.isnan(objective), np.inf, objective)))]

    def initial(self) -> np.ndarray:
        return self.members[0]


@dataclass(frozen=True, eq=False)
class LinearClass:
    """Linear softmax policies ``π_θ ∝ exp⟨θ, φ⟩`` with ``‖θ‖ ≤ B``.

    Args:
        features: ``φ``, ``[X, Y, d]``; bound: B.
    """

    features: np.ndarray
    bound: float = np.inf

    @property
    def shape(self) -> tuple[int, int]:
        return self.features.shape[:2]

    def table(self, theta: np.ndarray) -> np.ndarray:
        """Log-probabilities ``[X, Y]`` of ``π_θ``."""
        return log_softmax(self.features @ theta, axis=1)

    def fit(self, counts: np.ndarray) -> np.ndarray:
        return self.table(self.fit_theta(counts))

    def fit_theta(self, counts: np.ndarray) -> np.ndarray:
        """Maximum-likelihood θ for counts ``[X, Y]``; convex.

        Raises:
            RuntimeError: the solve did not converge; names the residual. Separable data have no maximiser unless B is
                finite.
        """
        total, visits = counts.sum(), counts.sum(axis=1)
        observed = np.einsum("xy,xyd->d", counts, self.features) / total

        def loss(theta: np.ndarray, ridge: float) -> tuple[float, np.ndarray]:
            law = self.table(theta)
            mean = np.einsum("x,xy,xyd->d", visits, np.exp(law), self.features) / total
            value = -np.sum(np.where(counts > 0, counts * law, 0.0)) / total + ridge / 2 * theta @ theta
            return float(value), mean - observed + ridge * theta

        return _within_ball(
            lambda ridge, start: _solve(lambda t: loss(t, ridge), start), self.features.shape[2], self.bound
        )

    def regress(self, pairs: Pairs, beta: float) -> np.ndarray:
        return self.table(self.regress_theta(pairs, beta))

    def regress_theta(self, pairs: Pairs, beta: float) -> np.ndarray:
        """θ of smallest loss (8) in the ball, by least squares; of those, the shortest."""
        differences = self.features[pairs.prompts, pairs.first] - self.features[pairs.prompts, pairs.second]
        left, singular, right = np.linalg.svd(beta * differences, full_matrices=False)
        target = left.T @ ((1 + beta) * (pairs.log_first - pairs.log_second))
        kept = singular > 1e-12 * singular.max(initial=0.0)
        left, singular, right, target = left[:, kept], singular[kept], right[kept], target[kept]
        solve = lambda ridge, _: right.T @ (singular * target / (singular**2 + ridge))  # noqa: E731
        return _within_ball(solve, self.features.shape[2], self.bound)

    def initial(self) -> np.ndarray:
        return self.table(np.zeros(self.features.shape[2]))

    def optimistic(self, pairs: Pairs, beta: float, optimism: float, sign: float) -> np.ndarray:
        """The policy that minimises XPO's objective ``α Σ log π(ỹ) + sign · loss (8)`` over the ball.

        Raises:
            ValueError: the ball is unbounded, where the optimistic term has no minimum.
            RuntimeError: the solve did not converge; names the residual, the length of the projected gradient step.
        """
        if not np.isfinite(self.bound):
            raise UserError(f"bound={self.bound}; expected a finite B: optimism pushes θ to infinity")
        reference = self.features[pairs.prompts, pairs.second]
        differences = self.features[pairs.prompts, pairs.first] - reference
        target, scale = (1 + beta) * (pairs.log_first - pairs.log_second), len(pairs.prompts)
        visits = np.bincount(pairs.prompts, minlength=len(self.features)).astype(float)

        def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
            law, misfit = self.table(theta), beta * differences @ theta - target
            bonus = law[pairs.prompts, pairs.second].sum()
            expected = np.einsum("x,xy,xyd->d", visits, np.exp(law), self.features, optimize=True)
            gradient = optimism * (reference.sum(axis=0) - expected) + sign * 2 * beta * differences.T @ misfit
            return (optimism * bonus + sign * misfit @ misfit) / scale, gradient / scale

        ball = {"type": "ineq", "fun": lambda t: self.bound**2 - t @ t, "jac": lambda t: -2 * t}
        options = {"maxiter": 2_000, "ftol": 1e-15}
        # Neither term is convex with the other: the regression's own minimiser is a second start.
        starts = [self.regress_theta(pairs, beta), np.zeros(self.features.shape[2])]
        solved = [minimize(objective, x, jac=True, method="SLSQP", constraints=[ball], options=options) for x in starts]
        best = self._project(min(solved, key=lambda result: result.fun).x)
        residual = float(np.linalg.norm(best - self._project(best - objective(best)[1])))
        if residual > 1e-4:
            raise RuntimeError(f"XPO's objective did not converge: projected gradient step {residual:.3g} > 1e-4")
        return self.table(best)

    def _project(self, theta: np.ndarray) -> np.ndarray:
        return theta * min(1.0, self.bound / max(np.linalg.norm(theta), 1e-300))


def _solve(loss, start: np.ndarray) -> np.ndarray:
    result = minimize(loss, start, jac=True, method="BFGS", options={"gtol": GRADIENT_TOLERANCE / 10, "maxiter": 5_000})
    residual = float(np.abs(loss(result.x)[1]).max())
    if residual > GRADIENT_TOLERANCE:
        raise RuntimeError(f"maximum likelihood did not converge: gradient {residual:.3g} > {GRADIENT_TOLERANCE:g}")
    return result.x


def _within_ball(solve, dimension: int, bound: float) -> np.ndarray:
    """Minimiser of a convex loss over ``‖θ‖ ≤ B``: the free one if it is inside, else the multiplier by bisection."""
    start = np.zeros(dimension)
    try:
        free = solve(0.0, start)
        if np.linalg.norm(free) <= bound * (1 + 1e-12):
            return free
    except RuntimeError:
        if bound == np.inf:
            raise
    low, high, theta = 0.0, 1.0, solve(1.0, start)
    while np.linalg.norm(theta) > bound:
        low, high = high, 4 * high
        theta = solve(high, theta)
    for _ in range(200):
        if high - low <= 1e-12 * high:
            break
        middle = (low + high) / 2 if low > 0 else high / 4
        candidate = solve(middle, theta)
        if np.linalg.norm(candidate) > bound:
            low = middle
        else:
            high, theta = middle, candidate
    return theta
