"""Several acquisitions in one series: which of them is the volume."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

import numpy as np

from common.errors import BadStudyError
from common.imaging.dicom.frames import PARTS, Frame
from common.imaging.dicom.stacking import Stack, stack
from common.imaging.remarks import Remark

Referred = Collection[str] | Callable[[], Collection[str]]


def one_acquisition(frames: Sequence[Frame], referred: Referred) -> tuple[Stack, tuple[Remark, ...]]:
    """All slices as one volume or, if they form none, those of the acquisition that is meant, with a remark.

    Args:
        referred: as :func:`common.imaging.dicom.volume.load_volume` takes it.

    Raises:
        BadStudyError: they form no volume, or several of which nothing says which one is meant.
    """
    try:
        return stack(frames), ()
    except BadStudyError as error:
        whole = error
    divisions = [(keyword, division) for keyword in PARTS if (division := _divided(frames, keyword))]
    if not divisions:
        raise whole
    outlined = referred() if callable(referred) else referred
    reason = ""
    for keyword, division in divisions:
        volumes = {name: volume for name, part in division.items() if (volume := _volume(part)) is not None}
        meant = [name for name, part in division.items() if any(frame.sop_uid in outlined for frame in part)]
        if len(meant) == 1 and meant[0] in volumes:
            return volumes[meant[0]], (Remark("guess", f"of several {PARTS[keyword]} in one series, the one outlined"),)
        most = max(map(len, division.values()))
        largest = [volume for volume in volumes.values() if len(volume.frames) == most]
        if len(meant) in (0, len(division)) and len(volumes) == len(largest) == 1:
            return largest[0], (Remark("guess", f"of several {PARTS[keyword]} in one series, the only volume"),)
        if volumes and not reason:
            reason = (
                f"the series holds {len(division)} {PARTS[keyword]}, {len(volumes)} of them a volume, and no outline "
                f"says which one is meant: outline one of them, or store each as a series of its own ({whole.reason})"
            )
    raise BadStudyError(reason) if reason else whole


def _divided(frames: Sequence[Frame], keyword: str) -> dict[str, list[Frame]]:
    """The slices by one of ``PARTS``; none where it does not tell some apart that show the same place.

    Slabs one above another, each with its number, are parts of one volume: none of them may stand for it.
    """
    parts: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        parts[frame.parts.get(keyword, "")].append(frame)
    if len(parts) < 2:
        return {}
    normal = np.cross(*frames[0].orientation)
    heights = [[float(frame.position @ normal) for frame in part] for part in parts.values()]
    slabs = sorted((min(some), max(some)) for some in heights)
    return {} if all(lower[1] < upper[0] for lower, upper in pairwise(slabs)) else parts


def _volume(frames: Sequence[Frame]) -> Stack | None:
    try:
        return stack(frames)
    except BadStudyError:
        return None
