"""The Hugging Face oracle: the law it samples from, the likelihoods it reports, its bookkeeping."""

import inspect
import weakref

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import MistralConfig, MistralForCausalLM

from sharptheory.errors import UserError
from sharptheory.llm.decoding.search import find_argmax
from sharptheory.llm.engines.hf import JUDGE, HuggingFaceOracle
from sharptheory.llm.engines.loading import load_model
from sharptheory.oracle import CountedNextToken, TextOracle
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


def test_a_sample_does_not_depend_on_how_many_others_there_are(oracle, model, tokenizer):
    small = oracle.sample(PROMPTS[:2], 5, seed=3)
    tight = HuggingFaceOracle(model, tokenizer, max_new_tokens=12, batch_tokens=60)
    for large in (oracle.sample(PROMPTS, 16, seed=3), tight.sample(PROMPTS, 16, seed=3)):
        for few, many in zip(small, large):
            assert [r.tokens for r in few] == [r.tokens for r in many[:5]]


def test_skipping_finished_prompts_leaves_the_others_unchanged(oracle):
    groups = list(oracle.sample_groups(PROMPTS, 4))
    assert sorted(i for ids, _ in groups for i in ids) == [0, 1, 2]
    for ids, rows in oracle.sample_groups(PROMPTS, 4, skip=frozenset({0, 2})):
        assert (ids, rows) in groups and ids == [1]


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


def run_out_of_memory(monkeypatch, model, rows: int) -> list[weakref.ref]:
    """Let passes of more than `rows` rows fail; returns references to the caches of those that failed."""
    forward, failed = type(model).forward, []

    def small_memory(self, input_ids, past_key_values=None, **kwargs):
        assert all(cache() is None for cache in failed), "the cache of an earlier failure is still in memory"
        if input_ids.shape[0] > rows:
            failed.append(weakref.ref(past_key_values))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids=input_ids, past_key_values=past_key_values, **kwargs)

    monkeypatch.setattr(type(model), "forward", small_memory)
    return failed


def test_out_of_memory_halves_the_batch_and_changes_no_sample(oracle, model, monkeypatch):
    expected = oracle.sample(PROMPTS, 16)
    failed = run_out_of_memory(monkeypatch, model, rows=5)
    with pytest.warns(UserWarning, match=r"out of memory: at most \d+ tokens at once from now on"):
        sampled = oracle.sample(PROMPTS, 16)
    assert [[r.tokens for r in row] for row in sampled] == [[r.tokens for r in row] for row in expected]
    assert failed and oracle.budget.tokens == 64 and oracle.batch_tokens == oracle.settings["batch_tokens"] == 65_536


def test_out_of_memory_halves_the_batch_of_scores(oracle, model, monkeypatch):
    rows = [[r.tokens for r in row] for row in oracle.sample(PROMPTS, 16)]
    expected = oracle.evaluate(PROMPTS, rows)
    failed = run_out_of_memory(monkeypatch, model, rows=5)
    with pytest.warns(UserWarning, match="out of memory"):
        scores = oracle.evaluate(PROMPTS, rows)
    np.testing.assert_allclose(np.concatenate(scores), np.concatenate(expected), atol=1e-4)
    assert failed


def test_a_run_that_ran_out_of_memory_is_resumed(model, tokenizer, monkeypatch, tmp_path):
    """What identifies a run is what was asked for, and the batches of the rest are those of an uninterrupted run."""
    prompts = [f"{digit}+1=" for digit in range(6)]
    new = lambda: HuggingFaceOracle(model, tokenizer, max_new_tokens=12, batch_tokens=700)  # noqa: E731
    first = new()
    groups = [ids for ids, _ in first.sample_groups(prompts, 16)]
    with monkeypatch.context() as patch:
        run_out_of_memory(patch, model, rows=5)
        with pytest.warns(UserWarning, match="out of memory"):
            assert [ids for ids, _ in first.sample_groups(prompts, 16)] == groups == [[0, 1], [2, 3], [4, 5]]
    assert first.settings == new().settings


@pytest.mark.parametrize(
    "error", [RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), MemoryError(),
              RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")]
)  # fmt: skip
def test_a_model_too_large_for_one_row_says_so(model, tokenizer, monkeypatch, error):
    def no_memory(self, **kwargs):
        raise error

    monkeypatch.setattr(type(model), "forward", no_memory)
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=4)
    for use in (
        lambda: oracle.sample(PROMPTS[:1], 1),
        lambda: oracle.evaluate(PROMPTS[:1], [[(1,)]]),
        lambda: oracle.next_token(PROMPTS[:1])([0], [()]),
    ):
        with pytest.raises(UserError, match="lower --max-new-tokens"):
            use()


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


