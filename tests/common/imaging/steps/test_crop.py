import numpy as np
import pytest
from phantoms import ellipsoid, study_of

from common.errors import BadStudyError
from common.imaging.steps.crop import crop_to_each_lung, crop_to_foreground, crop_to_organ

SHAPE = (20, 60, 80)


def with_organ(organ: np.ndarray, **changes):
    images = np.random.default_rng(0).random((1, *organ.shape)).astype(np.float32)
    return study_of(images, organ=organ.astype(np.uint8), **changes)


def test_the_foreground_box_is_tight_and_slices_with_little_in_them_go() -> None:
    inside = ellipsoid(SHAPE, (10, 30, 40), (8, 20, 25))
    study = study_of(np.ones((1, *SHAPE), np.float32), inside=inside)
    cropped = crop_to_foreground(study, 0.3)
    assert cropped.inside.shape[1:] == (39, 49)
    assert (cropped.inside.mean(axis=(1, 2)) >= 0.3).all()
    areas = inside.sum(axis=(1, 2)) / (39 * 49)
    assert cropped.height.tolist() == np.flatnonzero(areas >= 0.3).tolist()


def test_the_box_of_an_organ_has_its_margin_in_millimetres_and_goes_no_further_than_the_image() -> None:
    organ = np.zeros(SHAPE, bool)
    organ[5:9, 20:40, 3:23] = True
    cropped = crop_to_organ(with_organ(organ, spacing=(3.0, 2.0, 1.0)), margin=10, least=0.15)
    assert cropped.images.shape == (1, 4, 20 + 2 * 5, 20 + 3 + 10)
    assert cropped.height.tolist() == [5, 6, 7, 8]
    assert cropped.organ is not None
    assert cropped.organ.sum() == organ.sum()


def test_the_poles_of_an_organ_go_and_the_margin_has_no_say_in_it() -> None:
    study = with_organ(ellipsoid(SHAPE, (10, 30, 40), (9, 15, 15)))
    tight = crop_to_organ(study, 0, 0.3)
    assert 0 < len(tight.height) < 17
    assert crop_to_organ(study, 12, 0.3).height.tolist() == tight.height.tolist()
    with pytest.raises(BadStudyError, match="99% of the organ"):
        crop_to_organ(study, 0, 0.99)


def test_without_an_organ_the_box_is_that_of_all_that_is_inside() -> None:
    inside = ellipsoid(SHAPE, (10, 30, 40), (8, 20, 25))
    study = study_of(np.ones((1, *SHAPE), np.float32), inside=inside)
    cropped = crop_to_organ(study, 5, 0.15)
    assert cropped.inside.shape[1:] == (39 + 10, 49 + 10)
    assert cropped.organ is None


def test_each_lung_has_slices_of_its_own_the_right_one_first() -> None:
    right = ellipsoid(SHAPE, (8, 30, 20), (7, 20, 12))
    left = ellipsoid(SHAPE, (12, 30, 58), (7, 16, 15))
    study = with_organ(right + 2 * left)
    cropped = crop_to_each_lung(study, margin=2, least=0.2)
    assert cropped.images.shape[2:] == (39 + 4, 29 + 4)  # the taller one's height, the wider one's width
    assert cropped.organ is not None
    assert set(np.unique(cropped.organ)) == {0, 1}
    turn = int(np.flatnonzero(np.diff(cropped.height) < 0)[0]) + 1
    shown = cropped.organ.sum(axis=(1, 2))
    assert shown[:turn].tolist() == [right.sum(axis=(1, 2))[int(z)] for z in cropped.height[:turn]]
    assert shown[turn:].tolist() == [left.sum(axis=(1, 2))[int(z)] for z in cropped.height[turn:]]


def test_a_lung_at_the_edge_of_the_image_still_gives_the_same_size() -> None:
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[2:10, 5:55, 0:20] = 1
    lungs[2:10, 0:30, 45:80] = 2
    cropped = crop_to_each_lung(with_organ(lungs), margin=4, least=0.2)
    assert cropped.images.shape == (1, 16, 58, 39)
    assert cropped.organ is not None
    assert cropped.organ[:8].sum() == (lungs == 1).sum()
    assert cropped.organ[8:].sum() == (lungs == 2).sum()


def test_what_is_left_of_a_removed_lung_is_not_shown() -> None:
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[2:10, 5:55, 5:30] = 1
    lungs[2:4, 20:25, 60:65] = 2
    cropped = crop_to_each_lung(with_organ(lungs, stated=np.arange(20) == 3), margin=0, least=0.2)
    assert cropped.height.tolist() == list(range(2, 10))
    assert cropped.stated is not None
    assert cropped.stated.tolist() == [False, True] + [False] * 6
    with pytest.raises(BadStudyError, match="of a lung"):
        crop_to_each_lung(with_organ(ellipsoid(SHAPE, (10, 30, 40), (9, 15, 15))), 0, 0.99)


def test_a_lesion_at_the_midline_is_whole_in_every_crop_that_shows_it() -> None:
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[2:10, 10:50, 5:35], lungs[2:10, 10:50, 45:75] = 1, 2
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:7, 20:30, 30:43] = 1  # of the right lung, and into the box around the left one
    lungs[labels > 0] = 1
    labels[4, 40:44, 47:52] = 1
    cropped = crop_to_each_lung(with_organ(lungs, labels=labels), margin=4, least=0.2)
    assert cropped.organ is not None
    assert (cropped.organ[cropped.labels > 0] == 1).all()
    turn = int(np.flatnonzero(np.diff(cropped.height) < 0)[0]) + 1
    right, left = cropped.labels[:turn], cropped.labels[turn:]
    assert np.count_nonzero(right[3:5]) == np.count_nonzero(left[3:5]) == 260
    assert np.count_nonzero(left[2]) == 20
    assert np.count_nonzero(right[2]) in (0, 20)


def test_what_belongs_to_both_lungs_is_whole_in_both_crops() -> None:
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[2:10, 10:50, 5:35], lungs[2:10, 10:50, 45:75] = 1, 2
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:7, 20:30, 33:47] = 1
    lungs[labels > 0] = 3
    cropped = crop_to_each_lung(with_organ(lungs, labels=labels), margin=0, least=0.2)
    assert np.count_nonzero(cropped.labels) == 2 * 280
