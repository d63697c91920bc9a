import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from common.errors import ConfigError, WeightsError
from common.study.experiment import Experiment, WeightsConfig
from common.study.weights import KNOWN, load_weights, needed_weights, resolve_weights


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return torchvision.models.resnet50(weights=None).state_dict()


@pytest.fixture(scope="module")
def folder(state, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights")
    torch.save(state, path / "resnet50.pth")
    save_file(state, path / "resnet50.safetensors")
    torch.save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, path / "old.pth")
    torch.save({**state, "fc.weight": torch.zeros(10, 2048)}, path / "ten_classes.pth")
    torch.save({k: v for k, v in state.items() if k != "conv1.weight"}, path / "lacking.pth")
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path / "resnet18.pth")
    torch.save({"model": state["fc.bias"], "epoch": 3}, path / "checkpoint.pth")
    torch.save(torch.nn.Linear(2, 2), path / "module.pth")
    (path / "text.pth").write_text("not weights")
    (path / "text.safetensors").write_text("not weights")
    (path / "empty.pth").touch()
    whole = (path / "resnet50.pth").read_bytes()
    (path / "truncated.pth").write_bytes(whole[: len(whole) // 2])
    return path


def resolve(value: str | None) -> Path:
    return resolve_weights(WeightsConfig(imagenet_resnet50=value), ["imagenet_resnet50"])["imagenet_resnet50"]


@pytest.mark.parametrize("name", ["resnet50.pth", "resnet50.safetensors", "old.pth"])
def test_weights_in_torchs_and_in_safetensors_format_are_loaded(folder, state, name):
    network = torchvision.models.resnet50(weights=None)
    load_weights(network, "imagenet_resnet50", resolve(str(folder / name)))
    for key, value in network.state_dict().items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("absent.pth", "there is no such file"),
        ("", "there is no such file"),
        ("text.pth", "not a file of weights"),
        ("text.safetensors", "not a file of weights"),
        ("empty.pth", "not a file of weights"),
        ("truncated.pth", "not a file of weights"),
        ("module.pth", "not a file of weights"),
        ("checkpoint.pth", "something else than a state dict"),
        ("lacking.pth", r"conv1.weight, 1 in all"),
        ("resnet18.pth", "not this network's"),
        ("ten_classes.pth", r"fc.weight has shape \(10, 2048\), expected \(1000, 2048\)"),
    ],
)
def test_a_file_that_does_not_fit_names_option_file_cause_and_way_out(folder, name, cause):
    with pytest.raises(WeightsError, match=cause) as caught:
        resolve(str(folder / name))
    text = str(caught.value)
    assert f"weights.imagenet_resnet50={folder / name}" in text
    assert "offline: classifier=small_resnet" in text


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_weights_that_are_not_configured_name_both_ways_and_the_offline_one(name):
    with pytest.raises(
        WeightsError, match=rf"weights.{name}=<file> or weights.{name}=download; offline: .*preset=demo"
    ):
        resolve_weights(WeightsConfig(), [name])


def test_nothing_needed_is_nothing_looked_up():
    assert resolve_weights(WeightsConfig(vgg19="/does/not/exist"), []) == {}


def test_a_failed_download_is_one_clear_sentence(monkeypatch, tmp_path):
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", offline)
    monkeypatch.setattr("torch.hub.urlopen", offline)
    with pytest.raises(
        WeightsError, match=r"weights.imagenet_resnet50=download: could not fetch .*Name or service"
    ) as e:
        resolve("download")
    assert "fetch it elsewhere and give weights.imagenet_resnet50=<file>" in str(e.value)


def test_a_download_lands_in_torchs_cache_and_is_taken_from_there(monkeypatch, tmp_path, folder):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / Path(KNOWN["imagenet_resnet50"].url).name
    cached.parent.mkdir(parents=True)
    cached.symlink_to(folder / "resnet50.pth")
    assert resolve("download") == cached


def test_the_study_says_which_files_it_opens():
    experiment = Experiment(models={"cgan": {"family": "cgan"}})
    assert needed_weights(experiment) == set()
    experiment.classifier.network, experiment.classifier.pretrained = "resnet50", True
    experiment.evaluation.features = "inception_v3"
    experiment.models["cgan"]["perceptual"] = "vgg19"
    assert needed_weights(experiment) == set(KNOWN)
    experiment.models["cgan"]["perceptual_weight"] = 0.0
    experiment.classifier.pretrained = False
    assert needed_weights(experiment) == {"fid_inception"}


def test_weights_errors_are_config_errors_with_their_exit_code():
    assert issubclass(WeightsError, ConfigError)
    assert WeightsError.exit_code == 2
