"""This site's part of the classifier study."""
