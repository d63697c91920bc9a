"""What a run began with at this site, so that it is the same until its end: who its patients are, and who tests.

Both follow from the folder, the settings and the study, and could be found again with every message: a folder that has
grown since, or a role that was taken away, would then make a test patient of one who has trained.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from common.errors import DamagedFileError, RefusalError
from common.imaging.as_begun import as_begun
from common.imaging.cohort import PreparedCohort
from common.imaging.split import Split
from common.system.file_lock import locked
from common.system.files import read_table, write_json

PATIENTS = "patients.json"
SPLIT = "split.json"

CAME_LATER = "patients that came after this run had begun take no part in it"


class ChangedPatientsError(RefusalError):
    """Patients of the run are not what they were when it began.

    Args:
        text: may leave.
        names: of the patients; they stay at the site.
    """

    def __init__(self, text: str, names: Sequence[str]) -> None:
        super().__init__(text)
        self.names = tuple(names)


@dataclass(frozen=True)
class Begun:
    """What one run began with.

    Attributes:
        folder: the run's state at this site.
        log: the site's own, which gets the names.
    """

    folder: Path
    log: logging.Logger

    def patients(self, cohort: PreparedCohort, *, guarded: bool) -> tuple[PreparedCohort, tuple[str, ...]]:
        """The patients of the beginning, and the names of those that came since.

        Args:
            cohort: as the hospital's folder is now.
            guarded: whether a refusal would say something of a patient. Who is missing is missed then, as noise covers
                it, and who has changed is taken as it is: the roster keeps who trains from testing.

        Raises:
            ChangedPatientsError: if one is not there any more, or shows something else.
        """
        begun = as_begun(cohort, self.folder / PATIENTS)
        if begun.later:
            names = {"patients": list(begun.later)}
            self.log.warning("%s; a new run takes them in", CAME_LATER, extra={"fields": names})
        gone = (*begun.missing, *begun.changed)
        if gone:
            fields = {"missing": list(begun.missing), "changed": list(begun.changed)}
            self.log.error("patients are not what they were when this run began", extra={"fields": fields})
            if not guarded:
                what = "are not there any more" if begun.missing else "show something else than they did"
                raise ChangedPatientsError(
                    f"patients that this run began with {what}; its own log says which. Put their files and the site's "
                    "settings back as they were, or begin a new run",
                    gone,
                )
        return begun.cohort, begun.later

    def require_split(self, split: Split, *, guarded: bool) -> None:
        """Writes down the split that a run begins with, or compares with what is written down.

        Args:
            split: of the study's first trial, from which those of the others follow.
            guarded: whether the site's roster says who trains, over all runs; it is enough then that it still does.

        Raises:
            RefusalError: if it is another.
            DamagedFileError: if the file is not what was written.
        """
        parts = {part: list(names) for part, names in asdict(split).items()}
        now = {"guarded": guarded, "parts": None if guarded else parts}
        file = self.folder / SPLIT
        file.parent.mkdir(parents=True, exist_ok=True)
        with locked(file.with_suffix(".lock")):
            if not file.exists():
                write_json(file, now)
                return
            begun = read_table(file)
        if begun == now:
            return
        if set(begun) != set(now):
            raise DamagedFileError(file, "does not say who trained and who tested when this run began")
        if begun["guarded"] != guarded:
            raise RefusalError(
                "its privacy budget was set, or taken away, after this run had begun; put privacy in its site.yaml "
                "back as it was, or begin a new run"
            )
        self.log.error("this run began with another split", extra={"fields": {"began": begun["parts"], "now": parts}})
        raise RefusalError(
            "its patients would train and test other than when this run began, as after a change of roles or of the "
            "release; its own log says who. Put that back as it was, or begin a new run"
        )
