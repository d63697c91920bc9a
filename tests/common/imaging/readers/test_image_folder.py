from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import BadStudyError, ConfigError, DataError
from common.imaging.patient import Patient
from common.imaging.readers.image_folder import ImageFolderReader

READER = ImageFolderReader(organ="brain", contrasts=("t1",), tumour_classes=("tumour",))


def grey(height: int = 40, width: int = 32, seed: int = 0) -> np.ndarray:
    image = np.zeros((height, width), np.uint8)
    image[5:-5, 5:-5] = np.random.default_rng(seed).integers(90, 200, (height - 10, width - 10))
    return image


def save(root: Path, name: str, pixels: np.ndarray) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def mask(height: int = 40, width: int = 32) -> np.ndarray:
    pixels = np.zeros((height, width), np.uint8)
    pixels[10:16, 12:20] = 255
    return pixels


def read(root: Path, patient: str, reader: ImageFolderReader = READER) -> Patient:
    (location,) = (found for found in reader.find(root) if found.patient == patient)
    return reader.read(location)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path, "tumour/a.png", grey(seed=1))
    save(tmp_path, "tumour/a_mask.png", mask())
    save(tmp_path, "tumour/b.png", grey(seed=2))
    save(tmp_path, "healthy/c.png", grey(seed=3))
    return tmp_path


def test_without_a_list_of_patients_every_image_is_one_and_says_so(folder: Path) -> None:
    found = READER.find(folder)
    assert [location.patient for location in found] == ["healthy/c.png", "tumour/a.png", "tumour/b.png"]
    assert not any(location.patient_known for location in found)


def test_an_image_with_a_mask_has_labels(folder: Path) -> None:
    patient = read(folder, "tumour/a.png")
    np.testing.assert_array_equal(patient.labels, (mask() > 0)[None].astype(np.uint8))
    np.testing.assert_array_equal(patient.images[0, 0], grey(seed=1))
    assert patient.has_tumour
    assert not patient.spacing_known


def test_a_tumour_image_without_a_mask_keeps_its_class_and_has_no_labels(folder: Path) -> None:
    patient = read(folder, "tumour/b.png")
    assert patient.labels is None
    assert patient.tumour_slices is not None
    assert patient.tumour_slices.tolist() == [True]
    assert patient.has_tumour


def test_an_image_of_another_class_is_healthy_with_an_empty_mask(folder: Path) -> None:
    patient = read(folder, "healthy/c.png")
    assert patient.labels is not None
    assert not patient.labels.any()
    assert not patient.has_tumour


def test_images_of_one_patient_become_one_padded_stack(folder: Path) -> None:
    save(folder, "healthy/d.png", grey(20, 24, seed=4))
    (folder / "patients.csv").write_text(
        "file,patient\ntumour/a.png,p1\ntumour/b.png,p1\nhealthy/c.png,p2\nhealthy/d.png,p1\n"
    )
    found = READER.find(folder)
    assert [location.patient for location in found] == ["p1", "p2"]
    assert all(location.patient_known for location in found)
    patient = read(folder, "p1")
    assert patient.images.shape == (1, 3, 40, 32)
    np.testing.assert_array_equal(patient.images[0, 0, 10:30, 4:28], grey(20, 24, seed=4))
    assert patient.images[0, 0].sum() == grey(20, 24, seed=4).sum()
    assert patient.tumour_slices is not None
    assert patient.tumour_slices.tolist() == [False, True, True]
    assert patient.labels is not None
    assert patient.labels.any(axis=(1, 2)).tolist() == [False, True, False]


def test_colour_becomes_grey_by_the_weights_of_the_eye(tmp_path: Path) -> None:
    colour = np.zeros((40, 32, 3), np.uint8)
    colour[10:20, 10:20] = (100, 200, 50)
    save(tmp_path, "tumour/a.png", colour)
    grey_value = read(tmp_path, "tumour/a.png").images.max()
    assert grey_value == pytest.approx(0.299 * 100 + 0.587 * 200 + 0.114 * 50, abs=1)


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    deep = grey().astype(np.uint16) * 250
    save(tmp_path, "tumour/a.png", deep)
    np.testing.assert_array_equal(read(tmp_path, "tumour/a.png").images[0, 0], deep)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".tif"])
