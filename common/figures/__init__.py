"""What a study measures: each metric stands once, in the registry; each figure carries what to
read it against."""
