"""A history of generated images for the discriminator (Shrivastava et al. 2017, section 2.3)."""

import torch
from torch import Tensor


class ImagePool:
    """Hands the discriminator earlier images instead of half of the present ones.

    A discriminator that only sees the newest images forgets what the generator did before, and the two chase each other
    in a circle. Translations of a patient's slices carry the patient's anatomy: the pool stays at its site.

    Args:
        capacity: images kept; 50 in CycleGAN, 0 switches the pool off.

    Raises:
        ValueError: if ``capacity`` is negative.

    >>> pool = ImagePool(2)
    >>> pool.exchange(torch.zeros(3, 1, 4, 4), torch.Generator().manual_seed(0)).shape, len(pool)
    (torch.Size([3, 1, 4, 4]), 2)
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 0:
            raise ValueError(f"a pool holds at least 0 images, got {capacity}")
        self.capacity = capacity
        self._images: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._images)

    def exchange(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(B, C, H, W), detached: what the discriminator is to see in place of ``images`` (B, C, H, W).

        While the pool fills up, every image is kept and returned. Afterwards each image, with probability 1/2, takes
        the place of one from the pool, which is returned instead.

        Args:
            images: as the generator made them.
            generator: CPU generator; two numbers are drawn for each image, used or not.
        """
        images = images.detach()
        if self.capacity == 0:
            return images
        swaps = (torch.rand(len(images), generator=generator) < 0.5).tolist()
        places = torch.randint(self.capacity, (len(images),), generator=generator).tolist()
        shown = []
        for image, swap, place in zip(images, swaps, places, strict=True):
            if len(self._images) < self.capacity:
                self._images.append(image.clone())
                shown.append(image)
            elif swap:
                shown.append(self._images[place])
                self._images[place] = image.clone()
            else:
                shown.append(image)
        return torch.stack(shown)

    def images(self) -> Tensor:
        """(N, C, H, W) on the CPU, in the order in which :meth:`load` takes them back; N is 0 for an empty pool."""
        if not self._images:
            return torch.zeros(0, 0, 0, 0)
        return torch.stack(self._images).cpu()

    def load(self, images: Tensor, device: torch.device | None = None) -> None:
        """Replaces the content by what :meth:`images` gave.

        Raises:
            ValueError: if there are more images than the pool holds.
        """
        if len(images) > self.capacity:
            raise ValueError(f"{len(images)} images for a pool of {self.capacity}")
        self._images = [image.clone().to(device or image.device) for image in images]
