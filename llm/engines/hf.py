"""A Hugging Face causal language model as a sample-and-evaluate oracle."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sharptheory.errors import UserError
from sharptheory.llm.engines.cache import new_cache
from sharptheory.oracle import Response

BLOCK = 128
#: What `HuggingFaceOracle.p_true` asks.
JUDGE = "{prompt}{response}\n\nIs this answer correct? Answer yes or no.\nAnswer:"
COMPACT_BELOW = 0.75
#: Most logits that scoring holds at once (rows × tokens × vocabulary): 1 GB in float32.
LOGITS = 2**28


def self_certainty(logits: torch.Tensor) -> torch.Tensor:
    """``KL(uniform ‖ p) = -(1/V) Σ_v log(V p_v)`` of each row of logits ``[rows, V]``, in nats."""
    return logits.logsumexp(-1) - logits.mean(-1) - np.log(logits.shape[-1])


def negative_entropy(logits: torch.Tensor) -> torch.Tensor:
    """``Σ_v p_v log p_v`` of each row of logits ``[rows, V]``, in nats."""
    log_probs = logits.log_softmax(-1)
    return torch.where(log_probs > -torch.inf, log_probs.exp() * log_probs, 0.0).sum(-1)


#: Per-token statistics that an oracle can average while sampling, never storing ``[tokens, vocabulary]``.
STATISTICS = {"self_certainty": self_certainty, "negative_entropy": negative_entropy}


class HuggingFaceOracle:
    """Temperature-1 sampling and scoring of a causal language model, with exact bookkeeping.

    Responses are token ids including the end-of-sequence token; they are never re-tokenised.  Log-likelihoods are sums
    over response tokens of a log-softmax in float32, accumulated in float64, in nats.

    Each sample has its own stream of uniforms, seeded by ``(seed, prompt_id, sample_id)``: what is drawn does not
    depend on batch size, device or on how many other samples are asked for (up to floating-point noise in the logits).

    Args:
        model, tokenizer: as loaded by `sharptheory.llm.engines.loading.load_model`.
        max_new_tokens: response budget; longer responses are cut and marked unfinished.
        batch_tokens: most tokens held in the key-value cache at once (rows × (prompt + response)); halves itself when
            memory runs out.
        statistics: names from `STATISTICS` to average over the tokens of each sampled response.
        chat: format prompts by the tokenizer's chat template; default iff it has one.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_new_tokens: int = 512,
        batch_tokens: int = 65_536,
        chat: bool | None = None,
        statistics: Sequence[str] = (),
    ):
        for name in statistics:
            if name not in STATISTICS:
                raise UserError(f"statistic {name!r} is unknown; expected one of: {', '.join(STATISTICS)}")
        if chat and not tokenizer.chat_template:
            raise UserError("chat=True, but the tokenizer has no chat template; use chat=False (--no-chat)")
        self.model, self.tokenizer = model.eval(), tokenizer
        self.max_new_tokens, self.batch_tokens = max_new_tokens, batch_tokens
        self.chat = bool(tokenizer.chat_template) if chat is None else chat
        self.stop_ids = _stop_ids(model, tokenizer)
        self.statistics = tuple(statistics)
        self._vocabulary = len(tokenizer)  # columns beyond it are padding of the embedding
        self.context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._last_only = (
            {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
        )

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of each prompt, special tokens and chat template included.

        Raises:
            ValueError: a prompt is empty or leaves no room for the response budget in the model's context.
        """
        encoded = []
        for i, prompt in enumerate(prompts):
            if self.chat:
                messages = [{"role": "user", "content": prompt}]
                text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
                ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            else:
                ids = self.tokenizer(prompt)["input_ids"]
                # Some tokenizers close every text; a prompt has to stay open.
                while (
                    len(ids) > 1 and ids[-1] in self.stop_ids and not prompt.endswith(self.tokenizer.decode(ids[-1:]))
                ):
                    ids = ids[:-1]
            if not ids:
                raise UserError(f"prompt {i} is empty after tokenisation; give it at least one token")
            if self.context is not None and len(ids) + self.max_new_tokens > self.context:
                raise UserError(
                    f"prompt {i} has {len(ids)} tokens; with max_new_tokens={self.max_new_tokens} it exceeds the "
                    f"model's context of {self.context}; shorten the prompt or lower --max-new-tokens"
                )
            encoded.append(list(ids))
        return encoded

    def decode(self, tokens: Sequence[int]) -> str:
        """Response text without special tokens."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=True)

    # Sampling ---------------------------------------------------------------------------------------------------------

    def sample(self, prompts: Sequence[str], n: int, *, seed: int = 0) -> list[list[Response]]:
        """Draw `n` i.i.d. temperature-1 responses per prompt, untruncated, nested prompt → sample."""
        responses: list[list[Response]] = [[] for _ in prompts]
        for ids, drawn in self.sample_groups(prompts, n, seed=seed):
            for i, row in zip(ids, drawn):
                responses[i] = row
        return responses

    def sample_groups(
        self, prompts: Sequence[str], n: int, *, seed: int = 0, skip: frozenset[int] = frozenset()
    ) -> Iterator[tuple[list[int], list[list[Response]]]]:
        """Like `sample`, yielding ``(prompt ids, responses)`` as each batch of prompts is done.

        The batches depend only on the arguments, never on `skip`, so a run that skips the batches it already has
        computes the others exactly as an uninterrupted run does.

        Args:
            skip: prompt ids that need no samples; a batch is skipped when all its prompts are in it.
        """
        if n < 1:
            raise UserError(f"n={n} samples per prompt; expected at least 1")
        encoded = self.encode(prompts)
        for ids in list(self._same_length_groups(encoded, n)):  # fixed now: running out of memory shrinks batch_tokens
            if not skip.issuperset(ids):
                uniforms = np.stack([_uniforms(seed, i, n, self.max_new_tokens) for i in ids])
                yield ids, self._generate([encoded[i] for i in ids], uniforms)

    def greedy(self, prompts: Sequence[str]) -> list[Response]:
        """Token-wise greedy decoding, one response per prompt."""
        encoded, responses = self.encode(prompts), [None] * len(prompts)
        for ids in self._same_length_groups(encoded, 1):
            for i, row in zip(ids, self._generate([encoded[i] for i in ids], None)):
                responses[i] = row[0]
        return responses

    def _same_length_groups(self, encoded: list[list[int]], n: int) -> Iterator[list[int]]:
        """Prompts of equal length share a batch: no padding, so no masks and no padding noise."""
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        start = 0
        while start < len(order):
            length = len(encoded[order[start]])
            room = max(1, self.batch_tokens // ((length + self.max_new_tokens) * n))
            stop = start + 1
            while stop < min(start + room, len(order)) and len(encoded[order[stop]]) == length:
                stop += 1
            yield order[start:stop]
            start = stop

    def _generate(self, encoded: list[list[int]], uniforms: np.ndarray | None) -> list[list[Response]]:
        """Responses for prompts of one length: sampled by `uniforms` ``[prompts, n, steps]``, or greedy if None."""
        n = 1 if uniforms is None else uniforms.shape[1]
        rows = max(1, self.batch_tokens // (len(encoded[0]) + self.max_new_tokens))
        if len(encoded) * n > rows and (len(encoded) > 1 or n > 1):
            return self._halves(encoded, uniforms)
        try:
            flat = self._decode(encoded, uniforms)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if len(encoded) * n == 1:
                raise MemoryError("one response at a time does not fit in memory; lower --max-new-tokens") from error
            self.batch_tokens = (len(encoded[0]) + self.max_new_tokens) * (len(encoded) * n // 2)
            warnings.warn(f"out of memory: --batch-tokens is now {self.batch_tokens}", stacklevel=2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return self._generate(encoded, uniforms)
        return [flat[i * n : (i + 1) * n] for i in range(len(encoded))]

    def _halves(self, encoded: list[list[int]], uniforms: np.ndarray | None) -> list[list[Response]]:
        """Split a batch by prompts, or by samples when it has a single prompt."""
        if len(encoded) > 1:
            cut = len(encoded) // 2
            first, second = (None, None) if uniforms is None else (uniforms[:cut], uniforms[cut:])
            return self._generate(encoded[:cut], first) + self._generate(encoded[cut:], second)
        cut = uniforms.shape[1] // 2
        return [self._generate(encoded, uniforms[:, :cut])[0] + self._generate(encoded, uniforms[:, cut:])[0]]

    @torch.inference_mode()
    def _decode(self, encoded: list[list[int]], uniforms: np.ndarray | None) -> list[Response]:
        """One batch, token by token: prompts are encoded once, their cache is shared, finished rows leave."""
        device = self.model.device
        prompts = torch.tensor(encoded, device=device)
        n = 1 if uniforms is None else uniforms.shape[1]
        if uniforms is not None:
            uniforms = torch.from_numpy(uniforms).to(device).flatten(0, 1)
        total = len(encoded) * n
        tokens = torch.zeros((total, self.max_new_tokens), dtype=torch.long, device=device)
        lengths = torch.full((total,), self.max_new_tokens, device=device)
        log_likelihood = torch.zeros(total, dtype=torch.float64, device=device)
        finished = torch.zeros(total, dtype=torch.bool, device=device)
        sums = {name: torch.zeros(total, dtype=torch.float64, device=device) for name in self.statistics}
        stop_ids = torch.tensor(sorted(self.stop_ids), device=device)

        cache = new_cache(self.model)
        logits = self._last_logits(prompts, cache).repeat_interleave(n, dim=0)
        if n > 1:
            cache.batch_repeat_interleave(n)
        row = torch.arange(total, device=device)  # the response that each batch row is writing
        live = torch.ones(total, dtype=torch.bool, device=device)  # over batch rows
        for step in range(self.max_new_tokens):
            u = None if uniforms is None else uniforms[row, step]
            token, log_prob = _choose(logits, u)
            writing = row[live]
            tokens[writing, step] = token[live]
            log_likelihood[writing] += log_prob[live]
            for name, held in sums.items():
                held[writing] += STATISTICS[name](logits[:, : self._vocabulary])[live].double()
            stopped = live & torch.isin(token, stop_ids)
            finished[row[stopped]] = True
            lengths[row[stopped]] = step + 1
            live = live & ~stopped
            n_live = int(live.sum())
            if n_live == 0 or step == self.max_new_tokens - 1:
                break
            if n_live < COMPACT_BELOW * len(row):
                keep = live.nonzero()[:, 0]
                cache.batch_select_indices(keep)
                row, token, live = row[keep], token[keep], live[keep]
            logits = self._last_logits(token[:, None], cache)
        if log_likelihood.isnan().any():
            raise UserError("the model returns NaN logits; load it in float32 (--dtype float32) or check its weights")
        means = [dict(zip(sums, values)) for values in zip(*((held / lengths).tolist() for held in sums.values()))]
        lengths, log_likelihood, finished = lengths.tolist(), log_likelihood.tolist(), finished.tolist()
        return [
            Response(tuple(ids[:length]), value, done, measured)
            for ids, length, value, done, measured in zip(
                tokens.tolist(), lengths, log_likelihood, finished, means or [{}] * total
            )
        ]

    def _last_logits(self, tokens: torch.Tensor, cache) -> torch.Tensor:
        """Float32 logits ``[rows, vocabulary]`` after the last of `tokens` ``[rows, length]``; extends `cache`."""
        output = self.model(input_ids=tokens, past_key_values=cache, use_cache=True, **self._last_only)
        return output.logits[:, -1].float()

    # Scoring ----------------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def evaluate(self, prompts: Sequence[str], responses: Sequence[Sequence[Sequence[int]]]) -> list[np.ndarray]:
        """Log-likelihoods in nats of token-id responses, one array per prompt.

        Each prompt is encoded once, and each distinct response scored once, with others of about its length.
        """
        if len(prompts) != len(responses):
            raise UserError(f"{len(prompts)} prompts but {len(responses)} lists of responses; expected one list each")
        if any(len(response) == 0 for given in responses for response in given):
            raise UserError("an empty response has no likelihood; it must hold at least the end-of-sequence token")
        scores = []
        for ids, given in zip(self.encode(prompts), responses):
            distinct = sorted({tuple(response) for response in given}, key=len)
            values = [value for chunk in self._chunks(ids, distinct) for value in self._score(ids, chunk)]
            known = dict(zip(distinct, values))
            scores.append(np.array([known[tuple(response)] for response in given]))
        return scores

    def _chunks(self, prompt: list[int], responses: Sequence[Sequence[int]]) -> Iterator[Sequence[Sequence[int]]]:
        width = len(prompt) + max(map(len, responses), default=0)
        logits = max(map(len, responses), default=1) * self._vocabulary
        rows = max(1, min(self.batch_tokens // width, LOGITS // logits))
        for start in range(0, len(responses), rows):
            yield responses[start : start + rows]

    def _score(self, prompt: list[int], responses: Sequence[Sequence[int]]) -> list[float]:
        """Score responses to one prompt in one right-padded batch; the causal mask keeps padding out."""
        device = self.model.device
        width = max(map(len, responses))
        targets = torch.zeros((len(responses), width), dtype=torch.long)
        mask = torch.zeros((len(responses), width), dtype=torch.bool)
        for i, response in enumerate(responses):
            targets[i, : len(response)] = torch.tensor(response)
            mask[i, : len(response)] = True
        targets, mask = targets.to(device), mask.to(device)
        cache = new_cache(self.model)
        head = torch.tensor([prompt], device=device)
        first = self._last_logits(head, cache)[:, None].expand(len(responses), 1, -1)
        cache.batch_repeat_interleave(len(responses))
        rest = (
            self.model(input_ids=targets[:, :-1], past_key_values=cache, use_cache=True).logits if width > 1 else None
        )
        parts = [first] if rest is None else [first, rest]
        scores, column = torch.zeros(len(responses), dtype=torch.float64, device=device), 0
        for logits in parts:
            span = slice(column, column + logits.shape[1])
            chosen = logits.gather(-1, targets[:, span, None])[..., 0].float() - logits.float().logsumexp(-1)
            scores += (chosen.double() * mask[:, span]).sum(-1)
            column = span.stop
        return scores.tolist()

    def p_true(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """The model's own probability that each response is right: "yes" against "no" after `JUDGE`, ``[B]``.

        Raises:
            ValueError: the tokenizer has no words for the question.
        """
        yes, no = (self.tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in (" yes", " no"))
        if not yes or not no or yes == no or self.tokenizer.unk_token_id in (*yes, *no):
            raise UserError(
                "the tokenizer cannot write 'yes' and 'no', so this model cannot be asked (--rewards p_true)"
            )
        asked = [JUDGE.format(prompt=prompt, response=response) for prompt, response in zip(prompts, responses)]
        scores = np.stack(self.evaluate(asked, [[yes, no]] * len(asked)))
        return 1 / (1 + np.exp(scores[:, 1] - scores[:, 0]))


def _choose(logits: torch.Tensor, u: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """A token per row and its log-probability: the inverse CDF at `u` ``[rows]``, or the argmax if `u` is None.

    The CDF is accumulated in float64 over blocks of the vocabulary, then inside one block: float32's resolution in the
    tail of a large vocabulary would be a truncation of the distribution, and a float64 pass over all of it is slow.
    """
    log_norm = logits.logsumexp(-1)
    if u is None:
        best, token = logits.max(-1)
        return token, best.double() - log_norm
    probs = torch.nn.functional.pad((logits - log_norm[:, None]).exp_(), (0, -logits.shape[-1] % BLOCK))
    blocks = probs.unflatten(-1, (-1, BLOCK))
    mass = blocks.sum(-1, dtype=torch.float64)
    cdf = mass.cumsum(-1)
    target = u[:, None] * cdf[:, -1:]
    block = torch.searchsorted(cdf, target, right=True).clamp_(max=mass.shape[-1] - 1)
    rest = target - (cdf - mass).gather(-1, block)
    inner = blocks.gather(1, block[..., None].expand(-1, 1, BLOCK))[:, 0]
    place = torch.searchsorted(inner.double().cumsum(-1), rest, right=True).clamp_(max=BLOCK - 1)
    # Rounding at a block's edge may point at a token of probability zero: take the block's likeliest instead.
    place = torch.where(inner.gather(-1, place) > 0, place, inner.argmax(-1, keepdim=True))
    token = (block * BLOCK + place)[:, 0]
    return token, logits.gather(-1, token[:, None])[:, 0].double() - log_norm


def _uniforms(seed: int, prompt_id: int, n: int, steps: int) -> np.ndarray:
    """Uniforms ``[n, steps]``, the stream of each sample a function of ``(seed, prompt_id, sample_id)`` alone."""
    return np.stack([np.random.default_rng([seed, prompt_id, j]).random(steps) for j in range(n)])


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """End-of-sequence ids of the tokenizer and of the model's generation config."""
    configured = model.generation_config.eos_token_id
    ids = set(configured if isinstance(configured, list) else [configured]) | {tokenizer.eos_token_id}
    ids.discard(None)
    if not ids:
        raise UserError(
            "neither tokenizer nor generation_config defines an end-of-sequence token, so no response ever ends; "
            "set eos_token in tokenizer_config.json"
        )
    return frozenset(ids)


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
