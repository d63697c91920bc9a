"""What differences between the arms of a study are worth: tests, corrections for their number, sizes of effects."""
