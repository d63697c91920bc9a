"""Compiled trainers train as others do; what is shared over the wire keeps its names."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from common.imaging.slices import Slices
from common.study.conditions import condition_code
from common.study.experiment import ImageConfig
from common.training import cgan, cyclegan, wgan_gp
from common.training.build import compile_networks
from common.training.kinds import SamplingTrainer
from common.training.trainer import Trainer

BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "cgan": lambda: (cgan, cgan.Config(width=4, depth=2, discriminator_width=4, crop=32, perceptual_weight=0.0)),
    "cyclegan": lambda: (
        cyclegan,
        cyclegan.Config(
            exchange="gradients",
            domains=[cyclegan.DomainConfig("brain", ["flair"]), cyclegan.DomainConfig("brain", ["t2"])],
            width=4,
            blocks=1,
            discriminator_width=4,
            discriminator_layers=1,
            batch_size=2,
        ),
    ),
    "wgan_gp": lambda: (wgan_gp, wgan_gp.Config(width=4, critic_width=4, noise_size=8, batch_size=4, n_critic=1)),
}


def trainer_of(family: str) -> Trainer[Any]:
    module, config = BUILDERS[family]()
    return module.Trainer(
        config, image=ImageConfig(size=64), organs={"brain": ("flair",)}, device=torch.device("cpu"), seed=1
    )


@pytest.mark.parametrize("family", list(BUILDERS))
def test_compiled_networks_train_to_the_same_losses(family: str, slices: Slices) -> None:
    plain, compiled = trainer_of(family), trainer_of(family)
    compile_networks(compiled, backend="aot_eager")
    # Biases before a normalisation have no gradient but rounding, and Adam follows it: weights may differ, losses not.
    losses = [one.train(one.batches(slices, 3, seed=3)) for one in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4, abs=1e-6)
    assert list(compiled.shared_arrays()) == list(plain.shared_arrays())


def test_what_is_differentiated_twice_and_what_never_trains_stays_as_it_is() -> None:
    trainer = trainer_of("wgan_gp")
    compile_networks(trainer, backend="aot_eager")
    assert {name for name, network in trainer.networks.items() if is_compiled(network)} == {"generator"}
    trainer = trainer_of("cyclegan")
    compile_networks(trainer, backend="aot_eager")
    assert {name for name, network in trainer.networks.items() if is_compiled(network)} == {
        "generator_ab",
        "generator_ba",
        "discriminator_a",
        "discriminator_b",
    }


def is_compiled(network: nn.Module) -> bool:
    return network._compiled_call_impl is not None


@pytest.mark.slow
def test_generators_that_are_compiled_to_make_images_make_the_same_ones_in_any_number() -> None:
    plain, compiled = trainer_of("wgan_gp"), trainer_of("wgan_gp")
    assert isinstance(plain, SamplingTrainer)
    assert isinstance(compiled, SamplingTrainer)
    compile_networks(compiled, to_train=False, backend="aot_eager")
    assert {name for name, network in compiled.networks.items() if is_compiled(network)} == {
        "generator",
        "generator_ema",
    }
    for count in (2, 3):
        asked = torch.arange(count) < 2, condition_code("brain", ["flair"]), count
        assert torch.allclose(compiled.sample(*asked), plain.sample(*asked), atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_the_compiler_of_a_real_run_gives_the_same_losses(slices: Slices) -> None:
    plain, compiled = trainer_of("cgan"), trainer_of("cgan")
    compile_networks(compiled)
    losses = [one.train(one.batches(slices, 2, seed=3)) for one in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3, abs=1e-5)
