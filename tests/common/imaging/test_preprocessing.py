import numpy as np
import pytest
from PIL import Image

from common.config import ImageConfig, PreprocessingConfig
from common.errors import BadStudyError, ConfigError
from common.imaging.patient import Patient
from common.imaging.preprocessing import preprocess
from common.imaging.readers.brats import BratsReader
from common.imaging.steps.bias_field import correct_bias_field
from common.imaging.steps.foreground import (
    bounding_box,
    ct_foreground,
    foreground_share,
    labels_inside,
    mri_foreground,
    solid,
)
from common.imaging.steps.intensity import window, z_score
from common.imaging.steps.square import fit_to_square


def ellipse(shape: tuple[int, int, int], radius: float = 0.8) -> np.ndarray:
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    return x**2 + y**2 < radius**2


def brain(shape: tuple[int, int, int] = (10, 48, 40), seed: int = 0) -> np.ndarray:
    tissue = np.random.default_rng(seed).normal(400, 60, shape)
    return np.where(ellipse(shape), tissue, 0).astype(np.float32)


def patient_of(images: np.ndarray, labels: np.ndarray | None, **changes) -> Patient:
    values = {"patient": "p", "organ": "brain", "contrasts": ("flair",), "spacing": (1.0, 1.0, 1.0), "source": None}
    return Patient(images=images, labels=labels, **{**values, **changes})


# Foreground


def test_foreground_is_the_brain_despite_specks_ringing_and_dark_holes() -> None:
    inside = ellipse((10, 48, 40))
    image = brain()
    image[:, 20:24, 18:22] = 0  # a dark ventricle, open at both ends of the slab
    image[0, 1, 1] = 900  # a speck in a corner
    image[5, 2, 20] = -30  # ringing outside the brain
    np.testing.assert_array_equal(mri_foreground(image[None]), inside)


def test_foreground_is_the_same_on_a_background_that_is_not_zero() -> None:
    image = brain()
    np.testing.assert_array_equal(mri_foreground(image[None] - 7), mri_foreground(image[None]))
    noisy = image + np.random.default_rng(1).uniform(-3, 3, image.shape).astype(np.float32)
    np.testing.assert_array_equal(mri_foreground(noisy[None]), mri_foreground(image[None]))


def test_foreground_of_a_study_stored_as_z_scores_keeps_the_tissue_below_zero() -> None:
    inside = ellipse((10, 48, 40))
    scored = np.where(inside, z_score(brain(), inside), 0).astype(np.float32)
    assert (scored > 0).mean() < 0.6 * inside.mean()
    assert (mri_foreground(scored[None]) != inside).mean() < 0.01


def test_foreground_is_what_any_contrast_shows() -> None:
    first, second = brain(), brain()
    first[:, :, :20] = 0
    second[:, :, 20:] = 0
    np.testing.assert_array_equal(mri_foreground(np.stack([first, second])), ellipse((10, 48, 40)))


def test_two_large_parts_both_count() -> None:
    mask = np.zeros((1, 20, 20), bool)
    mask[:, 2:8, 2:8] = True
    mask[:, 12:18, 12:18] = True
    mask[0, 0, 19] = True
    kept = solid(mask)
    assert kept.sum() == 72
    assert not kept[0, 0, 19]


def test_body_on_ct_includes_the_lungs_but_not_the_air_around() -> None:
    inside = ellipse((6, 40, 40))
    image = np.where(inside, 40.0, -1000.0).astype(np.float32)
    image[:, 15:25, 15:25] = -850
    np.testing.assert_array_equal(ct_foreground(image[None]), inside)


def test_body_on_ct_that_was_stored_windowed_is_still_found() -> None:
    inside = ellipse((6, 40, 40))
    image = np.where(inside, 40.0, -100.0).astype(np.float32)
    np.testing.assert_array_equal(ct_foreground(image[None]), inside)


def test_an_image_without_anything_is_refused() -> None:
    for find in (mri_foreground, ct_foreground):
        with pytest.raises(BadStudyError, match="nothing stands out"):
            find(np.full((1, 4, 20, 20), -1000, np.float32))


def test_cropping_agrees_with_monai() -> None:
    from monai.transforms import CropForeground

    image = brain()
    box = bounding_box(image > 0)
    np.testing.assert_array_equal(image[box], np.asarray(CropForeground()(image[None]))[0])


def test_labels_outside_the_foreground_are_dropped_and_a_mask_mostly_outside_is_refused() -> None:
    inside = ellipse((10, 48, 40))
    labels = np.zeros(inside.shape, np.uint8)
    labels[5, 20:30, 20:30] = 2
    labels[5, 0, 0] = 1
    kept = labels_inside(labels, inside)
    assert kept[5, 0, 0] == 0
    assert kept.sum() == 200
    with pytest.raises(BadStudyError, match="outside the foreground"):
        labels_inside(np.asarray(~inside, dtype=np.uint8), inside)
    assert labels_inside(np.zeros_like(labels), inside).sum() == 0


# Intensity


def test_z_score_agrees_with_monai_inside_and_has_mean_0_and_deviation_1() -> None:
    from monai.transforms import NormalizeIntensity

    image = brain()
    inside = image > 0
    ours = z_score(image, inside)
    theirs = np.asarray(NormalizeIntensity(nonzero=True)(image[None]))[0]
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=1e-4)
    assert ours[inside].mean() == pytest.approx(0, abs=1e-4)
    assert ours[inside].std() == pytest.approx(1, abs=1e-4)


def test_a_constant_foreground_is_refused() -> None:
    with pytest.raises(BadStudyError, match="same value"):
        z_score(np.full((2, 4, 4), 7, np.float32), np.ones((2, 4, 4), bool))


