"""How to build the generators of each model family again, and what their inputs mean to somebody without this project.

What is said here is checked when a generator is exported: weights of another shape are refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.conditions import CONDITION_SIZE, condition_code, condition_maps, one_hot_labels
from common.errors import ConfigError
from common.export.card import Port
from common.export.loading import grey_values
from common.export.model import Recipe
from common.imaging.patient import LESION_LABELS
from common.networks.resnet_generator import ResnetGenerator
from common.networks.unet import UNet
from common.networks.wgan import SliceGenerator
from common.synthesis.surroundings import start_of_fill
from common.training.wgan_gp import BACKGROUND


@dataclass(frozen=True)
class FamilyRecipe:
    """One generator of a family.

    Attributes:
        name: of the network in ``Trainer.networks``; one ending in ``_ema`` is an average that may not be there.
        recipe: how to build it.
        task, inputs, output: for the model card.
    """

    name: str
    recipe: Recipe
    task: str
    inputs: tuple[Port, ...]
    output: Port


def family_recipes(family: str, config: Any, *, size: int, channels: int) -> tuple[FamilyRecipe, ...]:
    """The generators that are worth handing on: averaged ones where the model keeps an average.

    Args:
        family: as in ``configs/model``.
        config: the family's ``Config``.
        size: rows and columns of the study's slices.
        channels: contrasts of a slice.

    Raises:
        ConfigError: for a family without an entry here.
    """
    if family not in _FAMILIES:
        raise ConfigError(f"generators of the family {family!r} cannot be exported; known: {', '.join(_FAMILIES)}")
    return _FAMILIES[family](config, size, channels)


_CODE = Port(name="code", shape=f"({CONDITION_SIZE},)", meaning="condition_code(organ, contrasts), for the whole batch")


def _output(channels: int, note: str = "", *, value: str = "output") -> Port:
    meaning = f"grey_values({value}) is the slice, in [0, 1]; a channel a contrast{note}"
    return Port(name="output", shape=f"(B, {channels}, H, W)", meaning=meaning)


def _cgan(config: Any, size: int, channels: int) -> tuple[FamilyRecipe, ...]:
    inside = channels + len(LESION_LABELS) + 1 + CONDITION_SIZE + 1
    around = config.from_surroundings
    recipe = Recipe(
        UNet,
        {
            "in_channels": inside,
            "out_channels": channels,
            "width": config.width,
            "depth": config.depth,
            "norm": config.norm,
            "code_size": CONDITION_SIZE,
        },
        (condition_code, condition_maps, one_hot_labels, grey_values, *((start_of_fill,) if around else ())),
    )
    blanked = "start_of_fill(slice, region)" if around else "-1, as if their grey values were 0"
    parts = (
        f"joined along the channels: the slice in [-1, 1], the region's pixels set to {blanked} "
        f"({channels}); one_hot_labels(label map wanted) ({len(LESION_LABELS)}); the region, 1 inside (1); "
        f"condition_maps(code, region) ({CONDITION_SIZE}); normal noise times {config.noise:g} inside the region (1)"
    )
    return (
        FamilyRecipe(
            name="generator_ema" if config.ema > 0 else "generator",
            recipe=recipe,
            task="Fills a blanked region of a slice, with a tumour of the wanted shape or without one. Only the region "
            "of its output counts; around it the slice stays what it was.",
            inputs=(Port(name="x", shape=f"(B, {inside}, H, W)", meaning=parts), _CODE),
            output=_output(channels, value="output + atanh(start_of_fill(slice, region))" if around else "output"),
        ),
    )


def _wgan_gp(config: Any, size: int, channels: int) -> tuple[FamilyRecipe, ...]:
    recipe = Recipe(
        SliceGenerator,
        {
            "size": size,
            "channels": channels,
            "noise_size": config.noise_size,
            "code_size": 2 + CONDITION_SIZE,
            "width": config.width,
            "norm": config.norm,
        },
        (condition_code, grey_values),
    )
    return (
        FamilyRecipe(
            name="generator_ema" if config.ema > 0 else "generator",
            recipe=recipe,
            task="Makes a whole slice from noise, with a tumour or without one.",
            inputs=(
                Port(name="noise", shape=f"(B, {config.noise_size})", meaning="standard normal"),
                Port(name="grain", shape=f"(B, 1, {size}, {size})", meaning="standard normal"),
                Port(
                    name="code",
                    shape=f"(B, {2 + CONDITION_SIZE})",
                    meaning="1, 0 with a tumour or 0, 1 without one, then condition_code(organ, contrasts)",
                ),
            ),
            output=_output(channels, f"; below {BACKGROUND} is background, to be set to 0"),
        ),
    )


def _cyclegan(config: Any, size: int, channels: int) -> tuple[FamilyRecipe, ...]:
    shown = [f"{domain.organ} {'+'.join(domain.contrasts)}" for domain in config.domains]
    arguments = {
        "in_channels": channels,
        "out_channels": channels,
        "width": config.width,
        "blocks": config.blocks,
        "downsamplings": config.downsamplings,
    }
    return tuple(
        FamilyRecipe(
            name=f"generator_{way}" + ("_ema" if config.ema > 0 else ""),
            recipe=Recipe(ResnetGenerator, arguments, (grey_values,)),
            task=f"Translates a slice of {before} into one that looks like {after}.",
            inputs=(Port(name="x", shape=f"(B, {channels}, H, W)", meaning=f"{before}, grey values in [-1, 1]"),),
            output=_output(channels),
        )
        for way, before, after in (("ab", *shown), ("ba", *reversed(shown)))
    )


def _translation(config: Any, size: int, channels: int) -> tuple[FamilyRecipe, ...]:
    before, after = (f"{config.organ} {'+'.join(side)}" for side in (config.source, config.target))
    inside = len(config.source) + len(LESION_LABELS)
    arguments = {
        "in_channels": inside,
        "out_channels": len(config.target),
        "width": config.width,
        "depth": config.depth,
    }
    parts = (
        f"joined along the channels: {before}, grey values in [-1, 1] ({len(config.source)}); one_hot_labels(label map "
        f"of the tumour) ({len(LESION_LABELS)})"
    )
    return (
        FamilyRecipe(
            name="generator_ema" if config.ema > 0 else "generator",
            recipe=Recipe(UNet, arguments, (one_hot_labels, grey_values)),
            task=f"Makes {after} of {before} and the tumour's label map.",
            inputs=(Port(name="x", shape=f"(B, {inside}, H, W)", meaning=parts),),
            output=_output(len(config.target)),
        ),
    )


_FAMILIES: dict[str, Callable[[Any, int, int], tuple[FamilyRecipe, ...]]] = {
    "cgan": _cgan,
    "cyclegan": _cyclegan,
    "translation": _translation,
    "wgan_gp": _wgan_gp,
}
