"""Samples from the power law ``π^α / Z_α`` of the whole response: RLHF-Sharpening's target at ``α = 1 + 1/β``, untrained.

Both samplers propose tokens from ``q(v|h) ∝ π(v|h)^α``, which is low-temperature decoding, and correct for what that
gets wrong: a response ends up with weight ``π^α/q = Π_t c(h_t)``, ``c(h) = Σ_v π(v|h)^α``, and the mean of the weights
is ``Z_α = Σ_y π(y)^α``.

They see the model through its next-token probabilities alone, so a token tree, a table
(`AutoregressivePolicy.from_table`) and a language model (`TextOracle.next_token`) are one to them.

Both are called as ``(next_token, stop_ids, prompts, *, alpha, …, max_tokens, seed)``:

* next_token: log-probabilities in nats after prefixes of prompts;
* stop_ids: tokens that end a response;
* prompts: their numbers, ``[X]``, each once; all of them advance together;
* alpha: the power, from 1 to `LARGEST_ALPHA`;
* max_tokens: responses are cut there, unfinished; the target is the power of the law of such responses;
* seed: with a prompt's number it decides that prompt's samples, whatever other prompts there are.

Source: Karan & Du, *Reasoning with Sampling*, arXiv 2510.14901; the acceptance ratio for responses of any length and
the sequential sampler are in docs/theory.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp

from sharptheory.decoding.next_token import ask
from sharptheory.errors import UserError, expect_integers
from sharptheory.oracle import NextToken, Response

#: A larger power than this makes rounding of log-probabilities decide; `best_first` finds the argmax itself.
LARGEST_ALPHA = 1e6
#: Responses per prompt beyond which memory, not time, would end a call.
LARGEST_SAMPLE = 1_000_000


@dataclass(frozen=True)
class PowerSamples:
    """Samples from ``π^α`` and how good they are.

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


@dataclass(frozen=True)
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


