"""The tests over repetitions of the classifier study."""
