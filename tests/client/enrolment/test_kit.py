"""A start-up kit is used whole and as it was made, or not at all."""

import hashlib

import pytest
from enrolment_service import served
from joining import failed, repacked

from client.enrolment.kit import open_kit
from common.errors import ConfigError


@pytest.mark.parametrize("name", ["kit.json", "token", "ca.crt", "README.txt"])
def test_a_changed_file_is_named_and_nothing_is_written(client, places, settings, tmp_path, name):
    kit = repacked(
        places.kit("hospital1"), tmp_path / "kit.zip", lambda files: files.update({name: files[name] + b" "})
    )
    failed(client(kit), rf"{name} differs from its checksum", "Do not use it")
    assert not (tmp_path / "node").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda files: files.pop("token"),
        lambda files: files.update({"../../evil": b""}),
        lambda files: files.update({"keys/node": b""}),
        lambda files: files.update({"README.txt": b"0" * 200_000}),
        lambda files: files.update({"ca.crt": b"not a certificate"}),
        lambda files: files.update({"token": b"short\n"}),
        lambda files: files.update({"kit.json": files["kit.json"].replace(b'"version": 2', b'"version": 1')}),
        lambda files: files.update({"kit.json": files["kit.json"].replace(b"hospital1", b"../escape")}),
        lambda files: files.update({"kit.json": files["kit.json"].replace(b'"brain"', b'"x\\u001b[2J"')}),
        lambda files: files.update({"kit.json": files["kit.json"].replace(b'"reader": null', b'"reader": "../dicom"')}),
        lambda files: files.update({"kit.json": files["kit.json"].replace(b'"questions": "', b'"questions": "A')}),
    ],
    ids=[
        *("missing", "path", "key", "bomb", "certificate", "token", "version", "name", "organ", "reader", "questions"),
    ],
)
def test_a_kit_that_is_none_is_refused_though_its_checksums_fit(client, places, settings, tmp_path, change):
    kit = repacked(places.kit("hospital1"), tmp_path / "kit.zip", change, honest=True)
    failed(client(kit), "kit.zip: ")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kit.zip", "provision"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no", b"plain"])
def test_a_file_that_is_no_zip_is_refused(client, tmp_path, content):
    (tmp_path / "kit.zip").write_bytes(content)
    failed(client(tmp_path / "kit.zip"), "damaged or not a zip file")


def test_a_kit_cut_short_anywhere_is_refused(places, settings, tmp_path):
    whole = places.kit("hospital1").read_bytes()
    cut = tmp_path / "kit.zip"
    for end in range(0, len(whole) - 1, 97):
        cut.write_bytes(whole[:end])
        with pytest.raises(ConfigError):
            open_kit(cut)


def test_no_flipped_byte_changes_what_is_read(places, settings, tmp_path):
    whole, flipped = places.kit("hospital1").read_bytes(), tmp_path / "kit.zip"
    right = open_kit(places.kit("hospital1"))
    for position in range(0, len(whole), 41):
        flipped.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            assert open_kit(flipped) == right  # e.g. the time of an entry
        except ConfigError:
            continue


def test_the_hash_told_on_the_telephone_is_checked(client, places, settings, tmp_path):
    kit = places.kit("hospital1")
    digest = hashlib.sha256(kit.read_bytes()).hexdigest()

    # Whoever makes a kit of his own can make its checksums fit; this he cannot.
    def change(files):
        files["kit.json"] = files["kit.json"].replace(b'"reader": null', b'"reader": "dicom"')

    forged = repacked(kit, tmp_path / "forged.zip", change, honest=True)
    assert open_kit(forged).description.reader == "dicom"
    with served(settings, places):
        failed(client(forged, "node", "--sha256", digest), "not the kit that the coordinator made")
        assert client(kit, "node", "--sha256", digest.upper()).code == 0
