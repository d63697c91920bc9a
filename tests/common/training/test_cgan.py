from dataclasses import replace

import pytest
import torch
from torch import nn
from weights import equal

from common.errors import ConfigError, DataError
from common.imaging.patient import LESION_LABELS
from common.imaging.slices import Slices, lesion_mask
from common.study.config import compose
from common.study.experiment import ImageConfig
from common.study.models import model_of
from common.training.cgan import Config, Trainer
from common.training.diffaugment import OPERATIONS, diffaugment
from common.training.families import trainer_module
from common.training.trainer import Contributor, EvaluationProtocol, Exchange, View

SMALL = Config(width=4, depth=2, discriminator_width=4, crop=32, perceptual_weight=0.0, decay_steps=12, ema=0.0)


def make(config: Config = SMALL, seed: int = 1, contrasts: tuple[str, ...] = ("flair",)) -> Trainer:
    return Trainer(
        config, image=ImageConfig(size=64), organs={"brain": tuple(contrasts)}, device=torch.device("cpu"), seed=seed
    )


# ---------------------------------------------------------------------------------------------- examples


def test_half_of_the_examples_blank_a_healthy_region_and_ask_for_nothing(slices: Slices) -> None:
    for batch in make().batches(slices, 5, 1):
        pixels = lesion_mask(batch.labels).flatten(1).sum(1)
        assert (pixels == 0).sum() == 4
        assert (batch.region.flatten(1).sum(1) >= 12).all()
        healthy = batch.images.squeeze(1)[pixels == 0]
        # The fixture's tissue is 0.4 and its rims 0.9: a blanked lesion would show.
        assert healthy.max() < 0.7


@pytest.mark.parametrize(("share", "healthy"), [(0.25, 2), (0.75, 6)])
def test_the_share_of_healthy_regions_is_a_choice(slices: Slices, share: float, healthy: int) -> None:
    (batch,) = make(replace(SMALL, healthy_share=share)).batches(slices, 1, 1)
    assert (lesion_mask(batch.labels).flatten(1).sum(1) == 0).sum() == healthy


@pytest.mark.parametrize(("size", "share"), [(3, 0.5), (2, 0.1), (2, 0.9), (5, 0.3), (101, 0.5)])
def test_the_share_is_met_in_batches_that_it_does_not_divide(slices: Slices, size: int, share: float) -> None:
    batches = list(make(replace(SMALL, batch_size=size, healthy_share=share)).batches(slices, 30, 1))
    assert {len(batch.images) for batch in batches} == {size}
    healthy = sum(int((lesion_mask(batch.labels).flatten(1).sum(1) == 0).sum()) for batch in batches)
    assert abs(healthy - 30 * size * share) < 1


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_healthy_control_cannot_be_switched_off(share: float) -> None:
    with pytest.raises(ConfigError, match="healthy_share"):
        make(replace(SMALL, healthy_share=share))


def test_every_tumour_pixel_is_blanked_in_training(slices: Slices) -> None:
    for batch in make().batches(slices, 5, 1):
        assert not (lesion_mask(batch.labels) & ~batch.region).any()


def test_crop_zero_trains_on_the_whole_slice(slices: Slices) -> None:
    (batch,) = make(replace(SMALL, crop=0)).batches(slices, 1, 1)
    assert batch.images.shape == (8, 1, 64, 64)


def test_sites_that_cannot_take_part_are_told_at_once(
    healthy_slices: Slices, tumour_slices: Slices, slices: Slices
) -> None:
    trainer = make()
    with pytest.raises(DataError, match="only 0 slices hold at least 12 tumour pixels"):
        trainer.batches(healthy_slices, 1, 1)
    with pytest.raises(DataError, match="only 0 slices are free of tumour"):
        trainer.batches(tumour_slices, 1, 1)
    with pytest.raises(DataError, match="and 50 are needed"):
        make(replace(SMALL, min_slices=50)).batches(slices, 1, 1)
    with pytest.raises(DataError, match="free of tumour"):
        trainer.synthesise(tumour_slices, 4, 1)


