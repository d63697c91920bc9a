"""The gradient penalty (Gulrajani et al. 2017): keeps a critic close to 1-Lipschitz between real and generated."""

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, generated: Tensor, mixing: Tensor, target: float = 1.0
) -> Tensor:
    """Mean over the batch of ``(norm of the critic's gradient at a mixed image - target)**2``.

    Always computed in float32: the second derivative overflows or vanishes in half precision.

    Args:
        critic: logits of any shape (B, ...) from images; bind a condition beforehand.
        real, generated: (B, C, H, W).
        mixing: (B,) in [0, 1], the share of the real image in each mixture. Passed in, so that a seed fixes it.
        target: the norm that is not penalised; 1 in the paper.

    Source: Gulrajani et al. 2017, eq. 3, with the norm over all pixels of an image. For a patch critic the logits are
    averaged over the patches first, so that the penalty does not grow with their number.
    """
    with torch.autocast(real.device.type, enabled=False):
        share = mixing.to(real.device, torch.float32).view(-1, 1, 1, 1)
        mixed = (share * real.detach().float() + (1 - share) * generated.detach().float()).requires_grad_(True)
        score = critic(mixed).float().reshape(len(real), -1).mean(1).sum()
        (gradient,) = torch.autograd.grad(score, mixed, create_graph=True)
        # The small constant keeps the square root's derivative finite where the gradient is exactly zero.
        norm = (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()
        return (norm - target).square().mean()
