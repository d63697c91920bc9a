"""Who has ever trained at this site, over all runs: whoever has is never scored."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from client.privacy.known_patients import known_among
from client.site import SiteSettings
from common.errors import ConfigError
from common.system.array_files import read_arrays
from common.system.written import listed_names

RECORD = "trained.json"
"""In the state of a run: the names of its training patients, of all its trials."""


@dataclass(frozen=True)
class TrainedBefore:
    """What the records of earlier runs say.

    Attributes:
        names: patients who trained.
        unrecorded: runs that trained somebody, and do not say whom.
    """

    names: frozenset[str]
    unrecorded: tuple[str, ...]


def trained_before(settings: SiteSettings, names: Collection[str]) -> TrainedBefore:
    """Which of ``names`` have trained here, by the records of runs, the register of patients and the hospital's list.

    Raises:
        ConfigError: if the list that ``site.yaml`` names cannot be read.
        LedgerError: if the register cannot be relied on.
    """
    if not names:
        return TrainedBefore(frozenset(), ())
    found = known_among(settings.patient_register(), names)
    listed = _listed(settings)
    unrecorded = []
    for folder in _runs(settings):
        of_run, recorded = _of_run(folder)
        found |= of_run
        if not recorded and (folder / "results" / "training.jsonl").exists():
            unrecorded.append(folder.name)
    if listed is not None:
        # The hospital says who trained; runs whose own records do not are thereby told.
        found, unrecorded = found | listed, []
    return TrainedBefore(frozenset(found & set(names)), tuple(sorted(unrecorded)))


def everybody_trained(settings: SiteSettings, before: TrainedBefore) -> bool:
    """Whether everybody has to count as having trained, because some run does not say who did."""
    if not before.unrecorded:
        return False
    settings.log.warning(
        "every patient who is here now counts as having trained, and none of them will test: earlier runs do not say "
        "whom they trained on. If the hospital knows, let it write these names into a file, one a line, and name it as "
        "privacy.trained in site.yaml before the first study",
        extra={"fields": {"runs": list(before.unrecorded)}},
    )
    return True


def _listed(settings: SiteSettings) -> set[str] | None:
    file = settings.privacy.trained if settings.privacy is not None else None
    if file is None:
        return None
    try:
        return set(listed_names(file))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file}: the list of patients who trained (privacy.trained) cannot be read ({error})"
        ) from error


def _runs(settings: SiteSettings) -> list[Path]:
    if not settings.folder_per_run:
        return [settings.folder]
    return sorted(path for path in (settings.folder / "runs").glob("*") if path.is_dir())


def _of_run(folder: Path) -> tuple[set[str], bool]:
    """Who trained in a run, and whether it says so at all: that nobody did is said as well."""
    names: set[str] = set()
    recorded = False
    for file in (folder / "state").glob(f"*/{RECORD}"):
        try:
            names |= {str(name) for name in json.loads(file.read_text())}
            recorded = True
        except (ValueError, TypeError):
            continue
    if recorded:
        return names, True
    # Runs of earlier releases keep no such record.
    for file in (folder / "state").glob("**/images/*.npz"):
        arrays = read_arrays(file)
        if "learnt_from" in arrays:
            names |= {str(name) for name in arrays["learnt_from"]}
    return names, bool(names)
