"""Which sizes of a network can be trained on which slices: seen from the numbers alone, before anything is prepared."""

from common.study.allowed import refused
from common.study.experiment import ClassifierConfig, ImageConfig
from common.training.cyclegan_config import Config
from common.training.gan_config import PatchGanConfig, Pix2PixConfig


def window_of(crop: int, image: ImageConfig) -> int:
    """Pixels along each side of what the networks train on.

    >>> window_of(0, ImageConfig(size=64)), window_of(32, ImageConfig(size=64)), window_of(96, ImageConfig(size=64))
    (64, 32, 64)
    """
    return min(crop or image.size, image.size)


def require_unet(key: str, config: Pix2PixConfig, window: int) -> None:
    """Refuses a U-Net that halves its window more often than it can.

    Raises:
        ConfigError: naming the key and the value.
    """
    _require_pixels(f"{key}.depth", config.depth, 2**config.depth, window, key)


def require_patches(key: str, config: PatchGanConfig, window: int) -> None:
    """Refuses a PatchGAN of whose maps too little is left to be normalised: three pixels before the last layer.

    Raises:
        ConfigError: naming the key and the value.
    """
    _require_pixels(
        f"{key}.discriminator_layers", config.discriminator_layers, 3 * 2**config.discriminator_layers, window, key
    )


def require_halvings(key: str, config: Config, window: int, image: ImageConfig) -> None:
    """Refuses ResNet generators whose halvings do not come out even on windows or on whole slices.

    Raises:
        ConfigError: naming the key and the value.
    """
    multiple = 2**config.downsamplings
    _require_pixels(f"{key}.downsamplings", config.downsamplings, max(4, 2 * multiple), window, key)
    for name, side in ((f"{key}.crop", config.crop), ("image.size", image.size)):
        if side % multiple:
            raise refused(
                name, side, f"must be a multiple of {multiple} with {key}.downsamplings={config.downsamplings}"
            )


def require_perceptual(key: str, weight: float, window: int) -> None:
    """Refuses windows on which the networks of perceptual losses have no maps.

    Raises:
        ConfigError: naming the key and the value.
    """
    if weight > 0:
        _require_pixels(f"{key}.perceptual_weight", weight, 8, window, key)


def require_classifier(config: ClassifierConfig, image: ImageConfig) -> None:
    """Refuses a ResNet-50 that would normalise a single value: its last maps have a pixel for each 32 of a slice.

    Raises:
        ConfigError: naming the key and the value.
    """
    if config.network == "resnet50" and config.batch_size == 1 and image.size // 32 == 1:
        raise refused(
            "classifier.batch_size",
            config.batch_size,
            f"must be at least 2 with classifier.network=resnet50 and image.size={image.size}: its last maps have one "
            "pixel there, and a single value cannot be normalised",
        )


def _require_pixels(name: str, value: object, least: int, window: int, key: str) -> None:
    if window < least:
        raise refused(
            name,
            value,
            f"needs slices and crops of at least {least} pixels, and here they have {window}: lower it, or "
            f"raise {key}.crop (0: the whole slice) or image.size",
        )
