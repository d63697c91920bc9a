"""Heads of four institutions as they are: with noise in the air, black borders, and images without a head."""

from pathlib import Path

import numpy as np
import pytest

from client.study.baselines import copy_and_paste
from client.study.placement import placement
from common.imaging.prepare import prepare_cohort
from common.imaging.readers.image_folder import ImageFolderReader
from common.study.experiment import ImageConfig, PreprocessingConfig

HEADS = Path(__file__).parents[4] / "shared" / "data" / "brain_lgg_tcga"
PATIENTS = 3


@pytest.mark.parametrize("hospital", ["CS", "FG", "HT"])
def test_air_is_black_each_slice_shows_a_head_and_lesions_lie_in_it(hospital: str, tmp_path: Path) -> None:
    root = HEADS / hospital
    if not root.is_dir():
        pytest.skip("the real heads are not on this machine")
    reader = ImageFolderReader("brain", ("flair",), ("tumour",))
    cohort = prepare_cohort(
        reader,
        root,
        cache_dir=tmp_path,
        organ="brain",
        contrasts=["flair"],
        image=ImageConfig(),
        preprocessing=PreprocessingConfig(),
        min_tumour_pixels=12,
        only=[location.patient for location in reader.find(root)][:PATIENTS],
    )
    assert len(cohort.patients) == PATIENTS
    slices = cohort.slices([patient.patient for patient in cohort.patients])
    held = slices.all()
    share = held.foreground.flatten(1).float().mean(1)
    assert 0.1 < share.min() < share.max() < 0.85  # a head, neither a speck nor all of the picture
    for images, foreground in zip(held.images[:, 0], held.foreground, strict=True):
        assert (images[~foreground] == 0).all()
        corners = foreground[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert corners.sum() <= 2
    found = placement(copy_and_paste(slices, 100, 1), slices)
    assert found is not None
    assert found.wholly_inside >= 0.95 * found.lesions == 47.5
    told = {one.what: one.count for one in cohort.remarks if one.kind == "slice"}
    read = sum(study.shape[0] for patient in cohort.patients for study in patient.studies)
    assert read - len(slices) == sum(told.values())
    assert np.isfinite(held.images.numpy()).all()
