"""The demo cohort: real anatomy, synthetic lesions, true on-disk formats."""
