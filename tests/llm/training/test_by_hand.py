"""Every number that a training reports, by hand: on samples that are written down, and on a list of all responses."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from transformers import AutoModelForCausalLM

from sharptheory.llm.training.config import Config
from sharptheory.llm.training.evaluation import Evaluation, baselines, trained_decoding
from sharptheory.llm.training.sharpen import sharpen
from sharptheory.measure.bootstrap import PROPORTION, mean_over_prompts
from sharptheory.measure.imports import read_pool
from sharptheory.measure.pool import Pool
from sharptheory.oracle import Response
from tests.llm.training.killed import HELD_OUT, TASK
from tests.llm.training.tiny import RESPONSES, log_law, pool_of, tiny, tiny_oracle, tiny_task

A, DOT, B, C = 0, 1, 2, 3
#: Log-likelihood of each response under the base model, whatever the prompt.
BASE = {(A, DOT): np.log(0.5), (B, DOT): np.log(0.25), (C, B, DOT): np.log(0.125), (C, DOT): np.log(0.0625)}
THREE = tiny_task(["a", "b", "c"], ["a", None, "b"])


def under_base(prompts, responses):
    return [np.array([BASE[tuple(y)] for y in row]) for row in responses]


def policy(samples, argmax_mass):
    """Two samples of each prompt, with the policy's own probabilities, one of 0.1 cut, and its mass of each certified argmax."""

    def sample(prompts, n, *, seed):
        assert (prompts, n, seed) == (THREE.prompts, 2, 8)
        return [[Response(y, float(np.log(p)), p > 0.1) for y, p in row] for row in samples]

    def evaluate(prompts, responses):
        assert prompts == ["a", "c"] and responses == [[(A, DOT)], [(C, B, DOT)]]
        return [np.log([p]) for p in argmax_mass]

    letters = {A: "a", B: "b", C: "c"}
    decode = lambda tokens: "".join(letters.get(token, "") for token in tokens)  # noqa: E731
    return SimpleNamespace(sample=sample, evaluate=evaluate, decode=decode)


def baseline_pool() -> Pool:
    """One sample is right half of the time, the likelier of two always; greedy is right on the first prompt."""
    tokens = [[(A, DOT), (B, DOT)], [(A, DOT), (B, DOT)], [(B, DOT), (C, DOT)]]
    samples = pool_of(tokens, [[BASE[y] for y in row] for row in tokens], length=2, finished=True)
    samples["correct"] = pd.array([True, False, None, None, True, False], dtype="boolean")
    greedy = pool_of(
        [[(A, DOT)], [(A, DOT)], [(C, B, DOT)]], [[BASE[A, DOT]], [BASE[A, DOT]], [BASE[C, B, DOT]]], length=2
    )
    greedy = greedy.assign(
        sample_id=-1, source="greedy", finished=True, correct=pd.array([True, None, False], "boolean")
    )
    return Pool.from_frame(pd.concat([samples, greedy], ignore_index=True))


ARGMAX = pd.DataFrame(
    {
        "prompt_id": [0, 1, 2],
        "tokens": [(A, DOT), (B, DOT), (C, B, DOT)],
        "certified": [True, False, True],
        "log_p": np.log([0.5, 0.9, 0.125]),
    }
)
SAMPLES = [
    [((A, DOT), 0.6), ((A, DOT), 0.6)],  # right twice, and the same twice
    [((B, DOT), 0.3), ((C, B, DOT), 0.2)],
    [((B, DOT), 0.3), ((C, DOT), 0.1)],  # right once
]


def test_an_evaluation_by_hand():
    measure = Evaluation(under_base, THREE, n=2, baseline=baseline_pool(), argmax=ARGMAX, seed=7)
    row = measure(policy(SAMPLES, argmax_mass=(0.95, 0.4)))
    log = np.log
    expected = {
        # Under the base model, not the policy.
        "log_likelihood": [log(0.5), log(0.25 * 0.125) / 2, log(0.25 * 0.0625) / 2],
        # Of the policy, by its own log-likelihoods.
        "entropy": [-log(0.6), -log(0.3 * 0.2) / 2, -log(0.3 * 0.1) / 2],
        "distinct": [0.5, 1, 1],
        "length": [2, 2.5, 2],
        "unfinished": [0, 0, 0.5],
        # Over the prompts with a gold answer.
        "accuracy": [1, 0.5],
        "pass_at_n": [1, 1],
        # Over the certified prompts.
        "argmax_mass": [0.95, 0.4],
        "sharpened_0.5": [1, 0],
        "sharpened_0.1": [1, 0],
    }
    assert list(row) == [f"{name}{end}" for name in (*expected, "gap_closed") for end in ("", "_low", "_high")]
    proportions = ("unfinished", "accuracy", "pass_at_n", "argmax_mass", "sharpened_0.5", "sharpened_0.1")
    for name, values in expected.items():
        assert row[name] == pytest.approx(np.mean(values)), name
        # Their ends are those of the library's bootstrap of these values, as proportions or not, by this seed.
        ends = (
            PROPORTION
            if name in proportions
            else {"log_likelihood": (-np.inf, 0), "distinct": (0, 1)}.get(name, (0, np.inf))
        )
        interval = mean_over_prompts(np.array(values, dtype=float), ends=ends).columns(name)
        assert {end: row[end] for end in interval} == pytest.approx(interval)
    # From .5 (one sample of the base) half of the way to 1 (its best of 2).
    assert row["gap_closed"] == pytest.approx((0.75 - 0.5) / (1 - 0.5))


