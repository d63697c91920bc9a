"""From what several readers outlined to one mask: which outlines are the same nodule, and what they agree on.

**Same nodule.** Readers number their nodules each for themselves, so outlines are matched by distance. Two outlines
*touch* if an edge point of one lies within a tolerance (one slice's distance) of an edge point of the other. Touching
outlines of different readers are joined, those with the closest centres first, and never two of one reader: where one
reader saw two nodules and another a single large one, the large one joins the nearer of the two. Where no reader
conflicts with himself these are the connected groups of touching outlines.

**Agreement.** A voxel belongs to the nodule if at least a given share of the readers *who outlined this nodule* enclose
it; readers who did not mark it have no vote on its border. How many must have marked it is the caller's choice.

Source: Armato et al. 2011 (outlines run just outside the nodule); the consensus and the matching follow the definitions
of Hancock and Magnan 2016 (``pylidc``), who lower the tolerance of a whole scan where a group grows too large.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.spatial import KDTree

from common.errors import BadStudyError
from common.imaging.readers.lidc_xml import Annotation, Contour, Nodule

Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Outline:
    """One reader's nodule on the grid of a volume.

    Attributes:
        reader: index of the reading session.
        malignancy: 1 to 5, or None.
        slices: slice index -> its contours.
        points: (N, 3) int32 voxel indices (z, y, x) of all edge points.
    """

    reader: int
    malignancy: int | None
    slices: Mapping[int, tuple[Contour, ...]]
    points: npt.NDArray[np.int32]

    @property
    def centre(self) -> npt.NDArray[np.float64]:
        """(3,) mean (z, y, x) index of the edge points."""
        return np.asarray(self.points.mean(axis=0))


@dataclass(frozen=True)
class AgreedNodule:
    """One nodule as the readers who marked it agree on it.

    Attributes:
        corner: (z, y, x) index of the first voxel of ``mask`` in the volume.
        mask: (z, y, x) bool, a box around the nodule. All False where no voxel has enough votes, as for a nodule that
            was marked by points only.
        centre: (z, y, x) index in the volume: the mask's centre of mass, or that of the edge points if it is empty.
        readers: how many marked it.
        malignancy: median of the ratings; None where nobody rated it.
        is_outlined: False where it was marked by points only, as one under 3 mm.
    """

    corner: tuple[int, int, int]
    mask: Mask
    centre: tuple[float, float, float]
    readers: int
    malignancy: float | None
    is_outlined: bool

    @property
    def voxels(self) -> int:
        """Number of voxels of the mask."""
        return int(np.count_nonzero(self.mask))

    def paint(self, labels: npt.NDArray[np.uint8], value: int) -> None:
        """Writes ``value`` into the (Z, Y, X) ``labels`` of the whole volume."""
        box = tuple(slice(first, first + size) for first, size in zip(self.corner, self.mask.shape, strict=True))
        labels[box][self.mask] = value


def agreed_nodules(
    annotation: Annotation,
    slice_index: Mapping[str, int],
    shape: tuple[int, int, int],
    spacing: Spacing,
    agreement: float,
) -> list[AgreedNodule]:
    """Every nodule that at least one reader marked, in ascending z; those marked by points only come last.

    Args:
        slice_index: SOPInstanceUID -> index along z.
        shape, spacing: of the volume along (z, y, x); millimetres.
        agreement: share of a nodule's readers that a voxel needs, above 0 and at most 1.

    Raises:
        BadStudyError: the annotation does not fit the volume.
    """
    outlines: list[Outline] = []
    points: list[Outline] = []
    for reader, session in enumerate(annotation.sessions):
        for nodule in session.nodules:
            (points if nodule.is_small else outlines).append(place(nodule, reader, slice_index, shape))
    groups = [group for marks in (outlines, points) for group in match_outlines(marks, spacing, tolerance=spacing[0])]
    if sum(_box_voxels(group) for group in groups) > np.prod(shape):
        raise BadStudyError("the annotation outlines more nodules than fit into the image")
    return [agree(group, agreement) for group in groups]


def place(nodule: Nodule, reader: int, slice_index: Mapping[str, int], shape: tuple[int, int, int]) -> Outline:
    """A nodule of the file on the grid of the volume.

    Args:
        slice_index: SOPInstanceUID -> index along z.
        shape: (Z, Y, X) of the volume.

    Raises:
        BadStudyError: a contour lies on a slice that the volume does not have, or outside the image.
    """
    slices: dict[int, tuple[Contour, ...]] = {}
    points = []
    for contour in nodule.contours:
        if contour.sop_uid not in slice_index:
            raise BadStudyError("the annotation outlines a nodule on a slice that is not in the series")
        if (contour.points.max(axis=0) >= (shape[2], shape[1])).any():
            raise BadStudyError("the annotation outlines a nodule outside the image")
        z = slice_index[contour.sop_uid]
        slices[z] = (*slices.get(z, ()), contour)
        points.append(np.column_stack([np.full(len(contour.points), z, np.int32), contour.points[:, ::-1]]))
    return Outline(reader, nodule.malignancy, slices, np.concatenate(points))


def fill_contour(points: npt.NDArray[np.int32], *, edge: bool = False) -> tuple[Mask, tuple[int, int]]:
    """The pixels that one closed contour encloses, without those on the line itself unless ``edge``.

    >>> square = np.array([[4, 7], [5, 7], [6, 7], [6, 8], [6, 9], [5, 9], [4, 9], [4, 8]], np.int32)
    >>> mask, corner = fill_contour(square)
    >>> mask.astype(int).tolist(), corner
    ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], (7, 4))

    Args:
        points: (N, 2) pixel indices (x, y). Points may be apart: straight lines join them, the last to the first.

    Returns:
        (y, x) bool box, and the (y, x) index of its first pixel.
    """
    corner, last = points.min(axis=0), points.max(axis=0)
    width, height = (last - corner + 1).tolist()
    line = [(x, y) for x, y in (points - corner).tolist()]
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    if len(line) > 1:
        draw.polygon(line, fill=1)
    draw.line([*line, line[0]], fill=int(edge))
    draw.point(line, fill=int(edge))
    return np.asarray(image, dtype=np.bool_), (int(corner[1]), int(corner[0]))


def enclosed(contours: Sequence[Contour], shape: tuple[int, int], corner: tuple[int, int] = (0, 0)) -> Mask:
    """The pixels of one slice that belong to a nodule with these contours.

    The insides of all its parts, without the inside and the line of its holes (``inclusion`` False).

    Args:
        shape, corner: (y, x) size and first pixel of the box to fill; it must hold every contour.
    """
    mask = np.zeros(shape, np.bool_)
    for hole in (False, True):
        for contour in contours:
            if contour.inclusion is not hole:
                part, (top, left) = fill_contour(contour.points, edge=hole)
                window = mask[top - corner[0] :, left - corner[1] :][: part.shape[0], : part.shape[1]]
                window[part] = not hole
    return mask


def match_outlines(outlines: Sequence[Outline], spacing: Spacing, tolerance: float) -> list[list[Outline]]:
    """Groups of outlines that mean one nodule, at most one of each reader, in ascending z.

    Args:
        spacing: millimetres along (z, y, x).
        tolerance: largest distance in mm between edge points of outlines that touch.
    """
    step = np.asarray(spacing)
    places = [outline.points * step for outline in outlines]
    trees = [KDTree(place) for place in places]
    lows, highs = (np.array([edge(place, axis=0) for place in places]).reshape(-1, 3) for edge in (np.min, np.max))
    pairs = []
    for one in range(len(outlines)):
        gaps = np.maximum(lows[one] - highs[one + 1 :], lows[one + 1 :] - highs[one]).max(axis=1, initial=0)
        for other in (one + 1 + np.flatnonzero(gaps <= tolerance + 1e-9)).tolist():
            if outlines[one].reader == outlines[other].reader:
                continue
            small, large = sorted((one, other), key=lambda index: len(places[index]))
            nearest, _ = trees[large].query(places[small], distance_upper_bound=tolerance + 1e-9)
            if np.isfinite(nearest).any():
                apart = np.linalg.norm((outlines[one].centre - outlines[other].centre) * step)
                pairs.append((float(apart), one, other))
    group = list(range(len(outlines)))
    members = [[index] for index in group]
    for _, one, other in sorted(pairs):
        into, gone = sorted((group[one], group[other]))
        readers = [outlines[index].reader for index in members[into] + members[gone]]
        if into != gone and len(set(readers)) == len(readers):
            members[into] += members[gone]
            for index in members[gone]:
                group[index] = into
            members[gone] = []
    found = [[outlines[index] for index in sorted(indices)] for indices in members if indices]
    return sorted(found, key=lambda nodule: float(np.mean([outline.centre[0] for outline in nodule])))


def agree(outlines: Sequence[Outline], agreement: float) -> AgreedNodule:
    """What the readers of one nodule agree on.

    Args:
        outlines: one of each reader who marked it.
        agreement: share of these readers, above 0 and at most 1, that a voxel needs.
    """
    points = np.concatenate([outline.points for outline in outlines])
    first, last = points.min(axis=0), points.max(axis=0)
    top, left = int(first[1]), int(first[2])
    mask = np.zeros((last - first + 1).tolist(), np.bool_)
    for index, z in enumerate(range(int(first[0]), int(last[0]) + 1)):
        votes = np.zeros(mask.shape[1:], np.uint16)
        for outline in outlines:
            votes += enclosed(outline.slices.get(z, ()), votes.shape, (top, left))
        mask[index] = votes >= agreement * len(outlines) - 1e-9
    z, y, x = _centre_of_mass(mask) + first if mask.any() else points.mean(axis=0)
    ratings = [outline.malignancy for outline in outlines if outline.malignancy is not None]
    return AgreedNodule(
        corner=(int(first[0]), top, left),
        mask=mask,
        centre=(float(z), float(y), float(x)),
        readers=len({outline.reader for outline in outlines}),
        malignancy=float(np.median(ratings)) if ratings else None,
        is_outlined=any(
            len(contour.points) > 1 for one in outlines for some in one.slices.values() for contour in some
        ),
    )


def _box_voxels(outlines: Sequence[Outline]) -> int:
    points = np.concatenate([outline.points for outline in outlines])
    return int(np.prod(points.max(axis=0) - points.min(axis=0) + 1, dtype=np.int64))


def _centre_of_mass(mask: Mask) -> npt.NDArray[np.float64]:
    """(3,) mean index of the True voxels of a (Z, Y, X) mask that has some."""
    counts = [np.count_nonzero(mask, axis=other) for other in ((1, 2), (0, 2), (0, 1))]
    return np.array([np.average(np.arange(len(count)), weights=count) for count in counts])
