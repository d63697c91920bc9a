import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from common.errors import ConfigError, WeightsError
from common.export import model
from common.export.card import GeneratorCard
from common.export.loading import grey_values, load_network, read_safetensors
from common.export.model import export_generator, network_weights
from common.export.recipe import Recipe, exported_recipes
from common.imaging.slices import SliceBatch
from common.networks.patchgan import PatchGAN
from common.networks.unet import UNet
from common.seeding import torch_generator
from common.study.conditions import CONDITION_SIZE, condition_code, condition_maps, one_hot_labels
from common.study.experiment import ImageConfig
from common.synthesis.surroundings import start_of_fill
from common.training import cgan, cyclegan, translation, wgan_gp
from common.training.families import trainer_module
from common.training.wgan_gp import BACKGROUND

UNET = Recipe(UNet, {"in_channels": 3, "out_channels": 1, "width": 4, "depth": 2, "code_size": CONDITION_SIZE})

ALONE = """
import importlib.util, sys
for name in ("common", "safetensors", "monai", "pydantic", "flwr", "pydicom"):
    sys.modules[name] = None
spec = importlib.util.spec_from_file_location("load_generator", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import torch
generator = module.load_generator()
assert not generator.training
with torch.no_grad():
    torch.save(generator(*torch.load(sys.argv[2], weights_only=True)), sys.argv[3])
"""


def run_alone(folder: Path, inputs: tuple[Tensor, ...], place: Path) -> Tensor:
    """The exported generator's output, computed by a Python that has torch but not this project."""
    torch.save(list(inputs), place / "inputs.pt")
    command = [
        sys.executable,
        "-I",
        "-c",
        ALONE,
        folder / "load_generator.py",
        place / "inputs.pt",
        place / "output.pt",
    ]
    ended = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    output: Tensor = torch.load(place / "output.pt", weights_only=True)
    return output


def random_weights(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network


def trainer_of(family: str) -> tuple[Any, Any]:
    """A small trainer of each family, and its config."""
    shared = {"image": ImageConfig(size=32), "organs": {"brain": ("flair",)}, "device": torch.device("cpu"), "seed": 1}
    config: Any = {
        "cgan": lambda: cgan.Config(width=4, depth=2, discriminator_width=4, perceptual_weight=0.0),
        "cyclegan": lambda: cyclegan.Config(width=4, blocks=1, discriminator_width=4),
        "translation": lambda: translation.Config(width=4, depth=2, discriminator_width=4),
        "wgan_gp": lambda: wgan_gp.Config(width=4, critic_width=4, noise_size=8),
    }[family]()
    module: Any = {"cgan": cgan, "cyclegan": cyclegan, "translation": translation, "wgan_gp": wgan_gp}[family]
    return module.Trainer(config, **shared), config


def recipes_of(family: str, config: Any) -> dict[str, Recipe]:
    declared = trainer_module(family).Trainer.recipes(config, size=32, channels=1)
    return exported_recipes(family, declared, config)


def inputs_of(family: str) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    code = torch.zeros(CONDITION_SIZE)
    code[0] = 1
    return {
        "cgan": lambda: (torch.randn(2, 1 + 3 + 1 + CONDITION_SIZE + 1, 20, 27, generator=generator), code),
        "cyclegan": lambda: (torch.randn(2, 1, 32, 24, generator=generator),),
        "translation": lambda: (torch.randn(2, 1 + 3, 32, 24, generator=generator),),
        "wgan_gp": lambda: (
            torch.randn(2, 8, generator=generator),
            torch.randn(2, 1, 32, 32, generator=generator),
            torch.randn(2, 2 + CONDITION_SIZE, generator=generator),
        ),
    }[family]()


@pytest.mark.parametrize("family", ["cgan", "cyclegan", "translation", "wgan_gp"])
def test_a_generator_works_where_only_torch_is_and_gives_the_same(
    tmp_path: Path, card: GeneratorCard, family: str
) -> None:
    trainer, config = trainer_of(family)
    name, recipe = list(recipes_of(family, config).items())[-1]
    original = random_weights(trainer.networks[name]).eval()
    weights = network_weights(trainer.shared_arrays(), name)
    export_generator(tmp_path / "export", weights, recipe, card)
    inputs = inputs_of(family)
    with torch.no_grad():
        expected = original(*inputs)
    assert (run_alone(tmp_path / "export", inputs, tmp_path) - expected).abs().max() <= 1e-6
    assert expected.abs().max() > 1e-3


@pytest.mark.parametrize("around", [False, True])
def test_the_cards_words_lead_to_what_the_conditional_gan_fills_in(around: bool) -> None:
    trainer, config = trainer_of("cgan")
    config.init_from_context = around
    assert ("start_of_fill" in recipes_of("cgan", config)["generator_ema"].output.meaning) == around
    filler = random_weights(trainer.networks["generator_ema"])
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    region, labels = torch.zeros(2, 32, 32, dtype=torch.bool), torch.zeros(2, 32, 32, dtype=torch.uint8)
    region[:, 8:20, 10:24], labels[:, 10:16, 12:18] = True, 4
    code = condition_code("brain", ["flair"])
    expected = trainer.fill(images, labels, region, code, torch.Generator().manual_seed(3))

    weight = region[:, None].float()
    start = start_of_fill(images, weight)
    inside = start if around else -torch.ones_like(images)
    noise = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(3))
    parts = [torch.where(weight > 0, inside, images * 2 - 1), one_hot_labels(labels), weight]
    with torch.no_grad():
        output = filler(torch.cat([*parts, condition_maps(code, weight), config.noise * noise * weight], dim=1), code)
    made = grey_values(output + torch.atanh(start) if around else output)
    assert torch.allclose(made[:, 0][region], expected[:, 0][region], atol=1e-5)


