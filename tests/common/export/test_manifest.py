import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import DataError
from common.export.manifest import Manifest, read_manifest
from common.export.synthetic import SyntheticSet

Written = tuple[Path, SyntheticSet, Manifest]


@pytest.fixture
def folder(written: Written, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    return Path(shutil.copytree(written[0], tmp_path / "copy"))


def change(folder: Path, spoil: Callable[[dict[str, Any]], object]) -> None:
    said = json.loads((folder / "manifest.json").read_text())
    spoil(said)
    (folder / "manifest.json").write_text(json.dumps(said))


def test_a_changed_file_is_noticed_unless_files_are_not_to_be_checked(folder: Path) -> None:
    victim = folder / "png" / "000002_t1.png"
    victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"000002_t1\.png: changed since"):
        read_manifest(folder)
    assert len(read_manifest(folder, check_files=False).images) == 3


def test_a_missing_file_is_noticed(folder: Path) -> None:
    (folder / "dicom" / "000001_flair.dcm").unlink()
    with pytest.raises(DataError, match=r"000001_flair\.dcm: named by the manifest"):
        read_manifest(folder)


def test_a_folder_without_a_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is this the folder of a synthetic set"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "/etc/passwd",
        "png/../../secret.png",
        "png/a/b.png",
        "other/000001.png",
        "png/000001.exe",
        "png/.png",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused_before_anything_is_opened(folder: Path, path: str) -> None:
    change(folder, lambda said: said["images"][0]["png_labels"].update(path=path))
    with pytest.raises(DataError, match=r"no manifest of a synthetic set \(images\.0\.png_labels\.path"):
        read_manifest(folder)


def test_a_link_that_leads_elsewhere_is_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    (folder / "png" / "000001_t1.png").rename(outside)
    (folder / "png" / "000001_t1.png").symlink_to(outside)
    with pytest.raises(DataError, match="lies outside the set"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (lambda said: said.update(schema="oncofed-synthetic/9"), "schema"),
        (lambda said: said.update(surprise=1), "surprise"),
        (lambda said: said.pop("content"), "content"),
        (lambda said: said.update(organ="heart"), "the whole"),
        (lambda said: said.update(contrasts=["flair", "flair"]), "the whole"),
        (lambda said: said.update(contrasts="flair"), "contrasts"),
        (lambda said: said.update(size=[0, 24]), r"size\.0"),
        (lambda said: said.update(images={}), "images"),
        (lambda said: said["provenance"].update(run="../../etc"), r"provenance\.run"),
        (lambda said: said["provenance"].update(round="3"), r"provenance\.round"),
        (lambda said: said["provenance"].update(privacy={"epsilon": -1, "delta": 0}), r"provenance\.privacy\.epsilon"),
        (lambda said: said["images"][0]["png"].pop("t1"), "the whole"),
        (lambda said: said["images"].append(said["images"][0]), "the whole"),
    ],
)
def test_what_does_not_belong_into_a_manifest_is_named(folder: Path, spoil: Any, place: str) -> None:
    change(folder, spoil)
    with pytest.raises(DataError, match=rf"manifest\.json: no manifest of a synthetic set \({place}:"):
        read_manifest(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"{", b"\xff\xfe", b"\x80\x04K\x01.", b"[" * 100_000, b'{"schema": NaN}', b"1" * 5000],
)
def test_nonsense_in_the_place_of_a_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match="no manifest of a synthetic set"):
        read_manifest(folder)


def test_no_value_of_a_bad_manifest_is_repeated_in_the_error(folder: Path) -> None:
    change(folder, lambda said: said["provenance"].update(run="Doe/Jane"))
    with pytest.raises(DataError) as caught:
        read_manifest(folder)
    assert "Doe" not in str(caught.value)
