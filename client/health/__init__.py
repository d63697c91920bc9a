"""Whether a hospital's node is well, as its operator and the machine's supervisor ask it."""
