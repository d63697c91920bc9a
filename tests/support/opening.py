"""Studies that are opened at a site without a dispatcher, and messages about them."""

from client.data.context import StudyContext
from client.data.open_studies import OpenStudy
from client.data.request import Request
from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.privacy.binding import require_bound
from client.site import SiteSettings
from common.protocol.records import Instruction
from common.study.experiment import Experiment


def open_study(settings: SiteSettings, experiment: Experiment, run: str) -> OpenStudy:
    return OpenStudy(SiteData.of(StudyContext(settings, experiment, run)))


def open_message(settings: SiteSettings, experiment_yaml: str, run: str) -> OpenStudy:
    return OpenStudy(SiteData.of(StudyContext.of_message(settings, experiment_yaml, run)))


def about(study: OpenStudy, instruction: Instruction) -> Request:
    """A message about the trial that ``study`` has in front, whatever the instruction names."""
    return Request(instruction, study.data, study.work, memory=study.memory, means=study.means)


def parts(study: OpenStudy) -> tuple[SiteData, WorkFolder]:
    """What most functions of a site take."""
    return study.data, study.work


def bind(study: OpenStudy) -> None:
    require_bound(study.study, study.work)
