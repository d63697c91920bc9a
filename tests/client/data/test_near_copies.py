"""Whose slices are somebody else's, saved anew; and whose only look alike."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, shift

from client.data.near_copies import Pair, copies, joined
from common.imaging.slices import PatientSlices

SIZE = 96
Change = Callable[[np.ndarray], np.ndarray]


def head(seed: int, size: int = SIZE) -> np.ndarray:
    """(Y, X) in [0, 1]: an ellipse of tissue whose folds are this person's own."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    inside = (y / random.uniform(0.8, 0.95)) ** 2 + (x / random.uniform(0.7, 0.9)) ** 2 < 1
    folds = gaussian_filter(random.normal(size=(size, size)), 2.5 * size / SIZE)
    return np.where(inside, np.clip(0.5 + 0.15 * folds / folds.std(), 0.05, 1), 0.0)


def patient(name: str, *slices: np.ndarray) -> PatientSlices:
    images = np.stack(slices)[:, None].astype(np.float16)
    return PatientSlices(name, images, np.zeros(images[:, 0].shape, np.uint8), (images[:, 0] > 0).astype(np.uint8))


def found(*patients: PatientSlices) -> tuple[Pair, ...]:
    return copies(patients, sum(len(one.images) for one in patients))


def as_jpeg(image: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray((image * 255).astype(np.uint8)).save(stream, "JPEG", quality=60)
    return np.asarray(Image.open(stream), dtype=float) / 255


def resized(image: np.ndarray) -> np.ndarray:
    small = Image.fromarray((image * 255).astype(np.uint8)).resize((70, 70), Image.Resampling.BILINEAR)
    return np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=float) / 255


def cropped(image: np.ndarray) -> np.ndarray:
    part = Image.fromarray((image * 255).astype(np.uint8)).crop((4, 2, SIZE - 2, SIZE - 3))
    return np.asarray(part.resize((SIZE, SIZE), Image.Resampling.BILINEAR), dtype=float) / 255


def mirrored(image: np.ndarray) -> np.ndarray:
    return image[:, ::-1]


def darker(image: np.ndarray) -> np.ndarray:
    return np.where(image > 0, 0.1 + 0.6 * image, 0)


def noisy(image: np.ndarray) -> np.ndarray:
    return np.where(image > 0, image + np.random.default_rng(0).normal(0, 0.02, image.shape), 0).clip(0, 1)


def moved(image: np.ndarray) -> np.ndarray:
    return shift(image, (2, -3), order=1)


def several(image: np.ndarray) -> np.ndarray:
    return as_jpeg(cropped(darker(image)))


@pytest.mark.parametrize("change", [as_jpeg, resized, cropped, mirrored, darker, noisy, moved, several])
def test_a_slice_that_was_saved_anew_is_found_under_another_name(change: Change) -> None:
    others = [patient(f"other{n}", head(50 + n), head(80 + n)) for n in range(8)]
    anew = patient("b", head(3), change(head(1)).clip(0, 1))
    assert found(patient("a", head(1), head(2)), anew, *others) == (Pair("a", "b", False),)


def test_a_slice_that_is_equal_in_every_pixel_is_told_as_such() -> None:
    assert found(patient("b", head(1)), patient("c", head(2)), patient("a", head(1))) == (Pair("a", "b", True),)


def test_persons_whose_heads_have_one_shape_are_not_taken_for_each_other() -> None:
    outline = head(1) > 0
    people = [patient(f"p{n:02d}", np.where(outline, head(n).clip(0.05), 0)) for n in range(40)]
    assert found(*people) == ()


def test_slices_of_one_patient_may_be_alike() -> None:
    assert found(patient("a", head(1), noisy(head(1)), head(1)), patient("b", head(2))) == ()


@pytest.mark.parametrize("shown", [0.0, 0.5])
def test_slices_that_show_next_to_nothing_are_like_all_others(shown: float) -> None:
    y, x = np.mgrid[:SIZE, :SIZE]
    dot = np.where(np.hypot(y - 40, x - 40) < 9, shown + 0.3, 0.0)
    flat = np.where(np.hypot(y - 48, x - 48) < 40, shown, 0.0)
    a = [patient(f"dot{n}", dot + np.float16(0.001) * n * (dot > 0)) for n in range(3)]
    b = [patient(f"flat{n}", flat + 0.002 * n * (flat > 0)) for n in range(3)]
    assert found(*a, *b) == ()


def test_who_hangs_together_is_one_group() -> None:
    pairs = [Pair("a", "b", True), Pair("c", "d", False), Pair("b", "c", False), Pair("x", "y", True)]
    assert joined(pairs) == (("a", "b", "c", "d"), ("x", "y"))
    assert joined([]) == ()


REAL = Path(__file__).parents[4] / "shared" / "data" / "brain_lgg_tcga"


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real glioma patients are not on this machine")
def test_no_two_real_patients_are_taken_for_one_and_their_copies_are(tmp_path: Path) -> None:
    def slices_of(site: str, change: Change | None, mark: str) -> list[PatientSlices]:
        people: dict[str, list[np.ndarray]] = {}
        for file in sorted((REAL / site).rglob("*.png")):
            if file.stem.endswith("_mask"):
                continue
            image = np.asarray(Image.open(file).convert("L").resize((SIZE, SIZE)), dtype=float) / 255
            people.setdefault(file.stem.rpartition("_")[0], []).append(image if change is None else change(image))
        return [patient(f"{name}{mark}", *images) for name, images in people.items()]

    originals = [one for site in ("CS", "FG", "HT") for one in slices_of(site, None, "")]
    assert found(*originals) == ()
    some = slices_of("CS", None, "")
    for change in (as_jpeg, mirrored, darker):
        pairs = found(*some, *slices_of("CS", change, "-anew"))
        assert {pair.one for pair in pairs} == {one.patient for one in some}
        assert all(pair.other == f"{pair.one}-anew" for pair in pairs)
