"""One on-disk format a file; each yields the same typed patient."""
