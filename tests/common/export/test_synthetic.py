import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.errors import ConfigError, DataError, RefusalError
from common.export.manifest import Content, Manifest, read_manifest
from common.export.provenance import Privacy, Provenance
from common.export.synthetic import SyntheticSet, write_synthetic_set

Make = Callable[..., SyntheticSet]


def read_png(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---------------------------------------------------------------------------------------------- what is written


def test_the_manifest_names_every_file_and_nothing_else(written: tuple[Path, SyntheticSet, Manifest]) -> None:
    folder, _, manifest = written
    named = {file.path for image in manifest.images for file in image.files()}
    assert set(files_below(folder)) == named | {"manifest.json"}
    assert read_manifest(folder) == manifest


def test_the_manifest_says_where_the_set_comes_from(written: tuple[Path, SyntheticSet, Manifest]) -> None:
    folder, synthetic, _ = written
    said = json.loads((folder / "manifest.json").read_text())
    assert said["schema"] == "oncofed-synthetic/1"
    assert said["created"] == "2026-01-02"
    assert said["provenance"] | {"privacy": None} == synthetic.provenance.model_dump()
    assert (said["organ"], said["contrasts"], said["size"]) == ("brain", ["flair", "t1"], [20, 24])
    assert said["labels"] == {"0": "none", "1": "necrotic tumour core", "2": "oedema", "4": "enhancing tumour"}
    assert [image["tumour"] for image in said["images"]] == synthetic.tumour.tolist()
    assert "No privacy guarantee was given" in said["privacy_statement"]


def test_a_privacy_guarantee_is_stated_with_its_figures(tmp_path: Path, make_set: Make, provenance: Provenance) -> None:
    provenance = provenance.model_copy(update={"privacy": Privacy(epsilon=8, delta=1e-5)})
    manifest = write_synthetic_set(tmp_path / "set", make_set(1, provenance=provenance), ["png"])
    assert manifest.privacy_statement == "Trained with (8, 1e-05)-differential privacy for each patient."
    assert read_manifest(tmp_path / "set").provenance.privacy == Privacy(epsilon=8, delta=1e-5)


@pytest.mark.parametrize(("bits", "half_step"), [(8, 0.5 / 255), (16, 0.5 / 65535)])
def test_png_holds_the_grey_values_to_half_a_step(
    tmp_path: Path, synthetic: SyntheticSet, bits: int, half_step: float
) -> None:
    manifest = write_synthetic_set(tmp_path / "set", synthetic, ["png"], png_bits=bits)
    assert str(2**bits - 1) in manifest.intensity["png"]
    for image, grey, labels in zip(manifest.images, synthetic.images, synthetic.labels, strict=True):
        for contrast, channel in zip(synthetic.contrasts, grey, strict=True):
            stored = read_png(tmp_path / "set" / image.png[contrast].path)
            assert np.abs(stored / (2**bits - 1) - channel).max() <= half_step * 1.001
            assert (stored[0, 0], stored[0, 1]) == (0, 2**bits - 1)
        assert np.array_equal(read_png(tmp_path / "set" / image.png_labels.path), labels)


def test_only_the_formats_asked_for_are_written(tmp_path: Path, synthetic: SyntheticSet) -> None:
    write_synthetic_set(tmp_path / "png", synthetic, ["png"])
    write_synthetic_set(tmp_path / "dicom", synthetic, ["dicom"])
    assert {p.name for p in (tmp_path / "png").iterdir()} == {"manifest.json", "png"}
    assert {p.name for p in (tmp_path / "dicom").iterdir()} == {"manifest.json", "dicom", "segmentation"}


def test_images_without_known_masks_get_no_label_maps(tmp_path: Path, make_set: Make) -> None:
    manifest = write_synthetic_set(tmp_path / "set", make_set(labels=None))
    assert not any(image.has_label_map or image.png_labels or image.segmentation for image in manifest.images)
    assert not (tmp_path / "set" / "segmentation").exists()


def test_an_image_without_a_lesion_has_a_label_map_but_no_segmentation(
    written: tuple[Path, SyntheticSet, Manifest],
) -> None:
    healthy = written[2].images[1]
    assert (healthy.tumour, healthy.has_label_map, healthy.segmentation) == (False, True, None)
    assert healthy.png_labels is not None


def test_the_same_set_gives_the_same_bytes_and_another_one_other_uids(
    tmp_path: Path, written: tuple[Path, SyntheticSet, Manifest], provenance: Provenance
) -> None:
    folder, synthetic, manifest = written
    write_synthetic_set(tmp_path / "again", synthetic, created=manifest.created)
    assert files_below(tmp_path / "again") == files_below(folder)
    brighter = replace(synthetic, images=np.minimum(synthetic.images + 0.1, 1))
    other_round = replace(synthetic, provenance=provenance.model_copy(update={"round": 4}))
    ids = {write_synthetic_set(tmp_path / str(i), s, ["png"]).set_id for i, s in enumerate((brighter, other_round))}
    assert len(ids | {manifest.set_id}) == 3


def test_half_precision_and_double_precision_are_taken(tmp_path: Path, synthetic: SyntheticSet) -> None:
    for kind in (np.float16, np.float64):
        images = synthetic.images.astype(kind)
        manifest = write_synthetic_set(tmp_path / kind.__name__, replace(synthetic, images=images), ["png"])
        stored = read_png(tmp_path / kind.__name__ / manifest.images[0].png["t1"].path)
        assert np.abs(stored / 65535 - images[0, 1].astype(float)).max() <= 0.5001 / 65535


# ---------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.01, 1.01])
def test_grey_values_that_are_none_are_refused_and_nothing_is_left_behind(
    tmp_path: Path, bad: float, make_set: Make
) -> None:
    synthetic = make_set()
    synthetic.images[2, 1, 3, 4] = bad
    with pytest.raises(DataError, match="synthetic image 3"):
        write_synthetic_set(tmp_path / "set", synthetic)
    assert list(tmp_path.iterdir()) == []


def test_images_that_show_patients_are_refused_unless_they_stay(tmp_path: Path, make_set: Make) -> None:
    altered = make_set(content=Content.ALTERED)
    with pytest.raises(RefusalError, match="not handed on"):
        write_synthetic_set(tmp_path / "set", altered)
    manifest = write_synthetic_set(tmp_path / "set", altered, ["png"], altered_allowed=True)
    assert "anatomy still shows" in manifest.statement


def test_a_label_map_that_contradicts_its_class_is_refused(tmp_path: Path, synthetic: SyntheticSet) -> None:
    with pytest.raises(DataError, match="image 1 was made to show none"):
        write_synthetic_set(tmp_path / "set", replace(synthetic, tumour=~synthetic.tumour))
    with pytest.raises(DataError, match=r"image 1 was made to show a tumour.*where no masks are known"):
        write_synthetic_set(tmp_path / "set", replace(synthetic, labels=np.zeros_like(synthetic.labels)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((3, 20, 24), np.float32)}, "floating point"),
        ({"images": np.zeros((3, 2, 20, 24), np.uint8)}, "floating point"),
        ({"images": np.zeros((0, 2, 20, 24), np.float32)}, "floating point"),
        ({"contrasts": ("flair",)}, "2 channels, but 1 contrasts"),
        ({"tumour": np.zeros(4, bool)}, "tumour must be bool"),
        ({"tumour": np.zeros(3, np.int64)}, "tumour must be bool"),
        ({"labels": np.zeros((3, 24, 20), np.uint8)}, "labels must be uint8"),
        ({"labels": np.full((3, 20, 24), 3, np.uint8)}, "label map 1: unknown label"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, changes: dict, message: str, make_set: Make) -> None:
    with pytest.raises(DataError, match=message):
        write_synthetic_set(tmp_path / "set", replace(make_set(), **changes))


def test_a_label_that_the_organ_does_not_have_is_refused(tmp_path: Path, make_set: Make) -> None:
    synthetic = make_set(organ="lung", contrasts=("ct",))
    synthetic.labels[0, 6, 6] = 4
    with pytest.raises(DataError, match="lung has 0, 1"):
        write_synthetic_set(tmp_path / "set", synthetic)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"formats": ["jpeg"]}, "formats jpeg"),
        ({}, {"formats": []}, "formats none"),
        ({}, {"png_bits": 12}, "8 or 16 bits"),
        ({"organ": "heart"}, {}, "unknown organ 'heart'"),
        ({"contrasts": ("flair", "pet")}, {}, "contrasts flair, pet"),
        ({"contrasts": ("flair", "flair")}, {}, "each one once"),
    ],
)
def test_choices_that_do_not_exist_are_named(
    tmp_path: Path, changes: dict, options: dict, message: str, make_set: Make
) -> None:
    with pytest.raises(ConfigError, match=message):
        write_synthetic_set(tmp_path / "set", replace(make_set(), **changes), **options)


def test_generated_tensors_can_be_written_as_they_come(tmp_path: Path, provenance: Provenance) -> None:
    """What a sampling trainer returns, and masks that it does not know."""
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    synthetic = SyntheticSet(
        images.numpy(), None, torch.tensor([True, False]).numpy(), "liver", ("ct",), Content.GENERATED, provenance
    )
    assert len(write_synthetic_set(tmp_path / "set", synthetic).images) == 2
