"""A running study as a page for its coordinator, live and on this machine only. Nothing here changes the run."""
