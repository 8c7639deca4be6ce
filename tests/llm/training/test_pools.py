"""Pools that were given: taken as they are, scored under the model that learns from them, or refused in words."""

import numpy as np
import pandas as pd
import pytest

from sharptheory.errors import UserError
from sharptheory.llm.training.pools import check_origin, given_pool, rescored, score, tokenized
from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from tests.llm.training.killed import TASK
from tests.llm.training.tiny import EOS, RESPONSES, log_law, pool_of, tiny, tiny_oracle

BASE, OTHER = tiny_oracle(tiny()), tiny_oracle(tiny(1))
#: Two samples of each of two prompts.
TOKENS = [[(0, EOS), (2, 3, EOS)], [(3, EOS), (0, 0, 2)]]


def exact(oracle, prompt_id, tokens) -> float:
    """From the list of all responses."""
    [ids] = oracle.encode([TASK.prompts[prompt_id]])
    return float(log_law(oracle.model, ids)[RESPONSES.index(tuple(tokens))])


def rows(oracle=BASE, **columns) -> pd.DataFrame:
    values = [[exact(oracle, i, y) for y in line] for i, line in enumerate(TOKENS)]
    frame = pool_of(TOKENS, values, **columns)
    return frame.assign(length=frame["tokens"].map(len), prompt=[TASK.prompts[i] for i in frame["prompt_id"]])


@pytest.fixture()
def given(tmp_path):
    def take(frame, **options):
        frame.to_parquet(tmp_path / "given.parquet", index=False)
        return given_pool(tmp_path / "given.parquet", BASE, TASK, **options)

    return take


def test_a_pool_of_the_model_itself_is_taken_as_it_is(given, tmp_path):
    pool = given(rows())
    pd.testing.assert_frame_equal(pool.samples, read_pool(tmp_path / "given.parquet").samples)
    assert [tuple(y) for y in pool["tokens"]] == [y for line in TOKENS for y in line]
    assert len(given(rows().drop(columns="prompt")).samples) == 4
    assert len(given(rows().assign(prompt=[None, None, *rows()["prompt"][2:]])).samples) == 4


def test_a_pool_of_another_model_is_refused_and_taken_as_foreign(given):
    with pytest.raises(UserError, match=r"given\.parquet: its log-likelihoods are not this model's; .* --foreign"):
        given(rows(OTHER))
    pool = given(rows(OTHER), foreign=True)
    assert pool["log_likelihood"].tolist() == rows(OTHER)["log_likelihood"].tolist()


def test_what_a_foreign_model_wrote_is_tokenised_anew(given):
    frame = rows(OTHER).drop(columns="tokens").assign(response=["a", "bc", "c", ""])
    pool = given(frame, foreign=True)
    assert [tuple(y) for y in pool["tokens"]] == [(0, EOS), (2, 3, EOS), (3, EOS), (EOS,)]
    assert tokenized(pd.Series(["ab", ""], index=[7, 3]), BASE).to_dict() == {7: [0, 2, EOS], 3: [EOS]}
    kept = given(rows(OTHER).assign(response="c"), foreign=True)  # tokens that are given stay
    assert [tuple(y) for y in kept["tokens"]] == [y for line in TOKENS for y in line]
    missing = r"column 'tokens' is missing; training needs the token ids \(or --foreign and 'response'\)"
    for refused, foreign in ((frame, False), (frame.drop(columns="response"), True)):
        with pytest.raises(UserError, match=missing):
            given(refused, foreign=foreign)


def test_scores_are_aligned_with_the_rows_and_never_positive():
    frame = rows(OTHER).iloc[[2, 0, 3, 1]]
    found = score(frame, BASE.evaluate, TASK)
    assert found.index.tolist() == [2, 0, 3, 1]
    wanted = [exact(BASE, i, y) for i, y in zip(frame["prompt_id"], frame["tokens"])]
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    sure = score(frame, lambda prompts, responses: [np.array([1e-7, -1.0]) for _ in prompts], TASK)
    assert sorted(sure) == [-1.0, -1.0, 0.0, 0.0]


def test_a_pool_scored_anew_leaves_out_what_has_no_likelihood_and_greedy_responses():
    frame = pd.concat([rows(), rows().head(1).assign(source="greedy", sample_id=-1)])
    pool = Pool.from_frame(frame)
    impossible = lambda prompts, responses: [np.array([-1.0, -np.inf]), np.array([-2.0, -3.0])]  # noqa: E731
    found = rescored(pool, impossible, TASK)
    assert found["log_likelihood"].tolist() == [-1.0, -2.0, -3.0] and len(found.greedy) == 0
    assert [tuple(y) for y in found["tokens"]] == [TOKENS[0][0], *TOKENS[1]]


def test_the_origin_of_a_pool_is_told_by_its_first_samples():
    """To a hundredth of a nat per token, on as many rows as are asked for."""
    frame = rows()
    assert check_origin(BASE, TASK.prompts, Pool.from_frame(frame))
    assert not check_origin(OTHER, TASK.prompts, Pool.from_frame(frame))
    for shift, own in (
        (0.0195, True),
        (-0.0195, True),
        (0.0205, False),
        (-0.0205, False),
    ):  # of a response of two tokens
        shifted = frame.assign(log_likelihood=frame["log_likelihood"] + np.array([shift, 0, 0, 0]))
        assert check_origin(BASE, TASK.prompts, shifted) is own
    last = frame.assign(log_likelihood=frame["log_likelihood"] - np.array([0, 0, 0, 9.0]))
    assert check_origin(BASE, TASK.prompts, last, rows=3) and not check_origin(BASE, TASK.prompts, last, rows=4)
    many = pd.concat([frame.assign(prompt_id=frame["prompt_id"] + 2 * i) for i in range(3)])
    values = [exact(BASE, i, y) for i, y in zip(many["prompt_id"], many["tokens"])]
    assert check_origin(BASE, TASK.prompts, many.assign(log_likelihood=values))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.assign(tokens=[(0, EOS), (), (3, EOS), (0, 0, 2)]),
         "sample 1 has no tokens; expected its end of sequence at least"),
        (lambda f: f.assign(tokens=[(0, EOS), (2, EOS), (4, EOS), (0, 9, 2)]),
         r"sample 2 has token 4 but this tokenizer has 4; the pool is of a model .* drop column 'tokens' and use --foreign"),
        (lambda f: f.assign(prompt_id=["x", "x", "y", "y"]), r"prompt_id 'x'; expected numbers of the task's prompts, from 0"),
        (lambda f: f.assign(prompt_id=f["prompt_id"] - 1), r"prompt_id .*-1.*; expected numbers"),
        (lambda f: f.assign(prompt_id=f["prompt_id"] + 5), r"prompt_id 6 is beyond the 6 prompts of the task; raise --prompts"),
        (lambda f: f.assign(prompt=["a", "a", "c", "c"]),
         r"sample 2 asks 'c', prompt 1 of the task is 'b'; use the task and seed it was sampled with"),
    ],
)  # fmt: skip
def test_what_does_not_fit_model_and_task_is_refused_in_words(given, change, words):
    for foreign in (False, True):
        with pytest.raises(UserError, match=rf"given\.parquet: {words}"):
            given(change(rows()), foreign=foreign)
    assert len(given(rows().assign(prompt_id=rows()["prompt_id"] + 4, prompt=None), foreign=True).samples) == 4
