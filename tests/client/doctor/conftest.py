"""A hospital's folder with its site.yaml, and its commands as a user gives them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser import Browser, Measured
from tiny import TINY, write_site

from client.cli import main

SMALL = {"min_update_patients": "1", "min_update_slices": "1"}
"""A handful of patients is what these hospitals have."""


@dataclass(frozen=True)
class Said:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str


SMALL = {"min_update_patients": "1", "min_update_slices": "1"}
"""A handful of patients is what these hospitals have."""


@dataclass(frozen=True)
class Hospital:
    """A folder with ``data``, ``site.yaml`` and whatever its commands write."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def site(self) -> Path:
        return self.folder / "site.yaml"

    def settings(self, **values: str) -> None:
        """Writes ``site.yaml``."""
        given = {"name": "hospital1", "reader": "brats", "organ": "brain", "path": "data", **SMALL, **values}
        self.site.write_text("".join(f"{key}: {value}\n" for key, value in given.items()))

    def files(self) -> set[str]:
        """Everything but the data and the cache."""
        found = (file.relative_to(self.folder) for file in self.folder.rglob("*") if file.is_file())
        return {str(file) for file in found if file.parts[0] not in ("data", "cache")}


@pytest.fixture(scope="session")
def new_hospital() -> Callable[[Path], Hospital]:
    """``new_hospital(folder)``: eight patients, six of them with a tumour."""

    def make(folder: Path) -> Hospital:
        made = Hospital(folder)
        write_site(made.data, 8, seed=3)
        made.settings()
        return made

    return make


@pytest.fixture
def hospital(tmp_path: Path, new_hospital: Callable[[Path], Hospital]) -> Hospital:
    return new_hospital(tmp_path / "hospital")


@pytest.fixture
def client(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """``client("doctor", hospital.site)``: runs ``oncofed-client`` with a tiny study's overrides."""

    def run(command: str, site: Path, *more: str, study: tuple[str, ...] = TINY) -> Said:
        with pytest.raises(SystemExit) as exit_:
            main([command, str(site), *study, *more])
        said = capfd.readouterr()
        return Said(int(exit_.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def measure(tmp_path: Path) -> Iterator[Callable[[Path, int], Measured]]:
    """``measure(page, width)``: what a real Chromium says of the page."""
    with Browser.started(tmp_path) as browser:
        yield lambda page, width: browser.page(page, width=width).measured()
