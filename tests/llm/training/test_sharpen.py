"""The whole of a training on a model whose responses can be listed: rounds, adapters, resumption, what is measured."""

import gc

import numpy as np
import pandas as pd
import pytest
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from sharptheory.llm.training import sharpen as module
from sharptheory.llm.training.config import Config
from sharptheory.llm.training.examples import examples
from sharptheory.llm.training.sharpen import sharpen
from sharptheory.measure.imports import read_pool
from tests.llm.training.tiny import RESPONSES, log_law, tiny, tiny_oracle, tiny_task


def likeliest_letters(oracle, prompts) -> list[str]:
    return ["a.bc"[RESPONSES[log_law(oracle.model, ids).argmax()][0]] for ids in oracle.encode(prompts)]


TASK = tiny_task(["a", "b", "c", "ab", "bc", "ca"], ["a", "b", "c", "a", "b", "c"])
#: The first prompt has no gold answer; of the others it is how the base model's likeliest response begins.
HELD_OUT = tiny_task(PROMPTS := ["a", "b", "c", "ab"], [None, *likeliest_letters(tiny_oracle(tiny()), PROMPTS)[1:]])
SMALL = dict(n_samples=16, epochs=2, batch_size=4, learning_rate=4e-3, rounds=2)


QUICK = dict(n_eval=20, certify=False)


def run(folder, progress=None, oracle=None, *, n_eval=200, certify=True, **settings):
    oracle, config = oracle or tiny_oracle(tiny()), Config(**SMALL | settings)
    return oracle, *sharpen(oracle, TASK, HELD_OUT, folder, config, n_eval=n_eval, certify=certify, progress=progress)


@pytest.mark.parametrize("rank", [None, 8])
def test_rounds_with_and_without_adapters(tmp_path, rank):
    oracle = tiny_oracle(tiny())
    prompts = oracle.encode(HELD_OUT.prompts)
    base = np.stack([log_law(oracle.model, ids) for ids in prompts])
    models = lambda: sum(type(each) is LlamaForCausalLM for each in gc.get_objects())  # noqa: E731
    gc.collect()
    before, alive = models(), []
    _, table, baseline = run(
        tmp_path,
        lambda stage, *_: alive.append(models() - before) if stage == "training" else None,
        oracle,
        lora_rank=rank,
    )
    assert max(alive) == (1 if rank is None else 0), "copies of the base model"
    assert table[["round", "epoch"]].to_numpy().tolist() == [[0, 0], [1, 1], [1, 2], [2, 1], [2, 2]]
    np.testing.assert_array_equal(np.stack([log_law(oracle.model, ids) for ids in prompts]), base)

    # The saved model is the one that was measured, and its samples' likelihood is under the base.
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    trained = np.stack([log_law(saved, ids) for ids in prompts])
    assert np.abs(trained - base).max() > 0.5
    exact, last = (np.exp(trained) * base).sum(axis=1).mean(), table.iloc[-1]
    assert last["log_likelihood"] == pytest.approx(exact, abs=0.15)
    assert last["entropy"] == pytest.approx(-(np.exp(trained) * trained).sum(axis=1).mean(), abs=0.15)
    assert (
        last["log_likelihood"] > table["log_likelihood"].iloc[0] and last["argmax_mass"] > table["argmax_mass"].iloc[0]
    )

    # The first held-out prompt has no gold answer: accuracy is over the three others.
    pool = read_pool(tmp_path / "trained/pool.parquet")
    assert pool.greedy["correct"].isna().tolist() == [True, False, False, False]
    assert (3 * table["pass_at_n"]).round(9).isin([0, 1, 2, 3]).all() and table["accuracy"].notna().all()
    assert last["greedy_accuracy"] == pool.greedy["correct"].dropna().mean() and 0 <= last["best_of_n_accuracy"] <= 1
    assert table["greedy_accuracy"].iloc[:-1].isna().all()
    gap = baseline["best_of_n_accuracy"] - baseline["sampled_accuracy"]
    np.testing.assert_allclose(table["gap_closed"], (table["accuracy"] - baseline["sampled_accuracy"]) / gap)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "evaluation.parquet"), table)


@pytest.mark.parametrize("method", ["xpo", "dpo"])
def test_xpo_learns_from_all_rounds_and_others_from_the_last(tmp_path, monkeypatch, method):
    fresh = []
    monkeypatch.setattr(
        module, "examples", lambda *given, **named: fresh.append(examples(*given, **named)) or fresh[-1]
    )
    run(tmp_path, method=method, optimism=1e-3, epochs=1, **QUICK)
    first, second = map(len, fresh)
    learnt = pd.read_parquet(tmp_path / "log.parquet").groupby("round")["examples"].max()
    assert learnt.to_dict() == {1: first, 2: first + second if method == "xpo" else second}


@pytest.mark.parametrize("rank", [None, 8])
def test_rewards_of_later_rounds_are_the_bases(tmp_path, monkeypatch, rank):
    learnt = []
    monkeypatch.setattr(module, "examples", lambda pool, *_, **__: learnt.append(pool) or examples(pool, *_, **__))
    oracle, _, _ = run(tmp_path, lora_rank=rank, **QUICK)
    for pool in learnt:
        prompts = [TASK.prompts[i] for i in pool["prompt_id"]]
        scores = np.concatenate(oracle.evaluate(prompts, [[tuple(tokens)] for tokens in pool["tokens"]]))
        np.testing.assert_allclose(pool["log_likelihood"], scores, atol=1e-3)
    kept = read_pool(tmp_path / "round-2/pool.parquet")  # sampled by another policy, and so kept
    assert np.abs(kept["log_likelihood"] - learnt[1]["log_likelihood"]).max() > 0.1


@pytest.mark.parametrize("method", ["adaptive-sft", "dpo", "xpo", "bon-rlb-p"])
def test_every_method_sharpens(tmp_path, method):
    """Trained on likelihood, one sample is likelier under the base than a sample of the base is."""
    settings = dict(rounds=1 + (method == "xpo"), n=4, epochs=4, learning_rate=3e-3, n_samples=32, lora_rank=16)
    _, table, _ = run(tmp_path, method=method, **settings, certify=False, n_eval=100)
    assert table["log_likelihood"].iloc[-1] > table["log_likelihood"].iloc[0] + 0.2


def test_a_reward_of_ones_own_trains(tmp_path):
    (tmp_path / "mine.py").write_text("def short(pool):\n    return -pool['length']\n")
    _, table, _ = run(tmp_path / "out", reward=f"{tmp_path / 'mine.py'}:short", rounds=1, epochs=6, **QUICK)
    assert table["length"].iloc[-1] < table["length"].iloc[0] - 0.5
