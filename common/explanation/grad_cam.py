"""Where a classifier looks: Grad-CAM, and the share of it that lies on the lesion.

A map has one value a cell of the classifier's last feature maps: 8 x 8 pixels of a slice for the small residual
network, 32 x 32 for ResNet-50. It says no more about a place than that, so the lesion is widened by half a cell before
the two are compared, and the share is told beside the one that a map spread evenly over the body would have. A cell
sees more than its own pixels, and a network that pools over all cells need not answer in the cell of the lesion:
trained ones were found to answer a cell beside it. The share is therefore rather too low than too high.
"""

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.visualize.class_activation_maps import GradCAM
from torch import Tensor, nn

from common.figures.figure import Figure
from common.imaging.slices import lesion_mask
from common.metrics.bootstrap import Estimate, Floats, paired_difference
from common.networks.classifier import TumourClassifier
from common.synthesis.masks import dilate

PART = 32
"""Slices whose gradients are taken at once."""


class _Maps(nn.Module):
    """The last feature maps as a layer of their own, whatever the classifier builds them from."""

    def __init__(self, classifier: TumourClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier.maps(x)


class _OneColumn(nn.Module):
    """The classifier with its logit as a column (B, 1): MONAI takes the score of a class from the second axis."""

    def __init__(self, classifier: TumourClassifier) -> None:
        super().__init__()
        self.maps = _Maps(classifier)

    def forward(self, x: Tensor) -> Tensor:
        classifier = self.maps.classifier
        logits: Tensor = classifier.head(classifier.pooled(self.maps(x)))
        return logits


def attention(classifier: TumourClassifier, images: Tensor) -> Tensor:
    """Grad-CAM for the class "tumour": which parts of each slice raise its logit.

    Each map is divided by its own maximum, so that maps are compared by where they lie, never by how strong they are.
    Grad-CAM gives each feature map one weight, its mean gradient. For a head that sees means alone that is exact; for
    one that sees maxima too it is an approximation, and the map of a slice may be zero everywhere although the slice is
    called a tumour.

    Args:
        classifier: left as it is; a copy of it is differentiated.
        images: (N, C, H, W) in [0, 1].

    Returns:
        (N, H, W) float32 on the CPU, 0 to 1, the feature maps' grid enlarged bilinearly.

    Source: Selvaraju et al. 2017.
    """
    # MONAI leaves its hooks on the network and its gradients in the parameters.
    network = _OneColumn(copy.deepcopy(classifier)).eval().requires_grad_(True)
    # Its own scaling would stretch each map's smallest value to 1 and its largest to 0.
    cam = GradCAM(network, "maps", postprocessing=lambda maps: maps)
    device = next(classifier.parameters()).device
    found = [torch.zeros(0, *images.shape[-2:])]
    for start in range(0, len(images), PART):
        with torch.enable_grad():
            # Of an input without a gradient torch warns, because MONAI's hooks see none.
            seen = images[start : start + PART].detach().to(device).requires_grad_()
            # With one logit there is no other class to choose: index 0 is the tumour, also where it is not called.
            maps = cam(seen, class_idx=0)
        found.append(maps.detach().squeeze(1).float().cpu())
    maps = torch.cat(found)
    strongest = maps.flatten(1).amax(1).view(-1, 1, 1) if len(maps) else maps
    return torch.where(strongest > 0, maps / strongest, torch.zeros_like(maps))


def cell_size(classifier: TumourClassifier, images: Tensor) -> int:
    """Pixels along one side of a cell of the map, for slices such as ``images`` (N, C, H, W), of which there is one.

    >>> from common.networks.classifier import SmallResNet
    >>> cell_size(SmallResNet(1), torch.zeros(1, 1, 64, 64))
    8
    """
    with torch.no_grad():
        maps = classifier.maps(images[:1].to(next(classifier.parameters()).device))
    return -(-int(images.shape[-1]) // int(maps.shape[-1]))


def lesion_share(maps: Tensor, labels: Tensor, foreground: Tensor, reach: int) -> Tensor:
    """The share of each map's sum that lies on the lesion, widened by ``reach`` pixels inside the foreground.

    What lies outside the body counts as not on the lesion: a classifier that looks there loses for it.

    Args:
        maps: (N, H, W), at least 0.
        labels: (N, H, W) uint8.
        foreground: (N, H, W) bool.
        reach: half a cell of the map, in pixels, see :func:`cell_size`.

    Returns:
        (N,) float64, 0 to 1. NaN for a map of zeros and for a slice without a lesion inside the foreground.

    Raises:
        ValueError: if shapes differ.
    """
    lesion = _widened(maps, labels, foreground, reach)
    weight = maps.double()
    total, held = weight.sum((1, 2)), lesion.any(2).any(1)
    share = torch.where(lesion, weight, 0).sum((1, 2)) / total
    return torch.where(held & (total > 0), share, torch.nan)


def chance_share(labels: Tensor, foreground: Tensor, reach: int) -> Tensor:
    """(N,) float64: :func:`lesion_share` of a map that is even over the foreground, which is the area's own share."""
    return lesion_share(foreground.float(), labels, foreground, reach)


def _widened(maps: Tensor, labels: Tensor, foreground: Tensor, reach: int) -> Tensor:
    if not maps.shape == labels.shape == foreground.shape or maps.ndim != 3:
        raise ValueError(
            f"expected three equal shapes (N, H, W), got {tuple(maps.shape)}, {tuple(labels.shape)} and "
            f"{tuple(foreground.shape)}"
        )
    return dilate(lesion_mask(labels), reach) & foreground


def attention_scores(
    maps: Tensor,
    labels: Tensor,
    foreground: Tensor,
    patient: npt.ArrayLike,
    *,
    reach: int,
    samples: int,
    seed: int,
    min_cell: int,
) -> list[Figure]:
    """:func:`lesion_share`, its chance level and their paired difference: means over patients of each one's mean, with
    bootstrap intervals over patients. Slices with a lesion whose map is zero everywhere are left out of all three.

    Args:
        maps, labels, foreground, reach: as for :func:`lesion_share`; slices without a lesion are passed over.
        patient: (N,) whose slice it is.
        samples: resamples.
        seed: the same seed gives the same intervals, drawn alike for the three figures.
        min_cell: fewest patients for an interval.

    Raises:
        ValueError: if shapes differ.
    """
    share = lesion_share(maps, labels, foreground, reach).numpy()
    chance = chance_share(labels, foreground, reach).numpy()
    names = np.asarray(patient)
    held, seen = ~np.isnan(chance), ~np.isnan(share)
    share, chance, names = share[seen], chance[seen], names[seen]
    nothing = np.zeros_like(share)

    def over_patients(a: Floats, b: Floats) -> Estimate:
        return paired_difference(a, b, names, samples, seed, min_cell)

    behind: dict[str, Any] = {
        "n": len(names),
        "patients": len(np.unique(names)),
        "left_out": int((held & ~seen).sum()),
        "conditions": {"reach": reach},
    }
    return [
        over_patients(share, nothing).figure("attention", **behind),
        over_patients(chance, nothing).figure("attention", "chance", **behind),
        over_patients(share, chance).figure("attention", "", "chance", **behind),
    ]
