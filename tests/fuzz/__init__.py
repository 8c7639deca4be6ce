"""Fuzzing: every reader of files and every grader meets inputs that no one meant to write.

A reader either reads or raises a `UserError` that names the file; a grader raises nothing; neither hangs, neither floods
with warnings. An ordinary run of the tests tries a few hundred inputs of each; ``make fuzz`` tries 100,000 of text and for
graders, 10,000 of parquet and other binary tables, 1,000 model folders, and prints how many were read and refused.
"""
