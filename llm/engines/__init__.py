"""Engines: prompts in, responses with their log-likelihoods out."""
