"""Features for Fréchet distances, and the name that a distance measured with them may carry."""

import hashlib
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from common.errors import ConfigError
from common.features.efficientnet import efficientnet_lite0
from common.features.frozen import FrozenNetwork, resized
from common.features.inception import fid_inception
from common.study.experiment import WeightsConfig
from common.study.weights import resolve_weights

BATCH = 4
"""Images at once on a CPU, where the maps of a few stay in its caches."""

GPU_BATCH = 32


class FeatureExtractor(Protocol):
    """What the coordinator's scoring needs to know of a network."""

    @property
    def name(self) -> str:
        """The network, e.g. ``EffLite0``."""
        ...

    @property
    def distance_name(self) -> str:
        """What a Fréchet distance of these features is called: ``FID`` only with the standard Inception weights."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of network and weights, for caches of features."""
        ...

    def features(self, images: Tensor) -> Tensor:
        """(B, D) float32 on the CPU, from images (B, C, H, W) in [0, 1].

        The network sees each contrast as a grey image; their features stand side by side, D = C * (features of one).
        """
        ...


class NetworkFeatures:
    """A frozen network as a :class:`FeatureExtractor`, in small batches."""

    def __init__(
        self,
        network: FrozenNetwork,
        *,
        name: str,
        distance_name: str,
        size: int,
        device: torch.device = torch.device("cpu"),  # noqa: B008 - immutable
    ) -> None:
        self.name = name
        self.distance_name = distance_name
        self.size = size
        self.device = device
        self.network = network.to(device)
        digest = hashlib.sha256(f"{name} {size}".encode())
        for key, tensor in sorted(network.state_dict().items()):
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        self.fingerprint = digest.hexdigest()

    def features(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            at_once = BATCH if self.device.type == "cpu" else GPU_BATCH
            rows = [self._contrasts(batch) for batch in torch.split(images, at_once)]
        return torch.cat(rows).clone()

    def _contrasts(self, images: Tensor) -> Tensor:
        images = images.to(self.device, torch.float32).clamp(0, 1)
        contrasts = [self.network(resized(images[:, [c]], self.size)) for c in range(images.shape[1])]
        return torch.cat(contrasts, dim=1).float().cpu()


def _efficientnet(_: WeightsConfig, device: torch.device) -> FeatureExtractor:
    return NetworkFeatures(efficientnet_lite0(), name="EffLite0", distance_name="FD-EffLite0", size=224, device=device)


def _inception(weights: WeightsConfig, device: torch.device) -> FeatureExtractor:
    network = fid_inception(resolve_weights(weights, ["fid_inception"])["fid_inception"])
    return NetworkFeatures(network, name="InceptionV3", distance_name="FID", size=299, device=device)


EXTRACTORS: dict[str, Callable[[WeightsConfig, torch.device], FeatureExtractor]] = {
    "efficientnet_lite0": _efficientnet,
    "inception_v3": _inception,
}
"""What ``evaluation.features`` may name."""


def feature_extractor(
    name: str,
    weights: WeightsConfig | None = None,
    device: torch.device = torch.device("cpu"),  # noqa: B008 - immutable
) -> FeatureExtractor:
    """The extractor that ``evaluation.features`` names, with the files that ``weights`` names.

    Raises:
        ConfigError: for an unknown name.
        WeightsError: if its weights are missing or do not fit.
    """
    if name not in EXTRACTORS:
        raise ConfigError(f"evaluation.features={name}: known are {', '.join(EXTRACTORS)}")
    return EXTRACTORS[name](weights or WeightsConfig(), device)
