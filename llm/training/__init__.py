"""Sharpening a model by training it on its own responses."""
