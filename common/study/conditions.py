"""The code that tells one global network which organ and which contrasts it looks at."""

from collections.abc import Sequence

import torch
from torch import Tensor

from common.errors import ConfigError
from common.imaging.names import CONTRASTS, LESION_LABELS, ORGANS

CONDITION_SIZE = len(ORGANS) + len(CONTRASTS)

CODE_GAIN = 10.0
"""The code's weights are learnt this many times as fast as others: few steps of a federated round see each organ."""


def condition_code(organ: str, contrasts: Sequence[str]) -> Tensor:
    """(K,) float32: one-hot organ, then a mark for each contrast present.

    >>> condition_code("brain", ["flair"]).tolist()
    [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]

    Raises:
        ConfigError: for an organ or contrast outside ``ORGANS`` and ``CONTRASTS``.
    """
    code = torch.zeros(CONDITION_SIZE)
    for value, known, kind in ((organ, ORGANS, "organ"), *((c, CONTRASTS, "contrast") for c in contrasts)):
        if value not in known:
            raise ConfigError(f"unknown {kind} {value!r}; known: {', '.join(known)}")
    code[ORGANS.index(organ)] = 1
    for contrast in contrasts:
        code[len(ORGANS) + CONTRASTS.index(contrast)] = 1
    return code


def condition_maps(code: Tensor, like: Tensor) -> Tensor:
    """(B, K, H, W): the code repeated over the pixels of ``like`` (B, ., H, W)."""
    return code.to(like).view(1, -1, 1, 1).expand(len(like), -1, *like.shape[-2:])


def one_hot_labels(labels: Tensor) -> Tensor:
    """(B, 3, H, W) float32 from labels (B, H, W): one channel for each of ``LESION_LABELS``.

    >>> one_hot_labels(torch.tensor([[[0, 4]]], dtype=torch.uint8)).squeeze().tolist()
    [[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    """
    return torch.stack([labels == value for value in LESION_LABELS], dim=1).float()