@pytest.mark.parametrize(("wrong", "closed"), [(0, 1.0), (1, 0.5), (2, 0.0), (3, -0.5), (4, -1.0)])
def test_the_gap_is_closed_forwards(wrong, closed):
    """Of four graded samples so many are wrong: below one sample of the base, the share is negative."""
    right = [[(A, DOT)] * 2, [(A, DOT)] * 2, [(B, DOT)] * 2]
    for i, j in [(0, 0), (2, 0), (0, 1), (2, 1)][:wrong]:
        right[i][j] = (C, DOT)
    samples = [[(y, 0.5) for y in row] for row in right]
    row = Evaluation(under_base, THREE, n=2, baseline=baseline_pool(), seed=7)(policy(samples, ()))
    assert row["accuracy"] == 1 - wrong / 4 and row["gap_closed"] == pytest.approx(closed)
    assert "argmax_mass" not in row


def test_an_argmax_is_sharpened_at_the_threshold_itself():
    measure = Evaluation(under_base, THREE, n=2, baseline=baseline_pool(), argmax=ARGMAX, seed=7)
    row = measure(policy(SAMPLES, argmax_mass=(0.5 + 1e-9, 0.9 + 1e-9)))
    assert (row["sharpened_0.5"], row["sharpened_0.1"]) == (1, 0.5)
    row = measure(policy(SAMPLES, argmax_mass=(0.5 - 1e-9, 0.9 - 1e-9)))
    assert (row["sharpened_0.5"], row["sharpened_0.1"]) == (0.5, 0)


def test_without_a_certified_argmax_and_without_gold_answers_there_is_neither():
    nothing = ARGMAX.assign(certified=False)
    pool = baseline_pool()
    pool = Pool(pool.samples.drop(columns="correct"), pool.greedy.drop(columns="correct"))
    row = Evaluation(under_base, THREE, n=2, baseline=pool, argmax=nothing, seed=7)(policy(SAMPLES, ()))
    assert {name for name in row if not name.endswith(("_low", "_high"))} == {
        "log_likelihood", "entropy", "distinct", "length", "unfinished",
    }  # fmt: skip
    assert set(baselines(pool, nothing)) == {
        f"{kind}_log_likelihood" for kind in ("sampled", "greedy", "best_of_n")
    } | {"n", "unfinished"}


def test_baselines_by_hand():
    log, pool = np.log, baseline_pool()
    pool = pool.assign(finished=[True, True, False, True, True, True])
    assert baselines(pool, ARGMAX) == pytest.approx({
        "n": 2,
        "unfinished": 1 / 6,
        "sampled_accuracy": 0.5,
        "best_of_n_accuracy": 1.0,
        "greedy_accuracy": 0.5,
        "sampled_log_likelihood": log(0.5 * 0.25 * 0.5 * 0.25 * 0.25 * 0.0625) / 6,
        "best_of_n_log_likelihood": log(0.5 * 0.5 * 0.25) / 3,
        "greedy_log_likelihood": log(0.5 * 0.5 * 0.125) / 3,
        "argmax_mass": (0.5 + 0.125) / 2,
        "certified": 2 / 3,
    })  # fmt: skip


def test_a_trained_model_chooses_by_its_own_likelihood_by_hand():
    """On the third prompt it prefers what the base does not; what it chose is scored under the base."""
    tokens = [[(A, DOT), (B, DOT)], [(A, DOT), (B, DOT)], [(B, DOT), (C, DOT)]]
    samples = pool_of(tokens, np.log([[0.9, 0.1], [0.8, 0.2], [0.1, 0.7]]), length=2, finished=True)
    samples["correct"] = pd.array([True, False, None, None, True, False], dtype="boolean")
    greedy = pool_of([[(B, DOT)]] * 3, np.log([[0.1], [0.2], [0.1]]), length=2, finished=True).assign(
        sample_id=-1, source="greedy", correct=pd.array([False, None, True], "boolean")
    )
    pool = Pool.from_frame(pd.concat([samples, greedy], ignore_index=True))
    assert trained_decoding(pool, under_base, THREE) == pytest.approx({
        "greedy_accuracy": 0.5,
        "best_of_n_accuracy": 0.5,
        "greedy_log_likelihood": np.log(0.25),
        "best_of_n_log_likelihood": np.log(0.5 * 0.5 * 0.0625) / 3,
    })  # fmt: skip