@pytest.mark.parametrize(
    ("ids", "message"), [("</s>", "eos_token_id is '</s>'"), ([1, None, "x"], "eos_token_id is 'x'")]
)
def test_end_of_sequence_ids_are_numbers(model, tokenizer, ids, message):
    model.generation_config.eos_token_id = ids
    try:
        with pytest.raises(UserError, match=message):
            HuggingFaceOracle(model, tokenizer)
    finally:
        model.generation_config.eos_token_id = 1


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


@pytest.mark.parametrize(
    "template", ["{{ 1/0 }}", "{% if %}", "{{ raise_exception('no') }}", "{{ messages[1].content }}"]
)
def test_a_chat_template_that_fails_is_the_users_to_mend(model, tokenizer, template):
    chatty = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, pad_token="<pad>", eos_token="<eos>")
    chatty.chat_template = template
    with pytest.raises(
        UserError, match=r"prompt 0 cannot be tokenised .*mend its chat template or use --no-chat: '1\+1='"
    ):
        HuggingFaceOracle(model, chatty, max_new_tokens=4).encode(["1+1="])


def test_a_prompt_that_is_no_text(oracle):
    with pytest.raises(UserError, match=r"prompt 1 cannot be tokenised .*mend the prompt"):
        oracle.encode(["1+1=", "\ud800"])


@pytest.mark.parametrize(
    "use",
    [
        lambda oracle: oracle.sample(PROMPTS[:1], 2),
        lambda oracle: oracle.greedy(PROMPTS[:1]),
        lambda oracle: oracle.evaluate(PROMPTS[:1], [[(3, 1)]]),
        lambda oracle: oracle.next_token(PROMPTS[:1])([0], [()]),
        lambda oracle: oracle.next_token(PROMPTS[:1], cached=False)([0], [(3,)]),
    ],
)
def test_nan_logits_are_an_error(tokenizer, use):
    model = random_llama(tokenizer, seed=1)
    with torch.no_grad():
        model.lm_head.weight[5].fill_(float("nan"))
    with pytest.raises(UserError, match="NaN logits"):
        use(HuggingFaceOracle(model, tokenizer, max_new_tokens=4))


def test_impossible_tokens_have_no_likelihood_and_harm_no_other(model, tokenizer, monkeypatch):
    """Token 0 pads a batch of responses: that it is impossible changes no score but its own."""
    forward = type(model).forward

    def never_zero(self, **kwargs):
        output = forward(self, **kwargs)
        output.logits[..., 0] = -torch.inf
        return output

    monkeypatch.setattr(type(model), "forward", never_zero)
    [scores] = HuggingFaceOracle(model, tokenizer, max_new_tokens=8).evaluate(
        ["1+1="], [[(3, 4, 5, 1), (5, 1), (0, 1)]]
    )
    assert np.isfinite(scores[:2]).all() and scores[2] == -np.inf


@pytest.fixture()
def padded(tokenizer) -> HuggingFaceOracle:
    """A model whose embedding is padded to 64 rows, which it thinks more likely than all 17 tokens together."""
    model = random_llama(tokenizer, vocab_size=64, seed=2)
    with torch.no_grad():
        model.lm_head.weight[17:] *= 3
    return HuggingFaceOracle(model, tokenizer, max_new_tokens=12, statistics=("negative_entropy",))


def test_only_tokens_of_the_tokenizer_are_sampled(padded):
    tokens = {token for row in padded.sample(PROMPTS, 50) for r in row for token in r.tokens}
    greedy = {token for r in padded.greedy(PROMPTS) for token in r.tokens}
    assert padded.vocabulary_size == 17 and max(tokens | greedy) < 17


def test_samples_scores_and_law_are_of_one_distribution(padded):
    """Normalised over the tokenizer's tokens, all three."""
    rows = padded.sample(PROMPTS, 10)
    scores = padded.evaluate(PROMPTS, [[r.tokens for r in row] for row in rows])
    law = padded.next_token(PROMPTS)
    for x, (row, values) in enumerate(zip(rows, scores)):
        np.testing.assert_allclose([r.log_likelihood for r in row], values, atol=1e-4)
        for response in row:
            prefixes = [response.tokens[:t] for t in range(len(response.tokens))]
            log_probs = law([x] * len(prefixes), prefixes)
            np.testing.assert_allclose(np.exp(log_probs).sum(1), 1, atol=1e-5)
            chained = log_probs[np.arange(len(prefixes)), list(response.tokens)].sum()
            assert response.log_likelihood == pytest.approx(chained, abs=1e-4)


