"""Samples from the power law ``π^α / Z_α`` of the whole response: RLHF-Sharpening's target at ``α = 1 + 1/β``, untrained.

Both samplers propose tokens from ``q(v|h) ∝ π(v|h)^α``, which is low-temperature decoding, and correct for what that
gets wrong: a response ends up with weight ``π^α/q = Π_t c(h_t)``, ``c(h) = Σ_v π(v|h)^α``, and the mean of the weights
is ``Z_α = Σ_y π(y)^α``.

They see the model through its next-token probabilities alone, so a token tree, a table
(`AutoregressivePolicy.from_table`) and a language model (`TextOracle.next_token`) are one to them.

Source: Karan & Du, *Reasoning with Sampling*, arXiv 2510.14901; the acceptance ratio for responses of any length and
the sequential sampler are in docs/theory.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from sharptheory.errors import UserError
from sharptheory.oracle import NextToken, Response


@dataclass(frozen=True)
class PowerSamples:
    """Draws from ``π^α`` and how good they are.

    Attributes:
        responses: nested prompt → sample; log-likelihoods are those of ``π``, not of ``π^α``.
        acceptance: accepted proposals per prompt, ``[X]``; NaN for `smc`.
        ess: effective sample size of the final weights as a share of the particles, ``[X]``; NaN for `mcmc`.
        log_z: estimate of ``log Z_α`` per prompt, ``[X]``, ``exp`` of which is unbiased; NaN for `mcmc`.
    """

    responses: list[list[Response]]
    acceptance: np.ndarray
    ess: np.ndarray
    log_z: np.ndarray


@dataclass
class _Path:
    """A response being written: its tokens, and per token ``log π(v|h)`` and ``log c(h)``."""

    tokens: tuple[int, ...] = ()
    log_p: tuple[float, ...] = ()
    log_c: tuple[float, ...] = ()

    def cut(self, length: int) -> _Path:
        return _Path(self.tokens[:length], self.log_p[:length], self.log_c[:length])

    def plus(self, token: int, log_p: float, log_c: float) -> _Path:
        return _Path((*self.tokens, token), (*self.log_p, log_p), (*self.log_c, log_c))

    def response(self, stop_ids: frozenset[int]) -> Response:
        return Response(self.tokens, min(float(sum(self.log_p)), 0.0), self.tokens[-1] in stop_ids)


def mcmc(
    next_token: NextToken,
    stop_ids: Iterable[int],
    prompts: Sequence[int],
    *,
    alpha: float,
    chains: int = 8,
    steps: int = 64,
    exploring: float = 0.5,
    max_tokens: int,
    seed: int = 0,
) -> PowerSamples:
    """The states of independent Metropolis-Hastings chains for ``π^α`` after `steps` proposals each.

    A chain starts with a draw from ``q``. A proposal cuts the current response y at a place drawn uniformly from its
    tokens and writes the rest anew, from ``q`` or, for a share `exploring` of the proposals, from ``π`` itself, which
    finds the responses that low-temperature decoding hardly ever starts. The response y' is accepted with probability
    ``min(1, R)``, where for a proposal from ``q``, and from ``π``,

        ``R = |y|/|y'| · Π_{t ≥ cut} c(h'_t) / c(h_t)``  and  ``R = |y|/|y'| · Π_{t ≥ cut} (π(y'_t|h'_t) / π(y_t|h_t))^{α-1}``,

    each product running to the end of its own response, whatever the lengths. A cut before the first token may lead
    anywhere and the weights ``π^α/q`` are at most 1, so the chain converges geometrically from any start.

    Args:
        next_token: log-probabilities after prefixes of prompts. stop_ids: tokens that end a response.
        prompts: their numbers. chains: per prompt, all of them and all prompts advancing together.
        steps: proposals per chain; the burn-in of its single draw. exploring: share of them made from ``π``.
        max_tokens: responses are cut there, unfinished; the target is the power of the law of such responses.
        seed: with a prompt's number it decides that prompt's chains, whatever other prompts there are.
    """
    alpha, stop_ids = _check(alpha, chains, max_tokens), frozenset(stop_ids)
    rngs = {x: np.random.default_rng([seed, x]) for x in prompts}
    owner = np.repeat(np.asarray(prompts), chains)
    powers = np.full(len(owner), alpha)
    current = _complete(next_token, stop_ids, owner, [_Path()] * len(owner), alpha, powers, max_tokens, rngs)
    accepted = np.zeros(len(owner))
    for _ in range(steps):
        uniforms = np.concatenate([rngs[x].random((chains, 3)) for x in prompts])
        powers = np.where(uniforms[:, 2] < exploring, 1.0, alpha)
        cuts = [int(u * len(path.tokens)) for u, path in zip(uniforms[:, 0], current)]
        starts = [path.cut(cut) for path, cut in zip(current, cuts)]
        proposed = _complete(next_token, stop_ids, owner, starts, alpha, powers, max_tokens, rngs)
        for i, (old, new, cut) in enumerate(zip(current, proposed, cuts)):
            if powers[i] == alpha:
                log_ratio = sum(new.log_c[cut:]) - sum(old.log_c[cut:])
            else:
                log_ratio = (alpha - 1) * (sum(new.log_p[cut:]) - sum(old.log_p[cut:]))
            log_ratio += np.log(len(old.tokens) / len(new.tokens))
            if uniforms[i, 1] < np.exp(min(log_ratio, 0.0)):
                current[i] = new
                accepted[i] += 1
    rows = [current[i : i + chains] for i in range(0, len(current), chains)]
    unknown = np.full(len(prompts), np.nan)
    rate = accepted.reshape(-1, chains).mean(axis=1) / max(steps, 1)
    return PowerSamples([[path.response(stop_ids) for path in row] for row in rows], rate, unknown, unknown)


def smc(
    next_token: NextToken,
    stop_ids: Iterable[int],
    prompts: Sequence[int],
    *,
    alpha: float,
    samples: int = 8,
    particles: int | None = None,
    resample_below: float = 0.5,
    max_tokens: int,
    seed: int = 0,
) -> PowerSamples:
    """Draws from ``π^α`` by sequential Monte Carlo, with an unbiased estimate of ``Z_α``.

    Particles grow token by token from ``q``; the weight of an unfinished one is multiplied by ``c(h)`` before its next
    token is drawn, that of a finished one stays. When the effective sample size falls below `resample_below` of the
    particles, all of them, finished ones included, are resampled. Particles on the same path have the same weight, so a
    path is held once with their number, and its tokens are shared out systematically: what costs is distinct prefixes.

    Args:
        samples: draws per prompt, resampled from the final particles. particles: per prompt, default 8 per sample; more
            particles than samples make up for the spread of their weights.
        Others as in `mcmc`.
    """
    alpha, stop_ids = _check(alpha, samples, max_tokens), frozenset(stop_ids)
    k = 8 * samples if particles is None else particles
    if k < samples:
        raise UserError(f"particles={k} for samples={samples}; expected at least as many particles as samples")
    swarms = [_Swarm([_Path()], np.array([k]), np.zeros(1)) for _ in prompts]
    rngs, log_z = [np.random.default_rng([seed, x]) for x in prompts], np.zeros(len(prompts))
    for _ in range(max_tokens):
        live = [
            (place, i)
            for place, swarm in enumerate(swarms)
            for i, path in enumerate(swarm.paths)
            if not _ended(path, stop_ids, max_tokens)
        ]
        if not live:
            break
        log_probs = next_token(
            [prompts[place] for place, _ in live], [swarms[place].paths[i].tokens for place, i in live]
        )
        log_c = logsumexp(alpha * log_probs, axis=1)
        for place in dict.fromkeys(place for place, _ in live):
            swarm, rng = swarms[place], rngs[place]
            rows = np.array([row for row, (owner, _) in enumerate(live) if owner == place])
            growing = np.array([live[row][1] for row in rows])
            swarm.log_w[growing] += log_c[rows]
            if swarm.ess() < resample_below:
                log_z[place] += swarm.log_mean()
                weights = swarm.counts * np.exp(swarm.log_w - swarm.log_w.max())
                swarm.counts, swarm.log_w = _systematic(weights, k, rng), np.zeros(len(swarm.paths))
            total = swarm.counts[growing].sum()
            tempered = np.exp(alpha * log_probs[rows] - log_c[rows, None])
            children = _systematic((swarm.counts[growing, None] * tempered).ravel(), total, rng).reshape(tempered.shape)
            swarms[place] = swarm.grown(growing, children, log_probs[rows], log_c[rows])
    drawn = []
    for place, swarm in enumerate(swarms):
        log_z[place] += swarm.log_mean()
        counts = _systematic(swarm.counts * np.exp(swarm.log_w - swarm.log_w.max()), samples, rngs[place])
        row = [path.response(stop_ids) for path, count in zip(swarm.paths, counts) for _ in range(count)]
        drawn.append([row[i] for i in rngs[place].permutation(samples)])
    unknown = np.full(len(prompts), np.nan)
    return PowerSamples(drawn, unknown, np.array([swarm.ess() for swarm in swarms]), log_z)


@dataclass
class _Swarm:
    """The particles of one prompt: distinct paths, how many particles are on each, and their common weight."""

    paths: list[_Path]
    counts: np.ndarray
    log_w: np.ndarray

    def ess(self) -> float:
        """Effective sample size ``(Σw)²/Σw²`` as a share of the number of particles."""
        first, second = (logsumexp(power * self.log_w, b=self.counts) for power in (1, 2))
        return float(np.exp(2 * first - second) / self.counts.sum())

    def log_mean(self) -> float:
        return float(logsumexp(self.log_w, b=self.counts) - np.log(self.counts.sum()))

    def grown(self, growing: np.ndarray, children: np.ndarray, log_probs: np.ndarray, log_c: np.ndarray) -> _Swarm:
        """The swarm with ``children[i, v]`` particles moved on from path ``growing[i]`` by token v."""
        done = np.setdiff1d(np.flatnonzero(self.counts), growing)
        node, token = np.nonzero(children)
        paths = [
            self.paths[growing[i]].plus(int(v), float(log_probs[i, v]), float(log_c[i])) for i, v in zip(node, token)
        ]
        return _Swarm(
            [self.paths[i] for i in done] + paths,
            np.concatenate([self.counts[done], children[node, token]]),
            np.concatenate([self.log_w[done], self.log_w[growing][node]]),
        )


def _check(alpha: float, n: int, max_tokens: int) -> float:
    if not 1 <= alpha < np.inf:
        raise UserError(f"alpha={alpha}; expected a number ≥ 1 (α = 1 + 1/β)")
    if n < 1 or max_tokens < 1:
        raise UserError(f"{n} samples of at most {max_tokens} tokens; expected at least 1 of each")
    return float(alpha)


def _ended(path: _Path, stop_ids: frozenset[int], max_tokens: int) -> bool:
    return len(path.tokens) >= max_tokens or (len(path.tokens) > 0 and path.tokens[-1] in stop_ids)


def _complete(next_token, stop_ids, owner, paths: list[_Path], alpha, powers, max_tokens, rngs) -> list[_Path]:
    """Write each path to its end, its tokens drawn in proportion to its own power of ``π(v|h)``."""
    paths = list(paths)
    live = np.flatnonzero([not _ended(path, stop_ids, max_tokens) for path in paths])
    while len(live):
        log_probs = next_token(owner[live].tolist(), [paths[i].tokens for i in live])
        log_c = logsumexp(alpha * log_probs, axis=1)
        # Each prompt's stream is used in the order of its own chains, so that other prompts do not matter.
        uniforms = np.concatenate(
            [rngs[x].random(np.sum(owner[live] == x)) for x in dict.fromkeys(owner[live].tolist())]
        )
        tokens = _draw(powers[live, None] * log_probs, uniforms)
        for row, (i, token) in enumerate(zip(live, tokens)):
            paths[i] = paths[i].plus(int(token), float(log_probs[row, token]), float(log_c[row]))
        live = np.array([i for i in live if not _ended(paths[i], stop_ids, max_tokens)], dtype=int)
    return paths


def _draw(logits: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """One column per row of unnormalised ``logits [B, V]``, by inverse CDF."""
    cdf = np.cumsum(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1, dtype=float)
    tokens = (cdf <= uniforms[:, None] * cdf[:, -1:]).sum(axis=1)
    # Rounding may point past the last column that has any mass.
    return np.minimum(tokens, logits.shape[1] - 1 - np.argmax(logits[:, ::-1] > -np.inf, axis=1))


def _systematic(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """How many of `n` draws fall on each weight: ``n w/Σw`` rounded up or down, right in expectation; one uniform."""
    if n == 0:
        return np.zeros(len(weights), dtype=int)
    edges = np.cumsum(weights, dtype=float)
    counts = np.floor(np.append(0.0, edges / edges[-1] * n) + rng.random()).astype(int)
    counts[-1] = n + counts[0]  # the total is n whatever the rounding of the sums
    return np.diff(np.minimum(counts, counts[-1]))
