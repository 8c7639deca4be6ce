"""Policy classes: maximum likelihood, the regression (8) and the objective of XPO over each.

A class has a `shape` ``(X, Y)`` and answers up to three questions, each with log-probabilities ``[X, Y]`` in nats:

* ``fit(counts)``: the policy of largest likelihood for counts ``[X, Y]``;
* ``regress(pairs, beta)``: that of smallest loss (8) on `Pairs`,
  ``Σ (β log π(y)/π(y') - (1+β) log π_base(y)/π_base(y'))²``;
* ``optimistic(pairs, beta, optimism, sign)``: that which minimises XPO's objective
  ``α Σ log π(ỹ) + sign · loss (8)``, where ỹ is the second response of each pair.

`Simplex` answers the first only: a regression on finitely many pairs does not determine a policy without structure.

Source: (1), (8), Algorithm 1 (arXiv 2412.01951).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, linprog, minimize
from scipy.special import log_softmax

from sharptheory.errors import UserError, expect_numbers
from sharptheory.theory.rows import SUM_TOLERANCE, as_floats

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
    """All policies on ``[X, Y]``: maximum likelihood is the empirical law; a prompt never seen gets the uniform one.

    Args:
        shape: ``(X, Y)``.
    """

    shape: tuple[int, int]

    def fit(self, counts: np.ndarray) -> np.ndarray:
        """Maximum-likelihood log-probabilities for counts ``[X, Y]``."""
        counts = _counts(counts, self.shape)
        totals = counts.sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(totals > 0, np.log(counts) - np.log(totals), -np.log(self.shape[1]))


@dataclass(frozen=True, eq=False)
class FiniteClass:
    """A list of policies; minimisers are exact, ties go to the first.

    Args:
        members: log-probabilities in nats, ``[K, X, Y]``; rows sum to 1.

    Raises:
        UserError: another shape, NaN, or a row that does not sum to 1.
    """

    members: np.ndarray

    def __post_init__(self):
        members = as_floats(self.members, "members")
        if members.ndim != 3 or 0 in members.shape:
            raise UserError(f"members has shape {members.shape}; expected [K, X, Y] with K, X, Y ≥ 1")
        with np.errstate(over="ignore"):
            sums = np.exp(members).sum(axis=2)
        wrong = np.argwhere(~(np.abs(sums - 1) <= SUM_TOLERANCE))
        if len(wrong):
            k, x = wrong[0].tolist()
            raise UserError(f"members[{k}, {x}] sums to {sums[k, x]:.6g}; expected log-probabilities in nats, of sum 1")
        object.__setattr__(self, "members", members)

    @property
    def shape(self) -> tuple[int, int]:
        """``(X, Y)``."""
        return self.members.shape[1:]

    @property
    def log_size(self) -> float:
        """``log|Π|``, members that occur twice counted twice (a valid, larger bound)."""
        return float(np.log(len(self.members)))

    def fit(self, counts: np.ndarray) -> np.ndarray:
        """The member of largest likelihood for counts ``[X, Y]``."""
        counts = _counts(counts, self.shape)
        seen = counts > 0
        return self.members[int(np.argmax(self.members[:, seen] @ counts[seen]))]

    def regression_losses(self, pairs: Pairs, beta: float) -> np.ndarray:
        """Loss (8) of each member, ``[K]``.

        A response without mass under the base says nothing about a member that gives it none, and rules out one that
        gives it some: infinite log-ratios that agree are a misfit of 0.
        """
        gaps = self.members[:, pairs.prompts, pairs.first] - self.members[:, pairs.prompts, pairs.second]
        targets = (1 + beta) * (pairs.log_first - pairs.log_second)
        with np.errstate(invalid="ignore"):
            losses = np.square(np.where(beta * gaps == targets, 0.0, beta * gaps - targets)).sum(axis=1)
        return np.where(np.isnan(losses), np.inf, losses)

    def regress(self, pairs: Pairs, beta: float, *, tolerance: float = 1e-9) -> np.ndarray:
        """The member of smallest loss (8). Warns if it is not 0: then ``π_β`` is not in the class."""
        expect_numbers("(0, inf)", beta=beta)
        _check_pairs(pairs, self.shape)
        losses = self.regression_losses(pairs, beta)
        best = int(np.argmin(losses))
        if losses[best] > tolerance * max(1, len(pairs.prompts)):
            warnings.warn(
                f"unrealizable: the best of {len(losses)} members has loss {losses[best]:.3g} > 0", stacklevel=2
            )
        return self.members[best]

    def optimistic(self, pairs: Pairs, beta: float, optimism: float, sign: float) -> np.ndarray:
        """The member that minimises XPO's objective."""
        bonus = self.members[:, pairs.prompts, pairs.second].sum(axis=1)
        with np.errstate(invalid="ignore"):
            objective = optimism * bonus + sign * self.regression_losses(pairs, beta)
        return self.members[int(np.argmin(np.where(np.isnan(objective), np.inf, objective)))]


