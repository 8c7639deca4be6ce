"""A key-value cache that writes new tokens in place instead of copying itself at every step."""

from __future__ import annotations

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

SPARE_TOKENS = 32


class GrowingLayer(DynamicLayer):
    """Full-attention cache layer with spare room at its end, so that appending a token copies one token.

    The library's own dynamic layer concatenates, copying the whole cache at every token; its static layer attends over
    the full capacity.  Here `keys` and `values` are views of the filled part of a larger buffer ``[rows, heads,
    capacity, dim]`` which grows by a quarter when it is full.
    """

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[..., :0, :], value_states[..., :0, :]
            self._buffers = (self.keys, self.values)
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        # A selection of rows replaces `keys` and `values`, so a buffer of another batch size is stale.
        if self._buffers[0].shape[0] != key_states.shape[0] or self._buffers[0].shape[-2] < end:
            self._buffers = tuple(self._grow(old, end) for old in (self.keys, self.values))
        for buffer, new in zip(self._buffers, (key_states, value_states)):
            buffer[..., start:end, :] = new
        self.keys, self.values = (buffer[..., :end, :] for buffer in self._buffers)
        return self.keys, self.values

    @staticmethod
    def _grow(old: torch.Tensor, needed: int) -> torch.Tensor:
        capacity = needed + max(SPARE_TOKENS, needed // 4)
        buffer = old.new_empty((*old.shape[:-2], capacity, old.shape[-1]))
        buffer[..., : old.shape[-2], :] = old
        return buffer

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row `repeats` times, straight into a buffer with spare room."""
        self._replace(lambda old: old.unsqueeze(1).expand(-1, repeats, *old.shape[1:]).flatten(0, 1))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the rows `indices`."""
        self._replace(lambda old: old[indices.to(old.device)])  # layers may be on several devices

    def _replace(self, rows_of) -> None:
        if self.get_seq_length() == 0:
            return
        filled = [rows_of(old) for old in (self.keys, self.values)]
        length = filled[0].shape[-2]
        self._buffers = tuple(self._grow(new, length) for new in filled)
        self.keys, self.values = (buffer[..., :length, :] for buffer in self._buffers)


def new_cache(model: PreTrainedModel) -> DynamicCache:
    """An empty cache for `model`, its plain full-attention layers growing in place, any other layer as it is."""
    cache = DynamicCache(config=model.config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
