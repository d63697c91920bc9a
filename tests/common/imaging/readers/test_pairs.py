"""Which file is whose mask, by the names and folders that 2D sets come with."""

from pathlib import Path

import pytest

from common.imaging.readers.pairs import Pairs, paired

ROOT = Path("set")


def pair(*names: str) -> Pairs:
    return paired(ROOT, [ROOT / name for name in names])


def masks_of(*names: str) -> dict[str, list[str]]:
    found = pair(*names).masks
    return {
        image.relative_to(ROOT).as_posix(): [mask.relative_to(ROOT).as_posix() for mask in masks]
        for image, masks in found.items()
    }


@pytest.mark.parametrize(
    "mask",
    [
        "a_mask.png", "a_Mask.png", "A_MASK.PNG", "mask_a.png", "Mask-a.png", "a-mask.png", "a mask.png", "a.mask.png",
        "a_masks.jpg", "a_seg.tif", "a_segmentation.bmp", "a-seg.jpeg", "segmentation a.tiff", "a_label.png",
        "label_a.png", "a_gt.png", "gt-a.png", "a_ground_truth.png", "a_annotation.png", "a_mask_1.png", "a_mask2.png",
        "a_mask (3).png", "a.jpg_mask.png", "amask.png", "a_lesion.png", "a_roi.png",
    ],
)  # fmt: skip
def test_a_mask_beside_its_image_is_known_by_any_usual_name(mask: str) -> None:
    assert masks_of("t/a.jpg", "t/b.jpg", f"t/{mask}") == {"t/a.jpg": [f"t/{mask}"], "t/b.jpg": []}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/1.png", "masks/1.png"),
        ("images/1.jpg", "Masks/1_mask.tif"),
        ("Images/1.png", "ground_truth/1.png"),
        ("images/1.png", "Ground Truth/1.bmp"),
        ("img/1.png", "labels/1.png"),
        ("original/1.png", "GT/1.png"),
        ("images/1.png", "annotations/1.png"),
        ("images/1.png", "segmentations/1.png"),
        ("images/glioma/1.png", "masks/glioma/1.png"),
        ("glioma/images/1.png", "glioma/masks/1.png"),
        ("glioma/1.png", "glioma/masks/1.png"),
        ("glioma/1.png", "masks/1.png"),
        ("glioma/1.png", "glioma_mask/1.png"),
        ("train_images/1.png", "train_masks/1.png"),
        ("Training/glioma/1.png", "Training/masks/glioma/1.png"),
        ("imagesTr/c_0000.png", "labelsTr/c.png"),
        ("JPEGImages/a.jpg", "SegmentationClass/a.png"),
        ("v/volume-0_slice_7.png", "v/segmentation-0_slice_7.png"),
        ("t/image_1.png", "t/mask_1.png"),
        ("p1/img.png", "p1/label.png"),
    ],
)
def test_a_mask_in_a_folder_of_its_own_or_under_another_word_is_known(image: str, mask: str) -> None:
    assert masks_of(image, mask, "other/9.png") == {image: [mask], "other/9.png": []}


def test_all_masks_of_one_image_are_its_own() -> None:
    names = ("b/x (1).png", "b/x (1)_mask.png", "b/x (1)_mask_1.png", "b/x (10).png", "b/x (10)_mask.png")
    assert masks_of(*names) == {"b/x (1).png": list(names[1:3]), "b/x (10).png": [names[4]]}


def test_equal_names_in_other_folders_are_kept_apart() -> None:
    names = ("Testing/t/1.jpg", "Testing/t/1_mask.jpg", "Training/t/1.jpg", "Training/t/1_mask.jpg", "Testing/h/1.jpg")
    assert masks_of(*names) == {names[0]: [names[1]], names[2]: [names[3]], names[4]: []}
    assert masks_of("t/a.png", "t/A.png", "t/a_mask.png", "t/A_mask.png") == {
        "t/a.png": ["t/a_mask.png"],
        "t/A.png": ["t/A_mask.png"],
    }


def test_a_mask_without_its_image_is_lost_and_never_an_image() -> None:
    found = pair("t/a.png", "t/z_mask.png", "h/masks/q.png", "t/mask.png", "t/b.png")
    assert [path.name for path in found.masks] == ["a.png", "b.png"]
    assert [path.name for path in found.lost] == ["q.png", "mask.png", "z_mask.png"]


def test_names_that_only_hold_such_a_word_are_images() -> None:
    names = ("t/unmasked.png", "t/segal_1.png", "t/b_tumor.png", "label_1/x.png", "t/gtv.png")
    assert list(masks_of(*names)) == sorted(names)


def test_one_mask_for_two_images_that_differ_in_their_suffix_belongs_to_both_and_is_known_for_it() -> None:
    found = pair("t/x.png", "t/x.jpg", "t/x_mask.png", "t/y.png", "t/y_mask.png")
    assert {path.name for path in found.shared} == {"x.png", "x.jpg"}
    assert all(len(masks) == 1 for masks in found.masks.values())


def test_files_that_are_no_images_are_left_aside() -> None:
    assert masks_of("t/a.npy", "t/a_mask.npy", "patients.csv") == {}