# ---------------------------------------------------------------------------------------------- training


def test_declares_how_it_is_shared_and_scored() -> None:
    assert (Trainer.exchange, Trainer.protocol) == (Exchange.AVERAGE, EvaluationProtocol.PAIRED)
    assert set(make().networks) == set(make().optimisers) == {"generator", "discriminator"}
    averaging = make(replace(SMALL, ema=0.9))
    assert set(averaging.networks) == {"generator", "discriminator", "generator_ema"}
    assert set(averaging.optimisers) == {"generator", "discriminator"}


def test_learns_to_fill_the_region(slices: Slices) -> None:
    trainer = make(replace(SMALL, learning_rate=2e-3, decay_steps=0))
    before = trainer.train(trainer.batches(slices, 5, 1))["l1"]
    trainer.train(trainer.batches(slices, 30, 2))
    after = trainer.train(trainer.batches(slices, 5, 3))["l1"]
    assert after < 0.5 * before


def test_the_averaged_generator_fills_and_follows_the_trained_one(slices: Slices) -> None:
    trainer = make(replace(SMALL, ema=0.999, learning_rate=2e-3))
    batch = slices.batch(slices.tumour_positions()[:2])
    trainer.train(trainer.batches(slices, 20, 1))
    generator, average = (trainer.networks[name].state_dict() for name in ("generator", "generator_ema"))
    assert not equal(generator, average)
    before = trainer.reconstruct(batch, slices.condition(), 1).images
    for value in trainer.networks["generator"].parameters():
        value.data.zero_()
    assert torch.equal(before, trainer.reconstruct(batch, slices.condition(), 1).images)
    assert torch.equal(before, loaded_from(trainer).reconstruct(batch, slices.condition(), 1).images)


