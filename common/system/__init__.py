"""The machine: files, locks, processes, safe readers and what is printed."""
