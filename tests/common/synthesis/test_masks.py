from dataclasses import replace

import pytest
import torch

from common.errors import DataError
from common.imaging.slices import Slices, lesion_mask
from common.seeding import torch_generator
from common.synthesis.masks import (
    Deformation,
    MaskBank,
    centroids,
    dilate,
    draw_centres,
    erode,
    place_masks,
    random_grid,
    warp_images,
    warp_labels,
)

STILL = Deformation(scale=(1.0, 1.0), stretch=1.0, elastic=0.0)


def test_bank_draws_tumour_slices_only(slices: Slices) -> None:
    drawn = MaskBank(slices).draw(50, torch_generator(1))
    assert (drawn.tumour_pixels() >= 12).all()


def test_bank_of_a_site_without_tumours_is_refused(healthy_slices: Slices) -> None:
    with pytest.raises(DataError, match="only 0 slices hold at least 12 tumour pixels"):
        MaskBank(healthy_slices)


def test_dilation_and_erosion_agree_with_scipy() -> None:
    from scipy import ndimage

    mask = torch.rand(3, 20, 20, generator=torch_generator(2)) > 0.8
    square = [[[1] * 5] * 5]
    expected = ndimage.binary_dilation(mask.numpy(), structure=square)
    assert (dilate(mask, 2).numpy() == expected).all()
    expected = ndimage.binary_erosion(~mask.numpy(), structure=square, border_value=1)
    assert (erode(~mask, 2).numpy() == expected).all()


def test_centroids_agree_with_scipy() -> None:
    from scipy import ndimage

    mask = torch.rand(3, 20, 30, generator=torch_generator(2)) > 0.9
    expected = torch.tensor([ndimage.center_of_mass(m.numpy()) for m in mask]).float()
    torch.testing.assert_close(centroids(mask), expected)
    assert centroids(torch.zeros(1, 5, 7, dtype=torch.bool)).tolist() == [[2, 3]]


def test_centres_lie_inside_the_foreground() -> None:
    foreground = torch.zeros(40, 32, 32, dtype=torch.bool)
    foreground[:, 8:24, 4:20] = True
    rows, columns = draw_centres(foreground, 3, torch_generator(3)).long().T
    assert rows.min() >= 11
    assert rows.max() <= 20
    assert columns.min() >= 7
    assert columns.max() <= 16


def test_a_foreground_too_thin_for_the_inset_is_still_hit() -> None:
    foreground = torch.zeros(10, 32, 32, dtype=torch.bool)
    foreground[:, 5, 6] = True
    assert draw_centres(foreground, 3, torch_generator(3)).unique(dim=0).tolist() == [[5, 6]]


def test_the_centroid_moves_where_it_was_sent(slices: Slices) -> None:
    labels = MaskBank(slices).draw(20, torch_generator(4)).labels
    centres = torch.tensor([[20.0, 40.0]]).expand(20, -1)
    moved = warp_labels(labels, random_grid(labels, centres, STILL, 0, torch_generator(5)))
    assert (centroids(lesion_mask(moved)) - centres).abs().max() < 1


def test_turning_and_flipping_keep_the_area_of_every_label(slices: Slices) -> None:
    labels = MaskBank(slices).draw(20, torch_generator(4)).labels
    centres = torch.full((20, 2), 31.5)
    moved = warp_labels(labels, random_grid(labels, centres, STILL, 0, torch_generator(5)))
    for label in (1, 2, 4):
        before, after = (labels == label).sum().item(), (moved == label).sum().item()
        assert after == pytest.approx(before, rel=0.05)
    assert not torch.equal(labels, moved)


def test_scale_changes_the_area_by_its_square(slices: Slices) -> None:
    labels = MaskBank(slices).draw(20, torch_generator(4)).labels
    bigger = Deformation(scale=(1.5, 1.5), stretch=1.0, elastic=0.0)
    grid = random_grid(labels, torch.full((20, 2), 31.5), bigger, 0, torch_generator(5))
    area = lesion_mask(warp_labels(labels, grid)).sum().item()
    assert area == pytest.approx(2.25 * lesion_mask(labels).sum().item(), rel=0.05)


def test_a_mask_is_shrunk_to_the_largest_extent(slices: Slices) -> None:
    labels = MaskBank(slices).draw(20, torch_generator(4)).labels
    deformation = Deformation(scale=(3.0, 3.0), stretch=1.2, elastic=0.0)
    grid = random_grid(labels, torch.full((20, 2), 31.5), deformation, 16, torch_generator(5))
    mask = lesion_mask(warp_labels(labels, grid))
    assert mask.any(1).sum(1).max() <= 17
    assert mask.any(2).sum(1).max() <= 17
    assert mask.any(1).sum(1).max() >= 12


def test_image_and_labels_are_warped_alike(slices: Slices) -> None:
    batch = MaskBank(slices).draw(8, torch_generator(4))
    grid = random_grid(batch.labels, torch.full((8, 2), 31.5), Deformation(), 0, torch_generator(5))
    as_image = warp_images(lesion_mask(batch.labels).float().unsqueeze(1), grid).squeeze(1)
    mask = lesion_mask(warp_labels(batch.labels, grid))
    assert as_image[erode(mask, 2)].min() > 0.9
    assert as_image[~dilate(mask, 2)].max() < 0.1


def test_placed_masks_stay_inside_the_foreground_and_keep_their_pixels(slices: Slices) -> None:
    foreground = slices.batch(torch.arange(20, 30)).foreground
    placed = place_masks(MaskBank(slices), foreground.repeat(5, 1, 1), Deformation(), generator=torch_generator(6))
    assert not (lesion_mask(placed.labels) & ~foreground.repeat(5, 1, 1)).any()
    assert (lesion_mask(placed.labels).flatten(1).sum(1) >= 12).all()


def test_placing_is_the_same_for_the_same_seed(slices: Slices) -> None:
    foreground = slices.batch(torch.arange(20, 30)).foreground

    def place(seed: int) -> torch.Tensor:
        generator = torch_generator(seed)
        return place_masks(MaskBank(slices), foreground, Deformation(), generator=generator).labels

    assert torch.equal(place(1), place(1))
    assert not torch.equal(place(1), place(2))


def test_a_mask_that_lost_its_pixels_is_drawn_again(slices: Slices) -> None:
    """Most of the foreground is a thin line in which hardly anything of a mask is left."""
    foreground = torch.zeros(6, 64, 64, dtype=torch.bool)
    foreground[:, 10:12] = True
    foreground[:, 30:46, 24:40] = True
    bank = MaskBank(replace(slices, min_tumour_pixels=80))
    placed = place_masks(bank, foreground, Deformation(inset=0), generator=torch_generator(1))
    assert (lesion_mask(placed.labels).flatten(1).sum(1) >= 80).all()


def test_a_foreground_without_room_is_an_error(slices: Slices) -> None:
    foreground = torch.zeros(2, 64, 64, dtype=torch.bool)
    foreground[:, 3, 3] = True
    with pytest.raises(DataError, match="fits into the organ"):
        place_masks(MaskBank(slices), foreground, Deformation(), generator=torch_generator(1))


def test_an_organ_without_room_keeps_an_empty_mask_where_that_is_allowed(slices: Slices) -> None:
    organ = torch.ones(3, 64, 64, dtype=torch.bool)
    organ[1] = False
    placed = place_masks(MaskBank(slices), organ, Deformation(), generator=torch_generator(1), must_fit=False)
    sizes = lesion_mask(placed.labels).flatten(1).sum(1)
    assert (sizes[[0, 2]] >= 12).all()
    assert sizes[1] == 0
