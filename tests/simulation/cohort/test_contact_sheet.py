from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import DataError
from simulation.cohort.build import CohortFolders
from simulation.cohort.contact_sheet import LARGEST_FILE, _shown, contact_sheet


def test_contact_sheet_shows_patients_and_outlines_lesions(small_cohort: CohortFolders, tmp_path: Path) -> None:
    path = contact_sheet(small_cohort, tmp_path / "pictures" / "cohort.png", patients=2)
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert (pixels.max(axis=2) > 60).mean() > 0.1, "there are bodies on a black ground"
    red = (pixels[..., 0] - pixels[..., 1:].max(axis=2)) > 60
    assert red.sum() > 50, "lesions are outlined"
    assert path.stat().st_size <= LARGEST_FILE


@pytest.mark.parametrize("organ", ["lung", "liver"])
def test_sheet_of_one_organ_has_a_row_for_each_group_of_patients(
    small_cohort: CohortFolders, organ: str, tmp_path: Path
) -> None:
    sites = {name: folder for name, folder in small_cohort.sites.items() if small_cohort.organs[name] == organ}
    alone = CohortFolders(sites, {organ: small_cohort.reference[organ]}, small_cohort.organs)
    width, height = Image.open(contact_sheet(alone, tmp_path / "cohort.png", patients=2)).size
    both = Image.open(contact_sheet(small_cohort, tmp_path / "all.png", patients=2))
    assert height / width < 0.75 * both.height / both.width


def test_closer_view_is_centred_on_the_largest_lesion() -> None:
    lesion = np.zeros((100, 100), bool)
    lesion[20:30, 60:70] = lesion[80, 10] = True
    rows, columns = _shown(lesion, 2.0, 40.0)
    assert (rows, columns) == (slice(14, 34), slice(54, 74))
    assert _shown(lesion, 2.0, None) == (slice(None), slice(None))


def test_empty_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no patient"):
        contact_sheet(CohortFolders({"north": tmp_path}, {}), tmp_path / "cohort.png")
