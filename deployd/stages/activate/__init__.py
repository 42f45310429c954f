"""Release -> Live: start, probe, flip, drain."""
