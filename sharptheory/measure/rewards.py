"""Self-rewards: what best-of-N may select by. One signature: a pool in, one value per sample out, larger is better.

`REWARDS` is the registry. A reward of your own needs no change here: any further numeric column of a pool is one
(`column_rewards`), `load_reward` takes ``./my_reward.py:name`` (a function of a pool, or a `Reward`), and packages may offer
theirs under the entry points ``sharptheory.rewards``.
Majority vote is not best-of-N by `answer_share`, which knows the whole pool: it has its own exact curve,
`sharptheory.measure.selection.majority_curve`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sharptheory.errors import UserError
from sharptheory.extensions import call, load_object
from sharptheory.measure.answers import answer_masses, prompt_answers
from sharptheory.measure.pool import Pool, as_pool, shown
from sharptheory.measure.responses import has_masses

ENTRY_POINTS = "sharptheory.rewards"


@dataclass(frozen=True)
class Reward:
    """A way to score the samples of a pool.

    ```python
    >>> brevity = Reward("brevity", lambda pool: -pool["length"], needs=("length",))
    >>> brevity(pd.DataFrame({"prompt_id": [0, 0], "log_likelihood": [-1.0, -2.0], "length": [3, 5]})).tolist()
    [-3.0, -5.0]

    ```

    Attributes:
        name: what reports call it.
        function: ``pool → pandas.Series``, aligned with ``pool.samples``; larger is better.
        needs: columns that it reads, beside prompt_id.
        measured: how a model is asked for its column while sampling: ``"statistic"`` (a mean over tokens), ``"judge"``
            (a question afterwards), or None if the pool has all it needs.
        masses: whether it needs the probabilities of the distinct responses (`sharptheory.measure.responses.has_masses`).
        selects: whether best-of-N could use it at inference; the skyline, and what has seen the whole pool, cannot.
    """

    name: str
    function: Callable[[Pool], pd.Series]
    needs: tuple[str, ...] = ()
    measured: str | None = None
    selects: bool = True
    masses: bool = False

    def __call__(self, pool: Pool | pd.DataFrame) -> pd.Series:
        """Values of the samples, checked: as many as samples, numbers, none missing.

        Raises:
            UserError: a column is missing, or what the function returns is not that; names the reward.
        """
        pool = as_pool(pool)
        for column in self.needs:
            if column not in pool:
                raise UserError(
                    f"reward {self.name!r} needs column {column!r}, which is missing; the pool has {pool.names}"
                )
        result = self.function(pool)
        try:
            if isinstance(result, pd.Series):
                result = result.reindex(pool.samples.index)
            values = pd.Series(np.ravel(result)).to_numpy(dtype=float, na_value=np.nan)
            shape = np.shape(result)
        except (TypeError, ValueError):  # no numbers, or a sequence of things of different lengths, which has no shape
            values, shape = np.empty(0), f"({len(result)},)" if hasattr(result, "__len__") else "()"
        if shape != (len(pool.samples),) or len(values) != len(pool.samples):
            raise UserError(
                f"reward {self.name!r} returned {type(result).__name__} of shape {shape}; "
                f"expected one number for each of {len(pool.samples)} samples"
            )
        return pd.Series(_complete(self.name, values, pool), index=pool.samples.index)


def log_likelihood(pool: Pool | pd.DataFrame) -> pd.Series:
    """``log π(y|x)``, the self-reward of maximum-likelihood sharpening (2)."""
    return as_pool(pool)["log_likelihood"]


def length_normalized(pool: Pool | pd.DataFrame) -> pd.Series:
    """``log π(y|x) / |y|``."""
    pool = as_pool(pool)
    return pool["log_likelihood"] / pool["length"].clip(lower=1)


def answer_share(pool: Pool | pd.DataFrame) -> pd.Series:
    """Fraction of the prompt's other responses with the same answer; one that was cut or has no answer has no vote, and 0.

    Leaving the response itself out keeps the share from rewarding small pools.
    """
    pool = as_pool(pool)
    answer = prompt_answers(pool)[0]
    same, others = np.bincount(answer + 1)[answer + 1] - 1, np.diff(pool.starts)[pool.prompt] - 1
    return pd.Series(np.where(answer >= 0, same / np.maximum(others, 1), 0.0), index=pool.samples.index)


def answer_mass(pool: Pool | pd.DataFrame) -> pd.Series:
    """Estimated probability of the sample's answer, 0 without one: Horvitz-Thompson over the pool's distinct responses."""
    return answer_masses(pool)


def answer_seen_mass(pool: Pool | pd.DataFrame) -> pd.Series:
    """Probability of the pool's distinct responses with the sample's answer, a lower bound on that of the answer."""
    return answer_masses(pool, seen=True)


def self_certainty(pool: Pool | pd.DataFrame) -> pd.Series:
    """Mean over tokens of ``KL(uniform ‖ p_t)``, measured while sampling (`diagnose --rewards self_certainty`)."""
    return as_pool(pool)["self_certainty"]


def negative_entropy(pool: Pool | pd.DataFrame) -> pd.Series:
    """Minus the mean token entropy, measured while sampling (`diagnose --rewards negative_entropy`)."""
    return as_pool(pool)["negative_entropy"]


def p_true(pool: Pool | pd.DataFrame) -> pd.Series:
    """The model's own probability that the response is right, asked for after sampling (`diagnose --rewards p_true`)."""
    return as_pool(pool)["p_true"]


