"""A pool in, an estimate with its interval out. No sentences, no pictures."""
