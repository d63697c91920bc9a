"""The conditional GAN that inserts a tumour into a blanked region of a slice (pix2pix, Isola et al. 2017).

The generator sees the slice without the region, the region, the tumour labels wanted there, the organ and contrasts,
and noise. A share of its training examples blanks a *healthy* region and asks for no tumour: without this control,
traces of the inpainting itself would tell a classifier which slices hold a tumour.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from common.export.card import Port
from common.export.loading import grey_values
from common.export.recipe import CODE, Recipe, output_port
from common.imaging.patient import LESION_LABELS
from common.imaging.slices import SliceBatch, Slices
from common.losses.adversarial import weighted_mean
from common.losses.gradient_penalty import gradient_penalty
from common.networks.unet import UNet
from common.seeding import Label, torch_generator
from common.study.conditions import CONDITION_SIZE, condition_code, condition_maps, one_hot_labels
from common.study.experiment import WeightsConfig
from common.synthesis.blanking import blanked_region, draw_margins, groups_of, window_sizes, windows_around
from common.synthesis.decoy import decoy_inpainting
from common.synthesis.examples import ExampleShape, InsertionBatch, draw_examples, slice_examples
from common.synthesis.insertion import compose, insert
from common.synthesis.masks import Deformation
from common.synthesis.public_masks import PublicMasks
from common.synthesis.sources import InsertionSource
from common.synthesis.surroundings import start_of_fill
from common.training.cgan_config import Config
from common.training.diffaugment import Augmentation, diffaugment
from common.training.gan import grey
from common.training.kinds import PairedTrainer, Reconstruction, SyntheticSlices
from common.training.patients import PatientDraw
from common.training.pix2pix import Pix2PixTrainer
from common.training.shares import counts_of_a_share
from common.training.trainer import Contributor

__all__ = ["Config", "InsertionBatch", "Trainer"]

CONDITION_CHANNELS = len(LESION_LABELS) + 1 + CONDITION_SIZE
"""Of labels, region, organ and contrasts."""


class Trainer(PairedTrainer[InsertionBatch], Pix2PixTrainer[InsertionBatch]):
    """Trains the pair at one site and inserts tumours there."""

    family = "cgan"
    config: Config

    @classmethod
    def recipes(cls, config: Config, *, size: int, channels: int) -> dict[str, Recipe]:
        """The U-Net that fills regions."""
        inside, around = channels + CONDITION_CHANNELS + 1, config.init_from_context
        blanked = "start_of_fill(slice, region)" if around else "-1, as if their grey values were 0"
        parts = (
            f"joined along the channels: the slice in [-1, 1], the region's pixels set to {blanked} "
            f"({channels}); one_hot_labels(label map wanted) ({len(LESION_LABELS)}); the region, 1 inside (1); "
            f"condition_maps(code, region) ({CONDITION_SIZE}); normal noise times {config.noise:g} inside the "
            "region (1)"
        )
        recipe = Recipe(
            UNet,
            {
                "in_channels": inside,
                "out_channels": channels,
                "width": config.width,
                "depth": config.depth,
                "norm": config.norm,
                "code_size": CONDITION_SIZE,
            },
            task="Fills a blanked region of a slice, with a tumour of the wanted shape or without one. Only the region "
            "of its output counts; around it the slice stays what it was.",
            inputs=(Port(name="x", shape=f"(B, {inside}, H, W)", meaning=parts), CODE),
            output=output_port(channels, value="output + atanh(start_of_fill(slice, region))" if around else "output"),
            companions=(
                *(condition_code, condition_maps, one_hot_labels, grey_values),
                *((start_of_fill,) if around else ()),
            ),
        )
        return {"generator": recipe}

    @property
    def judged_channels(self) -> int:
        """An image's and its condition's."""
        return self.channels + CONDITION_CHANNELS

    def set_up(self, weights: WeightsConfig | None) -> None:
        """The losses, and the shape of the examples."""
        super().set_up(weights)
        self.window = 0 if self.config.crop >= self.image.size else self.config.crop
        self.margins = (self.config.margins[0], self.config.margins[1])

    def build_optimiser(self, parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        """Adam in one kernel."""
        betas = (self.config.betas[0], self.config.betas[1])
        return torch.optim.Adam(parameters, lr=rate, betas=betas, fused=True)

    # ------------------------------------------------------------------ examples

    @classmethod
    def check_slices(cls, config: Config, slices: Slices) -> None:
        """Raises ``DataError`` for too few slices with a tumour or without one, or if no mask fits into the latter."""
        source = InsertionSource(slices, max(1, config.min_slices))
        _ = source.places(
            config.batch_size, Deformation(inset=config.margins[1]), torch_generator(Label.CGAN, Label.CHECK)
        )

    def batches(self, slices: Slices, count: int, seed: int) -> Iterator[InsertionBatch]:
        """``count`` batches; in each, ``healthy_share`` of the examples blank a healthy region without labels.

        Raises:
            DataError: if the site has too few slices with a tumour, or without one.
        """
        c = self.config
        source = self._source(slices)
        shape = ExampleShape(self.window, c.jitter, self.margins, c.brightness, c.diffaugment)
        controls = counts_of_a_share(c.batch_size, c.healthy_share, count, seed)
        return (
            draw_examples(
                source, shape, c.batch_size - number, number, torch_generator(seed, Label.CGAN, Label.BATCH, i)
            )
            for i, number in enumerate(controls)
        )

    def _source(self, slices: Slices) -> InsertionSource:
        masks = PublicMasks(slices) if self.public_masks else None
        return InsertionSource(slices, self.config.min_slices, masks)

    # ------------------------------------------------------------------ training

    def make(self, batch: InsertionBatch) -> Tensor:
        """(B, C, h, w): the examples with their regions generated."""
        images, weight = batch.images.to(self.device), self._weight(batch)
        asked = self._condition(batch.labels.to(self.device), weight, batch.condition)
        code, noise = batch.condition.to(self.device), batch.noise.to(self.device)
        return compose(
            self._generate(self.generator, images, weight, asked, code, noise), images, batch.region.to(self.device)
        )

    def discriminator_losses(self, batch: InsertionBatch, made: Tensor) -> dict[str, Tensor]:
        """Each loss of the discriminator, and their weighted ``total``."""
        c = self.config
        asked, counted = self._asked(batch)
        real, fake = (_shown(images, batch.augmentation) for images in (batch.images.to(self.device), made))
        real_logits, fake_logits = self.judge(torch.cat([real, fake]), torch.cat([asked, asked])).chunk(2)
        losses = {"discriminator": self.adversarial.discriminator(real_logits, fake_logits, counted)}
        losses["total"] = losses["discriminator"]
        if c.gradient_penalty > 0:
            losses["gradient_penalty"] = gradient_penalty(
                lambda x: self.discriminator(torch.cat([x * 2 - 1, asked], 1)), real, fake, batch.mixing
            )
            losses["total"] = losses["total"] + c.gradient_penalty * losses["gradient_penalty"]
        return losses

    def generator_losses(self, batch: InsertionBatch, made: Tensor) -> dict[str, Tensor]:
        """Each loss of the generator, and their weighted ``total``."""
        asked, counted = self._asked(batch)
        images = batch.images.to(self.device)
        judged = self.judge(_shown(made, batch.augmentation), asked)
        l1 = weighted_mean((made - images).abs().mean(1, keepdim=True), self._weight(batch))
        return self.weigh(self.adversarial.generator(judged, counted), l1, made, images)

    def _weight(self, batch: InsertionBatch) -> Tensor:
        return batch.region.to(self.device).unsqueeze(1).to(batch.images.dtype)

    def _asked(self, batch: InsertionBatch) -> tuple[Tensor, Tensor]:
        """The condition as the discriminator sees it, and where its logits count.

        Both move with the image that they speak of.
        """
        weight = self._weight(batch)
        asked = self._condition(batch.labels.to(self.device), weight, batch.condition)
        if batch.augmentation is None:
            return asked, weight
        places = batch.augmentation.of_places()
        return diffaugment(asked, places), diffaugment(weight, places)

    def averaging_weights(self, network: str, sites: Mapping[str, Contributor]) -> dict[str, float]:
        """By examples, or with ``balance_organs`` by examples within an organ and all organs equally."""
        by_examples = super().averaging_weights(network, sites)
        if not self.config.balance_organs:
            return by_examples
        totals: dict[str, float] = defaultdict(float)
        for site, one in sites.items():
            totals[one.view.organ] += by_examples[site]
        return {site: by_examples[site] / max(totals[one.view.organ], 1) for site, one in sites.items()}

    def tune(self, slices: Slices, seed: int) -> dict[str, float]:
        """``finetune_steps`` more steps with this site's slices, the rates falling anew; the mean of each loss.

        The generator of all sites becomes this site's own (FedAvg with fine-tuning, e.g. Wang et al. 2019).
        """
        steps = self.config.finetune_steps
        self.schedule = replace(self.schedule, decay_steps=steps)
        return self.train(self.batches(slices, steps, seed)) if steps else {}

    # ------------------------------------------------------------------ one patient

    def patient_examples(self, draw: PatientDraw, generator: torch.Generator) -> InsertionBatch:
        """One example a slice: its lesion blanked, or where it has none a region of a public shape, without labels."""
        c = self.config
        return slice_examples(draw, ExampleShape(self.window, c.jitter, self.margins, c.brightness), generator)

    # ------------------------------------------------------------------ networks

    def _condition(self, labels: Tensor, weight: Tensor, code: Tensor) -> Tensor:
        return torch.cat([one_hot_labels(labels).to(weight), weight, condition_maps(code, weight)], dim=1)

    def _generate(
        self, network: nn.Module, images: Tensor, weight: Tensor, condition: Tensor, code: Tensor, noise: Tensor
    ) -> Tensor:
        blanked = (images * (1 - weight)) * 2 - 1
        start = start_of_fill(images, weight) if self.config.init_from_context else torch.zeros_like(blanked)
        if self.config.init_from_context:
            blanked = torch.where(weight > 0, start, blanked)
        inputs = torch.cat([blanked, condition, self.config.noise * noise * weight], dim=1)
        return grey(self.run(network, inputs, code) + torch.atanh(start))

    # ------------------------------------------------------------------ images

    def fill(
        self, images: Tensor, labels: Tensor, region: Tensor, condition: Tensor, generator: torch.Generator
    ) -> Tensor:
        """(N, C, H, W) on the CPU: ``images`` with ``region`` (N, H, W) generated from ``labels`` (N, H, W).

        By the averaged generator, if ``ema`` is on. Pixels outside the region are untouched. A region larger than the
        training crop gets a larger window.
        """
        noise = torch.randn(len(images), 1, *images.shape[-2:], generator=generator)
        result = images.clone()
        filler = self.averaged().eval()
        sizes = window_sizes(region, self.window, context=4, multiple=2**self.config.depth)
        with torch.no_grad():
            for size, chosen in groups_of(sizes, most=32):
                windows = windows_around(region[chosen], size)
                image, weight = windows.cut(images[chosen]), windows.cut(region[chosen]).unsqueeze(1).float()
                asked = self._condition(windows.cut(labels[chosen]), weight, condition)
                inputs = (image, weight, asked, condition, windows.cut(noise[chosen]))
                made = self._generate(filler, *(one.to(self.device) for one in inputs))
                result[chosen] = insert(made.cpu(), windows, images[chosen], region[chosen])
        return result

    def reconstruct(self, batch: SliceBatch, condition: Tensor, seed: int) -> Reconstruction:
        """The slices of ``batch`` that hold a tumour, blanked with the mean margin and made again."""
        chosen = (batch.tumour_pixels() > 0).nonzero().squeeze(1)
        images, labels, foreground = batch.images[chosen], batch.labels[chosen], batch.foreground[chosen]
        margin = torch.full((len(chosen),), sum(self.margins) // 2)
        region = blanked_region(labels, foreground, margin)
        made = self.fill(images, labels, region, condition, torch_generator(seed, Label.CGAN, Label.RECONSTRUCT))
        return Reconstruction(made, images, region)

    def synthesise(self, slices: Slices, count: int, seed: int) -> SyntheticSlices:
        """Tumours inserted into healthy slices, and the same regions of the same slices filled without one.

        The first half of the result are the positives. For an odd ``count`` there is one positive more.

        Raises:
            DataError: if the site has too few slices with a tumour, or without one.
        """
        c = self.config
        generator = torch_generator(seed, Label.CGAN, Label.SYNTHESISE)
        tumours, negatives = count - count // 2, count // 2
        scale = (c.lesion_scale[0], c.lesion_scale[1])
        source, deformation = self._source(slices), Deformation(scale=scale, inset=self.margins[1])
        places = source.places(tumours, deformation, generator)
        masks, target = places.placed.labels, places.target
        region = blanked_region(masks, target.foreground, draw_margins(tumours, self.margins, generator))
        weakened = c.lesion_contrast != [1.0, 1.0]
        # A lesion is made weaker or stronger beside the same place without one, so that each positive needs a negative.
        beside = tumours if weakened else negatives
        both = torch.cat([torch.arange(tumours), torch.arange(beside)])
        labels = torch.cat([masks, torch.zeros_like(masks[:beside])])
        images = self.fill(target.images[both], labels, region[both], slices.condition(), generator)
        if weakened:
            positives, without = images[:tumours], images[tumours:]
            low, high = c.lesion_contrast
            factor = low + (high - low) * torch.rand(tumours, 1, 1, 1, generator=generator)
            positives = (without + factor * (positives - without)).clamp(0, 1)
            images = torch.cat([positives, without[:negatives]])
        made = places.together(images, count)
        if not c.decoy_inpainting:
            return made

        def fill(images: Tensor, labels: Tensor, region: Tensor) -> Tensor:
            return self.fill(images, labels, region, slices.condition(), generator)

        return decoy_inpainting(made, slices, source.bank, fill, self.margins, deformation, generator)


def _shown(images: Tensor, augmentation: Augmentation | None) -> Tensor:
    return images if augmentation is None else diffaugment(images, augmentation)