@dataclass(frozen=True, eq=False)
class LinearClass:
    """Linear softmax policies ``π_θ ∝ exp⟨θ, φ⟩`` with ``‖θ‖ ≤ B``.

    Args:
        features: ``φ``, ``[X, Y, d]``.
        bound: ``B > 0``; default none.

    Raises:
        UserError: another shape, features that are not finite, or ``B ≤ 0``.
    """

    features: np.ndarray
    bound: float = np.inf

    def __post_init__(self):
        features = as_floats(self.features, "features")
        if features.ndim != 3 or 0 in features.shape:
            raise UserError(f"features has shape {features.shape}; expected [X, Y, d] with X, Y, d ≥ 1")
        if not np.isfinite(features).all():
            raise UserError(f"features{np.argwhere(~np.isfinite(features))[0].tolist()} is not finite")
        expect_numbers("(0, inf]", bound=self.bound)
        object.__setattr__(self, "features", features)

    @property
    def shape(self) -> tuple[int, int]:
        """``(X, Y)``."""
        return self.features.shape[:2]

    def table(self, theta: np.ndarray) -> np.ndarray:
        """Log-probabilities ``[X, Y]`` of ``π_θ``, for θ ``[d]``."""
        theta = as_floats(theta, "theta")
        if theta.shape != self.features.shape[2:]:
            raise UserError(f"theta has shape {theta.shape}; expected {self.features.shape[2:]}, as features")
        return log_softmax(self.features @ theta, axis=1)

    # Maximum likelihood

    def fit(self, counts: np.ndarray) -> np.ndarray:
        """`table` of `fit_theta`."""
        return self.table(self.fit_theta(counts))

    def fit_theta(self, counts: np.ndarray) -> np.ndarray:
        """Maximum-likelihood θ ``[d]`` for counts ``[X, Y]``, to a gradient of `GRADIENT_TOLERANCE` per observation; convex.

        Where the data are separable the likelihood has no maximiser without a finite B; with one, a θ inside the ball
        is returned as soon as its gradient is that small.

        Raises:
            UserError: the data are separable and B is infinite, or there are none.
            RuntimeError: the solve did not converge; names the residual.
        """
        counts = _counts(counts, self.shape)
        if not counts.any():
            raise UserError("counts are all 0; expected a response that was seen")
        if self.bound == np.inf and self._separable(counts):
            raise UserError(
                "bound=inf: the counts are separable, so their likelihood has no maximiser; give a finite B"
            )
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

    def _separable(self, counts: np.ndarray) -> bool:
        """Whether some direction raises the observed responses above the others and never lowers them (Albert and
        Anderson 1984): a linear program over directions in the unit cube."""
        equal, below = [], []
        for x in np.flatnonzero(counts.sum(axis=1)):
            differences = self.features[x] - self.features[x, np.argmax(counts[x] > 0)]
            equal.append(differences[counts[x] > 0])
            below.append(differences[counts[x] == 0])
        equal, below = np.concatenate(equal), np.concatenate(below)
        if len(below) == 0:
            return False
        found = linprog(
            below.sum(axis=0),
            A_ub=below,
            b_ub=np.zeros(len(below)),
            A_eq=equal,
            b_eq=np.zeros(len(equal)),
            bounds=(-1, 1),
        )
        return bool(found.fun < -1e-9 * max(1.0, np.abs(below).max()))

    # Regression

    def regress(self, pairs: Pairs, beta: float) -> np.ndarray:
        """`table` of `regress_theta`."""
        return self.table(self.regress_theta(pairs, beta))

    def regress_theta(self, pairs: Pairs, beta: float) -> np.ndarray:
        """θ ``[d]`` of smallest loss (8) in the ball, by least squares; of those, the shortest.

        Raises:
            UserError: a response without mass under the base, which every policy of the class gives some.
        """
        expect_numbers("(0, inf)", beta=beta)
        _check_pairs(pairs, self.shape)
        differences, goal = self._regression(pairs, beta)
        left, singular, right = np.linalg.svd(differences, full_matrices=False)
        target = left.T @ goal
        kept = singular > 1e-12 * singular.max(initial=0.0)
        left, singular, right, target = left[:, kept], singular[kept], right[kept], target[kept]
        solve = lambda ridge, _: right.T @ (singular * target / (singular**2 + ridge))  # noqa: E731
        return _within_ball(solve, self.features.shape[2], self.bound)

    def _regression(self, pairs: Pairs, beta: float) -> tuple[np.ndarray, np.ndarray]:
        """Matrix ``[n, d]`` and target ``[n]`` of the least squares that loss (8) is."""
        goal = (1 + beta) * (pairs.log_first - pairs.log_second)
        if not np.isfinite(goal).all():
            i = int(np.argmin(np.isfinite(goal)))
            raise UserError(
                f"pairs: at prompt {pairs.prompts[i]} the base gives response {pairs.first[i]} or {pairs.second[i]} no "
                "mass; expected a base of full support, as every linear softmax policy has"
            )
        return beta * (self.features[pairs.prompts, pairs.first] - self.features[pairs.prompts, pairs.second]), goal

    # Optimism

    def optimistic(self, pairs: Pairs, beta: float, optimism: float, sign: float) -> np.ndarray:
        """The policy that minimises XPO's objective over the ball.

        The optimistic term is concave and the loss convex, so the best of several descents is returned: from the
        regression's own minimiser and the origin, and for ``sign < 0``, where the objective is concave and its minima
        lie on the sphere, from both ends of each principal axis of the loss.

        Raises:
            UserError: the ball is unbounded, where the optimistic term has no minimum; or as `regress_theta`.
            RuntimeError: the solve did not converge; names the residual, the length of the projected gradient step.
        """
        if not np.isfinite(self.bound):
            raise UserError(f"bound={self.bound}; expected a finite B: optimism pushes θ to infinity")
        differences, target = self._regression(pairs, beta)
        reference, scale = self.features[pairs.prompts, pairs.second].sum(axis=0), len(pairs.prompts)
        visits = np.bincount(pairs.prompts, minlength=len(self.features)).astype(float)

        def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
            law, misfit = self.table(theta), differences @ theta - target
            bonus = law[pairs.prompts, pairs.second].sum()
            expected = np.einsum("x,xy,xyd->d", visits, np.exp(law), self.features, optimize=True)
            gradient = optimism * (reference - expected) + sign * 2 * differences.T @ misfit
            return (optimism * bonus + sign * misfit @ misfit) / scale, gradient / scale

        starts = [self.regress_theta(pairs, beta), np.zeros(self.features.shape[2])]
        if sign < 0:
            axes = np.linalg.svd(differences)[2]
            starts += [end * self.bound * axis for axis in axes for end in (1, -1)]
        best = self._descend(objective, starts)
        residual = float(np.linalg.norm(best - self._project(best - objective(best)[1])))
        if residual > 1e-4:
            raise RuntimeError(f"XPO's objective did not converge: projected gradient step {residual:.3g} > 1e-4")
        return self.table(best)

    def _descend(self, objective, starts: list[np.ndarray]) -> np.ndarray:
        """The best of the descents from each start, inside the ball."""
        ball = {"type": "ineq", "fun": lambda t: self.bound**2 - t @ t, "jac": lambda t: -2 * t}
        options = {"maxiter": 2_000, "ftol": 1e-15}
        solved = [minimize(objective, x, jac=True, method="SLSQP", constraints=[ball], options=options) for x in starts]
        return min((self._project(result.x) for result in solved), key=lambda theta: objective(theta)[0])

    def _project(self, theta: np.ndarray) -> np.ndarray:
        return theta * min(1.0, self.bound / max(np.linalg.norm(theta), 1e-300))


