"""nnU-Net's layout on disk, and the Medical Segmentation Decathlon's: imagesTr, labelsTr and dataset.json."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import BadStudyError, ConfigError, DataError
from common.imaging.contrast_names import contrast_of
from common.imaging.names import CONTRASTS, ORGANS
from common.imaging.patient import Patient, StudyLocation
from common.imaging.public_names import patient_of
from common.imaging.readers.nifti_grid import check_orientation
from common.imaging.readers.nifti_volume import NiftiFile, guesses, open_case, stacked, whole_numbers
from common.imaging.readers.nnunet_dataset import (
    DATASET_FILE,
    Description,
    find_dataset,
    listed,
    read_description,
)
from common.imaging.readers.nnunet_labels import OPTIONS, LabelNames, outlined
from common.imaging.remarks import Remark

IMAGES, LABELS = "imagesTr", "labelsTr"
TUMOUR_FREE = ("allow", "quarantine")
_AIR_HU = -1024.0
_VOLUME = re.compile(r"(?P<stem>[^.].*)\.(nii|nii\.gz)", re.IGNORECASE)
_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


@dataclass(frozen=True)
class NnunetReader:
    """A data set in the raw format of nnU-Net (one file a channel, ``imagesTr/<case>_0000.nii.gz``) or of the Medical
    Segmentation Decathlon (all channels in one file), with its masks in ``labelsTr``.

    Channels and labels have names in ``dataset.json``. Which labels are tumours the hospital says, by name or number;
    ``*`` stands for anything. A mask with a value that no option lists is that of a case with a tumour, where the value
    is told, or a question to the hospital, where the case would count as tumour-free. ``imagesTs`` is not read.

    Volumes are turned to LPS; CT values are Hounsfield units, at least -1024. In a brain, labels named after parts of
    a tumour (necrotic or non-enhancing, oedema, enhancing) are told apart; any other tumour is label 1. The visits of
    one patient are told by the names of public sets.

    Args:
        organ, contrasts: what the images show.
        tumour_labels: labels that are tumours, e.g. ``[cancer]``.
        organ_labels: labels that are the organ itself; without it that of the organ's own name.
        other_labels: labels that are neither, e.g. ``["vessel*"]``.
        channels: which channel is which contrast, e.g. ``{flair: 0, t1: 1}`` or ``[flair, t1]``, where
            ``dataset.json`` has names of its own.
        tumour_free: ``allow`` patients without a tumour in their mask, or ``quarantine`` them where every patient
            should have one.
        orientation: where the three axes of an array point if its header does not say, e.g. ``LPS``.

    Raises:
        ConfigError: for an unknown organ or contrast, or an option that does not fit.
    """

    organ: str
    contrasts: tuple[str, ...]
    tumour_labels: tuple[str | int, ...] = ()
    organ_labels: tuple[str | int, ...] | None = None
    other_labels: tuple[str | int, ...] = ()
    channels: Mapping[str, int] | tuple[str | None, ...] = ()
    tumour_free: str = "allow"
    orientation: str = ""

    def __post_init__(self) -> None:
        prefix = "reader nnunet:"
        if self.organ not in ORGANS:
            raise ConfigError(f"{prefix} unknown organ {self.organ!r}; known: {', '.join(ORGANS)}")
        if not self.contrasts or not set(self.contrasts) <= set(CONTRASTS):
            raise ConfigError(f"{prefix} contrasts are {list(self.contrasts)}; give some of {', '.join(CONTRASTS)}")
        for option in OPTIONS:
            given = getattr(self, option)
            if given is not None and not (isinstance(given, tuple) and all(type(one) in (str, int) for one in given)):
                raise ConfigError(f"{prefix} {option} is a list of names or numbers, e.g. {option}: [cancer]")
        if self.tumour_free not in TUMOUR_FREE:
            raise ConfigError(f"{prefix} tumour_free is {self.tumour_free!r}; write {' or '.join(TUMOUR_FREE)}")
        for contrast, index in self._stated_channels().items():
            if contrast not in CONTRASTS or type(index) is not int or index < 0:
                raise ConfigError(
                    f"{prefix} channels has {contrast!r}: {index!r}; give contrasts ({', '.join(CONTRASTS)}) their "
                    "channel's number, e.g. channels: {flair: 0}"
                )
        check_orientation("nnunet", self.orientation)

    def find(self, root: Path) -> list[StudyLocation]:
        """Every case of ``imagesTr`` and ``labelsTr``, in ``root`` or in the only data set below it.

        Raises:
            DataError: if there is no such data set, its ``dataset.json`` cannot be read, or it holds no volume.
            ConfigError: if labels or channels do not fit ``dataset.json``.
        """
        folder = find_dataset(root)
        description = read_description(folder)
        self._names().check(description)
        self._channels(description)
        images, masks = _volumes(folder / IMAGES), _volumes(folder / LABELS)
        if not images:
            raise DataError(
                f"{folder}: no .nii.gz or .nii file in {IMAGES}; set the site's path to the data set's folder, the one "
                f"that holds {DATASET_FILE}, {IMAGES} and {LABELS}"
            )
        files: dict[str, list[Path]] = defaultdict(list)
        stems = {stem for stem, _ in masks}
        whole = any(stem in stems for stem, _ in images)
        for stem, path in images:
            channel = None if whole else _CHANNEL.fullmatch(stem)
            files[channel["case"] if channel else stem].append(path)
        for stem, path in masks:
            files[stem].append(path)
        table = folder / DATASET_FILE
        locations = [StudyLocation(patient_of(case), folder, (table, *paths)) for case, paths in files.items()]
        return sorted(locations, key=lambda location: (location.patient, location.files))

    def read(self, location: StudyLocation) -> Patient:
        """One case, oriented to LPS.

        Raises:
            BadStudyError: a channel or the mask is missing; a file is unreadable or no volume; grids differ; a value
                is NaN or infinite; an image is constant; the mask is empty or holds what is no whole number.
            DataError, ConfigError: as :meth:`find`, if ``dataset.json`` has changed since.
        """
        description = read_description(location.path)
        names = self._names()
        names.check(description)
        masks = [path for path in location.files if path.parent.name == LABELS]
        images = [path for path in location.files if path.parent.name == IMAGES]
        if len(masks) != 1 or not images:
            twice = " and ".join(path.name for path in masks)
            missing = f"{IMAGES} holds no image of it" if masks else f"{LABELS} holds no mask of it"
            raise BadStudyError(f"{twice} are both its mask; keep one" if len(masks) > 1 else missing)
        chosen, channels = self._chosen(images, masks[0], description)
        case = open_case([*chosen, masks[0]], self.orientation)
        if channels[0] is not None:
            _check_channels(case[0], description)
        first, stack = stacked(case[:-1], channels)
        mask = case[-1].load()
        mask.check_same_grid(first)
        found = outlined(whole_numbers(mask), description, names, self.organ)
        if found.organ_expected and found.organ is None and not found.labels.any() and not found.questions:
            raise BadStudyError(f"{mask.name}: mask holds neither a tumour nor the {self.organ}")
        if self.tumour_free == "quarantine" and not found.labels.any() and not found.questions:
            raise BadStudyError(f"{mask.name}: mask holds no tumour")
        remarks = [*guesses(case), *found.remarks]
        if self.contrasts == ("ct",):
            if stack.min() >= 0:
                remarks.append(Remark("guess", "CT without a value below 0, taken as Hounsfield units all the same"))
            np.maximum(stack, np.float32(_AIR_HU), out=stack)
        return Patient(
            patient=location.patient,
            organ=self.organ,
            contrasts=self.contrasts,
            images=stack,
            labels=found.labels,
            spacing=first.spacing,
            source=location.path,
            spacing_known=first.grid.spacing_known,
            organ_mask=found.organ,
            remarks=tuple(remarks),
            questions=found.questions,
        )

    def _names(self) -> LabelNames:
        tumour, organ, other = (
            None if names is None else tuple(str(name) for name in names)
            for names in (self.tumour_labels, self.organ_labels, self.other_labels)
        )
        return LabelNames(tumour or (), organ, other or ())

    def _stated_channels(self) -> dict[str, int]:
        """Contrast -> number of its channel, where the site says so."""
        if isinstance(self.channels, Mapping):
            return dict(self.channels)
        if isinstance(self.channels, str):
            raise ConfigError("reader nnunet: channels is a table or a list, e.g. channels: {flair: 0}")
        return {contrast: index for index, contrast in enumerate(self.channels) if contrast is not None}

    def _channels(self, description: Description) -> list[int]:
        """The number of the channel of each contrast.

        Raises:
            ConfigError: where it cannot be told.
        """
        stated, found = self._stated_channels(), []
        for contrast in self.contrasts:
            named = [index for index, name in enumerate(description.channels) if contrast_of(name) == contrast]
            numbers = [stated[contrast]] if contrast in stated else named
            if len(numbers) != 1 or numbers[0] >= len(description.channels):
                held = listed(f"{index}: {name}" for index, name in enumerate(description.channels))
                raise ConfigError(
                    f"reader nnunet: which channel is {contrast} cannot be told: {DATASET_FILE} names {held}; say "
                    f"which, e.g. options.channels: {{{contrast}: 0}}"
                )
            found += numbers
        return found

    def _chosen(
        self, images: Sequence[Path], mask: Path, description: Description
    ) -> tuple[list[Path], list[int | None]]:
        """The file of each contrast, and which of its volumes; None where it holds one.

        Raises:
            BadStudyError: if a channel's file is missing or there are two.
        """
        wanted = self._channels(description)
        if any(_stem(path) == _stem(mask) for path in images):
            if len(images) > 1:
                raise BadStudyError(f"{images[0].name} and {images[1].name} are both its image; keep one")
            return [images[0]] * len(wanted), list(wanted) if len(description.channels) > 1 else [None]
        files = []
        for index in wanted:
            of_it = [path for path in images if _stem(path).endswith(f"_{index:04d}")]
            if len(of_it) != 1:
                state = "is there twice" if of_it else "is missing"
                raise BadStudyError(
                    f"channel {index} ({description.channels[index]}) {state}: looked for "
                    f"{IMAGES}/{_stem(mask)}_{index:04d} with .nii.gz or .nii"
                )
            files += of_it
        return files, [None] * len(wanted)


def _check_channels(file: NiftiFile, description: Description) -> None:
    shape = file.header.shape
    held = shape[3] if len(shape) > 3 else 1
    if held != len(description.channels):
        raise BadStudyError(
            f"{file.path.name}: holds {held} channels, {DATASET_FILE} names {len(description.channels)}"
        )


def _volumes(folder: Path) -> list[tuple[str, Path]]:
    """(name without suffix, file) of the volumes in a folder; hidden files are none, nor what macOS adds (``._x``)."""
    if not folder.is_dir():
        return []
    return [(_stem(path), path) for path in sorted(folder.iterdir()) if _stem(path) and path.is_file()]


def _stem(path: Path) -> str:
    match = _VOLUME.fullmatch(path.name)
    return match["stem"] if match else ""
