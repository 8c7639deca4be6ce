"""Samples as other tools write them: a file per format, whose docstring says which field becomes which column."""
