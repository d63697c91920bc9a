"""What a study found, as records."""