def test_other_image_formats_are_read(tmp_path: Path, suffix: str) -> None:
    save(tmp_path, f"tumour/a{suffix}", grey())
    assert read(tmp_path, f"tumour/a{suffix}").images.shape == (1, 1, 40, 32)


def test_ct_images_are_scaled_to_hounsfield_units(tmp_path: Path) -> None:
    save(tmp_path, "tumour/a.png", np.pad(np.full((20, 20), 255, np.uint8), 10))
    reader = ImageFolderReader("lung", ("ct",), ("tumour",), (-1000, 400))
    patient = read(tmp_path, "tumour/a.png", reader)
    assert patient.modality == "CT"
    assert (patient.images.min(), patient.images.max()) == (-1000, 400)


def test_a_ct_image_with_32_bits_is_refused(tmp_path: Path) -> None:
    save(tmp_path, "tumour/a.tif", grey().astype(np.float32))
    with pytest.raises(BadStudyError, match=r"a\.tif: 32-bit"):
        read(tmp_path, "tumour/a.tif", ImageFolderReader("lung", ("ct",), ("tumour",), (-1000, 400)))


def _truncate(folder: Path) -> None:
    path = folder / "tumour" / "a.png"
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_truncate, r"^a\.png: cannot be read"),
        (lambda f: save(f, "tumour/a.png", np.zeros((40, 32), np.uint8)), r"^a\.png: image is empty"),
        (lambda f: save(f, "tumour/a_mask.png", mask(38, 32)), r"a_mask\.png: has 32x38 pixels, its image 32x40"),
        (lambda f: save(f, "tumour/a_mask.png", np.zeros((40, 32), np.uint8)), r"a_mask\.png: mask is empty"),
    ],
)
def test_a_bad_image_is_refused_with_its_reason(folder: Path, damage, reason: str) -> None:
    damage(folder)
    with pytest.raises(BadStudyError, match=reason):
        read(folder, "tumour/a.png")


def test_nan_and_several_pages_are_refused(tmp_path: Path) -> None:
    save(tmp_path, "tumour/a.tif", np.where(grey() > 0, np.nan, 0).astype(np.float32))
    with pytest.raises(BadStudyError, match="NaN"):
        read(tmp_path, "tumour/a.tif")
    pages = [Image.fromarray(grey(seed=n)) for n in range(2)]
    pages[0].save(tmp_path / "tumour" / "b.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(BadStudyError, match="holds 2 images"):
        read(tmp_path, "tumour/b.tif")


def test_a_lesion_in_a_healthy_class_is_refused(folder: Path) -> None:
    save(folder, "healthy/c_mask.png", mask())
    with pytest.raises(BadStudyError, match="its class has no tumour"):
        read(folder, "healthy/c.png")


def test_a_root_that_cannot_be_used_says_what_to_change(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        READER.find(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is not a folder"):
        READER.find(folder / "tumour" / "a.png")
    with pytest.raises(DataError, match="no image in"):
        READER.find(folder / "tumour")
    with pytest.raises(DataError, match="tumour class 'glioma' has no folder with images; folders are healthy, tumour"):
        ImageFolderReader("brain", ("t1",), ("glioma",)).find(folder)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,patient\ntumour/a.png,p1\n", "names no patient for 2 of 3 images, e.g. healthy/c.png"),
        ("image;person\n", "names no patient for 3|columns file and patient"),
        ("title,patient\ntumour/a.png,p1\n", "columns file and patient"),
        ("file,patient\ntumour/a.png\n", "columns file and patient"),
    ],
)
def test_a_list_of_patients_must_name_every_image(folder: Path, table: str, message: str) -> None:
    (folder / "patients.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        READER.find(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"organ": "heart"}, "unknown organ"),
        ({"contrasts": ("t1", "t2")}, "give one of"),
        ({"contrasts": ("pet",)}, "give one of"),
        ({"tumour_classes": ()}, "list the folders"),
        ({"tumour_classes": "tumour"}, "list the folders"),
        ({"contrasts": ("ct",)}, "hu_range"),
        ({"hu_range": (0, 1)}, "hu_range"),
        ({"contrasts": ("ct",), "hu_range": (5, 1)}, "ascending"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImageFolderReader(**{"organ": "brain", "contrasts": ("t1",), "tumour_classes": ("tumour",), **options})
