import pytest

from common.errors import ConfigError
from common.imaging.readers.brats import BratsReader
from common.imaging.readers.image_folder import ImageFolderReader
from common.imaging.readers.registry import build_reader


def test_a_reader_is_built_from_its_name_and_plain_options() -> None:
    brats = build_reader("brats", organ="brain", contrasts=["t1"], options={"tumour_free": "quarantine"})
    assert brats == BratsReader(contrasts=("t1",), tumour_free="quarantine")
    folder = build_reader("image_folder", organ="brain", contrasts=["t1"], options={"tumour_classes": ["yes"]})
    assert folder == ImageFolderReader(organ="brain", contrasts=("t1",), tumour_classes=("yes",))


def test_an_unknown_reader_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match="unknown reader 'nrrd'; known: brats, dicom, hcc_tace, image_folder, lidc, nnunet"
    ):
        build_reader("nrrd", organ="brain", contrasts=["t1"], options={})


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown option 'tumor_free' of reader brats; known: tumour_free"):
        build_reader("brats", organ="brain", contrasts=["t1"], options={"tumor_free": "allow"})
    with pytest.raises(ConfigError, match="unknown option 'organ'"):
        build_reader("brats", organ="brain", contrasts=["t1"], options={"organ": "lung"})
