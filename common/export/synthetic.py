"""A set of synthetic images as a folder: a manifest, PNG, and DICOM that is marked as synthetic."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from common.errors import ConfigError, DataError, RefusalError
from common.export.dicom import LARGEST, SetHeader, dicom_bytes, synthetic_image
from common.export.folder import new_folder
from common.export.manifest import MANIFEST, Content, ExportedFile, ExportedImage, Manifest
from common.export.png import png_bytes
from common.export.provenance import Provenance, privacy_statement
from common.export.segmentation import SEGMENTS, segmentation
from common.imaging.names import CONTRASTS, ORGANS
from common.system.files import write_bytes
from common.system.versions import installed_versions

FORMATS = ("png", "dicom")
_TOLERANCE = 1e-6

Depth = TypeVar("Depth", np.uint8, np.uint16)

_STATEMENTS = {
    Content.GENERATED: "Every pixel was made by a generative network. These images are no examinations of patients.",
    Content.ALTERED: "A generative network changed images of patients, and their anatomy still shows. For use where "
    "those patients' images may be; not to be handed on.",
}
_ALTERED_PUBLIC = (
    "A generative network changed images of the coordinator's public reference set, and their anatomy still shows. The "
    "terms of that data set hold for these images too."
)
_GEOMETRY = (
    "No pixel spacing and no position is known, and none is stated. Rows ascend to the back. Left and right mean "
    "nothing: the generator may have learnt from mirrored slices too."
)


@dataclass(frozen=True)
class SyntheticSet:
    """Synthetic slices of one organ, and where they come from.

    Attributes:
        images: (N, C, H, W) floating point in [0, 1].
        labels: (N, H, W) uint8 with 0 and the organ's lesion labels; None where no masks are known.
        tumour: (N,) bool, the class that each was made as, or that of the slice that was translated.
        organ: one of ``ORGANS``.
        contrasts: the C channels, each one of ``CONTRASTS``.
        content: whether patients' anatomy still shows.
        provenance: the generator's.
        public: whether altered images were made on public ones, the coordinator's reference set, and may go where
            these may.
    """

    images: npt.NDArray[np.floating]
    labels: npt.NDArray[np.uint8] | None
    tumour: npt.NDArray[np.bool_]
    organ: str
    contrasts: tuple[str, ...]
    content: Content
    provenance: Provenance
    public: bool = False


def write_synthetic_set(
    folder: Path,
    synthetic: SyntheticSet,
    formats: Collection[str] = FORMATS,
    *,
    png_bits: int = 16,
    replace: bool = False,
    altered_allowed: bool = False,
    created: date | None = None,
) -> Manifest:
    """Writes the set; ``folder`` is there whole, or not at all.

    ``png/`` holds a grey image for each slice and contrast and, where masks are known, the label map; ``dicom/`` the
    same slices as DICOM, a series a contrast; ``segmentation/`` a DICOM SEG for each slice with a lesion. Grey values
    are stored as ``round(value * largest)``. The same set gives the same UIDs, and on the same day the same bytes.

    Args:
        folder: new, empty, or with ``replace`` an earlier set.
        synthetic: what to write.
        formats: of ``FORMATS``, at least one.
        png_bits: 8 or 16.
        replace: whether an earlier set in ``folder`` makes way.
        altered_allowed: whether images that still show patients' anatomy may be written (for use where they are).
        created: the day that is stated; today if None.

    Returns:
        What ``manifest.json`` says.

    Raises:
        ConfigError: for a format, depth, organ or contrast that is unknown, or a folder that is in use.
        DataError: for shapes that do not fit, NaN, grey values outside [0, 1], unknown labels, or a label map that
            contradicts its class.
        RefusalError: for ``Content.ALTERED`` that is not public, without ``altered_allowed``.
    """
    _check_choices(synthetic, formats, png_bits, altered_allowed)
    stored = _stored(synthetic)
    header = SetHeader(
        set_id=_set_id(synthetic, stored),
        organ=synthetic.organ,
        content=synthetic.content,
        provenance=synthetic.provenance,
        created=created or datetime.now(UTC).date(),
        version=installed_versions()["oncofed"],
    )
    with new_folder(folder, mark=MANIFEST, replace=replace) as place:
        manifest = Manifest(
            schema="oncofed-synthetic/1",
            set_id=header.set_id,
            created=header.created,
            oncofed=header.version,
            content=synthetic.content,
            statement=_statement(synthetic),
            provenance=synthetic.provenance,
            privacy_statement=privacy_statement(synthetic.provenance.privacy),
            organ=synthetic.organ,
            contrasts=synthetic.contrasts,
            size=(stored.shape[2], stored.shape[3]),
            intensity=_intensity(formats, png_bits),
            geometry=_GEOMETRY,
            labels={"0": "none"} | {str(value): one.label for value, one in SEGMENTS[synthetic.organ].items()},
            images=tuple(
                _write_image(place, synthetic, header, index, stored[index], formats, png_bits)
                for index in range(len(stored))
            ),
        )
        write_bytes(place / MANIFEST, (manifest.model_dump_json(by_alias=True, indent=1) + "\n").encode())
    return manifest


def _statement(synthetic: SyntheticSet) -> str:
    if synthetic.content is Content.ALTERED and synthetic.public:
        return _ALTERED_PUBLIC
    return _STATEMENTS[synthetic.content]


def _write_image(
    place: Path,
    synthetic: SyntheticSet,
    header: SetHeader,
    index: int,
    stored: npt.NDArray[np.uint16],
    formats: Collection[str],
    png_bits: int,
) -> ExportedImage:
    number, contrasts = index + 1, synthetic.contrasts
    labels = None if synthetic.labels is None else synthetic.labels[index]
    png, dicom = {}, {}
    png_labels = segments = None
    if "png" in formats:
        grey = stored if png_bits == 16 else _as_integers(synthetic.images[index], np.uint8)
        for contrast, one in zip(contrasts, grey, strict=True):
            png[contrast] = _file(place, f"png/{number:06d}_{contrast}.png", png_bytes(one))
        if labels is not None:
            png_labels = _file(place, f"png/{number:06d}_labels.png", png_bytes(labels))
    if "dicom" in formats:
        images = {
            contrast: synthetic_image(header, one, contrast, series=series, number=number)
            for series, (contrast, one) in enumerate(zip(contrasts, stored, strict=True), start=1)
        }
        for contrast, image in images.items():
            dicom[contrast] = _file(place, f"dicom/{number:06d}_{contrast}.dcm", dicom_bytes(image))
        if labels is not None and labels.any():
            made = segmentation(header, images[contrasts[0]], labels, series=len(contrasts) + 1, number=number)
            segments = _file(place, f"segmentation/{number:06d}.dcm", dicom_bytes(made))
    return ExportedImage(
        number=number,
        tumour=bool(synthetic.tumour[index]),
        has_label_map=labels is not None,
        png=png,
        dicom=dicom,
        png_labels=png_labels,
        segmentation=segments,
    )


def _file(place: Path, path: str, content: bytes) -> ExportedFile:
    # Not flushed one by one, which takes longer than all the rest: a file that a power cut tore shows in its SHA-256.
    (place / path).parent.mkdir(exist_ok=True)
    (place / path).write_bytes(content)
    return ExportedFile(path=path, sha256=hashlib.sha256(content).hexdigest())


def _intensity(formats: Collection[str], png_bits: int) -> dict[str, str]:
    largest = {"png": 2**png_bits - 1, "dicom": LARGEST}
    text = "stored = round(value * {largest}), value in [0, 1] without a physical unit"
    return {name: text.format(largest=largest[name]) for name in FORMATS if name in formats}


def _set_id(synthetic: SyntheticSet, stored: npt.NDArray[np.uint16]) -> str:
    digest = hashlib.sha256()
    facts = [synthetic.provenance.model_dump_json(), synthetic.organ, *synthetic.contrasts, synthetic.content]
    digest.update("\x1f".join([*facts, *map(str, stored.shape), ""]).encode())
    digest.update(stored.astype("<u2").tobytes())
    digest.update(b"" if synthetic.labels is None else synthetic.labels.tobytes())
    digest.update(synthetic.tumour.tobytes())
    return digest.hexdigest()[:32]


def _check_choices(synthetic: SyntheticSet, formats: Collection[str], png_bits: int, altered_allowed: bool) -> None:
    if synthetic.content is Content.ALTERED and not (synthetic.public or altered_allowed):
        raise RefusalError(
            "these images were made on patients' images and still show their anatomy: they are not handed on"
        )
    if not formats or not set(formats) <= set(FORMATS):
        raise ConfigError(f"formats {', '.join(sorted(formats)) or 'none'}: name at least one of {', '.join(FORMATS)}")
    if png_bits not in (8, 16):
        raise ConfigError(f"a PNG has 8 or 16 bits a pixel, not {png_bits}")
    if synthetic.organ not in ORGANS:
        raise ConfigError(f"unknown organ {synthetic.organ!r}; known: {', '.join(ORGANS)}")
    unknown = [one for one in synthetic.contrasts if one not in CONTRASTS]
    if unknown or len(set(synthetic.contrasts)) != len(synthetic.contrasts):
        raise ConfigError(f"contrasts {', '.join(synthetic.contrasts)}: each one once, out of {', '.join(CONTRASTS)}")


def _stored(synthetic: SyntheticSet) -> npt.NDArray[np.uint16]:
    """(N, C, H, W) the grey values as DICOM stores them, after all checks of the arrays."""
    images, labels, tumour = synthetic.images, synthetic.labels, synthetic.tumour
    if images.ndim != 4 or not images.size or not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"images must be floating point (N, C, H, W), got {images.dtype} {images.shape}")
    if images.shape[1] != len(synthetic.contrasts):
        raise DataError(f"{images.shape[1]} channels, but {len(synthetic.contrasts)} contrasts are named")
    if tumour.shape != images.shape[:1] or tumour.dtype != np.bool_:
        raise DataError(f"tumour must be bool {images.shape[:1]}, got {tumour.dtype} {tumour.shape}")
    for number, image in enumerate(images, start=1):
        if not np.isfinite(image).all():
            raise DataError(f"synthetic image {number} holds NaN or infinity: the generator did not learn; not written")
        if image.min() < -_TOLERANCE or image.max() > 1 + _TOLERANCE:
            raise DataError(f"synthetic image {number} has grey values outside [0, 1]")
    if labels is not None:
        _check_labels(labels, images, tumour, synthetic.organ)
    return _as_integers(images, np.uint16)


def _as_integers(images: npt.NDArray[np.floating], kind: type[Depth]) -> npt.NDArray[Depth]:
    """[0, 1] spread over all values of an unsigned type."""
    return np.rint(np.clip(images.astype(np.float64), 0, 1) * np.iinfo(kind).max).astype(kind)


def _check_labels(
    labels: npt.NDArray[np.uint8], images: npt.NDArray[np.floating], tumour: npt.NDArray[np.bool_], organ: str
) -> None:
    expected = (len(images), *images.shape[2:])
    if labels.shape != expected or labels.dtype != np.uint8:
        raise DataError(f"labels must be uint8 {expected}, got {labels.dtype} {labels.shape}")
    known = [0, *SEGMENTS[organ]]
    for number, (one, has_tumour) in enumerate(zip(labels, tumour, strict=True), start=1):
        if not np.isin(one, known).all():
            raise DataError(f"label map {number}: unknown label; {organ} has {', '.join(map(str, known))}")
        if one.any() != has_tumour:
            said = "a tumour" if has_tumour else "none"
            raise DataError(
                f"image {number} was made to show {said}, which its label map contradicts; give no label maps where no "
                "masks are known"
            )