def correctness(pool: Pool | pd.DataFrame) -> pd.Series:
    """The skyline: best-of-N by correctness is pass@N."""
    return as_pool(pool)["correct"]


REWARDS: dict[str, Reward] = {
    reward.name: reward
    for reward in (
        Reward("log_likelihood", log_likelihood, ("log_likelihood",)),
        Reward("length_normalized", length_normalized, ("log_likelihood", "length")),
        Reward("answer_share", answer_share, ("answer",), selects=False),
        Reward("answer_mass", answer_mass, ("answer", "log_likelihood"), selects=False, masses=True),
        Reward("answer_seen_mass", answer_seen_mass, ("answer", "log_likelihood"), selects=False, masses=True),
        Reward("self_certainty", self_certainty, ("self_certainty",), measured="statistic"),
        Reward("negative_entropy", negative_entropy, ("negative_entropy",), measured="statistic"),
        Reward("p_true", p_true, ("p_true",), measured="judge"),
        Reward("correctness", correctness, ("correct",), selects=False),
    )
}


def load_reward(spec: str, *, columns: Sequence[str] = ()) -> Reward:
    """A reward by name: registered here, a column, ``./file.py:function``, or an entry point of an installed package.

    Only what is named runs. A function becomes a `Reward` under its own name.

    Args:
        spec: a name, or a path that ends in ``.py``, a colon and a name in that file.
        columns: `score_columns` of the pool, if there is one: their names are rewards too.

    Raises:
        UserError: a column that is no score, nothing of this name, neither a function nor a `Reward`, or its code does not
            run.

    ```python
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "mine.py"
    >>> _ = file.write_text("def brevity(pool):\\n    return -pool['length']\\n")
    >>> reward = load_reward(f"{file}:brevity")
    >>> reward.name, reward(pd.DataFrame({"prompt_id": [0], "log_likelihood": [-1.0], "length": [3]})).tolist()
    ('brevity', [-3.0])

    ```
    """
    if spec in REWARDS:
        return REWARDS[spec]
    columns = [name for name in columns if name not in KNOWN]
    if spec in KNOWN:
        reason = "is the grade itself" if spec == "correct" else "says what a response is, not how good"
        raise UserError(f"reward {spec!r}: this column {reason}; expected one of {', '.join([*REWARDS, *columns])}")
    if spec in columns:
        return column_reward(spec)
    found = load_object(spec, group=ENTRY_POINTS, kind="reward", known=[*REWARDS, *columns])
    if not callable(found):
        raise UserError(f"reward {spec!r} is a {type(found).__name__}; expected a function of a pool, or a Reward")
    reward = found if isinstance(found, Reward) else Reward(getattr(found, "__name__", spec), found)
    # What it raises is the user's to mend, and says the line of their file.
    file = spec.rpartition(":")[0]
    where = str(Path(file)) if file else f"reward {spec!r}"
    return replace(reward, function=functools.partial(call, where, reward.name, reward.function))


# Columns as rewards ---------------------------------------------------------------------------------------------------

#: Columns that say what a response is, not how good.
KNOWN = ("prompt_id", "sample_id", "prompt", "response", "tokens", "log_likelihood", "length", "finished", "answer",
         "correct", "unreadable", "source")  # fmt: skip
#: Names of what numbers a response instead of scoring it.
IDENTIFIER = re.compile(r"(.*_)?(id|idx|index|seed|epoch|number|no|step|rank|timestamp|date)", re.IGNORECASE)


def brevity(pool: Pool | pd.DataFrame) -> pd.Series:
    """Minus the length: all that a pool without likelihoods and scores has to select by."""
    return -as_pool(pool)["length"]


def column_reward(name: str) -> Reward:
    """A numeric column as it is; larger is better."""
    return Reward(name, lambda pool: pd.Series(pool.numbers(name), index=pool.samples.index), (name,))


