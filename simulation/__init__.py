"""Many sites on one machine: the in-process grid, Ray, and the demo cohort."""
