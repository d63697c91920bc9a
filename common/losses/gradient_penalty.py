"""The gradient penalty (Gulrajani et al. 2017): keeps a critic close to 1-Lipschitz between real and generated."""

from collections.abc import Callable

import torch
from torch import Tensor

from common.study.precision import full_precision


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, generated: Tensor, mixing: Tensor, target: float = 1.0
) -> Tensor:
    """Mean over the batch of ``(norm of the critic's gradient at a mixed image - target)**2``.

    Never computed in half precision: the second derivative overflows or vanishes there.

    Args:
        critic: logits of any shape (B, ...) from images; bind a condition beforehand.
        real, generated: (B, C, H, W).
        mixing: (B,) in [0, 1], the share of the real image in each mixture. Passed in, so that a seed fixes it.
        target: the norm that is not penalised; 1 in the paper.

    Source: Gulrajani et al. 2017, eq. 3, with the norm over all pixels of an image. For a patch critic the logits are
    averaged over the patches first, so that the penalty does not grow with their number.
    """
    with torch.autocast(real.device.type, enabled=False):
        real, generated = full_precision(real.detach()), full_precision(generated.detach())
        share = mixing.to(real).view(-1, 1, 1, 1)

        def score(mixed: Tensor) -> Tensor:
            return full_precision(critic(mixed)).reshape(len(real), -1).mean(1).sum()

        # A functional gradient, which also goes through torch.func's transformations.
        gradient = torch.func.grad(score)(share * real + (1 - share) * generated)
        # The small constant keeps the square root's derivative finite where the gradient is exactly zero.
        norm = (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()
        penalty: Tensor = (norm - target).square().mean()
        return penalty
