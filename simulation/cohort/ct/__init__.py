"""What the demo's lung and liver patients share: real anatomy, its deformation, a CT scanner, DICOM files."""
