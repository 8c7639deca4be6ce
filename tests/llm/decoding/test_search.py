"""Certified argmax search: agrees with enumeration on token trees, and certifies the shipped model."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from sharptheory.decoding.best_first import best_first
from sharptheory.llm.decoding.search import find_argmax, search_task, summarize
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.engines.loading import load_model
from sharptheory.tasks import arithmetic
from sharptheory.testing import token_trees
from sharptheory.theory.coverage import argmax_summary
from sharptheory.theory.policies import AutoregressivePolicy
from tests.llm.training.tiny import RESPONSES, log_law, tiny, tiny_oracle, tiny_task


@given(token_trees(), st.sampled_from([0.0, 0.3, 0.9]), st.integers(1, 4), st.integers(1, 7))
@settings(deadline=None, derandomize=True, max_examples=150)
def test_search_agrees_with_enumeration(policy, gamma, keep, batch):
    table = policy.table()
    exact = table.log_probs[0]
    result = best_first(
        policy.next_token,
        [policy.n_tokens],
        max_tokens=policy.horizon + 1,
        budget=10_000,
        gamma=gamma,
        keep=keep,
        batch=batch,
    )
    assert result.certified and result.complete
    assert result.log_p == pytest.approx(exact.max(), abs=1e-9)
    kept = {tokens[:-1]: log_p for tokens, log_p in result.responses}
    for tokens, log_p in kept.items():
        assert log_p == pytest.approx(exact[policy.responses.index(tokens)], abs=1e-9)
    # All near-maximisers clear of the edge are there, and the `keep` best.
    for i in np.flatnonzero(exact > exact.max() + np.log1p(-gamma) + 1e-5 if gamma > 0 else []):
        assert policy.responses[i] in kept
    expected = np.sort(exact[exact > -np.inf])[::-1][:keep]
    np.testing.assert_allclose(sorted(kept.values(), reverse=True)[: len(expected)], expected, atol=1e-9)


@given(token_trees(), st.integers(1, 6))
@settings(deadline=None, derandomize=True)
def test_a_cut_off_search_brackets_the_maximum(policy, budget):
    exact = policy.table().log_probs[0].max()
    result = best_first(policy.next_token, [policy.n_tokens], max_tokens=policy.horizon + 1, budget=budget, batch=1)
    assert result.log_p <= exact + 1e-9 and result.log_upper >= exact - 1e-9 and result.expanded <= budget


def test_length_budgets_widen_the_bound():
    """A model that never ends in time has no argmax to certify."""
    level = np.log(np.array([[[0.9, 0.1]]]))
    policy = AutoregressivePolicy((level, level, level))
    result = best_first(policy.next_token, [1], max_tokens=2)
    assert not result.certified and result.log_p == pytest.approx(np.log(0.1))
    assert result.log_upper == pytest.approx(2 * np.log(0.9))


@pytest.fixture(scope="module")
def shipped():
    model, tokenizer = load_model("arithmetic-1m", device="cpu")
    task = arithmetic.load(200)
    return HuggingFaceOracle(model, tokenizer, max_new_tokens=task.max_new_tokens), task


def test_the_argmax_of_the_shipped_model_is_certified(shipped):
    """20 test prompts within 1,000 prefixes each; the certified likelihood is that of re-scoring, and no sample beats it."""
    oracle, task = shipped
    prompts = task.prompts[:20]
    found = [find_argmax(oracle, prompt, budget=1_000) for prompt in prompts]
    assert all(result.certified for result in found)
    scores = oracle.evaluate(prompts, [[result.tokens] for result in found])
    np.testing.assert_allclose(np.concatenate(scores), [result.log_p for result in found], atol=1e-4)
    for result, samples in zip(found, oracle.sample(prompts, 32, seed=5)):
        assert max(response.log_likelihood for response in samples) <= result.log_p + 1e-4


def test_exact_mass_predicts_hit_rates(shipped):
    """Pools hit the certified argmax as often as its exact probability says: within 5 standard errors over 20 prompts."""
    oracle, task = shipped
    prompts, n = task.prompts[20:40], 64
    found = [find_argmax(oracle, prompt) for prompt in prompts]
    hits = [sum(r.tokens == f.tokens for r in samples) for f, samples in zip(found, oracle.sample(prompts, n, seed=9))]
    mass = np.exp([f.log_p for f in found])
    assert abs(sum(hits) - n * mass.sum()) < 5 * np.sqrt((n * mass * (1 - mass)).sum())


@pytest.mark.slow
def test_99_percent_of_200_prompts_are_certified(shipped):
    oracle, task = shipped
    torch.set_num_threads(2)
    found = [find_argmax(oracle, prompt, budget=1_000) for prompt in task.prompts]
    assert np.mean([result.certified for result in found]) >= 0.99


@pytest.mark.parametrize(
    ("options", "message"), [({"gamma": 1.0}, "gamma=1.0"), ({"keep": 0}, "keep=0"), ({"budget": 0}, "budget=0")]
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        best_first(lambda *_: None, [0], max_tokens=3, **options)


def test_enumeration_gives_exact_coverage():
    """Threshold mode returns all of y*_γ, so q_γ is exact."""
    rng = np.random.default_rng(1)
    policy = AutoregressivePolicy(tuple(log_softmax(rng.normal(size=(1, 3**h, 4)), axis=-1) for h in range(3)))
    result = best_first(policy.next_token, [3], max_tokens=4, budget=10_000, gamma=0.6)
    mass = sum(np.exp(log_p) for _, log_p in result.responses if log_p >= result.log_p + np.log(0.4) - 1e-9)
    assert mass == pytest.approx(float(np.exp(argmax_summary(policy.table(), 0.6).log_mass[0])), rel=1e-9)


# A task -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.6])
def test_search_of_a_task_agrees_with_a_list_of_all_responses(tmp_path, gamma):
    """Argmax, mass of y*_γ, runner-up, and whether token-wise greedy decoding is the argmax, on models of both kinds."""
    found, greedy = [], []
    for seed in range(4):
        oracle, task = tiny_oracle(tiny(seed)), tiny_task(["a", "b", "c", "ab"], [None, "b", "c", "a"])
        table = search_task(oracle, task, tmp_path / str(seed), gamma=gamma, samples=2)
        for row, ids, response in zip(table.itertuples(), oracle.encode(task.prompts), oracle.greedy(task.prompts)):
            # A response without its end is none; where one of those is likelier, the argmax cannot be certified.
            exact = pd.Series(log_law(oracle.model, ids), index=pd.MultiIndex.from_tuples([(y,) for y in RESPONSES]))
            ended = exact[[y[-1] == 1 for (y,) in exact.index]].sort_values(ascending=False)
            if not row.certified:
                continue
            assert tuple(row.tokens) == ended.index[0][0] and row.log_p == pytest.approx(ended.iloc[0], abs=1e-4)
            assert row.greedy_is_argmax == (response.tokens == ended.index[0][0])
            greedy.append(row.greedy_is_argmax)
            if row.complete:
                found.append(row.prompt_id)
                inside = ended[ended >= ended.iloc[0] + np.log1p(-gamma) - 1e-9]
                assert row.log_q == pytest.approx(np.logaddexp.reduce(inside), abs=1e-4) and row.n_maximizers == len(
                    inside
                )
                assert row.log_runner_up == pytest.approx(ended.iloc[1], abs=1e-4)
    assert len(found) >= 6 and {True, False} == set(greedy)


def test_a_summary_of_a_task_by_hand():
    """Two complete prompts with margins 1 and 3, one certified, one neither; the second has no gold answer."""
    table = pd.DataFrame({
        "certified": [True, True, True, False], "complete": [True, True, False, False],
        "log_p": np.log([0.5, 0.4, 0.2, 0.1]), "log_upper": np.log([0.5, 0.4, 0.2, 0.125]),
        "log_q": np.log([0.8, 0.4, np.nan, np.nan]), "log_runner_up": np.log([0.25, 0.1, np.nan, np.nan]),
        "greedy_is_argmax": [True, False, False, True],
        "correct": pd.array([True, None, True, False], dtype="boolean"),
        "greedy_correct": pd.array([True, None, False, False], dtype="boolean"), "expanded": [1, 2, 4, 9],
    })  # fmt: skip
    assert summarize(table, 0.5) == pytest.approx({
        "n_prompts": 4, "n_certified": 3, "n_complete": 2, "n_margins": 2, "n_graded": 3, "n_certified_graded": 2,
        "gamma": 0.5, "c_cov_bar": (2 + 2.5 + 5) / 3, "c_cov_gamma": (1.25 + 2.5) / 2,
        "c_cov_bar_at_least": (2 + 2.5 + 5 + 8) / 4,
        # Of four values 1 - √(log 20/8) = 0.388 of the mass is kept, from the least on.
        "c_cov_all_at_least": 1 + 0.25 * (2 - 1) + (0.75 - np.sqrt(np.log(20) / 8)) * (2.5 - 1),
        "margin": 1.0, "median_margin": 2.0,
        "greedy_is_argmax": 1 / 3, "argmax_accuracy": 1.0, "greedy_accuracy_certified": 1 / 2, "greedy_accuracy": 1 / 3,
        "median_expanded": 3.0, "max_expanded": 9,
    })  # fmt: skip
    nothing = summarize(table.iloc[3:], 0.5)
    assert (
        nothing["margin"] is nothing["c_cov_bar"] is nothing["greedy_is_argmax"] is nothing["argmax_accuracy"] is None
    )
    assert nothing["n_certified"] == nothing["n_certified_graded"] == nothing["n_margins"] == 0
    assert nothing["c_cov_bar_at_least"] == pytest.approx(8.0) and nothing["c_cov_all_at_least"] == 1.0
    assert nothing["greedy_accuracy"] == 0.0 and nothing["n_graded"] == 1
