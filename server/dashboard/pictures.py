"""The newest pictures of a GAN in training: the same slices of the public reference set, round by round."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from common.errors import DamagedFileError
from common.report.images import Picture, picture
from common.report.page import ReportError
from common.system.array_files import read_arrays
from server.report.gallery import STRIPS, ReferenceGallery, Row, reference_gallery

NEWEST = 6
"""Rounds whose pictures are shown."""


def kept_galleries(folder: Path) -> list[ReferenceGallery]:
    """Those of the chosen round, as the report shows them; empty before it was chosen."""
    try:
        return [one for file in sorted(folder.glob("*.npz")) if (one := reference_gallery(file)) is not None]
    except ReportError:
        return []


def live_galleries(phase_dir: Path, subjects: dict[str, str]) -> list[ReferenceGallery]:
    """A strip a slice with the newest round first; a file that cannot be read is left out.

    Args:
        phase_dir: where the rounds of a GAN are kept.
        subjects: the name of each subject, by that of its array.
    """
    rows: dict[str, dict[int, list[Picture]]] = {}
    for file in sorted(phase_dir.glob("images-*.npz"), reverse=True)[:NEWEST]:
        number = int(file.stem.removeprefix("images-"))
        for key, pictures in _pictures(file, file.stat().st_mtime_ns).items():
            for slice_, one in pictures.items():
                labelled = replace(one, label=f"round {number}", alt=f"{one.alt}, round {number}")
                rows.setdefault(subjects.get(key, key), {}).setdefault(slice_, []).append(labelled)
    return [
        ReferenceGallery(
            about="",
            slices=[],
            by_round=[Row(f"Slice {slice_ + 1}", pictures) for slice_, pictures in sorted(strips.items())],
            subject=subject,
            followed="generated",
            outlined=False,
            versions=1,
        )
        for subject, strips in rows.items()
    ]


@lru_cache(maxsize=8 * NEWEST)
def _pictures(file: Path, changed: int) -> dict[str, dict[int, Picture]]:
    """A few slices evenly spread over each subject's, by subject and place; ``changed`` tells versions of a file."""
    try:
        arrays = read_arrays(file)
    except (OSError, DamagedFileError):
        return {}
    return {
        key: {i: picture(images[i], f"Reference slice {i + 1}, generated") for i in _spread(len(images))}
        for key, images in arrays.items()
        if images.ndim == 3
    }


def _spread(count: int) -> list[int]:
    """
    >>> _spread(96), _spread(3)
    ([0, 24, 48, 72], [0, 1, 2])
    """
    return sorted({i * count // STRIPS for i in range(STRIPS)}) if count else []
