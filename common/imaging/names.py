"""The names that settings may hold: of organs, and of what an image shows."""

ORGANS = ("brain", "lung", "liver")
CONTRASTS = ("t1", "t1ce", "t2", "flair", "ct")
"""What one channel of an image shows. The first four are MRI, the last is CT in Hounsfield units."""
