"""The hospital's record of what it was asked, what ran, and what left."""
