"""From a pool to a summary, to sentences and plots, to the report: each a function of the one before."""
