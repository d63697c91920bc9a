"""A Fréchet distance on a scale that can be read: 0 is as good as real images, 1 as bad as blurred ones.

The distance itself depends on the features, on how many images were compared and on the organ. Its floor is what real
images of different patients reach. What a bad value is can be measured too: blurred real images have the right
anatomy, in the right place and in the right proportions over patients, and nothing that a reader could use.

It says how good single images are rather than how many different ones there are. With few images even a generator that
makes one image again and again stays below 1 (0.3 to 0.6 on three organs' 64-pixel slices, n = 30). Read it beside
recall and coverage (:mod:`common.metrics.manifold`) and the collapse flag (:mod:`common.metrics.diversity`).
"""

import math

from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

BLUR = 1 / 32
"""Standard deviation of the Gaussian as a share of the shorter image side: 2 pixels at 64, 8 at 256.

Chosen by eye on brain, lung and liver: at half of it vessels, sulci and small lesions can still be read; at this width
they are gone, and the organ's outline, large masses and grey levels remain; at twice the width the outline goes too."""

CLEARLY_ABOVE = 0.25
"""Blurred images must lie further than the floor by at least this share of it."""


def blurred(images: Tensor) -> Tensor:
    """The images under a Gaussian whose width is a fixed share of the image, ``BLUR``.

    A share and not a number of pixels, so that the same anatomy is lost at every image size.

    Args:
        images: (N, C, H, W) in [0, 1].

    Returns:
        (N, C, H, W) in [0, 1]; mirrored at the rim, cut off at 3 standard deviations.

    >>> import torch
    >>> constant = torch.full((1, 1, 32, 32), 0.25)
    >>> bool(torch.allclose(blurred(constant), constant))
    True
    """
    sigma = BLUR * min(images.shape[-2:])
    made: Tensor = gaussian_blur(images, [2 * max(1, math.ceil(3 * sigma)) + 1] * 2, [sigma, sigma])
    return made


def normalised_distance(distance: float, floor: float, blurred: float) -> float | None:
    """(distance - floor) / (blurred - floor).

    Args:
        distance: of synthetic from real images.
        floor: of real from real images of other patients.
        blurred: of :func:`blurred` real from real images of other patients.
            All three at the same n, with the same features.

    Returns:
        0 as good as real, 1 as bad as blurred real; not bounded: slightly below 0 happens by chance, far above 1 where
        images are worse than blurred. None where blurred images lie no more than a quarter of the floor beyond it:
        the features then cannot tell blurred images from real ones at this n, and the quotient would be noise.

    Raises:
        ValueError: if a distance is negative or not finite.

    >>> normalised_distance(30, 10, 50), normalised_distance(30, 10, 11)
    (0.5, None)
    """
    if not all(math.isfinite(value) and value >= 0 for value in (distance, floor, blurred)):
        raise ValueError(f"expected distances, got {distance}, {floor} and {blurred}")
    if blurred - floor <= CLEARLY_ABOVE * floor:
        return None
    return (distance - floor) / (blurred - floor)
