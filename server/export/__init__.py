"""``oncofed-server export``: the generators of a finished run, and synthetic images made with them, as folders."""
