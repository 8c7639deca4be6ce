"""The prefix tree gives the probabilities of plain forward passes, whatever is asked for, in any order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.engines.loading import load_model
from sharptheory.llm.engines.prefixes import PrefixTree
from sharptheory.tasks import arithmetic
from sharptheory.testing import token_trees
from sharptheory.theory.policies import AutoregressivePolicy, TabularPolicy

QUERIES = (
    ([0], [()]),
    ([1, 0, 0, 0], [(), (3,), (5,), (12,)]),
    ([0, 1, 0], [(3, 4), (7,), (12, 6)]),
    ([2, 0, 0, 0, 0], [(4, 4, 4), (5, 5), (3, 4, 5), (12, 6, 7), (5, 5)]),
    ([0, 0, 1], [(3, 4, 5, 6), (5, 5, 3), (7,)]),
)


@pytest.fixture(scope="module")
def oracle():
    model, tokenizer = load_model("arithmetic-1m", device="cpu")
    return HuggingFaceOracle(model, tokenizer, max_new_tokens=96)


def plain(oracle, prompts, query):
    rows = []
    for x, prefix in zip(*query):
        tokens = torch.tensor([[*oracle.encode(prompts)[x], *prefix]])
        with torch.inference_mode():
            rows.append(oracle.model(tokens).logits[0, -1].log_softmax(-1).numpy())
    return np.stack(rows)


@pytest.mark.parametrize(
    "options", [{}, {"cached": False}, {"remember": False}, {"max_bytes": 0}, {"max_bytes": 60_000}]
)
def test_any_prefixes_of_any_prompts(oracle, options):
    """Cached, forgotten and encoded again: always what a plain forward pass says."""
    prompts = arithmetic.load(3).prompts
    tree = PrefixTree(oracle, prompts, **options)
    for query in (*QUERIES, *QUERIES[::-1]):
        np.testing.assert_allclose(tree(*query), plain(oracle, prompts, query), atol=1e-4)


def test_a_prefix_is_computed_once(oracle):
    prompts = arithmetic.load(3).prompts
    tree = PrefixTree(oracle, prompts)
    tree([0, 0, 0], [(), (), ()])
    assert tree.forward_tokens.tolist() == [len(oracle.encode(prompts)[0]), 0, 0]
    tree([0, 0, 0], [(3,), (3,), (4,)])
    tree([0, 0], [(3,), ()])
    assert tree.forward_tokens.tolist() == [len(oracle.encode(prompts)[0]) + 2, 0, 0]


def test_batches_keep_to_their_budget(oracle):
    small = HuggingFaceOracle(oracle.model, oracle.tokenizer, max_new_tokens=96, batch_tokens=40)
    prompts = arithmetic.load(1).prompts
    prefixes = [(token,) for token in range(3, 15)]
    tree = PrefixTree(small, prompts)
    tree([0], [()])
    np.testing.assert_allclose(tree([0] * 12, prefixes), plain(oracle, prompts, ([0] * 12, prefixes)), atol=1e-4)


def test_out_of_memory_extends_fewer_prefixes_at_once(oracle, monkeypatch):
    """And counts each token once, however often it was tried."""
    own = HuggingFaceOracle(oracle.model, oracle.tokenizer, max_new_tokens=96)
    forward = type(oracle.model).forward

    def small_memory(self, input_ids, **kwargs):
        if input_ids.shape[0] > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids=input_ids, **kwargs)

    prompts, prefixes = arithmetic.load(1).prompts, [(token,) for token in range(3, 15)]
    expected = plain(oracle, prompts, ([0] * 12, prefixes))
    monkeypatch.setattr(type(oracle.model), "forward", small_memory)
    tree = own.next_token(prompts)
    tree([0], [()])
    with pytest.warns(UserWarning, match="out of memory"):
        np.testing.assert_allclose(tree([0] * 12, prefixes), expected, atol=1e-4)
    assert tree.forward_tokens.tolist() == [len(own.encode(prompts)[0]) + 12]


def test_a_table_is_a_tree_of_depth_one():
    table = TabularPolicy.from_probs(np.random.default_rng(0).dirichlet(np.ones(5), size=3))
    single = AutoregressivePolicy.from_table(table)
    np.testing.assert_allclose(np.exp(single.table().log_probs), np.pad(table.probs, ((0, 0), (1, 0))))
    np.testing.assert_array_equal(single.next_token([1], [(2,)])[0], [-np.inf] * 5 + [0])


@given(token_trees())
@settings(deadline=None, derandomize=True, max_examples=50)
def test_chained_conditionals_are_the_enumerated_law(policy):
    exact = policy.table().log_probs[0]
    for i, response in enumerate(policy.responses):
        tokens = (*response, policy.n_tokens)
        rows = policy.next_token([0] * len(tokens), [tokens[:h] for h in range(len(tokens))])
        assert sum(row[token] for row, token in zip(rows, tokens)) == pytest.approx(exact[i], abs=1e-9)
