"""The pool: i.i.d. temperature-1 responses per prompt with their log-likelihoods, the container of every estimate.

A `Pool` keeps samples and greedy responses apart, so that no estimate can take one for the other. Every public function
of this room takes a pool as `read_pool` returns it, or a data frame with the same columns, which is checked first.

| column | meaning |
|---|---|
| prompt_id | integer or string |
| sample_id | unique within a prompt; numbered in file order if absent |
| prompt, response | text; the prompt is the same in all rows of a prompt_id |
| tokens | response token ids, end of sequence included |
| log_likelihood | ``log π(y|x)``, nats, summed over all response tokens |
| length | response tokens |
| finished | False if cut off by the length budget; null if unknown |
| answer | extracted answer, null if none |
| correct | whether the answer is right, null if unknown |
| unreadable | why the answer could not be graded (cut off, no answer, answer not understood), null if it could |
| source | who wrote the response; rows of source ``greedy`` are the greedy responses, not samples |

Only `prompt_id` is required; what else is known makes the report larger: coverage needs `log_likelihood`, accuracy needs
`correct`. Any further numeric column may serve as a reward.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from sharptheory.errors import UserError
from sharptheory.measure.names import called

GREEDY = "greedy"
#: One token sequence scored twice may differ by this much (nats, low precision); by more, it is not one policy's.
SAME_RESPONSE = 1.0
#: No response is longer than this many tokens, nor less likely than this many nats: sums of squares stay finite.
LONGEST, UNLIKELIEST = 10**9, -1e15


@dataclass(frozen=True, eq=False)
class Responses:
    """Which samples are the same response.

    Attributes:
        keys: a number per sample that equal responses share, ``[samples]``.
        by: the column that says so, ``"tokens"`` or ``"response"``.
    """

    keys: np.ndarray
    by: str


@dataclass(frozen=True, eq=False)
class Pool:
    """Samples of a policy, and beside them its greedy responses.

    Attributes:
        samples: one row per i.i.d. sample, sorted by ``(prompt_id, sample_id)``.
        greedy: the greedy responses, one row per prompt at most, same columns; may be empty.
        notes: what their reader took for what, and what it left out: sentences.
        recognised: which samples are the same response, if that is known already; `responses` works it out.

    ```python
    >>> import pandas as pd
    >>> pool = Pool.from_frame(pd.DataFrame({
    ...     "prompt_id": [0, 0, 0], "log_likelihood": [-1.0, -2.0, -0.5], "source": ["model", "model", "greedy"]}))
    >>> len(pool.samples), len(pool.greedy)
    (2, 1)

    ```
    """

    samples: pd.DataFrame
    greedy: pd.DataFrame
    notes: tuple[str, ...] = ()
    recognised: Responses | None = None

    def __post_init__(self):
        if "source" not in self.samples or (self.samples["source"] == GREEDY).any():
            raise UserError("samples are not apart from greedy rows; Pool.from_frame makes a pool of a data frame")

    def __repr__(self) -> str:
        """``Pool(2 prompts × 4 samples, 1 greedy response, 50% graded; prompt_id, …)``, not its two frames."""
        some = lambda n, what: f"{n or 'no'} {what}{'' if n == 1 else 's'}"  # noqa: E731
        least, most = (self.sizes.min(), self.sizes.max()) if len(self.samples) else (0, 0)
        samples = some(most, "sample") if least == most else f"{least} to {some(most, 'sample')}"
        graded = f"{self['correct'].notna().mean():.0%} graded" if "correct" in self else "not graded"
        greedy = some(len(self.greedy), "greedy response")
        return f"Pool({some(len(self.sizes), 'prompt')} × {samples}, {greedy}, {graded}; {self.names})"

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        where: Callable[[int], str] = "row {}".format,
        recognised: Responses | None = None,
    ) -> Pool:
        """A pool from one row per response, checked, completed and sorted; `frame` is left as it is.

        Fills in what can be: `sample_id` by order, `source` ``"unknown"``, `finished` null.

        Args:
            frame: columns as above.
            where: what errors call the i-th row, from 0: a reader of files names lines.
            recognised: which rows are the same response, instead of their token ids or text.

        Raises:
            UserError: names row and column, what was found and what was expected.
        """
        table, same = _checked(frame, where, recognised)
        greedy = (table["source"] == GREEDY).to_numpy()
        if not greedy.any():
            same = None if same is None else Responses(pd.factorize(same.keys)[0], same.by)
            return cls(table, table.iloc[:0], recognised=same)
        same = None if same is None else Responses(pd.factorize(same.keys[~greedy])[0], same.by)
        return cls(*(table[rows].reset_index(drop=True) for rows in (~greedy, greedy)), recognised=same)

    def frame(self) -> pd.DataFrame:
        """All rows in one frame, greedy ones marked by their `source`: what is written to disk."""
        table = pd.concat([self.samples, self.greedy]) if len(self.greedy) else self.samples
        return table.sort_values(["prompt_id", "sample_id"], kind="stable", ignore_index=True)

    @property
    def names(self) -> str:
        """The columns that there are, for messages."""
        return ", ".join(map(str, self.samples.columns))

    def __contains__(self, column: str) -> bool:
        return column in self.samples

    def __getitem__(self, column: str) -> pd.Series:
        """A column of the samples.

        Raises:
            UserError: there is none of this name; lists those there are.
        """
        if column not in self.samples:
            raise UserError(f"column {column!r} is missing; the pool has {self.names}")
        return self.samples[column]

    def numbers(self, column: str) -> np.ndarray:
        """A column of the samples as floats, null as NaN.

        Raises:
            UserError: the column is missing or not numeric.
        """
        values = self[column]
        if not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)):
            raise UserError(f"column {column!r} holds {values.dtype} values; expected numbers")
        return values.to_numpy(dtype=float, na_value=np.nan)

    def assign(self, **columns) -> Pool:
        """The pool with further columns of its samples, as `pandas.DataFrame.assign`; greedy responses have none."""
        samples = self.samples.assign(**columns)
        if "prompt_id" in columns:  # samples of one prompt follow one another
            samples = samples.iloc[np.argsort(pd.factorize(samples["prompt_id"])[0], kind="stable")]
            samples = samples.reset_index(drop=True)
        same = self.recognised if columns.keys().isdisjoint({"prompt_id", "tokens", "response"}) else None
        return Pool(samples, self.greedy, self.notes, same)

    def take(self, rows) -> Pool:
        """The pool with only some of its samples (a boolean mask over them), greedy responses kept.

        Raises:
            UserError: not one of true and false for each sample.
        """
        mask = np.asarray(rows)
        if mask.shape != (len(self.samples),) or mask.dtype.kind not in "bO":
            raise UserError(
                f"rows: {mask.dtype} of shape {mask.shape}; expected true or false for each of {len(self.samples)} samples"
            )
        mask, same = mask.astype(bool), self.recognised or vars(self).get("responses")
        if same is not None:  # fewer samples may all have token ids
            same = Responses(same.keys[mask], same.by) if same.by == "tokens" or "tokens" not in self else None
        return Pool(self.samples[mask].reset_index(drop=True), self.greedy, self.notes, same)

    def graded(self, column: str = "correct") -> Pool:
        """The prompts all of whose samples have a value in `column`.

        Raises:
            UserError: there are no samples, no such column, or no such prompt.
        """
        if len(self.samples) == 0:
            raise UserError("the pool has no samples")
        known = self[column].notna().to_numpy()
        if known.all():
            return self
        throughout = np.logical_and.reduceat(known, self.starts[:-1])
        if not throughout.any():
            raise UserError(
                f"column {column!r} is known for no prompt throughout; expected a value for all its samples"
            )
        return self.take(np.repeat(throughout, np.diff(self.starts)))

    @cached_property
    def starts(self) -> np.ndarray:
        """The row of each prompt's first sample and, last, the number of samples, ``[X+1]``: samples are sorted by prompt.

        Raises:
            UserError: samples of one prompt do not follow one another.
        """
        ids = self.samples["prompt_id"].to_numpy()
        starts = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])) if len(ids) else np.empty(0, dtype=np.int64)
        if pd.Index(ids[starts]).has_duplicates:
            raise UserError("samples of one prompt do not follow one another; Pool.from_frame sorts them")
        return np.append(starts, len(ids))

    @cached_property
    def prompt_ids(self) -> pd.Index:
        """The prompts, in order, ``[X]``."""
        return pd.Index(self.samples["prompt_id"].iloc[self.starts[:-1]])

    @cached_property
    def prompt(self) -> np.ndarray:
        """The number, from 0, of each sample's prompt, ``[samples]``."""
        sizes = np.diff(self.starts)
        return np.repeat(np.arange(len(sizes)), sizes)

    @cached_property
    def responses(self) -> Responses | None:
        """Which samples are the same response: all have token ids, or all have text; None if neither."""
        if self.recognised is not None:
            return self.recognised
        if "tokens" in self and self["tokens"].notna().all():
            return Responses(token_codes(self["tokens"]), "tokens")
        if "response" in self and self["response"].notna().all():
            return Responses(pd.factorize(self["response"].to_numpy(dtype=object))[0], "response")
        return None

    @cached_property
    def rankings(self) -> dict:
        """What `sharptheory.measure.ranking.ranking` has sorted, by reward."""
        return {}

    @property
    def sizes(self) -> pd.Series:
        """Number of samples of each prompt, indexed by prompt_id."""
        return pd.Series(np.diff(self.starts), index=self.prompt_ids)

    @property
    def finished(self) -> np.ndarray:
        """Whether each sample ended by itself; those of which it is not known count as finished."""
        return self.samples["finished"].fillna(True).to_numpy(dtype=bool)


