"""On a GPU every trainer does what it does on the CPU; where there is none, these tests say so and are skipped."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from common.imaging.slices import Slices
from common.study.conditions import condition_code
from common.study.experiment import ClassifierConfig, ImageConfig
from common.training import cgan, classifier, cyclegan, wgan_gp
from common.training.kinds import SamplingTrainer
from common.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA here")

CPU, GPU = torch.device("cpu"), torch.device("cuda")
BRAIN = {"brain": ("flair",)}
SIZE = ImageConfig(size=64)
DOMAINS = [cyclegan.DomainConfig("brain", ["flair"]), cyclegan.DomainConfig("brain", ["t2"])]
SMALL_CYCLEGAN = cyclegan.Config(
    domains=DOMAINS, width=4, blocks=1, discriminator_width=4, discriminator_layers=1, batch_size=2
)

BUILDERS: dict[str, Callable[[torch.device], Trainer[Any]]] = {
    "cgan": lambda device: cgan.Trainer(
        cgan.Config(width=8, depth=2, discriminator_width=8), image=SIZE, organs=BRAIN, device=device, seed=1
    ),
    "cyclegan": lambda device: cyclegan.Trainer(SMALL_CYCLEGAN, image=SIZE, organs=BRAIN, device=device, seed=1),
    "wgan_gp": lambda device: wgan_gp.Trainer(
        wgan_gp.Config(width=4, critic_width=4, noise_size=8, batch_size=4, n_critic=2),
        image=SIZE,
        organs=BRAIN,
        device=device,
        seed=1,
    ),
    "classifier": lambda device: classifier.Trainer(
        ClassifierConfig(width=8, batch_size=8), image=SIZE, channels=1, device=device, seed=1, total_steps=20
    ),
}


@pytest.fixture(autouse=True)
def _exact_products() -> Iterator[None]:
    """Neither TensorFloat-32 nor an algorithm that differs from run to run: what is left is the order of sums."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = False, True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = before


@pytest.mark.parametrize("family", list(BUILDERS))
def test_losses_are_those_of_the_cpu(family: str, slices: Slices) -> None:
    losses = []
    for device in (CPU, GPU):
        trainer = BUILDERS[family](device)
        if isinstance(trainer, classifier.Trainer):
            # The same seed drops other features on a GPU.
            trainer.classifier.get_submodule("dropout").p = 0.0  # type: ignore[assignment]
        losses.append(trainer.train(trainer.batches(slices, 5, seed=3)))
    assert losses[1] == pytest.approx(losses[0], rel=2e-2, abs=2e-3)


@pytest.mark.parametrize("family", list(BUILDERS))
def test_a_training_goes_on_from_what_was_kept(family: str, slices: Slices) -> None:
    whole, first, second = (BUILDERS[family](GPU) for _ in range(3))
    whole.train(whole.batches(slices, 3, seed=3))
    first.train(first.batches(slices, 3, seed=3))
    second.load_shared_arrays(first.shared_arrays())
    second.load_private_state(first.private_state())
    assert all(value.device == CPU for value in second.shared_arrays().values())
    losses = [one.train(one.batches(slices, 2, seed=4)) for one in (whole, second)]
    assert losses[1] == pytest.approx(losses[0], rel=2e-2, abs=2e-3)


def test_inserted_tumours_are_those_of_the_cpu(slices: Slices) -> None:
    made = [_insertion(device).synthesise(slices, 8, 1) for device in (CPU, GPU)]
    _close(made[1].images, made[0].images)
    assert torch.equal(made[1].labels, made[0].labels)


def test_repaired_slices_are_those_of_the_cpu(slices: Slices) -> None:
    batch = slices.batch(torch.from_numpy(slices.tumour_positions()))
    made = [_insertion(device).reconstruct(batch, slices.condition(), 1).images for device in (CPU, GPU)]
    _close(made[1], made[0])


def test_sampled_slices_are_those_of_the_cpu() -> None:
    tumour, condition = torch.tensor([True, False]), condition_code("brain", ["flair"])
    made = []
    for device in (CPU, GPU):
        trainer = BUILDERS["wgan_gp"](device)
        assert isinstance(trainer, SamplingTrainer)
        made.append(trainer.sample(tumour, condition, 1))
    _close(made[1], made[0])


def test_translated_slices_are_those_of_the_cpu(slices: Slices) -> None:
    images = slices.all().images[:4]
    made = []
    for device in (CPU, GPU):
        trainer = BUILDERS["cyclegan"](device)
        assert isinstance(trainer, cyclegan.Trainer)
        made.append(trainer.translate(images, 0))
    _close(made[1], made[0])


def test_probabilities_and_features_are_those_of_the_cpu(slices: Slices) -> None:
    images = slices.all().images
    trainers = [BUILDERS["classifier"](device) for device in (CPU, GPU)]
    assert all(isinstance(one, classifier.Trainer) for one in trainers)
    for ask in ("predict", "features"):
        ours, theirs = (getattr(one, ask)(images) for one in trainers)
        _close(theirs, ours)


def test_bfloat16_trains_to_losses_near_those_of_float32(slices: Slices) -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        config = cgan.Config(width=8, depth=2, discriminator_width=8, precision=precision)
        trainer = cgan.Trainer(config, image=SIZE, organs=BRAIN, device=GPU, seed=1)
        losses.append(trainer.train(trainer.batches(slices, 5, seed=3)))
    assert losses[1] == pytest.approx(losses[0], rel=0.1, abs=0.02)


def _insertion(device: torch.device) -> cgan.Trainer:
    trainer = BUILDERS["cgan"](device)
    assert isinstance(trainer, cgan.Trainer)
    return trainer


def _close(theirs: Tensor, ours: Tensor) -> None:
    """Both on the CPU and equal but for rounding."""
    assert theirs.device == ours.device == CPU
    torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-3)
