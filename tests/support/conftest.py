"""What lies here is used by tests and is none: it is not looked through for examples either."""

collect_ignore_glob = ["*.py"]
