"""Annotations as in LIDC-IDRI, made on the spot: texts that nest, from an outline up to the whole file.

A file is put together, and may be spoilt, as text:

    slices = ct_series(body(), patient="LIDC-IDRI-0001")
    mark = nodule(rois(slices, {3: disc_edge(20, 15, 4)}), malignancy=4)
    text = annotation(slices[0].SeriesInstanceUID, [session(mark), session(mark), session(mark), session()])
    (folder / "071.xml").write_text(text)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

Points = npt.NDArray[Any] | Sequence[tuple[int, int]]

CHARACTERISTICS = (
    "subtlety",
    "internalStructure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)


def disc(x: int, y: int, radius: float, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """(Y, X) mask of the pixels within ``radius`` of a pixel."""
    rows, columns = np.indices(shape)
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def disc_edge(x: int, y: int, radius: float) -> npt.NDArray[np.int_]:
    """(N, 2) the pixels (x, y) just outside :func:`disc`, in drawing order, as a reader's outline has them."""
    size = int(radius) + 3
    inside = disc(size, size, radius, (2 * size + 1, 2 * size + 1))
    grown = np.zeros_like(inside)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            grown |= np.roll(inside, (down, right), (0, 1))
    rows, columns = np.nonzero(grown & ~inside)
    order = np.argsort(np.arctan2(rows - size, columns - size))
    return np.column_stack([columns + x - size, rows + y - size])[order]


def roi(sop_uid: str, z: float, points: Points, *, inclusion: bool = True) -> str:
    """One outline on one slice; ``points`` (x, y)."""
    edges = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points)
    return (
        f"<roi><imageZposition>{z}</imageZposition><imageSOP_UID>{sop_uid}</imageSOP_UID>"
        f"<inclusion>{str(inclusion).upper()}</inclusion>{edges}</roi>"
    )


def rois(slices: Sequence[Dataset], outlines: Mapping[int, Points], *, inclusion: bool = True) -> str:
    """Outlines by position in ``slices``."""
    return "".join(
        roi(slices[at].SOPInstanceUID, float(slices[at].ImagePositionPatient[2]), points, inclusion=inclusion)
        for at, points in outlines.items()
    )


def nodule(outlines: str, *, malignancy: int | None = 3, name: str = "1", characteristics: str | None = None) -> str:
    """An ``unblindedReadNodule``.

    Args:
        malignancy: None leaves every characteristic empty, as some readers did.
        characteristics: this text instead.
    """
    if characteristics is None:
        ratings = dict.fromkeys(CHARACTERISTICS, "" if malignancy is None else 3)
        ratings["malignancy"] = "" if malignancy is None else malignancy
        inner = "".join(f"<{key}>{rating}</{key}>" for key, rating in ratings.items())
        characteristics = f"<characteristics>{inner}</characteristics>"
    return f"<unblindedReadNodule><noduleID>{name}</noduleID>{characteristics}{outlines}</unblindedReadNodule>"


def small_nodule(slices: Sequence[Dataset], at: int, x: int, y: int, *, name: str = "2") -> str:
    """A nodule under 3 mm: a single point, without characteristics."""
    return nodule(rois(slices, {at: [(x, y)]}), name=name, characteristics="")


def non_nodule(slices: Sequence[Dataset], at: int, x: int, y: int) -> str:
    """A finding of 3 mm or more that is no nodule."""
    image = slices[at]
    return (
        "<nonNodule><nonNoduleID>9</nonNoduleID>"
        f"<imageZposition>{image.ImagePositionPatient[2]}</imageZposition>"
        f"<imageSOP_UID>{image.SOPInstanceUID}</imageSOP_UID>"
        f"<locus><xCoord>{x}</xCoord><yCoord>{y}</yCoord></locus></nonNodule>"
    )


def session(*findings: str, reader: str = "anon") -> str:
    """What one radiologist marked."""
    return (
        "<readingSession><annotationVersion>3.12</annotationVersion>"
        f"<servicingRadiologistID>{reader}</servicingRadiologistID>{''.join(findings)}</readingSession>"
    )


def annotation(series_uid: str, sessions: Sequence[str]) -> str:
    """The file of a CT series."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<LidcReadMessage uid="1.3.6.1.4.1.14519.5.2.1.6279.6001.1307390687803.0" xmlns="http://www.nih.gov" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.nih.gov '
        'http://troll.rad.med.umich.edu/lidc/LidcReadMessage.xsd">\n'
        "<ResponseHeader><Version>1.8.1</Version><MessageId>-421198203</MessageId>"
        "<DateRequest>2005-11-03</DateRequest><TaskDescription>Second unblinded read</TaskDescription>"
        f"<CTImageFile>removed</CTImageFile><SeriesInstanceUid>{series_uid}</SeriesInstanceUid></ResponseHeader>\n"
        f"{''.join(sessions)}</LidcReadMessage>\n"
    )


def radiograph_annotation(series_uid: str) -> str:
    """The file of a chest radiograph, as it lies beside those of CT series."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<IdriReadMessage xmlns="http://www.nih.gov">'
        f"<ResponseHeader><Version>1.8.1</Version><SeriesInstanceUid>{series_uid}</SeriesInstanceUid>"
        f"<CXRSeriesInstanceUid>{series_uid}</CXRSeriesInstanceUid></ResponseHeader>"
        "<CXRreadingSession><servicingRadiologistID>anon</servicingRadiologistID>"
        "<unblindedRead><noduleID>1</noduleID><xCoord>10</xCoord><yCoord>10</yCoord></unblindedRead>"
        "</CXRreadingSession></IdriReadMessage>\n"
    )
