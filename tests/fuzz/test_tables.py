"""Tables of probabilities, from text and from numpy's and parquet's files."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sharptheory.theory.policies import TabularPolicy
from tests.fuzz.harness import TABLES, TEXTS, Choices, read
from tests.fuzz.mutations import mutated
from tests.fuzz.test_pools import ODD

PROBS = np.array([[0.5, 0.25, 0.25], [0.1, 0.9, 0.0]])
TOKENS = (b"mu", b"p0", b"0.5", b"-0.1", b"1e-320", b"inf", b"0.5,0.5\n", b"log_probs", b"probs", b",,", b"a")


def check_table(path, normalize: bool) -> str:
    """Rows that sum to 1 and prompts that do, or refused."""
    policy = read(lambda: TabularPolicy.from_file(path, normalize=normalize), path.name)
    if policy is None:
        return "refused"
    np.testing.assert_allclose(policy.probs.sum(axis=1), 1, atol=1e-6)
    assert policy.mu.shape == policy.shape[:1] and policy.mu.min() >= 0
    np.testing.assert_allclose(policy.mu.sum(), 1, atol=1e-6)
    return "read"


def test_tables_of_text(fuzz, folder):
    frame = pd.DataFrame(PROBS, columns=["a", "b", "c"])
    seeds = [frame.to_csv(index=False).encode(), frame.assign(mu=[0.25, 0.75]).to_csv(index=False).encode()]

    def check(choices):
        path, choices.made = folder / "table.csv", mutated(choices, seeds, TOKENS)
        path.write_bytes(choices.made)
        return check_table(path, bool(choices.below(2)))

    fuzz(check, TEXTS)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


#: Arrays that are no table, beside those that are.
ARRAYS = (
    np.log(PROBS.clip(1e-300)), PROBS, PROBS[0], PROBS[None], PROBS.astype(np.float16), PROBS > 0.3, PROBS.astype(complex),
    np.array([["a", "b"]]), np.array([[1, 0]]), np.array([[2**64 - 1, 1]], np.uint64), np.zeros((0, 3)), np.zeros((2, 0)),
    np.float64(1), np.array([[np.nan, 1]]), np.array([[np.inf, 1]]), np.array([["2024-01-01"]], "datetime64[D]"),
    np.array([(1, 2.0)], [("a", int), ("b", float)]), np.asfortranarray(PROBS), PROBS.astype(">f8"), PROBS.astype(np.longdouble),
)  # fmt: skip
HEADERS = (
    b"(2, 3)",
    b"(99999999999, 3)",
    b"(-1, 3)",
    b"(2, 3",
    b"(0, 0)",
    b"(2.0, 3)",
    b"<f8",
    b"|O",
    b"<U9",
    b"<M8[s]",
    b"V0",
)


def binary(choices: Choices, suffix: str) -> bytes:
    """A file of numpy's, whole half of the time; else with a wrong header or wrong bytes."""
    one = choices.pick(ARRAYS)
    if suffix == "npy":
        content = npy(one)
    else:
        arrays = {choices.pick(("probs", "log_probs", "table")): one}
        if choices.below(2):
            arrays["mu"] = choices.pick((np.array([0.25, 0.75]), np.array([1.0]), *ARRAYS))
        content = npz(**arrays)
    match choices.below(4):
        case 0 | 1:
            return content
        case 2:
            return content.replace(choices.pick((b"(2, 3)", b"<f8")), choices.pick(HEADERS))
        case _:
            return mutated(choices, [content, npy(PROBS), npz(probs=PROBS)])


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_tables_of_numpy(fuzz, folder, suffix):
    def check(choices):
        path, choices.made = folder / f"table.{suffix}", binary(choices, suffix)
        path.unlink(missing_ok=True)  # a table that is still mapped must not change under its reader
        path.write_bytes(choices.made)
        return check_table(path, bool(choices.below(2)))

    fuzz(check, TABLES)


def test_tables_of_parquet(fuzz, folder):
    plain = (pa.array([0.5, 0.25, 0.0, 1.0]), pa.array([0.5, 0.75, 1.0, 0.0]))

    def check(choices):
        columns = list(plain)
        for _ in range(choices.below(3)):
            columns[choices.below(2)] = choices.pick((*plain, *ODD))
        names, file = [choices.pick(("a", "mu", "")), "b"], io.BytesIO()
        try:
            pq.write_table(pa.table(columns, names=names), file)
        except (pa.ArrowException, TypeError):
            return "not written"
        path, choices.made = folder / "table.parquet", mutated(choices, [file.getvalue()], most=1)
        path.write_bytes(choices.made)
        return check_table(path, bool(choices.below(2)))

    fuzz(check, TABLES)
