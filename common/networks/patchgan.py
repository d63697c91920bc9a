"""The PatchGAN discriminator (Isola et al. 2017): one logit for each patch of the image."""

from monai.networks.nets.patchgan_discriminator import PatchDiscriminator
from torch import Tensor, nn

from common.networks.spectral import normalise_spectrally


class PatchGAN(nn.Module):
    """MONAI's patch discriminator with InstanceNorm, returning the logits alone.

    Args:
        in_channels: channels of the image plus those of its condition.
        width: channels after the first convolution (64 in the paper).
        layers: convolutions between the first and the last, all but the last of stride 2. 3 gives the 70x70 patch of
            the paper (2.8 M parameters); 2 suits crops of 32 pixels (34x34 patch).
        spectral_norm: divides every convolution's weights by their largest singular value.

    >>> import torch
    >>> PatchGAN(2, width=8, layers=2)(torch.zeros(3, 2, 32, 32)).shape
    torch.Size([3, 1, 6, 6])
    """

    def __init__(self, in_channels: int, *, width: int = 64, layers: int = 3, spectral_norm: bool = False) -> None:
        super().__init__()
        self.patches = PatchDiscriminator(
            spatial_dims=2,
            channels=width,
            in_channels=in_channels,
            num_layers_d=layers,
            # MONAI's default is BATCH, whose running statistics would mix patients and sites.
            norm=("INSTANCE", {"affine": True}),
        )
        if spectral_norm:
            normalise_spectrally(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, h, w) logits from (B, in_channels, H, W)."""
        # MONAI returns every intermediate map as well.
        logits: Tensor = self.patches(x)[-1]
        return logits
