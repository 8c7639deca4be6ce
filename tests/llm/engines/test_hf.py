"""The Hugging Face oracle: the law it samples from, the likelihoods it reports, its bookkeeping."""

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import MistralConfig, MistralForCausalLM

from sharptheory.llm.engines.hf import JUDGE, HuggingFaceOracle, _choose
from sharptheory.llm.engines.loading import load_model
from tests.llm.conftest import random_llama

PROMPTS = ["1+2=", "12-34+5=", "9-9="]


@pytest.fixture()
def oracle(model, tokenizer) -> HuggingFaceOracle:
    return HuggingFaceOracle(model, tokenizer, max_new_tokens=12)


def plain_log_likelihood(model, prompt_ids, tokens) -> float:
    """One forward pass over prompt and response, no cache, no batch."""
    ids = torch.tensor([[*prompt_ids, *tokens]])
    with torch.inference_mode():
        log_probs = model(input_ids=ids).logits[0].double().log_softmax(-1)
    return float(sum(log_probs[len(prompt_ids) - 1 + t, token] for t, token in enumerate(tokens)))


def test_log_likelihoods_are_those_of_a_plain_forward_pass(oracle, model):
    for prompt, row in zip(PROMPTS, oracle.sample(PROMPTS, 20)):
        ids = oracle.encode([prompt])[0]
        for response in row:
            assert response.log_likelihood == pytest.approx(plain_log_likelihood(model, ids, response.tokens), abs=1e-4)


def test_evaluate_agrees_with_sampling(oracle):
    rows = oracle.sample(PROMPTS, 20)
    scores = oracle.evaluate(PROMPTS, [[r.tokens for r in row] for row in rows])
    for row, score in zip(rows, scores):
        np.testing.assert_allclose([r.log_likelihood for r in row], score, atol=1e-4)


def test_evaluate_in_small_batches_agrees(oracle, model, tokenizer):
    rows = [[r.tokens for r in row] for row in oracle.sample(PROMPTS, 9)]
    tight = HuggingFaceOracle(model, tokenizer, max_new_tokens=12, batch_tokens=40)
    for a, b in zip(oracle.evaluate(PROMPTS, rows), tight.evaluate(PROMPTS, rows)):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_samples_follow_the_model(oracle, model):
    """First tokens, and second tokens after the likeliest first, pass a χ² test against the softmax."""
    prompt, n = PROMPTS[0], 6_000
    rows = oracle.sample([prompt], n)[0]
    ids = oracle.encode([prompt])[0]

    def check(prefix, tokens):
        with torch.inference_mode():
            probs = model(input_ids=torch.tensor([[*ids, *prefix]])).logits[0, -1].double().softmax(-1).numpy()
        counts, expected = np.bincount(tokens, minlength=len(probs)), probs * len(tokens)
        rare = expected < 5
        counts = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
        assert stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-4

    first = np.array([r.tokens[0] for r in rows])
    check([], first)
    values, counts = np.unique(first, return_counts=True)
    top = int(next(v for v in values[np.argsort(-counts)] if v not in oracle.stop_ids))
    check([top], np.array([r.tokens[1] for r in rows if r.tokens[0] == top]))


def test_generation_config_does_not_truncate_the_distribution(model, tokenizer, oracle):
    plain = oracle.sample(PROMPTS, 30)
    model.generation_config.update(do_sample=True, top_k=1, top_p=0.1, temperature=0.01)
    try:
        assert HuggingFaceOracle(model, tokenizer, max_new_tokens=12).sample(PROMPTS, 30) == plain
    finally:
        model.generation_config.update(do_sample=False, top_k=50, top_p=1.0, temperature=1.0)


def test_seed_decides_everything(oracle):
    assert oracle.sample(PROMPTS, 8, seed=1) == oracle.sample(PROMPTS, 8, seed=1)
    assert oracle.sample(PROMPTS, 8, seed=1) != oracle.sample(PROMPTS, 8, seed=2)


def test_a_sample_does_not_depend_on_how_many_others_are_drawn(oracle, model, tokenizer):
    small = oracle.sample(PROMPTS[:2], 5, seed=3)
    tight = HuggingFaceOracle(model, tokenizer, max_new_tokens=12, batch_tokens=60)
    for large in (oracle.sample(PROMPTS, 16, seed=3), tight.sample(PROMPTS, 16, seed=3)):
        for few, many in zip(small, large):
            assert [r.tokens for r in few] == [r.tokens for r in many[:5]]


def test_skipping_finished_prompts_leaves_the_others_unchanged(oracle):
    groups = list(oracle.sample_groups(PROMPTS, 4))
    assert sorted(i for ids, _ in groups for i in ids) == [0, 1, 2]
    for ids, drawn in oracle.sample_groups(PROMPTS, 4, skip=frozenset({0, 2})):
        assert (ids, drawn) in groups and ids == [1]


