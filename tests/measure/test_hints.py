"""A table says what was not used of it, and what was perhaps meant."""

import json

import numpy as np
import pandas as pd
import pytest

from sharptheory.errors import UserError
from sharptheory.measure.formats.hints import meant, unused
from sharptheory.measure.imports import read_pool

OTHER = pd.DataFrame({
    "prompt_id": [0, 0, 1, 1], "is_correct": [True, False, True, True], "logprob": [-1.0, -2.0, -0.5, -3.0],
    "pred": ["4", "5", "x", "x"], "completion": ["is 4", "is 5", "1", "1."], "n_tokens": [2, 2, 1, 2], "subject": "sums",
})  # fmt: skip
MEANT = "correct=is_correct,log_likelihood=logprob,answer=pred,response=completion,length=n_tokens"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "parquet without texts", None])
def test_columns_of_other_names_are_hinted_at(tmp_path, suffix):
    path = tmp_path / f"a.{(suffix or '').split()[0] if suffix else 'none'}"
    match suffix:
        case "csv":
            OTHER.to_csv(path, index=False)
        case "jsonl":
            OTHER.to_json(path, orient="records", lines=True)
        case None:
            path = OTHER
        case _:
            OTHER.to_parquet(path)
    notes = read_pool(path, texts=suffix != "parquet without texts").notes
    assert notes[0] == "Not used: is_correct, pred, completion, subject."
    assert notes[1] == f"Perhaps --columns {MEANT} is meant."
    columns = dict(pair.split("=") for pair in MEANT.split(","))
    assert read_pool(path, columns=columns).notes == ("Not used: subject.",)


def test_a_hint_fits_the_values():
    assert (
        meant(
            pd.DataFrame({"score": [0.5, 1.0], "logprob": [0.1, -1.0], "n_tokens": [1.5, 2.0]}),
            ["score", "logprob", "n_tokens"],
        )
        == {}
    )
    assert meant(OTHER.assign(correct=True), [*OTHER, "correct", "score"]).keys().isdisjoint({"correct", "n", "c"})
    assert meant(pd.DataFrame({"score": [0, 1]}), ["score"]) == {"correct": "score"}
    assert meant(pd.DataFrame({"total": [4, 8]}), ["total"]) == {}


def test_counts_of_other_names_are_hinted_at_and_the_hint_works(tmp_path):
    (tmp_path / "a.csv").write_text("prompt_id,total,passed\n0,4,1\n1,4,3\n")
    assert "Perhaps --columns n=total,c=passed is meant." in read_pool(tmp_path / "a.csv").notes
    pool = read_pool(tmp_path / "a.csv", columns={"n": "total", "c": "passed"})
    assert pool["correct"].sum() == 4 and len(pool.samples) == 8


def test_lists_that_are_not_taken_are_named(tmp_path):
    row = {"prompt_id": 0, "responses": ["a", "b"], "answers": ["1", "2"], "correct": [True, False]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    notes = read_pool(tmp_path / "a.jsonl").notes
    assert notes[1:3] == ("Taken as response: responses.", "Not used: answers.")


def test_many_unused_columns_are_counted():
    frame = pd.DataFrame({"prompt_id": [0], **{f"text{i}": ["x"] for i in range(11)}})
    assert unused(frame)[0].endswith("text7 and 3 more.")


@pytest.mark.parametrize(("name", "cure"), [("ID", "ID"), ("question_id", "question_id"), ("nr", "NAME")])
def test_a_missing_prompt_id_is_refused_with_the_option_that_names_it(tmp_path, name, cure):
    pd.DataFrame({name: np.arange(3), "correct": True}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match=f"found {name}, correct; say which it is, as --columns prompt_id={cure}$"):
        read_pool(tmp_path / "a.csv")
