"""The list of studies that were started on this federation: where each lies, and Flower's number of its newest run."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from common.errors import ConfigError
from common.system.file_lock import locked
from common.system.files import write_json
from common.system.safe_json import model_from_json
from server.progress_log import ProgressLog
from server.provision.provision import Places
from server.run_lock import is_running


class StartedStudy(BaseModel):
    """One study.

    Attributes:
        folder: of the run, absolute.
        expected: the sites that are to take part.
        flower_run: Flower's number; a resumed study has a new one.
        started: when, the last time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path
    expected: tuple[str, ...]
    flower_run: str
    started: AwareDatetime


class _StudiesFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    studies: list[StartedStudy] = []


def started_studies(places: Places) -> list[StartedStudy]:
    """All of them, the newest last.

    Raises:
        ConfigError: if the list cannot be read.
    """
    file = places.folder / "studies.json"
    if not file.exists():
        return []
    try:
        return model_from_json(_StudiesFile, file.read_bytes()).studies
    except (OSError, ValidationError) as error:
        raise ConfigError(
            f"{file}: cannot be read; put it back from your backup, or move it away: it only lists where studies lie"
        ) from error


def find_study(places: Places, folder: Path) -> StartedStudy | None:
    """The study in ``folder``; None if none was started there."""
    whole = folder.expanduser().resolve()
    return next((one for one in reversed(started_studies(places)) if one.folder == whole), None)


def study_meant(places: Places, folder: Path | None) -> StartedStudy:
    """The study in ``folder``; the newest where no folder is named.

    Raises:
        ConfigError: if there is none.
    """
    known = started_studies(places)
    found = find_study(places, folder) if folder is not None else known[-1] if known else None
    if found is None:
        raise ConfigError(f"{folder or places.folder}: no study was started there; oncofed-server status lists them")
    return found


def keep_study(places: Places, folder: Path, expected: tuple[str, ...], flower_run: str, now: datetime) -> None:
    """Adds a study, or moves one that is resumed to the end."""
    with locked(places.folder / "studies.lock"):
        others = [one for one in started_studies(places) if one.folder != folder]
        this = StartedStudy(folder=folder, expected=expected, flower_run=flower_run, started=now)
        write_json(places.folder / "studies.json", _StudiesFile(studies=[*others, this]).model_dump(mode="json"))


def tell_stopping(places: Places, reason: str) -> None:
    """Writes into every running study's progress why its process will end; it is not asked whether that succeeds."""
    with suppress(ConfigError, OSError):
        for one in started_studies(places):
            if is_running(one.folder):
                ProgressLog(one.folder).write("stopping", reason=reason)
