"""Plain 2D images in folders, with masks beside them or in folders of their own, as 2D sets are stored."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from common.errors import ConfigError, DataError
from common.imaging.listing import as_text, list_files
from common.imaging.names import CONTRASTS, ORGANS
from common.imaging.patient import Patient, StudyLocation
from common.imaging.patients_table import PatientsTable
from common.imaging.readers.class_folders import ClassFolders, says_healthy
from common.imaging.readers.flat_slice import read_slice
from common.imaging.readers.mask_values import MaskValues
from common.imaging.readers.pairs import Pairs, is_image_folder, paired
from common.imaging.readers.unread_files import unread, what_lies
from common.imaging.remarks import Remark

Scalar = TypeVar("Scalar", bound=np.generic)

_UNMASKED = Remark("guess", "no mask beside an image of a tumour class, taken as a tumour without an outline")
_SHARED = Remark("guess", "one mask for images whose names differ in the suffix alone")
_NESTED = Remark(
    "guess", "each image taken as a patient of its own; if folders are patients, set options.patients: folders"
)
_MERGED = Remark("guess", "folders of one name in several places, taken as one patient")
_PART = re.compile(r"(train(ing)?|test(ing)?|val(id(ation)?)?)([ _-].*)?", re.IGNORECASE)


@dataclass(frozen=True)
class ImageFolderReader:
    """2D images, sorted by class into folders or by their masks.

    With ``classes: folders`` an image is of the class whose name one of its folders has: ``<class>/x.png``,
    ``Training/<class>/x.png``, ``<class>/<patient>/x.png``. With ``classes: masks`` it shows a tumour where its mask
    does, whatever its folders; so do images in ``images/`` beside ``masks/`` whose class is called ``images``.
    :func:`common.imaging.readers.pairs.paired` says which file is a mask. Several masks of one image are joined.

    ``patients.csv`` in the root says whose image it is (:mod:`common.imaging.patients_table`), or ``patients: folders``
    that the folder right above does. Each patient then becomes one stack of images in the order of their paths;
    smaller images are padded with black. Otherwise every image counts as a patient of its own,
    ``StudyLocation.patient_known`` is False, and a split is by image. Images are turned as their EXIF orientation says,
    and taken to be turned as radiologists look at them then; their scale is unknown.

    An image of a tumour class without a mask is marked in ``Patient.tumour_slices``, with no lesion label: a
    classifier can train on it, a model that needs masks cannot.

    Args:
        organ, contrasts: what all images show; exactly one contrast.
        tumour_classes: the class folders whose images show a tumour (any case); the others show none.
        hu_range: CT only: the Hounsfield units that black and white stand for.
        classes: ``folders`` or ``masks``.
        patients: ``images`` or ``folders``.
        tumour_values: grey values, indexes of a palette or colours that are tumour in the masks; not needed where they
            have black and one other.
        other_values: those that are not. A value in neither is told, and asked for where the image would count as
            tumour-free.
        unmasked: with ``classes: masks``, what an image without a mask is: ``quarantine`` or ``tumour_free``.

    Raises:
        ConfigError: for an unknown organ or contrast, or an option that does not fit.
    """

    organ: str
    contrasts: tuple[str, ...]
    tumour_classes: tuple[str, ...] = ()
    hu_range: tuple[float, ...] = ()
    classes: str = "folders"
    patients: str = "images"
    tumour_values: tuple[Any, ...] = ()
    other_values: tuple[Any, ...] = ()
    unmasked: str = "quarantine"

    def __post_init__(self) -> None:
        prefix = "reader image_folder:"
        if self.organ not in ORGANS:
            raise ConfigError(f"{prefix} unknown organ {self.organ!r}; known: {', '.join(ORGANS)}")
        if len(self.contrasts) != 1 or self.contrasts[0] not in CONTRASTS:
            raise ConfigError(f"{prefix} contrasts are {list(self.contrasts)}; give one of {', '.join(CONTRASTS)}")
        for option, known in (
            ("classes", ("folders", "masks")),
            ("patients", ("images", "folders")),
            ("unmasked", ("quarantine", "tumour_free")),
        ):
            if getattr(self, option) not in known:
                raise ConfigError(f"{prefix} {option} is {getattr(self, option)!r}; write {' or '.join(known)}")
        if isinstance(self.tumour_classes, str) or not (self.tumour_classes or self.classes == "masks"):
            raise ConfigError(
                f"{prefix} list the folders that show tumours, e.g. tumour_classes: [glioma], or set classes: masks "
                "where the masks alone tell"
            )
        if not all(isinstance(name, str) for name in self.tumour_classes):
            raise ConfigError(
                f'{prefix} tumour_classes is {list(self.tumour_classes)}; put names in quotation marks, e.g. ["1"]'
            )
        if self.unmasked != "quarantine" and self.classes != "masks":
            raise ConfigError(f"{prefix} unmasked belongs to classes: masks")
        is_ct = self.contrasts == ("ct",)
        if is_ct != bool(self.hu_range):
            raise ConfigError(f"{prefix} hu_range belongs to contrast ct, and ct needs it, e.g. hu_range: [-1000, 400]")
        if is_ct and (len(self.hu_range) != 2 or not self.hu_range[0] < self.hu_range[1]):
            raise ConfigError(f"{prefix} hu_range is {list(self.hu_range)}; give two ascending Hounsfield units")
        try:
            self._values()
        except ConfigError as error:
            raise ConfigError(f"{prefix} {error}") from error

    def find(self, root: Path) -> list[StudyLocation]:
        """One location a patient, or one an image where nothing names the patients.

        Raises:
            DataError: if there is no such folder or no image in it, a tumour class has no folder, masks are there but
                fit no image, or ``patients.csv`` does not name the patient of every image.
        """
        if not root.is_dir():
            state = "is not a folder" if root.exists() else "does not exist"
            raise DataError(f"{root} {state}; set the site's path to the folder that holds the class folders")
        files = list(list_files(root))
        pairs = paired(root, files)
        if not pairs.masks:
            raise DataError(f"no image in {root}: {what_lies(files, pairs)}")
        if pairs.lost and not any(pairs.masks.values()):
            lost, image = (some.relative_to(root).as_posix() for some in (pairs.lost[0], next(iter(pairs.masks))))
            raise DataError(
                f"{root}: no mask ({len(pairs.lost)}) belongs to an image by its name, e.g. {as_text(lost)} beside "
                f"{as_text(image)}; a mask is called <image>_mask, or as its image in a folder masks"
            )
        if self.classes == "folders" and all(image.parent == root for image in pairs.masks):
            raise DataError(
                f"no image in {root} lies in a class folder; set the site's path to the folder above it, or "
                "classes: masks where the masks alone tell"
            )
        classes = self._class_folders(root, pairs, files)
        by_mask = self._decided_by_masks(root, pairs)
        images = [image for image in pairs.masks if image in by_mask or classes.name(root, image) is not None]
        single = [
            StudyLocation(
                image.relative_to(root).as_posix(),
                root,
                (image, *pairs.masks[image]),
                patient_known=False,
                remarks=tuple(self._remarks(root, image, pairs, classes, image in by_mask)),
            )
            for image in images
        ]
        named = self._named(root, single, classes, files)
        stacks: dict[str, list[StudyLocation]] = defaultdict(list)
        for location in named:
            stacks[location.patient].append(location)
        return [
            StudyLocation(
                name,
                root,
                tuple(path for one in stacks[name] for path in one.files),
                patient_known=stacks[name][0].patient_known,
                remarks=tuple(remark for one in stacks[name] for remark in one.remarks),
            )
            for name in sorted(stacks)
        ]

    def read(self, location: StudyLocation) -> Patient:
        """One patient's images as one stack (1, Z, Y, X).

        Raises:
            BadStudyError: an image or mask cannot be read or is empty, a mask has another size than its image, which
                of its values are tumour cannot be told, or it does not agree with the class of its image.
        """
        root = location.path
        pairs = paired(root, location.files)
        classes = ClassFolders(frozenset(name.strip().casefold() for name in self.tumour_classes))
        by_mask = self._decided_by_masks(root, pairs)
        slices = [
            read_slice(
                path,
                masks,
                values=self._values(),
                stated=classes.shows_tumour(root, path),
                by_mask=path in by_mask,
                unmasked_is_free=self.unmasked == "tumour_free",
                hu_range=self.hu_range,
            )
            for path, masks in pairs.masks.items()
        ]
        shape = tuple(int(side) for side in np.max([one.image.shape for one in slices], axis=0))
        black = self.hu_range[0] if self.hu_range else 0.0
        tumour = np.array([one.tumour for one in slices])
        outlined = any(one.tumour and one.masked for one in slices)
        return Patient(
            patient=location.patient,
            organ=self.organ,
            contrasts=self.contrasts,
            images=np.stack([_centred(one.image, shape, black) for one in slices])[None],
            labels=np.stack([_centred(one.lesion, shape, 0) for one in slices])
            if outlined or not tumour.any()
            else None,
            spacing=(1.0, 1.0, 1.0),
            source=location.path,
            spacing_known=False,
            tumour_slices=tumour,
            remarks=(*location.remarks, *dict.fromkeys(remark for one in slices for remark in one.remarks)),
            questions=tuple(dict.fromkeys(question for one in slices for question in one.questions)),
        )

    def _values(self) -> MaskValues:
        return MaskValues.of(self.tumour_values, self.other_values)

    def _class_folders(self, root: Path, pairs: Pairs, files: list[Path]) -> ClassFolders:
        try:
            return ClassFolders.of(root, pairs.masks, self.tumour_classes)
        except DataError as error:
            others = unread(files)
            raise DataError(f"{error}; {others}" if others else str(error)) from error

    def _decided_by_masks(self, root: Path, pairs: Pairs) -> frozenset[Path]:
        """The images whose class their masks tell: with ``classes: masks`` all, else those of a class ``images``."""
        if self.classes == "masks":
            return frozenset(pairs.masks)
        names = {name.strip().casefold() for name in self.tumour_classes}
        plain = {name for name in names if is_image_folder(name)}
        found = set()
        for image, masks in pairs.masks.items():
            folders = names.intersection(folder.casefold() for folder in image.relative_to(root).parts[:-1])
            if folders and folders <= plain and any(mask.parent != image.parent for mask in masks):
                found.add(image)
        return frozenset(found)

    def _remarks(self, root: Path, image: Path, pairs: Pairs, classes: ClassFolders, by_mask: bool) -> Iterator[Remark]:
        """What is known of an image beside others before it is read."""
        if image in pairs.shared:
            yield _SHARED
        tumour = classes.shows_tumour(root, image)
        if tumour and not pairs.masks[image] and any(pairs.masks.values()):
            yield _UNMASKED
        name = classes.name(root, image)
        if not by_mask and not tumour and name is not None and not says_healthy(name):
            yield Remark("guess", f"folder {as_text(name)} is not in tumour_classes, taken as without a tumour")

    def _named(
        self, root: Path, single: list[StudyLocation], classes: ClassFolders, files: Iterable[Path]
    ) -> list[StudyLocation]:
        """The images with their patients, where something names them."""
        table = PatientsTable.of(root, files)
        if table is not None:
            return table.applied(single, "images", "remove the file to split by image")
        above = {one.files[0]: _patient_folders(root, one.files[0], classes) for one in single}
        if self.patients == "folders":
            bare = [image for image, folders in above.items() if not folders]
            if bare:
                raise DataError(
                    f"{root}: patients: folders, but no folder of a patient lies above {len(bare)} of {len(single)} "
                    f"images, e.g. {as_text(bare[0].relative_to(root).as_posix())}; set patients: images, or name them "
                    "in patients.csv"
                )
            places: dict[str, set[Path]] = defaultdict(set)
            for image, folders in above.items():
                places[folders[-1]].add(image.parent)
            return [
                StudyLocation(
                    name, root, one.files, remarks=(*one.remarks, _MERGED) if len(places[name]) > 1 else one.remarks
                )
                for one in single
                for name in above[one.files[0]][-1:]
            ]
        nested = len({folders for folders in above.values() if folders}) > 1
        return [
            StudyLocation(one.patient, root, one.files, False, (*one.remarks, _NESTED) if nested else one.remarks)
            for one in single
        ]


def _patient_folders(root: Path, image: Path, classes: ClassFolders) -> tuple[str, ...]:
    """The folders below an image's class that may be a patient's: not those of images, or of a part of the data set."""
    return tuple(
        folder for folder in classes.below(root, image) if not is_image_folder(folder) and not _PART.fullmatch(folder)
    )


def _centred(image: npt.NDArray[Scalar], shape: tuple[int, ...], fill: float) -> npt.NDArray[Scalar]:
    before = [(full - own) // 2 for full, own in zip(shape, image.shape, strict=True)]
    width = [(b, full - own - b) for b, full, own in zip(before, shape, image.shape, strict=True)]
    return np.pad(image, width, constant_values=fill)
