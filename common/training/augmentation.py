"""Augmentation: small changes of whole slices for the classifier, lossless ones of crops for generators."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def augment_slices(
    images: Tensor,
    generator: torch.Generator,
    *,
    rotation: float = 0.26,
    scale: float = 0.1,
    shift: float = 0.06,
    contrast: float = 0.12,
) -> Tensor:
    """(N, C, H, W) in [0, 1]: each slice flipped left to right or not, turned, scaled, shifted and brightened a little.

    Args:
        images: (N, C, H, W) in [0, 1], background 0.
        generator: CPU generator.
        rotation: largest turn in radians.
        scale: largest change of size, as a share.
        shift: largest displacement, as a share of half the image.
        contrast: largest change of brightness, as a share.
    """
    n = len(images)

    def uniform(size: float) -> Tensor:
        return (2 * torch.rand(n, generator=generator) - 1) * size

    angle, zoom = uniform(rotation), 1 + uniform(scale)
    flip = torch.where(uniform(1) < 0, -1.0, 1.0)
    across, down = uniform(shift), uniform(shift)
    matrix = torch.stack(
        [
            torch.stack([flip * angle.cos() * zoom, -angle.sin() * zoom, across], dim=1),
            torch.stack([flip * angle.sin() * zoom, angle.cos() * zoom, down], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, mode="bilinear", align_corners=False)
    return (moved * (1 + uniform(contrast)).view(n, 1, 1, 1)).clamp(0, 1)


def random_turns(maps: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Each of ``maps`` (N, ..., S, S) with its N squares turned by quarter turns and mirrored, all maps alike.

    No pixel is interpolated, so that a generator does not learn a smoother texture than the images have.
    """
    turns = torch.randint(0, 4, (len(maps[0]),), generator=generator).tolist()
    mirrors = (torch.rand(len(maps[0]), generator=generator) < 0.5).tolist()
    return [
        torch.stack(
            [
                one.rot90(turn, (-2, -1)).flip(-1) if mirror else one.rot90(turn, (-2, -1))
                for one, turn, mirror in zip(each, turns, mirrors, strict=True)
            ]
        )
        for each in maps
    ]


def random_crops(maps: Sequence[Tensor], size: int, flip: float, generator: torch.Generator) -> list[Tensor]:
    """Each of ``maps`` (N, ..., H, W) cut to random squares of ``size`` pixels, mirrored or not, all maps alike.

    Args:
        maps: of the same N, H and W.
        size: side of the squares, at most H and W; whole images if it equals both.
        flip: probability of mirroring left to right.
        generator: CPU generator.
    """
    count, most = len(maps[0]), torch.tensor([side - size for side in maps[0].shape[-2:]])
    corners = (torch.rand(count, 2, generator=generator) * (most + 1)).long().tolist()
    mirrors = (torch.rand(count, generator=generator) < flip).tolist()

    def cut(one: Tensor, corner: list[int], mirror: bool) -> Tensor:
        square = one[..., corner[0] : corner[0] + size, corner[1] : corner[1] + size]
        return square.flip(-1) if mirror else square

    return [torch.stack([cut(*each) for each in zip(one, corners, mirrors, strict=True)]) for one in maps]
