"""Pure functions, each checked against another library in the tests."""
