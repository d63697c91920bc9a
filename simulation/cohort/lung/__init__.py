"""Demo patients with CT of the chest: one real thorax, nodules of real shapes, the layout of LIDC-IDRI."""