def test_the_cards_words_lead_to_what_the_wgan_makes() -> None:
    wgan, config = trainer_of("wgan_gp")
    sampler = random_weights(wgan.networks["generator_ema"])
    code = condition_code("brain", ["flair"])
    expected = wgan.sample(torch.tensor([True, False]), code, 4)
    draws = torch_generator(4, "wgan_gp", "sample")
    noise = torch.randn(2, config.noise_size, generator=draws)
    grain = torch.randn(2, 1, 32, 32, generator=draws)
    with torch.no_grad():
        made = grey_values(sampler(noise, grain, torch.cat([torch.eye(2), code.expand(2, -1)], dim=1)))
    assert torch.allclose(torch.where(made < BACKGROUND, 0.0, made), expected, atol=1e-5)


def test_the_cards_words_lead_to_what_the_translations_make() -> None:
    cycle, _ = trainer_of("cyclegan")
    translator = random_weights(cycle.networks["generator_ba_ema"])
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert torch.allclose(grey_values(translator(images * 2 - 1)), cycle.translate(images, 1), atol=1e-5)

    pairs, _ = trainer_of("translation")
    translator = random_weights(pairs.networks["generator_ema"])
    labels = torch.zeros(2, 32, 32, dtype=torch.uint8)
    labels[:, 10:16, 12:18] = 2
    inside = torch.ones(2, 32, 32, dtype=torch.bool)
    batch = SliceBatch(images, labels, inside, inside, torch.zeros(2, dtype=torch.int64))
    with torch.no_grad():
        made = grey_values(translator(torch.cat([images * 2 - 1, one_hot_labels(labels)], dim=1)))
    assert torch.allclose(made, pairs.translate(batch), atol=1e-5)


@pytest.mark.parametrize("family", ["cgan", "cyclegan", "translation", "wgan_gp"])
def test_the_averaged_generators_are_the_ones_handed_on(family: str) -> None:
    trainer, config = trainer_of(family)
    names = list(recipes_of(family, config))
    assert set(names) <= set(trainer.networks)
    for name in names:
        assert name.endswith("_ema") or f"{name}_ema" not in trainer.networks
    if hasattr(config, "ema"):
        assert list(recipes_of(family, replace(config, ema=0.0))) == [name.removesuffix("_ema") for name in names]


def test_a_family_without_generators_is_named() -> None:
    with pytest.raises(ConfigError, match=r"family 'classifier' cannot be exported: .* declares no recipes"):
        recipes_of("classifier", None)


@pytest.fixture
def exported(tmp_path: Path, card: GeneratorCard) -> Path:
    network = random_weights(UNet(**UNET.arguments))
    export_generator(tmp_path / "export", network.state_dict(), UNET, card)
    return tmp_path / "export"


def test_the_folder_holds_three_files_and_no_pickle(exported: Path) -> None:
    assert {p.name for p in exported.iterdir()} == {"generator.safetensors", "load_generator.py", "MODEL_CARD.md"}
    assert "pickle" not in (exported / "load_generator.py").read_text()


