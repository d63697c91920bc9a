"""One annotation file of LIDC-IDRI: what each reader outlined in one CT series, as typed values.

The format is ``LidcReadMessage`` in the namespace ``http://www.nih.gov``: a ``ResponseHeader`` that names the series,
then up to four ``readingSession``, each with the ``unblindedReadNodule`` of one radiologist. Element names are compared
without their namespace and case, as files of several releases differ in both.

A file is read as a stream, so that memory is bounded by the contours in it. A document type (the only door to entity
bombs) is refused before anything in it is expanded, and so is a file far larger than any annotation.

Source: Armato et al. 2011, The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative (IDRI);
the archive's documentation of the file format.
"""

from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from common.errors import BadStudyError

ROOT = "lidcreadmessage"
"""Root element of a CT annotation. That of a radiograph is ``IdriReadMessage``, and is not read."""

_MOST_BYTES = 8 * 2**20
"""The longest annotation in the archive has 22,000 edge points, about 2 MB."""
_MOST_NODULES = 500
_MOST_CONTOURS = 5_000
"""The most in the archive are 49 outlined nodules and 327 contours."""
_DEEPEST = 32
_LONGEST_TEXT = 256
_LARGEST_COORDINATE = 32_767
_CHUNK = 16_384


@dataclass(frozen=True)
class Contour:
    """One outline on one slice (``roi``).

    Attributes:
        sop_uid: SOPInstanceUID of the slice.
        z: the slice's position in mm as the file states it; None where it does not.
        inclusion: True where the inside belongs to the nodule, False where it is a hole in it.
        points: (N, 2) int32 pixel indices (x, y), counted from 0, in drawing order, N >= 1. They lie just outside.
    """

    sop_uid: str
    z: float | None
    inclusion: bool
    points: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Nodule:
    """One nodule as one reader marked it.

    Attributes:
        name: the reader's own ID; another reader's ID of the same nodule differs.
        characteristics: ratings by element name in lower case, e.g. ``malignancy``; without those left empty.
        contours: at least one.
    """

    name: str
    characteristics: dict[str, int]
    contours: tuple[Contour, ...]

    @property
    def is_small(self) -> bool:
        """True for a nodule under 3 mm: the reader marked it by a single point and did not outline it."""
        return all(len(contour.points) == 1 for contour in self.contours)

    @property
    def malignancy(self) -> int | None:
        """1 (highly unlikely) to 5 (highly suspicious); None where it was not rated so."""
        rating = self.characteristics.get("malignancy")
        return rating if rating is not None and 1 <= rating <= 5 else None


@dataclass(frozen=True)
class ReadingSession:
    """What one radiologist marked; ``nodules`` may be empty. Findings that are no nodules are not kept."""

    reader: str
    nodules: tuple[Nodule, ...]


@dataclass(frozen=True)
class Annotation:
    """All readings of one CT series."""

    series_uid: str
    sessions: tuple[ReadingSession, ...]


def read_annotation(path: Path) -> Annotation:
    """The annotation of a CT series.

    Raises:
        BadStudyError: the file cannot be read, is no well-formed XML, has a document type, is too large, is no
            ``LidcReadMessage``, names no series, or holds a contour without a slice or with an impossible coordinate.
    """
    content = _Content()
    _parse(path, content)
    if content.root != ROOT:
        raise BadStudyError(f"{path.name}: is no LIDC annotation of a CT series, its root is {content.root}")
    if not content.series_uid:
        raise BadStudyError(f"{path.name}: names no CT series")
    return Annotation(content.series_uid, tuple(content.sessions))


def annotated_series(path: Path) -> str | None:
    """SeriesInstanceUID of the CT series that a file annotates; None for any other XML file.

    Reads the start of the file only.

    Raises:
        BadStudyError: as for :func:`read_annotation`, for what is wrong before the series is named.
    """
    content = _Content(header_only=True)
    _parse(path, content)
    return content.series_uid or None if content.root == ROOT else None


def marks(annotation: Annotation) -> tuple[object, ...]:
    """What an annotation says, whatever the order and the names in it: equal for two copies.

    Names are the readers' own, and those of messages and nodules are given anew where a file is written again.
    """
    sessions = [
        sorted(
            (
                sorted(nodule.characteristics.items()),
                sorted((contour.sop_uid, contour.inclusion, contour.points.tolist()) for contour in nodule.contours),
            )
            for nodule in session.nodules
        )
        for session in annotation.sessions
    ]
    return annotation.series_uid, sorted(sessions)


class _HeaderReadError(Exception):
    """Ends the reading of a file of which only the header was wanted."""


