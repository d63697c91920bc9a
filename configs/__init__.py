"""Hydra groups; a package, so that they are found in a checkout, a wheel and an app bundle alike."""
