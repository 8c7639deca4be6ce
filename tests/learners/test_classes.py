"""Each minimiser of a policy class against brute force: loops over members, or a fine grid of a disc."""

import itertools

import numpy as np
import pytest
from scipy.special import log_softmax

from sharptheory.errors import UserError
from sharptheory.learners import FiniteClass, LinearClass, Pairs, Simplex


def pairs_at(log_probs: np.ndarray, rng: np.random.Generator, n: int) -> Pairs:
    """n pairs of any two responses, with their likelihoods under a base ``[X, Y]``."""
    x, y, z = (rng.integers(size, size=n) for size in (len(log_probs), log_probs.shape[1], log_probs.shape[1]))
    return Pairs(x, y, z, log_probs[x, y], log_probs[x, z])


def xpo_objective(law, pairs: Pairs, beta: float, optimism: float, sign: float) -> float:
    """Algorithm 1's objective of one policy, a pair at a time."""
    value = 0.0
    for x, y, z, log_y, log_z in zip(pairs.prompts, pairs.first, pairs.second, pairs.log_first, pairs.log_second):
        misfit = beta * (law[x, y] - log_y) - beta * (law[x, z] - log_z) - (log_y - log_z)
        value += optimism * law[x, z] + sign * misfit**2
    return value


def disc(radius: float) -> np.ndarray:
    """Points of a disc, its circle among them, ``[K, 2]``."""
    r, angle = np.meshgrid(radius * np.sqrt(np.linspace(0, 1, 40)), np.linspace(0, 2 * np.pi, 181))
    return np.stack([(r * np.cos(angle)).ravel(), (r * np.sin(angle)).ravel()], axis=1)


@pytest.mark.parametrize("seed", range(10))
def test_finite_minimisers_are_those_of_a_loop_over_members(seed):
    rng = np.random.default_rng(seed)
    base, members = log_softmax(rng.normal(size=(2, 3)), axis=1), log_softmax(rng.normal(size=(5, 2, 3)), axis=2)
    members = FiniteClass(np.concatenate([members, members[:2]]))  # duplicates: the first of equals is returned
    pairs, counts = pairs_at(base, rng, 6), rng.integers(0, 4, size=(2, 3)).astype(float)
    likelihood = [sum(counts[x, y] * m[x, y] for x in range(2) for y in range(3)) for m in members.members]
    np.testing.assert_array_equal(members.fit(counts), members.members[int(np.argmax(likelihood))])
    losses = [xpo_objective(m, pairs, 0.3, 0.0, 1.0) for m in members.members]
    np.testing.assert_allclose(members.regression_losses(pairs, 0.3), losses, rtol=1e-10, atol=1e-12)
    for optimism, sign in itertools.product((0.0, 0.5), (1.0, -1.0)):
        values = [xpo_objective(m, pairs, 0.3, optimism, sign) for m in members.members]
        found = members.optimistic(pairs, 0.3, optimism, sign)
        np.testing.assert_array_equal(found, members.members[int(np.argmin(np.round(values, 12)))])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("optimism", [0.0, 0.3])
def test_the_objective_of_xpo_is_minimised_over_the_disc(sign, optimism):
    """No point of a grid of 7,000 is better than the policy returned, on 30 instances of each kind."""
    rng = np.random.default_rng(2)
    for _ in range(30):
        features, radius = rng.normal(size=(2, 4, 2)), float(rng.choice([0.5, 2.0, 8.0]))
        members, base = LinearClass(features, bound=radius), log_softmax(rng.normal(size=(2, 4)), axis=1)
        pairs, beta = pairs_at(base, rng, int(rng.integers(1, 6))), float(rng.choice([0.1, 0.5, 2.0]))
        tables = log_softmax(np.einsum("xyd,kd->kxy", features, disc(radius)), axis=2)
        gaps = (tables - base)[:, pairs.prompts, pairs.first] - (tables - base)[:, pairs.prompts, pairs.second]
        misfit = beta * gaps - (pairs.log_first - pairs.log_second)
        grid = optimism * tables[:, pairs.prompts, pairs.second].sum(axis=1) + sign * np.square(misfit).sum(axis=1)
        found = xpo_objective(members.optimistic(pairs, beta, optimism, sign), pairs, beta, optimism, sign)
        assert found <= grid.min() + 1e-6 * max(1.0, abs(grid.min()))


