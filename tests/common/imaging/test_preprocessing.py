from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from phantoms import brain, ellipse, ellipsoid, patient_of, thorax

from common.errors import BadStudyError, ConfigError
from common.imaging.dicom.masks import load_masks
from common.imaging.dicom.volume import load_volume
from common.imaging.patient import Patient
from common.imaging.preprocessing import preprocess, trace
from common.imaging.readers.brats import BratsReader
from common.imaging.steps.foreground import mri_foreground
from common.study.experiment import ImageConfig, PreprocessingConfig


def test_preprocess_gives_slices_of_the_agreed_type_and_range() -> None:
    labels = np.zeros((10, 48, 40), np.uint8)
    labels[3:6, 20:30, 15:25] = 4
    prepared = preprocess(patient_of(brain()[None], labels), ImageConfig(size=32), PreprocessingConfig())
    assert prepared.patient == "p"
    assert prepared.images.shape == (10, 1, 32, 32)
    assert prepared.labels.shape == prepared.foreground.shape == (10, 32, 32)
    assert (prepared.images.dtype, prepared.labels.dtype, prepared.foreground.dtype) == (np.float16, np.uint8, np.uint8)
    assert prepared.images.min() == 0
    assert prepared.images.max() <= 1
    assert (prepared.images[:, 0][prepared.foreground == 0] == 0).all()
    assert set(np.unique(prepared.labels)) == {0, 4}
    assert prepared.labels.any(axis=(1, 2)).tolist() == [3 <= z < 6 for z in range(10)]
    assert prepared.tumour_slices is None
    middle = prepared.images[:, 0][prepared.foreground > 0].astype(np.float64).mean()
    assert middle == pytest.approx(2.5 / 7, abs=0.03)  # a z-score of 0 in the window (-2.5, 4.5)


def test_slices_that_show_little_are_left_out_and_those_kept_stay_in_order() -> None:
    image = brain()
    image[0], image[9] = 0, 0
    image[0, 24:26, 20:22] = 400
    image[4] += np.where(image[4] > 0, 300, 0)
    labels = np.zeros(image.shape, np.uint8)
    labels[4, 20:30, 15:25] = 1
    prepared = preprocess(patient_of(image[None], labels), ImageConfig(size=32), PreprocessingConfig())
    assert len(prepared.images) == 8
    assert np.flatnonzero(prepared.labels.any(axis=(1, 2))).tolist() == [3]
    with pytest.raises(BadStudyError, match="no slice shows 99% foreground"):
        preprocess(patient_of(image[None], labels), ImageConfig(size=32, min_foreground=0.99), PreprocessingConfig())


def test_preprocessing_does_not_depend_on_the_scale_and_offset_of_a_scanner() -> None:
    labels = np.zeros((10, 48, 40), np.uint8)
    steps, image = PreprocessingConfig(), ImageConfig(size=32)
    one = preprocess(patient_of(brain()[None], labels), image, steps)
    other = preprocess(patient_of(brain()[None] * 3 + 11, labels), image, steps)
    np.testing.assert_allclose(one.images, other.images, atol=2e-3)


def test_ct_is_windowed_in_hounsfield_units_without_z_scores() -> None:
    image = np.where(ellipse((4, 40, 40)), 75.0, -1000.0).astype(np.float32)
    patient = patient_of(image[None], np.zeros(image.shape, np.uint8), organ="liver", contrasts=("ct",))
    prepared = preprocess(patient, ImageConfig(size=32), PreprocessingConfig(window=[-100, 250]))
    assert prepared.images[:, 0, 16, 16] == pytest.approx(0.5)


def test_the_bias_field_is_corrected_only_if_asked_for() -> None:
    shading = np.linspace(0.6, 1.4, 40, dtype=np.float32)
    patient = patient_of((brain() * shading)[None], np.zeros((10, 48, 40), np.uint8))
    halves = {}
    for bias_field in (False, True):
        prepared = preprocess(patient, ImageConfig(size=32), PreprocessingConfig(bias_field=bias_field))
        images = prepared.images[:, 0].astype(np.float64)
        inside = prepared.foreground > 0
        halves[bias_field] = abs(images[..., 16:][inside[..., 16:]].mean() - images[..., :16][inside[..., :16]].mean())
    assert halves[True] < 0.3 * halves[False]


