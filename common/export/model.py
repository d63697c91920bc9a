"""A generator as a folder: weights without pickles, a loader that needs torch alone, and a model card.

Why source and weights, and not a traced or exported program: a trace holds for one image size, and the archives of
``torch.export`` and TorchScript are tied to versions of torch. The network's own source is short, can be read before
it is run, and takes any size.
"""

import json
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from common.errors import ConfigError
from common.export.card import GeneratorCard, card_text
from common.export.folder import new_folder
from common.export.loading import DESCRIPTION_KEY, fill, load_network
from common.export.recipe import Recipe
from common.export.source import standalone_source
from common.system.files import write_bytes
from common.system.versions import installed_versions

WEIGHTS, LOADER, CARD = "generator.safetensors", "load_generator.py", "MODEL_CARD.md"
SCHEMA = "oncofed-generator/1"


def network_weights(arrays: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """The weights of one network out of what ``Trainer.shared_arrays`` or a checkpoint holds, without its prefix.

    >>> sorted(network_weights({"generator.a": torch.zeros(1), "critic.a": torch.zeros(1)}, "generator"))
    ['a']

    Raises:
        ConfigError: if there are none.
    """
    prefix = f"{network}."
    found = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    if not found:
        raise ConfigError(f"there are no weights of {network}; there are some of {', '.join(_networks_in(arrays))}")
    return found


def _networks_in(arrays: Mapping[str, Tensor]) -> list[str]:
    return sorted({name.split(".")[0] for name in arrays})


def export_generator(
    folder: Path, arrays: Mapping[str, Tensor], recipe: Recipe, card: GeneratorCard, *, replace: bool = False
) -> None:
    """Writes ``generator.safetensors``, ``load_generator.py`` and ``MODEL_CARD.md``; whole, or not at all.

    What was written is loaded once before the folder appears.

    Args:
        folder: new, empty, or with ``replace`` an earlier export.
        arrays: the network's floating-point weights and buffers by their own keys; see :func:`network_weights`.
        recipe: the network.
        card: what is said about it.
        replace: whether an earlier export in ``folder`` makes way.

    Raises:
        ConfigError: if the folder is in use, or the network cannot stand alone.
        WeightsError: if ``arrays`` are not the network's, or not finite.
    """
    arguments = _plain(recipe.arguments)
    with torch.random.fork_rng(devices=[]):
        network = recipe.network(**arguments)
    fill(network, arrays, f"the weights of {card.provenance.model}")
    weights = save(
        {name: value.detach().cpu().contiguous() for name, value in arrays.items()},
        # One entry only: safetensors writes several in an order that chance decides.
        {DESCRIPTION_KEY: json.dumps(_description(recipe, arguments, card), sort_keys=True)},
    )
    with new_folder(folder, mark=WEIGHTS, replace=replace) as place:
        write_bytes(place / WEIGHTS, weights)
        write_bytes(place / LOADER, loader_source(recipe).encode())
        write_bytes(place / CARD, card_text(card, recipe.network, weights).encode())
        _check_loads(place, network)


def _description(recipe: Recipe, arguments: Mapping[str, Any], card: GeneratorCard) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "network": {"name": recipe.network.__name__, "arguments": arguments},
        "provenance": card.provenance.model_dump(),
        "views": {organ: list(contrasts) for organ, contrasts in card.organs.items()},
        "oncofed": installed_versions()["oncofed"],
        "torch": installed_versions()["torch"],
    }


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as JSON gives them back.

    Raises:
        ConfigError: for a value that JSON does not have.
    """
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(arguments), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"a generator's arguments must be plain values: {error}") from error
    return plain


def loader_source(recipe: Recipe) -> str:
    """``load_generator.py``: the network's source, the reader of its weights, and a function that joins them.

    Raises:
        ConfigError: if the network needs more than torch.
    """
    arguments = _plain(recipe.arguments)
    source = standalone_source([recipe.network, *recipe.companions, load_network])
    name = recipe.network.__name__
    return f'''\
# SPDX-License-Identifier: Apache-2.0
"""Loads the generator that lies beside this file. Needs Python 3.11 or later and torch, nothing else.

    from load_generator import load_generator

    generator = load_generator()

MODEL_CARD.md says what goes in, what comes out and what it may be used for. Nothing in the weights' file is executed.
Below are modules of oncofed {installed_versions()["oncofed"]}, as they are but for the imports of one another.
"""

{source}

ARGUMENTS = {arguments!r}


def load_generator(path: Path | str | None = None) -> {name}:
    """The generator with its weights, on the CPU, in evaluation mode.

    Args:
        path: of the weights; {WEIGHTS} beside this file if None.

    Raises:
        WeightsError: if the file is missing, damaged, or holds the weights of another network.
    """
    file = Path(__file__).resolve().with_name("{WEIGHTS}") if path is None else Path(path)
    return load_network({name}, ARGUMENTS, file)


if __name__ == "__main__":
    print(sum(parameter.numel() for parameter in load_generator().parameters()), "parameters, loaded")
'''


def _check_loads(place: Path, network: nn.Module) -> None:
    """An export that cannot be loaded must not leave: this runs the file that was just written."""
    file = place / LOADER
    try:
        loaded = runpy.run_path(str(file), run_name="oncofed_exported_generator")["load_generator"]()
        own, theirs = network.state_dict(), loaded.state_dict()
    except Exception as error:  # the exported file has errors of its own
        raise ConfigError(
            f"the exported generator could not be loaded again ({type(error).__name__}); were this project's files "
            "changed while it was running?"
        ) from error
    if own.keys() != theirs.keys() or not all(torch.equal(own[name], theirs[name]) for name in own):
        raise ConfigError("the exported generator differs from the one that was to be exported")
