from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from common.config import compose, model_of
from common.errors import ConfigError, DataError
from common.experiment import ImageConfig
from common.imaging.slices import PatientSlices, Slices
from common.training.trainer import Exchange, Needs, Score, View, trainer_module
from common.training.translation import Config, Trainer, TranslationBatch

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


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


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


def test_batches_are_the_same_for_the_same_seed(toy: Slices) -> None:
    def draw(seed: int) -> list[TranslationBatch]:
        return list(make().batches(toy, 2, seed))

    for one, other in zip(draw(3), draw(3), strict=True):
        for name in ("source", "target", "labels"):
            assert torch.equal(getattr(one, name), getattr(other, name))
    assert not torch.equal(draw(3)[0].source, draw(4)[0].source)


def test_sites_that_cannot_take_part_are_told_at_once(toy: Slices) -> None:
    with pytest.raises(DataError, match=r"slices of t1 are not t1\+flair"):
        make().batches(toy.in_contrasts(["t1"]), 1, 1)
    with pytest.raises(DataError, match=r"slices of flair\+t1 are not t1\+flair"):
        make().batches(toy.in_contrasts(["flair", "t1"]), 1, 1)
    with pytest.raises(DataError, match="only 24 slices hold both sides, and 30 are needed"):
        make(replace(SMALL, min_slices=30)).batches(toy, 1, 1)


# ---------------------------------------------------------------------------------------------- who takes part


def test_declares_how_it_is_shared_scored_and_what_it_needs() -> None:
    assert (Trainer.exchange, Trainer.score, Trainer.needs) == (Exchange.AVERAGE, Score.TRANSLATION, Needs.SLICES)
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


def test_first_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    one = make().shared_arrays()
    torch.manual_seed(6)
    assert equal(one, make().shared_arrays())
    assert not equal(one, make(seed=2).shared_arrays())


def test_building_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    make()
    assert torch.equal(torch.rand(1), expected)


def test_training_is_the_same_for_the_same_seed(toy: Slices) -> None:
    one, other = make(), make()
    for trainer in (one, other):
        trainer.train(trainer.batches(toy, 3, 1))
    assert equal(one.shared_arrays(), other.shared_arrays())
    other.train(other.batches(toy, 1, 2))
    assert not equal(one.shared_arrays(), other.shared_arrays())


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, ema=0.0, decay_steps=12)])
def test_a_resumed_training_equals_an_uninterrupted_one_down_to_the_average(toy: Slices, config: Config) -> None:
    whole = make(config)
    whole.train(whole.batches(toy, 6, 1))
    whole.train(whole.batches(toy, 4, 2))
    first = make(config)
    first.train(first.batches(toy, 6, 1))
    second = make(config, seed=9)
    second.load_shared_arrays(first.shared_arrays())
    second.load_private_state(first.private_state())
    second.train(second.batches(toy, 4, 2))
    assert equal(whole.shared_arrays(), second.shared_arrays())
    assert equal(whole.private_state(), second.private_state())
    assert torch.equal(
        whole.translate(toy.in_contrasts(["t1"]).all()), second.translate(toy.in_contrasts(["t1"]).all())
    )


def test_state_in_and_out_changes_nothing(toy: Slices) -> None:
    trainer = make()
    trainer.train(trainer.batches(toy, 2, 1))
    arrays, state = trainer.shared_arrays(), trainer.private_state()
    trainer.load_shared_arrays(arrays)
    trainer.load_private_state(state)
    assert equal(trainer.shared_arrays(), arrays)
    assert equal(trainer.private_state(), state)


def test_the_average_follows_the_generator_more_slowly(toy: Slices) -> None:
    trainer = make(replace(SMALL, ema=0.9))
    trainer.train(trainer.batches(toy, 12, 1))
    before = trainer.shared_arrays()
    trainer.train(trainer.batches(toy, 1, 2))
    after = trainer.shared_arrays()
    moved = {
        name: sum(float((after[key] - before[key]).square().sum()) for key in after if key.startswith(f"{name}."))
        for name in ("generator", "generator_ema")
    }
    assert 0 < moved["generator_ema"] < moved["generator"]


def test_losses_fall_on_a_toy_set(toy: Slices) -> None:
    trainer = make()
    first = trainer.train(trainer.batches(toy, 5, 1))
    trainer.train(trainer.batches(toy, 40, 2))
    last = trainer.train(trainer.batches(toy, 5, 3))
    assert last["l1"] < 0.5 * first["l1"]
    assert last["discriminator"] < first["discriminator"]


@pytest.mark.parametrize("name", ["vanilla", "lsgan", "hinge", "wasserstein"])
def test_every_loss_is_finite_and_named(toy: Slices, name: str) -> None:
    trainer = make(replace(SMALL, adversarial=name, perceptual_weight=1.0))
    losses = trainer.train(trainer.batches(toy, 2, 1))
    assert set(losses) == {"discriminator", "adversarial", "l1", "perceptual"}
    assert all(np.isfinite(value) for value in losses.values())


def test_each_optimiser_moves_its_own_network_once_a_batch(toy: Slices) -> None:
    trainer = make(replace(SMALL, ema=0.0))
    seen: list[tuple[str, dict[str, torch.Tensor]]] = []

    def step(optimizer: torch.optim.Optimizer) -> None:
        name = next(n for n, o in trainer.optimisers.items() if o is optimizer)
        optimizer.step()
        seen.append((name, trainer.shared_arrays()))

    trainer.step = step
    start = trainer.shared_arrays()
    trainer.train(trainer.batches(toy, 1, 1))
    (first, after_first), (second, after_second) = seen
    assert (first, second) == ("discriminator", "generator")
    assert all(torch.equal(after_first[k], v) for k, v in start.items() if k.startswith("generator."))
    assert all(torch.equal(after_second[k], v) for k, v in after_first.items() if k.startswith("discriminator."))
    assert not equal(start, after_first)
    assert not equal(after_first, after_second)


def test_the_step_is_the_callers(toy: Slices) -> None:
    trainer = make()
    trainer.step = lambda optimizer: None
    start = trainer.shared_arrays()
    trainer.train(trainer.batches(toy, 2, 1))
    assert equal(start, trainer.shared_arrays())


def test_rates_fall_over_the_second_half(toy: Slices) -> None:
    trainer = make(replace(SMALL, decay_steps=10))
    rates = []
    trainer.step = lambda optimizer: rates.append(optimizer.param_groups[0]["lr"])
    trainer.train(trainer.batches(toy, 10, 1))
    assert rates[0::2] == pytest.approx([1e-3 * f for f in (1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2)])
    assert rates[1::2] == pytest.approx([2e-3 * f for f in (1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2)])


def test_networks_have_no_batch_statistics_and_work_in_place_nowhere() -> None:
    for network in make().networks.values():
        for module in network.modules():
            assert not isinstance(module, nn.modules.batchnorm._BatchNorm)
            assert not getattr(module, "inplace", False)


def test_half_precision_computes_its_losses_in_float32(toy: Slices) -> None:
    trainer = make(replace(SMALL, precision="bf16"))
    batch = next(iter(trainer.batches(toy, 1, 1)))
    assert all(value.dtype == torch.float32 for value in trainer.train_step(batch).values())


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
        ({"precision": "fp16"}, "precision"),
        ({"ema": 1.0}, "ema"),
        ({"betas": [0.5]}, "betas"),
        ({"batch_size": 0}, "batch_size"),
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