def test_a_patient_without_mask_has_no_labels_and_keeps_the_class_that_is_stated() -> None:
    image = brain()
    image[0] = 0
    unknown = preprocess(patient_of(image[None], None), ImageConfig(size=32), PreprocessingConfig())
    assert not unknown.labels.any()
    assert unknown.tumour_slices is None
    stated = np.arange(10) % 2 == 0
    prepared = preprocess(patient_of(image[None], None, tumour_slices=stated), ImageConfig(32), PreprocessingConfig())
    assert not prepared.labels.any()
    assert prepared.tumour_slices is not None
    assert prepared.tumour_slices.tolist() == stated[1:].tolist()


def chest_of(**changes) -> Patient:
    chest = thorax()
    values = {"organ": "lung", "contrasts": ("ct",), "spacing": chest.spacing}
    return patient_of(chest.hu[None], chest.nodule.astype(np.uint8), **{**values, **changes})


def abdomen_of(**changes) -> Patient:
    """A body with a liver of 100 HU in it, and a mass of 60 HU that the liver's outline leaves out."""
    shape = (20, 80, 90)
    body, liver = ellipsoid(shape, (10, 40, 45), (1e3, 35, 42)), ellipsoid(shape, (10, 35, 28), (12, 20, 18))
    mass = ellipsoid(shape, (10, 35, 22), (4, 6, 6))
    hu = np.select([mass, liver, body], [60, 100, 20], -1000) + np.random.default_rng(0).normal(0, 10, shape)
    values = {"organ": "liver", "contrasts": ("ct",), "organ_mask": (liver & ~mass).astype(np.uint8)}
    return patient_of(hu.astype(np.float32)[None], mass.astype(np.uint8), **{**values, **changes})


LUNG = PreprocessingConfig(window=[-1000, 400], crop="organ", stretch=[1, 99])
LIVER = PreprocessingConfig(window=[-100, 250], crop="organ", median=1, equalise=True)


@pytest.mark.parametrize(
    ("patient", "steps"),
    [(chest_of(), LUNG), (chest_of(), replace(LUNG, crop="each_lung", spacing=[4, 0, 0])), (abdomen_of(), LIVER)],
    ids=["lungs", "each lung", "liver"],
)
def test_slices_of_an_organ_show_it_with_its_lesions_in_the_agreed_types(patient, steps) -> None:
    prepared = preprocess(patient, ImageConfig(size=64), steps)
    count = len(prepared.images)
    assert prepared.images.shape == (count, 1, 64, 64)
    assert prepared.organ is not None
    assert prepared.labels.shape == prepared.foreground.shape == prepared.organ.shape == (count, 64, 64)
    assert (prepared.images.dtype, prepared.labels.dtype, prepared.organ.dtype) == (np.float16, np.uint8, np.uint8)
    assert prepared.images.flags.c_contiguous
    assert prepared.images.min() == 0
    assert 0.99 < prepared.images.max() <= 1
    assert (prepared.images[:, 0][prepared.foreground == 0] == 0).all()
    assert (prepared.foreground[prepared.organ > 0] == 1).all()
    assert prepared.labels.any()
    assert (prepared.organ[prepared.labels > 0] == 1).all()
    around = (prepared.foreground > 0) & (prepared.organ == 0)
    assert prepared.images[:, 0][around].max() > 0.5  # what lies around the organ stays visible


def test_lungs_are_known_without_cropping_to_them_and_a_brain_is_all_organ() -> None:
    whole = preprocess(chest_of(), ImageConfig(size=64), PreprocessingConfig(window=[-1000, 400]))
    assert whole.organ is not None
    assert 0.1 < whole.organ.mean() < 0.4
    soft = patient_of(np.where(ellipse((4, 40, 40)), 40.0, -1000.0).astype(np.float32)[None], None)
    no_lungs = preprocess(replace(soft, organ="lung", contrasts=("ct",)), ImageConfig(32), PreprocessingConfig())
    assert no_lungs.organ is None
    assert preprocess(patient_of(brain()[None], None), ImageConfig(32), PreprocessingConfig(crop="organ")).organ is None


