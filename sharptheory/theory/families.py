"""Hard instances of sharpening: the lower-bound family (`sharptheory.theory.hard_family`), token trees, packings."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from sharptheory.errors import UserError, expect_integers, expect_numbers
from sharptheory.theory.hard_family import (
    HardFamily,
    adaptive_on_hardest,
    hardest,
    minimax_lower_bound,
    sft_on_hardest,
)
from sharptheory.theory.occupancy import identification_error
from sharptheory.theory.policies import AutoregressivePolicy, LinearSoftmaxPolicy
from sharptheory.theory.rows import as_floats, expect_room
from sharptheory.theory.votes import smallest

__all__ = [
    "HardFamily",
    "adaptive_on_hardest",
    "cut_size",
    "greedy_fails",
    "hardest",
    "identification_error",
    "max_cut",
    "max_cut_policy",
    "minimax_lower_bound",
    "misspecified",
    "packing_policy",
    "sft_on_hardest",
    "smallest",
]

# Token trees ----------------------------------------------------------------------------------------------------------


def greedy_fails(mass: float) -> AutoregressivePolicy:
    """A policy with ``π(y*) = mass < 1/2`` on which token-wise greedy decoding misses ``y*``. Source: Proposition 3.1.

    The first token 0 has probability `mass` and one continuation; token 1 has the rest, spread evenly.

    Args:
        mass: in (0, 1/2); the tree has ``1/mass²`` leaves.

    Raises:
        UserError: `mass` is out of range, or so small that the tree has no room.
    """
    expect_numbers("(0, 0.5)", mass=mass)
    expect_room((1 / mass) ** 2 if mass > 1e-150 else np.inf, mass=mass)
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

    Raises:
        UserError: fewer than 3 tokens or too many, a strength that is not finite, or a theta of another shape.

    Source: Proposition E.2.
    """
    expect_integers(3, n=n)
    expect_room(n**2, n=n)
    strength = np.log(n) + 2 if strength is None else strength
    expect_numbers("(-inf, inf)", strength=strength)
    theta = np.array([[strength, 0.0], [strength, 0.0]]) if theta is None else as_floats(theta, "theta")
    if theta.shape != (2, 2) or not np.isfinite(theta).all():
        raise UserError(f"theta={theta.tolist()}; expected finite numbers [2, 2]")
    first, second = np.full(n, theta[0, 1]), np.zeros((n, n))
    first[:2] = theta[0, 0]
    second[1] = theta[1, 1]
    second[1, 0] = theta[1, 0]
    depths = []
    for logits in (first[None], second):
        shifted = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        depths.append(np.concatenate([shifted, np.full((len(logits), 1), -np.inf)], axis=1)[None])
    return AutoregressivePolicy(tuple(depths))


def max_cut_policy(n_vertices: int, edges: Sequence[tuple[int, int]], *, strength: float = 2.0) -> AutoregressivePolicy:
    """A policy whose sequence argmax is a maximum cut: finding it is NP-hard.

    The first tokens choose a side ``s_v`` for each vertex, uniformly. Then one bit per edge ``(u, v)``, with logit
    ``B s_u XOR s_v = B (s_u + s_v - 2 s_u s_v)`` for 1: a linear softmax policy with features cubic in the tokens. The
    likeliest bit has probability ``σ(B)`` on a cut edge and 1/2 on another, so the likeliest completion of a cut of
    size c has ``2^{-n} σ(B)^c 2^{-(|E|-c)}``, increasing in c.

    Args:
        n_vertices: n; edges: pairs of vertices; strength: B > 0. The tree has ``2^{n+|E|}`` leaves.

    Raises:
        UserError: no edges, an edge is no pair of different vertices, B is not positive, or the tree has no room.

    Source: Proposition E.1.
    """
    _check_graph(n_vertices, edges)
    expect_numbers("(0, inf)", strength=strength)
    expect_room(2.0 ** min(n_vertices + len(edges), 1_000), n_vertices=n_vertices, edges=f"{len(edges)} of them")
    depths = []
    for h in range(n_vertices + len(edges)):
        logits = np.zeros((2**h, 3))
        logits[:, 2] = -np.inf
        if h >= n_vertices:
            prefixes = np.arange(2**h)
            u, v = (prefixes >> (h - 1 - vertex) & 1 for vertex in edges[h - n_vertices])
            logits[:, 1] = strength * (u + v - 2 * u * v)
        depths.append((logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))[None])
    return AutoregressivePolicy(tuple(depths))


def _check_graph(n_vertices: int, edges: Sequence[tuple[int, int]]) -> None:
    expect_integers(2, n_vertices=n_vertices)
    if not edges:
        raise UserError("edges is empty; expected pairs of vertices")
    _check_edges(n_vertices, edges)


def _check_edges(n_vertices: int, edges: Sequence[tuple[int, int]]) -> None:
    if isinstance(edges, str) or not isinstance(edges, Iterable):
        raise UserError(f"edges={edges!r}; expected pairs of vertices")
    for edge in edges:
        if np.shape(edge) != (2,) or edge[0] == edge[1]:
            raise UserError(f"edges holds {edge!r}; expected pairs of different vertices")
        expect_integers(0, n_vertices - 1, **{"a vertex of edges": edge[0]})
        expect_integers(0, n_vertices - 1, **{"a vertex of edges": edge[1]})


def cut_size(sides: Sequence[int], edges: Sequence[tuple[int, int]]) -> int:
    """Number of edges between the two sides.

    Args:
        sides: 0 or 1 per vertex. edges: pairs of vertices.

    Raises:
        UserError: a side is neither 0 nor 1, or an edge is no pair of different vertices that have a side.
    """
    if np.ndim(sides) != 1:
        raise UserError(f"sides={sides!r}; expected 0 or 1 for each vertex")
    for side in sides:
        expect_integers(0, 1, **{"a side of sides": side})
    _check_edges(len(sides), edges)
    return _cut(sides, edges)


def _cut(sides: Sequence[int], edges: Sequence[tuple[int, int]]) -> int:
    return sum(sides[u] != sides[v] for u, v in edges)


def max_cut(n_vertices: int, edges: Sequence[tuple[int, int]]) -> int:
    """Size of a maximum cut, by brute force over the ``2^n`` of them.

    Args:
        n_vertices: n. edges: pairs of vertices.

    Raises:
        UserError: as `max_cut_policy`.
    """
    _check_graph(n_vertices, edges)
    expect_room(2.0 ** min(n_vertices, 1_000), n_vertices=n_vertices)
    return max(_cut(sides, edges) for sides in itertools.product((0, 1), repeat=n_vertices))


# Separation of SFT- and RLHF-Sharpening -------------------------------------------------------------------------------


def packing_policy(dimension: int, n_points: int, *, seed: int = 0, scale: float = 1.0) -> LinearSoftmaxPolicy:
    """Example J.1: responses are a 1/4-packing of the sphere, ``φ(y) = y`` and ``θ* = scale · y*``.

    The margin is at least ``e^{scale/32} - 1`` whatever the dimension, while ``C_cov`` grows with the packing, which
    may have ``exp(Θ(d))`` points: SFT-Sharpening needs about ``C_cov`` responses, RLHF-Sharpening pairs whose differences
    span ``R^d`` [S3].

    Args:
        dimension: d ≥ 2; n_points: size of the packing; response 0 is ``y*``.

    Raises:
        UserError: no such packing was found among random points.
    """
    expect_integers(2, dimension=dimension, n_points=n_points)
    expect_room(dimension * n_points, dimension=dimension, n_points=n_points)
    expect_numbers("(-inf, inf)", scale=scale)
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
