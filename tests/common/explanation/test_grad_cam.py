"""Grad-CAM against hooks written by hand and against the closed form, and on a classifier whose gaze is known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.explanation.grad_cam import attention, attention_scores, cell_size, chance_share, lesion_share
from common.networks.classifier import ResNet50Classifier, SmallResNet, TumourClassifier


def small() -> SmallResNet:
    torch.manual_seed(0)
    return SmallResNet(2, width=8).eval()


def scaled(maps: Tensor) -> Tensor:
    strongest = maps.amax((1, 2), keepdim=True)
    return torch.where(strongest > 0, maps / strongest, 0)


def by_hand(classifier: TumourClassifier, layer: nn.Module, images: Tensor) -> Tensor:
    """Selvaraju et al. 2017, equations 1 and 2, one slice at a time."""
    kept: dict[str, Tensor] = {}

    def keep(module: nn.Module, given: object, result: Tensor) -> None:
        result.retain_grad()
        kept["maps"] = result

    handle = layer.register_forward_hook(keep)
    found = []
    for image in images:
        classifier.zero_grad()
        classifier(image[None])[0].backward()
        maps, gradient = kept["maps"], kept["maps"].grad
        assert gradient is not None
        alpha = gradient.mean((2, 3), keepdim=True)
        cam = F.relu((alpha * maps).sum(1, keepdim=True))
        found.append(F.interpolate(cam, image.shape[-2:], mode="bilinear", align_corners=False)[0, 0].detach())
    handle.remove()
    classifier.zero_grad()
    return scaled(torch.stack(found))


@pytest.mark.parametrize("name", ["small_resnet", "resnet50"])
def test_it_equals_hooks_written_by_hand(name: str) -> None:
    torch.manual_seed(0)
    classifier: TumourClassifier = small() if name == "small_resnet" else ResNet50Classifier(2).eval()
    layer = classifier.body[-1] if isinstance(classifier, SmallResNet) else classifier.network.layer4
    with torch.no_grad():
        classifier.head.weight.add_(0.02)  # untrained, ResNet-50 may find nothing that speaks for a tumour
    images = torch.rand(3, 2, 64, 64)
    found = attention(classifier, images)
    assert found.shape == (3, 64, 64)
    assert found.max() > 0
    torch.testing.assert_close(found, by_hand(classifier, layer, images), atol=1e-5, rtol=1e-4)


def test_it_equals_the_closed_form_for_a_mean_and_a_maximum() -> None:
    """The head sees mean and maximum of each map, so a map's weight is the sum of their two weights, over its cells."""
    classifier = small()
    images = torch.rand(4, 2, 64, 64)
    with torch.no_grad():
        maps = classifier.maps(images)
        mean_weight, maximum_weight = classifier.head.weight[0].chunk(2)
        cam = F.relu(((mean_weight + maximum_weight).view(1, -1, 1, 1) * maps).sum(1, keepdim=True))
        expected = scaled(F.interpolate(cam, (64, 64), mode="bilinear", align_corners=False)[:, 0])
    torch.testing.assert_close(attention(classifier, images), expected, atol=1e-5, rtol=1e-4)


def test_the_classifier_is_left_as_it_was() -> None:
    classifier = small().train()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    first = attention(classifier, torch.rand(2, 2, 64, 64))
    assert classifier.training
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert not any(len(module._forward_hooks) + len(module._backward_hooks) for module in classifier.modules())
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert first.shape == (2, 64, 64)


class Peephole(TumourClassifier):
    """Sees bright 8 x 8 squares, and ``calls`` of them speak for a tumour (1) or against (-1)."""

    def __init__(self, calls: float) -> None:
        super().__init__()
        self.look = nn.Conv2d(1, 1, 8, stride=8, bias=False)
        self.head = nn.Linear(1, 1)
        with torch.no_grad():
            self.look.weight.fill_(1 / 64)
            self.head.weight.fill_(calls)
            self.head.bias.zero_()

    def maps(self, x: Tensor) -> Tensor:
        return F.relu(self.look(x) - 0.5)

    def pooled(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3))


