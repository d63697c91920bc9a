"""Plain 2D images in one folder a class, as many public sets come: ``<root>/<class>/<image>.png``."""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from common.errors import BadStudyError, ConfigError, DataError
from common.imaging.names import CONTRASTS, ORGANS
from common.imaging.patient import Patient, StudyLocation

Scalar = TypeVar("Scalar", bound=np.generic)

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "TIFF")
_MOST_PIXELS = 2**26
"""64 million; a mammogram has 20."""
PATIENTS_FILE = "patients.csv"
_MASK = "_mask"
_WHITE = {"1": 1.0, "L": 255.0, "I;16": 65535.0}


@dataclass(frozen=True)
class ImageFolderReader:
    """2D images sorted into class folders, with masks (``<image>_mask.png``) where there are any.

    ``patients.csv`` in the root (columns ``file``, relative to the root, and ``patient``) says whose image it is. Each
    patient then becomes one stack of images in the order of their paths; smaller images are padded with black. Without
    that file every image counts as a patient of its own, ``StudyLocation.patient_known`` is False, and a split is by
    image. Images are taken to be turned as radiologists look at them; their scale is unknown.

    An image of a tumour class without a mask is marked in ``Patient.tumour_slices``, with no lesion label: a
    classifier can train on it, a model that needs masks cannot.

    Args:
        organ, contrasts: what all images show; exactly one contrast.
        tumour_classes: the class folders whose images show a tumour; the others show none.
        hu_range: CT only: the Hounsfield units that black and white stand for.

    Raises:
        ConfigError: for an unknown organ or contrast, or an option that does not fit.
    """

    organ: str
    contrasts: tuple[str, ...]
    tumour_classes: tuple[str, ...] = ()
    hu_range: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        prefix = "reader image_folder:"
        if self.organ not in ORGANS:
            raise ConfigError(f"{prefix} unknown organ {self.organ!r}; known: {', '.join(ORGANS)}")
        if len(self.contrasts) != 1 or self.contrasts[0] not in CONTRASTS:
            raise ConfigError(f"{prefix} contrasts are {list(self.contrasts)}; give one of {', '.join(CONTRASTS)}")
        if isinstance(self.tumour_classes, str) or not self.tumour_classes:
            raise ConfigError(f"{prefix} list the folders that show tumours, e.g. tumour_classes: [glioma]")
        is_ct = self.contrasts == ("ct",)
        if is_ct != bool(self.hu_range):
            raise ConfigError(f"{prefix} hu_range belongs to contrast ct, and ct needs it, e.g. hu_range: [-1000, 400]")
        if is_ct and (len(self.hu_range) != 2 or not self.hu_range[0] < self.hu_range[1]):
            raise ConfigError(f"{prefix} hu_range is {list(self.hu_range)}; give two ascending Hounsfield units")

    def find(self, root: Path) -> list[StudyLocation]:
        """One location a patient, or one an image if there is no ``patients.csv``.

        Raises:
            DataError: if there is no such folder or no image in it, a tumour class has no folder, or ``patients.csv``
                does not name the patient of every image.
        """
        if not root.is_dir():
            state = "is not a folder" if root.exists() else "does not exist"
            raise DataError(f"{root} {state}; set the site's path to the folder that holds the class folders")
        classes = {child.name: _images_in(child) for child in sorted(root.iterdir()) if child.is_dir()}
        images = [image for found in classes.values() for image in found]
        if not images:
            raise DataError(
                f"no image in {root}: looked for <class>/<image> with {', '.join(SUFFIXES)}; "
                "set the site's path to the folder that holds the class folders"
            )
        for name in self.tumour_classes:
            if not classes.get(name):
                held = ", ".join(other for other in classes if classes[other])
                raise DataError(f"{root}: tumour class {name!r} has no folder with images; folders are {held}")
        owners = _patients(root, images)
        files: dict[str, list[Path]] = defaultdict(list)
        for image in images:
            name = owners.get(image, image.relative_to(root).as_posix())
            files[name].extend([image, *filter(Path.is_file, [_mask_of(image)])])
        return [StudyLocation(name, root, tuple(files[name]), bool(owners)) for name in sorted(files)]

    def read(self, location: StudyLocation) -> Patient:
        """One patient's images as one stack (1, Z, Y, X).

        Raises:
            BadStudyError: an image or mask cannot be read or is empty, a mask has another size than its image, or
                an image of a class without tumours has a mask with one.
        """
        paths = [path for path in location.files if not path.stem.endswith(_MASK)]
        images = [self._image(path) for path in paths]
        tumour = np.array([path.parent.name in self.tumour_classes for path in paths])
        shape = tuple(int(side) for side in np.max([image.shape for image in images], axis=0))
        labels = np.zeros((len(paths), *shape), np.uint8)
        masked = 0
        for index, (path, image) in enumerate(zip(paths, images, strict=True)):
            if _mask_of(path) in location.files:
                lesion = _lesion(_mask_of(path), image.shape)
                if lesion.any() != tumour[index]:
                    state = "empty" if tumour[index] else "not empty, though its class has no tumour"
                    raise BadStudyError(f"{_mask_of(path).name}: mask is {state}")
                labels[index] = _centred(lesion, shape, 0)
                masked += bool(tumour[index])
        black = self.hu_range[0] if self.hu_range else 0.0
        return Patient(
            patient=location.patient,
            organ=self.organ,
            contrasts=self.contrasts,
            images=np.stack([_centred(image, shape, black) for image in images])[None],
            labels=labels if masked or not tumour.any() else None,
            spacing=(1.0, 1.0, 1.0),
            source=location.path,
            spacing_known=False,
            tumour_slices=tumour,
        )

    def _image(self, path: Path) -> npt.NDArray[np.float32]:
        """(Y, X) grey values, or HU where ``hu_range`` gives the scale."""
        values, white = _grey(path)
        if not np.isfinite(values).all():
            raise BadStudyError(f"{path.name}: holds values that are NaN or infinite")
        if values.min() == values.max():
            raise BadStudyError(f"{path.name}: image is empty, every pixel has the same value")
        if not self.hu_range:
            return values
        if white is None:
            raise BadStudyError(f"{path.name}: 32-bit pixels have no known white to scale to Hounsfield units")
        low, high = self.hu_range
        return (low + values / white * (high - low)).astype(np.float32)


