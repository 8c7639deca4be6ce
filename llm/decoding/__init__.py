"""Decoders on language models: prefix trees, certified search, every way to decode side by side."""
