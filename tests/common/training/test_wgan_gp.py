from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from common.errors import ConfigError, DataError
from common.imaging.slices import PatientSlices, Slices
from common.study.conditions import condition_code
from common.study.config import compose
from common.study.experiment import ImageConfig
from common.study.models import model_of
from common.synthesis.whole_slices import Draws
from common.training import wgan_gp
from common.training.trainer import EvaluationProtocol, Exchange, View
from common.training.wgan_gp import Config, Domain, Trainer

SMALL = Config(
    width=2, noise_size=8, critic_width=4, batch_size=4, n_critic=2, learning_rate=1e-3, critic_learning_rate=1e-3
)
RMSPROP = replace(SMALL, optimiser="rmsprop", ema=0.0, drift=0.0)
ONE = {"brain": ("flair",), "liver": ("ct",)}


def make(config: Config = SMALL, *, seed: int = 1, size: int = 64, organs: dict[str, tuple[str, ...]] = ONE) -> Trainer:
    return Trainer(config, image=ImageConfig(size=size), organs=organs, device=torch.device("cpu"), seed=seed)


def toy(organ: str, contrast: str, size: int = 32) -> Slices:
    """A grey square in the upper half, left for a brain and right for a liver; a tumour is a white one below it."""
    images = np.zeros((20, 1, size, size), np.float16)
    labels = np.zeros((20, size, size), np.uint8)
    left = 4 if organ == "brain" else 18
    images[:, :, 4:14, left : left + 10] = 0.5
    images[10:, :, 18:28, left : left + 10] = 1
    labels[10:, 18:28, left : left + 10] = 1
    patient = PatientSlices(organ, images, labels, np.ones_like(labels))
    return Slices(organ, (contrast,), [patient], 12)


# ---------------------------------------------------------------------------------------------- examples


def test_a_batch_holds_everything_one_step_of_the_generator_needs(slices: Slices) -> None:
    (batch,) = make(replace(SMALL, n_critic=3)).batches(slices, 1, 1)
    assert len(batch.critic) == 3
    for one in batch.critic:
        assert one.images.shape == (4, 1, 64, 64)
        assert one.noise.shape == (4, 8)
        assert one.grain.shape == (4, 1, 64, 64)
        assert one.mixing.shape == (4,)
        assert one.augmentation is None
    assert batch.noise.shape == (4, 8)
    assert torch.equal(batch.condition, condition_code("brain", ["flair"]))


@pytest.mark.parametrize(("share", "tumours"), [(0.0, 0), (0.25, 1), (0.5, 2), (1.0, 4)])
def test_the_share_of_tumours_is_a_choice_and_classes_are_true(slices: Slices, share: float, tumours: int) -> None:
    for batch in make(replace(SMALL, tumour_share=share, augmented_share=0.0)).batches(slices, 3, 1):
        assert int(batch.tumour.sum()) == tumours
        for one in batch.critic:
            assert int(one.tumour.sum()) == tumours
            # The fixture's tissue is about 0.4, the rim of its lesions 0.9.
            assert torch.equal(one.images.flatten(1).amax(1) > 0.8, one.tumour)


@pytest.mark.parametrize(("size", "share"), [(3, 0.5), (4, 0.1), (2, 0.95), (101, 0.5)])
def test_the_share_of_tumours_is_met_in_batches_that_it_does_not_divide(
    slices: Slices, size: int, share: float
) -> None:
    batches = list(make(replace(SMALL, batch_size=size, tumour_share=share)).batches(slices, 40, 1))
    assert abs(sum(int(batch.tumour.sum()) for batch in batches) - 40 * size * share) < 1
    assert {tuple(one.images.shape) for batch in batches for one in batch.critic} == {(size, 1, 64, 64)}


