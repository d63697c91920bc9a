import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from common.networks.patchgan import PatchGAN
from common.networks.spectral import SpectralNorm, normalise_spectrally, settle


def made(spectral: bool = True) -> PatchGAN:
    torch.manual_seed(1)
    return PatchGAN(2, width=8, layers=2, spectral_norm=spectral)


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]


def test_equals_torchs_own() -> None:
    torch.manual_seed(1)
    ours, theirs = nn.Conv2d(3, 5, 4), nn.Conv2d(3, 5, 4)
    theirs.load_state_dict(ours.state_dict())
    normalise_spectrally(nn.Sequential(ours))
    spectral_norm(theirs, n_power_iterations=1)
    for layer in (ours, theirs):
        for _ in range(500):
            layer(torch.zeros(1, 3, 8, 8))
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_every_convolution_of_a_patchgan_has_the_largest_singular_value_1() -> None:
    network = made()
    assert len(convolutions(network)) == 4
    settle(network, 100)
    for layer in convolutions(network):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)


def test_scaling_a_weight_changes_nothing() -> None:
    network, image = made(), torch.rand(2, 2, 32, 32)
    settle(network, 100)
    before = network(image)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith("original"):
                value.mul_(7)
    torch.testing.assert_close(network(image), before, atol=1e-4, rtol=1e-3)


def test_without_the_switch_names_and_results_are_what_they_were() -> None:
    assert not any("parametrizations" in key for key in made(spectral=False).state_dict())


def test_singular_vectors_are_in_the_state_and_are_no_parameters() -> None:
    network = made()
    assert sum(key.endswith((".left", ".right")) for key in network.state_dict()) == 8
    plain = sum(parameter.numel() for parameter in made(spectral=False).parameters())
    assert sum(parameter.numel() for parameter in network.parameters()) == plain


def test_the_mean_of_two_networks_works_though_mean_vectors_are_short() -> None:
    """Averaging over sites shortens the singular vectors; the weights must still be divided by the right number."""
    one, other, mean = made(), made(), made()
    with torch.no_grad():
        for network, seed in ((one, 2), (other, 3)):
            torch.manual_seed(seed)
            for parameter in network.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
            settle(network, 30)
    states = one.state_dict(), other.state_dict()
    mean.load_state_dict({key: (states[0][key] + states[1][key]) / 2 for key in states[0]})
    lengths = [module.left.norm().item() for module in mean.modules() if isinstance(module, SpectralNorm)]
    assert min(lengths) < 0.999
    mean.eval()
    for layer in convolutions(mean):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


def test_gradients_of_two_passes_can_be_taken_together() -> None:
    network = made()
    loss = network(torch.rand(2, 2, 32, 32)).mean() - network(torch.rand(2, 2, 32, 32)).mean()
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_half_precision_keeps_the_singular_values_in_full_precision() -> None:
    network = made()
    with torch.autocast("cpu", torch.bfloat16):
        assert network(torch.rand(2, 2, 32, 32)).dtype == torch.bfloat16
        weights = [layer.weight for layer in convolutions(network)]
    assert all(weight.dtype == torch.float32 for weight in weights)
    settle(network, 100)
    assert all(torch.linalg.matrix_norm(w.flatten(1), 2).item() == pytest.approx(1, abs=0.1) for w in weights)


def test_a_copy_is_a_network_of_its_own() -> None:
    network = made()
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert all(layer.weight.abs().max() > 0 for layer in convolutions(network))
