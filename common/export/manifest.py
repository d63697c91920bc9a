"""The manifest of a synthetic set: what its files are, where they come from, and that they are unchanged."""

import hashlib
from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from common.errors import DataError
from common.export.provenance import Name, Provenance, Record
from common.imaging.names import CONTRASTS, ORGANS
from common.system.safe_json import model_from_json

MANIFEST = "manifest.json"
_LARGEST = 256 * 2**20
"""Bytes of a manifest; one of a hundred thousand images has about 100 MB."""


class Content(StrEnum):
    """What the pixels of a set are."""

    GENERATED = "generated"
    """Every pixel was made by a network."""
    ALTERED = "altered"
    """Made on the image of a patient, whose anatomy it still shows: a tumour put in, or a translation."""


class ExportedFile(Record):
    """One file: its place below the manifest's folder, and the SHA-256 of its content."""

    path: str = Field(pattern=r"^(png|dicom|segmentation)/[a-z0-9_]{1,64}\.(png|dcm)$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ExportedImage(Record):
    """One synthetic slice.

    Attributes:
        number: from 1, as in the names of its files.
        tumour: the class that it was made as, or that of the slice that was translated.
        has_label_map: whether its label map is known; one without a lesion has no segmentation file.
        png, dicom: a file for each contrast; empty where the format was not asked for.
        png_labels: the label map, with the label values as grey values.
        segmentation: the label map as DICOM SEG of the first contrast's image.
    """

    number: int = Field(ge=1)
    tumour: bool
    has_label_map: bool
    png: dict[str, ExportedFile] = Field(default_factory=dict)
    dicom: dict[str, ExportedFile] = Field(default_factory=dict)
    png_labels: ExportedFile | None = None
    segmentation: ExportedFile | None = None

    def files(self) -> Iterator[ExportedFile]:
        """All of them."""
        yield from self.png.values()
        yield from self.dicom.values()
        yield from (one for one in (self.png_labels, self.segmentation) if one is not None)


class Manifest(Record):
    """What ``manifest.json`` says. It holds no name, path or UID of a patient.

    Attributes:
        set_id: of the content: the same images and provenance give the same, and with it the same UIDs.
        oncofed: version of this project that wrote the set.
        privacy_statement: in words what ``provenance.privacy`` says.
        intensity: format -> how a grey value in [0, 1] was stored.
        geometry: what is known of distances and axes.
        labels: label value -> its meaning.
        size: rows and columns.
    """

    schema_version: Literal["oncofed-synthetic/1"] = Field(alias="schema")
    set_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    created: date
    oncofed: Name
    content: Content
    statement: str
    provenance: Provenance
    privacy_statement: str
    organ: str
    contrasts: Annotated[tuple[str, ...], Field(min_length=1)]
    size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    intensity: dict[str, str]
    geometry: str
    labels: dict[str, str]
    images: tuple[ExportedImage, ...]

    @model_validator(mode="after")
    def _fits_together(self) -> "Manifest":
        if self.organ not in ORGANS:
            raise ValueError("unknown organ")
        if not set(self.contrasts) <= set(CONTRASTS) or len(set(self.contrasts)) != len(self.contrasts):
            raise ValueError("unknown contrast, or one that is named twice")
        paths = [file.path for image in self.images for file in image.files()]
        if len(set(paths)) != len(paths):
            raise ValueError("a file is named twice")
        for image in self.images:
            if any(files and set(files) != set(self.contrasts) for files in (image.png, image.dicom)):
                raise ValueError(f"image {image.number} does not have each of the set's contrasts")
        return self


def read_manifest(folder: Path, *, check_files: bool = True) -> Manifest:
    """The manifest of a set in ``folder``; nothing in it is executed, and no file outside the folder is opened.

    Args:
        folder: as :func:`common.export.synthetic.write_synthetic_set` wrote it.
        check_files: whether every file is compared with its SHA-256.

    Raises:
        DataError: naming the file, if the manifest or a file is missing, damaged, changed or of another kind.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path}: far too large for a manifest")
        manifest = model_from_json(Manifest, path.read_bytes(), strict=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); is this the folder of a synthetic set?") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise DataError(f"{path}: no manifest of a synthetic set ({place}: {first['msg']})") from error
    if check_files:
        for file in (one for image in manifest.images for one in image.files()):
            _check(folder, file)
    return manifest


def _check(folder: Path, file: ExportedFile) -> None:
    path = folder / file.path
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{path}: lies outside the set")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: named by the manifest, but cannot be read ({error.strerror})") from error
    if digest != file.sha256:
        raise DataError(f"{path}: changed since the set was written (its SHA-256 is not the manifest's)")
