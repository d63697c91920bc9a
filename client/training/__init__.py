"""Local training: one round at a time, or alone."""
