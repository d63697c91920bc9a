"""Where in an organ a lesion can lie: as a whole, by its own shape, and rather where the real one lay in its own."""

import torch
from torch import Tensor

_NEAR = 0.12
"""Standard deviation of the distance from where the lesion lay, as a share of the organ's size."""
_ANYWHERE = 1e-6
"""Weight of a place far from there, which is taken where no nearer one fits."""
_TOGETHER = 32
"""Slices that are tried at once: some maps of four times their size are held for each."""


def shifts_that_fit(mask: Tensor, room: Tensor) -> Tensor:
    """(N, 2H, 2W) bool: by which rows and columns (negative ones count from the end) a mask lies wholly in its room.

    Args:
        mask, room: (N, H, W) bool. What lies outside the picture is no room.
    """
    height, width = mask.shape[1:]
    size = (2 * height, 2 * width)
    outside = torch.ones(len(mask), *size)
    outside[:, :height, :width] = (~room).float()
    # How many pixels of the mask lie outside, for every shift at once.
    overlap: Tensor = torch.fft.irfft2(torch.fft.rfft2(outside) * torch.fft.rfft2(mask.float(), s=size).conj(), s=size)
    return overlap < 0.5


def draw_shifts(
    mask: Tensor, room: Tensor, centre: Tensor, wanted: Tensor | None, inner: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A shift of each mask that brings it wholly into its room.

    Args:
        mask, room: (N, H, W) bool.
        centre: (N, 2) row and column of each mask's centre.
        wanted: (N, 2) row and column that the centre is rather near to; None draws evenly.
        inner: (N, H, W) bool, where the centre lies if there is such a place.
        generator: CPU generator.

    Returns:
        (N, 2) int64 rows and columns, and (N,) bool whether there is any such shift.
    """
    shifts, fits = [], []
    for start in range(0, len(mask), _TOGETHER):
        some = slice(start, start + _TOGETHER)
        near = None if wanted is None else wanted[some]
        shift, fit = _draw(mask[some], room[some], centre[some], near, inner[some], generator)
        shifts.append(shift)
        fits.append(fit)
    return torch.cat(shifts), torch.cat(fits)


def _draw(
    mask: Tensor, room: Tensor, centre: Tensor, wanted: Tensor | None, inner: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    height, width = mask.shape[1:]
    fit = shifts_that_fit(mask, room)
    rows, columns = (torch.fft.fftfreq(2 * n, 1 / (2 * n)).long() for n in (height, width))
    at_row = (centre[:, :1].round().long() + rows).clamp(0, height - 1)
    at_column = (centre[:, 1:].round().long() + columns).clamp(0, width - 1)
    deep = fit & inner[torch.arange(len(mask)).view(-1, 1, 1), at_row.unsqueeze(2), at_column.unsqueeze(1)]
    fit = torch.where(deep.flatten(1).any(1).view(-1, 1, 1), deep, fit)
    weight = fit.double()
    if wanted is not None:
        scale = _NEAR * room.flatten(1).sum(1).clamp(min=1).double().sqrt()
        away = [
            (centre[:, axis : axis + 1] + one - wanted[:, axis : axis + 1]) for axis, one in enumerate((rows, columns))
        ]
        distance = away[0].unsqueeze(2).square() + away[1].unsqueeze(1).square()
        weight = weight * (torch.exp(-0.5 * distance / scale.view(-1, 1, 1).square()) + _ANYWHERE)
    any_fits = fit.flatten(1).any(1)
    # A draw from nothing is an error; what is drawn for these is not looked at.
    weight = weight.flatten(1) + (~any_fits).double().unsqueeze(1)
    index = torch.multinomial(weight, 1, generator=generator).squeeze(1)
    return torch.stack([rows[index // (2 * width)], columns[index % (2 * width)]], dim=1), any_fits


def moved(maps: Tensor, shift: Tensor) -> Tensor:
    """(N, H, W, ...) maps moved down and right by (N, 2) pixels; what leaves on one side enters on the other."""
    return torch.stack(
        [torch.roll(one, (int(down), int(right)), dims=(0, 1)) for one, (down, right) in zip(maps, shift, strict=True)]
    )