# Markov chains --------------------------------------------------------------------------------------------------------


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

    A chain starts with a sample from ``q``. A proposal cuts the current response y before one of its tokens, chosen
    uniformly, and writes the rest anew, from ``q`` or, for a share `exploring` of the proposals, from ``π`` itself,
    which finds the responses that low-temperature decoding hardly ever starts. The response y' is accepted with
    probability ``min(1, R)``, where for a proposal from ``q``, and from ``π``,

        ``R = |y|/|y'| · Π_{t ≥ cut} c(h'_t) / c(h_t)``  and  ``R = |y|/|y'| · Π_{t ≥ cut} (π(y'_t|h'_t) / π(y_t|h_t))^{α-1}``,

    each product running to the end of its own response, whatever the lengths. With e the share `exploring`, s the
    `steps` and L = `max_tokens` the chain is within total variation ``(1 - (1-e) Z_α/L)^s`` of ``π^α/Z_α`` from any
    start: a cut before the first token may lead anywhere, has probability ``1/|y| ≥ 1/L``, and the weights ``π^α/q``
    are at most 1. Where ``Z_α/L`` is small that promises little, and the chains may take long.

    Args:
        next_token, stop_ids, prompts, alpha, max_tokens, seed: see the module.
        chains: per prompt.
        steps: proposals per chain; the burn-in of its single sample.
        exploring: share of them made from ``π``, in [0, 1].

    Raises:
        UserError: an argument out of range, or a next-token law that is none.
    """
    stop_ids = _check(alpha, prompts, stop_ids, max_tokens)
    expect_integers(1, LARGEST_SAMPLE, chains=chains)
    expect_integers(0, steps=steps)
    if not 0 <= exploring <= 1:
        raise UserError(f"exploring={exploring}; expected a share in [0, 1]")
    rngs = {x: np.random.default_rng([seed, x]) for x in prompts}
    owner = np.repeat(np.asarray(prompts), chains)

    def complete(paths: list[_Path], powers: np.ndarray) -> list[_Path]:
        return _complete(next_token, stop_ids, owner, paths, alpha, powers, max_tokens, rngs)

    current = complete([_Path()] * len(owner), np.full(len(owner), alpha))
    accepted = np.zeros(len(owner))
    for _ in range(steps):
        uniforms = np.concatenate([rngs[x].random((chains, 3)) for x in prompts])
        powers = np.where(uniforms[:, 2] < exploring, 1.0, alpha)
        cuts = [int(u * len(path.tokens)) for u, path in zip(uniforms[:, 0], current)]
        proposed = complete([path.cut(cut) for path, cut in zip(current, cuts)], powers)
        for i, (old, new, cut) in enumerate(zip(current, proposed, cuts)):
            if uniforms[i, 1] < np.exp(min(_log_ratio(old, new, cut, alpha, powers[i]), 0.0)):
                current[i] = new
                accepted[i] += 1
    rows = [current[i : i + chains] for i in range(0, len(current), chains)]
    unknown = np.full(len(prompts), np.nan)
    rate = accepted.reshape(-1, chains).mean(axis=1) / max(steps, 1)
    return PowerSamples([[path.response(stop_ids) for path in row] for row in rows], rate, unknown, unknown)


def _log_ratio(old: _Path, new: _Path, cut: int, alpha: float, power: float) -> float:
    """``log R`` of a proposal whose tokens were sampled in proportion to ``π(v|h)^power``."""
    lengths = np.log(len(old.tokens) / len(new.tokens))
    if power == alpha:
        return lengths + sum(new.log_c[cut:]) - sum(old.log_c[cut:])
    return lengths + (alpha - 1) * (sum(new.log_p[cut:]) - sum(old.log_p[cut:]))


def _complete(next_token, stop_ids, owner, paths: list[_Path], alpha, powers, max_tokens, rngs) -> list[_Path]:
    """Write each path to its end, its tokens sampled in proportion to its own power of ``π(v|h)``."""
    paths = list(paths)
    live = np.flatnonzero([not _ended(path, stop_ids, max_tokens) for path in paths])
    while len(live):
        log_probs = ask(next_token, owner[live].tolist(), [paths[i].tokens for i in live])
        log_c = logsumexp(alpha * log_probs, axis=1)
        # Each prompt's stream is used in the order of its own chains, so that other prompts do not matter.
        uniforms = np.concatenate(
            [rngs[x].random(np.sum(owner[live] == x)) for x in dict.fromkeys(owner[live].tolist())]
        )
        tokens = _sample(powers[live, None] * log_probs, uniforms)
        for row, (i, token) in enumerate(zip(live, tokens)):
            paths[i] = paths[i].plus(int(token), float(log_probs[row, token]), float(log_c[row]))
        live = np.array([i for i in live if not _ended(paths[i], stop_ids, max_tokens)], dtype=int)
    return paths


# Sequential Monte Carlo -----------------------------------------------------------------------------------------------


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
    """Samples from ``π^α`` by sequential Monte Carlo, with an unbiased estimate of ``Z_α``.

    Particles grow token by token from ``q``; the weight of an unfinished one is multiplied by ``c(h)`` before its next
    token is sampled, that of a finished one stays. When the effective sample size falls below `resample_below` of the
    particles, all of them, finished ones included, are resampled. Particles on the same path have the same weight, so a
    path is held once with their number, and its tokens are shared out systematically: what costs is distinct prefixes.

    Args:
        next_token, stop_ids, prompts, alpha, max_tokens, seed: see the module.
        samples: per prompt, resampled from the final particles.
        particles: per prompt, default 8 per sample; more particles than samples make up for the spread of their weights.
        resample_below: share of the particles, in [0, 1].

    Raises:
        UserError: an argument out of range, or a next-token law that is none.

    The square of a table's law, and its normaliser ``Σ π²``:

    >>> import numpy as np
    >>> law = lambda prompts, prefixes: np.tile(np.log([0.6, 0.3, 0.1]), (len(prefixes), 1))
    >>> found = smc(law, [0, 1, 2], [0], alpha=2.0, samples=1000, max_tokens=1)
    >>> counts = np.bincount([response.tokens[0] for response in found.responses[0]])
    >>> bool(np.allclose(counts / 1000, np.array([0.36, 0.09, 0.01]) / 0.46, atol=0.002))
    True
    >>> round(float(np.exp(found.log_z[0])), 9)
    0.46
    """
    stop_ids = _check(alpha, prompts, stop_ids, max_tokens)
    expect_integers(1, LARGEST_SAMPLE, samples=samples)
    particles = 8 * samples if particles is None else particles
    expect_integers(1, 8 * LARGEST_SAMPLE, particles=particles)
    if particles < samples:
        raise UserError(f"particles={particles} for samples={samples}; expected at least as many particles as samples")
    if not 0 <= resample_below <= 1:
        raise UserError(f"resample_below={resample_below}; expected a share in [0, 1]")
    swarms = [_Swarm([_Path()], np.array([particles]), np.zeros(1)) for _ in prompts]
    rngs = [np.random.default_rng([seed, x]) for x in prompts]
    for _ in range(max_tokens):
        growing = [swarm.unfinished(stop_ids, max_tokens) for swarm in swarms]
        owner = [i for i, paths in enumerate(growing) for _ in paths]
        if not owner:
            break
        prefixes = [swarms[i].paths[path].tokens for i, paths in enumerate(growing) for path in paths]
        log_probs, start = ask(next_token, [prompts[i] for i in owner], prefixes), 0
        for i in dict.fromkeys(owner):
            rows = log_probs[start : start + len(growing[i])]
            start += len(rows)
            swarms[i] = swarms[i].step(growing[i], rows, alpha, resample_below, rngs[i])
    responses = [swarm.responses(samples, stop_ids, rng) for swarm, rng in zip(swarms, rngs)]
    unknown = np.full(len(prompts), np.nan)
    ess, log_z = ([float(f(swarm)) for swarm in swarms] for f in (_Swarm.ess, lambda s: s.log_z + s.log_mean()))
    return PowerSamples(responses, unknown, np.array(ess), np.array(log_z))


@dataclass(frozen=True)
class _Swarm:
    """The particles of one prompt: distinct paths, how many particles are on each, and their common weight.

    `log_z` is the logarithm of the product of the mean weights at the resampling steps so far.
    """

    paths: list[_Path]
    counts: np.ndarray
    log_w: np.ndarray
    log_z: float = 0.0

    def ess(self) -> float:
        """Effective sample size ``(Σw)²/Σw²`` as a share of the number of particles."""
        first, second = (logsumexp(power * self.log_w, b=self.counts) for power in (1, 2))
        return float(np.exp(2 * first - second) / self.counts.sum())

    def log_mean(self) -> float:
        return float(logsumexp(self.log_w, b=self.counts) - np.log(self.counts.sum()))

    def unfinished(self, stop_ids: frozenset[int], max_tokens: int) -> np.ndarray:
        """Indices of the paths that go on."""
        return np.flatnonzero([not _ended(path, stop_ids, max_tokens) for path in self.paths])

    def step(self, growing: np.ndarray, log_probs: np.ndarray, alpha: float, resample_below: float, rng) -> _Swarm:
        """One token more on each path of `growing`, whose next-token law is ``log_probs [G, V]``."""
        log_c = logsumexp(alpha * log_probs, axis=1)
        log_w = self.log_w.copy()
        log_w[growing] += log_c
        swarm = replace(self, log_w=log_w)
        if swarm.ess() < resample_below:
            swarm = swarm._resampled(rng)
        counts = swarm.counts[growing]
        tempered = np.exp(alpha * log_probs - log_c[:, None])
        children = _systematic((counts[:, None] * tempered).ravel(), counts.sum(), rng).reshape(tempered.shape)
        return swarm._grown(growing, children, log_probs, log_c)

    def _resampled(self, rng) -> _Swarm:
        counts = _systematic(self._weights(), self.counts.sum(), rng)
        return _Swarm(self.paths, counts, np.zeros(len(self.paths)), self.log_z + self.log_mean())

    def _weights(self) -> np.ndarray:
        return self.counts * np.exp(self.log_w - self.log_w.max())

    def _grown(self, growing: np.ndarray, children: np.ndarray, log_probs: np.ndarray, log_c: np.ndarray) -> _Swarm:
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
            self.log_z,
        )

    def responses(self, n: int, stop_ids: frozenset[int], rng) -> list[Response]:
        """n responses, resampled from the particles, in random order."""
        counts = _systematic(self._weights(), n, rng)
        row = [path.response(stop_ids) for path, count in zip(self.paths, counts) for _ in range(count)]
        return [row[i] for i in rng.permutation(n)]


# What both share ------------------------------------------------------------------------------------------------------


def _check(alpha: float, prompts: Sequence[int], stop_ids: Iterable[int], max_tokens: int) -> frozenset[int]:
    if not 1 <= alpha <= LARGEST_ALPHA:
        raise UserError(f"alpha={alpha}; expected a number from 1 to {LARGEST_ALPHA:g} (α = 1 + 1/β)")
    if len(prompts) == 0 or len(set(prompts)) < len(prompts):
        raise UserError(f"prompts={list(prompts)}; expected at least one number, each once")
    expect_integers(1, max_tokens=max_tokens)
    return frozenset(stop_ids)


def _ended(path: _Path, stop_ids: frozenset[int], max_tokens: int) -> bool:
    return len(path.tokens) >= max_tokens or (len(path.tokens) > 0 and path.tokens[-1] in stop_ids)


def _sample(logits: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """One column per row of unnormalised ``logits [B, V]``, by inverse CDF."""
    cdf = np.cumsum(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1, dtype=float)
    tokens = (cdf <= uniforms[:, None] * cdf[:, -1:]).sum(axis=1)
    # Rounding may point past the last column that has any mass.
    return np.minimum(tokens, logits.shape[1] - 1 - np.argmax(logits[:, ::-1] > -np.inf, axis=1))


def _systematic(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """How many of `n` samples fall on each weight: ``n w/Σw`` rounded up or down, right in expectation; one uniform."""
    if n == 0:
        return np.zeros(len(weights), dtype=int)
    edges = np.cumsum(weights, dtype=float)
    counts = np.floor(np.append(0.0, edges / edges[-1] * n) + rng.random()).astype(int)
    counts[-1] = n + counts[0]  # the total is n whatever the rounding of the sums
    return np.diff(np.minimum(counts, counts[-1]))
