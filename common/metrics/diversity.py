"""How alike the images of one set are to each other: multi-scale structural similarity over pairs, and mode collapse.

A generator that has collapsed makes one image (or few) again and again, each of which may look perfect. Pairs of its
images are then more alike than pairs of real ones. The black background that medical slices share lifts the figure,
for real and for synthetic images alike: it says something only beside the real images' own.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from common.metrics.similarity import SIGMA, WINDOW
from common.seeding import Label, numpy_generator

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents from the full resolution to 1/16 of it, as in the source."""

RARE = 0.99
"""A synthetic pair is strikingly alike if it is more alike than this share of pairs of blurred real images."""

COLLAPSED = 0.10
"""A generator has collapsed if more than this share of its pairs is strikingly alike."""

BATCH = 64


@dataclass(frozen=True)
class Diversity:
    """Similarity within one set of images; high means little diversity.

    Attributes:
        mean: MS-SSIM, 0 to 1, mean over the pairs.
        spread: its standard deviation over the pairs; 0 for a single pair.
        pairs: how many distinct pairs were compared.
        scales: how many scales the image size allowed; figures over different numbers cannot be compared.
        values: (pairs,) float64, each pair's.
    """

    mean: float
    spread: float
    pairs: int
    scales: int
    values: Tensor = field(repr=False, compare=False)


