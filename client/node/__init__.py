"""A hospital's node: started, kept running, and asked how it is."""
