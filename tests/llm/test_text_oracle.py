"""Pools, searches and comparisons ask an engine for nothing but `TextOracle`: an enumerable one will do."""

import numpy as np
import pytest
from scipy.special import log_softmax

from sharptheory.llm.decoding.compare import compare_task
from sharptheory.llm.decoding.search import search_task
from sharptheory.llm.sampling import sample_pool
from sharptheory.oracle import CountedNextToken, Response, TextOracle
from sharptheory.tasks import Task
from sharptheory.theory.policies import AutoregressivePolicy

PROMPTS = ["0", "1", "2"]


class TreeEngine:
    """A token tree of three prompts as a language model; token 3 ends a response."""

    stop_ids, statistics = frozenset({3}), ()

    def __init__(self):
        rng = np.random.default_rng(0)
        self.tree = AutoregressivePolicy(
            tuple(log_softmax(2 * rng.normal(size=(3, 3**h, 4)), axis=-1) for h in range(3))
        )
        self.max_new_tokens = self.tree.horizon + 1

    @property
    def settings(self):
        return {"max_new_tokens": self.max_new_tokens}

    def encode(self, prompts):
        return [[int(prompt)] for prompt in prompts]

    def decode(self, tokens):
        return "".join(str(token) for token in tokens if token != 3)

    def next_token(self, prompts, *, remember=True):
        return Counted(self.tree, prompts)

    def _written(self, prompt, rng=None):
        tokens, total = (), 0.0
        while not tokens or tokens[-1] != 3:
            [log_probs] = self.tree.next_token([int(prompt)], [tokens])
            token = int(log_probs.argmax() if rng is None else rng.choice(4, p=np.exp(log_probs)))
            tokens, total = (*tokens, token), total + float(log_probs[token])
        return Response(tokens, total)

    def sample_groups(self, prompts, n, *, seed=0, numbers=None, first=0, skip=frozenset()):
        for i, prompt in zip(range(len(prompts)) if numbers is None else numbers, prompts):
            if i not in skip:
                rngs = (np.random.default_rng([seed, i, j]) for j in range(first, first + n))
                yield [i], [[self._written(prompt, rng) for rng in rngs]]

    def sample(self, prompts, n, *, seed=0):
        return [rows[0] for _, rows in self.sample_groups(prompts, n, seed=seed)]

    def greedy(self, prompts):
        return [self._written(prompt) for prompt in prompts]

    def evaluate(self, prompts, responses):
        law = self.tree.next_token
        return [
            np.array([sum(law([int(x)], [y[:t]])[0][y[t]] for t in range(len(y))) for y in given])
            for x, given in zip(prompts, responses)
        ]

    def p_true(self, prompts, responses):
        return np.full(len(prompts), 0.5)


class Counted:
    def __init__(self, tree, prompts):
        self.tree, self.prompts = tree, [int(prompt) for prompt in prompts]
        self.forward_tokens = np.zeros(len(prompts), dtype=np.int64)

    def __call__(self, prompts, prefixes):
        np.add.at(self.forward_tokens, list(prompts), 1)
        return self.tree.next_token([self.prompts[x] for x in prompts], prefixes)


@pytest.fixture()
def task() -> Task:
    return Task("tree", PROMPTS, ["0", "1", "2"], extract=lambda text: text[:1])


def test_the_engine_is_a_text_oracle():
    engine = TreeEngine()
    assert isinstance(engine, TextOracle) and isinstance(engine.next_token(PROMPTS), CountedNextToken)


def test_a_pool_of_any_engine(task, tmp_path):
    pool = sample_pool(TreeEngine(), task, 8, tmp_path, judge=True)
    assert (
        len(pool.samples) == 3 * 8
        and len(pool.greedy) == 3
        and (pool["p_true"] == 0.5).all()
        and pool["correct"].notna().all()
    )


def test_the_argmax_of_any_engine_is_that_of_enumeration(task, tmp_path):
    engine = TreeEngine()
    table = search_task(engine, task, tmp_path)
    assert table["certified"].all()
    np.testing.assert_allclose(table["log_p"], engine.tree.table().log_probs.max(1), atol=1e-9)


def test_decoders_of_any_engine_are_compared(task, tmp_path):
    options = dict(n=8, beams=(2,), alphas=(2.0,), particles=(4,), steps=(4,))
    table = compare_task(TreeEngine(), task, tmp_path, **options)
    assert {"greedy", "beam search", "argmax search"} <= set(table["method"])
    paid = table[table["method"].isin(["beam search", "argmax search"])]
    assert (paid["forward_tokens"] > 0).all()
