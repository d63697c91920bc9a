"""How a generator is built, and what its inputs mean to somebody without this project.

A trainer declares its generators by these (:meth:`common.training.trainer.Trainer.recipes`): it builds its own networks
by them, so that an export cannot be of another architecture than what was trained.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from common.errors import ConfigError
from common.export.card import Port
from common.study.conditions import CONDITION_SIZE


def output_port(channels: int, note: str = "", *, value: str = "output") -> Port:
    """A generator's output, as most have it.

    Args:
        channels: contrasts of a slice.
        note: what else is to be done with it.
        value: what ``grey_values`` is taken of.
    """
    meaning = f"grey_values({value}) is the slice, in [0, 1]; a channel a contrast{note}"
    return Port(name="output", shape=f"(B, {channels}, H, W)", meaning=meaning)


CODE = Port(name="code", shape=f"({CONDITION_SIZE},)", meaning="condition_code(organ, contrasts), for the whole batch")


@dataclass(frozen=True)
class Recipe:
    """One generator.

    Attributes:
        network: its class, in a module that needs nothing but torch (:mod:`common.export.source`).
        arguments: keyword arguments of the class: numbers, texts, booleans, None, or lists of these.
        task: what it does, in a sentence, for the model card.
        inputs: the arguments of ``forward`` in order.
        output: its result.
        companions: functions of such modules that give it its inputs; they go into the exported loader as well.
    """

    network: type[nn.Module]
    arguments: Mapping[str, Any]
    task: str = ""
    inputs: tuple[Port, ...] = ()
    output: Port = field(default_factory=lambda: output_port(1))
    companions: tuple[Callable[..., object], ...] = ()

    def build(self) -> nn.Module:
        """The network with new weights, from torch's global generator."""
        return self.network(**self.arguments)


def exported_recipes(family: str, recipes: Mapping[str, Recipe], config: Any) -> dict[str, Recipe]:
    """The generators that are worth handing on: averaged ones where the model keeps an average.

    Args:
        family: a module of ``common/training``.
        recipes: as its trainer declares them.
        config: its ``Config``.

    Raises:
        ConfigError: for a family that declares none.
    """
    if not recipes:
        raise ConfigError(
            f"generators of the family {family!r} cannot be exported: the Trainer of common/training/{family}.py "
            "declares no recipes"
        )
    ending = "_ema" if getattr(config, "ema", 0) > 0 else ""
    return {f"{name}{ending}": recipe for name, recipe in recipes.items()}
