import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from common.metrics.nearest import nearest, nearest_positions
from common.metrics.similarity import PSNR_CAP


def images(count: int, seed: int) -> torch.Tensor:
    noise = torch.rand(count, 2, 24, 20, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 3, 1, 1)


def by_brute_force(a: torch.Tensor, b: torch.Tensor, allowed: np.ndarray) -> list[int]:
    x, y = a.double().numpy(), b.double().numpy()
    errors = np.array([[((one - other) ** 2).mean() for other in y] for one in x])
    return np.where(allowed, errors, np.inf).argmin(1).tolist()


def test_the_nearest_image_and_its_similarity_equal_brute_force():
    a, b = images(9, 1), images(13, 2)
    found = nearest(a, b)
    expected = by_brute_force(a, b, np.ones((9, 13), bool))
    assert found.index.tolist() == expected
    assert len(set(expected)) > 2
    for i, j in enumerate(expected):
        x, y = a[i].double().numpy(), b[j].double().numpy()
        similarity = structural_similarity(
            x, y, channel_axis=0, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert found.ssim[i].item() == pytest.approx(similarity, abs=2e-5)
        assert found.psnr[i].item() == pytest.approx(peak_signal_noise_ratio(y, x, data_range=1), abs=1e-9)
    assert found.foreground_ssim is None


def test_the_psnr_is_the_highest_that_any_reference_gives():
    a, b = images(4, 1), images(13, 2)
    found = nearest(a, b)
    for i in range(4):
        every = [peak_signal_noise_ratio(r.double().numpy(), a[i].double().numpy(), data_range=1) for r in b]
        assert found.psnr[i].item() == pytest.approx(max(every))


def test_a_patients_own_images_are_left_out():
    a = images(12, 1)
    patients = np.repeat([4, 2, 9], [5, 3, 4])
    found = nearest(a, a, patients=patients, reference_patients=patients)
    assert found.index.tolist() == by_brute_force(a, a, patients[:, None] != patients)
    assert nearest(a, a).index.tolist() == list(range(12))
    assert (found.ssim < 0.99).all()


def test_chunks_change_nothing(monkeypatch):
    a, b = images(11, 1), images(13, 2)
    patients, others = np.arange(11) % 3, np.arange(13) % 3
    whole = nearest_positions(a.flatten(1), b.flatten(1), patients, others)
    monkeypatch.setattr("common.metrics.nearest.CHUNK", 4)
    assert torch.equal(nearest_positions(a.flatten(1), b.flatten(1), patients, others), whole)


def test_an_identical_image_is_found_at_the_stated_cap():
    b = images(13, 2)
    found = nearest(b[[7, 3]], b)
    assert found.index.tolist() == [7, 3]
    assert found.psnr.tolist() == [PSNR_CAP] * 2
    assert found.ssim.tolist() == pytest.approx([1, 1])


def test_of_equally_near_images_the_first_is_taken():
    black = torch.zeros(3, 1, 16, 16)
    assert nearest(black, black).index.tolist() == [0, 0, 0]


def test_the_foreground_is_that_of_the_reference():
    a, b = images(5, 1), images(4, 2)
    foreground = torch.zeros(4, 24, 20, dtype=torch.bool)
    foreground[:, 4:15, 3:12] = True
    inside = foreground[:, None]
    found = nearest(a * inside[0], b * inside, foreground=foreground)
    assert (found.foreground_psnr < found.psnr).all()
    assert (found.foreground_ssim < found.ssim).all()
    x, y = (a * inside[0])[0], (b * inside)[found.index[0]]
    expected = peak_signal_noise_ratio(
        y[:, 4:15, 3:12].double().numpy(), x[:, 4:15, 3:12].double().numpy(), data_range=1
    )
    assert found.foreground_psnr[0].item() == pytest.approx(expected)


def test_no_images_have_no_neighbours():
    found = nearest(torch.zeros(0, 1, 16, 16), torch.zeros(2, 1, 16, 16))
    assert found.index.shape == found.ssim.shape == found.psnr.shape == (0,)


@pytest.mark.parametrize(
    ("a", "b", "options", "text"),
    [
        (torch.zeros(2, 1, 16, 16), torch.zeros(2, 1, 16, 17), {}, "one shape"),
        (torch.zeros(2, 1, 16, 16), torch.zeros(0, 1, 16, 16), {}, "expected rows"),
        (torch.full((2, 1, 16, 16), torch.nan), torch.zeros(2, 1, 16, 16), {}, "not finite"),
        (torch.zeros(2, 1, 16, 16), torch.zeros(2, 1, 16, 16), {"patients": np.array([1, 2])}, "both sides"),
        (
            torch.zeros(2, 1, 16, 16),
            torch.zeros(2, 1, 16, 16),
            {"patients": np.array([1, 2]), "reference_patients": np.array([1, 1])},
            "no reference image of another patient",
        ),
        (
            torch.zeros(2, 1, 16, 16),
            torch.zeros(2, 1, 16, 16),
            {"patients": np.array([1, 2, 3]), "reference_patients": np.array([1, 1])},
            "3 and 2 patients for 2 and 2 images",
        ),
    ],
)
def test_images_without_a_reference_are_refused(a, b, options, text):
    with pytest.raises(ValueError, match=text):
        nearest(a, b, **options)
