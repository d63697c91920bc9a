import numpy as np
import pytest
import torch
from skimage.restoration import inpaint_biharmonic

from common.metrics.inpainting import biharmonic


def disc(size: int, row: float, column: float, radius: float) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (y - row) ** 2 + (x - column) ** 2 < radius**2


@pytest.fixture
def smooth() -> torch.Tensor:
    noise = torch.rand(2, 2, 48, 48, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.avg_pool2d(noise, 9, 1, 4)


def test_inpainting_on_the_crop_equals_scikit_image_on_the_whole_slice(smooth):
    region = torch.stack([disc(48, 20, 22, 6), disc(48, 2, 40, 5)])
    own = biharmonic(smooth, region)
    for image, mask, made in zip(smooth, region, own, strict=True):
        expected = inpaint_biharmonic(image.double().numpy(), mask.numpy(), channel_axis=0)
        # The whole slice allows a wider range of values than the surroundings do.
        inside = made[:, mask].numpy()
        np.testing.assert_allclose(inside, expected[:, mask.numpy()].clip(inside.min(), inside.max()), atol=1e-5)
        assert torch.equal(made[:, ~mask], image[:, ~mask])


def test_a_plane_is_continued_exactly():
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 32, 32)
    made = biharmonic(ramp, disc(32, 15, 16, 5)[None])
    torch.testing.assert_close(made, ramp.contiguous(), atol=1e-5, rtol=0)


def test_what_lies_inside_the_region_is_not_looked_at(smooth):
    region = torch.stack([disc(48, 20, 22, 6), disc(48, 30, 20, 5)])
    other = torch.where(region[:, None], 0.9, smooth)
    assert torch.equal(biharmonic(smooth, region), biharmonic(other, region))


def test_an_empty_region_changes_nothing_and_the_input_stays_as_it_was(smooth):
    before = smooth.clone()
    region = torch.zeros(2, 48, 48, dtype=torch.bool)
    assert torch.equal(biharmonic(smooth, region), smooth)
    region[0, 20:25, 20:25] = True
    biharmonic(smooth, region)
    assert torch.equal(smooth, before)


def test_a_region_without_surroundings_is_refused(smooth):
    with pytest.raises(ValueError, match="whole image"):
        biharmonic(smooth, torch.ones(2, 48, 48, dtype=torch.bool))
