"""One loss a file; every adversarial loss has the same signature."""
