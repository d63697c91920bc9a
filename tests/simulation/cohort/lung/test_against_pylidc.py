"""The demo's lung patients, read by our reader and by pylidc: the same nodules."""

import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from ct_anatomy import write_made_up_anatomy
from pylidc_oracle import consensus_volume, farthest, imported_pylidc, record

from common.imaging.readers.lidc import LidcReader
from common.study.simulated import CohortConfig, SiteConfig
from simulation.cohort.build import build_cohort

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 12), reason="pylidc needs a Python before 3.12")

NAMES = {"lidc": "http://www.nih.gov"}
SAME_NODULE = 8.0
"""mm between the middles of two readers' outlines of one nodule; the demo keeps nodules further apart."""


@pytest.fixture(scope="module")
def pylidc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with imported_pylidc(tmp_path_factory.mktemp("home")) as module:
        yield module


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("cohort")
    write_made_up_anatomy(cache)
    sizes = CohortConfig(train=3, validation=0, test=0, reference=0, slices=16, workers=1, tumour_share=1.0)
    site = SiteConfig(reader="lidc", organ="lung")
    return build_cohort(replace(sizes, seed=5), {"lungs": site}, cache, organs=[]).sites["lungs"]


def marks(pylidc: Any, xml: Path, zvals: list[float], spacing: float) -> list[Any]:
    """Every outlined nodule of every reader, parsed here and nowhere else."""
    scan = record(
        pylidc.Scan,
        slice_thickness=zvals[1] - zvals[0],
        pixel_spacing=spacing,
        zvals=[record(pylidc.Zval, val=z) for z in zvals],
    )
    found = []
    for nodule in ET.parse(xml).getroot().iterfind(".//lidc:unblindedReadNodule", NAMES):
        contours = []
        for outline in nodule.iterfind("lidc:roi", NAMES):
            points = [
                (edge.findtext("lidc:xCoord", "", NAMES), edge.findtext("lidc:yCoord", "", NAMES))
                for edge in outline.iterfind("lidc:edgeMap", NAMES)
            ]
            if len(points) > 1:
                contours.append(
                    record(
                        pylidc.Contour,
                        inclusion=outline.findtext("lidc:inclusion", "", NAMES) == "TRUE",
                        image_z_position=float(outline.findtext("lidc:imageZposition", "", NAMES)),
                        coords="\n".join(",".join(point) for point in points),
                    )
                )
        if contours:
            found.append(record(pylidc.Annotation, scan=scan, contours=contours))
    return found


def clustered(marks: list[Any]) -> list[list[Any]]:
    clusters: list[list[Any]] = []
    for mark in marks:
        middle = mark.centroid * [mark.scan.pixel_spacing, mark.scan.pixel_spacing, mark.scan.slice_thickness]
        for cluster, centre in ((c, c[0][1]) for c in clusters):
            if np.linalg.norm(middle - centre) < SAME_NODULE:
                cluster.append((mark, middle))
                break
        else:
            clusters.append([(mark, middle)])
    return [[mark for mark, _ in cluster] for cluster in clusters]


def test_the_consensus_masks_of_demo_scans_are_those_of_pylidc(pylidc: Any, patients: Path) -> None:
    reader = LidcReader()
    compared = 0
    for location in reader.find(patients):
        patient = reader.read(location)
        (xml,) = (path for path in location.files if path.suffix == ".xml")
        positions = {float(e.text or 0) for e in ET.parse(xml).getroot().iterfind(".//lidc:imageZposition", NAMES)}
        first = heights(location.files)
        assert positions <= set(first)
        clusters = clustered(marks(pylidc, xml, first, patient.spacing[1]))
        assert patient.labels is not None
        expected = consensus_volume(pylidc, clusters, patient.labels.shape, np.zeros(3, int))
        assert expected.any()
        assert farthest(patient.labels == 1, expected) <= 1
        compared += sum(len(cluster) >= 3 for cluster in clusters)
    assert compared >= 3


def heights(files: tuple[Path, ...]) -> list[float]:
    """Millimetres of every slice, ascending."""
    slices = (pydicom.dcmread(path, stop_before_pixels=True) for path in files if path.suffix == ".dcm")
    return sorted(float(one.ImagePositionPatient[2]) for one in slices)
