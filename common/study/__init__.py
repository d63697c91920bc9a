"""A study: its configuration, phases, trials and progress."""
