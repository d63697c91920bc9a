"""The site's patients as a study sees them, and where its files lie."""
