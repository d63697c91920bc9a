"""The coordinator's server between institutions: what runs, what it lets in, and the studies that are started on it."""
