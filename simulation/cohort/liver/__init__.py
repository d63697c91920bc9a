"""Demo patients with CT of the liver: one real abdomen, drawn masses, the layout of HCC-TACE-Seg."""
