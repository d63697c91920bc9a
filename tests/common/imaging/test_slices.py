import numpy as np
import torch

from common.imaging.slices import PatientSlices, Slices
from common.study.conditions import condition_code


def patient(name: str, pixels: list[int], stated: list[bool] | None = None) -> PatientSlices:
    """A patient whose slice z has ``pixels[z]`` lesion pixels and the grey value z / 10."""
    labels = np.zeros((len(pixels), 4, 4), np.uint8)
    for z, count in enumerate(pixels):
        labels[z].ravel()[:count] = 4
    images = np.broadcast_to(np.arange(len(pixels))[:, None, None, None] / 10, (len(pixels), 1, 4, 4))
    foreground = np.ones_like(labels)
    return PatientSlices(
        name,
        images.astype(np.float16),
        labels,
        foreground,
        tumour_slices=None if stated is None else np.array(stated),
    )


def test_positions_run_over_patients_and_their_slices() -> None:
    slices = Slices("brain", ("flair",), [patient("a", [0, 3]), patient("b", [5, 0, 1])], 3)
    assert len(slices) == 5
    assert slices.owner.tolist() == [0, 0, 1, 1, 1]
    assert slices.tumour_pixels.tolist() == [0, 3, 5, 0, 1]
    assert slices.tumour_positions().tolist() == [1, 2]
    assert slices.healthy_positions().tolist() == [0, 3]
    assert slices.tumour_class().tolist() == [False, True, True, False, False]


def test_a_batch_gathers_in_the_order_asked_for_with_repeats() -> None:
    slices = Slices("brain", ("flair",), [patient("a", [0, 3]), patient("b", [5, 0, 1])])
    batch = slices.batch([4, 0, 4])
    assert batch.images[:, 0, 0, 0].tolist() == [torch.tensor(0.2).half().float().item(), 0.0, batch.images[0, 0, 0, 0]]
    assert batch.patients.tolist() == [1, 0, 1]
    assert batch.tumour_pixels().tolist() == [1, 0, 1]
    assert batch.foreground.dtype == torch.bool
    assert len(slices.all()) == 5


def test_a_stated_tumour_without_a_mask_has_its_class_but_is_neither_masked_nor_healthy() -> None:
    slices = Slices("brain", ("t1",), [patient("a", [0, 0, 9, 1], stated=[True, False, True, True])], 3)
    assert slices.tumour_positions().tolist() == [2]
    assert slices.healthy_positions().tolist() == [1]
    assert slices.tumour_class().tolist() == [True, False, True, False]


def test_slices_carry_the_code_of_their_organ_and_contrasts() -> None:
    slices = Slices("brain", ("t1", "flair"), [patient("a", [0, 3])])
    assert torch.equal(slices.condition(), condition_code("brain", ["t1", "flair"]))


def test_no_patients_are_no_slices() -> None:
    slices = Slices("brain", ("flair",), [])
    assert len(slices) == 0
    assert slices.tumour_class().tolist() == []
