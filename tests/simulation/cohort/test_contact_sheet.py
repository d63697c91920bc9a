from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import DataError
from simulation.cohort.build import CohortFolders
from simulation.cohort.contact_sheet import contact_sheet


def test_contact_sheet_shows_brains_and_outlines_lesions(small_cohort: CohortFolders, tmp_path: Path) -> None:
    path = contact_sheet(small_cohort, tmp_path / "pictures" / "cohort.png", patients=2)
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert (pixels.max(axis=2) > 60).mean() > 0.1, "there are brains on a black ground"
    red = (pixels[..., 0] - pixels[..., 1:].max(axis=2)) > 60
    assert red.sum() > 50, "lesions are outlined"


def test_empty_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no patient"):
        contact_sheet(CohortFolders({"north": tmp_path}, tmp_path), tmp_path / "cohort.png")
