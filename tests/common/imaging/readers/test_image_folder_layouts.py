"""Folders of 2D images as people have them: what is a tumour, what is healthy, what is told and what is refused."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from common.errors import BadStudyError, ConfigError, DataError
from common.imaging.finding import find_studies, told_of
from common.imaging.listing import list_files
from common.imaging.patient import Patient
from common.imaging.readers.image_folder import ImageFolderReader
from common.imaging.remarks import Question, Remark

REAL = Path(__file__).parents[5] / "shared" / "data"
TUMOUR = np.zeros((40, 32), np.uint8)
TUMOUR[10:16, 12:20] = 255
EMPTY = np.zeros_like(TUMOUR)


def grey(seed: int = 0) -> npt.NDArray[np.uint8]:
    image = np.zeros((40, 32), np.uint8)
    image[5:-5, 5:-5] = np.random.default_rng(seed).integers(90, 200, (30, 22))
    return image


def saved(root: Path, files: dict[str, npt.NDArray[Any]]) -> Path:
    for name, pixels in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)
    return root


def reader(**options: Any) -> ImageFolderReader:
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    return ImageFolderReader("brain", ("flair",), **given)


def read(root: Path, **options: Any) -> dict[str, Patient | str]:
    chosen = reader(**options)
    found: dict[str, Patient | str] = {}
    for location in chosen.find(root):
        try:
            found[location.patient] = chosen.read(location)
        except BadStudyError as error:
            found[location.patient] = error.reason
    return found


def verdicts(root: Path, **options: Any) -> dict[str, Any]:
    """Patient -> stated class of each slice and lesion pixels of each slice, or why it is refused."""
    return {
        name: one
        if isinstance(one, str)
        else (
            [] if one.tumour_slices is None else one.tumour_slices.tolist(),
            None if one.labels is None else np.count_nonzero(one.labels, axis=(1, 2)).tolist(),
        )
        for name, one in read(root, **options).items()
    }


def told(root: Path, **options: Any) -> dict[str, int]:
    """What is told of the whole folder before a pixel is read."""
    files = list(list_files(root))
    return {one.what: one.count for one in told_of(root, files, find_studies(reader(**options), root))}


FREE = ([False], [0])
OUTLINED = ([True], [48])
UNOUTLINED = ([True], None)


def test_masks_decide_where_images_and_masks_lie_side_by_side(tmp_path: Path) -> None:
    saved(tmp_path, {f"images/{n}.png": grey(n) for n in range(3)})
    saved(tmp_path, {"masks/0.png": TUMOUR, "masks/1.png": EMPTY})
    expected = {"images/0.png": OUTLINED, "images/1.png": FREE, "images/2.png": UNOUTLINED}
    assert verdicts(tmp_path, tumour_classes=["images"]) == expected
    assert told(tmp_path, tumour_classes=["images"]) == {
        "no mask beside an image of a tumour class, taken as a tumour without an outline": 1
    }


def test_with_classes_by_masks_an_image_without_one_is_refused_or_tumour_free_as_the_site_says(tmp_path: Path) -> None:
    saved(tmp_path, {"a.png": grey(1), "a_mask.png": TUMOUR, "b.png": grey(2), "b_mask.jpg": EMPTY, "c.png": grey(3)})
    found = verdicts(tmp_path, classes="masks")
    assert (found["a.png"], found["b.png"]) == (OUTLINED, FREE)
    assert "set unmasked: tumour_free" in found["c.png"]
    free = read(tmp_path, classes="masks", unmasked="tumour_free")["c.png"]
    assert isinstance(free, Patient)
    assert not free.has_tumour
    assert free.remarks == (Remark("guess", "no mask, taken as without a tumour as options.unmasked says"),)
    saved(tmp_path, {"tumour/d.png": grey(4)})
    assert verdicts(tmp_path, classes="masks", tumour_classes=["tumour"])["tumour/d.png"] == UNOUTLINED


def test_a_folder_a_patient_without_class_folders_is_read_by_its_masks(tmp_path: Path) -> None:
    for patient in ("TCGA_1", "TCGA_2"):
        for n in range(2):
            stem = f"{patient}/{patient}_{n}"
            saved(tmp_path, {f"{stem}.tif": grey(n), f"{stem}_mask.tif": TUMOUR if n else EMPTY})
    whole = ([False, True], [0, 48])
    assert verdicts(tmp_path, classes="masks", patients="folders") == {"TCGA_1": whole, "TCGA_2": whole}
    assert all(one.patient_known for one in reader(classes="masks", patients="folders").find(tmp_path))
    assert list(told(tmp_path, classes="masks").values()) == [4]
    assert next(iter(told(tmp_path, classes="masks"))).startswith("each image taken as a patient of its own")
    (tmp_path / "patients.csv").write_text("folder,patient\nTCGA_1,x\nTCGA_2,y\n")
    assert verdicts(tmp_path, classes="masks") == {"x": whole, "y": whole}


@pytest.mark.parametrize("tumour", ["tumour", "Tumour ", "TUMOUR"])
def test_training_and_testing_folders_hold_the_same_classes(tmp_path: Path, tumour: str) -> None:
    names = ("Training/tumour/1.jpg", "Training/normal/1.jpg", "Testing/Tumour/1.jpg", "Testing/normal/1.jpg")
    saved(tmp_path, {name: grey(n) for n, name in enumerate(names)})
    assert verdicts(tmp_path, tumour_classes=[tumour]) == {
        "Testing/Tumour/1.jpg": UNOUTLINED,
        "Testing/normal/1.jpg": FREE,
        "Training/normal/1.jpg": FREE,
        "Training/tumour/1.jpg": UNOUTLINED,
    }
    assert told(tmp_path, tumour_classes=[tumour]) == {}


def test_the_same_set_twice_on_other_levels_keeps_every_image_and_its_class(tmp_path: Path) -> None:
    names = ("set/no/1.png", "set/yes/1.png", "no/1.png", "yes/1.png", "normal/2.png")
    saved(tmp_path, {name: grey(n) for n, name in enumerate(names)})
    found = verdicts(tmp_path, tumour_classes=["yes"])
    assert {name: one[0] for name, one in found.items()} == {name: ["yes" in name] for name in names}
    assert told(tmp_path, tumour_classes=["yes"]) == {}


def test_parts_of_a_set_are_no_patients(tmp_path: Path) -> None:
    for part in ("train", "Test_2"):
        saved(tmp_path, {f"{part}/images/1.png": grey(), f"{part}/masks/1.png": TUMOUR})
    assert told(tmp_path, classes="masks") == {}
    assert verdicts(tmp_path, classes="masks") == {"Test_2/images/1.png": OUTLINED, "train/images/1.png": OUTLINED}


def test_folders_of_patients_below_the_class_keep_the_class(tmp_path: Path) -> None:
    names = ("glioma/p1/1.png", "glioma/p2/1.png", "healthy/p3/1.png", "healthy/p1/2.png")
    saved(tmp_path, {name: grey(n) for n, name in enumerate(names)})
    found = verdicts(tmp_path, tumour_classes=["glioma"])
    assert {name: one[0] for name, one in found.items()} == {name: [name.startswith("glioma")] for name in names}
    assert list(told(tmp_path, tumour_classes=["glioma"]).values()) == [4]
    by_folder = verdicts(tmp_path, tumour_classes=["glioma"], patients="folders")
    assert {name: one[0] for name, one in by_folder.items()} == {"p1": [True, False], "p2": [True], "p3": [False]}
    assert told(tmp_path, tumour_classes=["glioma"], patients="folders") == {
        "folders of one name in several places, taken as one patient": 2
    }


def test_images_below_a_class_in_images_and_masks(tmp_path: Path) -> None:
    saved(tmp_path, {"tumour/images/1.png": grey(1), "tumour/masks/1.png": TUMOUR, "healthy/images/1.png": grey(2)})
    assert verdicts(tmp_path, tumour_classes=["tumour"]) == {
        "healthy/images/1.png": FREE,
        "tumour/images/1.png": OUTLINED,
    }
    saved(tmp_path, {"tumour/masks/1.png": EMPTY})
    refused = verdicts(tmp_path, tumour_classes=["tumour"])["tumour/images/1.png"]
    assert refused.startswith("1.png: mask is empty, though its class shows a tumour; set classes: masks if the masks")


def test_several_masks_of_an_image_are_joined(tmp_path: Path) -> None:
    second = np.zeros_like(TUMOUR)
    second[14:20, 12:20] = 255
    saved(tmp_path, {"t/x.png": grey(), "t/x_mask.png": TUMOUR, "t/x_mask_1.png": second, "normal/y.png": grey(1)})
    found = read(tmp_path, tumour_classes=["t"])["t/x.png"]
    assert isinstance(found, Patient)
    assert found.labels is not None
    np.testing.assert_array_equal(found.labels[0] > 0, (TUMOUR > 0) | (second > 0))


def test_a_class_that_is_not_listed_is_told_as_it_may_be_a_tumour(tmp_path: Path) -> None:
    for name in ("glioma", "meningioma", "no_tumor", "pituitary"):
        saved(tmp_path, {f"{name}/{n}.png": grey(n) for n in range(2)})
    assert told(tmp_path, tumour_classes=["glioma", "meningioma"]) == {
        "folder pituitary is not in tumour_classes, taken as without a tumour": 2
    }


def test_values_of_masks_are_told_or_asked_for_and_kept_out_until_answered(tmp_path: Path) -> None:
    both = np.where(TUMOUR > 0, 2, 0).astype(np.uint8)
    both[20:30, 10:20] = 1
    organ = np.where(both == 1, 1, 0).astype(np.uint8)
    saved(tmp_path, {"t/a.png": grey(), "t/a_mask.png": both, "t/b.png": grey(1), "t/b_mask.png": organ})
    saved(tmp_path, {"normal/c.png": grey(2), "normal/c_mask.png": organ})
    refused = verdicts(tmp_path, tumour_classes=["t"])
    assert "say which are tumour, e.g. tumour_values: [2]" in refused["t/a.png"]
    assert "add the class to tumour_classes" in refused["normal/c.png"]
    found = read(tmp_path, tumour_classes=["t"], tumour_values=[2])
    told = {name: (one.remarks, one.questions) for name, one in found.items() if isinstance(one, Patient)}
    asked = ((), (Question("1", ("tumour_values", "other_values")),))
    assert told == {"t/a.png": ((Remark("value", "1"),), ()), "t/b.png": asked, "normal/c.png": asked}
    answered = verdicts(tmp_path, classes="masks", tumour_values=[2], other_values=["1"])
    assert answered == {"t/a.png": OUTLINED, "t/b.png": FREE, "normal/c.png": FREE}
    with_organ = read(tmp_path, classes="masks", tumour_values=[1, 2])
    assert {name: one.has_tumour for name, one in with_organ.items() if isinstance(one, Patient)} == dict.fromkeys(
        told, True
    )


def test_what_is_not_read_is_told(tmp_path: Path) -> None:
    saved(tmp_path, {"t/a.png": grey(), "t/a_mask.png": TUMOUR, "normal/b.png": grey(1)})
    saved(tmp_path, {"t/z_mask.png": TUMOUR, "c.png": grey(2)})
    np.save(tmp_path / "t" / "d.npy", grey())
    (tmp_path / "t" / "e.webp").write_bytes(b"")
    assert told(tmp_path, tumour_classes=["t"]) == {"*.png": 2, "*.npy": 1, "*.webp": 1}


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ("t/a.npy t/b.npy", {}, r"2 files \*\.npy were found, which this reader does not read: convert to PNG or TIFF"),
        ("t/a.webp h/b.gif", {}, r"1 file \*\.gif, 1 file \*\.webp were found"),
        ("t/a.dcm", {}, r"1 file \*\.dcm was found.*: set reader: dicom"),
        ("t/a.npy h/b.png", {}, r"'t' has no folder with images; folders are h; .*1 file \*\.npy"),
        ("t/a_mask.png", {}, r"every image file is a mask by its name \(1, e\.g\. a_mask\.png\)"),
        ("a.png", {}, "lies in a class folder; set the site's path to the folder above it, or classes: masks"),
        ("t/a.png t/zz_mask.png", {}, r"belongs to an image by its name, e\.g\. t/zz_mask\.png beside t/a\.png"),
        ("t/a.png", {"patients": "folders"}, "no folder of a patient lies above 1 of 1 images.*set patients: images"),
        ("", {"classes": "masks"}, "it holds no file at all"),
    ],
)
def test_a_folder_that_cannot_be_used_says_what_lies_there_and_what_helps(
    tmp_path: Path, files: str, options: dict[str, Any], message: str
) -> None:
    for name in files.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=message):
        reader(**{"tumour_classes": ["t"], **options}).find(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "or set classes: masks"),
        ({"classes": "both"}, "classes is 'both'; write folders or masks"),
        ({"patients": "names", "tumour_classes": ["t"]}, "patients is 'names'; write images or folders"),
        ({"unmasked": "tumour_free", "tumour_classes": ["t"]}, "unmasked belongs to classes: masks"),
        ({"tumour_classes": [1]}, "put names in quotation marks"),
        ({"classes": "masks", "tumour_values": [None]}, "image_folder: tumour_values holds None"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        reader(**options)


def test_image_and_mask_are_turned_alike_and_a_difference_is_told(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "t").mkdir()
    Image.fromarray(grey()).save(tmp_path / "t/a.png", exif=exif)
    Image.fromarray(TUMOUR).save(tmp_path / "t/a_mask.png", exif=exif)
    found = read(tmp_path, tumour_classes=["t"])["t/a.png"]
    assert isinstance(found, Patient)
    assert found.labels is not None
    np.testing.assert_array_equal(found.images[0, 0], np.rot90(grey(), -1))
    np.testing.assert_array_equal(found.labels[0] > 0, np.rot90(TUMOUR > 0, -1))
    assert found.remarks == (Remark("guess", "turned as its EXIF orientation says"),)
    Image.fromarray(TUMOUR).save(tmp_path / "t/a_mask.png")
    assert "has 32x40 pixels, its image 40x32" in verdicts(tmp_path, tumour_classes=["t"])["t/a.png"]
    Image.fromarray(np.rot90(TUMOUR, -1)).save(tmp_path / "t/a_mask.png")
    found = read(tmp_path, tumour_classes=["t"])["t/a.png"]
    assert isinstance(found, Patient)
    assert "image and mask state different EXIF orientations, each turned by its own" in {r.what for r in found.remarks}


@pytest.mark.parametrize("hospital", ["CS", "FG", "HT", "EZ"])
def test_the_real_heads_keep_every_tumour(hospital: str) -> None:
    root = REAL / "brain_lgg_tcga" / hospital
    if not root.is_dir():
        pytest.skip("the real slices are not on this machine")
    patients = read(root, tumour_classes=["tumour"])
    pixels: Counter[str] = Counter()
    for mask in (root / "tumour").glob("*_mask.png"):
        pixels[mask.name.rsplit("_", 2)[0]] += int(np.count_nonzero(np.asarray(Image.open(mask))))
    lesions = {}
    for name, patient in patients.items():
        assert isinstance(patient, Patient)
        assert patient.labels is not None
        assert (patient.remarks, patient.questions) == ((), ())
        lesions[name] = int(np.count_nonzero(patient.labels))
    assert lesions == dict(pixels)
    assert told(root, tumour_classes=["tumour"]) == {}
