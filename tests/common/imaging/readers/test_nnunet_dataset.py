import json
from pathlib import Path

import pytest

from common.errors import DataError
from common.imaging.readers.nnunet import NnunetReader
from common.imaging.readers.nnunet_dataset import Description, find_dataset, read_description

VERSION_1 = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "cancer"}}
VERSION_2 = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "liver": 1, "cancer": 2},
    "file_ending": ".nii.gz",
}


def described(root: Path, content: dict[str, object]) -> Description:
    (root / "dataset.json").write_text(json.dumps(content))
    return read_description(find_dataset(root))


def test_both_versions_say_the_same(tmp_path) -> None:
    expected = Description(("CT",), {"liver": (1,), "cancer": (2,)})
    assert described(tmp_path, VERSION_1) == described(tmp_path, VERSION_2) == expected


def test_a_region_has_several_values_and_a_value_the_names_of_its_regions(tmp_path) -> None:
    labels = {"background": 0, "whole tumor": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}
    description = described(tmp_path, {**VERSION_2, "labels": labels})
    assert description.names_of(1) == ("whole tumor",)
    assert description.names_of(3) == ("enhancing", "core", "whole tumor")
    assert description.names_of(9) == ("9",)


def test_numbers_may_be_written_as_text_and_one_name_may_have_two(tmp_path) -> None:
    description = described(tmp_path, {**VERSION_2, "labels": {"background": "0", "cancer": "1"}})
    assert description.labels == {"cancer": (1,)}
    description = described(tmp_path, {**VERSION_1, "labels": {"0": "background", "1": "cancer", "2": "cancer"}})
    assert description.labels == {"cancer": (1, 2)}


def test_names_are_kept_as_they_can_be_shown(tmp_path) -> None:
    names = {"background": 0, "no\x1b[2J\nfit": 1, "half \ud800": 2, "x" * 10_000: 3}
    description = described(tmp_path, {**VERSION_2, "labels": names, "channel_names": {"0": "CT\n"}})
    assert description.channels == ("CT",)
    assert list(description.labels)[:2] == ["no [2J fit", "half"]
    assert all(name.isprintable() and len(name) < 1000 for name in description.labels)


def test_channels_are_in_the_order_of_their_numbers_also_as_a_list(tmp_path) -> None:
    names = {str(number): f"c{number}" for number in (10, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9)}
    description = described(tmp_path, {**VERSION_2, "channel_names": names})
    assert description.channels == tuple(f"c{number}" for number in range(11))
    assert described(tmp_path, {**VERSION_2, "channel_names": ["a", "b"]}).channels == ("a", "b")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is no JSON"),
        (b'{"labels": ', "is no JSON"),
        (b"[1]", "is no table of names"),
        ('{"description": "M\u00fcller"}'.encode("latin-1"), "is no UTF-8 text at byte 18, perhaps Latin-1"),
        (json.dumps({**VERSION_2, "labels": {}}).encode(), "labels names none"),
        (json.dumps({**VERSION_2, "labels": {"background": 0}}).encode(), "the background alone"),
        (json.dumps({**VERSION_2, "labels": {"cancer": 1.5}}).encode(), "1.5 is no number"),
        (json.dumps({**VERSION_2, "labels": {"cancer": True}}).encode(), "True is no number"),
        (json.dumps({"labels": VERSION_2["labels"]}).encode(), "does not name the channels"),
        (json.dumps({**VERSION_2, "channel_names": {"1": "CT"}}).encode(), "does not name the channels"),
        (json.dumps({**VERSION_2, "file_ending": ".nrrd"}).encode(), r"file_ending is '\.nrrd'"),
        (b'{"labels": {"cancer": 1, "cancer": 2}}', "the key .*cancer.* stands twice"),
    ],
)
def test_a_broken_dataset_json_is_refused_by_name(tmp_path, content: bytes, what: str) -> None:
    (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"dataset\.json: .*{what}"):
        read_description(find_dataset(tmp_path))


def test_a_dataset_json_with_a_byte_order_mark_is_read(tmp_path) -> None:
    (tmp_path / "dataset.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(VERSION_2).encode())
    assert read_description(tmp_path).channels == ("CT",)


def test_a_missing_folder_dataset_json_or_image_is_told_apart(tmp_path) -> None:
    reader = NnunetReader("liver", ("ct",), tumour_labels=("cancer",))
    with pytest.raises(DataError, match="does not exist"):
        reader.find(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"looked for dataset\.json in it and in its folders"):
        reader.find(tmp_path)
    (tmp_path / "imagesTr").mkdir()
    with pytest.raises(DataError, match=r"looked for dataset\.json beside imagesTr"):
        reader.find(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps(VERSION_2))
    with pytest.raises(DataError, match=r"no \.nii\.gz or \.nii file in imagesTr"):
        reader.find(tmp_path)