def test_linear_fit_and_regression_are_minimised_over_the_disc():
    rng = np.random.default_rng(1)
    for _ in range(30):
        features, radius = rng.normal(size=(2, 4, 2)), float(rng.choice([0.5, 2.0, 8.0]))
        members, base = LinearClass(features, bound=radius), log_softmax(rng.normal(size=(2, 4)), axis=1)
        counts, pairs = rng.integers(0, 5, size=(2, 4)) + np.eye(2, 4), pairs_at(base, rng, 3)
        grid = disc(radius)
        tables = log_softmax(np.einsum("xyd,kd->kxy", features, grid), axis=2)
        assert np.sum(counts * members.fit(counts)) >= (tables * counts).sum(axis=(1, 2)).max() - 1e-6
        loss = xpo_objective(members.regress(pairs, 0.4), pairs, 0.4, 0.0, 1.0)
        assert loss <= min(xpo_objective(table, pairs, 0.4, 0.0, 1.0) for table in tables[::7]) + 1e-9


def test_on_the_sphere_the_gradient_points_out():
    """Karush-Kuhn-Tucker: outside the ball the free minimiser is replaced by θ of length B with gradient ``-λθ``, λ ≥ 0."""
    rng, outside = np.random.default_rng(2), 0
    for _ in range(40):
        features, counts = rng.normal(size=(2, 5, 3)), rng.integers(1, 6, size=(2, 5)).astype(float)
        radius = float(rng.choice([0.05, 0.3, 1.0]))
        theta = LinearClass(features, bound=radius).fit_theta(counts)
        assert np.linalg.norm(theta) <= radius * (1 + 1e-12)
        if np.linalg.norm(LinearClass(features).fit_theta(counts)) > radius:
            outside += 1
            law = np.exp(log_softmax(features @ theta, axis=1))
            expected = np.einsum("x,xy,xyd->d", counts.sum(axis=1), law, features)
            gradient = (expected - np.einsum("xy,xyd->d", counts, features)) / counts.sum()
            assert np.linalg.norm(theta) == pytest.approx(radius, rel=1e-7)
            multiplier = -float(gradient @ theta) / radius**2
            assert multiplier > 0
            np.testing.assert_allclose(gradient, -multiplier * theta, atol=1e-6)
    assert outside > 15


@pytest.mark.parametrize(
    ("counts", "separable"),
    [
        ([[5, 0, 0]], True),  # one response, at a corner
        ([[5, 3, 0]], True),  # two responses, on an edge
        ([[5, 3, 1]], False),
        ([[0, 0, 0, 4]], False),  # inside the others' convex hull
        ([[0, 2, 2, 0]], True),
    ],
)
def test_separable_counts_have_no_maximum_likelihood(counts, separable):
    counts = np.array(counts, dtype=float)
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.3, 0.3]])[: counts.shape[1]]
    if separable:
        with pytest.raises(ValueError, match="bound=inf: the counts are separable"):
            LinearClass(corners[None]).fit(counts)
        assert np.linalg.norm(LinearClass(corners[None], bound=3.0).fit_theta(counts)) == pytest.approx(3.0)
    else:
        law = np.exp(LinearClass(corners[None]).fit(counts))[0]
        np.testing.assert_allclose(law @ corners, counts[0] @ corners / counts.sum(), atol=1e-6)


