"""A Hugging Face causal language model as a sample-and-evaluate oracle."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sharptheory.errors import UserError
from sharptheory.llm.engines.cache import new_cache
from sharptheory.llm.engines.logits import STATISTICS, choose, refuse_nan
from sharptheory.llm.engines.memory import TokenBudget
from sharptheory.llm.engines.prefixes import PrefixTree
from sharptheory.oracle import Response

#: What `HuggingFaceOracle.p_true` asks.
JUDGE = "{prompt}{response}\n\nIs this answer correct? Answer yes or no.\nAnswer:"
COMPACT_BELOW = 0.75
#: Most logits that scoring holds at once (rows × tokens × vocabulary): 1 GB in float32.
LOGITS = 2**28


class HuggingFaceOracle:
    """Temperature-1 sampling and scoring of a causal language model, with exact bookkeeping: a `TextOracle`.

    Responses are token ids including the end-of-sequence token; they are never re-tokenised.  Log-likelihoods are sums
    over response tokens of a log-softmax in float32, accumulated in float64, in nats.

    The law is the model's own over the tokenizer's tokens: columns of the logits beyond them, with which embeddings are
    padded to a round size, are cut off before the softmax, in sampling, scoring and the next-token law alike.

    Each sample has its own stream of uniforms, seeded by ``(seed, prompt_id, sample_id)``: what is sampled does not
    depend on batch size, device or on how many other samples are asked for (up to floating-point noise in the logits).

    Args:
        model, tokenizer: as loaded by `sharptheory.llm.engines.loading.load_model`.
        max_new_tokens: response budget; longer responses are cut and marked unfinished.
        batch_tokens: most tokens held in the key-value cache at once (rows × (prompt + response)); fewer are held, and a
            warning says so, once memory has run out.
        chat: format prompts by the tokenizer's chat template; default iff it has one.
        statistics: names from `STATISTICS` to average over the tokens of each sampled response.

    Attributes:
        stop_ids: end-of-sequence ids of the tokenizer and of the model's generation config.
        vocabulary_size: V, the number of tokens that can be sampled.
        context: most tokens of prompt and response together, if the model has a limit.
        budget: how many tokens are held at once now; starts at `batch_tokens`.
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
        self.statistics = tuple(statistics)
        self.vocabulary_size = 1 + max(tokenizer.get_vocab().values())
        self.stop_ids = _stop_ids(model, tokenizer, self.vocabulary_size)
        self.context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.budget = TokenBudget(batch_tokens)
        self._last_only = (
            {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
        )
        self._warned_of_unknown = False

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides the samples beside prompts, number and seed: as it was asked for."""
        return {
            "max_new_tokens": self.max_new_tokens,
            "batch_tokens": self.batch_tokens,
            "statistics": list(self.statistics),
            "chat": self.chat,
        }

    @property
    def device(self) -> torch.device:
        """Where the model is, or its first layer if it is spread."""
        return self.model.device

    # Text -------------------------------------------------------------------------------------------------------------

    def encode(self, prompts: Sequence[str], *, room: int | None = None) -> list[list[int]]:
        """Token ids of each prompt, special tokens and chat template included.

        Warns, once, of prompts that consist of unknown tokens for the most part.

        Args:
            room: tokens that the context must leave after each prompt; default the response budget.

        Raises:
            UserError: a prompt cannot be tokenised, is empty, or leaves no such room in the model's context.
        """
        encoded = [self._tokenised(i, prompt) for i, prompt in enumerate(prompts)]
        for i, ids in enumerate(encoded):
            if not ids:
                raise UserError(f"prompt {i} is empty after tokenisation; give it at least one token")
            if self.context is not None and len(ids) + (self.max_new_tokens if room is None else room) > self.context:
                wanted = f"max_new_tokens={self.max_new_tokens}" if room is None else f"{room} for its response"
                raise UserError(
                    f"prompt {i} has {len(ids)} tokens; with {wanted} it exceeds the model's context of {self.context}; "
                    "shorten the prompt or lower --max-new-tokens"
                )
        self._warn_of_unknown(prompts, encoded)
        return encoded

    def _tokenised(self, i: int, prompt: str) -> list[int]:
        try:
            if self.chat:
                messages = [{"role": "user", "content": prompt}]
                text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
                return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
            ids = list(self.tokenizer(prompt)["input_ids"])
        except Exception as error:  # raised by the user's template or text, inside the library
            cure = "mend its chat template or use --no-chat" if self.chat else "mend the prompt"
            raise UserError(
                f"prompt {i} cannot be tokenised ({type(error).__name__}: {error}); {cure}: {prompt[:60]!r}"
            ) from error
        # Some tokenizers close every text; a prompt has to stay open.
        while len(ids) > 1 and ids[-1] in self.stop_ids and not prompt.endswith(self.tokenizer.decode(ids[-1:])):
            ids.pop()
        return ids

    def _warn_of_unknown(self, prompts: Sequence[str], encoded: list[list[int]]) -> None:
        unknown = self.tokenizer.unk_token_id
        if unknown is None or self._warned_of_unknown:
            return
        special = set(self.tokenizer.all_special_ids) - {unknown}
        lost = [i for i, ids in enumerate(encoded) if 2 * ids.count(unknown) > sum(k not in special for k in ids)]
        if lost:
            self._warned_of_unknown = True
            warnings.warn(
                f"{len(lost)} of {len(prompts)} prompts consist of tokens unknown to this model for the most part, such as "
                f"{prompts[lost[0]][:60]!r}: what is measured on them says nothing about what they ask",
                stacklevel=3,
            )

    def decode(self, tokens: Sequence[int]) -> str:
        """Response text without special tokens."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=True)

    # Sampling ---------------------------------------------------------------------------------------------------------

    def sample(self, prompts: Sequence[str], n: int, *, seed: int = 0) -> list[list[Response]]:
        """Sample `n` i.i.d. temperature-1 responses per prompt, untruncated, nested prompt → sample."""
        responses: list[list[Response]] = [[] for _ in prompts]
        for ids, rows in self.sample_groups(prompts, n, seed=seed):
            for i, row in zip(ids, rows):
                responses[i] = row
        return responses

    def sample_groups(
        self,
        prompts: Sequence[str],
        n: int,
        *,
        seed: int = 0,
        numbers: Sequence[int] | None = None,
        first: int = 0,
        skip: frozenset[int] = frozenset(),
    ) -> Iterator[tuple[list[int], list[list[Response]]]]:
        """Like `sample`, yielding ``(prompt numbers, responses)`` as each batch of prompts is done.

        The batches depend only on the arguments, never on `skip`, so a run that skips the batches it already has
        computes the others exactly as an uninterrupted run does.

        Args:
            numbers: of the prompts, by which their samples are seeded; default 0, 1, … first: number of the first sample.
            skip: prompt numbers that need no samples; a batch is skipped when all its prompts are in it.
        """
        if n < 1:
            raise UserError(f"n={n} samples per prompt; expected at least 1")
        encoded = self.encode(prompts)
        numbers = range(len(prompts)) if numbers is None else numbers
        for group in self.same_length_groups(encoded, n):
            ids = [numbers[i] for i in group]
            if not skip.issuperset(ids):
                uniforms = np.stack([_uniforms(seed, i, range(first, first + n), self.max_new_tokens) for i in ids])
                yield ids, self._generate([encoded[i] for i in group], uniforms)

    def greedy(self, prompts: Sequence[str]) -> list[Response]:
        """Token-wise greedy decoding, one response per prompt."""
        encoded, responses = self.encode(prompts), [None] * len(prompts)
        for ids in self.same_length_groups(encoded, 1):
            for i, row in zip(ids, self._generate([encoded[i] for i in ids], None)):
                responses[i] = row[0]
        return responses

    def same_length_groups(self, encoded: list[list[int]], n: int) -> Iterator[list[int]]:
        """The prompts that share a batch, by number: of equal length, so no padding, no masks and no padding noise."""
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        start = 0
        while start < len(order):
            length = len(encoded[order[start]])
            # What was asked for, not what memory has turned out to hold: the groups of a resumed run are the same.
            room = max(1, self.batch_tokens // ((length + self.max_new_tokens) * n))
            stop = start + 1
            while stop < min(start + room, len(order)) and len(encoded[order[stop]]) == length:
                stop += 1
            yield order[start:stop]
            start = stop

    def _generate(self, encoded: list[list[int]], uniforms: np.ndarray | None) -> list[list[Response]]:
        """Responses for prompts of one length: sampled by `uniforms` ``[prompts, n, steps]``, or greedy if None."""
        n = 1 if uniforms is None else uniforms.shape[1]
        total, width = len(encoded) * n, len(encoded[0]) + self.max_new_tokens
        if total > self.budget.rows(width):
            return self._halves(encoded, uniforms)
        flat = self.budget.attempt(total, width, self._decode, encoded, uniforms)
        if flat is None:
            return self._halves(encoded, uniforms)
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
        device, n = self.device, 1 if uniforms is None else uniforms.shape[1]
        if uniforms is not None:
            uniforms = torch.from_numpy(uniforms).to(device).flatten(0, 1)
        stop_ids = torch.tensor(sorted(self.stop_ids), dtype=torch.long, device=device)
        transcript = _Transcript(len(encoded) * n, self.max_new_tokens, self.statistics, device)
        cache = new_cache(self.model)
        logits = self.last_logits(torch.tensor(encoded, device=device), cache).repeat_interleave(n, dim=0)
        if n > 1:
            cache.batch_repeat_interleave(n)
        row = torch.arange(len(encoded) * n, device=device)  # the response that each batch row is writing
        live = torch.ones_like(row, dtype=torch.bool)  # over batch rows
        for step in range(self.max_new_tokens):
            token, log_prob = choose(logits, None if uniforms is None else uniforms[row, step])
            measured = {name: STATISTICS[name](logits)[live] for name in self.statistics}
            transcript.write(row[live], step, token[live], log_prob[live], measured)
            stopped = live & torch.isin(token, stop_ids)
            transcript.end(row[stopped], step + 1)
            live = live & ~stopped
            n_live = int(live.sum())
            if n_live == 0 or step == self.max_new_tokens - 1:
                break
            if n_live < COMPACT_BELOW * len(row):
                keep = live.nonzero()[:, 0]
                cache.batch_select_indices(keep)
                row, token, live = row[keep], token[keep], live[keep]
            logits = self.last_logits(token[:, None], cache)
        return transcript.responses()

    # The law ----------------------------------------------------------------------------------------------------------

    def last_logits(self, tokens: torch.Tensor, cache=None, **inputs) -> torch.Tensor:
        """Float32 logits ``[rows, V]`` after the last of `tokens` ``[rows, length]``.

        Args:
            tokens: of the prompts, or what follows those whose keys and values `cache` holds.
            cache: extended by `tokens`; None computes without.
            inputs: further inputs of the model (masks, positions).
        """
        output = self.model(
            input_ids=tokens, past_key_values=cache, use_cache=cache is not None, **self._last_only, **inputs
        )
        return output.logits[:, -1, : self.vocabulary_size].float()

    def next_token(self, prompts: Sequence[str], *, remember: bool = True, **options) -> PrefixTree:
        """The next-token law of given prompts, as a tree of prefixes that computes each of them once.

        Args:
            remember: also keep the probabilities. options: cached, max_bytes of `PrefixTree`.
        """
        return PrefixTree(self, prompts, remember=remember, **options)

    # Scoring ----------------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def evaluate(self, prompts: Sequence[str], responses: Sequence[Sequence[Sequence[int]]]) -> list[np.ndarray]:
        """Log-likelihoods in nats of token-id responses, one array per prompt.

        Each prompt is encoded once, and each distinct response scored once, with others of about its length.

        Raises:
            UserError: not one list of responses per prompt, a response is empty or holds what is no token of this
                model, or the model returns NaN.
        """
        if len(prompts) != len(responses):
            raise UserError(f"{len(prompts)} prompts but {len(responses)} lists of responses; expected one list each")
        scores, room = [], max((len(response) for given in responses for response in given), default=0)
        for ids, given in zip(self.encode(prompts, room=room), responses):
            distinct = sorted({tuple(response) for response in given}, key=len)
            self._check_responses(distinct)
            known = dict(zip(distinct, self._scores(ids, distinct)))
            scores.append(np.array([known[tuple(response)] for response in given]))
        return scores

    def _check_responses(self, responses: Sequence[tuple[int, ...]]) -> None:
        for response in responses:
            if not response:
                raise UserError("an empty response has no likelihood; it must hold at least the end-of-sequence token")
            if not 0 <= min(response) <= max(response) < self.vocabulary_size:
                raise UserError(
                    f"a response holds token {max(response, key=abs)}, but this model's tokens are 0 to "
                    f"{self.vocabulary_size - 1}; responses must be of a model with the same tokenizer"
                )

    def _scores(self, prompt: list[int], responses: Sequence[Sequence[int]]) -> list[float]:
        """Scores of responses to one prompt, as many at a time as memory holds."""
        longest = max(map(len, responses), default=1)
        width, most = len(prompt) + longest, max(1, LOGITS // (longest * self.vocabulary_size))
        scores: list[float] = []
        while len(scores) < len(responses):
            chunk = responses[len(scores) :][: min(self.budget.rows(width), most)]
            scores += self.budget.attempt(len(chunk), width, self._score, prompt, chunk) or []
        return scores

    def _score(self, prompt: list[int], responses: Sequence[Sequence[int]]) -> list[float]:
        """Score responses to one prompt in one right-padded batch; the causal mask keeps padding out."""
        device = self.device
        width = max(map(len, responses))
        targets = torch.zeros((len(responses), width), dtype=torch.long)
        mask = torch.zeros((len(responses), width), dtype=torch.bool)
        for i, response in enumerate(responses):
            targets[i, : len(response)] = torch.tensor(response)
            mask[i, : len(response)] = True
        targets, mask = targets.to(device), mask.to(device)
        cache = new_cache(self.model)
        head = torch.tensor([prompt], device=device)
        parts = [self.last_logits(head, cache)[:, None].expand(len(responses), 1, -1)]
        cache.batch_repeat_interleave(len(responses))
        if width > 1:
            rest = self.model(input_ids=targets[:, :-1], past_key_values=cache, use_cache=True).logits
            parts.append(rest[..., : self.vocabulary_size])
        scores, column = torch.zeros(len(responses), dtype=torch.float64, device=device), 0
        for logits in parts:
            span = slice(column, column + logits.shape[1])
            chosen = logits.gather(-1, targets[:, span, None])[..., 0].float() - logits.float().logsumexp(-1)
            # Not a product with the mask: a padded token may be impossible, and 0 · -inf is NaN.
            scores += torch.where(mask[:, span], chosen.double(), 0.0).sum(-1)
            column = span.stop
        return refuse_nan(scores).tolist()

    def p_true(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """The model's own probability that each response is right: "yes" against "no" after `JUDGE`, ``[B]``.

        Raises:
            UserError: the tokenizer has no words for the question.
        """
        # A chat template begins a new turn after the question; otherwise the answer goes on in its line.
        answers = ("yes", "no") if self.chat else (" yes", " no")
        yes, no = (self.tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in answers)
        if not yes or not no or yes == no or self.tokenizer.unk_token_id in (*yes, *no):
            raise UserError(
                "the tokenizer cannot write 'yes' and 'no', so this model cannot be asked (--rewards p_true)"
            )
        asked = [JUDGE.format(prompt=prompt, response=response) for prompt, response in zip(prompts, responses)]
        scores = np.stack(self.evaluate(asked, [[yes, no]] * len(asked)))
        return 1 / (1 + np.exp(scores[:, 1] - scores[:, 0]))


class _Transcript:
    """Responses of a batch while they are written, one row each."""

    def __init__(self, rows: int, steps: int, statistics: Sequence[str], device: torch.device):
        self.tokens = torch.zeros((rows, steps), dtype=torch.long, device=device)
        self.lengths = torch.full((rows,), steps, device=device)
        self.finished = torch.zeros(rows, dtype=torch.bool, device=device)
        self.log_likelihood = torch.zeros(rows, dtype=torch.float64, device=device)
        self.sums = {name: torch.zeros(rows, dtype=torch.float64, device=device) for name in statistics}

    def write(
        self,
        rows: torch.Tensor,
        step: int,
        token: torch.Tensor,
        log_prob: torch.Tensor,
        measured: Mapping[str, torch.Tensor],
    ) -> None:
        """Add a token to each of `rows`."""
        self.tokens[rows, step] = token
        self.log_likelihood[rows] += log_prob
        for name, values in measured.items():
            self.sums[name][rows] += values.double()

    def end(self, rows: torch.Tensor, length: int) -> None:
        """`rows` have ended by themselves, after `length` tokens."""
        self.finished[rows] = True
        self.lengths[rows] = length

    def responses(self) -> list[Response]:
        refuse_nan(self.log_likelihood)
        means = {name: (values / self.lengths).tolist() for name, values in self.sums.items()}
        rows = zip(self.tokens.tolist(), self.lengths.tolist(), self.log_likelihood.tolist(), self.finished.tolist())
        return [
            Response(tuple(ids[:length]), value, finished, {name: mean[i] for name, mean in means.items()})
            for i, (ids, length, value, finished) in enumerate(rows)
        ]


def _uniforms(seed: int, prompt_id: int, samples: Iterable[int], steps: int) -> np.ndarray:
    """Uniforms ``[samples, steps]``, the stream of each sample a function of ``(seed, prompt_id, sample_id)`` alone."""
    return np.stack([np.random.default_rng([seed, prompt_id, j]).random(steps) for j in samples])


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, vocabulary_size: int) -> frozenset[int]:
    """End-of-sequence ids of the tokenizer and of the model's generation config."""
    configured = model.generation_config.eos_token_id
    ids = [*(configured if isinstance(configured, list) else [configured]), tokenizer.eos_token_id]
    ids = [i for i in ids if i is not None]
    if unknown := [i for i in ids if not isinstance(i, int)]:
        raise UserError(
            f"generation_config.json: eos_token_id is {unknown[0]!r}; expected a token id, or a list of them"
        )
    if not any(0 <= i < vocabulary_size for i in ids):
        raise UserError(
            "neither tokenizer nor generation_config defines an end-of-sequence token, so no response ever ends; "
            "set eos_token in tokenizer_config.json"
        )
    return frozenset(ids)