def test_the_weights_say_what_they_are(exported: Path) -> None:
    with safe_open(exported / "generator.safetensors", "pt") as file:
        said = json.loads(file.metadata()["oncofed"])
    assert said["schema"] == "oncofed-generator/1"
    assert said["network"] == {"name": "UNet", "arguments": dict(UNET.arguments)}
    assert said["provenance"]["run"] == "demo"
    assert said["views"] == {"brain": ["flair"], "lung": ["ct"]}


def test_the_same_export_gives_the_same_bytes(exported: Path, tmp_path: Path, card: GeneratorCard) -> None:
    weights, _ = read_safetensors(exported / "generator.safetensors")
    export_generator(tmp_path / "again", weights, UNET, card)
    for file in exported.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_loading_leaves_the_global_random_state_alone(exported: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load_network(UNet, UNET.arguments, exported / "generator.safetensors")
    assert torch.equal(torch.rand(1), expected)


def test_weights_of_another_network_are_refused(exported: Path, tmp_path: Path, card: GeneratorCard) -> None:
    wider = replace(UNET, arguments={**UNET.arguments, "width": 8})
    export_generator(tmp_path / "wider", UNet(**wider.arguments).state_dict(), wider, card)
    with pytest.raises(WeightsError, match="another network than UNet"):
        load_network(UNet, UNET.arguments, tmp_path / "wider" / "generator.safetensors")


@pytest.mark.parametrize(
    "said", ["{}", "null", "[", '{"network": 5}', '{"network": {"name": "UNet", "arguments": {}}}']
)
def test_a_description_that_makes_no_sense_is_refused(tmp_path: Path, said: str) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "x", {"oncofed": said})
    with pytest.raises(WeightsError, match="another network than UNet"):
        load_network(UNet, UNET.arguments, tmp_path / "x")


def refused(error: type[Exception], message: str, act: Callable[[], object], folder: Path) -> None:
    with pytest.raises(error, match=message):
        act()
    assert list(folder.iterdir()) == []


def test_what_cannot_be_handed_on_leaves_no_folder(tmp_path: Path, card: GeneratorCard) -> None:
    def export(weights: dict[str, Tensor], recipe: Recipe) -> None:
        export_generator(tmp_path / "export", weights, recipe, card)

    good = UNet(**UNET.arguments).state_dict()
    broken = {**good, "exit.bias": torch.full((1,), torch.nan)}
    needs_monai = Recipe(PatchGAN, {"in_channels": 1, "width": 4})
    weights = PatchGAN(1, width=4).state_dict()
    refused(WeightsError, "exit.bias holds NaN", lambda: export(broken, UNET), tmp_path)
    refused(WeightsError, "not the weights of this network", lambda: export({}, UNET), tmp_path)
    refused(ConfigError, "needs monai", lambda: export(weights, needs_monai), tmp_path)
    odd = replace(UNET, arguments={**UNET.arguments, "depth": torch.tensor(2)})
    refused(ConfigError, "must be plain values", lambda: export(good, odd), tmp_path)


def test_an_export_whose_source_is_not_the_one_that_runs_is_refused(
    tmp_path: Path, card: GeneratorCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an update of this project under a running command."""
    monkeypatch.setattr(model, "loader_source", lambda recipe: "def load_generator(): raise KeyError")
    weights = UNet(**UNET.arguments).state_dict()
    export = partial(export_generator, tmp_path / "export", weights, UNET, card)
    refused(ConfigError, r"could not be loaded again \(KeyError\)", export, tmp_path)


def test_an_earlier_export_is_replaced_only_when_asked(exported: Path, card: GeneratorCard) -> None:
    weights = UNet(**UNET.arguments).state_dict()
    with pytest.raises(ConfigError, match="earlier export"):
        export_generator(exported, weights, UNET, card)
    export_generator(exported, weights, UNET, card, replace=True)
    assert torch.equal(read_safetensors(exported / "generator.safetensors")[0]["exit.bias"], weights["exit.bias"])


def test_weights_of_a_network_that_is_not_there_are_named() -> None:
    with pytest.raises(ConfigError, match="no weights of generator_ema; there are some of critic, generator"):
        network_weights({"generator.a": torch.zeros(1), "critic.a": torch.zeros(1)}, "generator_ema")
