"""Segmentations as programs write them: order, references, gaps and thickness of frames say nothing of the mask."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from dicom_files import body, ct_series, segmentation, write
from pydicom import Dataset

from common.imaging.readers.dicom import DicomReader
from common.imaging.readers.hcc_tace import HccTaceReader

SHAPE = (8, 32, 40)
Mask = npt.NDArray[np.uint8]


def blob(z: slice, radius: int) -> Mask:
    """A tilted blob: no two slices of it are alike."""
    rows, columns = np.indices(SHAPE[1:])
    mask = np.zeros(SHAPE, np.uint8)
    for index in range(*z.indices(SHAPE[0])):
        mask[index] = (rows - 12 - index) ** 2 + (columns - 15 - index) ** 2 < (radius + index % 3) ** 2
    return mask


LIVER, MASS = blob(slice(1, 7), 8), blob(slice(2, 6), 3)
READERS = [DicomReader("liver", ("ct",), ("mass",), ("liver",)), HccTaceReader()]


def in_order(segments: Dataset, order: list[int]) -> None:
    """Frames, with what is said of each, in another order."""
    pixels = np.unpackbits(np.frombuffer(segments.PixelData, np.uint8), bitorder="little")
    size = SHAPE[1] * SHAPE[2]
    frames = pixels[: len(order) * size].reshape(len(order), size)[order]
    packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
    segments.PixelData = packed + b"\0" * (len(packed) % 2)
    groups = segments.PerFrameFunctionalGroupsSequence
    segments.PerFrameFunctionalGroupsSequence = [groups[at] for at in order]


def shuffled(segments: Dataset) -> None:
    in_order(segments, np.random.default_rng(1).permutation(segments.NumberOfFrames).tolist())


def backwards(segments: Dataset) -> None:
    in_order(segments, list(range(segments.NumberOfFrames))[::-1])


def without_references(segments: Dataset) -> None:
    for group in segments.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence


def with_references_to_the_mirrored_slice(segments: Dataset) -> None:
    sources = [
        group.DerivationImageSequence[0].SourceImageSequence[0] for group in segments.PerFrameFunctionalGroupsSequence
    ]
    uids = [source.ReferencedSOPInstanceUID for source in sources]
    for source, uid in zip(sources, reversed(uids), strict=True):
        source.ReferencedSOPInstanceUID = uid


def measured(**values: float) -> Callable[[Dataset], None]:
    def spoil(segments: Dataset) -> None:
        measures = segments.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        for keyword, value in values.items():
            setattr(measures, keyword, value)

    return spoil


SPOILS: list[Callable[[Dataset], None]] = [
    shuffled,
    backwards,
    without_references,
    with_references_to_the_mirrored_slice,
    measured(SliceThickness=5.0),
    measured(SliceThickness=1.0, SpacingBetweenSlices=1.0),
]


def read(folder: Path, reader: DicomReader | HccTaceReader, slices: list[Dataset], *outlines: Dataset) -> Mask:
    write([*slices, *outlines], folder)
    [location] = reader.find(folder)
    patient = reader.read(location)
    assert patient.questions == ()
    assert patient.labels is not None
    return patient.labels


@pytest.mark.parametrize("reader", READERS, ids=["dicom", "hcc_tace"])
@pytest.mark.parametrize("spoil", SPOILS)
def test_a_mask_is_where_its_positions_say(
    tmp_path: Path, reader: DicomReader, spoil: Callable[[Dataset], None]
) -> None:
    slices = ct_series(body(SHAPE), spacing=(3.0, 0.8, 1.1))
    outline = segmentation(slices, {"Liver": LIVER, "Mass": MASS})
    spoil(outline)
    np.testing.assert_array_equal(read(tmp_path, reader, slices, outline), MASS)


@pytest.mark.parametrize("kept", [[4], [2, 4], [2, 5]])
@pytest.mark.parametrize("thickness", [2.5, 6.0])
@pytest.mark.parametrize("with_liver", [True, False])
def test_few_outlined_slices_stay_where_they_are(
    tmp_path: Path, kept: list[int], thickness: float, with_liver: bool
) -> None:
    slices = ct_series(body(SHAPE))
    mask = np.zeros_like(MASS)
    mask[kept] = MASS[kept]
    outline = segmentation(slices, {"Mass": mask, **({"Liver": LIVER} if with_liver else {})})
    measured(SliceThickness=thickness)(outline)
    np.testing.assert_array_equal(read(tmp_path, READERS[0], slices, outline), mask)


def test_segments_of_one_name_and_segmentations_of_one_series_are_joined(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    odd, even = MASS.copy(), MASS.copy()
    odd[::2] = even[1::2] = 0
    one = segmentation(slices, {"Liver": LIVER, "Mass": odd, "mass ": even})
    np.testing.assert_array_equal(read(tmp_path / "one", READERS[0], slices, one), MASS)
    moved = np.roll(MASS, 5, axis=2)
    two = [segmentation(slices, {"Mass": mask}) for mask in (MASS, moved)]
    np.testing.assert_array_equal(read(tmp_path / "two", READERS[0], slices, *two), MASS | moved)


def test_a_name_with_a_comma_is_one_name(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    reader = DicomReader("liver", ("ct",), ("Neoplasm, Primary",))
    outline = segmentation(slices, {"Neoplasm, Primary": MASS})
    np.testing.assert_array_equal(read(tmp_path, reader, slices, outline), MASS)
