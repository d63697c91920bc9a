"""The part of CycleGAN's losses that needs real images of one domain only.

The whole objective is the sum of this part over both domains: what one site can compute, the other never needs.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from common.losses.adversarial import adversarial_loss
from common.losses.cycle import cycle_loss, identity_loss, identity_weight
from common.seeding import torch_generator
from common.training.cyclegan_config import Config
from common.training.diffaugment import Augmentation, diffaugment, draw_augmentation
from common.training.gan import grey
from common.training.image_pool import ImagePool
from common.training.unpaired import SideBatch


class Objective:
    """Image pools and losses; images have grey values in [0, 1].

    Args:
        config: the model's choices.
        trained: the four networks by name.
        run: computes a network's output in the configured precision.

    Attributes:
        generators: ``generators[s]`` translates domain ``s`` into the other.
        discriminators: ``discriminators[s]`` judges images of domain ``s``.
        pools: ``pools[s]`` keeps generated images of domain ``s``.
    """

    def __init__(self, config: Config, trained: Mapping[str, nn.Module], run: Callable[..., Tensor]) -> None:
        self.config = config
        self.generators = [trained["generator_ab"], trained["generator_ba"]]
        self.discriminators = [trained["discriminator_a"], trained["discriminator_b"]]
        self.device = next(self.generators[0].parameters()).device
        self.run = run
        self.pools = [ImagePool(config.pool) for _ in range(2)]
        self.adversarial = adversarial_loss(config.adversarial)

    def add_gradients(self, batch: SideBatch, steps_done: int) -> dict[str, Tensor]:
        """Adds the gradients of ``batch`` to those of every network it trains, all at the present weights.

        Without proxies the discriminator of the other domain gets the generated half of its loss here, and the real
        half from the other domain's batch. With proxies it gets none, and that of this domain gets both halves: real
        images, and the proxies' translations. These translations also train their generator, because the discriminator
        of this domain is up to date here and a round old at the other domain's sites.

        Args:
            batch: real slices of one domain.
            steps_done: by which the identity term's weight falls.

        Returns:
            Each loss, detached.
        """
        draws = torch_generator(batch.seed)
        augmentation = self._augmentation(batch, draws)

        self._train_discriminators(False)
        losses, made = self.generator_losses(batch, steps_done, augmentation)
        losses.pop("total").backward()  # type: ignore[no-untyped-call]

        self._train_discriminators(True)
        made = self.pools[self.judged(batch)].exchange(made, draws)
        losses["discriminator"] = self.discriminator_loss(batch, made, augmentation)
        losses["discriminator"].backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in losses.items()}

    def judged(self, batch: SideBatch) -> int:
        """Whose discriminator sees generated images of this batch: with proxies its own side's, else the other's."""
        return batch.side if batch.proxies is not None else 1 - batch.side

    def generator_losses(
        self, batch: SideBatch, steps_done: int, augmentation: Augmentation | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Each loss of both generators and their weighted ``total``; and the images that a discriminator is to see."""
        side, other = batch.side, 1 - batch.side
        images = batch.images.to(self.device)
        made = self.generate(side, images)
        losses = {
            "adversarial": self.adversarial.generator(self._judge(other, made, augmentation)),
            "cycle": cycle_loss(self.generate(other, made), images),
        }
        losses["total"] = losses["adversarial"] + self.config.cycle_weight * losses["cycle"]
        weight = identity_weight(self.config.identity_weight, steps_done, self.config.identity_decay_steps)
        if weight > 0:
            losses["identity"] = identity_loss(self.generate(other, images), images)
            losses["total"] = losses["total"] + weight * losses["identity"]
        if batch.proxies is not None:
            made = self.generate(other, batch.proxies.to(self.device))
            losses["proxy_adversarial"] = self.adversarial.generator(self._judge(side, made, augmentation))
            losses["total"] = losses["total"] + self.config.proxy_weight * losses["proxy_adversarial"]
        return losses, made

    def shown_images(self, batch: SideBatch) -> Tensor:
        """The generated images that a discriminator is to see, without a pool and without gradients."""
        source = batch.images if batch.proxies is None else batch.proxies
        with torch.no_grad():
            return self.generate(1 - self.judged(batch), source.to(self.device))

    def discriminator_loss(self, batch: SideBatch, made: Tensor, augmentation: Augmentation | None = None) -> Tensor:
        """The real half for this side's discriminator, and the generated half for the one that sees ``made``.

        Every adversarial loss is a real half plus a generated half, and the halves may be of two discriminators.
        """
        real_logits = self._judge(batch.side, batch.images.to(self.device), augmentation)
        made_logits = self._judge(self.judged(batch), made.detach(), augmentation)
        return self.adversarial.discriminator(real_logits, made_logits)

    def _augmentation(self, batch: SideBatch, draws: torch.Generator) -> Augmentation:
        return draw_augmentation(self.config.diffaugment, len(batch.images), batch.images.shape[-1], draws)

    def generate(self, side: int, images: Tensor, generator: nn.Module | None = None) -> Tensor:
        """(B, C, H, W) in [0, 1]: images of domain ``side`` as the other's, by ``generator`` if it is given."""
        return grey(self.run(generator or self.generators[side], images * 2 - 1))

    def _judge(self, side: int, images: Tensor, augmentation: Augmentation | None) -> Tensor:
        if self.config.diffaugment and augmentation is not None:
            images = diffaugment(images, augmentation)
        return self.run(self.discriminators[side], images * 2 - 1)

    def _train_discriminators(self, wanted: bool) -> None:
        for network in self.discriminators:
            network.requires_grad_(wanted)
