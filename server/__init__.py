"""Runs at the coordinator; never sees a patient."""
