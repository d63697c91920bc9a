"""What holds for each family of GANs alike."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from weights import equal

from common.errors import ConfigError
from common.imaging.slices import Slices
from common.losses.adversarial import ADVERSARIAL_LOSSES
from common.study.experiment import ImageConfig
from common.training import cgan, cyclegan, translation, wgan_gp
from common.training.gan import GanTrainer
from common.training.kinds import ProxyTrainer

SMALL: dict[str, Any] = {
    "cgan": cgan.Config(width=4, depth=2, discriminator_width=4, perceptual_weight=0.0),
    "cyclegan": cyclegan.Config(
        domains=[cyclegan.DomainConfig("brain", ["flair"]), cyclegan.DomainConfig("brain", ["t2"])],
        exchange="average",
        width=4,
        blocks=1,
        discriminator_width=4,
        discriminator_layers=1,
        crop=32,
        identity_weight=5.0,
        identity_decay_steps=300,
        pool=3,
    ),
    "translation": translation.Config(
        source=["t1"], target=["flair"], width=4, depth=2, discriminator_width=4, discriminator_layers=1, crop=32
    ),
    "wgan_gp": wgan_gp.Config(width=2, noise_size=8, critic_width=4, batch_size=4),
}
MODULES: dict[str, Any] = {"cgan": cgan, "cyclegan": cyclegan, "translation": translation, "wgan_gp": wgan_gp}
ALL_POLICIES = "brightness,contrast,translation,cutout"

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((family, {}) for family in SMALL),
    ("cgan", {"adversarial": "wasserstein", "gradient_penalty": 10.0, "ema": 0.0, "decay_steps": 12}),
    ("cgan", {"ema": 0.9, "spectral_norm": True, "diffaugment": ALL_POLICIES}),
    ("cyclegan", {"exchange": "proxies", "identity_decay_steps": 10, "decay_steps": 12}),
    ("cyclegan", {"exchange": "gradients", "diffaugment": "translation", "flip": 1.0}),
    ("translation", {"ema": 0.0, "decay_steps": 12}),
    ("wgan_gp", {"decay_steps": 10, "diffaugment": "translation,cutout,brightness"}),
    ("wgan_gp", {"optimiser": "rmsprop", "ema": 0.0, "drift": 0.0}),
]


@pytest.fixture(params=list(SMALL))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make(family: str, seed: int = 1, **changes: Any) -> GanTrainer[Any]:
    trainer: GanTrainer[Any] = MODULES[family].Trainer(
        replace(SMALL[family], **changes),
        image=ImageConfig(size=64),
        organs={"brain": ("flair",)},
        device=torch.device("cpu"),
        seed=seed,
    )
    if isinstance(trainer, ProxyTrainer):
        trainer.give_proxies(torch.rand(6, 1, 64, 64, generator=torch.Generator().manual_seed(1)))
    return trainer


@pytest.fixture
def held(slices: Slices, two_contrasts: Slices) -> dict[str, Slices]:
    """Slices that each family can learn from."""
    return {family: two_contrasts if family == "translation" else slices for family in SMALL}


def tensors(batch: Any) -> Iterator[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, tuple | list):
        yield from (tensor for one in batch for tensor in tensors(one))
    elif is_dataclass(batch):
        yield from (tensor for one in fields(batch) for tensor in tensors(getattr(batch, one.name)))


@pytest.mark.parametrize(("family", "changes"), VARIANTS)
def test_batches_are_the_same_for_the_same_seed(family: str, changes: dict[str, Any], held: dict[str, Slices]) -> None:
    def draw(seed: int) -> list[torch.Tensor]:
        return list(tensors(list(make(family, **changes).batches(held[family], 2, seed))))

    drawn = draw(3)
    assert len(drawn) > 1
    assert all(torch.equal(one, other) for one, other in zip(drawn, draw(3), strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(drawn, draw(4), strict=True))


def test_first_weights_depend_on_the_seed_alone_and_leave_the_global_random_state_alone(family: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one = make(family).shared_arrays()
    assert torch.equal(torch.rand(1), expected)
    assert equal(one, make(family).shared_arrays())
    assert not equal(one, make(family, seed=2).shared_arrays())


@pytest.mark.parametrize(("family", "changes"), VARIANTS)
def test_training_is_the_same_for_the_same_seed(family: str, changes: dict[str, Any], held: dict[str, Slices]) -> None:
    one, other = make(family, **changes), make(family, **changes)
    for seed, trainer in enumerate((one, other)):
        torch.manual_seed(seed)
        trainer.train(trainer.batches(held[family], 3, 1))
    assert equal(one.shared_arrays(), other.shared_arrays())
    assert not equal(one.shared_arrays(), make(family, **changes).shared_arrays())
    other.train(other.batches(held[family], 1, 2))
    assert not equal(one.shared_arrays(), other.shared_arrays())


@pytest.mark.parametrize(
    ("family", "changes", "generators_only"),
    [(*one, alone) for one in VARIANTS for alone in (False, True) if not alone or one[0] != "cyclegan"],
)
def test_a_resumed_training_equals_an_uninterrupted_one(
    family: str, changes: dict[str, Any], generators_only: bool, held: dict[str, Slices]
) -> None:
    def built(seed: int) -> GanTrainer[Any]:
        trainer = make(family, seed, **changes)
        trainer.generators_only = generators_only
        return trainer

    whole, first, second = built(1), built(1), built(9)
    whole.train(whole.batches(held[family], 6, 1))
    whole.train(whole.batches(held[family], 4, 2))
    first.train(first.batches(held[family], 6, 1))
    second.load_shared_arrays(first.shared_arrays())
    second.load_private_state(first.private_state())
    second.train(second.batches(held[family], 4, 2))
    assert equal(whole.shared_arrays(), second.shared_arrays())
    assert equal(whole.private_state(), second.private_state())


def test_state_in_and_out_changes_nothing(family: str, held: dict[str, Slices]) -> None:
    trainer = make(family)
    trainer.train(trainer.batches(held[family], 2, 1))
    arrays, state = trainer.shared_arrays(), trainer.private_state()
    trainer.load_shared_arrays(arrays)
    trainer.load_private_state(state)
    assert equal(trainer.shared_arrays(), arrays)
    assert equal(trainer.private_state(), state)


LOSSES: list[tuple[str, dict[str, Any], set[str]]] = [
    *(
        (family, {"adversarial": name, **changes}, losses)
        for name in ADVERSARIAL_LOSSES
        for family, changes, losses in (
            (
                "cgan",
                {"gradient_penalty": 1.0, "perceptual_weight": 1.0},
                {"discriminator", "adversarial", "l1", "perceptual", "gradient_penalty"},
            ),
            (
                "cyclegan",
                {"precision": "bf16", "diffaugment": "translation,brightness"},
                {"adversarial", "cycle", "identity", "discriminator"},
            ),
            ("translation", {"perceptual_weight": 1.0}, {"discriminator", "adversarial", "l1", "perceptual"}),
        )
    ),
    *(
        ("wgan_gp", {"diffaugment": policy}, {"critic", "gradient_penalty", "adversarial"})
        for policy in ("", ALL_POLICIES)
    ),
]


@pytest.mark.parametrize(("family", "changes", "losses"), LOSSES)
def test_every_loss_is_finite_and_named(
    family: str, changes: dict[str, Any], losses: set[str], held: dict[str, Slices]
) -> None:
    trainer = make(family, **changes)
    found = trainer.train(trainer.batches(held[family], 2, 1))
    assert set(found) == losses
    assert np.isfinite(list(found.values())).all()


PAIR = [("discriminator", {"discriminator"}), ("generator", {"generator"})]
ORDER: dict[str, list[tuple[str, set[str]]]] = {
    "cgan": PAIR,
    "cyclegan": [
        ("generator", {"generator_ab", "generator_ba"}),
        ("discriminator", {"discriminator_a", "discriminator_b"}),
    ],
    "translation": PAIR,
    "wgan_gp": [("critic", {"critic"}), ("critic", {"critic"}), ("generator", {"generator"})],
}


def test_each_optimiser_moves_its_own_networks_in_turn(family: str, held: dict[str, Slices]) -> None:
    trainer, seen = make(family, ema=0.0), []

    def step(optimiser: torch.optim.Optimizer) -> None:
        name = next(n for n, one in trainer.optimisers.items() if one is optimiser)
        before = trainer.shared_arrays()
        optimiser.step()
        after = trainer.shared_arrays()
        seen.append((name, {key.partition(".")[0] for key in before if not torch.equal(before[key], after[key])}))

    trainer.step = step
    trainer.train(trainer.batches(held[family], 2, 1))
    assert seen == ORDER[family] * 2


def test_the_step_is_the_callers_and_rates_fall_over_the_second_half(family: str, held: dict[str, Slices]) -> None:
    adversary = {f"{MODULES[family].Trainer.adversary}_learning_rate": 1e-2}
    trainer = make(family, ema=0.0, decay_steps=10, learning_rate=1e-3, **adversary)
    start, rates = trainer.shared_arrays(), {name: [] for name in trainer.optimisers}

    def watch(optimiser: torch.optim.Optimizer) -> None:
        name = next(n for n, one in trainer.optimisers.items() if one is optimiser)
        rates[name].append(optimiser.param_groups[0]["lr"])

    trainer.step = watch
    trainer.train(trainer.batches(held[family], 10, 1))
    assert equal(start, trainer.shared_arrays())
    factors = (1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2)
    steps = len(rates[trainer.adversary]) // 10
    assert rates["generator"] == pytest.approx([1e-3 * factor for factor in factors])
    assert rates[trainer.adversary] == pytest.approx([1e-2 * factor for factor in factors for _ in range(steps)])


def test_the_average_lies_between_old_and_new_weights(family: str, held: dict[str, Slices]) -> None:
    trainer = make(family)
    start = trainer.shared_arrays()
    trainer.train(trainer.batches(held[family], 1, 1))
    after = trainer.shared_arrays()
    averages = [name for name in trainer.networks if name.endswith("_ema")]
    assert averages == [f"{name}_ema" for name in trainer.trained if name.startswith("generator")]
    for key in (key for key in start if key.partition(".")[0] in averages):
        trained = key.replace("_ema.", ".", 1)
        torch.testing.assert_close(after[key], 0.1 * start[trained] + 0.9 * after[trained])
    assert any(not torch.equal(after[key], start[key]) for key in start if key.startswith(averages[0]))


def test_networks_have_no_batch_statistics_and_work_in_place_nowhere(family: str) -> None:
    for network in make(family).networks.values():
        for module in network.modules():
            assert not isinstance(module, nn.modules.batchnorm._BatchNorm)
            assert not getattr(module, "inplace", False)


def test_half_precision_computes_its_losses_in_float32(family: str, held: dict[str, Slices]) -> None:
    trainer = make(family, precision="bf16")
    (batch,) = trainer.batches(held[family], 1, 1)
    trainer.begin_step()
    losses = trainer.train_step(batch)
    assert losses
    assert all(value.dtype == torch.float32 for value in losses.values())


@pytest.mark.parametrize(
    ("key", "value"), [("precision", "fp16"), ("ema", 1.0), ("betas", [0.5]), ("batch_size", 0), ("min_slices", -1)]
)
def test_shared_keys_are_refused_by_their_names(family: str, key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"model\.{key}="):
        make(family, **{key: value})
