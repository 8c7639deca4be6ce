"""Whole laws: functions of tables ``[X, Y]`` of log-probabilities. A theorem is a function is a test; nothing is sampled."""