# A whole training -----------------------------------------------------------------------------------------------------


def laws(oracle) -> list[dict]:
    """Of each held-out prompt the log-probabilities of all responses."""
    return [dict(zip(RESPONSES, log_law(oracle.model, ids))) for ids in oracle.encode(HELD_OUT.prompts)]


def row_by_hand(oracle, base, n, seed) -> dict:
    own, reference = laws(oracle), laws(base)
    samples = [[r.tokens for r in row] for row in oracle.sample(HELD_OUT.prompts, n, seed=seed)]
    graded = [
        np.array([oracle.decode(y)[:1] == gold for y in row]) for row, gold in zip(samples, HELD_OUT.answers) if gold
    ]
    best = [max(law, key=law.get) for law in reference]
    mass = np.array([np.exp(law[y]) for law, y in zip(own, best) if y[-1] == DOT])
    return {
        "accuracy": np.mean([right.mean() for right in graded]),
        "pass_at_n": np.mean([right.any() for right in graded]),
        "log_likelihood": np.mean([law[y] for law, row in zip(reference, samples) for y in row]),
        "entropy": -np.mean([law[y] for law, row in zip(own, samples) for y in row]),
        "distinct": np.mean([len(set(row)) / n for row in samples]),
        "length": np.mean([len(y) for row in samples for y in row]),
        "argmax_mass": mass.mean(),
        "sharpened_0.5": np.mean(mass >= 0.5),
        "sharpened_0.1": np.mean(mass >= 0.9),
    }


def decoding_by_hand(oracle, base, n, seed) -> dict:
    """Greedy decoding and the likeliest of n samples: how often right, and how likely under the base."""
    own, reference = laws(oracle), laws(base)
    sampled = [[r.tokens for r in row] for row in oracle.sample(HELD_OUT.prompts, n, seed=seed)]
    chosen = {
        "greedy": [r.tokens for r in oracle.greedy(HELD_OUT.prompts)],
        "best_of_n": [max(row, key=law.get) for law, row in zip(own, sampled)],
    }
    right = lambda ys: np.mean([oracle.decode(y)[:1] == gold for y, gold in zip(ys, HELD_OUT.answers) if gold])  # noqa: E731
    found = {f"{kind}_accuracy": right(ys) for kind, ys in chosen.items()}
    return found | {
        f"{k}_log_likelihood": np.mean([law[y] for law, y in zip(reference, ys)]) for k, ys in chosen.items()
    }


@pytest.mark.parametrize(("method", "rank"), [("sft", None), ("xpo", 8)])
def test_every_number_of_a_training_is_that_of_the_list_of_all_responses(tmp_path, method, rank):
    """The base model and the saved one, sampled anew and looked up in the lists of their laws."""
    base, seed, n, n_eval = tiny_oracle(tiny()), 3, 6, 10
    config = Config(
        method=method, rounds=2, n_samples=12, epochs=2, batch_size=4, learning_rate=2e-3, seed=seed, lora_rank=rank,
        optimism=1e-3,
    )  # fmt: skip
    table, ends = sharpen(base, TASK, HELD_OUT, tmp_path, config, n_eval=n_eval, n_baseline=n, eval_every=2)
    trained = tiny_oracle(AutoModelForCausalLM.from_pretrained(tmp_path / "model"))
    assert table[["round", "epoch"]].to_numpy().tolist() == [[0, 0], [1, 2], [2, 2]]
    first, last = table.iloc[0], table.iloc[-1]
    for row, oracle in ((first, base), (last, trained)):
        expected = row_by_hand(oracle, base, n_eval, seed + 1)
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=2e-4)
    assert abs(last["log_likelihood"] - first["log_likelihood"]) > 0.1
    expected = decoding_by_hand(trained, base, n, seed)
    assert {name: last[name] for name in expected} == pytest.approx(expected, abs=2e-4)
    assert table.iloc[:-1][list(expected)].isna().all(axis=None)
    expected = decoding_by_hand(base, base, n, seed)
    assert {name: ends[name] for name in expected} == pytest.approx(expected, abs=2e-4) and ends["n"] == n
    # Each round samples with a seed of its own, the first from the base.
    for round_, oracle in ((1, base), (2, None)):
        pool = read_pool(tmp_path / f"round-{round_}/pool.parquet").samples
        if oracle is not None:
            samples = oracle.sample(TASK.prompts, 12, seed=seed + 1000 * round_)
            assert [r.tokens for row in samples for r in row] == [tuple(y) for y in pool["tokens"]]
        assert len(pool) == 72
    log = pd.read_parquet(tmp_path / "log.parquet")
    assert log.groupby("round")["step"].max().tolist() == [
        2 * -(-n // 4) for n in log.groupby("round")["examples"].max()
    ]
