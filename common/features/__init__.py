"""Frozen networks that turn images into features: for Fréchet distances and for perceptual losses."""
