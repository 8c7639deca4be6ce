"""Whole laws: functions of tables ``[X, Y]`` of log-probabilities. A theorem is a function is a test; nothing is sampled.

From the ground up: `rows` (what makes a row a law), `policies`, `levels` (ties, rankings, maximisers); the laws, one file
each, in the flat namespace `laws` (`best_of_n`, `adaptive`, `tilts`, `curation`) and `majority`; `divergences` and
`coverage` between and of them; `bounds`, the guarantees; `families`, the hard instances (`hard_family` with its
`occupancy` and `votes`); `tables`, all of it as data frames.
"""