def test_lungs_that_a_data_set_outlines_are_taken_as_they_are_unless_each_is_asked_for() -> None:
    chest = thorax()
    outlined = chest_of(organ_mask=chest.right.astype(np.uint8))
    one = preprocess(outlined, ImageConfig(size=64), LUNG)
    assert one.organ is not None
    assert one.organ.any(axis=(0, 2)).sum() > one.organ.any(axis=(0, 1)).sum()  # one lung is higher than wide
    both = preprocess(outlined, ImageConfig(size=64), replace(LUNG, crop="each_lung"))
    assert len(both.images) > 1.7 * len(one.images)


def test_a_nodule_is_larger_where_each_lung_has_its_own_slices() -> None:
    pixels = {}
    for crop in ("organ", "each_lung"):
        prepared = preprocess(chest_of(), ImageConfig(size=64), replace(LUNG, crop=crop))
        pixels[crop] = (prepared.labels > 0).sum(axis=(1, 2)).max()
    assert pixels["each_lung"] > 1.7 * pixels["organ"]


def test_what_a_step_needs_and_a_study_lacks_is_named() -> None:
    small = ImageConfig(size=32)
    with pytest.raises(BadStudyError, match="no mask of the liver, which crop=organ needs"):
        preprocess(abdomen_of(organ_mask=None), small, LIVER)
    with pytest.raises(BadStudyError, match="no mask of the liver, which crop=organ needs"):
        preprocess(abdomen_of(organ_mask=np.zeros((20, 80, 90), np.uint8)), small, LIVER)
    with pytest.raises(BadStudyError, match="needs a known spacing"):
        preprocess(abdomen_of(spacing_known=False), small, replace(LIVER, spacing=[2, 2, 2]))
    with pytest.raises(BadStudyError, match="no lungs"):
        preprocess(abdomen_of(organ="lung", organ_mask=None), small, LUNG)
    with pytest.raises(ConfigError, match="for MRI, this study is CT"):
        preprocess(abdomen_of(), small, replace(LIVER, bias_field=True))
    with pytest.raises(ConfigError, match=r"organs\.brain\.steps\.crop=each_lung"):
        preprocess(patient_of(brain()[None], None), small, PreprocessingConfig(crop="each_lung"))


@pytest.mark.parametrize("contrast", ["ct", "t1"])
def test_one_image_without_a_scale_passes_every_step_that_it_can(contrast: str) -> None:
    chest = chest_of()
    plane = chest.images[:, 28:29] if contrast == "ct" else chest.images[:, 28:29] + 1000
    single = replace(chest, images=plane, labels=chest.labels[28:29], contrasts=(contrast,), spacing_known=False)
    single = replace(single, spacing=(1.0, 1.0, 1.0), organ="lung" if contrast == "ct" else "brain")
    window = [-1000, 400] if contrast == "ct" else [-2.5, 4.5]
    steps = PreprocessingConfig(
        bias_field=contrast == "t1", crop="organ", median=1, window=window, stretch=[1, 99], equalise=True
    )
    prepared = preprocess(single, ImageConfig(size=64), steps)
    assert prepared.images.shape == (1, 1, 64, 64)
    assert prepared.labels.any()
    if contrast == "t1":
        with pytest.raises(BadStudyError, match="whole head"):
            preprocess(single, ImageConfig(size=64), PreprocessingConfig(skull_strip=True))


def test_a_head_is_stripped_of_all_but_the_brain_and_its_lesions(monkeypatch) -> None:
    seen = []

    def brain_at_the_top(head, spacing):
        seen.append(float(head.max()))
        found = np.zeros(head.shape, bool)
        found[:, :30] = True
        return found

    monkeypatch.setattr("common.imaging.preprocessing.brain_mask", brain_at_the_top)
    flair, t1 = brain(seed=0), 2 * brain(seed=1)
    labels = np.zeros(flair.shape, np.uint8)
    labels[5, 36:40, 18:22] = 1  # the network took it for something else
    patient = patient_of(np.stack([flair, t1]), labels, contrasts=("flair", "t1"))
    prepared = preprocess(patient, ImageConfig(size=64), PreprocessingConfig(skull_strip=True))
    assert seen == [t1.max()]
    height, width = (prepared.foreground[0].any(axis=axis).sum() for axis in (1, 0))
    assert height < width  # the whole disc is higher than wide
    assert prepared.foreground[4].sum() < prepared.foreground[5].sum()
    assert (prepared.labels[5] > 0).any()


