"""What a site says of itself before a study begins."""