def column_rewards(pool: Pool | pd.DataFrame) -> tuple[list[Reward], dict[str, str]]:
    """The further numeric columns of a pool as rewards, and why the others are none.

    Left out are columns with gaps, those that cannot select (one value for all samples of a prompt), and those that number
    the samples: called an id, a seed or the like, or counting up within every prompt. A pool without log-likelihoods is
    given `brevity` if it has lengths that differ within prompts.

    Returns:
        The rewards, and by name of each column of numbers that is none the reason in words.

    ```python
    >>> pool = pd.DataFrame({"prompt_id": [0, 0], "log_likelihood": [-1.0, -2.0], "judge": [0.3, 0.1], "seed": [5, 9]})
    >>> rewards, left_out = column_rewards(pool)
    >>> [reward.name for reward in rewards], left_out
    (['judge'], {'seed': 'an identifier'})

    ```
    """
    pool = as_pool(pool)
    inside = np.diff(pool.prompt) == 0
    rewards, left_out = [], {}
    if "log_likelihood" not in pool and "length" in pool and np.diff(pool.numbers("length"))[inside].any():
        rewards.append(Reward("brevity", brevity, ("length",)))
    for name in score_columns(pool):
        if reason := _no_reward(name, pool.numbers(name), inside, pool):
            left_out[name] = reason
        else:
            rewards.append(column_reward(name))
    return rewards, left_out


def score_columns(pool: Pool | pd.DataFrame) -> list[str]:
    """Names of the further columns of numbers: neither registered rewards nor what says what a response is."""
    pool = as_pool(pool)
    return [
        name
        for name in map(str, pool.samples.columns)
        if name not in KNOWN and name not in REWARDS and not name.startswith("_") and _is_numeric(pool[name])
    ]


def _is_numeric(values: pd.Series) -> bool:
    types = pd.api.types
    return types.is_numeric_dtype(values) and not types.is_bool_dtype(values) and not types.is_complex_dtype(values)


def _no_reward(name: str, values: np.ndarray, inside: np.ndarray, pool: Pool) -> str | None:
    """Why a column of numbers is no reward; `inside` says which steps from sample to sample stay inside a prompt."""
    if IDENTIFIER.fullmatch(name):
        return "an identifier"
    if (known := np.isfinite(values).mean()) < 1:
        return "known of no sample" if known == 0 else f"known of {known:.1%} of the samples"
    steps = np.diff(values)[inside]
    if not steps.any():
        return "the same for all samples of a prompt"
    if len(steps) > 1 and (steps == 1).all():
        return "a counter"
    if "correct" in pool and np.array_equal(values, pool.numbers("correct")):
        return "the grade itself"
    return None


def reward_values(pool: Pool | pd.DataFrame, reward: str | Reward) -> np.ndarray:
    """Values of the samples by a `Reward`, a registered one's name, or a numeric column without gaps, ``[samples]``.

    An array would have to be in the order of `Pool.samples`, which is not that of the user's rows: make it a column.

    Raises:
        UserError: neither a reward nor a column, not numeric, or with gaps; names it.
    """
    pool = as_pool(pool)
    if isinstance(reward, Reward):
        return reward(pool).to_numpy()
    if not isinstance(reward, str):
        raise UserError(f"reward is a {type(reward).__name__}; expected a Reward, or the name of one or of a column")
    if reward in REWARDS and reward not in pool:
        return REWARDS[reward](pool).to_numpy()
    if reward not in pool:
        known = ", ".join(REWARDS)
        raise UserError(
            f"reward {reward!r} is none of {known}, and as a column it is missing; the pool has {pool.names}"
        )
    return _complete(reward, pool.numbers(reward), pool)


def _complete(name: str, values: np.ndarray, pool: Pool) -> np.ndarray:
    """Values of a reward, refused where one is missing."""
    if np.isnan(values).any():
        i = int(np.argmax(np.isnan(values)))
        prompt_id, sample_id = pool.samples.loc[i, ["prompt_id", "sample_id"]]
        raise UserError(
            f"reward {name!r} is NaN on {np.isnan(values).sum():,} of {len(values):,} samples, first on "
            f"prompt {shown(prompt_id)}, sample {sample_id}; expected a number on each"
        )
    return values


def available(pool: Pool | pd.DataFrame) -> list[Reward]:
    """The registered rewards whose columns a pool has, without gaps."""
    pool = as_pool(pool)
    complete = lambda column: column in pool and (column == "answer" or pool[column].notna().all())  # noqa: E731
    known = has_masses(pool)
    return [reward for reward in REWARDS.values() if all(map(complete, reward.needs)) and (known or not reward.masses)]


def selecting(pool: Pool | pd.DataFrame) -> list[Reward]:
    """Those of them that a best-of-N could select by at inference."""
    return [reward for reward in available(pool) if reward.selects]
