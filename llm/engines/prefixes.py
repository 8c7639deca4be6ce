"""Next-token probabilities after any prefixes of any prompts, every prefix computed once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sharptheory.llm.engines.cache import GrowingLayer, new_cache
from sharptheory.llm.engines.logits import refuse_nan

#: Bytes that a tree of prefixes may keep by default.
TREE_BYTES = 2**31


class PrefixTree:
    """A language model as a lazily explored tree of prefixes, for searches and samplers that jump about in it.

    Keys and values of each visited prefix's last token are kept once, in a slot; a batch of prefixes gathers those of
    its ancestors, padded on the left, so that prefixes of any lengths and prompts share one forward pass. A prefix whose
    ancestors have been dropped, or never visited, is encoded from the start.

    Args:
        oracle: a `HuggingFaceOracle`. prompts: their texts.
        cached: False recomputes every prefix (for comparison; so do models whose layers do not keep plain keys and values).
        remember: also keep the probabilities, so that coming back to a prefix costs nothing.
        max_bytes: keys, values and probabilities beyond this are dropped, but for the paths in use.

    Attributes:
        forward_tokens: tokens that went through the model so far, per prompt ``[X]``.
    """

    def __init__(
        self,
        oracle,
        prompts: Sequence[str],
        *,
        cached: bool = True,
        remember: bool = True,
        max_bytes: int = TREE_BYTES,
    ):
        self.oracle, self.prompts = oracle, oracle.encode(prompts)
        # Other layers (sliding windows, linear attention) do not keep every token's keys and values.
        self.cached = cached and all(isinstance(layer, GrowingLayer) for layer in new_cache(oracle.model).layers)
        self.remember, self.max_bytes = remember, max_bytes
        self.forward_tokens = np.zeros(len(prompts), dtype=np.int64)
        self._forget()

    def __call__(self, prompts: Sequence[int], prefixes: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Log-probabilities of the token after each prefix, ``[B, V]``, in nats."""
        keys = list(zip(prompts, prefixes))
        known = {key: self._known[key] for key in keys if key in self._known}
        new = [key for key in dict.fromkeys(keys) if key not in known]
        if self.cached:
            self._extend_all([key for key in new if key[1] and (key[0], key[1][:-1]) in self._paths], known)
        for key in new:
            if key not in known:
                width = len(self.prompts[key[0]]) + len(key[1])
                known[key] = self.oracle.budget.attempt(1, width, self._encode, *key)
        rows = np.stack([known[key] for key in keys])
        if self.remember:
            self._known.update((key, known[key]) for key in new)
        slot = sum(pool[:1].nbytes for pool in (*self._keys, *self._values))
        if self._used * slot + len(self._known) * rows[0].nbytes > self.max_bytes:
            self._keep(set(keys))
        return rows

    def _extend_all(self, ready: list[tuple[int, tuple[int, ...]]], known: dict) -> None:
        """Extend by prefixes whose parents are here, as many at a time as memory holds; their rows go into `known`."""
        parent = lambda key: self._paths[key[0], key[1][:-1]]  # noqa: E731
        ready = sorted(ready, key=lambda key: len(parent(key)))  # rows of similar length share a batch
        while ready:
            width = 1 + len(parent(ready[-1]))
            batch = ready[-self.oracle.budget.rows(width) :]
            rows = self.oracle.budget.attempt(len(batch), width, self._extend, batch)
            if rows is not None:
                known.update(zip(batch, rows))
                ready = ready[: -len(batch)]

    @torch.inference_mode()
    def _extend(self, keys: list[tuple[int, tuple[int, ...]]]) -> np.ndarray:
        """Prefixes whose parents have their keys and values here, one token each through the model."""
        device = self.oracle.device
        paths = [self._paths[prompt, prefix[:-1]] for prompt, prefix in keys]
        width = max(map(len, paths))
        index = np.zeros((len(paths), width), dtype=np.int64)
        mask = np.zeros((len(paths), width + 1), dtype=np.int64)
        for row, path in enumerate(paths):
            index[row, width - len(path) :] = path
            mask[row, width - len(path) :] = 1
        index, cache = torch.from_numpy(index), new_cache(self.oracle.model)
        for layer, pools in enumerate(zip(self._keys, self._values)):
            where = index.to(pools[0].device)  # layers may be on several devices
            cache.update(*(pool[where].transpose(1, 2) for pool in pools), layer)
        logits = self.oracle.last_logits(
            torch.tensor([[prefix[-1]] for _, prefix in keys], device=device),
            cache,
            attention_mask=torch.from_numpy(mask).to(device),
            position_ids=torch.tensor([[len(path)] for path in paths], device=device),
        )
        slots = self._store([(layer.keys[:, :, -1], layer.values[:, :, -1]) for layer in cache.layers])
        for key, path, slot in zip(keys, paths, slots):
            self._paths[key] = np.append(path, slot)
        np.add.at(self.forward_tokens, [prompt for prompt, _ in keys], 1)
        return refuse_nan(logits.log_softmax(-1)).cpu().numpy()

    @torch.inference_mode()
    def _encode(self, prompt: int, prefix: tuple[int, ...]) -> np.ndarray:
        """One prefix from the start of its prompt."""
        tokens = torch.tensor([[*self.prompts[prompt], *prefix]], device=self.oracle.device)
        self.forward_tokens[prompt] += tokens.shape[1]
        cache = new_cache(self.oracle.model) if self.cached else None
        logits = self.oracle.last_logits(tokens, cache)
        if cache is not None:
            slots = self._store([(t.keys[0].transpose(0, 1), t.values[0].transpose(0, 1)) for t in cache.layers])
            for length in range(len(prefix) + 1):
                self._paths.setdefault((prompt, prefix[:length]), slots[: len(self.prompts[prompt]) + length])
        return refuse_nan(logits[0].log_softmax(-1)).cpu().numpy()

    def _store(self, layers: list[tuple[torch.Tensor, torch.Tensor]]) -> np.ndarray:
        """Keep keys and values ``[n, heads, dim]`` of n tokens per layer; returns their slots."""
        start, stop = self._used, self._used + len(layers[0][0])
        self._keys = self._keys or [keys[:0] for keys, _ in layers]
        self._values = self._values or [values[:0] for _, values in layers]
        for pools, column in ((self._keys, 0), (self._values, 1)):
            for layer, new in enumerate(layers):
                if stop > len(pools[layer]):
                    room = pools[layer].new_empty((2 * stop, *pools[layer].shape[1:]))
                    room[:start] = pools[layer][:start]
                    pools[layer] = room
                pools[layer][start:stop] = new[column]
        self._used = stop
        return np.arange(start, stop)

    def _keep(self, keys: set[tuple[int, tuple[int, ...]]]) -> None:
        """Drop everything but the slots on the paths of some prefixes."""
        paths = {
            (prompt, prefix[:length]): self._paths[prompt, prefix][: len(self.prompts[prompt]) + length]
            for prompt, prefix in keys
            if (prompt, prefix) in self._paths
            for length in range(len(prefix) + 1)
        }
        slots = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *paths.values()]))
        kept = [
            [pool[torch.from_numpy(slots).to(pool.device)] for pool in pools] for pools in (self._keys, self._values)
        ]
        self._forget()
        (self._keys, self._values), self._used = kept, len(slots)
        self._paths = {key: np.searchsorted(slots, path) for key, path in paths.items()}

    def _forget(self) -> None:
        self._paths: dict[tuple[int, tuple[int, ...]], np.ndarray] = {}
        self._known: dict[tuple[int, tuple[int, ...]], np.ndarray] = {}
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._used = 0
