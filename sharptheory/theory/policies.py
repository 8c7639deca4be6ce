"""Policies whose whole law is known: tables, linear softmax policies and token trees."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from sharptheory.decoding.beam import beam_search
from sharptheory.errors import UserError, expect_numbers
from sharptheory.files import read_csv
from sharptheory.theory.rows import SUM_TOLERANCE, as_floats, expect_room, log_sums, row_chunks
from sharptheory.theory.tilts import power


@dataclass(frozen=True, eq=False)
class TabularPolicy:
    """A policy ``π(y|x)`` as a table, with the distribution of its prompts.

    >>> policy = TabularPolicy.from_probs([[0.5, 0.3, 0.2], [0.9, 0.1, 0.0]], mu=[0.25, 0.75])
    >>> policy.shape
    (2, 3)
    >>> TabularPolicy.from_probs([[0.5, 0.4]])
    Traceback (most recent call last):
    sharptheory.errors.UserError: log_probs[0] sums to 0.9, off by -0.1; expected 1; weights need normalize=True (--normalize)

    Args:
        log_probs: log-probabilities in nats, ``[X, Y]`` (``[Y]`` for one prompt); ``-inf`` allowed, so prompts with
            fewer responses are padded with it. A memory-mapped array is not copied as a whole unless its rows must be
            normalised: they miss a sum of 1 by more than 1e-9, or than 1e-6 where its numbers have less precision.
        mu: prompt probabilities, ``[X]``; default uniform.
        normalize: take `log_probs` and `mu` as unnormalised weights instead of refusing those that do not sum to 1
            within 1e-6, or within what rounding to the precision of `log_probs` explains.

    Raises:
        UserError: naming argument, index and expectation.
    """

    log_probs: np.ndarray
    mu: np.ndarray | None = None
    normalize: bool = False

    def __post_init__(self):
        mapped = (
            isinstance(self.log_probs, np.memmap)
            and self.log_probs.dtype.kind in "fiu"
            and self.log_probs.itemsize <= 8
        )
        precision = _precision(self.log_probs)
        table = np.atleast_2d(self.log_probs if mapped else as_floats(self.log_probs, "log_probs"))
        if table.ndim != 2 or 0 in table.shape:
            raise UserError(f"log_probs has shape {np.shape(self.log_probs)}; expected [X, Y] with X, Y ≥ 1")
        object.__setattr__(self, "log_probs", table)
        object.__setattr__(self, "mu", prompt_distribution(self.mu, len(table), normalize=self.normalize))
        sums = np.empty(len(table))
        for rows in row_chunks(table.shape):
            chunk = np.asarray(table[rows], dtype=float)
            bad = np.isnan(chunk) | (chunk == np.inf)
            if not self.normalize:
                bad |= chunk > max(SUM_TOLERANCE, precision)
            if bad.any():
                i, j = np.argwhere(bad)[0]
                raise UserError(
                    f"log_probs[{rows.start + i}, {j}] is {chunk[i, j]:g}; expected a log-probability ≤ 0, in nats"
                )
            sums[rows] = log_sums(chunk)
        self._check_sums(sums, np.inf if self.normalize else max(SUM_TOLERANCE, precision))
        # Rounding of the sum itself is left alone, sparing a copy of the table.
        if np.any(np.abs(sums) > (min(max(1e-9, precision), SUM_TOLERANCE) if mapped else 1e-12)):
            with np.errstate(over="ignore"):
                object.__setattr__(self, "log_probs", log_softmax(np.asarray(table, dtype=float), axis=1))

    @staticmethod
    def _check_sums(sums: np.ndarray, tolerance: float) -> None:
        if np.any(sums == -np.inf):
            raise UserError(f"log_probs[{int(np.argmin(sums))}] is all -inf; expected a response with positive mass")
        with np.errstate(over="ignore"):
            off = np.abs(np.expm1(sums))
        if np.any(off > tolerance):
            i = int(np.argmax(off))
            raise UserError(
                f"log_probs[{i}] sums to {np.exp(sums[i]):.9g}, off by {np.expm1(sums[i]):+.3g}; expected 1; "
                "weights need normalize=True (--normalize)"
            )

    @classmethod
    def from_probs(cls, probs, mu=None, *, normalize: bool = False) -> TabularPolicy:
        """From probabilities ``[X, Y]``, or from non-negative weights if `normalize`.

        Args:
            probs: ≥ 0, ``[X, Y]`` (``[Y]`` for one prompt). mu: prompt probabilities, ``[X]``; default uniform.
            normalize: take both as weights.

        Raises:
            UserError: an entry is negative or infinite, or a row does not sum to 1.
        """
        probs = np.atleast_2d(as_floats(probs, "probs"))
        bad = ~(probs >= 0) | (probs == np.inf)
        if bad.any():
            index = np.argwhere(bad)[0].tolist()
            raise UserError(f"probs{index} is {probs[tuple(index)]:g}; expected a probability in [0, 1]")
        with np.errstate(divide="ignore"):
            return cls(np.log(probs), mu, normalize)

    @classmethod
    def from_logits(cls, logits, mu=None) -> TabularPolicy:
        """From unnormalised log-weights ``[X, Y]``: the row-wise softmax.

        Args:
            logits: nats. mu: prompt probabilities or weights ``[X]``; default uniform.
        """
        return cls(logits, mu, normalize=True)

    @classmethod
    def from_counts(cls, counts, mu=None) -> TabularPolicy:
        """From how often each response was seen, ``[X, Y]``: the maximum-likelihood table.

        Args:
            counts: ≥ 0. mu: prompt probabilities or weights ``[X]``; default uniform.
        """
        return cls.from_probs(counts, mu, normalize=True)

    @classmethod
    def from_file(cls, path: str | Path, *, normalize: bool = False) -> TabularPolicy:
        """Read a table, one row per prompt.

        ``.npz`` with `log_probs` or `probs`, and `mu` if not uniform; ``.npy`` of log-probabilities (memory-mapped);
        ``.csv`` or ``.parquet`` of probabilities, one column per response and optionally a column ``mu``. Missing
        entries are responses without mass.

        The first line of a CSV file names its columns. A first line of numbers is data, like all others, unless they
        are the numbers of the columns, ``0,1,2,…``, as pandas writes them; ``0,1`` could be either and is refused.

        Args:
            path: of the table. normalize: take its numbers as weights.

        Raises:
            UserError: naming the file, the line of a CSV file, and what is wrong with it.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"policy file {path} does not exist")
        if path.suffix == ".csv":
            probs, mu = _read_csv(path)
        try:
            if path.suffix == ".npy":
                return cls(np.lib.format.open_memmap(path, mode="r"), normalize=normalize)
            if path.suffix == ".npz":
                with np.load(path, allow_pickle=False) as held:
                    mu = held["mu"] if "mu" in held else None
                    if "log_probs" in held:
                        return cls(held["log_probs"], mu, normalize)
                    if "probs" in held:
                        return cls.from_probs(held["probs"], mu, normalize=normalize)
                    raise UserError(f"has {sorted(held)}; expected an array named log_probs or probs")
            if path.suffix == ".parquet":
                frame = pd.read_parquet(path)
                text = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
                if text:
                    raise UserError(
                        f"column {text[0]!r} is not numeric; expected probabilities, one column per response"
                    )
                mu = frame.pop("mu").to_numpy() if "mu" in frame else None
                probs = frame.fillna(0.0).to_numpy(dtype=float)
            if path.suffix in (".csv", ".parquet"):
                return cls.from_probs(probs, mu, normalize=normalize)
        except Exception as error:  # numpy, zipfile, zlib and pyarrow raise what they like for a damaged file
            raise UserError(f"{path}: {error}") from error
        raise UserError(f"{path}: expected .npz, .npy, .csv or .parquet")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of prompts and of responses, ``(X, Y)``."""
        return self.log_probs.shape

    @property
    def probs(self) -> np.ndarray:
        """Probabilities ``[X, Y]``; those below 1e-308 underflow to 0."""
        return np.exp(self.log_probs)

    def chunks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Row slices and their log-probabilities, a cacheful at a time: for one pass over a table of any size."""
        for rows in row_chunks(self.shape):
            yield rows, np.asarray(self.log_probs[rows], dtype=float)

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """``function(log_probs[rows])`` over all rows, a cacheful at a time, joined: ``[X, …]``.

        So any law runs on a memory-mapped table: ``policy.map(lambda rows: adaptive_best_of_n(rows, 3.0).expected_n)``.

        Args:
            function: of rows ``[B, Y]`` of log-probabilities in nats; returns ``[B, …]``.
        """
        return np.concatenate([np.asarray(function(chunk)) for _, chunk in self.chunks()])