def test_prompts_without_counts_do_not_matter_to_separability():
    features = np.stack([np.eye(3), -np.eye(3)])
    counts = np.array([[3.0, 2.0, 1.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(np.exp(LinearClass(features).fit(counts))[0], [1 / 2, 1 / 3, 1 / 6], atol=1e-6)


def test_a_response_that_the_base_never_gives_rules_out_who_gives_it():
    with np.errstate(divide="ignore"):
        base = np.log([[0.6, 0.4, 0.0]])
        members = FiniteClass(np.log([[[0.5, 0.3, 0.2]], [[0.6, 0.4, 0.0]], [[0.36 / 0.52, 0.16 / 0.52, 0.0]]]))
    pairs = Pairs(np.zeros(2, int), np.array([2, 0]), np.array([0, 1]), base[0, [2, 0]], base[0, [0, 1]])
    losses = members.regression_losses(pairs, 1.0)
    np.testing.assert_allclose(losses, [np.inf, np.log(1.5) ** 2, 0.0], atol=1e-12)
    with pytest.raises(ValueError, match="at prompt 0 the base gives response 2 or 0 no mass"):
        LinearClass(np.eye(3)[None], bound=2.0).regress(pairs, 1.0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FiniteClass(np.zeros((2, 3))), r"members has shape \(2, 3\); expected \[K, X, Y\]"),
        (lambda: FiniteClass(np.full((1, 1, 2), 0.5)), r"members\[0, 0\] sums to 3\.29744"),
        (lambda: FiniteClass(np.full((1, 1, 2), np.nan)), r"members\[0, 0\] sums to nan"),
        (lambda: LinearClass(np.eye(3)), r"features has shape \(3, 3\)"),
        (lambda: LinearClass(np.full((1, 2, 1), np.inf)), r"features\[0, 0, 0\] is not finite"),
        (lambda: LinearClass(np.eye(3)[None], bound=0.0), r"bound=0\.0"),
    ],
)
def test_bad_classes_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_simplex_is_the_empirical_law():
    law = Simplex((2, 2)).fit(np.array([[3.0, 1.0], [0.0, 0.0]]))
    np.testing.assert_allclose(np.exp(law), [[0.75, 0.25], [0.5, 0.5]])


CLASSES = {
    "Simplex": Simplex((1, 3)),
    "FiniteClass": FiniteClass(np.log([[[0.5, 0.3, 0.2]]])),
    "LinearClass": LinearClass(np.eye(3)[None], bound=2.0),
}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([[1, 2]], r"counts has shape \(1, 2\); expected \(1, 3\), as the class"),
        ([[1, 2], [1, 2, 3]], "counts is no table of numbers"),
        ([["a", "b", "c"]], "counts is no table of numbers"),
        ([[1, -2, 3]], "counts: -2; expected finite numbers ≥ 0"),
        ([[1, np.nan, 3]], "counts: nan"),
        ([[1, np.inf, 3]], "counts: inf"),
    ],
)
def test_counts_are_finite_numbers_of_the_class(name, counts, message):
    assert CLASSES[name].fit([[3, 2, 1]]).shape == (1, 3)
    with pytest.raises(UserError, match=message):
        CLASSES[name].fit(counts)


def test_a_linear_class_needs_something_seen():
    for bound in (2.0, np.inf):
        with pytest.raises(UserError, match="counts are all 0"):
            LinearClass(np.eye(3)[None], bound).fit(np.zeros((1, 3)))


@pytest.mark.parametrize("name", ["FiniteClass", "LinearClass"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompts": [1, 0]}, r"pairs.prompts: \[1, 0\]; expected whole numbers \[n\] from 0 to 0"),
        ({"first": [0, 3]}, r"pairs.first: \[0, 3\]; expected whole numbers \[n\] from 0 to 2"),
        ({"second": [0, -1]}, "pairs.second"),
        ({"second": [0.5, 0]}, "pairs.second"),
        ({"first": [0]}, "pairs: lengths .*'first': 1.*; expected one for all"),
        ({"log_first": [np.nan, 0]}, "pairs.log_first holds NaN"),
        ({"beta": 0.0}, "beta=0.0"),
        ({"beta": np.nan}, "beta=nan"),
    ],
)
def test_pairs_are_of_the_class(name, change, message):
    good = dict(
        prompts=[0, 0], first=[0, 1], second=[1, 2], log_first=np.log([0.5, 0.3]), log_second=np.log([0.3, 0.2])
    )
    given = {key: np.array(value) for key, value in {**good, **change}.items() if key != "beta"}
    with pytest.raises(UserError, match=message):
        CLASSES[name].regress(Pairs(**given), change.get("beta", 1.0))


def test_classes_refuse_what_is_no_table():
    for table in ([[["a"]]], [[[1.0]], [[1.0], [2.0]]]):
        with pytest.raises(UserError, match="members is no table of numbers"):
            FiniteClass(table)
        with pytest.raises(UserError, match="features is no table of numbers"):
            LinearClass(table)
    with pytest.raises(UserError, match="bound=nan"):
        LinearClass(np.eye(3)[None], np.nan)
    with pytest.raises(UserError, match=r"theta has shape \(2,\); expected \(3,\)"):
        CLASSES["LinearClass"].table([1.0, 2.0])