def as_pool(pool: Pool | pd.DataFrame) -> Pool:
    """A pool as it is; a data frame checked and with its greedy rows set apart.

    Raises:
        UserError: it is neither, or the frame is not a pool.
    """
    if isinstance(pool, Pool):
        return pool
    if isinstance(pool, pd.DataFrame):
        return Pool.from_frame(pool)
    raise UserError(
        f"pool is a {type(pool).__name__}; expected what read_pool returns, or a data frame with its columns"
    )


def rectangles(pool: Pool | pd.DataFrame, *columns: str) -> Iterator[tuple[np.ndarray, ...]]:
    """Columns as matrices: prompts with the same number of samples stacked, one rectangle per distinct number.

    Yields:
        ``(prompt_ids [x], column_1 [x, m], column_2 [x, m], …)``, floats, ordered by m; together all prompts once.
    """
    pool = as_pool(pool)
    values = [pool.numbers(column) for column in columns]
    for prompts, rows in rectangular(pool.starts):
        yield (pool.prompt_ids[prompts].to_numpy(), *(column[rows] for column in values))


def rectangular(starts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Prompts of one size together: ``(prompts [x], rows of their samples [x, m])`` for each size m, ascending.

    Args:
        starts: as `Pool.starts`.
    """
    sizes = np.diff(starts)
    by_size = np.argsort(sizes, kind="stable")
    for prompts in np.split(by_size, np.flatnonzero(np.diff(sizes[by_size])) + 1) if len(sizes) else ():
        yield prompts, starts[prompts][:, None] + np.arange(sizes[prompts[0]])


# Checks ---------------------------------------------------------------------------------------------------------------

#: Columns of text: whatever they look like, they are not numbers.
TEXT = ("prompt", "response", "answer", "unreadable", "source")
IDENTIFIER = "an integer of at most 64 bits or a string"
#: ``refuse(bad, column, expected)`` raises for the first row where `bad` is true.
Refuse = Callable[[ArrayLike, str, str], None]


def _checked(
    frame: pd.DataFrame, where: Callable[[int], str], same: Responses | None
) -> tuple[pd.DataFrame, Responses | None]:
    """A checked and completed copy, sorted, and which of its rows are the same response where all have token ids."""
    names = frame.columns
    if names.has_duplicates:
        raise UserError(f"column {names[names.duplicated()][0]!r} appears twice; expected one of each name")
    if "prompt_id" not in names:
        cure = f"; say which it is, as --columns prompt_id={called('prompt_id', names) or 'NAME'}" if len(names) else ""
        raise UserError(f"column 'prompt_id' is missing; found {', '.join(map(str, names)) or 'none'}{cure}")
    if len(frame) == 0:
        raise UserError("the pool has no rows")
    table = frame.reset_index(drop=True)

    def refuse(bad: ArrayLike, column: str, expected: str) -> None:
        bad = np.asarray(bad, dtype=bool)
        if bad.any():
            i = int(np.argmax(bad))
            raise UserError(f"{where(i)}, column {column!r}: found {shown(table[column].iloc[i])}; expected {expected}")

    table["prompt_id"] = _identifiers(table["prompt_id"], refuse)
    if "log_likelihood" in table and table["log_likelihood"].isna().all():
        table = table.drop(columns="log_likelihood")
    if "log_likelihood" in table:
        table["log_likelihood"] = _log_likelihoods(table["log_likelihood"], refuse)
    for column in TEXT:
        if column in table:
            table[column] = _text(table[column], column, refuse)
    if "prompt" in table:
        _one_prompt_each(table, where)
    source = table["source"].fillna("unknown") if "source" in table else "unknown"
    table["source"] = pd.Series(source, index=table.index, dtype=object)
    greedy = (table["source"] == GREEDY).to_numpy()
    if greedy.all():
        raise UserError("column 'source': every row is greedy; a pool needs sampled responses")
    table["sample_id"] = _sample_ids(table, greedy, refuse)
    for rows, keys, expected in (
        (~greedy, ["prompt_id", "sample_id"], "no second row of this prompt_id and sample_id"),
        (greedy, ["prompt_id"], "one greedy response per prompt at most"),
    ):
        twice = np.zeros(len(table), dtype=bool)
        twice[rows] = table.loc[rows, keys].duplicated()
        refuse(twice, "source" if len(keys) == 1 else "sample_id", expected)
    for column in ("correct", "finished"):
        if column in table:
            values = _booleans(table[column])
            refuse(values.isna() & table[column].notna(), column, "true, false or empty")
            table[column] = values
    if "finished" not in table:
        table["finished"] = pd.array([pd.NA] * len(table), dtype="boolean")
    if "correct" in table and table["correct"].isna().all():
        table = table.drop(columns="correct")
    if "length" in table:
        length = _numbers(table["length"])
        refuse(~((length >= 0) & (length <= LONGEST) & (length % 1 == 0)), "length", "a whole number of tokens")
        table["length"] = length.astype(np.int64)
    if same is None and "tokens" in table:
        same = _by_tokens(table, greedy, refuse)
    if same is not None and same.by == "tokens" and "log_likelihood" in table:
        _one_likelihood_each(table, same.keys, refuse)
    if same is not None and (same.keys[~greedy] < 0).any():
        same = None
    ids, numbers = (table[column].to_numpy() for column in ("prompt_id", "sample_id"))
    later = ids[1:] > ids[:-1]
    if (later | ((ids[1:] == ids[:-1]) & (numbers[1:] >= numbers[:-1]))).all():
        return table, same
    order = table.sort_values(["prompt_id", "sample_id"], kind="stable").index.to_numpy()
    return table.iloc[order].reset_index(drop=True), None if same is None else Responses(same.keys[order], same.by)


def shown(found) -> str:
    """What was found, in at most 60 characters."""
    try:
        text = repr(found.item() if isinstance(found, np.generic) else found)
    except ValueError:  # Python prints no integer of more than 4,300 digits
        return f"an integer of {found.bit_length():,} bits"
    return text if len(text) <= 60 else f"{text[:60]}… ({len(text):,} characters)"


def _identifiers(values: pd.Series, refuse: Refuse) -> pd.Series:
    """Prompt ids: whole numbers that fit 64 bits, or strings, not both."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    refuse(values.isna(), "prompt_id", IDENTIFIER)
    if pd.api.types.is_bool_dtype(values) or not _plain(values):
        refuse(np.ones(len(values), dtype=bool), "prompt_id", IDENTIFIER)
    if pd.api.types.is_float_dtype(values):
        values = values.astype(float)
        refuse(~((values % 1 == 0) & (np.abs(values) < 2**53)), "prompt_id", IDENTIFIER)
        return values.astype(np.int64)
    if pd.api.types.is_integer_dtype(values):
        refuse(values > np.iinfo(np.int64).max, "prompt_id", IDENTIFIER)
        return values.astype(np.int64)
    values = values.astype(object)
    if pd.api.types.infer_dtype(values, skipna=False) != "string":
        text = values.map(lambda v: isinstance(v, str))
        whole = values.map(lambda v: isinstance(v, (int, np.integer)) and not isinstance(v, bool))
        refuse(~(text | whole), "prompt_id", IDENTIFIER)
        refuse(whole if text.any() else ~whole, "prompt_id", "a string, as other rows have: ids are of one kind")
        refuse(values.map(lambda v: not -(2**63) <= v < 2**63), "prompt_id", IDENTIFIER)
        return values.astype(np.int64)
    return _text(values, "prompt_id", refuse)


def _log_likelihoods(values: pd.Series, refuse: Refuse) -> pd.Series:
    numbers = _numbers(values)
    refuse(numbers.isna(), "log_likelihood", "a number of nats")
    refuse(numbers > 0, "log_likelihood", "log π(y|x) ≤ 0 (is it a negative log-likelihood?)")
    refuse(
        numbers < UNLIKELIEST,
        "log_likelihood",
        f"a finite number, at least {UNLIKELIEST:g}: a sampled response has positive probability",
    )
    return numbers


def _text(values: pd.Series, column: str, refuse: Refuse) -> pd.Series:
    """Strings, numbers in their shortest spelling, null as None."""
    if isinstance(values.dtype, pd.CategoricalDtype):  # each distinct text once
        codes, bad = values.cat.codes.to_numpy(), np.zeros(len(values.cat.categories) + 1, dtype=bool)

        def refuse_all(wrong: ArrayLike, column: str, expected: str) -> None:
            bad[:-1] = wrong
            refuse(bad[codes], column, expected)

        distinct = _text(pd.Series(values.cat.categories, dtype=object), column, refuse_all)
        return pd.Series(np.append(distinct.to_numpy(dtype=object), None)[codes], dtype=object)
    values = values.astype(object)
    missing = values.isna()
    if pd.api.types.infer_dtype(values, skipna=True) not in ("string", "empty"):
        values = pd.Series(list(map(_spelled, values)), dtype=object)
        refuse(values.isna() & ~missing, column, "text or empty")
    refuse(values.map(lambda v: isinstance(v, str) and not _encodes(v)), column, "text without lone surrogates")
    return values.where(~missing, None)


def _spelled(value) -> str | None:
    """A string or number as text, None for anything else."""
    if not isinstance(value, (str, int, float, Decimal, np.number, np.bool_)):
        return None
    try:
        return str(value)
    except ValueError:  # more than 4,300 digits
        return None


def _encodes(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _one_prompt_each(table: pd.DataFrame, where: Callable[[int], str]) -> None:
    """Refuses a prompt_id with two texts: misaligned files, or those of several tasks, are not samples of one prompt."""
    if (found := two_prompts(table["prompt_id"], pd.factorize(table["prompt"].to_numpy(dtype=object))[0])) is not None:
        raise unlike_prompts(table["prompt_id"][found[1]], table["prompt"][list(found)].tolist(), *map(where, found))


def two_prompts(ids: pd.Series, texts: np.ndarray) -> tuple[int, int] | None:
    """Two rows of one prompt_id with different texts, the second as early as can be; None if there are none.

    Args:
        ids: prompt ids ``[n]``. texts: a number that equal prompts share, -1 for none, ``[n]``.
    """
    rows = np.flatnonzero(texts >= 0)
    texts, codes = texts[rows], pd.factorize(ids.to_numpy()[rows])[0]
    first = np.full(codes.max(initial=-1) + 1, -1)
    first[codes[::-1]] = np.arange(len(rows))[::-1]
    other = texts != texts[first[codes]]
    i = int(np.argmax(other)) if other.any() else None
    return None if i is None else (int(rows[first[codes[i]]]), int(rows[i]))


def unlike_prompts(prompt_id: int | str, texts: Sequence[str], first: str, second: str) -> UserError:
    """The error that a prompt_id has two texts, of the places where they stand."""
    return UserError(
        f"{second}, column 'prompt': found {shown(texts[1])} for prompt_id {shown(prompt_id)}; expected {shown(texts[0])}, "
        f"as {first} has: a prompt_id has one prompt"
    )


def _sample_ids(table: pd.DataFrame, greedy: np.ndarray, refuse: Refuse) -> pd.Series:
    if "sample_id" not in table:
        return table.groupby([table["prompt_id"], greedy]).cumcount().where(~greedy, -1)
    numbers = _numbers(table["sample_id"])
    refuse(~((numbers % 1 == 0) & (np.abs(numbers) < 2**53)), "sample_id", "an integer")
    return numbers.astype(np.int64)


def _by_tokens(table: pd.DataFrame, greedy: np.ndarray, refuse: Refuse) -> Responses:
    """Equal token ids by number, -1 for none."""
    known = table["tokens"].notna().to_numpy()
    keys = np.array([_token_bytes(tokens) for tokens in table["tokens"][known]], dtype=object)
    bad, codes = np.zeros(len(table), dtype=bool), np.full(len(table), -1)
    bad[known] = [key is None for key in keys]
    refuse(bad, "tokens", "a list of token ids, whole numbers from 0, or empty")
    codes[known] = pd.factorize(keys)[0]
    return Responses(codes, "tokens")


def _one_likelihood_each(table: pd.DataFrame, keys: np.ndarray, refuse: Refuse) -> None:
    """Equal token ids under one policy have one likelihood, up to rounding."""
    known = keys >= 0
    score = table["log_likelihood"].to_numpy()[known]
    prompt = pd.factorize(table["prompt_id"])[0][known]
    cell, cells = pd.factorize(prompt * (keys.max(initial=0) + 1) + keys[known])
    best = np.full(len(cells), -np.inf)
    np.maximum.at(best, cell, score)
    bad = np.zeros(len(table), dtype=bool)
    bad[known] = best[cell] - score > SAME_RESPONSE
    refuse(bad, "log_likelihood", f"within {SAME_RESPONSE:g} of another row of this prompt with the same tokens")


def token_codes(tokens: pd.Series) -> np.ndarray:
    """A number per row that rows with equal token ids share, ``[n]``."""
    return pd.factorize(np.array([_token_bytes(each) for each in tokens], dtype=object))[0]


def _token_bytes(tokens) -> bytes | None:
    """Token ids in a form that is quick to compare; None unless they are a list of whole numbers from 0."""
    if not isinstance(tokens, (list, tuple, np.ndarray)):
        return None
    try:
        # Unsigned, so that a negative id overflows.
        return tokens.astype(np.uint64).tobytes() if _unsigned(tokens) else array("Q", tokens).tobytes()
    except (TypeError, OverflowError):
        return None


def _unsigned(tokens) -> bool:
    return isinstance(tokens, np.ndarray) and (
        tokens.dtype.kind == "u" or (tokens.dtype.kind == "i" and (tokens.size == 0 or tokens.min() >= 0))
    )


def _plain(values: pd.Series) -> bool:
    """Whether a column holds numbers, text, or anything under the sun; no dates, complex numbers or nested types."""
    types = pd.api.types
    real = types.is_numeric_dtype(values) and not types.is_complex_dtype(values)
    return real or values.dtype == object or isinstance(values.dtype, pd.StringDtype)


def _numbers(values: pd.Series) -> pd.Series:
    """Floats; NaN for what is no number, or too large for one. True and false are no numbers."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if pd.api.types.is_bool_dtype(values) or not _plain(values):
        return pd.Series(np.nan, index=values.index)
    if values.dtype == object:
        values = pd.Series([v if _is_number(v) else np.nan for v in values], dtype=object)
    return pd.to_numeric(values, errors="coerce").astype(float)


def _is_number(value) -> bool:
    """Whether a value is a number that fits a float, or text that may spell one; true and false are not."""
    if isinstance(value, str):
        return value.isascii()
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 1e300
    return isinstance(value, (float, Decimal, np.number))


def _booleans(values: pd.Series) -> pd.Series:
    """Nullable booleans from booleans, 0/1 and true/false in any case; null for anything else."""
    if pd.api.types.is_bool_dtype(values):
        return values.astype("boolean")
    named = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    spelled = map(_spelled, values.astype(object))
    return pd.Series([None if each is None else named.get(each.strip().lower()) for each in spelled], dtype="boolean")