def test_window_agrees_with_monai() -> None:
    from monai.transforms import ScaleIntensityRange

    values = np.random.default_rng(0).normal(0, 3, (50, 50)).astype(np.float32)
    theirs = ScaleIntensityRange(a_min=-2.5, a_max=4.5, b_min=0, b_max=1, clip=True)(values)
    np.testing.assert_allclose(window(values, [-2.5, 4.5]), np.asarray(theirs), atol=1e-6)


@pytest.mark.parametrize("limits", [[1.0, 1.0], [2.0, 1.0], [1.0], [float("nan"), 1.0]])
def test_a_window_that_is_none_is_refused(limits) -> None:
    with pytest.raises(ConfigError, match="two ascending numbers"):
        window(np.zeros(3, np.float32), limits)


@pytest.mark.parametrize("shape", [(16, 48, 48), (1, 48, 48)])
def test_bias_field_correction_takes_out_a_planted_field(shape: tuple[int, int, int]) -> None:
    inside = ellipse(shape)
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    field = np.exp(0.35 * x - 0.25 * y)
    flat = np.where(inside, np.random.default_rng(0).normal(300, 6, shape), 0)
    corrected = correct_bias_field((flat * field).astype(np.float32), inside)
    assert corrected.dtype == np.float32
    spread_before = (flat * field)[inside].std() / (flat * field)[inside].mean()
    spread_after = corrected[inside].std() / corrected[inside].mean()
    assert spread_before > 0.15
    assert spread_after < 0.4 * spread_before
    assert corrected[~inside].max() == 0


def test_bias_field_correction_agrees_with_n4_at_full_resolution() -> None:
    import SimpleITK

    shape = (12, 40, 40)
    inside = ellipse(shape)
    x = np.linspace(-1, 1, 40)[None, None, :]
    shaded = np.where(inside, np.random.default_rng(0).normal(300, 6, shape) * np.exp(0.3 * x), 0).astype(np.float32)
    full = SimpleITK.N4BiasFieldCorrection(
        SimpleITK.GetImageFromArray(shaded), SimpleITK.GetImageFromArray(inside.astype(np.uint8)), 0.001, [20] * 4
    )
    reference = SimpleITK.GetArrayFromImage(full)
    ours = correct_bias_field(shaded, inside)
    ratio = ours[inside] / reference[inside]
    assert (ratio / ratio.mean()).std() < 0.03


def test_a_study_too_thin_for_a_bias_field_is_refused() -> None:
    thin = brain((8, 1, 40)) + 300
    with pytest.raises(BadStudyError, match="no bias field"):
        correct_bias_field(thin, np.ones(thin.shape, bool))


# Geometry


def test_images_are_resized_as_pillow_does_with_antialiasing() -> None:
    image = np.random.default_rng(0).random((96, 96)).astype(np.float32)
    for size in (32, 160):
        theirs = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(fit_to_square(image, size, (1.0, 1.0), "area"), theirs, atol=1e-5)


def test_masks_are_resized_as_pillow_does_to_the_nearest() -> None:
    labels = np.random.default_rng(0).choice([0, 1, 2, 4], (90, 90)).astype(np.uint8)
    for size in (32, 160):
        theirs = np.asarray(Image.fromarray(labels).resize((size, size), Image.Resampling.NEAREST))
        np.testing.assert_array_equal(fit_to_square(labels, size, (1.0, 1.0), "nearest"), theirs)


def test_image_and_mask_stay_aligned_when_resized() -> None:
    mask = np.zeros((1, 120, 80), np.uint8)
    mask[0, 30:70, 20:60] = 1
    for size in (64, 256):
        image = fit_to_square(mask.astype(np.float32), size, (1.0, 1.0), "area")
        labels = fit_to_square(mask, size, (1.0, 1.0), "nearest")
        centre = [np.average(np.indices((size, size))[axis], weights=image[0]) for axis in (0, 1)]
        expected = [np.average(np.indices((size, size))[axis], weights=labels[0]) for axis in (0, 1)]
        np.testing.assert_allclose(centre, expected, atol=0.5)


def test_a_rectangle_is_centred_in_its_square() -> None:
    square = fit_to_square(np.ones((2, 20, 10), np.float32), 40, (1.0, 1.0), "area")
    assert square.shape == (2, 40, 40)
    assert square[:, :, 10:30].min() == 1
    assert square.sum() == 2 * 40 * 20


def test_pixels_of_unequal_sides_become_square() -> None:
    square = fit_to_square(np.ones((1, 20, 20), np.float32), 40, (2.0, 1.0), "area")
    assert square.sum() == 40 * 20
    assert square[0, :, 10:30].min() == 1


def test_foreground_share_counts_pixels() -> None:
    mask = np.zeros((2, 4, 5), bool)
    mask[1, :2] = True
    assert foreground_share(mask).tolist() == [0, 0.5]


# Everything together


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


def test_a_patient_without_mask_is_refused_unless_the_class_is_stated() -> None:
    image = brain()
    image[0] = 0
    with pytest.raises(BadStudyError, match="no tumour mask"):
        preprocess(patient_of(image[None], None), ImageConfig(size=32), PreprocessingConfig())
    stated = np.arange(10) % 2 == 0
    prepared = preprocess(patient_of(image[None], None, tumour_slices=stated), ImageConfig(32), PreprocessingConfig())
    assert not prepared.labels.any()
    assert prepared.tumour_slices is not None
    assert prepared.tumour_slices.tolist() == stated[1:].tolist()


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
