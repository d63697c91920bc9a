"""Files of pre-trained weights: found once, at start, and checked before anything else runs.

An entry of :class:`~common.study.config.WeightsConfig` is a path, the word ``download``, or null. A path holds a state
dict written by ``torch.save`` (read with ``weights_only``, so that a file cannot run code) or by safetensors.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from common.errors import WeightsError
from common.features.inception_architecture import fid_inception_network
from common.study.experiment import Experiment, WeightsConfig
from common.study.models import model_of

FID_INCEPTION_URL = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
)


@dataclass(frozen=True)
class KnownWeights:
    """One file that a study may need.

    Attributes:
        build: the network that the file must fit.
        url: where its publisher offers it; the end of the file's name is the start of its SHA-256.
        purpose: what needs it.
        offline: what a study can do without it.
    """

    build: Callable[[], nn.Module]
    url: str
    purpose: str
    offline: str


KNOWN: dict[str, KnownWeights] = {
    "imagenet_resnet50": KnownWeights(
        lambda: torchvision.models.resnet50(weights=None),
        torchvision.models.ResNet50_Weights.IMAGENET1K_V1.url,
        "the pre-trained ResNet-50 classifier",
        "classifier=small_resnet, which learns from scratch (preset=demo does so)",
    ),
    "vgg19": KnownWeights(
        lambda: torchvision.models.vgg19(weights=None, init_weights=False),
        torchvision.models.VGG19_Weights.IMAGENET1K_V1.url,
        "the VGG19 perceptual loss",
        "EfficientNet-Lite0 for the perceptual loss; its weights come with its package (preset=demo does so)",
    ),
    "fid_inception": KnownWeights(
        fid_inception_network,
        FID_INCEPTION_URL,
        "the FID",
        "evaluation.features=efficientnet_lite0, whose weights come with its package (preset=demo does so)",
    ),
}


def resolve_weights(weights: WeightsConfig, needed: Iterable[str]) -> dict[str, Path]:
    """The file of each name in ``needed`` (out of ``KNOWN``), downloaded if asked for, each checked to fit.

    Raises:
        WeightsError: naming the option, the file and the offline alternative, if a file is not configured, missing,
            unreadable, cannot be downloaded or belongs to another network.
    """
    found: dict[str, Path] = {}
    for name in sorted(set(needed)):
        value = getattr(weights, name)
        if value is None:
            raise WeightsError(f"{KNOWN[name].purpose} needs weights.{name}: {_ways_out(name)}")
        path = _download(name) if value == "download" else Path(value).expanduser()
        with torch.device("meta"):
            network = KNOWN[name].build()
        _check_fit(network, _read(name, path), name, path)
        found[name] = path
    return found


def needed_weights(experiment: Experiment) -> set[str]:
    """The files that a study with this configuration opens; check them at start with :func:`resolve_weights`.

    Raises:
        ConfigError: if a model is unknown.
    """
    needed = set()
    if experiment.classifier.network == "resnet50" and experiment.classifier.pretrained:
        needed.add("imagenet_resnet50")
    if experiment.evaluation.features == "inception_v3":
        needed.add("fid_inception")
    for name in experiment.models:
        config = model_of(experiment, name).config
        if getattr(config, "perceptual", None) == "vgg19" and getattr(config, "perceptual_weight", 1.0) > 0:
            needed.add("vgg19")
    return needed


def read_weights(network: nn.Module, name: str, path: Path) -> dict[str, Tensor]:
    """The state dict at ``path``, complete for ``network`` and in its types; ``network`` may be on the meta device.

    Args:
        network: what the file must fit.
        name: which file it is (out of ``KNOWN``), for the error's text.
        path: where it is.

    Raises:
        WeightsError: if the file is missing, unreadable or belongs to another network.
    """
    state = _read(name, path)
    _check_fit(network, state, name, path)
    own = network.state_dict()
    return {
        key: state[key].to(value.dtype) if key in state else torch.zeros(value.shape, dtype=value.dtype)
        for key, value in own.items()
    }


def load_weights(network: nn.Module, name: str, path: Path) -> None:
    """Fills ``network`` with :func:`read_weights`; raises what it raises."""
    network.load_state_dict(read_weights(network, name, path))


def _ways_out(name: str) -> str:
    return f"give weights.{name}=<file> or weights.{name}=download; offline: {KNOWN[name].offline}"


def _read(name: str, path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"weights.{name}={path}: there is no such file; {_ways_out(name)}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both readers raise nearly anything over a file that is none
        raise WeightsError(
            f"weights.{name}={path}: not a file of weights (a state dict saved by torch or safetensors is expected); "
            f"{_ways_out(name)}"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"weights.{name}={path}: holds something else than a state dict; {_ways_out(name)}")
    return dict(state)


def _check_fit(network: nn.Module, state: Mapping[str, Tensor], name: str, path: Path) -> None:
    """The batch counter of a normalisation layer may be absent: it has no part in evaluation, older files lack it."""
    own = network.state_dict()
    optional = {key for key in own if key.endswith("num_batches_tracked")}
    odd = sorted((set(own) ^ set(state)) - (optional - set(state)))
    shapes = [key for key in own if key in state and own[key].shape != state[key].shape]
    if odd:
        cause = f"its entries are not this network's (first difference: {odd[0]}, {len(odd)} in all)"
    elif shapes:
        key = shapes[0]
        cause = f"{key} has shape {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
    else:
        return
    raise WeightsError(f"weights.{name}={path}: {cause}; {_ways_out(name)}")


def _download(name: str) -> Path:
    url = KNOWN[name].url
    try:
        torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=sys.stderr.isatty(), check_hash=True, weights_only=True
        )
    except Exception as error:  # no network, no such host, another hash, no weights
        raise WeightsError(
            f"weights.{name}=download: could not fetch {url} ({error}); fetch it elsewhere and give "
            f"weights.{name}=<file>; offline: {KNOWN[name].offline}"
        ) from error
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