@dataclass(frozen=True, eq=False)
class LinearSoftmaxPolicy:
    """``π_θ(y|x) ∝ exp⟨θ, φ(x, y)⟩``.

    Args:
        features: ``φ``, ``[X, Y, d]`` (``[Y, d]`` for one prompt).
        theta: ``θ``, ``[d]``.
        mu: prompt probabilities ``[X]``; default uniform.

    Raises:
        UserError: naming argument, index and expectation.
    """

    features: np.ndarray
    theta: np.ndarray
    mu: np.ndarray | None = None

    def __post_init__(self):
        features, theta = as_floats(self.features, "features"), np.atleast_1d(as_floats(self.theta, "theta"))
        features = features[None] if features.ndim == 2 else features
        if features.ndim != 3 or 0 in features.shape:
            raise UserError(f"features has shape {features.shape}; expected [X, Y, d] with X, Y, d ≥ 1")
        if theta.shape != features.shape[-1:]:
            raise UserError(f"theta has shape {theta.shape}; expected {features.shape[-1:]}, as features")
        for name, array in (("features", features), ("theta", theta)):
            if not np.isfinite(array).all():
                raise UserError(f"{name}{np.argwhere(~np.isfinite(array))[0].tolist()} is not finite")
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "theta", theta)
        object.__setattr__(self, "mu", prompt_distribution(self.mu, len(features)))

    def table(self) -> TabularPolicy:
        """The same policy as a table."""
        return TabularPolicy(log_softmax(self.features @ self.theta, axis=-1), self.mu, normalize=True)


