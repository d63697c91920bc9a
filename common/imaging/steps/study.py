"""What passes from step to step: a study's volumes on one grid."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from common.imaging.remarks import Kind, Remark

Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]
Box = tuple[slice, slice, slice]
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Study:
    """A patient on the way to slices. Steps return a new one and leave the arrays they got as they are.

    Attributes:
        images: (C, Z, Y, X) float32; float16 once they are squares.
        inside: (Z, Y, X) True in the head, brain or body.
        labels: (Z, Y, X) uint8, 0 outside ``inside``.
        organ: (Z, Y, X) uint8, 1 in the organ, lesions included (right lung 1, left lung 2, both 3); None where it is
            all of ``inside``, or not known.
        stated: (Z,) the class that the data set states for each slice; None where ``labels`` say it all.
        height: (Z,) millimetres of each slice above the lowest one stored.
        spacing: millimetres along (z, y, x).
        remarks: what of the study is not in the slices, or was decided on a guess.
    """

    images: npt.NDArray[Any]
    inside: Mask
    labels: Labels
    organ: Labels | None
    stated: Mask | None
    height: npt.NDArray[np.float64]
    spacing: Spacing
    remarks: tuple[Remark, ...] = ()

    @property
    def shows_tumour(self) -> Mask:
        """(Z,) True where a slice has a lesion, or is stated to show one."""
        lesion = np.asarray(self.labels.any(axis=(1, 2)))
        return lesion if self.stated is None else lesion | self.stated

    def with_remark(self, kind: Kind, what: str, count: int = 1) -> "Study":
        """The same with one thing more told of it."""
        return replace(self, remarks=(*self.remarks, Remark(kind, what, count)))

    def within(self, box: Box) -> "Study":
        """The part in a box, as views."""
        return replace(
            self,
            images=self.images[(slice(None), *box)],
            inside=self.inside[box],
            labels=self.labels[box],
            organ=None if self.organ is None else self.organ[box],
            stated=None if self.stated is None else self.stated[box[0]],
            height=self.height[box[0]],
        )

    def slices(self, kept: npt.NDArray[np.intp]) -> "Study":
        """Some slices, in the order given; as views where they lie side by side."""
        if len(kept) and np.array_equal(kept, np.arange(kept[0], kept[0] + len(kept))):
            return self.within((slice(int(kept[0]), int(kept[-1]) + 1), slice(None), slice(None)))
        return replace(
            self,
            images=self.images[:, kept],
            inside=self.inside[kept],
            labels=self.labels[kept],
            organ=None if self.organ is None else self.organ[kept],
            stated=None if self.stated is None else self.stated[kept],
            height=self.height[kept],
        )

    @property
    def region(self) -> Mask:
        """Where values count for a patient's own statistics: the organ, or all that is inside where there is none."""
        return self.inside if self.organ is None or not self.organ.any() else self.organ > 0