def test_the_likeliest_response_of_a_padded_model_is_certified(padded):
    found = find_argmax(padded, PROMPTS[0], budget=2_000)
    assert found.tokens is None or max(found.tokens) < 17


@pytest.mark.parametrize("response", [(3, 17), (-1,), (3, 64)])
def test_responses_of_another_vocabulary_are_refused(padded, response):
    with pytest.raises(UserError, match=f"holds token {response[-1]}, but this model's tokens are 0 to 16"):
        padded.evaluate(PROMPTS[:1], [[(3, 1), response]])


def test_prompts_that_the_model_cannot_read_are_warned_of_once(recwarn):
    model, tokenizer = load_model("arithmetic-1m", device="cpu")
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=4)
    oracle.encode(["1+2=", "12-3="])
    assert not recwarn.list
    with pytest.warns(UserWarning, match="2 of 3 prompts consist of tokens unknown .* such as 'Once upon a time'"):
        oracle.encode(["1+2=", "Once upon a time", "What is 2+3?"])
    oracle.encode(["Once upon a time"])
    assert not recwarn.list


def test_the_oracle_is_what_the_core_asks_for(oracle):
    """Every member of the protocol is here, with the arguments it declares."""
    assert isinstance(oracle, TextOracle) and isinstance(oracle.next_token(PROMPTS), CountedNextToken)
    for name, declared in inspect.getmembers(TextOracle, inspect.isfunction):
        if not name.startswith("_"):
            own = inspect.signature(getattr(HuggingFaceOracle, name)).parameters
            for parameter in inspect.signature(declared).parameters.values():
                assert (own[parameter.name].kind, own[parameter.name].default) == (parameter.kind, parameter.default)


def test_statistics_are_averaged_over_response_tokens(model, tokenizer, oracle):
    """Self-certainty and negative entropy against a plain forward pass; the samples stay what they were."""
    measuring = HuggingFaceOracle(
        model, tokenizer, max_new_tokens=12, statistics=("self_certainty", "negative_entropy")
    )
    plain = HuggingFaceOracle(model, tokenizer, max_new_tokens=12)
    prompt = "12+3="
    [sampled], [same] = measuring.sample([prompt], 8, seed=3), plain.sample([prompt], 8, seed=3)
    assert [r.tokens for r in sampled] == [r.tokens for r in same] and same[0].statistics == {}
    head = measuring.encode([prompt])[0]
    for response in sampled:
        with torch.inference_mode():
            logits = model(torch.tensor([head + list(response.tokens)])).logits[0, len(head) - 1 : -1, : len(tokenizer)]
        log_probs = logits.log_softmax(-1)
        certainty = -(log_probs + np.log(len(tokenizer))).mean(-1).mean()
        assert response.statistics["self_certainty"] == pytest.approx(float(certainty), abs=1e-4)
        entropy = (log_probs.exp() * log_probs).sum(-1).mean()
        assert response.statistics["negative_entropy"] == pytest.approx(float(entropy), abs=1e-4)
    with pytest.raises(ValueError, match="statistic 'charm' is unknown"):
        HuggingFaceOracle(model, tokenizer, statistics=("charm",))


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


def test_after_a_chat_template_the_verdict_begins_a_line(shared, monkeypatch):
    model, tokenizer = load_model(shared / "models/tinystories-260k")
    tokenizer.chat_template = "{{ messages[0].content }}\n"
    oracle, asked = HuggingFaceOracle(model, tokenizer, max_new_tokens=8), []
    monkeypatch.setattr(oracle, "evaluate", lambda prompts, responses: asked.extend(responses) or [np.zeros(2)])
    oracle.p_true(["Once"], [" upon"])
    assert asked == [[tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in ("yes", "no")]]


def test_a_model_without_words_cannot_be_asked(model, tokenizer):
    with pytest.raises(ValueError, match="cannot write 'yes' and 'no'"):
        HuggingFaceOracle(model, tokenizer, max_new_tokens=8).p_true(["1+1="], ["#2"])


def test_equal_responses_get_one_score_in_the_order_given(model, tokenizer):
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=8)
    given = [[(3, 4, 1), (5, 1), (3, 4, 1), (1,)]]
    [scores] = oracle.evaluate(["1+1="], given)
    alone = [oracle.evaluate(["1+1="], [[response]])[0][0] for response in given[0]]
    assert scores[0] == scores[2] and np.allclose(scores, alone, atol=1e-4)