@dataclass
class _Content:
    """Target of the XML parser: collects what is wanted, passes over the rest."""

    header_only: bool = False
    root: str = ""
    series_uid: str = ""
    sessions: list[ReadingSession] = field(default_factory=list)
    _path: list[str] = field(default_factory=list)
    _text: str = ""
    _reader: str = ""
    _nodules: list[Nodule] | None = None
    _name: str = ""
    _ratings: dict[str, int] = field(default_factory=dict)
    _contours: list[Contour] | None = None
    _slice: dict[str, str] = field(default_factory=dict)
    _edge: dict[str, int] = field(default_factory=dict)
    _points: list[tuple[int, int]] = field(default_factory=list)
    _nodules_in_all: int = 0
    _contours_in_all: int = 0

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise BadStudyError("has a document type, which no annotation has")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition("}")[2].lower()
        if not self._path:
            self.root = name[:_LONGEST_TEXT]
            if self.header_only and name != ROOT:
                raise _HeaderReadError
        self._path.append(name)
        self._text = ""
        if len(self._path) > _DEEPEST:
            raise BadStudyError("is nested too deep for an annotation")
        if name == "readingsession":
            self._reader, self._nodules = "", []
        elif name == "unblindedreadnodule":
            self._name, self._ratings, self._contours = "", {}, []
        elif name == "roi":
            self._slice, self._points = {}, []
        elif name == "edgemap":
            self._edge = {}

    def data(self, text: str) -> None:
        if len(self._text) <= _LONGEST_TEXT:
            self._text += text[: _LONGEST_TEXT + 1]

    def end(self, tag: str) -> None:
        name = self._path.pop()
        text, self._text = self._text.strip(), ""
        parent = self._path[-1] if self._path else ""
        if parent == "edgemap" and name in ("xcoord", "ycoord"):
            self._edge[name] = _coordinate(text)
        elif name == "edgemap":
            if len(self._edge) < 2:
                raise BadStudyError("has an edge point without both coordinates")
            self._points.append((self._edge["xcoord"], self._edge["ycoord"]))
        elif parent == "roi":
            self._slice[name] = text
        elif name == "roi":
            self._end_contour()
        elif parent == "characteristics":
            if text.isascii() and text.isdecimal() and len(text) < 4:
                self._ratings[name] = int(text)
        elif parent == "unblindedreadnodule" and name == "noduleid":
            self._name = text
        elif name == "unblindedreadnodule":
            self._end_nodule()
        elif parent == "readingsession" and name == "servicingradiologistid":
            self._reader = text
        elif name == "readingsession" and self._nodules is not None:
            self.sessions.append(ReadingSession(self._reader, tuple(self._nodules)))
            self._nodules = None
        elif parent == "responseheader" and name == "seriesinstanceuid":
            self.series_uid = text
        elif name == "responseheader" and self.header_only:
            raise _HeaderReadError

    def _end_contour(self) -> None:
        if self._contours is None or not self._points:
            return  # an outline of something that is no nodule, or none at all
        self._contours_in_all += 1
        if self._contours_in_all > _MOST_CONTOURS:
            raise BadStudyError(f"holds more than {_MOST_CONTOURS} contours")
        sop_uid = self._slice.get("imagesop_uid", "")
        if not sop_uid:
            raise BadStudyError("has a contour that names no slice")
        inclusion = self._slice.get("inclusion", "").lower() != "false"
        points = np.array(self._points, dtype=np.int32)
        self._contours.append(Contour(sop_uid, _position(self._slice.get("imagezposition", "")), inclusion, points))

    def _end_nodule(self) -> None:
        if self._contours and self._nodules is not None:
            self._nodules_in_all += 1
            if self._nodules_in_all > _MOST_NODULES:
                raise BadStudyError(f"holds more than {_MOST_NODULES} nodules")
            self._nodules.append(Nodule(self._name, self._ratings, tuple(self._contours)))
        self._contours = None


def _parse(path: Path, content: _Content) -> None:
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            if size > _MOST_BYTES:
                raise BadStudyError(f"has {size / 2**20:.0f} MB, too many for an annotation")
            stream.seek(0)
            parser = ElementTree.XMLParser(target=content)
            while chunk := stream.read(_CHUNK):
                parser.feed(chunk)
            parser.close()
    except _HeaderReadError:
        return
    except BadStudyError as error:
        raise BadStudyError(f"{path.name}: {error.reason}") from error
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
        raise BadStudyError(f"{path.name}: cannot be read, the file is damaged or incomplete") from error


def _coordinate(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= _LARGEST_COORDINATE:
        return int(text)
    raise BadStudyError(f"has an edge point at {text[:20]!r}, which is no pixel index")


def _position(text: str) -> float | None:
    try:
        z = float(text)
    except ValueError:
        return None
    return z if np.isfinite(z) else None