# Pictures


def test_each_step_that_is_on_has_a_picture_and_they_join() -> None:
    pictures = trace(abdomen_of(), ImageConfig(size=64), LIVER, size=96)
    assert [picture.name for picture in pictures] == [
        "foreground",
        "crop",
        "median filter",
        "window",
        "histogram equalisation",
        "scale",
    ]
    for picture in pictures:
        for image in (picture.before, picture.after):
            assert (image.shape, image.dtype) == ((96, 96), np.float32)
            assert 0 <= image.min() < image.max() <= 1
        assert np.abs(picture.before - picture.after).max() > 0.02
        assert picture.does
    for one, other in pairwise(pictures[3:]):
        np.testing.assert_array_equal(one.after, other.before)


def test_the_last_picture_is_the_slice_with_the_largest_lesion_as_it_is_trained_on() -> None:
    image = ImageConfig(size=64)
    for steps in (LUNG, replace(LUNG, crop="each_lung", spacing=[4, 0, 0])):
        prepared = preprocess(chest_of(), image, steps)
        largest = (prepared.labels > 0).sum(axis=(1, 2)).argmax()
        last = trace(chest_of(), image, steps, size=64)[-1]
        shown = [np.abs(last.after - plane[0].astype(np.float32)).mean() for plane in prepared.images]
        assert abs(int(np.argmin(shown)) - int(largest)) <= 1
        assert min(shown) < 1e-3


def test_pictures_of_a_patient_without_a_lesion_show_the_middle() -> None:
    pictures = trace(patient_of(brain()[None], None), ImageConfig(size=32), PreprocessingConfig())
    assert [picture.name for picture in pictures] == ["foreground", "z-score", "scale"]
    assert pictures[-1].after.max() > 0.3