def squares(*corners: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Slices with one bright square each, labels on it, and a foreground of the middle 48 x 48 pixels."""
    images, labels = torch.full((len(corners), 1, 64, 64), 0.2), torch.zeros(len(corners), 64, 64, dtype=torch.uint8)
    for index, (row, column) in enumerate(corners):
        images[index, 0, row : row + 8, column : column + 8] = 1
        labels[index, row : row + 8, column : column + 8] = 4
    foreground = torch.zeros(len(corners), 64, 64, dtype=torch.bool)
    foreground[:, 8:56, 8:56] = True
    return images, labels, foreground


def test_a_classifier_that_looks_at_the_lesion_has_its_map_there() -> None:
    images, labels, foreground = squares((16, 24), (40, 40))
    maps = attention(Peephole(1), images)
    # Bilinear enlargement spreads a cell by half of one to each side.
    share = lesion_share(maps, labels, foreground, 4)
    assert (share > 0.99).all()
    assert chance_share(labels, foreground, 4).tolist() == pytest.approx([16**2 / 48**2] * 2)
    elsewhere = lesion_share(maps.flip(0), labels, foreground, 4)
    assert (elsewhere < 0.01).all()


def test_what_speaks_against_a_tumour_is_no_attention() -> None:
    images, labels, foreground = squares((16, 24))
    maps = attention(Peephole(-1), images)
    assert maps.abs().max() == 0
    assert lesion_share(maps, labels, foreground, 4).isnan().all()


def test_attention_outside_the_body_counts_as_lost() -> None:
    _, labels, foreground = squares((16, 24))
    even = torch.ones(1, 64, 64)
    assert lesion_share(even, labels, foreground, 4).item() == pytest.approx(16**2 / 64**2)
    assert lesion_share(foreground.float(), labels, foreground, 4) == chance_share(labels, foreground, 4)


def test_scores_weigh_patients_and_count_what_they_rest_on() -> None:
    images, labels, foreground = squares((16, 24), (40, 40), (16, 16), (32, 32), (8, 8))
    maps = attention(Peephole(1), images)
    maps[3] = maps[3].flip(0, 1).roll((-16, -16), (0, 1))  # looks elsewhere
    maps[4] = 0
    labels = torch.cat([labels, torch.zeros(1, 64, 64, dtype=torch.uint8)])  # a slice without a lesion
    maps, foreground = torch.cat([maps, maps[:1]]), torch.cat([foreground, foreground[:1]])
    patient = ["a", "a", "a", "b", "c", "c"]
    own, chance, above = attention_scores(maps, labels, foreground, patient, reach=4, samples=200, seed=1, min_cell=2)
    share = lesion_share(maps, labels, foreground, 4)
    assert own.value == pytest.approx((share[:3].mean().item() + share[3].item()) / 2)
    assert above.value == pytest.approx(own.value - chance.value)
    for one in (own, chance, above):
        assert (one.n, one.patients, one.left_out, one.conditions) == (4, 2, 1, {"reach": 4})
    assert own.low is not None
    few = attention_scores(maps, labels, foreground, patient, reach=4, samples=200, seed=1, min_cell=5)
    assert few[0].value == own.value
    assert [one.low for one in few] == [None] * 3


def test_nothing_to_look_at_has_no_figure() -> None:
    nothing = torch.zeros(2, 64, 64)
    scores = attention_scores(
        nothing, nothing.byte(), nothing > 0, np.array(["a", "b"]), reach=4, samples=10, seed=1, min_cell=2
    )
    assert [(one.value, one.n, one.patients, one.left_out) for one in scores] == [(None, 0, 0, 0)] * 3
    assert attention(small(), torch.zeros(0, 2, 64, 64)).shape == (0, 64, 64)


def test_a_cell_is_as_large_as_the_network_says() -> None:
    assert cell_size(small(), torch.zeros(2, 2, 64, 64)) == 8
    assert cell_size(ResNet50Classifier(1).eval(), torch.zeros(1, 1, 64, 64)) == 32