@dataclass(frozen=True, eq=False)
class AutoregressivePolicy:
    """Sequences of at most H tokens from a vocabulary of V, each ended by an end-of-sequence token or by its length.

    Args:
        conditionals: for each depth ``h = 0..H-1`` the log-probabilities of the next token given each prefix,
            ``[X, V**h, V + 1]``. Prefix ``(t_1..t_h)`` has index ``Σ t_i V^{h-i}``; the last column is end of sequence
            (all ``-inf`` where sequences have a fixed length).
        mu: prompt probabilities ``[X]``; default uniform.

    Raises:
        UserError: naming depth, prompt and prefix.
    """

    conditionals: tuple[np.ndarray, ...]
    mu: np.ndarray | None = None

    def __post_init__(self):
        depths = tuple(as_floats(conditional, f"conditionals[{h}]") for h, conditional in enumerate(self.conditionals))
        if not depths or depths[0].ndim != 3:
            raise UserError("conditionals is empty or its first entry is not [X, 1, V + 1]")
        n_prompts, _, width = depths[0].shape
        for h, conditional in enumerate(depths):
            expected = (n_prompts, (width - 1) ** h, width)
            if conditional.shape != expected:
                raise UserError(f"conditionals[{h}] has shape {conditional.shape}; expected {expected}")
            sums = log_sums(conditional.reshape(-1, width))
            # A prefix that cannot occur may have any continuation, or none.
            bad = np.isnan(sums) | ((sums > -np.inf) & (np.abs(np.expm1(sums)) > SUM_TOLERANCE))
            if bad.any():
                x, prefix = divmod(int(np.argmax(bad)), conditional.shape[1])
                raise UserError(f"conditionals[{h}][{x}, {prefix}] sums to {np.exp(sums[bad][0]):.9g}; expected 1")
        object.__setattr__(self, "conditionals", depths)
        object.__setattr__(self, "mu", prompt_distribution(self.mu, n_prompts))

    @property
    def n_tokens(self) -> int:
        """Vocabulary size V, end of sequence not counted."""
        return self.conditionals[0].shape[-1] - 1

    @property
    def horizon(self) -> int:
        """Largest length H."""
        return len(self.conditionals)

    @functools.cached_property
    def responses(self) -> list[tuple[int, ...]]:
        """All sequences, without end of sequence, in the order of the columns of `table`: by length, then index."""
        return [y for h in range(self.horizon + 1) for y in itertools.product(range(self.n_tokens), repeat=h)]

    def next_token(self, prompts: Sequence[int], prefixes: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Log-probabilities of the token after each prefix, ``[B, V + 1]``; after H tokens end of sequence is certain.

        Args:
            prompts: indices, ``[B]``. prefixes: tokens so far, ``[B]``.
        """
        rows = np.full((len(prefixes), self.n_tokens + 1), -np.inf)
        rows[:, -1] = 0.0
        for row, x, prefix in zip(rows, prompts, prefixes):
            if len(prefix) < self.horizon:
                index = functools.reduce(lambda i, token: i * self.n_tokens + token, prefix, 0)
                row[:] = self.conditionals[len(prefix)][x, index]
        return rows

    @classmethod
    def from_table(cls, policy: TabularPolicy) -> AutoregressivePolicy:
        """A table as sequences of one token each.

        Args:
            policy: ``[X, Y]``.
        """
        never = np.full((len(policy.log_probs), 1), -np.inf)
        return cls((np.concatenate([policy.log_probs, never], axis=1)[:, None],), policy.mu)

    def table(self) -> TabularPolicy:
        """The law of the sequences, enumerated: ``[X, Σ_h V^h]``."""
        leaves = self.conditionals[-1].shape[1] * (self.n_tokens + 1)
        expect_room(len(self.mu) * leaves, n_tokens=self.n_tokens, horizon=self.horizon)
        prefix, columns = np.zeros((len(self.mu), 1)), []
        for conditional in self.conditionals:
            columns.append(prefix + conditional[..., -1])
            prefix = (prefix[..., None] + conditional[..., :-1]).reshape(len(self.mu), -1)
        return TabularPolicy(np.concatenate([*columns, prefix], axis=1), self.mu)

    def greedy(self) -> list[tuple[int, ...]]:
        """Token-wise greedy decoding of each prompt; ties go to the smallest token (Proposition 3.1)."""
        return [rows[0] for rows in self.beam(1)]

    def beam(self, width: int) -> list[list[tuple[int, ...]]]:
        """Beam search: up to `width` sequences per prompt, likeliest first.

        Args:
            width: ≥ 1.

        Raises:
            UserError: `width` is below 1.
        """
        found = beam_search(
            self.next_token, [self.n_tokens], range(len(self.mu)), width=width, max_tokens=self.horizon + 1
        )
        return [[tokens[:-1] for tokens, _ in ranked] for ranked in found]

    def tempered(self, temperature: float) -> AutoregressivePolicy:
        """Token-level temperature: each conditional raised to ``1/T`` and renormalised. Not the sequence law's power.

        Args:
            temperature: T > 0; at inf the uniform law on what is possible.

        Raises:
            UserError: T is not positive.
        """
        expect_numbers("(0, inf]", temperature=temperature)
        uniform = -np.log(self.n_tokens + 1)
        with np.errstate(over="ignore", divide="ignore"):
            exponent = np.divide(1.0, temperature)
        return AutoregressivePolicy(
            tuple(
                power(np.where(np.all(depth == -np.inf, axis=-1, keepdims=True), uniform, depth), exponent)
                for depth in self.conditionals
            ),
            self.mu,
        )


def _precision(table) -> float:
    """How much rounding to the type of a table can move a sum of its probabilities."""
    kind = getattr(table, "dtype", np.dtype(float))
    return 64 * float(np.finfo(kind).eps) if kind.kind == "f" else 0.0


def _read_csv(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The table of a CSV file, and its column ``mu`` if it has one."""
    lines = list(read_csv(path))
    if not lines:
        raise UserError(f"{path} is empty; expected probabilities, one row per prompt")
    names = [name.strip() for name in lines[0][1]]
    width = len(names)
    numbered = names == [str(i) for i in range(width)]
    if numbered and width == 2:
        raise UserError(f"{path}:1 is 0,1: numbers of columns or probabilities; expected names, like y0,y1")
    if numbered or any(_number(name) is None for name in names):
        if "" in names:
            raise UserError(f"{path}:1: column {names.index('') + 1} has no name; expected one per response, or mu")
        lines = lines[1:]
    else:
        names = []
    table = np.zeros((len(lines), width))
    for row, (line, fields) in zip(table, lines):
        if len(fields) > width:
            raise UserError(f"{path}:{line} has {len(fields)} fields; expected {width}, as line 1")
        for y, field in enumerate(fields):
            value = _number(field) if field.strip() else 0.0
            if value is None:
                name = f" ({names[y]})" if names else ""
                raise UserError(f"{path}:{line}, column {y + 1}{name}: found {field!r}; expected a number")
            row[y] = value
    if "mu" not in names:
        return table, None
    return np.delete(table, names.index("mu"), axis=1), table[:, names.index("mu")]


def _number(text: str) -> float | None:
    """The number that a text is, and nothing that only Python takes for one."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def prompt_distribution(mu, n_prompts: int, *, normalize: bool = False) -> np.ndarray:
    """Prompt probabilities ``[X]``: uniform by default, refused unless they sum to 1 (or are weights to `normalize`).

    Args:
        mu: ``[X]``, or None. n_prompts: X. normalize: take `mu` as weights.

    Raises:
        UserError: naming `mu` and what is wrong with it.
    """
    if mu is None:
        return np.full(n_prompts, 1 / n_prompts)
    return distribution(mu, n_prompts, "mu", normalize=normalize)


def distribution(values, size: int, name: str, *, normalize: bool = False) -> np.ndarray:
    """Probabilities ``[size]`` that sum to 1, refused unless they do within 1e-6 (or are weights to `normalize`).

    Args:
        values: ``[size]``. size: expected. name: of the argument, for the message. normalize: take them as weights.

    Raises:
        UserError: naming the argument and what is wrong with it.
    """
    values = np.atleast_1d(as_floats(values, name))
    if values.shape != (size,):
        raise UserError(f"{name} has shape {values.shape}; expected ({size},)")
    wrong = ~((values >= 0) & np.isfinite(values))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise UserError(f"{name}[{i}] is {values[i]:g}; expected a probability")
    with np.errstate(over="ignore"):
        total = values.sum()
    if not 0 < total < np.inf or (not normalize and abs(total - 1) > SUM_TOLERANCE):
        raise UserError(f"{name} sums to {total:.9g}; expected 1")
    return values / total
