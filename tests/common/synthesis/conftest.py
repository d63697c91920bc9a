from lesion_slices import healthy_slices, slices

__all__ = ["healthy_slices", "slices"]
