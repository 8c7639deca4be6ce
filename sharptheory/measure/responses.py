"""Which samples of a pool are the same response, what each distinct response has for a likelihood, and how exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sharptheory.errors import UserError
from sharptheory.measure.pool import Pool, as_pool, shown

#: Two likelihoods of one sequence scored in two batch shapes differ by about this much (nats, float32).
LIKELIHOOD_NOISE = 1e-4
#: Distinct responses of one prompt whose probabilities add up to more than this are not those of one policy: float32 sums
#: over tokens err by far less, and what half precision adds is measured on repeated responses (`Distinct.scatter`).
TOTAL_MASS = 1.01


@dataclass(frozen=True)
class Distinct:
    """The distinct finished responses of each prompt, those of one prompt one after another.

    Attributes:
        prompt_ids: of all prompts, in the order of the samples, ``[X]``. sizes: samples of each, ``[X]``.
        prompt: position in `prompt_ids` of each distinct response, ``[D]``.
        highest, lowest: its largest and its smallest score, nats, ``[D]``.
        of_sample: which of them each sample is, -1 for one that is not finished, ``[samples]``.
        scatter: by how much the scores of one response differ at most, per prompt, nats, ``[X]``; 0 where it cannot be
            known, because responses have no token ids.
    """

    prompt_ids: pd.Index
    sizes: np.ndarray
    prompt: np.ndarray
    highest: np.ndarray
    lowest: np.ndarray
    of_sample: np.ndarray
    scatter: np.ndarray

    @property
    def mass(self) -> np.ndarray:
        """Total probability S of the distinct responses of each prompt, by their largest scores, ``[X]``."""
        return self.total(np.exp(self.highest))

    @property
    def is_likeliest(self) -> np.ndarray:
        """Whether a distinct response has the largest score of its prompt; of tied ones the first, ``[D]``."""
        order = np.lexsort((-self.highest, self.prompt))
        chosen = np.zeros(len(self.prompt), dtype=bool)
        chosen[order[np.diff(self.prompt[order], prepend=-1) > 0]] = True
        return chosen

    def error(self, noise: float = 0.0) -> float:
        """τ, by how much each log-likelihood may be wrong, nats: what repeated responses show, or `noise` if more.

        Up to `LIKELIHOOD_NOISE` it is 0.
        """
        error = max(noise, float(self.scatter.max(initial=0.0)))
        return error if error > LIKELIHOOD_NOISE else 0.0

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum over the distinct responses of each prompt, ``[X]``."""
        return np.bincount(self.prompt, values, minlength=len(self.sizes))

    def largest(self, values: np.ndarray) -> np.ndarray:
        """Largest of the distinct responses of each prompt, ``-inf`` where there is none, ``[X]``."""
        found = np.full(len(self.sizes), -np.inf)
        np.maximum.at(found, self.prompt, values)
        return found


def distinct(pool: Pool | pd.DataFrame, *, noise: float = 0.0) -> Distinct:
    """The distinct finished responses of a pool with likelihoods, by token ids, else by text.

    Of a pool with neither, samples whose likelihoods are close count as one response.

    Args:
        noise: by how much each likelihood may be wrong, nats.

    Raises:
        UserError: the distinct responses of a prompt have a total probability above 1, by more than noise allows.
    """
    pool = as_pool(pool)
    prompts, prompt_ids = pool.prompt, pool.prompt_ids
    scores, finished = pool.numbers("log_likelihood"), pool.finished
    known = unidentified(pool) is None
    keys = response_keys(pool) if known else _clusters(prompts, scores, max(LIKELIHOOD_NOISE, 2 * noise))
    # Prompts follow one another, so that distinct responses in the order of this code do too.
    codes = prompts[finished] * (keys.max(initial=0) + 1) + keys[finished]
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    highest, lowest = np.full(len(first), -np.inf), np.full(len(first), np.inf)
    np.maximum.at(highest, inverse, scores[finished])
    np.minimum.at(lowest, inverse, scores[finished])
    of_sample = np.full(len(scores), -1)
    of_sample[finished] = inverse
    scatter = np.zeros(len(prompt_ids))
    if has_tokens(pool):
        np.maximum.at(scatter, prompts[finished][first], highest - lowest)
    sizes = np.bincount(prompts, minlength=len(prompt_ids))
    found = Distinct(prompt_ids, sizes, prompts[finished][first], highest, lowest, of_sample,
                     scatter)  # fmt: skip
    _refuse_excess(found, noise)
    return found