def loaded_from(trainer: Trainer) -> Trainer:
    """A second trainer with the weights that the first one shares."""
    other = make(trainer.config, seed=9)
    other.load_shared_arrays(trainer.shared_arrays())
    return other


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_discriminator_sees_label_map_and_region_moved_with_the_image(slices: Slices, operation: str) -> None:
    """A region that is marked in the image by a grey value of its own must stay under its mask."""
    trainer = make(replace(SMALL, diffaugment=operation))
    batch = next(iter(trainer.batches(slices, 1, 1)))
    marked = replace(batch, images=batch.region.unsqueeze(1).float())
    seen: list[torch.Tensor] = []
    trainer.discriminator.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    trainer.train_step(marked)
    real, asked = (seen[0][: len(batch.images), 0] + 1) / 2, seen[0][: len(batch.images), 1:]
    region = asked[:, len(LESION_LABELS)] > 0
    assert region.any()
    for image, inside in zip(real, region, strict=True):
        if inside.any():
            assert image[inside].std(correction=0) < 1e-5
            assert image[inside].min() > image[~inside].max()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_discriminator_learns_nothing_outside_the_moved_region(slices: Slices, operation: str) -> None:
    trainer = make(replace(SMALL, diffaugment=operation))
    batch = next(iter(trainer.batches(slices, 1, 1)))
    counted: list[torch.Tensor] = []

    class Recorded:
        def discriminator(self, real: torch.Tensor, generated: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            counted.append(weight)
            return (real - generated).square().mean()

        def generator(self, generated: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            counted.append(weight)
            return generated.mean()

    trainer.adversarial = Recorded()  # type: ignore[assignment]
    trainer.train_step(batch)
    assert batch.augmentation is not None
    expected = diffaugment(batch.region.unsqueeze(1).float(), batch.augmentation.of_places())
    assert all(torch.equal(weight, expected) for weight in counted)
    assert torch.equal(expected.squeeze(1) > 0, batch.region) == (operation in ("brightness", "contrast"))


def test_switches_that_are_off_change_no_draw(slices: Slices) -> None:
    off, on = (make(replace(SMALL, diffaugment=policy)) for policy in ("", "translation"))
    one, other = (next(iter(trainer.batches(slices, 1, 1))) for trainer in (off, on))
    assert one.augmentation is None
    for name in ("images", "labels", "region", "noise", "mixing"):
        assert torch.equal(getattr(one, name), getattr(other, name))


# ---------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("count", [2, 7, 12])
def test_half_of_what_it_makes_are_tumours_and_half_are_not(slices: Slices, count: int) -> None:
    made = make().synthesise(slices, count, 1)
    assert len(made) == count
    assert int(made.tumour.sum()) == count - count // 2
    pixels = lesion_mask(made.labels).flatten(1).sum(1)
    assert (pixels[made.tumour] >= 12).all()
    assert (pixels[~made.tumour] == 0).all()
    assert not (lesion_mask(made.labels) & ~made.foreground).any()
    assert made.images.min() >= 0
    assert made.images.max() <= 1


def test_negatives_are_made_in_the_same_regions_of_the_same_slices(slices: Slices) -> None:
    made = make().synthesise(slices, 12, 1)
    assert torch.equal(made.origin[:6], made.origin[6:])
    healthy = slices.batch(made.origin)
    assert (healthy.tumour_pixels() == 0).all()
    changed = (made.images != healthy.images).squeeze(1)
    assert changed.flatten(1).any(1).all()
    # An untrained generator changes every pixel it is asked to fill.
    assert torch.equal(changed[:6], changed[6:])


def test_synthesis_touches_nothing_outside_the_region(slices: Slices) -> None:
    made = make().synthesise(slices, 12, 1)
    healthy = slices.batch(made.origin)
    changed = (made.images != healthy.images).squeeze(1)
    assert not (changed & ~made.foreground).any()
    # At most 3 pixels beyond the mask.
    grown = nn.functional.max_pool2d(lesion_mask(made.labels[:6]).float().unsqueeze(1), 7, 1, 3).squeeze(1) > 0
    assert not (changed[:6] & ~grown).any()


def test_synthesis_is_the_same_for_the_same_seed(slices: Slices) -> None:
    trainer = make()
    assert torch.equal(trainer.synthesise(slices, 6, 1).images, trainer.synthesise(slices, 6, 1).images)
    assert not torch.equal(trainer.synthesise(slices, 6, 1).images, trainer.synthesise(slices, 6, 2).images)


def test_contrast_scales_what_a_tumour_adds_to_the_place_without_it(slices: Slices) -> None:
    full = make().synthesise(slices, 12, 1)
    faint = make(replace(SMALL, lesion_contrast=[0.5, 0.5])).synthesise(slices, 12, 1)
    assert torch.equal(faint.images[6:], full.images[6:])
    expected = full.images[6:] + 0.5 * (full.images[:6] - full.images[6:])
    assert torch.allclose(faint.images[:6], expected, atol=1e-6)
    assert not torch.equal(faint.images[:6], full.images[:6])


def test_a_second_place_is_filled_without_a_tumour_away_from_the_lesion(slices: Slices) -> None:
    one = make().synthesise(slices, 12, 1)
    both = make(replace(SMALL, decoy_inpainting=True)).synthesise(slices, 12, 1)
    assert torch.equal(both.images[6:], one.images[6:])
    assert torch.equal(both.labels, one.labels)
    changed = (both.images != one.images).squeeze(1)[:6]
    assert changed.flatten(1).any(1).all()
    assert not (changed & ~both.foreground[:6]).any()
    # Not even where the lesion's own region may have reached.
    grown = nn.functional.max_pool2d(lesion_mask(one.labels[:6]).float().unsqueeze(1), 9, 1, 4).squeeze(1) > 0
    assert not (changed & grown).any()


def test_a_slice_without_room_for_a_second_place_stays_as_it_is(slices: Slices) -> None:
    config = replace(SMALL, margins=[1, 60])
    one, both = (make(replace(config, decoy_inpainting=on)).synthesise(slices, 12, 1) for on in (False, True))
    assert torch.equal(one.images, both.images)


def test_a_fill_starts_from_its_surroundings(slices: Slices) -> None:
    """Before any training, the fill of a brighter slice is brighter by as much; otherwise it is as it was."""

    def filled(trainer: Trainer, brightness: float) -> float:
        images = torch.full((1, 1, 64, 64), brightness)
        region = torch.zeros(1, 64, 64, dtype=torch.bool)
        region[:, 28:36, 28:36] = True
        labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
        made = trainer.fill(images, labels, region, slices.condition(), torch.Generator().manual_seed(1))
        return float(made[0, 0][region[0]].mean())

    near, plain = make(replace(SMALL, init_from_context=True)), make()
    assert abs(filled(near, 0.8) - 0.8) < 0.15
    assert abs(filled(near, 0.2) - 0.2) < 0.15
    assert abs(filled(plain, 0.8) - filled(plain, 0.2)) < 0.3


def test_a_fill_from_its_surroundings_never_sees_the_region(slices: Slices) -> None:
    trainer, batch = make(replace(SMALL, init_from_context=True)), slices.batch(slices.tumour_positions())
    first = trainer.reconstruct(batch, slices.condition(), 1)
    hidden = replace(batch, images=torch.where(first.region.unsqueeze(1), 0.123, batch.images))
    assert torch.equal(first.images, trainer.reconstruct(hidden, slices.condition(), 1).images)


def test_an_odd_number_has_one_positive_more_at_any_contrast(slices: Slices) -> None:
    made = make(replace(SMALL, lesion_contrast=[0.4, 1.3])).synthesise(slices, 7, 1)
    assert made.tumour.tolist() == [True] * 4 + [False] * 3
    assert len(made.images) == len(made.labels) == 7


def test_scale_decides_how_large_the_masks_become(slices: Slices) -> None:
    small, large = (
        lesion_mask(make(replace(SMALL, lesion_scale=[scale, scale])).synthesise(slices, 40, 1).labels[:20]).sum()
        for scale in (0.7, 1.4)
    )
    assert large > 1.5 * small


def test_reconstruction_makes_the_tumour_slices_again(slices: Slices) -> None:
    batch = slices.all()
    result = make().reconstruct(batch, slices.condition(), 1)
    tumour = batch.tumour_pixels() > 0
    assert torch.equal(result.targets, batch.images[tumour])
    assert (result.region | ~lesion_mask(batch.labels[tumour])).all()
    outside = ~result.region.unsqueeze(1)
    assert torch.equal(result.images[outside], result.targets[outside])
    assert not torch.equal(result.images, result.targets)


def test_reconstruction_is_the_same_for_a_seed_and_never_sees_the_region(slices: Slices) -> None:
    trainer, batch = make(), slices.batch(slices.tumour_positions())
    first = trainer.reconstruct(batch, slices.condition(), 1)
    assert torch.equal(first.images, trainer.reconstruct(batch, slices.condition(), 1).images)
    hidden = replace(batch, images=torch.where(first.region.unsqueeze(1), 0.123, batch.images))
    again = trainer.reconstruct(hidden, slices.condition(), 1)
    assert torch.equal(first.images, again.images)


def test_a_region_larger_than_the_crop_is_filled_whole(slices: Slices) -> None:
    batch = slices.batch(slices.tumour_positions()[:2])
    batch.labels[:, 10:54, 20:30] = 2
    result = make().reconstruct(batch, slices.condition(), 1)
    assert (result.images != result.targets).squeeze(1)[result.region].float().mean() > 0.99


def test_labels_and_condition_reach_the_generator(slices: Slices) -> None:
    trainer = make()
    batch = slices.batch(slices.tumour_positions()[:2])
    first = trainer.reconstruct(batch, slices.condition(), 1).images
    assert not torch.equal(first, trainer.reconstruct(batch, slices.condition().flip(0), 1).images)
    other = replace(batch, labels=torch.where(batch.labels == 4, 1, batch.labels).to(torch.uint8))
    assert not torch.equal(first, trainer.reconstruct(other, slices.condition(), 1).images)


def test_works_for_several_contrasts(two_contrasts: Slices) -> None:
    trainer = make(contrasts=("t1", "flair"))
    trainer.train(trainer.batches(two_contrasts, 1, 1))
    assert trainer.synthesise(two_contrasts, 4, 1).images.shape == (4, 2, 64, 64)


# ---------------------------------------------------------------------------------------------- choices


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"depth": 6}, "depth=6: needs slices and crops of at least 64 pixels, and here they have 32"),
        ({"discriminator_layers": 4}, "discriminator_layers=4: needs slices and crops of at least 48 pixels"),
        ({"margins": [3, 1]}, "margins"),
        ({"lesion_scale": [1.3, 0.7]}, "lesion_scale"),
        ({"lesion_contrast": [0.0, 1.0]}, "lesion_contrast"),
        ({"batch_size": 1}, "batch_size"),
        ({"diffaugment": "colour"}, "colour"),
        ({"adversarial": "relativistic"}, "relativistic"),
    ],
)
def test_choices_that_cannot_work_are_named(change: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        make(replace(SMALL, **change))  # type: ignore[arg-type]


def test_the_configured_model_builds() -> None:
    experiment = compose([])
    config = model_of(experiment, "cgan").config
    assert isinstance(config, Config)
    module = trainer_module("cgan")
    trainer = module.Trainer(
        config, image=experiment.image, organs={"brain": ("flair",)}, device=torch.device("cpu"), seed=1
    )
    assert sum(p.numel() for p in trainer.networks["generator"].parameters()) < 2e6


def test_the_papers_size_builds() -> None:
    config = replace(
        SMALL, width=64, depth=8, crop=0, discriminator_width=64, discriminator_layers=3, perceptual_weight=0.0
    )
    trainer = Trainer(
        config, image=ImageConfig(size=256), organs={"brain": ("flair",)}, device=torch.device("cpu"), seed=1
    )
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in trainer.networks.items()}
    assert sizes["generator"] == pytest.approx(52e6, rel=0.05)
    assert sizes["discriminator"] == pytest.approx(2.8e6, rel=0.05)


