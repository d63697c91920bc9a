"""A kit says where the coordinator is and who may join. What the hospital allows is the hospital's alone."""

import pytest
from enrolment_service import served
from joining import failed, repacked, state

from client.site import load_site

POLICY = b"""name: hospital1
reader: brats
organ: brain
path: data
share_site_model: true
may_release_synthetic: true
min_cell: 1
"""


def test_a_kit_that_brings_settings_is_refused(client, places, settings, tmp_path):
    kit = repacked(
        places.kit("hospital1"), tmp_path / "kit.zip", lambda files: files.update({"site.yaml": POLICY}), honest=True
    )
    with served(settings, places):
        failed(client(kit), "does not hold the files of a start-up kit")
    assert state(places) == "invited"
    assert not (tmp_path / "node").exists()


@pytest.mark.parametrize(
    "more", ['"min_cell": 1', '"share_site_model": true', '"path": "/"', '"site": "hospital1"', '"reader": "brats"']
)
def test_a_kit_that_says_more_than_it_may_or_something_twice_is_refused(client, places, settings, tmp_path, more):
    def say(files):
        text = files["kit.json"].decode().rstrip().removesuffix("}")
        files["kit.json"] = f'{text}, "reader": "brats", {more}}}'.encode()

    kit = repacked(places.kit("hospital1"), tmp_path / "kit.zip", say, honest=True)
    with served(settings, places):
        failed(client(kit), "kit.zip: cannot be understood")
    assert state(places) == "invited"
    assert not (tmp_path / "node").exists()


def test_the_settings_are_those_of_the_installed_release(client, places, settings, tmp_path):
    with served(settings, places):
        said = client(places.kit("hospital2"))
    made = load_site(tmp_path / "node" / "site.yaml")
    assert (made.name, made.organ, made.reader) == ("hospital2", "liver", "dicom")
    assert (made.share_site_model, made.may_release_synthetic, made.declare_counts) == (False, False, False)
    assert (made.min_cell, made.identifying_data) == (5, "refuse")
    # What the coordinator chose is said, so that somebody looks at it.
    assert "the coordinator proposes organ liver and reader dicom: check both" in said.out
