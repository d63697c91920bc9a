"""Cropping: what part of a study the slices show, and which slices show enough of it."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from common.errors import BadStudyError
from common.imaging.steps.foreground import bounding_box, foreground_share
from common.imaging.steps.lung_sides import LEFT, RIGHT, lung_of
from common.imaging.steps.study import Box, Labels, Mask, Spacing, Study


def crop_to_foreground(study: Study, least: float) -> Study:
    """The box around the head or body; slices of which at least a share ``least`` is inside.

    Raises:
        BadStudyError: if no slice is.
    """
    study = study.within(bounding_box(study.inside))
    return study.slices(_enough(study.inside, least, "foreground"))


def crop_to_organ(study: Study, margin: float, least: float) -> Study:
    """The box around the organ, ``margin`` millimetres larger in the plane; around all that is inside without one.

    Slices are kept where the organ fills at least a share ``least`` of the box without its margin: an organ's poles go,
    whatever the margin is, and so do slices beyond it.

    Raises:
        BadStudyError: if no slice is left.
    """
    box = bounding_box(study.region)
    kept = _enough(study.region[box], least, "of the organ")
    return study.within(_grown(box, margin, study.spacing, study.inside.shape)).slices(kept)


def crop_to_each_lung(study: Study, margin: float, least: float) -> Study:
    """The slices of the right lung, then those of the left: a box around each, both of one size.

    A box holds each lesion that it shows as a whole. A lung of less than a tenth of the other's volume is left out.
    ``organ`` then is the lung shown with the lesions in the box, and 1.

    Raises:
        BadStudyError: if no slice is left.
    """
    assert study.organ is not None
    lungs = [lung_of(study.organ, side) for side in (RIGHT, LEFT)]
    largest = max(int(lung.sum()) for lung in lungs)
    lungs = [lung for lung in lungs if lung.sum() > 0.1 * largest]
    tight = [bounding_box(lung) for lung in lungs]
    shares = [foreground_share(lung[box]) for lung, box in zip(lungs, tight, strict=True)]
    boxes = [_grown(box, margin, study.spacing, study.inside.shape) for box in tight]
    boxes = _around_lesions(boxes, study.labels)
    parts = [
        replace(study, organ=(lung | (study.labels > 0)).astype(np.uint8))
        .within(box)
        .slices(np.flatnonzero(share >= least))
        for lung, box, share in zip(lungs, boxes, shares, strict=True)
    ]
    if not any(len(part.height) for part in parts):
        raise BadStudyError(too_little(least, "of a lung"))
    return Study(
        images=np.concatenate([part.images for part in parts], axis=1),
        inside=np.concatenate([part.inside for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        organ=np.concatenate([part.organ for part in parts if part.organ is not None]),
        stated=None if study.stated is None else np.concatenate([p.stated for p in parts if p.stated is not None]),
        height=np.concatenate([part.height for part in parts]),
        spacing=study.spacing,
        remarks=study.remarks,
    )


def too_little(least: float, what: str) -> str:
    """Why a study without a slice that shows enough is left out, and the option that helps."""
    return f"no slice shows {least:.0%} {what}; image.min_foreground says how much is enough"


def _around_lesions(boxes: list[Box], labels: Labels) -> list[Box]:
    """Boxes of one size in the plane that hold, on their slices, every lesion that they show as a whole."""
    shape = labels.shape
    while True:
        boxes = _same_size(boxes, shape)
        whole = [_whole_lesions(box, labels[box[0]]) for box in boxes]
        if whole == boxes:
            return boxes
        boxes = whole


def _whole_lesions(box: Box, labels: Labels) -> Box:
    """A box grown in the plane to the lesions that its edge cuts; ``labels`` are those of its slices."""
    flat, _ = ndimage.label(labels.any(axis=0), np.ones((3, 3)))
    y, x = box[1:]
    shown = np.unique(flat[y, x])
    for part, (rows, columns) in enumerate(ndimage.find_objects(flat), start=1):
        if part in shown:
            y = slice(min(y.start, rows.start), max(y.stop, rows.stop))
            x = slice(min(x.start, columns.start), max(x.stop, columns.stop))
    return box[0], y, x


def _enough(shown: Mask, least: float, what: str) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    kept = np.flatnonzero(foreground_share(shown) >= least)
    if len(kept) == 0:
        raise BadStudyError(too_little(least, what))
    return kept


def _grown(box: Box, margin: float, spacing: Spacing, shape: tuple[int, ...]) -> Box:
    """A box with ``margin`` millimetres more on each side in the plane, as far as the volume goes."""
    y, x = (
        slice(max(0, side.start - round(margin / mm)), min(n, side.stop + round(margin / mm)))
        for side, mm, n in zip(box[1:], spacing[1:], shape[1:], strict=True)
    )
    return box[0], y, x


def _same_size(boxes: list[Box], shape: tuple[int, ...]) -> list[Box]:
    """Boxes grown evenly to the largest height and width among them, shifted where they would leave the volume."""
    sizes = [max(box[axis].stop - box[axis].start for box in boxes) for axis in (1, 2)]

    def grown(side: slice, size: int, n: int) -> slice:
        start = min(max(0, side.start - (size - (side.stop - side.start)) // 2), n - size)
        return slice(start, start + size)

    return [(z, grown(y, sizes[0], shape[1]), grown(x, sizes[1], shape[2])) for z, y, x in boxes]
