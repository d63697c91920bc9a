"""From a hospital's files to typed slices: readers, preprocessing, split, cache."""
