"""Decoders over next-token probabilities: a token tree, a table and a language model are one to them."""

from sharptheory.decoding.beam import beam_search
from sharptheory.decoding.best_first import Argmax, best_first
from sharptheory.decoding.power import PowerSamples, mcmc, smc

__all__ = ["Argmax", "PowerSamples", "beam_search", "best_first", "mcmc", "smc"]
