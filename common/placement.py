"""How many inserted lesions lie where lesions can lie: what doctor and site report tell."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """Where the lesions of synthetic slices lie.

    Attributes:
        lesions: slices with a lesion that was put into a real slice.
        wholly_inside: how many of them lie in the organ, or the head where it is all of that, to the last pixel.
        pixels: of all lesions.
        pixels_inside: of these, in the organ.
        moved_on: how often a slice had no place for a lesion, and another slice was taken.
    """

    lesions: int
    wholly_inside: int
    pixels: int
    pixels_inside: int
    moved_on: int