def scale_count(height: int, width: int) -> int:
    """Scales, at most 5, at the smallest of which the window still fits: 2 at 32 pixels, 3 at 64, 4 at 128, 5 at 256.

    Raises:
        ValueError: if the window does not fit into the image itself.

    >>> [scale_count(size, size) for size in (32, 64, 96, 128, 256)]
    [2, 3, 4, 4, 5]
    """
    side = min(height, width)
    if side < WINDOW:
        raise ValueError(f"images of {(height, width)} are smaller than the window of {WINDOW} pixels")
    return sum(side // 2**scale >= WINDOW for scale in range(len(SCALE_WEIGHTS)))


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale structural similarity of each image of ``a`` to its counterpart in ``b``, data range 1.

    The product over scales of the mean contrast-and-structure term (at the smallest scale, of the whole SSIM), each
    to the power of its weight; from scale to scale images are halved by averaging. The source's five scales need 176
    pixels. Smaller images get fewer (:func:`scale_count`), with the weights of those divided by their sum. A scale
    with a negative mean counts as 0, and so then does the product.

    Args:
        a, b: (B, C, H, W) in [0, 1], H and W at least 11.

    Returns:
        (B,) float64, 0 to 1.

    Raises:
        ValueError: if shapes differ, or an image is smaller than the window.

    Source: Wang, Simoncelli and Bovik 2003; windows at the rim as in torchmetrics, to which this is equal.

    >>> image = torch.rand(2, 1, 32, 32)
    >>> ms_ssim(image, image).round(decimals=6).tolist()
    [1.0, 1.0]
    """
    if a.shape != b.shape or a.ndim != 4:
        raise ValueError(f"expected two equal shapes (B, C, H, W), got {tuple(a.shape)} and {tuple(b.shape)}")
    scales = scale_count(*a.shape[-2:])
    weights = torch.tensor(SCALE_WEIGHTS[:scales], dtype=torch.float64)
    a, b, rim = a.float(), b.float(), WINDOW // 2
    means = []
    for scale in range(scales):
        luminance, structure = _terms(a, b)
        last = scale == scales - 1
        local = luminance * structure if last else structure[..., rim:-rim, rim:-rim]
        means.append(local.flatten(1).mean(1, dtype=torch.float64).clamp(min=0))
        if not last:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return torch.stack(means, dim=1).pow(weights / weights.sum()).prod(1)


def mean_pairwise_ms_ssim(
    images: Tensor, pairs: int, seed: int, patients: npt.NDArray[np.int64] | None = None
) -> Diversity:
    """:func:`ms_ssim` over random distinct pairs of ``images``.

    Args:
        images: (N, C, H, W) in [0, 1]. All N(N-1)/2 pairs are listed before some are drawn: meant for N up to a few
            thousand.
        pairs: how many are drawn; all there are, if fewer.
        seed: the same seed draws the same pairs.
        patients: (N,) whose image each is; only pairs of different patients then count. For real images, because
            neighbouring slices of one patient are almost the same.

    Raises:
        ValueError: if there is no pair, or images are smaller than the window.
    """
    if images.ndim != 4:
        raise ValueError(f"expected images (N, C, H, W), got {tuple(images.shape)}")
    scales = scale_count(*images.shape[-2:])
    first, second = np.triu_indices(len(images), 1)
    if patients is not None:
        if len(patients) != len(images):
            raise ValueError(f"{len(patients)} patients for {len(images)} images")
        apart = patients[first] != patients[second]
        first, second = first[apart], second[apart]
    if not len(first) or pairs < 1:
        raise ValueError("no pair of images to compare: diversity needs two of different patients")
    random = numpy_generator(seed, Label.PAIRS_OF_IMAGES, len(images))
    drawn = torch.from_numpy(np.sort(random.choice(len(first), size=min(pairs, len(first)), replace=False)))
    left, right = torch.from_numpy(first)[drawn], torch.from_numpy(second)[drawn]
    parts = zip(torch.split(left, BATCH), torch.split(right, BATCH), strict=True)
    values = torch.cat([ms_ssim(images[i], images[j]) for i, j in parts])
    spread = float(values.std()) if len(values) > 1 else 0.0
    return Diversity(float(values.mean()), spread, len(values), scales, values)


def strikingly_alike(synthetic: Diversity, blurred_real: Diversity) -> float:
    """The share of synthetic pairs that are more alike than 99% of pairs of blurred real images.

    Below 0.04 for images as diverse as real ones, 1 for a single image again and again. A generator that knows m
    equally frequent images has a share of about 1/m, which the mean over all pairs would hide: ten images that differ
    as real ones do lift a mean of 0.40 to 0.46 only.

    Args:
        synthetic: of the generated images.
        blurred_real: of real images, pairs of different patients, under :func:`~common.metrics.normalised.blurred`.
            Blur alone makes images more alike. Beside sharp real images, blurred ones would pass for a collapse.

    Raises:
        ValueError: if the two were measured over different numbers of scales.
    """
    if synthetic.scales != blurred_real.scales:
        raise ValueError(
            f"MS-SSIM over {synthetic.scales} scales cannot be compared with one over {blurred_real.scales}"
        )
    return float((synthetic.values > blurred_real.values.quantile(RARE)).double().mean())


def has_collapsed(synthetic: Diversity, blurred_real: Diversity) -> bool:
    """Mode collapse: more than one synthetic pair in ten is :func:`strikingly_alike`.

    That is fewer than about ten different images, or images that are all too much alike. It does not see a generator
    that leaves out a part of the real images and varies the rest: recall and coverage
    (:mod:`common.metrics.manifold`) do.
    """
    return strikingly_alike(synthetic, blurred_real) > COLLAPSED


def _terms(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (B, C, H, W) of the luminance term and of the contrast-and-structure term."""
    c1, c2 = 0.01**2, 0.03**2
    mean_a, mean_b, square_a, square_b, product = _local_means(torch.stack([a, b, a * a, b * b, a * b]))
    variance_a = (square_a - mean_a.square()).clamp(min=0)
    variance_b = (square_b - mean_b.square()).clamp(min=0)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    structure = (2 * (product - mean_a * mean_b) + c2) / (variance_a + variance_b + c2)
    return luminance, structure


def _local_means(maps: Tensor) -> Tensor:
    """Means under the Gaussian window, mirrored at the rim; any leading dimensions."""
    offset = torch.arange(WINDOW, dtype=maps.dtype, device=maps.device) - WINDOW // 2
    window = torch.exp(-offset.square() / (2 * SIGMA**2))
    window = window / window.sum()
    flat = F.pad(maps.flatten(0, -3)[:, None], [WINDOW // 2] * 4, mode="reflect")
    smoothed = F.conv2d(F.conv2d(flat, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return smoothed.reshape(maps.shape)
