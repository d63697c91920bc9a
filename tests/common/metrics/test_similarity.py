import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from common.metrics.similarity import PSNR_CAP, box_mask, psnr, ssim, ssim_by_region


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    a = torch.nn.functional.avg_pool2d(torch.rand(3, 2, 40, 36, generator=generator), 5, 1, 2)
    noise = torch.tensor([0.01, 0.05, 0.2]).view(3, 1, 1, 1) * torch.randn(a.shape, generator=generator)
    return a, (a + noise).clamp(0, 1)


def skimage_ssim(a: torch.Tensor, b: torch.Tensor) -> tuple[float, np.ndarray]:
    return structural_similarity(
        a.double().numpy(),
        b.double().numpy(),
        channel_axis=0,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )


def test_ssim_of_each_image_equals_scikit_image(images):
    a, b = images
    assert ssim(a, b).tolist() == pytest.approx([skimage_ssim(x, y)[0] for x, y in zip(a, b, strict=True)], abs=2e-5)


def test_masked_ssim_is_the_mean_of_scikit_images_map_over_the_mask(images):
    a, b = images
    mask = torch.zeros(3, 40, 36, dtype=torch.bool)
    mask[:, 12:20, 9:25] = True
    mask[1, 15, 15] = False
    expected = [skimage_ssim(a[i], b[i])[1][:, mask[i].numpy()].mean() for i in range(3)]
    assert ssim(a, b, mask).tolist() == pytest.approx(expected, abs=2e-5)


def test_psnr_is_taken_image_by_image_and_equals_scikit_image(images):
    a, b = images
    expected = [
        peak_signal_noise_ratio(x.double().numpy(), y.double().numpy(), data_range=1) for x, y in zip(a, b, strict=True)
    ]
    assert psnr(a, b).tolist() == pytest.approx(expected, abs=1e-9)


def test_masked_psnr_looks_at_the_masked_pixels_alone(images):
    a, b = images
    mask = torch.rand(3, 40, 36, generator=torch.Generator().manual_seed(1)) < 0.3
    expected = [
        peak_signal_noise_ratio(a[i][:, mask[i]].double().numpy(), b[i][:, mask[i]].double().numpy(), data_range=1)
        for i in range(3)
    ]
    assert psnr(a, b, mask).tolist() == pytest.approx(expected, abs=1e-9)


def test_identical_images_reach_one_and_the_stated_cap(images):
    a, _ = images
    assert ssim(a, a).tolist() == pytest.approx([1.0] * 3)
    assert psnr(a, a).tolist() == [PSNR_CAP] * 3


def test_black_background_lifts_the_whole_image_but_not_the_foreground(images):
    a, b = images
    mask = torch.zeros(3, 40, 36, dtype=torch.bool)
    mask[:, 10:30, 10:26] = True
    a, b = a * mask[:, None], b * mask[:, None]
    assert (ssim(a, b) > ssim(a, b, mask)).all()
    assert (psnr(a, b) > psnr(a, b, mask)).all()


def test_several_regions_at_once_equal_each_by_itself(images):
    a, b = images
    mask = torch.rand(3, 40, 36, generator=torch.Generator().manual_seed(1)) < 0.3
    whole, masked = ssim_by_region(a, b, [None, mask])
    assert torch.equal(whole, ssim(a, b))
    assert torch.equal(masked, ssim(a, b, mask))
    assert whole.dtype == torch.float64


def test_an_empty_mask_gives_nan(images):
    a, b = images
    mask = torch.zeros(3, 40, 36, dtype=torch.bool)
    assert ssim(a, b, mask).isnan().all()
    assert psnr(a, b, mask).isnan().all()


def test_no_images_give_no_figures():
    nothing = torch.zeros(0, 1, 16, 16)
    assert ssim(nothing, nothing).shape == psnr(nothing, nothing).shape == (0,)


@pytest.mark.parametrize(
    ("a", "b", "mask"),
    [
        (torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 17), None),
        (torch.zeros(16, 16), torch.zeros(16, 16), None),
        (torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16), torch.zeros(1, 16, 16)),
        (torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), None),
    ],
)
def test_images_that_do_not_fit_are_refused(a, b, mask):
    with pytest.raises(ValueError, match=r"expected|smaller"):
        ssim(a, b, mask)


def spans(mask: torch.Tensor) -> tuple[int, int, int, int]:
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    assert mask.sum() == len(rows) * len(columns), "not a box"
    return rows.min().item(), rows.max().item(), columns.min().item(), columns.max().item()


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ([(20, 20), (33, 29)], (18, 35, 18, 31)),  # margin alone
        ([(20, 20)], (15, 25, 15, 25)),  # grown to the window
        ([(0, 39)], (0, 10, 29, 39)),  # pushed back inside
        ([(0, 0), (39, 39)], (0, 39, 0, 39)),
    ],
)
def test_a_box_holds_the_region_its_margin_and_at_least_the_window(pixels, expected):
    region = torch.zeros(1, 40, 40, dtype=torch.bool)
    for row, column in pixels:
        region[0, row, column] = True
    assert spans(box_mask(region)[0]) == expected


def test_no_region_has_no_box():
    region = torch.zeros(2, 20, 20, dtype=torch.bool)
    region[1, 4, 4] = True
    assert box_mask(region).flatten(1).any(1).tolist() == [False, True]


def test_a_box_larger_than_the_image_is_the_image():
    region = torch.zeros(1, 8, 8, dtype=torch.bool)
    region[0, 7, 0] = True
    assert box_mask(region).all()
