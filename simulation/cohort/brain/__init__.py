"""Demo patients with MRI of the brain: real template anatomy, drawn lesions, four contrasts."""