def _refuse_excess(found: Distinct, noise: float) -> None:
    """Likelihoods in half precision scatter; where S is near 1 responses repeat, and show by how much."""
    mass = found.mass
    excess = mass - TOTAL_MASS * np.exp(np.maximum(found.scatter, noise))
    if (excess > 0).any():
        i = int(excess.argmax())
        raise UserError(
            f"prompt {shown(found.prompt_ids[i])}: its {np.sum(found.prompt == i)} distinct responses have a total "
            f"probability of {mass[i]:.3g} > 1, so log_likelihood is not log π(y|x) of whole responses sampled at "
            "temperature 1 (an average per token, or another temperature?); nothing about coverage follows from it"
        )


def distinct_responses(pool: Pool | pd.DataFrame) -> pd.Series:
    """Log-likelihoods of the distinct finished responses of each prompt, indexed by ``(prompt_id, key)``.

    Raises:
        UserError: it is not known which responses are equal (`unidentified`); or those of one prompt have a total
            probability above 1, by more than the scatter of equal responses.
    """
    pool = as_pool(pool)
    keys, found = response_keys(pool), distinct(pool)
    finished = found.of_sample >= 0
    first = np.unique(found.of_sample[finished], return_index=True)[1]
    index = pd.MultiIndex.from_arrays(
        [found.prompt_ids[found.prompt], keys[finished][first]], names=["prompt_id", "key"]
    )
    return pd.Series(found.highest, index=index, name="log_likelihood")


def has_tokens(pool: Pool | pd.DataFrame) -> bool:
    """Whether every sample has its token ids."""
    pool = as_pool(pool)
    return pool.responses is not None and pool.responses.by == "tokens"


def has_likelihoods(pool: Pool | pd.DataFrame) -> bool:
    """Whether every sample has its log-likelihood."""
    pool = as_pool(pool)
    return "log_likelihood" in pool and bool(pool["log_likelihood"].notna().all())


def has_masses(pool: Pool | pd.DataFrame) -> bool:
    """Whether the probability of each distinct response is known: equal ones are recognised, and likelihoods are such."""
    pool = as_pool(pool)
    if not has_likelihoods(pool) or unidentified(pool) is not None:
        return False
    try:
        distinct(pool)
    except UserError:
        return False
    return True


def unidentified(pool: Pool | pd.DataFrame) -> str | None:
    """Why it is not known which samples are the same response; None if it is: all have token ids, or all have text."""
    pool = as_pool(pool)
    if pool.responses is not None:
        return None
    columns = [column for column in ("response", "tokens") if column in pool]
    what = f"{columns[0]!r} is null on some samples" if columns else "'response' or 'tokens' is missing"
    return (
        f"column {what}; the pool has {pool.names}. Responses as likely as each other can be told apart only by their text "
        "or token ids"
    )


def response_keys(pool: Pool | pd.DataFrame) -> np.ndarray:
    """A number per sample that equal responses share: by token ids, else by text, ``[samples]``.

    Raises:
        UserError: there is neither (`unidentified`): equal likelihoods do not make responses equal.
    """
    pool = as_pool(pool)
    if reason := unidentified(pool):
        raise UserError(reason)
    return pool.responses.keys


def inclusion_weights(p: np.ndarray, m: np.ndarray | int) -> np.ndarray:
    """``π/(1 - (1-π)^M)``: the mass that a distinct response of a pool of M samples stands for.

    Args:
        p: π, numbers in [0, 1], any shape. m: M ≥ 1, of a shape that broadcasts.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > 1e-12, p / -np.expm1(m * np.log1p(-np.minimum(p, 1 - 1e-16))), 1 / m)


def _clusters(prompts: np.ndarray, scores: np.ndarray, width: float) -> np.ndarray:
    """Labels of single-linkage clusters of log-likelihoods within `width`, per prompt."""
    order = np.lexsort((scores, prompts))
    jump = np.ones(len(scores), dtype=bool)
    jump[1:] = (np.diff(scores[order]) > width) | (np.diff(prompts[order]) != 0)
    labels = np.empty(len(scores), dtype=np.int64)
    labels[order] = np.cumsum(jump)
    return labels
