"""Four radiologists' readings as the XML file of LIDC-IDRI.

Format: Armato et al. 2011, Medical Physics 38:915-931, and the comments in the released files. Contours are lists of
pixels just outside the nodule; a nodule below 3 mm and a spot that is no nodule are single points.
"""

from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_fill_holes
from skimage.measure import find_contours

from simulation.cohort.ct.nodule_shapes import RATINGS
from simulation.cohort.lung.findings import Mark
from simulation.cohort.lung.nodules import Reading

NAMESPACE = "http://www.nih.gov"
READERS = 4


def edge_pixels(mask: npt.NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Closed paths (x, y) of the pixels just outside ``mask`` (Y, X), one for each separate part; holes are closed.

    >>> [sorted(path[:-1]) for path in edge_pixels(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], bool))]
    [[(0, 1), (1, 0), (1, 2), (2, 1)]]
    """
    paths = []
    # At a level just above 0 the contour runs through the middles of the pixels outside.
    for contour in find_contours(np.pad(binary_fill_holes(mask), 1).astype(float), 1e-4):
        rows, columns = np.rint(contour).astype(int).T - 1
        path = [(int(x), int(y)) for x, y in zip(columns, rows, strict=True)]
        paths.append([point for k, point in enumerate(path) if k == 0 or point != path[k - 1]])
    return paths


def reading_xml(
    study_uid: str,
    series_uid: str,
    slices: Sequence[tuple[str, float]],
    nodules: Sequence[dict[int, Reading]],
    marks: Sequence[Mark],
) -> bytes:
    """The file's content.

    Args:
        slices: SOP instance UID and position along z in mm of each slice of the volume.
        nodules: for each nodule, what the readers (0 to 3) who saw it outlined.
        marks: points.
    """
    root = ElementTree.Element("LidcReadMessage", {"xmlns": NAMESPACE, "uid": f"{series_uid}.1"})
    header = ElementTree.SubElement(root, "ResponseHeader")
    for name, text in {
        "Version": "1.8.1",
        "MessageId": "1",
        "DateRequest": "2000-01-01",
        "TimeRequest": "00:00:00",
        "RequestingSite": "removed",
        "ServicingSite": "removed",
        "TaskDescription": "Second unblinded read",
        "CtImageFile": "removed",
        "SeriesInstanceUid": series_uid,
        "StudyInstanceUID": study_uid,
        "DateService": "2000-01-01",
        "TimeService": "00:00:00",
        "ResponseDescription": "1 - Reading complete",
    }.items():
        ElementTree.SubElement(header, name).text = text
    for reader in range(READERS):
        session = ElementTree.SubElement(root, "readingSession")
        ElementTree.SubElement(session, "annotationVersion").text = "3.12"
        ElementTree.SubElement(session, "servicingRadiologistID").text = "anonymous"
        number = 1
        for nodule in nodules:
            if reader in nodule:
                _add_nodule(session, f"Nodule {number:03d}", nodule[reader], slices)
                number += 1
        for mark in marks:
            if reader in mark.readers:
                _add_point(session, number, mark, slices)
                number += 1
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True))


def _add_nodule(session: ElementTree.Element, name: str, reading: Reading, slices: Sequence[tuple[str, float]]) -> None:
    element = ElementTree.SubElement(session, "unblindedReadNodule")
    ElementTree.SubElement(element, "noduleID").text = name
    characteristics = ElementTree.SubElement(element, "characteristics")
    for rating, value in zip(RATINGS, reading.ratings, strict=True):
        ElementTree.SubElement(characteristics, rating).text = str(value)
    for z in np.flatnonzero(reading.mask.any(axis=(1, 2)))[::-1]:
        for path in edge_pixels(reading.mask[z]):
            roi = _roi(element, *slices[z])
            for x, y in path:
                _add_edge(roi, x, y)


def _add_point(session: ElementTree.Element, number: int, mark: Mark, slices: Sequence[tuple[str, float]]) -> None:
    z, y, x = mark.place
    uid, height = slices[z]
    if mark.nodule:
        element = ElementTree.SubElement(session, "unblindedReadNodule")
        ElementTree.SubElement(element, "noduleID").text = f"Nodule {number:03d}"
        _add_edge(_roi(element, uid, height), x, y)
        return
    element = ElementTree.SubElement(session, "nonNodule")
    ElementTree.SubElement(element, "nonNoduleID").text = str(number)
    ElementTree.SubElement(element, "imageZposition").text = f"{height:.3f}"
    ElementTree.SubElement(element, "imageSOP_UID").text = uid
    locus = ElementTree.SubElement(element, "locus")
    ElementTree.SubElement(locus, "xCoord").text = str(x)
    ElementTree.SubElement(locus, "yCoord").text = str(y)


def _roi(nodule: ElementTree.Element, uid: str, height: float) -> ElementTree.Element:
    roi = ElementTree.SubElement(nodule, "roi")
    ElementTree.SubElement(roi, "imageZposition").text = f"{height:.3f}"
    ElementTree.SubElement(roi, "imageSOP_UID").text = uid
    ElementTree.SubElement(roi, "inclusion").text = "TRUE"
    return roi


def _add_edge(roi: ElementTree.Element, x: int, y: int) -> None:
    edge = ElementTree.SubElement(roi, "edgeMap")
    ElementTree.SubElement(edge, "xCoord").text = str(x)
    ElementTree.SubElement(edge, "yCoord").text = str(y)
