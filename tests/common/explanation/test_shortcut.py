"""Refilled slices are healthy ones, changed inside one region; a classifier that reacts to that is found out."""

import numpy as np
import pytest
import torch
from torch import Tensor

from common.errors import DataError
from common.explanation.shortcut import Fills, refilled, shortcut
from common.imaging.slices import PatientSlices, Slices
from common.study.experiment import ImageConfig
from common.training.cgan import Config, Trainer


def patient(name: str, lesion: bool, organ: bool = True) -> PatientSlices:
    images = np.full((4, 1, 32, 32), 0.5, np.float16)
    foreground = np.zeros((4, 32, 32), np.uint8)
    foreground[:, 4:28, 4:28] = 1
    labels = np.zeros((4, 32, 32), np.uint8)
    if lesion:
        labels[1:3, 12:18, 12:18] = 4
    room = None if organ else np.zeros((4, 32, 32), np.uint8)
    return PatientSlices(name, images * foreground[:, None], labels, foreground, room)


def cohort(*patients: PatientSlices) -> Slices:
    return Slices("brain", ("flair",), patients, 4)


class Painter:
    """Fills regions with 0.9."""

    margins = (1, 2)

    def __init__(self) -> None:
        self.asked: list[Tensor] = []

    def fill(
        self, images: Tensor, labels: Tensor, region: Tensor, condition: Tensor, generator: torch.Generator
    ) -> Tensor:
        self.asked.append(labels)
        return torch.where(region[:, None], torch.tensor(0.9), images)


def test_healthy_slices_of_every_patient_are_filled_without_a_lesion() -> None:
    test, training = cohort(patient("a", True), patient("b", False)), cohort(patient("c", True))
    painter = Painter()
    positions, images = refilled(painter, test, training, count=4, seed=1)
    assert set(positions.tolist()) <= set(test.healthy_positions().tolist())
    assert sorted(test.owner[positions.numpy()].tolist()) == [0, 0, 1, 1]
    assert not painter.asked[0].any()
    batch = test.batch(positions)
    changed = (images != batch.images)[:, 0]
    assert (changed.flatten(1).sum(1) >= 4).all()
    assert not (changed & ~batch.foreground).any()
    again = refilled(Painter(), test, training, count=4, seed=1)[1]
    assert torch.equal(images, again)


def test_slices_without_room_are_left_out() -> None:
    training = cohort(patient("c", True))
    positions, _ = refilled(Painter(), cohort(patient("a", False, organ=False), patient("b", False)), training, 8, 1)
    assert positions.tolist() == [4, 5, 6, 7]
    with pytest.raises(DataError, match="room for a mask"):
        refilled(Painter(), cohort(patient("a", False, organ=False)), training, 8, 1)


def test_the_inserting_generator_can_be_asked() -> None:
    trainer = Trainer(
        Config(width=4, depth=2, discriminator_width=4, crop=32, perceptual_weight=0),
        image=ImageConfig(size=32),
        organs={"brain": ("flair",)},
        device=torch.device("cpu"),
        seed=1,
    )
    assert isinstance(trainer, Fills)
    assert not isinstance(object(), Fills)
    test, training = cohort(patient("a", True), patient("b", False)), cohort(patient("c", True))
    positions, images = refilled(trainer, test, training, count=4, seed=1)
    assert images.shape == (4, 1, 32, 32)
    untouched = test.batch(positions).images
    share = (images != untouched).float().mean().item()
    assert 0 < share < 0.3


def test_a_classifier_that_reacts_to_the_filling_is_found_out() -> None:
    random = np.random.default_rng(0)
    names = np.repeat(np.arange(12), 5)
    before = random.uniform(0, 0.6, 60)
    honest = shortcut(before, before, names, samples=200, seed=1, min_cell=5)
    # All patients alike: an interval from 0 to 0 would say that it is known for sure.
    assert (honest[2].value, honest[2].low, honest[2].high) == (0, None, None)
    caught = shortcut(before, (before + 0.45).clip(0, 1), names, samples=200, seed=1, min_cell=5)
    assert caught[2].low is not None
    assert caught[2].low > 0.3
    expected = np.mean(
        [((before + 0.45) >= 0.5)[names == p].mean() - (before >= 0.5)[names == p].mean() for p in range(12)]
    )
    assert caught[2].value == pytest.approx(expected)
    assert (caught[2].n, caught[2].patients) == (60, 12)


def test_too_few_patients_have_no_interval_and_nonsense_is_refused() -> None:
    few = shortcut([0.1, 0.2], [0.9, 0.2], ["a", "b"], samples=100, seed=1, min_cell=5)
    assert few[2].value == 0.5
    assert few[2].low is None
    with pytest.raises(ValueError, match="within 0 and 1"):
        shortcut([0.1], [1.2], ["a"], samples=10, seed=1, min_cell=2)
    with pytest.raises(ValueError, match="before and"):
        shortcut([0.1], [0.2, 0.3], ["a"], samples=10, seed=1, min_cell=2)
