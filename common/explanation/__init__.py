"""What a classifier looks at, how it sees synthetic slices, and which slices are shown."""