def test_finished_means_end_of_sequence(oracle):
    for response in oracle.sample(PROMPTS, 50)[0]:
        assert response.finished == (response.tokens[-1] in oracle.stop_ids)
        assert not set(response.tokens[:-1]) & oracle.stop_ids
        assert response.finished or len(response.tokens) == 12


def test_greedy_takes_the_likeliest_token(oracle, model):
    response = oracle.greedy(PROMPTS)[1]
    prefix = oracle.encode(PROMPTS)[1]
    for token in response.tokens:
        with torch.inference_mode():
            assert token == int(model(input_ids=torch.tensor([prefix])).logits[0, -1].argmax())
        prefix = [*prefix, token]
    assert response.log_likelihood == pytest.approx(oracle.evaluate([PROMPTS[1]], [[response.tokens]])[0][0], abs=1e-4)


def test_sliding_window_models_keep_their_window(tokenizer):
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=6, initializer_range=0.5, eos_token_id=1,
        pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    model = MistralForCausalLM(config).eval()
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=12)
    ids = oracle.encode([PROMPTS[1]])[0]
    for response in oracle.sample([PROMPTS[1]], 10)[0]:
        assert response.log_likelihood == pytest.approx(plain_log_likelihood(model, ids, response.tokens), abs=1e-4)


def test_out_of_memory_halves_the_batch_and_changes_no_sample(oracle, model, tokenizer, monkeypatch):
    expected = oracle.sample(PROMPTS, 16)
    forward = type(model).forward

    def small_memory(self, input_ids, **kwargs):
        if input_ids.shape[0] > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids=input_ids, **kwargs)

    monkeypatch.setattr(type(model), "forward", small_memory)
    limited = HuggingFaceOracle(model, tokenizer, max_new_tokens=12)
    with pytest.warns(UserWarning, match="--batch-tokens is now"):
        drawn = limited.sample(PROMPTS, 16)
    assert [[r.tokens for r in row] for row in drawn] == [[r.tokens for r in row] for row in expected]


def test_a_model_too_large_for_one_row_says_so(model, tokenizer, monkeypatch):
    def no_memory(self, **kwargs):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(type(model), "forward", no_memory)
    with pytest.raises(MemoryError, match="lower --max-new-tokens"):
        HuggingFaceOracle(model, tokenizer, max_new_tokens=4).sample(PROMPTS[:1], 1)


def test_other_runtime_errors_are_not_swallowed(model, tokenizer, monkeypatch):
    def broken(self, **kwargs):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(type(model), "forward", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        HuggingFaceOracle(model, tokenizer, max_new_tokens=4).sample(PROMPTS[:1], 4)


def test_long_prompts_are_refused_by_number(model, tokenizer):
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=60)
    with pytest.raises(ValueError, match=r"prompt 1 has 8 tokens.*context of 64"):
        oracle.sample(["1+2=", "12-34+5="], 2)


def test_a_tokenizer_without_end_of_sequence_is_refused(tokenizer):
    model = random_llama(tokenizer, eos_token_id=None)
    model.generation_config.eos_token_id = None
    bare = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, pad_token="<pad>")
    with pytest.raises(ValueError, match="no response ever ends"):
        HuggingFaceOracle(model, bare)


def test_every_end_of_sequence_id_of_the_generation_config_counts(model, tokenizer):
    model.generation_config.eos_token_id = [1, 5]
    try:
        assert HuggingFaceOracle(model, tokenizer).stop_ids == {1, 5}
    finally:
        model.generation_config.eos_token_id = 1


def test_chat_template_is_used_when_there_is_one(model, tokenizer, oracle):
    chatty = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, pad_token="<pad>", eos_token="<eos>")
    chatty.chat_template = (
        "{% for m in messages %}#{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}={% endif %}"
    )
    with_chat = HuggingFaceOracle(model, chatty, max_new_tokens=4)
    assert with_chat.encode(["1+2"]) == oracle.encode(["#1+2="])
    assert HuggingFaceOracle(model, chatty, max_new_tokens=4, chat=False).encode(["1+2"]) == oracle.encode(["1+2"])
    with pytest.raises(ValueError, match="no chat template"):
        HuggingFaceOracle(model, tokenizer, chat=True)


def test_nan_logits_are_an_error(tokenizer):
    model = random_llama(tokenizer, seed=1)
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN logits"):
        HuggingFaceOracle(model, tokenizer, max_new_tokens=4).sample(PROMPTS[:1], 2)