@pytest.mark.parametrize(("size", "share"), [(3, 0.5), (4, 0.1), (2, 0.95)])
def test_the_share_of_tumours_is_met_over_the_public_steps_of_a_private_training(
    size: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, drawn = make(replace(SMALL, batch_size=size, tumour_share=share)), []

    def counted(self: Trainer, draws: Draws) -> torch.Tensor:
        drawn.append(int(draws.tumour.sum()))
        assert len(draws.tumour) == size
        return next(self.generator.parameters()).sum()

    monkeypatch.setattr(Trainer, "_generator_loss", counted)
    chance = torch.Generator().manual_seed(1)
    for _ in range(400):
        trainer.public_update(condition_code("brain", ["flair"]), chance)
    assert set(drawn) == {int(size * share), int(size * share) + 1}
    assert np.mean(drawn) == pytest.approx(size * share, abs=0.1)


def test_no_slice_comes_twice_before_every_slice_of_its_class_came_once(slices: Slices) -> None:
    healthy = len(slices.healthy_positions())
    config = replace(SMALL, n_critic=2, batch_size=healthy, tumour_share=0.5, augmented_share=0.0)
    (batch,) = make(config).batches(slices, 1, 1)
    drawn = torch.cat([one.images[~one.tumour] for one in batch.critic])
    assert len(torch.unique(drawn.flatten(1), dim=0)) == healthy


def test_real_slices_are_turned_and_mirrored_sparingly(slices: Slices) -> None:
    known = slices.all().images.flatten(1)

    def unchanged(share: float) -> float:
        batches = make(replace(SMALL, augmented_share=share)).batches(slices, 20, 1)
        drawn = torch.cat([one.images for batch in batches for one in batch.critic]).flatten(1)
        distance = torch.cdist(drawn, known, compute_mode="donot_use_mm_for_euclid_dist")
        return float((distance.amin(1) < 1e-3).float().mean())

    assert unchanged(0.0) == 1
    assert unchanged(0.25) == pytest.approx(0.75, abs=0.1)
    assert unchanged(1.0) == 0


def test_sites_that_cannot_take_part_are_told_at_once(
    healthy_slices: Slices, tumour_slices: Slices, slices: Slices
) -> None:
    with pytest.raises(DataError, match="only 0 slices hold a tumour"):
        make().batches(healthy_slices, 1, 1)
    with pytest.raises(DataError, match="only 0 slices are free of tumour"):
        make(replace(SMALL, min_slices=0)).batches(tumour_slices, 1, 1)
    with pytest.raises(DataError, match="and 50 are needed"):
        make(replace(SMALL, min_slices=50)).batches(slices, 1, 1)
    make(replace(SMALL, tumour_share=0.0)).batches(healthy_slices, 1, 1)
    make(replace(SMALL, tumour_share=1.0)).batches(tumour_slices, 1, 1)


def test_without_domains_a_site_shows_what_the_study_looks_at() -> None:
    assert Trainer.view(SMALL, ONE, "brain", ["t1", "flair"]) == View("brain", ("flair",))
    assert Trainer.view(SMALL, ONE, "brain", ["t1"]) is None
    assert Trainer.view(SMALL, ONE, "lung", ["ct"]) is None


def test_a_site_shows_the_first_domain_that_it_can_serve(two_contrasts: Slices) -> None:
    config = replace(SMALL, domains=[Domain("brain", ["t2"]), Domain("brain", ["t1"]), Domain("liver", ["ct"])])
    study = {"brain": ("t1", "flair")}
    assert Trainer.view(config, study, "brain", ["t1", "t2"]) == View("brain", ("t2",))
    assert Trainer.view(config, study, "brain", ["flair", "t1"]) == View("brain", ("t1",))
    assert Trainer.view(config, study, "liver", ["ct"]) == View("liver", ("ct",))
    assert Trainer.view(config, study, "brain", ["flair"]) is None
    assert make(config, organs=study).channels == 1


# ---------------------------------------------------------------------------------------------- training


def test_declares_how_it_is_shared_and_scored() -> None:
    assert (Trainer.exchange, Trainer.protocol) == (Exchange.AVERAGE, EvaluationProtocol.NEAREST)
    assert set(make().networks) == {"generator", "critic", "generator_ema"}
    assert set(make().optimisers) == {"generator", "critic"}
    assert set(make(replace(SMALL, ema=0.0)).networks) == {"generator", "critic"}


def test_sharing_the_generator_keeps_the_critic_at_the_site() -> None:
    trainer = make()
    trainer.generators_only = True
    assert {key.partition(".")[0] for key in trainer.shared_arrays()} == {"generator", "generator_ema"}
    assert any(key.startswith("network.critic.") for key in trainer.private_state())


def test_the_critic_tells_real_slices_from_noise_after_a_few_steps(slices: Slices) -> None:
    trainer = make(replace(SMALL, n_critic=5))
    optimiser = trainer.optimisers["critic"]
    trainer.step = lambda one: one.step() if one is optimiser else None
    trainer.train(trainer.batches(slices, 5, 1))
    tumour, nothing = torch.ones(len(slices), dtype=torch.bool), torch.zeros(0)
    code = trainer._code(Draws(tumour, nothing, nothing, slices.condition()))
    made = trainer.sample(tumour, slices.condition(), 1)
    with torch.no_grad():
        real = trainer.critic(slices.all().images * 2 - 1, code).flatten(1).mean(1)
        generated = trainer.critic(made * 2 - 1, code).flatten(1).mean(1)
    assert real.min() > generated.max()


def test_half_precision_computes_losses_and_penalty_in_float32(slices: Slices, monkeypatch: Any) -> None:
    trainer = make(replace(SMALL, precision="bf16"))
    seen: dict[str, set[torch.dtype]] = {"score": set(), "penalty": set()}
    inside = []
    trainer.critic.score.register_forward_hook(  # type: ignore[union-attr]
        lambda module, given, made: seen["penalty" if inside else "score"].add(made.dtype)
    )
    penalty = wgan_gp.gradient_penalty

    def watched(*arguments: Any) -> torch.Tensor:
        inside.append(True)
        result = penalty(*arguments)
        inside.clear()
        return result

    monkeypatch.setattr(wgan_gp, "gradient_penalty", watched)
    (batch,) = trainer.batches(slices, 1, 1)
    losses = trainer.train_step(batch)
    assert seen == {"score": {torch.bfloat16}, "penalty": {torch.float32}}
    assert all(value.dtype == torch.float32 for value in losses.values())


def test_learns_what_class_and_organ_look_like() -> None:
    config = Config(
        width=4, noise_size=8, critic_width=8, batch_size=8, n_critic=2, augmented_share=0.0, ema=0.9,
        learning_rate=2e-3, critic_learning_rate=2e-3,
    )  # fmt: skip
    trainer = make(config, size=32)
    brain, liver = toy("brain", "flair"), toy("liver", "ct")
    pairs = zip(trainer.batches(brain, 100, 1), trainer.batches(liver, 100, 2), strict=True)
    trainer.train(batch for pair in pairs for batch in pair)
    for slices, own, others in ((brain, slice(4, 14), slice(18, 28)), (liver, slice(18, 28), slice(4, 14))):
        made = trainer.synthesise(slices, 16, 1)
        tumours, healthy = made.images[made.tumour, 0], made.images[~made.tumour, 0]
        for images in (tumours, healthy):
            assert images[:, 4:14, own].mean() > images[:, 4:14, others].mean() + 0.2
        assert tumours[:, 18:28, own].mean() > healthy[:, 18:28, own].mean() + 0.4


# ---------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("count", [1, 2, 7, 130])
def test_half_of_what_it_makes_are_tumours_and_half_are_not(slices: Slices, count: int) -> None:
    made = make().synthesise(slices, count, 1)
    assert len(made) == count
    assert int(made.tumour.sum()) == count - count // 2
    assert made.images.shape == (count, 1, 64, 64)
    assert (made.images.min() >= 0, made.images.max() <= 1) == (True, True)
    assert (made.labels.shape, int(made.labels.sum())) == ((count, 64, 64), 0)
    assert torch.equal(made.foreground, made.images[:, 0] > 0)
    assert (made.origin == -1).all()


def test_samples_are_the_same_for_the_same_seed() -> None:
    trainer, code = make(), condition_code("brain", ["flair"])
    classes = torch.arange(70) % 2 == 0
    first = trainer.sample(classes, code, 1)
    assert torch.equal(first, trainer.sample(classes, code, 1))
    assert not torch.equal(first, trainer.sample(classes, code, 2))


def test_class_and_organ_change_the_sample() -> None:
    trainer, classes = make(), torch.ones(4, dtype=torch.bool)
    brain = trainer.sample(classes, condition_code("brain", ["flair"]), 1)
    assert not torch.allclose(brain, trainer.sample(~classes, condition_code("brain", ["flair"]), 1))
    assert not torch.allclose(brain, trainer.sample(classes, condition_code("liver", ["ct"]), 1))


def test_samples_come_from_the_average_where_there_is_one(slices: Slices) -> None:
    trainer, plain = make(replace(SMALL, ema=0.99)), make(replace(SMALL, ema=0.0))
    for one in (trainer, plain):
        one.train(one.batches(slices, 3, 1))
    assert all(torch.equal(trainer.shared_arrays()[key], value) for key, value in plain.shared_arrays().items())
    classes = torch.ones(2, dtype=torch.bool)
    assert not torch.equal(trainer.sample(classes, slices.condition(), 1), plain.sample(classes, slices.condition(), 1))
    trainer.networks["generator_ema"].load_state_dict(trainer.generator.state_dict())
    assert torch.equal(trainer.sample(classes, slices.condition(), 1), plain.sample(classes, slices.condition(), 1))


def test_what_is_nearly_black_is_background(slices: Slices) -> None:
    trainer = make()
    with torch.no_grad():
        trainer.averaged().layers[-1].bias.fill_(-5.0)  # type: ignore[union-attr, index]
    made = trainer.synthesise(slices, 4, 1)
    assert made.images.eq(0).float().mean() > 0.9
    assert made.images[made.images > 0].numel() == 0 or made.images[made.images > 0].min() >= wgan_gp.BACKGROUND


def test_works_for_several_contrasts(two_contrasts: Slices) -> None:
    trainer = make(organs={"brain": ("t1", "flair")})
    trainer.train(trainer.batches(two_contrasts, 1, 1))
    made = trainer.synthesise(two_contrasts, 4, 1)
    assert made.images.shape == (4, 2, 64, 64)
    assert torch.equal(made.foreground, made.images.amax(1) > 0)


# ---------------------------------------------------------------------------------------------- choices


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"critic_layers": 7}, "critic_layers=7: needs image.size of at least 128, got"),
        ({"optimiser": "sgd"}, "optimiser"),
        ({"tumour_share": 1.5}, "tumour_share"),
        ({"augmented_share": -0.5}, "augmented_share"),
        ({"batch_size": 1}, "batch_size"),
        ({"n_critic": 0}, "n_critic"),
        ({"noise_size": 0}, "noise_size"),
        ({"norm": "batch"}, "batch"),
        ({"diffaugment": "saturation"}, "saturation"),
        ({"domains": []}, "domains"),
        ({"domains": [Domain("brain", ["t1"]), Domain("liver", [])]}, "domains"),
    ],
)
def test_choices_that_cannot_work_are_named(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        make(replace(SMALL, **change))


def test_the_configured_model_is_the_default() -> None:
    configured = model_of(compose(["model=[wgan_gp]"]), "wgan_gp").config
    # The preset fits these to its rounds.
    assert replace(configured, decay_steps=0, batch_size=16, n_critic=2, ema=0.99) == Config()
    make(configured)


def test_domains_can_be_written_in_a_configuration() -> None:
    written = {"domains": [{"organ": "brain", "contrasts": ["t1"]}]}
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), written))
    assert isinstance(config, Config)
    assert config.domains == [Domain("brain", ["t1"])]


def test_the_papers_size_builds() -> None:
    config = replace(RMSPROP, width=64, critic_width=64, noise_size=128, batch_size=8, n_critic=5)
    trainer = make(config, size=256)
    assert {name: round(sum(p.numel() for p in one.parameters()) / 1e6) for name, one in trainer.networks.items()} == {
        "generator": 16,
        "critic": 3,
    }


def test_noise_is_standard_normal(slices: Slices) -> None:
    batches = make().batches(slices, 40, 1)
    noise = torch.cat([one.noise for batch in batches for one in batch.critic])
    assert noise.mean().abs() < 0.1
    assert noise.std() == pytest.approx(1, abs=0.05)