def test_a_real_liver_fills_its_box_and_is_equalised(real_liver) -> None:
    volume = load_volume(sorted(real_liver.glob("0*.dcm")))
    liver = load_masks(real_liver / "liver_seg.dcm", volume, ["liver"].__contains__).by_name["liver"]
    images = np.ascontiguousarray(volume.to_lps(volume.voxels))[None]
    outline = np.ascontiguousarray(volume.to_lps(liver)).astype(np.uint8)
    patient = patient_of(images, None, organ="liver", contrasts=("ct",), spacing=volume.lps_spacing, organ_mask=outline)
    prepared = preprocess(patient, ImageConfig(size=128), LIVER)
    assert len(prepared.images) == 3
    assert prepared.organ is not None
    rows, columns = (np.flatnonzero(prepared.organ.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    assert max(np.ptp(rows), np.ptp(columns)) > 110
    pixel = np.ptp(np.flatnonzero(outline.any(axis=(0, 1)))) * volume.lps_spacing[2] / np.ptp(columns)
    area = outline.sum() * volume.lps_spacing[1] * volume.lps_spacing[2]
    assert prepared.organ.sum() * pixel**2 == pytest.approx(area, rel=0.05)
    plain = preprocess(patient, ImageConfig(size=128), replace(LIVER, equalise=False))
    equal, unequal = (one.images[:, 0][prepared.organ > 0].astype(np.float64).std() for one in (prepared, plain))
    assert equal > 2 * unequal


@pytest.mark.parametrize("size", [64, 256])
def test_real_patients_keep_their_brain_and_lesion(real_brats, size: int) -> None:
    reader = BratsReader(contrasts=("flair",))
    for location in reader.find(real_brats):
        patient = reader.read(location)
        prepared = preprocess(patient, ImageConfig(size=size), PreprocessingConfig())
        inside = mri_foreground(patient.images)
        assert inside.mean() == pytest.approx((patient.images[0] > 0).mean(), rel=0.02)
        assert inside[patient.labels > 0].mean() > 0.99
        scale = np.sqrt(prepared.foreground[60].sum() / inside[:, :, :].sum(axis=(1, 2)).max())
        assert prepared.images.shape[1:] == (1, size, size)
        volume_ratio = (prepared.labels > 0).sum() / (patient.labels > 0).sum()
        assert volume_ratio == pytest.approx(scale**2, rel=0.25)
        bright = prepared.images[:, 0][prepared.labels > 0].astype(np.float64).mean()
        assert bright > prepared.images[:, 0][prepared.foreground > 0].astype(np.float64).mean() + 0.1


def test_one_lung_or_two_that_cannot_be_told_apart_are_shown_in_one_box_and_that_is_told() -> None:
    chest = thorax()
    hu = np.where(chest.left, 40, chest.hu).astype(np.float32)
    patient = replace(chest_of(), images=hu[None])
    prepared = preprocess(patient, ImageConfig(size=64), replace(LUNG, crop="each_lung"))
    told = [one.what for one in prepared.remarks if one.kind == "guess"]
    assert told == ["one lung, or two that cannot be told apart: shown in one box"]
    assert prepared.labels.any()


def single_images(count: int = 6) -> Patient:
    """Images of their own with grey air, one of them without a head, one with little of it."""
    image = brain((count, 48, 40))
    image[1] = 0
    image[2] = np.where(ellipse((count, 48, 40), 0.25)[2], image[2], 0)
    image[2, 24, 20] = 400
    rng = np.random.default_rng(0)
    noisy = np.hypot(image + rng.normal(0, 12, image.shape), rng.normal(0, 12, image.shape)).astype(np.float32)
    labels = np.zeros(image.shape, np.uint8)
    labels[4, 20:30, 15:25] = 1
    return patient_of(noisy[None], labels, spacing_known=False)


def test_images_of_their_own_that_show_no_head_go_and_are_counted() -> None:
    prepared = preprocess(single_images(), ImageConfig(size=32), PreprocessingConfig())
    assert len(prepared.images) == 4
    assert {(one.kind, one.what): one.count for one in prepared.remarks} == {
        ("slice", "without a head"): 1,
        ("slice", "with less of the head than image.min_foreground asks for"): 1,
    }
    assert (prepared.images[:, 0][prepared.foreground == 0] == 0).all()
    assert (prepared.foreground.mean(axis=(1, 2)) < 0.68).all()  # a disc, not its box


def test_slices_with_a_tumour_that_show_too_little_are_told() -> None:
    image, labels = brain(), np.zeros((10, 48, 40), np.uint8)
    image[0] = np.where(ellipse((10, 48, 40), 0.25)[0], image[0], 0)
    labels[0, 23:26, 19:22] = 1
    prepared = preprocess(patient_of(image[None], labels), ImageConfig(size=32), PreprocessingConfig())
    assert not prepared.labels.any()
    told = [(one.kind, one.what, one.count) for one in prepared.remarks]
    assert told == [("slice", "with a tumour, and less of the head than image.min_foreground asks for", 1)]


def test_a_slice_of_a_tumour_outside_the_head_as_found_does_not_become_one_without() -> None:
    labels = np.zeros((10, 48, 40), np.uint8)
    labels[4:6, 20:30, 15:25] = 1
    labels[7, 0:4, 0:4] = 1
    prepared = preprocess(patient_of(brain()[None], labels), ImageConfig(size=32), PreprocessingConfig())
    assert prepared.labels.any(axis=(1, 2)).tolist() == [z in (4, 5, 7) for z in range(10)]
    assert [one.kind for one in prepared.remarks] == ["guess"]


def test_reasons_name_the_option_that_helps() -> None:
    small = ImageConfig(size=32)
    with pytest.raises(BadStudyError, match=r"organ_segments.*organs\.liver\.steps\.crop=foreground"):
        preprocess(abdomen_of(organ_mask=None), small, LIVER)
    with pytest.raises(BadStudyError, match=r"organs\.lung\.steps\.crop=foreground"):
        preprocess(abdomen_of(organ="lung", organ_mask=None), small, LUNG)
    with pytest.raises(BadStudyError, match=r"image\.min_foreground"):
        preprocess(patient_of(brain()[None], None), ImageConfig(size=32, min_foreground=0.99), PreprocessingConfig())