def test_organs_may_count_alike_in_the_average_whatever_their_slices() -> None:
    brain, liver = View("brain", ("flair",)), View("liver", ("ct",))
    sites = {"a": Contributor(brain, 30), "b": Contributor(brain, 60), "c": Contributor(liver, 10)}
    assert make().averaging_weights("generator", sites) == {"a": 30, "b": 60, "c": 10}
    alike = make(replace(SMALL, balance_organs=True)).averaging_weights("generator", sites)
    assert alike == pytest.approx({"a": 1 / 3, "b": 2 / 3, "c": 1})
    nothing = {"a": Contributor(brain, 0), "c": Contributor(liver, 10)}
    assert make(replace(SMALL, balance_organs=True)).averaging_weights("generator", nothing) == {"a": 0, "c": 1}


def test_tuning_goes_on_from_the_weights_of_all_with_rates_of_its_own(slices: Slices) -> None:
    shared = make()
    own = make(replace(SMALL, finetune_steps=4, decay_steps=2))
    own.load_shared_arrays(shared.shared_arrays())
    assert own.tune(slices, 3).keys() >= {"discriminator", "adversarial", "l1"}
    assert own.steps_done == 4
    # A schedule of two steps would have ended: four steps have one of four.
    assert own.schedule.factor(3) == 0.5
    again = make(replace(SMALL, finetune_steps=4))
    again.load_shared_arrays(shared.shared_arrays())
    again.tune(slices, 3)
    assert equal(again.shared_arrays(), own.shared_arrays())
    assert not equal(own.shared_arrays(), shared.shared_arrays())


def test_without_finetune_steps_a_generator_stays_as_it_came(slices: Slices) -> None:
    trainer = make()
    before = trainer.shared_arrays()
    assert trainer.tune(slices, 3) == {}
    assert equal(trainer.shared_arrays(), before)


@pytest.mark.parametrize("steps", [-1, 10**12])
def test_tuning_that_has_no_end_or_no_beginning_is_refused(steps: int) -> None:
    with pytest.raises(ConfigError, match=f"finetune_steps={steps}: must be from 0 to 10,000,000"):
        make(replace(SMALL, finetune_steps=steps))
