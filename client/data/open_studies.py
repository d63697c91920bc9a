"""Studies that stay open between messages, so that a step of a few milliseconds is not spent on opening files."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from client.audit.log import AuditFiles, AuditLog
from client.data.context import StudyContext
from client.data.request import Memory, Request
from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.privacy.training import Means
from client.site import SiteSettings, load_site
from common.protocol.records import Instruction
from common.study.trials import Trial

MOST = 32
"""Studies kept open in one process; in a hospital there is one, in a simulation one a site."""


@dataclass(frozen=True)
class OpenStudy:
    """One run of a study at one site.

    Attributes:
        data: of the first trial, which opens those of the others.
        memory: what the process keeps of the study between messages.
        means: of private training.
    """

    data: SiteData
    memory: Memory = field(default_factory=Memory)
    means: Means = field(default_factory=Means)

    @property
    def study(self) -> StudyContext:
        return self.data.study

    @property
    def work(self) -> WorkFolder:
        return WorkFolder.of(self.study)

    def within(self, trial: Trial) -> "OpenStudy":
        """The same with another trial in front."""
        return replace(self, data=self.data.within(trial))

    def request(self, instruction: Instruction) -> Request:
        """A message about one of the study's trials.

        Raises:
            RefusalError: if it is about none of them.
        """
        meant = self.within(self.study.trial_of(instruction))
        return Request(instruction, meant.data, meant.work, memory=self.memory, means=self.means)


class OpenStudies:
    """The studies of this process, by site, run and configuration; the least recently used is closed first.

    A ``site.yaml`` that was changed is read again, and opens the study anew. Where an app travels to another process
    (Ray sends it along with every message), it finds the studies that this process has open.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._settings: dict[Path, tuple[int, SiteSettings]] = {}
        self._audits: dict[AuditFiles, AuditLog] = {}
        self._studies: OrderedDict[tuple[str, str, str], OpenStudy] = OrderedDict()

    def __reduce__(self) -> tuple[Callable[[], "OpenStudies"], tuple[()]]:
        return _of_this_process, ()

    def settings(self, file: Path) -> SiteSettings:
        """The settings in ``file``.

        Raises:
            ConfigError: if it cannot be used.
        """
        changed = file.stat().st_mtime_ns if file.exists() else -1
        known = self._settings.get(file)
        if known is None or known[0] != changed:
            known = self._settings[file] = (changed, load_site(file))
        return known[1]

    def audit(self, settings: SiteSettings) -> AuditLog:
        """The site's record of messages."""
        files = settings.audit_files()
        return self._audits.setdefault(files, AuditLog(files))

    def open(self, settings: SiteSettings, experiment_yaml: str, run: str) -> OpenStudy:
        """The study of a message, as it is read from there or as an earlier message left it.

        Raises:
            ConfigError: if this site's device is not there.
            RefusalError: if the study's configuration does not fit this release.
        """
        key = (settings.model_dump_json(), run, experiment_yaml)
        study = self._studies.pop(key, None) or self.begin(StudyContext.of_message(settings, experiment_yaml, run))
        self._studies[key] = study
        while len(self._studies) > self.most:
            self._studies.popitem(last=False)
        return study

    def begin(self, study: StudyContext) -> OpenStudy:
        """How a study is opened that is not open here yet."""
        return OpenStudy(SiteData.of(study))

    def let_trainers_go(self) -> None:
        """Ends what was kept built between two exchanges of gradients, at every site: others may need the memory."""
        for study in self._studies.values():
            study.memory.trainers.clear()


@cache
def _of_this_process() -> OpenStudies:
    return OpenStudies()
