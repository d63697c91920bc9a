import numpy as np
import pytest
import torch

from common.errors import DataError
from common.export.manifest import Content
from common.export.provenance import Provenance
from common.imaging.slices import PatientSlices, Slices
from common.study.experiment import ImageConfig
from common.training import translation
from common.training.trainer import View
from server.export.images import synthetic_sets

PROVENANCE = Provenance(model="contrast", family="translation", run="demo", round=1, seed=1, preset="demo")
SUBJECTS = {"brain t1 to brain t2": (View("brain", ("t1",)), View("brain", ("t2",)))}


def slices(lesion_pixels: tuple[int, ...] = (0, 0, 9, 9, 2), stated: bool = False) -> Slices:
    """One patient; a slice of two lesion pixels is neither a tumour nor healthy."""
    images = np.random.default_rng(0).random((len(lesion_pixels), 1, 32, 32)).astype(np.float16)
    labels = np.zeros((len(lesion_pixels), 32, 32), np.uint8)
    for one, pixels in zip(labels, lesion_pixels, strict=True):
        one.reshape(-1)[:pixels] = 2
    said = np.ones(len(lesion_pixels), bool) if stated else None
    patient = PatientSlices("p", images, labels, np.ones_like(labels), tumour_slices=said)
    return Slices("brain", ("t1",), [patient], min_tumour_pixels=4)


@pytest.fixture(scope="module")
def trainer() -> translation.Trainer:
    return translation.Trainer(
        translation.Config(width=4, depth=2, discriminator_width=4),
        image=ImageConfig(size=32),
        organs={"brain": ("t1",)},
        device=torch.device("cpu"),
        seed=1,
    )


def test_a_translation_in_pairs_keeps_the_label_maps_that_it_was_told(trainer: translation.Trainer) -> None:
    reference = slices()
    sets = synthetic_sets(trainer, SUBJECTS, PROVENANCE, lambda view: reference, count=10, seed=3)
    made = sets["brain t1 to brain t2"]()
    assert (made.organ, made.contrasts, made.content, made.public) == ("brain", ("t2",), Content.ALTERED, True)
    assert made.tumour.tolist() == [False, False, True, True]
    assert made.labels is not None
    assert (made.labels > 0).sum((1, 2)).tolist() == [0, 0, 9, 9]
    assert np.array_equal(made.images, trainer.translate(reference.batch([0, 1, 2, 3])).numpy())


def test_fewer_images_than_slices_are_drawn_by_the_seed(trainer: translation.Trainer) -> None:
    reference = slices((0,) * 12)

    def drawn(seed: int) -> bytes:
        sets = synthetic_sets(trainer, SUBJECTS, PROVENANCE, lambda view: reference, count=3, seed=seed)
        return sets["brain t1 to brain t2"]().images.tobytes()

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_slices_that_are_said_to_hold_a_tumour_without_a_mask_are_not_translated(trainer: translation.Trainer) -> None:
    sets = synthetic_sets(trainer, SUBJECTS, PROVENANCE, lambda view: slices((0, 0), stated=True), count=3, seed=1)
    with pytest.raises(DataError, match="no slice to translate"):
        sets["brain t1 to brain t2"]()