@pytest.mark.parametrize("vocabulary", [3, 128, 1_000, 32_000])
def test_choose_is_the_inverse_cdf(vocabulary):
    torch.manual_seed(0)
    logits = 3 * torch.randn(4, vocabulary)
    u = torch.tensor([0.0, 0.25, 0.5, 1 - 1e-16], dtype=torch.float64)
    token, log_prob = _choose(logits, u)
    probs = logits.double().softmax(-1)
    upper = probs.cumsum(-1).gather(-1, token[:, None])[:, 0]
    lower = upper - probs.gather(-1, token[:, None])[:, 0]
    assert torch.all(lower - 1e-6 <= u) and torch.all(u <= upper + 1e-6)
    torch.testing.assert_close(
        log_prob, logits.double().log_softmax(-1).gather(-1, token[:, None])[:, 0], atol=1e-6, rtol=0
    )


def test_choose_never_returns_an_impossible_token():
    logits = torch.full((200, 300), float("-inf"))
    logits[:, [7, 260]] = 0.0
    token, _ = _choose(logits, torch.linspace(0, 1 - 1e-16, 200, dtype=torch.float64))
    assert set(token.tolist()) == {7, 260}


def test_choose_reaches_the_tail_that_float32_cannot():
    """A token of probability 1e-9 at the end of the vocabulary is drawn by the last 1e-9 of the uniforms."""
    logits = torch.zeros(2, 40_000)
    logits[:, 0], logits[:, -1] = 60.0, 60.0 + np.log(1e-9)
    logits[:, 1:-1] = float("-inf")
    token, _ = _choose(logits, torch.tensor([1 - 2e-9, 1 - 5e-10], dtype=torch.float64))
    assert token.tolist() == [0, 39_999]


def test_statistics_are_averaged_over_response_tokens(model, tokenizer, oracle):
    """Self-certainty and negative entropy against a plain forward pass; the samples stay what they were."""
    measuring = HuggingFaceOracle(
        model, tokenizer, max_new_tokens=12, statistics=("self_certainty", "negative_entropy")
    )
    plain = HuggingFaceOracle(model, tokenizer, max_new_tokens=12)
    prompt = "12+3="
    [drawn], [same] = measuring.sample([prompt], 8, seed=3), plain.sample([prompt], 8, seed=3)
    assert [r.tokens for r in drawn] == [r.tokens for r in same] and same[0].statistics == {}
    head = measuring.encode([prompt])[0]
    for response in drawn:
        with torch.inference_mode():
            logits = model(torch.tensor([head + list(response.tokens)])).logits[0, len(head) - 1 : -1, : len(tokenizer)]
        log_probs = logits.log_softmax(-1)
        certainty = -(log_probs + np.log(len(tokenizer))).mean(-1).mean()
        assert response.statistics["self_certainty"] == pytest.approx(float(certainty), abs=1e-4)
        entropy = (log_probs.exp() * log_probs).sum(-1).mean()
        assert response.statistics["negative_entropy"] == pytest.approx(float(entropy), abs=1e-4)
    with pytest.raises(ValueError, match="statistic 'charm' is unknown"):
        HuggingFaceOracle(model, tokenizer, statistics=("charm",))


def test_uniform_logits_have_no_certainty():
    from sharptheory.llm.engines.hf import negative_entropy, self_certainty

    assert float(self_certainty(torch.zeros(1, 7))) == pytest.approx(0, abs=1e-6)
    assert float(negative_entropy(torch.zeros(1, 7))) == pytest.approx(-np.log(7), abs=1e-6)


def test_p_true_is_the_probability_of_yes(shared):
    """Against a plain forward pass over prompt, response and question, with one answer token each."""
    model, tokenizer = load_model(shared / "models/tinystories-260k")
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=8)
    prompts, responses = ["Once upon a time", "One day"], [" there was a dog.", " Tim ran home."]
    values = oracle.p_true(prompts, responses)
    for prompt, response, value in zip(prompts, responses, values):
        [asked] = oracle.encode([JUDGE.format(prompt=prompt, response=response)])
        scores = []
        for answer in (" yes", " no"):
            ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
            with torch.inference_mode():
                log_probs = model(torch.tensor([asked + ids])).logits[0].log_softmax(-1)
            scores.append(sum(float(log_probs[len(asked) - 1 + j, token]) for j, token in enumerate(ids)))
        assert value == pytest.approx(1 / (1 + np.exp(scores[1] - scores[0])), abs=1e-4)


def test_a_model_without_words_cannot_be_asked(model, tokenizer):
    with pytest.raises(ValueError, match="cannot write 'yes' and 'no'"):
        HuggingFaceOracle(model, tokenizer, max_new_tokens=8).p_true(["1+1="], ["#2"])


def test_equal_responses_get_one_score_in_the_order_given(model, tokenizer):
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=8)
    given = [[(3, 4, 1), (5, 1), (3, 4, 1), (1,)]]
    [scores] = oracle.evaluate(["1+1="], given)
    alone = [oracle.evaluate(["1+1="], [[response]])[0][0] for response in given[0]]
    assert scores[0] == scores[2] and np.allclose(scores, alone, atol=1e-4)
