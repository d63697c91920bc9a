"""Runs inside a hospital; may see patients."""
