"""DICOM as hospitals store it: series found by their UIDs, volumes from positions, masks from SEG and RTSTRUCT."""