def _counts(counts: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Counts ``[X, Y]`` as floats: finite and not negative."""
    counts = as_floats(counts, "counts")
    if counts.shape != tuple(shape):
        raise UserError(f"counts has shape {counts.shape}; expected {tuple(shape)}, as the class")
    if not np.all((counts >= 0) & (counts < np.inf)):
        raise UserError(f"counts: {counts[~((counts >= 0) & (counts < np.inf))][0]:g}; expected finite numbers ≥ 0")
    return counts


def _check_pairs(pairs: Pairs, shape: tuple[int, int]) -> None:
    """Refuse pairs that are not of one length, or of a prompt or response that the class lacks."""
    for name, size in (("prompts", shape[0]), ("first", shape[1]), ("second", shape[1])):
        values = np.asarray(getattr(pairs, name))
        if values.ndim != 1 or values.dtype.kind not in "iu" or not np.all((values >= 0) & (values < size)):
            raise UserError(f"pairs.{name}: {values.tolist()}; expected whole numbers [n] from 0 to {size - 1}")
    lengths = {name: len(getattr(pairs, name)) for name in ("prompts", "first", "second", "log_first", "log_second")}
    if len(set(lengths.values())) > 1:
        raise UserError(f"pairs: lengths {lengths}; expected one for all")
    for name in ("log_first", "log_second"):
        if np.isnan(as_floats(getattr(pairs, name), f"pairs.{name}")).any():
            raise UserError(f"pairs.{name} holds NaN; expected log-probabilities, in nats")


def _solve(loss, start: np.ndarray) -> np.ndarray:
    result = minimize(loss, start, jac=True, method="BFGS", options={"gtol": GRADIENT_TOLERANCE / 10, "maxiter": 5_000})
    residual = float(np.abs(loss(result.x)[1]).max())
    if residual > GRADIENT_TOLERANCE:
        raise RuntimeError(f"maximum likelihood did not converge: gradient {residual:.3g} > {GRADIENT_TOLERANCE:g}")
    return result.x


#: Steps of the logarithm of the multiplier while it is bracketed, and the least one that can matter.
STEP, SMALLEST = 3.0, -60.0


def _within_ball(solve, dimension: int, bound: float) -> np.ndarray:
    """Minimiser of a convex loss over ``‖θ‖ ≤ B``: the free one if it is inside, else the multiplier puts it on the sphere.

    Args:
        solve: ``(ridge, start) → θ`` that minimises the loss plus ``ridge ‖θ‖²/2``.
    """
    theta = np.zeros(dimension)
    try:
        free = solve(0.0, theta)
        if np.linalg.norm(free) <= bound * (1 + 1e-12):
            return free
    except RuntimeError:
        if bound == np.inf:
            raise

    def excess(log_ridge: float) -> float:
        nonlocal theta
        theta = solve(np.exp(log_ridge), theta)
        return float(np.linalg.norm(theta) - bound)

    high = 0.0
    while excess(high) > 0:
        high += STEP
    low = high - STEP
    while excess(low) <= 0:
        if low < SMALLEST:  # the free minimiser is on the sphere, or all but
            return theta
        low -= STEP
    theta = solve(np.exp(brentq(excess, low, high, xtol=1e-12, rtol=1e-12)), theta)
    return theta * min(1.0, bound / np.linalg.norm(theta))