def _images_in(folder: Path) -> list[Path]:
    """The images of one class: what has an image's suffix and is neither hidden nor a mask."""
    found = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and path.is_file())
    return [path for path in found if not path.name.startswith(".") and not path.stem.endswith(_MASK)]


def _mask_of(image: Path) -> Path:
    return image.with_name(f"{image.stem}{_MASK}.png")


def _patients(root: Path, images: list[Path]) -> dict[Path, str]:
    """Image -> patient, from ``patients.csv``; empty if there is none."""
    table = root / PATIENTS_FILE
    if not table.is_file():
        return {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
        listed = {root / row["file"].strip(): row["patient"].strip() for row in rows}
    except (OSError, ValueError, KeyError, AttributeError, csv.Error) as error:
        raise DataError(
            f"{table} cannot be read as a table with the columns file and patient; mend or remove it"
        ) from error
    nameless = [image for image in images if not listed.get(image)]
    if nameless:
        raise DataError(
            f"{table} names no patient for {len(nameless)} of {len(images)} images, e.g. "
            f"{nameless[0].relative_to(root).as_posix()}; add them, or remove the file to split by image"
        )
    return {image: listed[image] for image in images}


def _grey(path: Path) -> tuple[npt.NDArray[np.float32], float | None]:
    """(Y, X) grey values of one image file, and what white is; colours are weighed as in ITU-R 601."""
    try:
        # By name, because Pillow would hand a file that begins as PostScript to its interpreter, whatever it is called.
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise BadStudyError(f"{path.name}: {image.width}x{image.height} pixels are more than a slice has")
            frames = getattr(image, "n_frames", 1)
            grey = image if image.mode in (*_WHITE, "I", "F") else image.convert("L")
            values = np.asarray(grey, dtype=np.float32)
            mode = grey.mode
    except (BadStudyError, ImportError):  # A package that is missing is no damaged file.
        raise
    except Exception as error:  # A damaged file makes Pillow's decoders raise nearly anything.
        raise BadStudyError(f"{path.name}: cannot be read, the file is damaged or no image") from error
    if frames > 1:
        raise BadStudyError(f"{path.name}: holds {frames} images, expected one")
    return values, _WHITE.get(mode)


def _lesion(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """(Y, X) 1 where a mask image is at least half as bright as its brightest pixel."""
    values, _ = _grey(path)
    if values.shape != shape:
        raise BadStudyError(
            f"{path.name}: has {values.shape[1]}x{values.shape[0]} pixels, its image {shape[1]}x{shape[0]}"
        )
    return np.asarray((values > 0) & (values >= 0.5 * values.max()), dtype=np.uint8)


def _centred(image: npt.NDArray[Scalar], shape: tuple[int, ...], fill: float) -> npt.NDArray[Scalar]:
    before = [(full - own) // 2 for full, own in zip(shape, image.shape, strict=True)]
    width = [(b, full - own - b) for b, full, own in zip(before, shape, image.shape, strict=True)]
    return np.pad(image, width, constant_values=fill)
