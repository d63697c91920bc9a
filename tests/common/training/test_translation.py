from dataclasses import replace

import numpy as np
import pytest
import torch

from common.errors import ConfigError, DataError
from common.imaging.slices import PatientSlices, Slices
from common.study.config import compose
from common.study.experiment import ImageConfig
from common.study.models import model_of
from common.training.families import trainer_module
from common.training.trainer import EvaluationProtocol, Exchange, Needs, View
from common.training.translation import Config, Trainer

SMALL = Config(
    source=["t1"],
    target=["flair"],
    width=4,
    depth=2,
    discriminator_width=4,
    discriminator_layers=1,
    crop=32,
    learning_rate=2e-3,
    discriminator_learning_rate=1e-3,
)


def make(config: Config = SMALL, seed: int = 1, size: int = 64) -> Trainer:
    return Trainer(
        config, image=ImageConfig(size=size), organs={"brain": ("flair",)}, device=torch.device("cpu"), seed=seed
    )


def _toy(number: int) -> PatientSlices:
    """A disc whose target is 0.9 minus its source; a lesion shows in the target alone."""
    random = np.random.default_rng(number)
    rows, columns = np.mgrid[:64, :64]
    disc = (rows - 32) ** 2 + (columns - 32) ** 2 < 26**2
    centres = random.uniform(20, 44, (6, 2, 1, 1))
    lesion = (rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2 < 8**2
    waves = np.sin(rows / random.uniform(3, 6, (6, 1, 1)) + columns / random.uniform(3, 6, (6, 1, 1)))
    source = (0.45 + 0.25 * waves) * disc
    target = np.where(lesion, 0.95, 0.9 - source) * disc
    images = np.stack([source, target], axis=1).clip(0, 1).astype(np.float16)
    return PatientSlices(
        f"p{number}", images, lesion.astype(np.uint8) * 4, np.repeat(disc[None], 6, 0).astype(np.uint8)
    )


@pytest.fixture(scope="module")
def toy() -> Slices:
    """The lesion hides in the source: only the label map tells where it is."""
    return Slices("brain", ("t1", "flair"), [_toy(i) for i in range(4)])


@pytest.fixture(scope="module")
def trained(toy: Slices) -> Trainer:
    trainer = make(replace(SMALL, learning_rate=5e-3, ema=0.9))
    trainer.train(trainer.batches(toy, 80, 1))
    return trainer


# ---------------------------------------------------------------------------------------------- examples


def test_a_batch_splits_the_channels_into_source_and_target_of_one_place(toy: Slices) -> None:
    for batch in make().batches(toy, 3, 1):
        assert batch.source.shape == batch.target.shape == (8, 1, 32, 32)
        tissue = (batch.source > 0) & (batch.labels == 0).unsqueeze(1)
        assert torch.allclose((batch.source + batch.target)[tissue], torch.tensor(0.9), atol=2e-3)
        assert (batch.target[batch.labels.unsqueeze(1) == 4] > 0.9).float().mean() > 0.9


def test_crop_zero_trains_on_the_whole_slice(toy: Slices) -> None:
    (batch,) = make(replace(SMALL, crop=0)).batches(toy, 1, 1)
    assert batch.source.shape == (8, 1, 64, 64)


def test_sites_that_cannot_take_part_are_told_at_once(toy: Slices) -> None:
    with pytest.raises(DataError, match=r"slices of t1 are not t1\+flair"):
        make().batches(toy.in_contrasts(["t1"]), 1, 1)
    with pytest.raises(DataError, match=r"slices of flair\+t1 are not t1\+flair"):
        make().batches(toy.in_contrasts(["flair", "t1"]), 1, 1)
    with pytest.raises(DataError, match="only 24 slices hold both sides, and 30 are needed"):
        make(replace(SMALL, min_slices=30)).batches(toy, 1, 1)


# ---------------------------------------------------------------------------------------------- who takes part


def test_declares_how_it_is_shared_scored_and_what_it_needs() -> None:
    assert (Trainer.exchange, Trainer.protocol, Trainer.needs) == (
        Exchange.AVERAGE,
        EvaluationProtocol.TRANSLATION,
        Needs.SLICES,
    )
    assert set(make().networks) == {"generator", "generator_ema", "discriminator"}
    assert set(make(replace(SMALL, ema=0.0)).networks) == set(make().optimisers) == {"generator", "discriminator"}


@pytest.mark.parametrize(
    ("organ", "held", "shown"),
    [
        ("brain", ("flair", "t2", "t1"), View("brain", ("t1", "flair"))),
        ("brain", ("t1", "t2"), None),
        ("brain", ("flair",), None),
        ("liver", ("t1", "flair"), None),
    ],
)
def test_a_site_shows_both_sides_or_nothing(organ: str, held: tuple[str, ...], shown: View | None) -> None:
    assert Trainer.view(SMALL, {"brain": ("flair",), "liver": ("ct",)}, organ, held) == shown


def test_one_direction_is_scored() -> None:
    subjects = Trainer.subjects(SMALL, [View("brain", ("t1", "flair"))])
    assert subjects == {"brain t1 to brain flair": (View("brain", ("t1",)), View("brain", ("flair",)))}


# ---------------------------------------------------------------------------------------------- training


def test_losses_fall_on_a_toy_set(toy: Slices) -> None:
    trainer = make()
    first = trainer.train(trainer.batches(toy, 5, 1))
    trainer.train(trainer.batches(toy, 40, 2))
    last = trainer.train(trainer.batches(toy, 5, 3))
    assert last["l1"] < 0.5 * first["l1"]
    assert last["discriminator"] < first["discriminator"]


# ---------------------------------------------------------------------------------------------- images


def test_learns_the_target_better_than_the_source_shows_it(trained: Trainer, toy: Slices) -> None:
    source, target = toy.in_contrasts(["t1"]).all(), toy.in_contrasts(["flair"]).all().images
    made = trained.translate(source)
    assert made.shape == target.shape
    assert 0 <= made.min() <= made.max() <= 1
    inside = source.foreground.unsqueeze(1)
    error, unchanged = (float((images - target).abs()[inside].mean()) for images in (made, source.images))
    assert error < 0.5 * unchanged


def test_a_lesion_that_the_source_hides_comes_from_the_label_map(trained: Trainer, toy: Slices) -> None:
    """Told of a lesion, it draws one there; told of none, the same slice becomes tissue."""
    source, target = toy.in_contrasts(["t1"]).all(), toy.in_contrasts(["flair"]).all().images
    lesion = (source.labels == 4).unsqueeze(1) & source.foreground.unsqueeze(1)
    told = trained.translate(source)
    untold = trained.translate(replace(source, labels=torch.zeros_like(source.labels)))
    assert (told - target).abs()[lesion].mean() < 0.5 * (untold - target).abs()[lesion].mean()
    assert told[lesion].mean() > untold[lesion].mean() + 0.1


def test_the_averaged_generator_translates_where_there_is_one(trained: Trainer, toy: Slices) -> None:
    batch = toy.in_contrasts(["t1"]).batch([0, 1])
    with torch.no_grad():
        by_average = trained._generate(
            trained.networks["generator_ema"], trained._condition(batch.images, batch.labels)
        )
        by_last = trained._generate(trained.generator, trained._condition(batch.images, batch.labels))
    assert torch.equal(trained.translate(batch), by_average)
    assert not torch.equal(by_last, by_average)


def test_many_slices_are_translated_as_each_by_itself(trained: Trainer, toy: Slices) -> None:
    many = toy.in_contrasts(["t1"]).batch(list(range(24)) + list(range(16)))
    made = trained.translate(many)
    assert len(made) == 40
    assert torch.allclose(made[:24][:16], made[24:], atol=1e-5)


def test_works_from_several_contrasts_to_several() -> None:
    four = PatientSlices(
        "p0",
        np.random.default_rng(1).random((6, 4, 32, 32)).astype(np.float16),
        np.zeros((6, 32, 32), np.uint8),
        np.ones((6, 32, 32), np.uint8),
    )
    slices = Slices("brain", ("t1", "flair", "t2", "t1ce"), [four])
    trainer = make(replace(SMALL, source=["t1", "flair"], target=["t2", "t1ce"]), size=32)
    trainer.train(trainer.batches(slices, 1, 1))
    assert trainer.translate(slices.in_contrasts(["t1", "flair"]).all()).shape == (6, 2, 32, 32)


# ---------------------------------------------------------------------------------------------- choices


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"source": []}, r"source=\[\]: must name at least one of t1"),
        ({"target": []}, r"target=\[\]: must name at least one of t1"),
        ({"target": ["t1"]}, r"target=\[t1\]: t1 is among model.source too"),
        ({"target": ["ct-angiography"]}, "ct-angiography"),
        ({"depth": 6}, "depth=6: needs slices and crops of at least 64 pixels, and here they have 32"),
        ({"adversarial": "relativistic"}, "relativistic"),
    ],
)
def test_choices_that_cannot_work_are_named(change: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        make(replace(SMALL, **change))  # type: ignore[arg-type]


def test_the_configured_model_builds() -> None:
    experiment = compose(["model=[translation]"])
    config = model_of(experiment, "translation").config
    assert replace(config, decay_steps=0) == Config()  # the preset fits these to its rounds
    trainer = trainer_module("translation").Trainer(
        config, image=experiment.image, organs={"brain": ("flair",)}, device=torch.device("cpu"), seed=1
    )
    assert sum(p.numel() for p in trainer.networks["generator"].parameters()) < 4e6
