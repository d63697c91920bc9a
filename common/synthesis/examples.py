"""Training examples of a network that fills a blanked region: real tumours, and healthy regions as the control."""

from dataclasses import dataclass

import torch
from torch import Tensor

from common.synthesis.blanking import blanked_region, draw_margins, windows_around
from common.synthesis.masks import Deformation
from common.synthesis.public_masks import blobs_inside
from common.synthesis.sources import InsertionSource
from common.training.augmentation import random_turns
from common.training.diffaugment import Augmentation, draw_augmentation
from common.training.patients import PatientDraw


@dataclass(frozen=True)
class InsertionBatch:
    """Training examples, cut to the windows.

    Attributes:
        images: (B, C, h, w) float32 in [0, 1], the target.
        labels: (B, h, w) uint8; all 0 where a healthy region is blanked.
        region: (B, h, w) bool, what is blanked.
        noise: (B, 1, h, w) float32.
        mixing: (B,) float32 in [0, 1], for a gradient penalty.
        condition: (K,) organ and contrasts.
        augmentation: done to real and generated images before the discriminator sees them; None for nothing.
    """

    images: Tensor
    labels: Tensor
    region: Tensor
    noise: Tensor
    mixing: Tensor
    condition: Tensor
    augmentation: Augmentation | None = None


@dataclass(frozen=True)
class ExampleShape:
    """How examples are cut and varied.

    Attributes:
        window: pixels along each side of the window, 0 for the whole slice.
        jitter: largest displacement of the window from the region's centre, in pixels.
        margins: smallest and largest margin of the region around the mask, in pixels.
        brightness: largest change of brightness, as a share.
        diffaugment: policy of :mod:`common.training.diffaugment`; empty for none.
    """

    window: int
    jitter: int
    margins: tuple[int, int]
    brightness: float
    diffaugment: str = ""


def draw_examples(
    source: InsertionSource, shape: ExampleShape, tumours: int, controls: int, generator: torch.Generator
) -> InsertionBatch:
    """One batch; all of it follows from the generator's state.

    Args:
        source: where slices and masks come from.
        shape: how examples are cut and varied.
        tumours: how many examples blank a real tumour.
        controls: how many blank a healthy region, with no labels; not 0 as well.
        generator: CPU generator.

    Raises:
        DataError: if no mask fits into some healthy slice.
    """
    parts = []
    if tumours:
        tumour = source.bank.draw(tumours, generator)
        parts.append((tumour.images, tumour.labels, tumour.labels, tumour.foreground))
    if controls:
        control = source.places(controls, Deformation(inset=shape.margins[1]), generator)
        masks = control.placed.labels
        parts.append((control.target.images, torch.zeros_like(masks), masks, control.target.foreground))
    images, labels, masks, foreground = (torch.cat(one) for one in zip(*parts, strict=True))
    return _cut(images, labels, masks, foreground, source.slices.condition(), shape, generator)


def slice_examples(draw: PatientDraw, shape: ExampleShape, generator: torch.Generator) -> InsertionBatch:
    """One example for each slice of one patient; nothing of another patient is in it.

    A slice with a lesion that is large enough has that lesion blanked. In any other a region of a public shape is
    blanked, without labels.

    Args:
        draw: slices of one patient, chosen without a look at their labels.
        shape: its ``diffaugment`` is not looked at.
        generator: CPU generator.
    """
    slices = draw.slices
    held = slices.tumour_pixels() >= max(1, draw.min_tumour_pixels)
    public = blobs_inside(slices.organ, draw.organ, shape.margins[1], generator)
    chosen = held.view(-1, 1, 1)
    labels = torch.where(chosen, slices.labels, torch.zeros_like(slices.labels))
    masks = torch.where(chosen, slices.labels, public)
    return _cut(slices.images, labels, masks, slices.foreground, draw.condition, shape, generator)


def _cut(
    images: Tensor,
    labels: Tensor,
    masks: Tensor,
    foreground: Tensor,
    condition: Tensor,
    shape: ExampleShape,
    generator: torch.Generator,
) -> InsertionBatch:
    """Windows around the masks' regions, turned and brightened."""
    count = len(images)
    region = blanked_region(masks, foreground, draw_margins(count, shape.margins, generator))
    windows = windows_around(region, shape.window, jitter=shape.jitter, generator=generator)
    crops = [windows.cut(maps) for maps in (images, labels, region)]
    images, labels, region = random_turns(crops, generator)
    factor = 1 + shape.brightness * (2 * torch.rand(count, 1, 1, 1, generator=generator) - 1)
    return InsertionBatch(
        images=(images * factor).clamp(0, 1),
        labels=labels,
        region=region,
        noise=torch.randn(count, 1, windows.size, windows.size, generator=generator),
        mixing=torch.rand(count, generator=generator),
        condition=condition,
        augmentation=draw_augmentation(shape.diffaugment, count, windows.size, generator)
        if shape.diffaugment
        else None,
    )
