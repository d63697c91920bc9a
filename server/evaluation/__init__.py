"""What a generator is worth on the coordinator's public reference set: one file a kind of score."""
