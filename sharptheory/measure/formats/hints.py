"""What a table has and no number was made of: sentences beside its pool."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from sharptheory.measure.names import ELSEWHERE, called
from sharptheory.measure.rewards import KNOWN

#: So many columns are named in one sentence.
NAMED = 8


def unused(frame: pd.DataFrame, names: Iterable[object] | None = None) -> list[str]:
    """Which columns were taken for nothing, and with which `columns` some of them could be.

    Args:
        frame: what was read of a table, under the names of a pool.
        names: all columns of the table, where the frame holds but some of them.
    """
    names = list(map(str, frame.columns if names is None else names))
    idle = [name for name in names if name not in KNOWN and not (name in frame and _is_reward(frame[name]))]
    notes = []
    if idle:
        more = len(idle) - NAMED
        notes.append(f"Not used: {', '.join(idle[:NAMED])}{f' and {more:,} more' if more > 0 else ''}.")
    if pairs := meant(frame, names):
        columns = ",".join(f"{name}={source}" for name, source in pairs.items())
        notes.append(f"Perhaps --columns {columns} is meant.")
    return notes


def meant(frame: pd.DataFrame, names: Iterable[object]) -> dict[str, str]:
    """Columns of a pool that are missing, each with the column that is called as it is elsewhere, and could be it by its
    values; of counts both or neither."""
    names = list(names)
    found = {name: called(name, names) for name in ELSEWHERE}
    found = {
        name: source
        for name, source in found.items()
        if source is not None and (source not in frame or _could_be(name, frame[source]))
    }
    if {"n", "c"} <= found.keys() and "correct" not in names:
        return {name: found[name] for name in ("prompt_id", "n", "c") if name in found}
    return {name: source for name, source in found.items() if name not in ("n", "c")}


def _is_reward(values: pd.Series) -> bool:
    """Numbers, which the report names as rewards or says why they are none."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _could_be(name: str, values: pd.Series) -> bool:
    """Whether a column may hold what is meant: grades of two values, log-probabilities, whole numbers; of text, anything."""
    if name == "correct":
        spelled = set(values.dropna().astype(str).str.lower().unique())
        return bool(spelled) and spelled <= {"true", "false", "0", "1", "0.0", "1.0"}
    if name in ("log_likelihood", "length", "n", "c"):
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        return bool((numbers <= 0).all() if name == "log_likelihood" else ((numbers >= 0) & (numbers % 1 == 0)).all())
    return True
