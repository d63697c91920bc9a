"""What a hospital and the coordinator say to each other."""
