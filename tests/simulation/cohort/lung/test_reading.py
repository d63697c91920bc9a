from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes
from skimage.draw import disk

from simulation.cohort.lung.findings import Mark
from simulation.cohort.lung.nodules import Reading
from simulation.cohort.lung.reading import NAMESPACE, edge_pixels, reading_xml

NS = {"n": NAMESPACE}


def filled_without_edge(paths: list[list[tuple[int, int]]], shape: tuple[int, int]) -> np.ndarray:
    """What a reader of the format makes of the edge pixels."""
    edge = np.zeros(shape, bool)
    for path in paths:
        x, y = np.array(path).T
        edge[y, x] = True
    return binary_fill_holes(edge) & ~edge


@pytest.mark.parametrize("seed", range(8))
def test_edge_pixels_lie_just_outside_and_give_the_mask_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((40, 50), bool)
    for _ in range(4):
        mask[disk(rng.uniform(12, 26, 2), rng.uniform(1.5, 7), shape=mask.shape)] = True
    mask = binary_fill_holes(mask)
    paths = edge_pixels(mask)
    for path in paths:
        assert path[0] == path[-1], "closed"
        assert not any(mask[y, x] for x, y in path)
        assert np.abs(np.diff(path, axis=0)).max() == 1, "each pixel touches the next"
    assert (filled_without_edge(paths, mask.shape) != mask).sum() <= 2


def test_parts_that_do_not_touch_have_a_path_each() -> None:
    mask = np.zeros((20, 20), bool)
    mask[3:6, 3:6] = mask[12:14, 10:15] = True
    assert len(edge_pixels(mask)) == 2


def test_nodule_at_the_border_of_the_slice_has_edges_beyond_it() -> None:
    mask = np.zeros((10, 10), bool)
    mask[0:3, 4:6] = True
    assert min(y for path in edge_pixels(mask) for _, y in path) == -1


def test_xml_holds_what_each_reader_saw() -> None:
    mask = np.zeros((4, 20, 20), bool)
    mask[1:3, 5:9, 6:11] = True
    nodule = {0: Reading(mask, (5, 1, 6, 4, 4, 1, 2, 5, 3)), 2: Reading(mask, (4, 1, 6, 4, 4, 1, 2, 5, 4))}
    marks = [Mark((3, 7, 8), (1,), nodule=True), Mark((0, 2, 3), (2, 3), nodule=False)]
    slices = [(f"2.25.{k}", -100 + 2.5 * k) for k in range(4)]
    root = ElementTree.fromstring(reading_xml("2.25.8", "2.25.9", slices, [nodule], marks))
    assert root.tag == f"{{{NAMESPACE}}}LidcReadMessage"
    assert root.findtext("n:ResponseHeader/n:SeriesInstanceUid", namespaces=NS) == "2.25.9"
    sessions = root.findall("n:readingSession", NS)
    assert [len(session.findall("n:unblindedReadNodule", NS)) for session in sessions] == [1, 1, 1, 0]
    assert [len(session.findall("n:nonNodule", NS)) for session in sessions] == [0, 0, 1, 1]
    outlined = sessions[2].find("n:unblindedReadNodule", NS)
    assert outlined is not None
    assert outlined.findtext("n:characteristics/n:malignancy", namespaces=NS) == "4"
    rois = outlined.findall("n:roi", NS)
    assert {roi.findtext("n:imageSOP_UID", namespaces=NS) for roi in rois} == {"2.25.1", "2.25.2"}
    point = sessions[1].findall("n:unblindedReadNodule/n:roi/n:edgeMap", NS)
    assert len(point) == 1
    assert point[0].findtext("n:xCoord", namespaces=NS) == "8"
