"""The steps from a patient as stored to slices, one a file; :mod:`common.imaging.preprocessing` runs them in order."""
