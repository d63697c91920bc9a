"""The way from a node to its coordinator, and what each end shows of itself on it."""
