import pytest
import torch
from torch import nn

from common.networks.patchgan import PatchGAN


@pytest.mark.parametrize(("size", "layers", "logits"), [(256, 3, 30), (64, 2, 14), (32, 2, 6)])
def test_gives_one_map_of_logits(size: int, layers: int, logits: int) -> None:
    network = PatchGAN(5, width=4, layers=layers)
    assert network(torch.rand(2, 5, size, size)).shape == (2, 1, logits, logits)


def test_paper_size_has_2_8_million_parameters() -> None:
    assert sum(p.numel() for p in PatchGAN(5).parameters()) == pytest.approx(2.8e6, rel=0.03)


def test_has_instance_norm_and_no_batch_statistics_and_works_in_place_nowhere() -> None:
    modules = list(PatchGAN(5, width=4).modules())
    assert any(isinstance(m, nn.InstanceNorm2d) for m in modules)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) or getattr(m, "inplace", False) for m in modules)


def test_does_not_end_in_an_activation() -> None:
    torch.manual_seed(0)
    logits = PatchGAN(1, width=8, layers=2)(torch.randn(16, 1, 32, 32) * 5)
    assert logits.min() < 0 < logits.max()
